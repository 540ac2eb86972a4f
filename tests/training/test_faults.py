"""What goes wrong while a model is trained: processes, photos, disk, trackers."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.small_sets import write_small_set
from tests.training.tiny import PHOTOS, write_tiny
from tests.training.training_process import Training, position, result

# Only what a fault or a signal saves is there to go on from.
RARELY = ("--set", "training.checkpoint_minutes=60")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_small_set("dogs-vs-cats", tmp_path / "data", PHOTOS)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def undisturbed(
    recipe: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_small_set("dogs-vs-cats", folder / "data", PHOTOS)
    assert Training(recipe, folder / "data", folder / "run").end()[0] == 0
    return result(folder / "run")


@contextmanager
def rotten(photo: Path) -> Iterator[None]:
    """Meanwhile the file does not decode; then it is as it was, its time as well."""
    content, changed = photo.read_bytes(), photo.stat().st_mtime_ns
    photo.write_bytes(b"rotten")
    yield
    photo.write_bytes(content)
    os.utime(photo, ns=(changed, changed))


def photos_of(run: Path, part: str) -> list[str]:
    lines = (run / "checkpoint" / "photos.txt").read_text().splitlines()
    return [name for line in lines for of, _, name in [line.partition(" ")] if of == part]


def test_killed_alone_it_is_gone_on_with_at_once(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """As the kernel kills when memory is short: the loaders of photos live on for some seconds."""
    training = Training(recipe, data, tmp_path / "run")
    training.wait_for_step(1, 8)
    training.process.kill()
    training.process.wait()
    again = Training(recipe, data, tmp_path / "run", "--resume")
    assert again.end()[0] == 0
    assert result(tmp_path / "run") == undisturbed
    training.end()


def test_a_signal_that_comes_twice_is_one(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """As where a whole group of processes is stopped, and its launcher passes it on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        run = tmp_path / number.name
        training = Training(recipe, data, run, *RARELY)
        training.wait_for_step(0, 3)
        training.signal(number)
        time.sleep(0.01)
        training.signal(number)
        code, errors = training.end()
        assert (code, "all is saved" in errors) == (130, True), errors
        assert "Traceback" not in errors
        assert Training(recipe, data, run, "--resume", *RARELY).end()[0] == 0
        assert result(run) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_before_the_first_step_it_says_how_to_go_on(
    recipe: str, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    training = Training(recipe, data, tmp_path / "run")
    training.wait_for(tmp_path / "run" / ".training.lock")
    training.signal(number)
    code, errors = training.end()
    assert code == 130
    assert "stopped; what was saved before is kept; go on with" in errors
    assert "Traceback" not in errors


def test_a_loader_of_photos_that_is_killed_loses_no_step(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = Training(recipe, data, run, *RARELY)
    training.wait_for_step(1, 5)
    psutil.Process(training.process.pid).children()[0].kill()
    code, errors = training.end()
    assert code == 1
    assert "a loader of photos came to an end: " in errors
    assert "all is saved: mend that, then go on with --resume" in errors
    assert "Traceback" not in errors
    assert Training(recipe, data, run, "--resume", *RARELY).end()[0] == 0
    assert result(run) == undisturbed


@contextmanager
def two_machines(recipe: str, data: Path, run: Path, *options: str) -> Iterator[list[Training]]:
    """With a process each, the first of them the one that saves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {
        **{"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        **{"LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"},
    }
    both = [Training(recipe, data, run, *options, env=common | {"RANK": rank}) for rank in "01"]
    try:
        yield both
    finally:
        for each in both:
            with each.process as process:
                process.kill()


def test_where_one_of_several_processes_is_killed_the_other_says_how_to_go_on(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for killed, step in ((1, 5), (0, 10)):
        with two_machines(recipe, data, run, "--resume") as both:
            both[0].wait_for_step(1, step)
            both[killed].process.kill()
            code, errors = both[1 - killed].end()
            assert code == 1
            assert "another process of this training ended, or cannot be reached (" in errors
            assert "then go on with --resume" in errors
            assert "Traceback" not in errors
        at = position(run)
        assert at is not None
        assert (at.phase, at.step) >= (1, step)
    with two_machines(recipe, data, run, "--resume") as both:
        assert [each.end()[0] for each in both] == [0, 0]
    assert (run / "run.json").exists()


def test_a_photo_that_rots_for_good_is_named_again(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = Training(recipe, data, run)
    training.wait_for_step(1, 5)
    name = photos_of(run, "training")[3]
    with rotten(data / name):
        code, errors = training.end()
        assert code == 1
        assert f"{name}: " in errors
        assert "all is saved: mend that, then go on with --resume" in errors
        code, errors = Training(recipe, data, run, "--resume").end()
        assert code == 1
        assert f"'{name}' came, went, or cannot be decoded any more" in errors
        assert f"--weights {run}/checkpoint/best.safetensors" in errors
        best = str(run / "checkpoint" / "best.safetensors")
        anew = Training(recipe, data, tmp_path / "anew", "--weights", best)
        assert anew.end()[0] == 0
    assert Training(recipe, data, run, "--resume").end()[0] == 0
    assert result(run) == undisturbed


def test_a_validation_photo_that_rots_loses_no_step(
    recipe: str, data: Path, undisturbed: tuple[bytes, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = Training(recipe, data, run, *RARELY)
    training.wait_for_step(1, 6)
    name = photos_of(run, "validation")[0]
    with rotten(data / name):
        code, errors = training.end()
    assert code == 1
    assert f"{name}: " in errors
    at = position(run)
    assert at is not None
    # What comes next is the evaluation that the photo was needed for.
    assert (at.photos, at.step % 3) == (24, 0)
    assert Training(recipe, data, run, "--resume", *RARELY).end()[0] == 0
    assert result(run) == undisturbed


@pytest.mark.parametrize("file_bytes", [100, 20_000])
def test_a_disk_that_is_full_from_the_start_is_told(
    recipe: str, data: Path, tmp_path: Path, file_bytes: int
) -> None:
    """With room for nothing, and for all but what the backbone makes of the photos."""
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    training = Training(recipe, data, tmp_path / "run", file_bytes=file_bytes, env=env)
    code, errors = training.end()
    assert code == 1
    assert str(tmp_path / "run") in errors
    assert "File too large" in errors
    assert "make room, then go on with --resume" in errors
    assert "Traceback" not in errors


def test_curves_go_on_where_training_does(recipe: str, data: Path, tmp_path: Path) -> None:
    """Killed after steps that no checkpoint knows of: a tracker shows each step once."""
    training = Training(recipe, data, tmp_path / "run", *RARELY, tracker="tensorboard")
    training.wait_for_step(1, 20)
    time.sleep(0.2)
    training.process.kill()
    training.end()
    again = Training(recipe, data, tmp_path / "run", "--resume", *RARELY, tracker="tensorboard")
    assert again.end()[0] == 0
    (log,) = (tmp_path / "run" / "tracking").iterdir()
    steps = [event.step for event in EventAccumulator(str(log)).Reload().Scalars("loss")]
    assert steps == list(range(1, 3 + 75 + 1))


def test_a_run_that_goes_on_is_one_run_of_mlflow(recipe: str, data: Path, tmp_path: Path) -> None:
    env = {
        "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    training = Training(recipe, data, tmp_path / "run", tracker="mlflow", env=env)
    training.wait_for_step(1, 5)
    training.signal(signal.SIGINT)
    assert training.end()[0] == 130
    again = Training(recipe, data, tmp_path / "run", "--resume", tracker="mlflow", env=env)
    assert again.end()[0] == 0
    (loss,) = (tmp_path / "mlruns").rglob("metrics/loss")
    assert [int(line.split()[2]) for line in loss.read_text().splitlines()] == list(range(1, 79))


class _Gone(BaseHTTPRequestHandler):
    """A server of MLflow that takes a run, and then no value."""

    def do_GET(self) -> None:
        self._say(b'{"experiments": [{"experiment_id": "1", "name": "tiny"}]}')

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("experiments/search"):
            self.do_GET()
        elif self.path.endswith("runs/create"):
            info = b'{"run_id": "a1", "run_uuid": "a1", "experiment_id": "1", "status": "RUNNING"}'
            self._say(b'{"run": {"info": ' + info + b', "data": {}}}')
        elif self.path.endswith("log-batch") and not told.get("metrics"):
            self._say(b"{}")
        else:
            self.send_error(503)

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to standard error."""


def test_a_tracker_whose_server_goes_does_not_hold_training_up(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    """Its client waits and tries again by itself, which 78 steps must not pay for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gone) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.server_address[1]}"}
        training = Training(recipe, data, tmp_path / "run", tracker="mlflow", env=env)
        code, errors = training.end()
        server.shutdown()
    assert code == 0, errors
    assert errors.count("the tracker fails, training goes on") == 1
