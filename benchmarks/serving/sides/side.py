"""What all sides have in common."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from benchmarks.serving.errors import BenchError
from benchmarks.serving.processes import Guard, resume, suspend

Answer = list[tuple[str, float]]
_READY_S = 180.0
_POLL_S = 0.1
_BOUNDARY = "catbreeds-bench-7d1f"


@dataclass(frozen=True)
class Setup:
    """What every side is started with.

    Attributes:
        run: the run folder whose model all serve.
        archive: our .mar of it; `model_dir` is the same, unpacked.
        folder: for temp files; each side makes its own in it.
        photo: an encoded photo, for the readiness check.
    """

    run: Path
    archive: Path
    model_dir: Path
    folder: Path
    photo: bytes
    guard: Guard


@dataclass(frozen=True)
class Target:
    """Where a side is asked.

    Attributes:
        form: how a photo is sent: the body itself, or the field `file` of a multipart form.
    """

    host: str
    port: int
    path: str
    form: str = "raw"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, photo: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body of a request with one photo."""
        if self.form == "raw":
            return {"Content-Type": "application/octet-stream", **self.headers}, photo
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photo"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        content = f"multipart/form-data; boundary={_BOUNDARY}"
        form = head.encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return {"Content-Type": content, **self.headers}, form

    def request(self, photo: bytes) -> bytes:
        """The whole request as it goes over the wire, HTTP/1.1 with a kept connection."""
        headers, body = self.body(photo)
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def ask(self, photo: bytes, timeout_s: float = 60.0) -> requests.Response:
        """Send one photo, on a connection of its own."""
        headers, body = self.body(photo)
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://{self.host}:{self.port}{self.path}"
            return session.post(url, body, headers=headers, timeout=timeout_s)


class Side(ABC):
    """One way to serve the model: started once, suspended while others are measured.

    Attributes:
        name: as on the command line and in the tables.
        what: one line for the report: what it is, and what was set.
        calibrated: whether its answers divide the logits by the run's temperature.
    """

    name: str
    what: str
    calibrated = False
    startup_s = 0.0

    @property
    @abstractmethod
    def pids(self) -> list[int]:
        """Processes that, with all that descend from them, do this side's work."""

    @abstractmethod
    def start(self, setup: Setup) -> None:
        """Start, and return when a photo was answered; sets `startup_s`.

        Raises:
            BenchError: it ended, or did not answer in time.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all processes; also where it was not started, or is suspended."""

    @abstractmethod
    def answer(self, photo: bytes) -> Answer:
        """The five best breeds of a photo, with probabilities from 0 to 1, best first.

        Raises:
            BenchError: it does not answer as it should.
        """

    def suspend(self) -> None:
        """Take the cores from it."""
        suspend(self.pids)

    def resume(self) -> None:
        """Give them back."""
        resume(self.pids)


class HttpSide(Side):
    """A side that is asked over HTTP."""

    read: Callable[[bytes], Answer]

    @abstractmethod
    def target(self) -> Target:
        """Where to ask now; a token in it may be another one later."""

    def answer(self, photo: bytes) -> Answer:
        """See `Side.answer`."""
        response = self.target().ask(photo)
        if response.status_code != 200:
            raise BenchError(f"{self.name}: {response.status_code}: {response.text[:300]}")
        return self.read(response.content)

    def wait_until_ready(self, photo: bytes, check_alive: Callable[[], None], began: float) -> None:
        """Ask until a photo is answered.

        Args:
            check_alive: raises where waiting makes no sense any more.
            began: when the start began, seconds, monotonic.
        """
        while time.monotonic() - began < _READY_S:
            check_alive()
            try:
                if self.target().ask(photo, _READY_S).status_code == 200:
                    self.startup_s = time.monotonic() - began
                    return
            except requests.RequestException:
                pass
            time.sleep(_POLL_S)
        raise BenchError(f"{self.name}: no answer to a photo after {_READY_S:.0f} s")


def read_lines(body: bytes) -> Answer:
    """Lines of "<breed> NN%"."""
    found = re.findall(r"^(.+) (\d+)%$", body.decode(), re.MULTILINE)
    return [(breed, int(percent) / 100) for breed, percent in found]


def read_labels(body: bytes) -> Answer:
    """{breed: probability}."""
    return sorted(_object(body).items(), key=lambda each: -each[1])


def read_predictions(body: bytes) -> Answer:
    """Ours, from TorchServe or the gateway."""
    predictions: Sequence[Any] = _object(body)["predictions"]
    return [(each["breed"], each["probability"]) for each in predictions]


def _object(body: bytes) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(body)
    return read
