"""`catbreeds predict` against a running service, as a user and as a script sees it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving import cli
from tests.answers import ask
from tests.service import DEMO, R50, Service
from tests.serving.serve_process import CATBREEDS

# (exit code, standard output, standard error)
Outcome = tuple[int, str, str]
Predict = Callable[..., Outcome]


@pytest.fixture
def predict(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """Runs the command in a wide terminal; `--url` is the service's unless given."""
    monkeypatch.setenv("COLUMNS", "250")

    def predict(*arguments: str | Path) -> Outcome:
        words = ["catbreeds", "predict", *map(str, arguments)]
        if "--url" not in words:
            words += ["--url", service.server.inference_url]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, output.out, output.err

    return predict


@pytest.fixture
def photos(unseen_cats: Path, tmp_path: Path) -> list[Path]:
    """Four drawn cats, named by their breed."""
    paths = []
    for breed in ("Siamese", "Bengal", "Ragdoll", "Persian"):
        source = min((unseen_cats / "images" / breed).glob("*.jpg"))
        paths.append(Path(shutil.copy(source, tmp_path / f"{breed}.jpg")))
    return paths


def test_a_photo_gives_a_table_with_bars(predict: Predict, photos: list[Path]) -> None:
    code, shown, errors = predict(photos[0])
    assert (code, errors) == (0, "")
    rows = [line for line in shown.splitlines() if "%" in line]
    assert len(rows) == 5
    assert "Siamese" in rows[0]
    assert "█" * 10 in rows[0]
    assert "Siamese.jpg" in shown
    assert f"{DEMO} 0.1" in shown


def test_several_photos_side_by_side_in_the_order_given(
    predict: Predict, photos: list[Path]
) -> None:
    code, shown, _ = predict(*photos)
    assert code == 0
    titles = shown.splitlines()[0]
    places = [titles.index(photo.name) for photo in photos]
    assert places == sorted(places)


def test_json_holds_the_services_answers_in_the_order_given(
    service: Service, predict: Predict, photos: list[Path]
) -> None:
    code, shown, errors = predict("--json", "--top", "3", *photos * 3)
    assert (code, errors) == (0, "")
    answers = json.loads(shown)
    assert [answer.pop("photo") for answer in answers] == [str(photo) for photo in photos * 3]
    for photo, answer in zip(photos * 3, answers, strict=True):
        alone = ask(service, DEMO, photo.read_bytes(), 3)
        assert set(answer) == set(alone)
        assert [best["breed"] for best in answer["predictions"]] == [
            best["breed"] for best in alone["predictions"]
        ]


def test_another_model_and_version(predict: Predict, photos: list[Path]) -> None:
    code, shown, _ = predict("--json", "--model", R50, "--version", "1.0", photos[0])
    assert code == 0
    (answer,) = json.loads(shown)
    assert (answer["model"], answer["version"], answer["unsure"]) == (R50, "1.0", True)
    _, shown, _ = predict("--model", R50, photos[0])
    assert "unsure" in shown


