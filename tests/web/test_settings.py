from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from serving.settings import SettingsError
from tests.serving.serve_process import CATBREEDS, assert_one_error
from web.command import read_settings


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATBREEDS_WEB_MODELS", "cat-breeds, pets")
    monkeypatch.setenv("CATBREEDS_WEB_METRICS_FROM", "10.0.0.0/8,::1/128")
    settings = read_settings()
    assert settings.models == ("cat-breeds", "pets")
    assert [str(network) for network in settings.metrics_from] == ["10.0.0.0/8", "::1/128"]


def test_an_option_overrules_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATBREEDS_WEB_PORT", "8100")
    assert read_settings().port == 8100
    assert read_settings(port=8200, host=None).port == 8200


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("photo_bytes", "0", "greater than or equal to 1"),
        ("photos", "many", "valid integer"),
        ("rate", "fast", "600/minute"),
        ("rate", "10/second;5/minute", "600/minute"),
        ("trusted_proxies", "10.0.0.1/8", "not a valid"),
        ("log_format", "xml", "'plain' or 'json'"),
        ("metrics_from", "everybody", "not a valid"),
        ("header_s", "0", "greater than 0"),
    ],
)
def test_an_impossible_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"CATBREEDS_WEB_{name.upper()}", value)
    expected = f"^CATBREEDS_WEB_{name.upper()}=.*{value}.*{re.escape(says)}"
    with pytest.raises(SettingsError, match=expected):
        read_settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example"])  # noqa: S104
def test_nothing_listens_beyond_loopback_unprotected(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"host={host} is reachable from other machines"):
        read_settings(host=host)
    assert read_settings(host=host, plain_http=True).plain_http
    pair = {"certificate": Path("c.pem"), "private_key": Path("k.pem")}
    assert read_settings(host=host, **pair).certificate


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_protection(host: str) -> None:
    assert read_settings(host=host).host == host


@pytest.mark.parametrize(
    "url", ["localhost:8080", "http://127.0.0.1:99999", "http://127.0.0.1", "ftp://127.0.0.1:21"]
)
def test_torchserve_needs_an_address(url: str) -> None:
    with pytest.raises(SettingsError, match=r"must be as http://127\.0\.0\.1:8080"):
        read_settings(torchserve=url)


def test_the_token_of_this_machine_goes_to_no_other(tmp_path: Path) -> None:
    other = "http://192.0.2.1:8080"
    with pytest.raises(SettingsError, match="give server_folder or token_file"):
        read_settings(torchserve=other)
    assert read_settings(torchserve=other, token_file=tmp_path / "token").torchserve == other


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATBREEDS_WEB_TRUSTED_PROXY", "10.0.0.1")
    with pytest.raises(SettingsError, match=r"CATBREEDS_WEB_TRUSTED_PROXY: .*TRUSTED_PROXIES"):
        read_settings()


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(SettingsError, match="give both or none"):
        read_settings(certificate=Path("c.pem"))


def test_the_command_tells_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        (str(CATBREEDS), "web", "--host", "0.0.0.0"),  # noqa: S104 - it is refused
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert_one_error(done.stderr, "host=0.0.0.0", "plain_http")
