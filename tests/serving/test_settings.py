from __future__ import annotations

import re
import socket
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from serving.settings import (
    DEFAULT_CONFIG,
    Ports,
    SettingsError,
    check_ports_free,
    complete_properties,
    ports_of,
    read_properties,
)


def test_every_key_has_an_explanation_above_it() -> None:
    explained = False
    for line in DEFAULT_CONFIG.read_text().splitlines():
        if line.startswith("#"):
            explained = True
        elif not line.strip():
            explained = False
        else:
            # Keys that belong together may share the comment above the first of them.
            assert explained, line


def test_every_key_is_one_that_torchserve_reads() -> None:
    spec = find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    jar = Path(spec.origin).parent / "frontend" / "model-server.jar"
    with zipfile.ZipFile(jar) as content:
        manager = content.read("org/pytorch/serve/util/ConfigManager.class")
    known = set(re.findall(rb"[a-z_]+", manager))
    # vmargs is read by whatever starts Java: TorchServe's launcher, and ours.
    unknown = {
        key
        for key in complete_properties(read_properties(DEFAULT_CONFIG), Path(), None)
        if key.encode() not in known and key != "vmargs"
    }
    assert unknown == set()


def test_the_defaults_are_safe(tmp_path: Path) -> None:
    properties = complete_properties(read_properties(DEFAULT_CONFIG), tmp_path, None)
    addresses = [value for key, value in properties.items() if key.endswith("_address")]
    assert len(addresses) == 5
    assert all("127.0.0.1" in address for address in addresses)
    assert properties["disable_token_authorization"] == "false"
    assert properties["install_py_dep_per_model"] == "false"
    # Python has no \Q...\E, Java's quotation.
    quoted = re.fullmatch(r"(.*)\\Q(.*)\\E(.*)", properties["allowed_urls"])
    assert quoted is not None
    allowed = re.compile(re.escape(quoted[1] + quoted[2]) + quoted[3])
    assert allowed.fullmatch(f"file://{tmp_path}/cat-breeds-1.0.mar")
    for other in ("https://example.org/a.mar", "file:///etc/a.mar", f"file://{tmp_path}/../a.mar"):
        assert not allowed.fullmatch(other)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inference_address", "http://0.0.0.0:8080"),
        ("management_address", "http://10.0.0.1:8081"),
        ("metrics_address", "http://[::]:8082"),
        ("inference_address", "http://localhost:8080"),
        ("management_address", "https://127.0.0.1:8081"),
        ("metrics_address", "http://[::1"),
        ("grpc_inference_address", "0.0.0.0"),  # noqa: S104 - refused is what it is about
        ("disable_token_authorization", "true"),
    ],
)
def test_what_is_not_safe_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    properties = read_properties(DEFAULT_CONFIG) | {key: value}
    with pytest.raises(SettingsError, match=key):
        complete_properties(properties, tmp_path, None)


def test_other_ports_reach_every_address(tmp_path: Path) -> None:
    ports = Ports.free()
    properties = complete_properties(read_properties(DEFAULT_CONFIG), tmp_path, ports)
    assert ports_of(properties) == ports
    assert len({*ports.__dict__.values()}) == 5


def test_a_taken_port_is_named_with_what_it_is_for() -> None:
    ports = Ports.free()
    with (
        socket.create_server(("127.0.0.1", ports.metrics)),
        pytest.raises(SettingsError, match=rf"port {ports.metrics} \(metrics\) is taken"),
    ):
        check_ports_free(ports)
    check_ports_free(ports)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a=1\nnonsense\n", ":2: 'nonsense' must be key=value"),
        ("a=1\na=2\n", ":2: 'a' is set twice"),
    ],
)
def test_a_bad_line_is_refused_by_number(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "config.properties").write_text(text)
    with pytest.raises(SettingsError, match=named):
        read_properties(tmp_path / "config.properties")
