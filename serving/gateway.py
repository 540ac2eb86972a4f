"""The public gateway as a child of `catbreeds serve`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

from serving.http import call
from serving.model_store import ServeError
from serving.processes import ends_with
from serving.settings import LogFormat, SettingsError

_START_S = 60
# Requests in work are answered first; the gateway itself gives up on them sooner.
_STOP_S = 40
_POLL_S = 0.1
_LOOPBACK = "127.0.0.1"


# Here the page is for this machine, without TLS.
_NOT_FOR_IT = ("CATBREEDS_WEB_CERTIFICATE", "CATBREEDS_WEB_PRIVATE_KEY")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_IT}


class Gateway:
    """`catbreeds web` before a TorchServe that is ready; a context manager.

    A process of its own: what faces the network shares no memory with what holds the management
    token. Its other settings come from the environment (`CATBREEDS_WEB_...`).

    Args:
        inference_url: TorchServe's inference API.
        port: to listen on.
        host: to listen on; its own settings say what it wants beyond loopback.
        stop_asked: looked at while its start is waited for.
        log: where its standard error goes; None: where this process's goes.

    Raises:
        KeyboardInterrupt: `stop_asked` was set.
        ServeError: it ended, or was not ready in time; its own line on standard error says why.
    """

    def __init__(
        self,
        inference_url: str,
        port: int,
        log_format: LogFormat,
        stop_asked: threading.Event | None = None,
        log: int | None = None,
        host: str = _LOOPBACK,
    ) -> None:
        given = [name for name in _NOT_FOR_IT if os.environ.get(name)]
        if given and host != _LOOPBACK:
            raise SettingsError(
                f"{' and '.join(given)}: a server's own gateway speaks plain HTTP, and --web-host "
                f"{host} shows it to others; for HTTPS take --no-web and `catbreeds web`"
            )
        catbreeds = Path(sys.executable).with_name("catbreeds")
        options = ("--port", str(port), "--torchserve", inference_url, "--log-format", log_format)
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            (str(catbreeds), "web", "--host", host, *options),
            # Ctrl-C in a terminal goes to the whole process group; it is stopped in order.
            start_new_session=True,
            env=_environment(),
            stderr=log,
            preexec_fn=ends_with(os.getpid()),
        )
        try:
            self._wait_until_ready(stop_asked or threading.Event())
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check_alive(self) -> None:
        """Raises:
        ServeError: it has ended by itself.
        """
        code = self._process.poll()
        if code is not None:
            raise ServeError(f"the gateway ended by itself (exit code {code}); its log says why")

    def stop(self) -> None:
        """Let it answer what it has begun, and end it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self, stop_asked: threading.Event) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if stop_asked.is_set():
                raise KeyboardInterrupt
            self.check_alive()
            try:
                if call("GET", f"{self.url}/readyz", None, _START_S).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(_POLL_S)
        raise ServeError(f"the gateway is not ready after {_START_S} s; its log says why")
