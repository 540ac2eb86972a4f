from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.checksums import ChecksumError, format_sums, parse_sums, verify_checksums

DIGEST = "0123456789abcdef" * 4


def test_text_is_sorted_and_reads_back() -> None:
    sums = {"b/c d.py": DIGEST, "a": DIGEST[::-1], "ü": DIGEST}
    text = format_sums(sums)
    assert text.splitlines()[0] == f"{DIGEST[::-1]}  a"
    assert parse_sums(text) == sums
    assert parse_sums(format_sums({})) == {}


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\n",
        f"{DIGEST[:-1]}  a\n",
        f"{DIGEST.upper()}  a\n",
        f"{DIGEST}  a\n\n",
        f"{DIGEST}  a\n{DIGEST}  a\n",
        f"{DIGEST}  ../a\n",
        f"{DIGEST}  /etc/passwd\n",
    ],
)
def test_a_line_that_is_not_a_checksum_is_refused(text: str) -> None:
    with pytest.raises(ChecksumError, match="SHA256SUMS, line"):
        parse_sums(text)


def test_sha256sum_agrees(model_dir: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(check, cwd=model_dir, check=True, capture_output=True)


def test_an_untouched_archive_passes_also_after_python_has_compiled_it(model_dir: Path) -> None:
    (model_dir / "handlers" / "__pycache__").mkdir()
    (model_dir / "handlers" / "__pycache__" / "service.pyc").write_bytes(b"x")
    verify_checksums(model_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: flip(d / "weights.safetensors"), "weights.safetensors: differs"),
        (lambda d: flip(d / "golden" / "01.png"), "golden/01.png: differs"),
        (lambda d: (d / "handlers" / "service.py").unlink(), "handlers/service.py: .*missing"),
        (lambda d: (d / "extra.py").write_text(""), "extra.py: not listed"),
        (lambda d: (d / "SHA256SUMS").unlink(), "SHA256SUMS: cannot be read"),
        (lambda d: (d / "SHA256SUMS").write_bytes(b"\xff"), "SHA256SUMS: cannot be read"),
    ],
)
def test_a_changed_archive_is_refused_by_entry(
    model_dir: Path, change: Callable[[Path], object], message: str
) -> None:
    change(model_dir)
    with pytest.raises(ChecksumError, match=message):
        verify_checksums(model_dir)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
