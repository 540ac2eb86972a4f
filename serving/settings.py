"""The settings of a server: config.properties, what the machine adds, and the options."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import handlers

DEFAULT_CONFIG = Path(__file__).parent.parent / "config.properties"
DEFAULT_WEB_PORT = 8000
METRICS_CONFIG = Path(handlers.__file__).with_name("metrics.yaml")

LogFormat = Literal["plain", "json"]

_LOOPBACK: Final = "127.0.0.1"
# All addresses of this machine, or of the container that it is in.
Host = Literal["127.0.0.1", "0.0.0.0"]  # noqa: S104 - only where it is asked for


class SettingsError(Exception):
    """A setting that the server cannot start with; the message names it and what is allowed."""


@dataclass(frozen=True)
class Hosts:
    """Where TorchServe listens for predictions and for Prometheus; all else is on loopback."""

    inference: Host = _LOOPBACK
    metrics: Host = _LOOPBACK


LOOPBACK = Hosts()


@dataclass(frozen=True)
class Ports:
    """TCP ports of one server."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int

    @classmethod
    def free(cls) -> Ports:
        """Five ports that nobody listens on now."""
        return cls(*free_ports(5))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    held = [socket.create_server((_LOOPBACK, 0)) for _ in range(count)]
    try:
        return [server.getsockname()[1] for server in held]
    finally:
        for server in held:
            server.close()


def read_properties(path: Path) -> dict[str, str]:
    """Read a Java properties file of plain `key=value` lines.

    Raises:
        SettingsError: the file cannot be read, or a line is neither comment nor `key=value`.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    properties: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or key.strip() in properties:
            problem = "is set twice" if equals else "must be key=value"
            raise SettingsError(f"{path}:{number}: {key.strip()!r} {problem}")
        properties[key.strip()] = value.strip()
    return properties


def complete_properties(
    properties: Mapping[str, str],
    model_store: Path,
    ports: Ports | None,
    hosts: Hosts = LOOPBACK,
) -> dict[str, str]:
    """Add what depends on the machine: folders, and other ports and hosts where asked for.

    Raises:
        SettingsError: an address that is not on loopback, or tokens switched off.
    """
    completed = dict(properties)
    if ports is not None:
        completed |= {
            "inference_address": f"http://127.0.0.1:{ports.inference}",
            "management_address": f"http://127.0.0.1:{ports.management}",
            "metrics_address": f"http://127.0.0.1:{ports.metrics}",
            "grpc_inference_port": str(ports.grpc_inference),
            "grpc_management_port": str(ports.grpc_management),
        }
    store = model_store.resolve()
    if "," in str(store):
        raise SettingsError(f"model store {store}: TorchServe takes no path with a comma")
    completed |= {
        "model_store": str(store),
        # A regular expression; without it TorchServe fetches archives, which are code, from
        # anywhere. A bare file name is looked for in the model store.
        "allowed_urls": f"file://\\Q{store}\\E/[^/]*",
        "metrics_config": str(METRICS_CONFIG),
    }
    _check_safe(completed)
    for api in ("inference", "metrics"):
        key, host = f"{api}_address", getattr(hosts, api)
        completed[key] = completed[key].replace(_LOOPBACK, host)
    return completed


def ports_of(properties: Mapping[str, str]) -> Ports:
    """The ports that completed properties name.

    Raises:
        SettingsError: one is missing or no number.
    """
    try:
        return Ports(
            *(
                _port(properties[f"{api}_address"])
                for api in ("inference", "management", "metrics")
            ),
            *(int(properties[f"grpc_{api}_port"]) for api in ("inference", "management")),
        )
    except (KeyError, ValueError) as error:
        raise SettingsError(f"config.properties: an address or port is missing: {error}") from error


def check_ports_free(ports: Ports) -> None:
    """Raises:
    SettingsError: somebody listens on one of them; names the port and what it is for.
    """
    for name in Ports.__dataclass_fields__:
        check_port_free(getattr(ports, name), name.replace("_", " "))


def check_port_free(port: int, use: str) -> None:
    """Raises:
    SettingsError: somebody listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError as error:
            raise SettingsError(
                f"port {port} ({use}) is taken: {error.strerror}; stop what listens there, "
                "or choose others with --port, --web-port or --free-ports"
            ) from error


def token_minutes(properties: Mapping[str, str]) -> int:
    """How long a token lives.

    Raises:
        SettingsError: not a whole number of at least 1.
    """
    value = properties.get("token_expiration_min", "60")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", value):
        raise SettingsError(
            f"token_expiration_min={value}: must be a whole number of minutes, from 1 to 999999"
        )
    return int(value)


def _check_safe(properties: Mapping[str, str]) -> None:
    for key, value in properties.items():
        form = f"http://{_LOOPBACK}:PORT" if not key.startswith("grpc") else _LOOPBACK
        pattern = re.escape(form).replace("PORT", "[0-9]+")
        if key.endswith("_address") and not re.fullmatch(pattern, value):
            raise SettingsError(
                f"{key}={value}: must be {form}; TorchServe gets no security patches, so it "
                "listens on loopback only, behind a gateway"
            )
    if properties.get("disable_token_authorization", "false") != "false":
        raise SettingsError("disable_token_authorization: must be false; tokens stay on")
    if properties.get("enable_model_api") != "true":
        raise SettingsError("enable_model_api: must be true; models are registered through it")


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} names no port")
    return port
