"""Our archive under our server: asked at TorchServe's inference API, and through the gateway."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from benchmarks.serving import USER_ENVIRONMENT
from benchmarks.serving.errors import BenchError
from benchmarks.serving.project import VERSION, workers_and_threads
from benchmarks.serving.sides.side import Answer, HttpSide, Setup, Target, read_predictions
from serving import state
from serving.gateway import Gateway
from serving.server import Server
from serving.settings import Ports, free_ports

_RENEW_S = 600.0
_SCALE_S = 180.0
# One generator stands for many clients; what one of them may do is not the question here. Its looks
# at TorchServe would find it suspended.
_GATEWAY = {
    "CATBREEDS_WEB_RATE": "none",
    "CATBREEDS_WEB_CLIENT_CONNECTIONS": "0",
    "CATBREEDS_WEB_CLIENT_PHOTOS_AT_ONCE": "100000",
    "CATBREEDS_WEB_CLIENT_UPLOAD_MEMORY": str(2**40),
    "CATBREEDS_WEB_READY_EVERY_S": "3600",
}


class OursSide(HttpSide):
    """`catbreeds serve` without its gateway."""

    name = "ours"
    what = "this project's archive under its TorchServe, asked at the inference API with a token"
    calibrated = True
    read: Callable[[bytes], Answer] = staticmethod(read_predictions)

    def __init__(self) -> None:
        self._server: Server | None = None
        self._undo = ExitStack()
        self._renewed = 0.0

    @property
    def server(self) -> Server:
        """The running one.

        Raises:
            BenchError: it was not started.
        """
        if self._server is None:
            raise BenchError("ours: not started")
        return self._server

    @property
    def pids(self) -> list[int]:
        """See `Side.pids`."""
        return [self._server.pid] if self._server else []

    def target(self) -> Target:
        """See `HttpSide.target`."""
        token = state.read_token(self.server.folder, "inference")
        return Target(
            "127.0.0.1",
            self.server.ports.inference,
            f"/predictions/{self.server.archives[0].model}",
            headers={"Authorization": f"Bearer {token}"},
        )

    def start(self, setup: Setup) -> None:
        """See `Side.start`."""
        with ExitStack() as undo:
            undo.enter_context(_environment(setup))
            began = time.monotonic()
            server = self._server = undo.enter_context(
                Server(setup.archive.parent, ports=Ports.free())
            )
            self._renewed = time.monotonic()
            setup.guard.watch(server.pid)
            undo.callback(setup.guard.forget, server.pid)
            self.wait_until_ready(setup.photo, lambda: None, began)
            _, threads = workers_and_threads(setup.model_dir)
            self.what = (
                f"{type(self).what}; workers: {len(self.worker_pids())}, threads of each: {threads}"
            )
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """See `Side.stop`."""
        if self._server is not None:
            self.resume()
        self._undo.close()
        self._server = None

    def resume(self) -> None:
        """Also renew the token where it is old: it lives an hour, a whole run may take longer."""
        super().resume()
        if self._server is not None and time.monotonic() - self._renewed > _RENEW_S:
            self._server.renew_tokens()
            self._renewed = time.monotonic()

    def worker_pids(self) -> list[int]:
        """Process ids of its workers."""
        model = self.server.archives[0].model
        return list(self.server.management().describe(model, VERSION).worker_pids)

    def scale(self, workers: int) -> None:
        """Have so many workers, and wait for them."""
        model = self.server.archives[0].model
        self.server.management().scale(model, VERSION, workers, workers, _SCALE_S)


class GatewaySide(HttpSide):
    """The same server behind our public gateway.

    Args:
        behind: the server's side; it must have been started.
    """

    name = "gateway"
    what = (
        "the same server through the public gateway, without limits on one client; its start-up is "
        "that of the gateway alone"
    )
    calibrated = True
    read: Callable[[bytes], Answer] = staticmethod(read_predictions)

    def __init__(self, behind: OursSide) -> None:
        self.behind = behind
        self._gateway: Gateway | None = None
        self._undo = ExitStack()

    @property
    def pids(self) -> list[int]:
        """The gateway's, and those of the server behind it."""
        return [*([self._gateway.pid] if self._gateway else []), *self.behind.pids]

    def target(self) -> Target:
        """See `HttpSide.target`."""
        port = urlsplit(self._gateway.url).port if self._gateway else 0
        return Target("127.0.0.1", port or 0, "/api/classify")

    def start(self, setup: Setup) -> None:
        """See `Side.start`."""
        self.behind.resume()
        with ExitStack() as undo:
            undo.enter_context(_environment(setup))
            began = time.monotonic()
            server, (port,) = self.behind.server, free_ports(1)
            log = undo.enter_context((setup.folder / "gateway.log").open("wb"))
            gateway = self._gateway = undo.enter_context(
                Gateway(server.inference_url, port, "plain", log=log.fileno())
            )
            setup.guard.watch(gateway.pid)
            undo.callback(setup.guard.forget, gateway.pid)
            self.wait_until_ready(setup.photo, gateway.check_alive, began)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """See `Side.stop`. The server behind it is not ended."""
        if self._gateway is not None:
            self.resume()
        self._undo.close()
        self._gateway = None

    def resume(self) -> None:
        """See `OursSide.resume`."""
        self.behind.resume()
        super().resume()


@contextmanager
def _environment(setup: Setup) -> Iterator[None]:
    """Server and gateway take theirs from this process: as the user's, with folders of our own."""
    before = dict(os.environ)
    # `import training` put things there that `catbreeds serve` does not have.
    for name in before.keys() - USER_ENVIRONMENT.keys():
        if name.startswith(("OMP_", "KMP_", "MKL_")):
            del os.environ[name]
    os.environ |= {"CATBREEDS_STATE": str(setup.folder / "state"), **_GATEWAY}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
