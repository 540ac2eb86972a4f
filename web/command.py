"""What `catbreeds web` does and prints."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import ssl
import sys
from typing import Any

import uvicorn
from pydantic import ValidationError

from serving.settings import SettingsError
from web.app import create_app
from web.connection_limits import ConnectionLimits
from web.observe import LogLines
from web.server import GatewayServer
from web.settings import PREFIX, Settings

_STOP_S = 30


def run_gateway(**options: object) -> None:
    """Serve until SIGINT or SIGTERM; requests in work are answered first.

    Args:
        options: settings that overrule those of the environment; None leaves one as it is.

    Raises:
        SettingsError: a setting with an impossible value, a port that is taken, or a certificate
            that cannot be used.
    """
    settings = read_settings(**options)
    context = _tls_context(settings)
    listener = _listen(settings.host, settings.port)
    _allow_files(settings)
    _log_to_stderr(settings)
    limits = ConnectionLimits(
        header_timeout_s=settings.header_s,
        header_bytes=settings.header_bytes,
        # All of a proxy's connections are its own.
        per_client=0 if settings.trusted_proxies else settings.client_connections,
        total=settings.connections,
    )
    config = uvicorn.Config(
        create_app(settings),
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(each) for each in settings.trusted_proxies],
        ssl_context_factory=(lambda *_: context) if context else None,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_STOP_S,
    )
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    page = f"{'https' if context else 'http'}://{host}:{port}/"

    def announce() -> None:
        print(f"catbreeds: page at {page}", file=sys.stderr, flush=True)

    GatewayServer(config, limits, announce).run(sockets=[listener])


def read_settings(**options: object) -> Settings:
    """The environment's settings and these.

    Raises:
        SettingsError: the first that has an impossible value.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(str(part) for part in first["loc"][:1])
        value = f"{PREFIX}{name.upper()}={first['input']}: " if name else ""
        raise SettingsError(f"{value}{first['msg'].removeprefix('Value error, ')}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except TypeError as error:
        # Python's, where a name beyond ASCII has no IDNA form.
        raise SettingsError(f"{PREFIX}HOST={host}: is no host name") from error
    except OSError as error:
        # Python adds in brackets what the message names already.
        problem = str(error.strerror).partition(" (while")[0]
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} (gateway) is taken: {problem}") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SettingsError(f"{PREFIX}PORT={port}: {problem}") from error
        raise SettingsError(f"{PREFIX}HOST={host}: {problem}") from error


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    """With the certificate, where HTTPS is to be served.

    Raises:
        SettingsError: it or its key cannot be used.
    """
    certificate, key = settings.certificate, settings.private_key
    if certificate is None or key is None:
        return None
    for name, file in (("CERTIFICATE", certificate), ("PRIVATE_KEY", key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise SettingsError(f"{PREFIX}{name}={file}: {error.strerror}") from error

    def no_password() -> str:
        # Else OpenSSL would ask for it on the terminal.
        raise SettingsError(f"{PREFIX}PRIVATE_KEY={key}: needs a password; give it without one")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # OpenSSL does not say which of the two it cannot read: this looks at certificates only.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise SettingsError(
            f"{PREFIX}CERTIFICATE={certificate}: holds no PEM certificate"
        ) from error
    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        problem = "holds no PEM key"
        if error.reason == "KEY_VALUES_MISMATCH":
            problem = f"is not the key of the certificate {certificate}"
        elif error.reason:
            problem = f"cannot be used with {certificate}: {error.reason}"
        raise SettingsError(f"{PREFIX}PRIVATE_KEY={key}: {problem}") from error
    return context


def _allow_files(settings: Settings) -> None:
    """Each connection is an open file, to clients, to TorchServe, and to where photos lie."""
    needed = 2 * settings.connections + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"{PREFIX}CONNECTIONS={settings.connections}: needs {needed} open files; the system "
            f"allows {hard} (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _log_to_stderr(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines(settings.log_format == "json"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    uvicorns = logging.getLogger("uvicorn.error")
    # Its greetings; what goes wrong it tells at higher levels.
    uvicorns.setLevel(logging.WARNING)
    # A line for each request that is no HTTP would let anybody fill the log.
    uvicorns.addFilter(lambda record: not record.getMessage().startswith("Invalid HTTP"))
    # Says of every broken form what is in its answer already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
