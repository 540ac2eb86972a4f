"""`catbreeds serve`: TorchServe up and ready with every archive of the model store."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from handlers.archive_format import read_entry
from serving import state
from serving.inference import InferenceClient, ServiceError
from serving.management import ManagementClient, ManagementError
from serving.model_store import Archive, ServeError, verified_archives
from serving.settings import (
    DEFAULT_CONFIG,
    LogFormat,
    Ports,
    check_ports_free,
    complete_properties,
    ports_of,
    read_properties,
    token_minutes,
)
from serving.torchserve import TorchServe

log = logging.getLogger(__name__)

_FRONTEND_TIMEOUT_S = 60
_POLL_S = 0.1
_WATCH_S = 0.5
_RETRY_S = 5.0


class Server:
    """A TorchServe that is ready: workers READY and a warm-up prediction answered.

    Use as a context manager; leaving it stops all processes.

    Args:
        model_store: folder of .mar files; every one is verified and registered, and the highest
            version of a model becomes its default.
        config: a config.properties.
        ports: other ports than the file's.
        report: is told about each step of the start.
        stop_asked: looked at while something is waited for.

    Raises:
        KeyboardInterrupt: `stop_asked` was set.
        ServeError: empty store, damaged archive, worker that does not load, TorchServe that ends.
        SettingsError: unusable settings, ports taken, no Java.
    """

    def __init__(
        self,
        model_store: Path,
        config: Path = DEFAULT_CONFIG,
        ports: Ports | None = None,
        log_format: LogFormat = "plain",
        java_home: Path | None = None,
        report: Callable[[str], None] = lambda _: None,
        stop_asked: threading.Event | None = None,
    ) -> None:
        self.archives = verified_archives(model_store)
        properties = complete_properties(read_properties(config), model_store, ports)
        self.ports = ports_of(properties)
        check_ports_free(self.ports)
        self.inference_url = f"http://127.0.0.1:{self.ports.inference}"
        self.management_url = f"http://127.0.0.1:{self.ports.management}"
        self.metrics_url = f"http://127.0.0.1:{self.ports.metrics}"
        self.grpc = f"127.0.0.1:{self.ports.grpc_inference}"
        self._token_life_s = 60.0 * token_minutes(properties)
        self._report = report
        self._stop_asked = stop_asked or threading.Event()
        with ExitStack() as undo:
            self.folder = undo.enter_context(state.claimed_server_folder(self.ports.inference))
            report("starting TorchServe")
            self._torchserve = TorchServe(properties, self.folder, log_format, java_home)
            undo.callback(self._torchserve.stop)
            self._make_ready()
            self._undo = undo.pop_all()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of TorchServe's Java."""
        return self._torchserve.pid

    @property
    def header_file(self) -> Path:
        """A file with the inference token as a header line, for `curl -H @FILE`."""
        return self.folder / "inference.header"

    @property
    def example_photo(self) -> Path:
        """A photo that the default model knows, for a first request."""
        return self.folder / "example.png"

    def management(self) -> ManagementClient:
        """A client that holds the management token."""
        return ManagementClient(
            self.management_url, lambda: state.read_token(self.folder, "management")
        )

    def watch(self, check: Callable[[], None] = lambda: None) -> None:
        """Renew the tokens at half their life; returns only by an exception.

        Args:
            check: called about twice a second, and may end this by an exception.

        Raises:
            ServeError: TorchServe has ended by itself.
        """
        wait_s = self._token_life_s / 2
        while True:
            # Tokens live by the wall clock, which goes on while a laptop sleeps.
            renew_at = _time_awake_and_asleep() + wait_s
            while _time_awake_and_asleep() < renew_at:
                self._check_alive()
                check()
                self._stop_asked.wait(_WATCH_S)
            wait_s = self._token_life_s / 2 if self.renew_tokens() else _RETRY_S

    def renew_tokens(self) -> bool:
        """Replace both tokens; the old ones stop working.

        Returns:
            Whether it was done; the log says why not.
        """
        client = self.management()
        try:
            client.renew_token("inference", state.read_token(self.folder, "API"))
            self._write_header()
            client.renew_token("management", state.read_token(self.folder, "API"))
        except (ManagementError, state.TokenError) as error:
            log.error("the tokens were not renewed: %s", error)
            return False
        return True

    def stop(self) -> None:
        """Stop all processes and forget the tokens."""
        self._undo.close()

    def _make_ready(self) -> None:
        self._wait_for_frontend()
        client = self.management()
        for archive in self.archives:
            self._report(f"loading {archive.path.name}")
            try:
                self._register(client, archive)
                self._wait_for_workers(client, archive)
                client.set_default(archive.model, archive.version)
            except ManagementError as error:
                if error.status is None:
                    self._look_for_an_end()
                raise ServeError(f"{archive.path}: does not load: {error}") from error
        self._write_header()
        self._report("warming up")
        for archive in self.archives:
            self._warm_up(archive)
        record = state.ServerRecord(
            inference=self.inference_url,
            management=self.management_url,
            metrics=self.metrics_url,
            grpc=self.grpc,
            pid=os.getpid(),
            models=_versions(self.archives),
        )
        state.write_record(self.folder, record)

    def _register(self, client: ManagementClient, archive: Archive) -> None:
        """Register in a thread: it takes as long as the workers do, and a stop must not wait."""
        with ThreadPoolExecutor(1) as thread:
            registered = thread.submit(
                client.register, archive.path.name, timeout_s=archive.startup_timeout_s
            )
            try:
                while not registered.done():
                    self._check_alive()
                    futures.wait([registered], _POLL_S)
            except BaseException:
                # Without its server the call ends at once, and with it the thread.
                self._torchserve.stop()
                raise
            registered.result()

    def _look_for_an_end(self) -> None:
        """Raise where TorchServe's end explains an unanswered call; it shows a little later."""
        for _ in range(10):
            self._check_alive()
            time.sleep(_POLL_S)

    def _wait_for_frontend(self) -> None:
        deadline = time.monotonic() + _FRONTEND_TIMEOUT_S
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                self.management().describe("none", "none")
            except state.TokenError:
                pass
            except ManagementError as error:
                if error.status is not None:
                    return
            time.sleep(_POLL_S)
        raise ServeError(f"TorchServe does not answer after {_FRONTEND_TIMEOUT_S} s")

    def _wait_for_workers(self, client: ManagementClient, archive: Archive) -> None:
        deadline = time.monotonic() + archive.startup_timeout_s
        while time.monotonic() < deadline:
            self._check_alive()
            if client.describe(archive.model, archive.version).ready:
                return
            time.sleep(_POLL_S)
        raise ServeError(f"{archive.path}: no worker is ready; TorchServe's log says why")

    def _warm_up(self, archive: Archive) -> None:
        """READY says that a worker loaded; only an answer says that it works."""
        photo = read_entry(archive.path, "golden/00.png")
        self.example_photo.write_bytes(photo)
        self.example_photo.chmod(0o600)
        client = InferenceClient(
            self.inference_url, lambda: state.read_token(self.folder, "inference")
        )
        try:
            client.predict(photo, archive.model, archive.version)
        except ServiceError as error:
            raise ServeError(f"{archive.path}: the warm-up prediction failed: {error}") from error

    def _write_header(self) -> None:
        token = state.read_token(self.folder, "inference")
        state.write_private(self.header_file, f"Authorization: Bearer {token}\n")

    def _check_alive(self) -> None:
        if self._stop_asked.is_set():
            raise KeyboardInterrupt
        code = self._torchserve.exit_code()
        if code is not None:
            raise ServeError(f"TorchServe ended by itself (exit code {code}); its log says why")


def _versions(archives: Sequence[Archive]) -> dict[str, list[str]]:
    """Model -> versions, highest first: archives are in rising order of version."""
    versions: dict[str, list[str]] = {}
    for archive in archives:
        versions.setdefault(archive.model, []).insert(0, archive.version)
    return versions


def _time_awake_and_asleep() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
