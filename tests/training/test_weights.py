from __future__ import annotations

import base64
import hashlib
import io
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.training.weights_server import File, Request, WeightsServer
from training.weights import (
    WEIGHTS,
    PublishedWeights,
    WeightsError,
    fetch,
    fetch_published,
)

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{SHA256[:8]}.pth"
NPZ_NAME = "BiT-M-R50x1.npz"
NO_PAUSE = (0.0, 0.0)


def npz(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    values = np.random.default_rng(seed).normal(size=(50, 50))
    np.savez(stream, kernel=values, bias=values[0])
    return stream.getvalue()


NPZ = npz()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    """Asked in place of the publishers."""
    with WeightsServer() as running:
        monkeypatch.setenv("CATBREEDS_WEIGHTS_MIRROR", running.url)
        running.files[f"/{NAME}"] = File(CONTENT)
        running.files[f"/{NPZ_NAME}"] = File(NPZ)
        yield running


def published(server: WeightsServer) -> PublishedWeights:
    return PublishedWeights(NAME, f"{server.url}/{NAME}", SHA256[:8])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_what_is_published_and_where() -> None:
    assert len(WEIGHTS) == 10
    for name, each in WEIGHTS.items():
        assert each.name == name == each.url.rpartition("/")[2]
        assert each.url.startswith("https://")
        assert each.architecture
    first = WEIGHTS["BiT-M-R50x1.npz"]
    assert first.url == "https://storage.googleapis.com/bit_models/BiT-M-R50x1.npz"
    vgg = WEIGHTS["vgg16-397923af.pth"]
    assert vgg.url == "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert vgg.sha256 == "397923af"


def test_a_file_is_fetched_once_into_the_users_cache(
    server: WeightsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = fetch(NPZ_NAME)
    assert path == tmp_path / "catbreeds" / "weights" / NPZ_NAME
    assert path.read_bytes() == NPZ
    assert fetch(NPZ_NAME) == path
    assert len(server.asked) == 1


def test_without_a_home_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.weights.cache_folder", lambda _: None)
    with pytest.raises(WeightsError, match=r"no home folder .* XDG_CACHE_HOME .* --weights PATH"):
        fetch(NPZ_NAME)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_mirror_is_asked_in_place_of_the_publisher_and_checked_alike(
    server: WeightsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("CATBREEDS_WEIGHTS_MIRROR", f"{server.url}/mirror{end}")
    server.files[f"/mirror/{NPZ_NAME}"] = File(NPZ)
    server.files["/mirror/vgg16-397923af.pth"] = File(CONTENT)
    assert fetch(NPZ_NAME, tmp_path).read_bytes() == NPZ
    with pytest.raises(WeightsError, match="should begin with 397923af; what came was deleted"):
        fetch("vgg16-397923af.pth", tmp_path)
    assert [path for path, _ in server.asked] == [
        f"/mirror/{NPZ_NAME}",
        "/mirror/vgg16-397923af.pth",
    ]


@pytest.mark.parametrize(
    "mirror",
    ["files.example/weights", "ftp://files.example", "https://", "http://[::1", "http://x/?a=\x1b"],
)
def test_what_is_no_address_of_a_mirror_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv("CATBREEDS_WEIGHTS_MIRROR", mirror)
    with pytest.raises(WeightsError, match=r"^CATBREEDS_WEIGHTS_MIRROR=.*: must be the") as caught:
        fetch(NPZ_NAME, tmp_path)
    assert str(caught.value).isprintable()


def test_an_empty_variable_is_no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("CATBREEDS_WEIGHTS_MIRROR", "")
    monkeypatch.setattr("training.weights.download", lambda url, *_: asked.append(url))
    with pytest.raises(WeightsError, match="not a whole"):
        fetch(NPZ_NAME, tmp_path)
    assert asked == [WEIGHTS[NPZ_NAME].url]


def test_a_checked_file_leaves_nothing_beside_it(server: WeightsServer, tmp_path: Path) -> None:
    path = fetch_published(published(server), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {NAME}


def test_after_a_break_off_the_next_call_goes_on(server: WeightsServer, tmp_path: Path) -> None:
    server.files[f"/{NAME}"].break_after = [1 << 18, 0, 0]
    with pytest.raises(
        WeightsError, match=r"262144 bytes are in .*the next call goes on"
    ) as caught:
        fetch_published(published(server), tmp_path, NO_PAUSE)
    assert f"{server.url}/{NAME}" in str(caught.value)
    assert "--weights PATH" in str(caught.value)
    server.asked.clear()
    fetch_published(published(server), tmp_path, NO_PAUSE)
    assert server.asked == [(f"/{NAME}", "bytes=262144-")]
    assert names(tmp_path) == {NAME}


def test_offline_the_message_says_what_to_put_where(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
    with pytest.raises(WeightsError) as caught:
        fetch_published(PublishedWeights(NAME, url, SHA256), tmp_path, NO_PAUSE)
    message = str(caught.value)
    assert message.startswith(f"{url}: ")
    assert message.endswith(f"put {NAME} into {tmp_path}, or name it with --weights PATH")
    assert "bytes are in" not in message
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch_published(PublishedWeights(NAME, url, SHA256), tmp_path) == tmp_path / NAME


def test_other_bytes_than_the_published_are_deleted(server: WeightsServer, tmp_path: Path) -> None:
    server.files[f"/{NAME}"] = File(CONTENT[:-1] + b"x")
    with pytest.raises(
        WeightsError, match=f"should begin with {SHA256[:8]}; what came was deleted"
    ):
        fetch_published(published(server), tmp_path)
    assert names(tmp_path) == set()
    server.files[f"/{NAME}"] = File(CONTENT)
    assert fetch_published(published(server), tmp_path).read_bytes() == CONTENT


def test_a_resumed_file_is_checked_as_a_whole(server: WeightsServer, tmp_path: Path) -> None:
    """A server whose entity tag stays the same although the file has changed."""
    server.files[f"/{NAME}"].break_after = [1 << 18, 0, 0]
    with pytest.raises(WeightsError, match="goes on"):
        fetch_published(published(server), tmp_path, NO_PAUSE)
    partial = tmp_path / f"{NAME}.partial"
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    with pytest.raises(WeightsError, match="what came was deleted"):
        fetch_published(published(server), tmp_path, NO_PAUSE)
    assert names(tmp_path) == set()


def test_a_kept_file_is_checked_at_each_use(server: WeightsServer, tmp_path: Path) -> None:
    path = fetch_published(published(server), tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=rf"{NAME}: its SHA-256 is [0-9a-f]{{64}}, .* remove it"):
        fetch_published(published(server), tmp_path)
    assert path.exists()  # somebody may have put it there


def test_without_a_published_checksum_the_first_one_is_kept(
    server: WeightsServer, tmp_path: Path
) -> None:
    path = fetch(NPZ_NAME, tmp_path)
    record = tmp_path / f"{NPZ_NAME}.sha256"
    assert record.read_text() == f"{hashlib.sha256(NPZ).hexdigest()}  {NPZ_NAME}\n"
    path.write_bytes(npz(seed=1))
    with pytest.raises(WeightsError, match=r"remove it \(and BiT-M-R50x1\.npz\.sha256"):
        fetch(NPZ_NAME, tmp_path)
    path.unlink()
    record.unlink()
    server.files[f"/{NPZ_NAME}"] = File(npz(seed=1))
    assert fetch(NPZ_NAME, tmp_path).read_bytes() == npz(seed=1)


@pytest.mark.parametrize("text", ["", "no checksum", f"{SHA256}  another.npz\n", "\0"])
def test_a_spoilt_record_is_named(server: WeightsServer, tmp_path: Path, text: str) -> None:
    fetch(NPZ_NAME, tmp_path)
    (tmp_path / f"{NPZ_NAME}.sha256").write_text(text)
    with pytest.raises(WeightsError, match=rf"{NPZ_NAME}: .* remove it"):
        fetch(NPZ_NAME, tmp_path)


def test_a_file_put_there_by_hand_is_taken_if_it_is_whole(
    server: WeightsServer, tmp_path: Path
) -> None:
    (tmp_path / NPZ_NAME).write_bytes(NPZ)
    fetch(NPZ_NAME, tmp_path)
    assert server.asked == []
    (tmp_path / f"{NPZ_NAME}.sha256").unlink()
    (tmp_path / NPZ_NAME).write_bytes(NPZ[:-100])
    with pytest.raises(WeightsError, match=r"not a whole \.npz archive"):
        fetch(NPZ_NAME, tmp_path)


@pytest.mark.parametrize("where", [0, 700, -200])
def test_a_damaged_archive_is_noticed_without_any_published_checksum(
    server: WeightsServer, tmp_path: Path, where: int
) -> None:
    damaged = bytearray(NPZ)
    damaged[where] ^= 255
    server.files[f"/{NPZ_NAME}"] = File(bytes(damaged))
    with pytest.raises(WeightsError, match="what came was deleted"):
        fetch(NPZ_NAME, tmp_path)
    assert names(tmp_path) == set()


def test_what_google_cloud_storage_says_of_the_file_is_compared(
    server: WeightsServer, tmp_path: Path
) -> None:
    md5 = base64.b64encode(hashlib.md5(NPZ).digest()).decode()  # noqa: S324
    file = server.files[f"/{NPZ_NAME}"]
    file.headers["x-goog-hash"] = f"crc32c=4gcgLQ==, md5={md5}"
    file.break_after = [1000]
    right = PublishedWeights(NPZ_NAME, f"{server.url}/{NPZ_NAME}")
    fetch_published(right, tmp_path / "right", NO_PAUSE)
    server.files[f"/{NPZ_NAME}"] = File(npz(seed=1), headers=file.headers)
    with pytest.raises(WeightsError, match=r"its MD5 is [0-9a-f]{32}, the server's is"):
        fetch(NPZ_NAME, tmp_path / "wrong")
    assert names(tmp_path / "wrong") == set()


def test_a_missing_file_and_a_page_are_told(server: WeightsServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vgg16-397923af\.pth: the server answers 404"):
        fetch("vgg16-397923af.pth", tmp_path)
    server.files[f"/{NAME}"] = File(b"<html>", headers={"Content-Type": "text/html"})
    with pytest.raises(WeightsError, match="a page came in place of the file"):
        fetch_published(published(server), tmp_path)
    assert names(tmp_path) == set()


def test_unknown_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights '\.\./x\.npz': must be one of BiT-M-R50x1"):
        fetch("../x.npz", tmp_path)


def test_a_full_disk_is_told_and_the_next_call_goes_on(
    server: WeightsServer, tmp_path: Path
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(WeightsError, match=f"{NAME}: cannot be written: File too large; what"):
            fetch_published(published(server), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert fetch_published(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == (f"/{NAME}", "bytes=300000-")


def test_a_folder_that_is_a_file_is_told(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch_published(published(server), tmp_path / "file" / "folder")


@contextmanager
def another_process(server: WeightsServer, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Fetches, and says the path on standard output."""
    script = (
        "from pathlib import Path\n"
        "from training.weights import PublishedWeights, fetch_published\n"
        f"weights = PublishedWeights({NAME!r}, '{server.url}/{NAME}', {SHA256!r})\n"
        "print('about to', flush=True)\n"
        f"print(fetch_published(weights, Path({str(folder)!r})))"
    )
    command = (sys.executable, "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "about to\n"
        try:
            yield process
        finally:
            process.kill()


def test_of_two_processes_one_downloads_and_the_other_takes_over_where_that_one_dies(
    server: WeightsServer, tmp_path: Path
) -> None:
    begun, over = threading.Event(), threading.Event()

    def hang(request: Request) -> None:
        file = server.files[f"/{NAME}"]
        headers = {"Content-Length": str(len(CONTENT)), "ETag": file.tag}
        request.send(200, CONTENT[: 1 << 18], headers)
        request.wfile.flush()
        begun.set()
        over.wait(60)

    server.answers[f"/{NAME}"] = [hang]
    partial = tmp_path / f"{NAME}.partial"
    try:
        with another_process(server, tmp_path) as first:
            assert begun.wait(60)
            with another_process(server, tmp_path) as second:
                while not partial.exists() or partial.stat().st_size < 1 << 18:
                    assert first.poll() is None
                    time.sleep(0.01)
                assert len(server.asked) == 1
                first.kill()
                assert second.communicate(timeout=60)[0] == f"{tmp_path / NAME}\n"
    finally:
        over.set()
    assert server.asked == [(f"/{NAME}", None), (f"/{NAME}", "bytes=262144-")]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == {NAME}


def test_of_two_processes_one_finds_what_the_other_downloads(
    server: WeightsServer, tmp_path: Path
) -> None:
    go_on = threading.Event()

    def wait(request: Request) -> None:
        go_on.wait(60)
        request.send_file(server.files[f"/{NAME}"])

    server.answers[f"/{NAME}"] = [wait]
    with another_process(server, tmp_path) as first, another_process(server, tmp_path) as second:
        go_on.set()
        for process in (first, second):
            assert process.communicate(timeout=60)[0] == f"{tmp_path / NAME}\n"
    assert len(server.asked) == 1