def test_problems_are_shown_as_they_are_beside_good_answers(
    predict: Predict, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    mixed = (photos[0], tmp_path / "notes.txt", tmp_path / "missing.jpg", tmp_path, photos[1])
    code, shown, errors = predict(*mixed)
    assert (code, errors) == (1, "")
    assert shown.count("%") == 10
    assert "415 Not an image format" in shown
    assert "No such file" in shown
    assert "Is a directory" in shown
    code, shown, errors = predict("--json", *mixed)
    assert (code, errors) == (1, "")
    first, text, missing, folder, last = json.loads(shown)
    assert first["predictions"][0]["breed"] == "Siamese"
    assert last["predictions"][0]["breed"] == "Bengal"
    assert set(text["problem"]) == {"type", "title", "status", "detail", "request_id"}
    assert "No such file" in missing["problem"]["detail"]
    assert "Is a directory" in folder["problem"]["detail"]


def test_a_top_beyond_the_classes_is_the_services_problem(
    predict: Predict, photos: list[Path]
) -> None:
    code, shown, _ = predict("--json", "--top", "68", photos[0])
    assert code == 1
    (answer,) = json.loads(shown)
    assert answer["problem"]["status"] == 422
    assert "1 to 67" in answer["problem"]["detail"]


@pytest.mark.parametrize("top", ["0", "-1", "many"])
def test_an_impossible_top_is_wrong_usage(predict: Predict, photos: list[Path], top: str) -> None:
    code, shown, errors = predict("--top", top, photos[0])
    assert (code, shown) == (2, "")
    assert "--top" in errors


@pytest.mark.parametrize(
    "name",
    [
        "[red]x.jpg",
        "[link=example.org]x.jpg",
        ":cat: x.jpg",
        "猫 ünï.jpg",
        "-x.jpg",
    ],
)
def test_a_file_name_is_shown_as_it_is(predict: Predict, photos: list[Path], name: str) -> None:
    path = Path(shutil.copy(photos[0], photos[0].with_name(name)))
    code, shown, _ = predict(path)
    assert code == 0
    assert name in shown
    code, shown, _ = predict(path.with_name("no " + name))
    assert code == 1
    assert shown.count(f"no {name}") >= 1
    assert "No such file" in shown


def test_a_file_name_cannot_steer_the_terminal(photos: list[Path], service: Service) -> None:
    """Escape sequences and bytes that are no UTF-8, through a real process."""
    name = b"\x1b[31mx\xff.jpg"
    path = os.fsencode(photos[0].parent) + b"/" + name
    shutil.copy(photos[0], os.fsdecode(path))
    url = service.server.inference_url
    for options, shown in (([], "�[31mx�.jpg"), (["--json"], "\\u001b[31mx\\udcff.jpg")):
        done = subprocess.run(
            [str(CATBREEDS), "predict", path, "--url", url, *options],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert shown in done.stdout.decode()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "http://127.0.0.1:many", "http://[::1", "nonsense"]
)
def test_a_server_that_is_down_is_one_line_and_code_3(
    predict: Predict, photos: list[Path], url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    code, shown, errors = predict("--url", url.format(port=port), *photos[:2])
    assert code == 3
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert "does not answer" in line
    assert "catbreeds serve" in line
    assert shown == ""


def test_without_a_token_the_servers_refusal_is_shown(
    predict: Predict, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATBREEDS_TOKEN", "wrong")
    code, shown, _ = predict("--json", photos[0])
    assert code == 1
    assert "Token Authorization failed" in json.loads(shown)[0]["problem"]["message"]


def test_an_unknown_model_is_named(predict: Predict, photos: list[Path]) -> None:
    code, shown, _ = predict("--model", "dogs", photos[0])
    assert code == 1
    assert "404" in shown
    assert "dogs" in shown


def test_a_photo_too_large_for_torchserve_itself(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(bytes(26_000_000))
    code, shown, _ = predict("--json", tmp_path / "large.tif")
    assert code == 1
    assert json.loads(shown)[0]["problem"]["status"] == 413


def test_no_photo_at_all_is_wrong_usage(predict: Predict) -> None:
    code, _, errors = predict()
    assert code == 2
    assert "PHOTO" in errors


class Recorder(BaseHTTPRequestHandler):
    """A proxy or another machine that notes what it is sent."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's own
        """Nothing on standard error."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a recording server, and the headers of each request that it got."""
    Recorder.seen = []
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Recorder.seen
        finally:
            server.shutdown()
            thread.join()


def test_the_environments_proxy_and_netrc_do_not_come_between(
    predict: Predict,
    photos: list[Path],
    recorder: tuple[str, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    proxy, seen = recorder
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    code, _, errors = predict(photos[0])
    assert (code, errors, seen) == (0, "", [])


def test_the_token_of_one_server_does_not_go_to_another(
    predict: Predict, photos: list[Path], recorder: tuple[str, list[dict[str, str]]]
) -> None:
    url, seen = recorder
    code, shown, _ = predict("--json", "--url", url, photos[0])
    assert code == 1
    assert "500" in json.loads(shown)[0]["problem"]["detail"]
    (headers,) = seen
    assert "Authorization" not in headers
