from __future__ import annotations

from pathlib import Path

import pytest

from training.cache_folder import cache_folder


def test_the_cache_folder_follows_the_xdg_specification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder("weights") == Path("/somewhere/catbreeds/weights")
    assert cache_folder("scans") == Path("/somewhere/catbreeds/scans")
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        assert cache_folder("weights") == tmp_path / ".cache" / "catbreeds" / "weights"


def test_a_user_may_have_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a container's user that is in no table of users."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert cache_folder("weights") is None
