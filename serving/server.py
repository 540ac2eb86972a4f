"""`catbreeds serve`: TorchServe up and ready with every archive of the model store."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from handlers.archive_format import read_entry
from serving import deployments, state
from serving.deployments import DeploymentsError
from serving.inference import ServiceError
from serving.management import ManagementClient, ManagementError
from serving.model_store import Archive, ServeError, select
from serving.rollout import recovery
from serving.rollout.site import RolloutError, Site
from serving.settings import (
    DEFAULT_CONFIG,
    LOOPBACK,
    Hosts,
    LogFormat,
    Ports,
    check_ports_free,
    complete_properties,
    ports_of,
    read_properties,
    token_minutes,
)
from serving.torchserve import TorchServe
from serving.watcher import Watcher

log = logging.getLogger(__name__)

_FRONTEND_TIMEOUT_S = 60
_POLL_S = 0.1
_WATCH_S = 0.5
_RETRY_S = 5.0


class Server:
    """A TorchServe that is ready: workers READY and a warm-up prediction answered.

    Use as a context manager; leaving it stops all processes.

    Args:
        model_store: folder of .mar files, and the record of which of them are deployed. A model
            that the record does not know is served with all its files, its highest version by
            default, and added to the record.
        config: a config.properties.
        ports: other ports than the file's.
        hosts: where a private network may reach it.
        gateway_folder: kept for a gateway that is not this user's (`state.GATEWAY_FILES`).
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
        hosts: Hosts = LOOPBACK,
        gateway_folder: Path | None = None,
    ) -> None:
        self._report = report
        self._store = model_store.resolve()
        self._gateway_folder = gateway_folder.resolve() if gateway_folder else None
        properties = complete_properties(read_properties(config), model_store, ports, hosts)
        self.ports = ports_of(properties)
        self.inference_url = f"http://127.0.0.1:{self.ports.inference}"
        self._forget_killed()
        self._selection = select(model_store)
        self.archives = self._selection.archives
        check_ports_free(self.ports)
        self.management_url = f"http://127.0.0.1:{self.ports.management}"
        self.metrics_url = f"http://127.0.0.1:{self.ports.metrics}"
        self.grpc = f"127.0.0.1:{self.ports.grpc_inference}"
        self._token_life_s = 60.0 * token_minutes(properties)
        self._stop_asked = stop_asked or threading.Event()
        with ExitStack() as undo:
            self.folder = undo.enter_context(state.claimed_server_folder(self.ports.inference))
            if self._gateway_folder:
                undo.enter_context(state.kept_gateway_folder(self._gateway_folder))
            self._record = state.ServerRecord(
                inference=self.inference_url,
                management=self.management_url,
                metrics=self.metrics_url,
                grpc=self.grpc,
                pid=os.getpid(),
                models={},
                model_store=str(self._store),
                gateway_folder=str(self._gateway_folder) if self._gateway_folder else None,
            )
            self._site = Site.of(self.folder, self._record)
            self._watcher = Watcher(self._site, self.management_url, self._gateway_folder)
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
        return self.folder / state.HEADER_FILE

    @property
    def example_photo(self) -> Path:
        """A photo that the default model knows, for a first request."""
        return self.folder / "example.png"

    def management(self) -> ManagementClient:
        """A client that holds the management token."""
        return self._site.management

    def watch(self, check: Callable[[], None] = lambda: None) -> None:
        """Renew the tokens at half their life; returns only by an exception.

        Args:
            check: called about twice a second, and may end this by an exception.

        Raises:
            ServeError: TorchServe has ended by itself.
        """
        wait_s = self._token_life_s / 2
        killed = recovery.KilledCommands(self._site)
        while True:
            # Tokens live by the wall clock, which goes on while a laptop sleeps.
            renew_at = _time_awake_and_asleep() + wait_s
            while _time_awake_and_asleep() < renew_at:
                self._check_alive()
                check()
                killed.look()
                self._watcher.look()
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
            state.write_header(self.folder, self._gateway_folder)
            client.renew_token("management", state.read_token(self.folder, "API"))
        except (ManagementError, state.TokenError, OSError) as error:
            log.error("the tokens were not renewed: %s", error)
            return False
        return True

    def stop(self) -> None:
        """Stop all processes and forget the tokens."""
        self._undo.close()

    def _make_ready(self) -> None:
        self._wait_for_frontend()
        loaded = []
        for archive in self.archives:
            self._report(f"loading {archive.path.name}")
            try:
                self._load(archive)
                self.management().set_default(archive.model, archive.version)
                loaded.append(archive)
            except (ManagementError, RolloutError) as error:
                if getattr(error, "status", None) is None:
                    self._look_for_an_end()
                self._leave_out(archive, error)
        self.archives = tuple(loaded)
        state.write_header(self.folder, self._gateway_folder)
        self._report("warming up")
        for archive in self.archives:
            self._warm_up(archive)
        served = {name: model.loaded() for name, model in self._selection.models.items()}
        self._record = replace(self._record, models=served)
        state.write_record(self.folder, self._record)
        self._record_deployments()

    def _leave_out(self, archive: Archive, error: Exception) -> None:
        """Go on without a version that is not the default.

        Raises:
            ServeError: it is.
        """
        models, name = self._selection.models, archive.model
        if archive.version == models[name].default:
            raise ServeError(f"{archive.path}: does not load: {error}") from error
        self._report(f"{name} {archive.version} is left out: does not load: {error}")
        models[name] = models[name].unloaded(archive.version)
        with suppress(ManagementError):
            self.management().unregister(name, archive.version)

    def _forget_killed(self) -> None:
        """Undo what a killed command left, before it is chosen what to serve."""
        try:
            if recovery.forget_killed(self._store, self.inference_url):
                self._report(recovery.SAID)
        except (DeploymentsError, OSError) as error:
            raise ServeError(str(error)) from error

    def _record_deployments(self) -> None:
        """Note models that were not deployed by a command, but lay in the store, and what of the
        others could not be used."""
        for note in self._selection.notes:
            self._report(note)
        try:
            with deployments.locked(self._store, "serve"):
                record = deployments.read(self._store)
                models = record.models | self._selection.models
                if models != record.models:
                    changed = record.model_copy(update={"models": models})
                    deployments.write(self._store, changed)
        except (DeploymentsError, OSError) as error:
            self._report(f"what is deployed was not recorded: {error}")

    def _load(self, archive: Archive) -> None:
        """Load in a thread: it takes as long as the workers do, and a stop must not wait."""
        with ThreadPoolExecutor(1) as thread:
            loaded = thread.submit(self._site.load, archive)
            try:
                while not loaded.done():
                    self._check_alive()
                    self._watcher.look()
                    futures.wait([loaded], _POLL_S)
            except BaseException:
                # Without its server the call ends at once, and with it the thread.
                self._torchserve.stop()
                raise
            loaded.result()

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
                self.management().models()
                return
            except state.TokenError:
                pass
            except ManagementError as error:
                if error.status is not None:
                    return
            time.sleep(_POLL_S)
        raise ServeError(f"TorchServe does not answer after {_FRONTEND_TIMEOUT_S} s")

    def _warm_up(self, archive: Archive) -> None:
        """READY says that a worker loaded; only an answer says that it works."""
        photo = read_entry(archive.path, "golden/00.png")
        self.example_photo.write_bytes(photo)
        self.example_photo.chmod(0o600)
        try:
            self._site.inference.predict(photo, archive.model, archive.version)
        except ServiceError as error:
            raise ServeError(f"{archive.path}: the warm-up prediction failed: {error}") from error

    def _check_alive(self) -> None:
        if self._stop_asked.is_set():
            raise KeyboardInterrupt
        code = self._torchserve.exit_code()
        if code is not None:
            raise ServeError(f"TorchServe ended by itself (exit code {code}); its log says why")


def _time_awake_and_asleep() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
