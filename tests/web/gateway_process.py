"""`catbreeds web` as a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.serving.serve_process import CATBREEDS

_PATIENCE_S = 60


class GatewayProcess:
    """A gateway that listens; leaving the context ends it.

    Args:
        folder: for its log.
        torchserve: TorchServe's inference API.
        settings: as in web/settings.py, by name.
    """

    def __init__(self, folder: Path, torchserve: str, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "gateway.log"
        named = {f"CATBREEDS_WEB_{name.upper()}": str(value) for name, value in settings.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                (str(CATBREEDS), "web", "--port", "0", "--torchserve", torchserve),
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | named,
            )
        self.url = self._address()
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> psutil.Process:
        """The running gateway."""
        return psutil.Process(self._process.pid)

    def log(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text()

    def wait_until_ready(self) -> GatewayProcess:
        """Until every model has answered a photo."""
        self.wait_for(lambda: requests.get(f"{self.url}/readyz", timeout=10).ok)
        return self

    def wait_for(self, condition: Any) -> None:  # noqa: ANN401 - a callable
        """Until `condition()` holds."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.log()[-2000:]
            time.sleep(0.05)

    def classify(self, photo: bytes, **options: str) -> requests.Response:
        """One photo as the whole body."""
        return requests.post(f"{self.url}/api/classify", photo, params=options, timeout=60)

    def stop(self) -> int:
        """End it; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _address(self) -> str:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            found = re.search(r"page at (https?://\S+)/\n", self.log())
            if found:
                return found[1]
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
