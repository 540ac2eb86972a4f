from __future__ import annotations

import resource
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.weights_server import File, Request, WeightsServer
from training.download import DownloadError, discard, download

CONTENT = bytes(range(256)) * 20_000  # 5 MB
OTHER = CONTENT[::-1]


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with WeightsServer() as running:
        running.files["/w"] = File(CONTENT)
        yield running


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "w.partial"


def get(server: WeightsServer, partial: Path, attempts: int = 3) -> bytes | None:
    return download(f"{server.url}/w", partial, [0.0] * (attempts - 1), lambda *_: None)


def test_a_file_arrives_with_progress(server: WeightsServer, partial: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{server.url}/w", partial, [], lambda *each: seen.append(each))
    assert partial.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_what_breaks_off_is_resumed(server: WeightsServer, partial: Path) -> None:
    server.files["/w"].break_after = [1 << 20, 0, 2 << 20]
    get(server, partial)
    assert partial.read_bytes() == CONTENT
    ranges = [asked for _, asked in server.asked]
    assert ranges == [None, "bytes=1048576-", "bytes=1048576-", "bytes=3145728-"]


@settings(deadline=None, max_examples=25)
@given(content=st.binary(max_size=400), breaks=st.lists(st.integers(0, 150), max_size=8))
def test_wherever_it_breaks_the_bytes_are_the_same(content: bytes, breaks: list[int]) -> None:
    with WeightsServer() as server, tempfile.TemporaryDirectory() as folder:
        server.files["/w"] = File(content, breaks)
        get(server, Path(folder) / "w.partial", attempts=10)
        assert (Path(folder) / "w.partial").read_bytes() == content


def test_after_too_many_break_offs_the_next_call_goes_on(
    server: WeightsServer, partial: Path
) -> None:
    server.files["/w"].break_after = [4 << 20, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*/w: "):
        get(server, partial)
    assert partial.read_bytes() == CONTENT[: 4 << 20]
    server.asked.clear()
    server.files["/w"].break_after = []
    get(server, partial)
    assert server.asked == [("/w", "bytes=4194304-")]
    assert partial.read_bytes() == CONTENT


def test_another_file_by_then_is_taken_from_its_beginning(
    server: WeightsServer, partial: Path
) -> None:
    server.files["/w"].break_after = [1_000_000]
    with pytest.raises(DownloadError):
        get(server, partial, attempts=1)
    server.files["/w"] = File(OTHER)
    get(server, partial)
    assert partial.read_bytes() == OTHER


@pytest.mark.parametrize(
    "file",
    [File(CONTENT, ranges=False), File(CONTENT, headers={"ETag": 'W/"weak"'})],
    ids=["no ranges", "weak tag"],
)
def test_where_parts_cannot_be_had_it_starts_again(
    server: WeightsServer, partial: Path, file: File
) -> None:
    server.files["/w"] = file
    file.break_after = [1_000_000, 3_000_000]
    get(server, partial)
    assert partial.read_bytes() == CONTENT


def test_a_whole_partial_is_known_as_whole(server: WeightsServer, partial: Path) -> None:
    get(server, partial)
    get(server, partial)
    assert server.asked[1:] == [("/w", f"bytes={len(CONTENT)}-")]
    assert partial.read_bytes() == CONTENT


def test_more_than_the_server_has_is_thrown_away(server: WeightsServer, partial: Path) -> None:
    get(server, partial)
    partial.write_bytes(CONTENT + b"more")
    get(server, partial)
    assert partial.read_bytes() == CONTENT


@pytest.mark.parametrize("shown", ["bytes 5-9/10", "bytes 0-3/4", "nonsense", ""])
def test_a_part_that_was_not_asked_for_is_not_taken(
    server: WeightsServer, partial: Path, shown: str
) -> None:
    server.files["/w"].break_after = [1000]

    def wrong(request: Request) -> None:
        request.send(206, b"other", {"Content-Range": shown})

    server.answers["/w"] = [lambda request: request.send_file(server.files["/w"]), wrong]
    get(server, partial)
    assert partial.read_bytes() == CONTENT


@pytest.mark.parametrize("told", [len(CONTENT) + 1000, len(CONTENT) * 3])
def test_a_length_that_is_too_large_ends_with_an_error(
    server: WeightsServer, partial: Path, told: int
) -> None:
    server.files["/w"] = File(CONTENT, ranges=False, headers={"Content-Length": str(told)})
    with pytest.raises(DownloadError, match=f"{server.url}/w"):
        get(server, partial)
    assert len(server.asked) == 3


def test_no_length_at_all_is_no_hindrance(server: WeightsServer, partial: Path) -> None:
    def send(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(CONTENT)

    server.answers["/w"] = [send]
    seen: list[int | None] = []
    download(f"{server.url}/w", partial, [], lambda _, total: seen.append(total))
    assert partial.read_bytes() == CONTENT
    assert set(seen) == {None}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 501])
def test_a_refusal_is_final(server: WeightsServer, partial: Path, status: int) -> None:
    server.answers["/w"] = [lambda request: request.send(status, b"")]
    with pytest.raises(DownloadError, match=rf"/w: the server answers {status} "):
        get(server, partial)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: WeightsServer, partial: Path, status: int) -> None:
    server.answers["/w"] = [lambda request: request.send(status, b"")] * 2
    get(server, partial)
    assert partial.read_bytes() == CONTENT
    server.answers["/w"] = [lambda request: request.send(status, b"")] * 3
    discard(partial)
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        get(server, partial)


def test_a_page_is_not_taken_for_weights(server: WeightsServer, partial: Path) -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    server.answers["/w"] = [lambda request: request.send(200, b"<html>log in</html>", page)]
    with pytest.raises(DownloadError, match="a page came in place of the file"):
        get(server, partial)
    assert not partial.exists()


def test_redirects_are_followed_and_circles_are_not(server: WeightsServer, partial: Path) -> None:
    server.answers["/w"] = [lambda request: request.send(302, b"", {"Location": "/elsewhere"})]
    server.files["/elsewhere"] = File(CONTENT)
    get(server, partial)
    assert partial.read_bytes() == CONTENT
    server.answers["/w"] = [lambda request: request.send(302, b"", {"Location": "/w"})] * 99
    with pytest.raises(DownloadError, match="circle of redirects"):
        get(server, partial)


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://.example/", "http://\xff/", "http://127.0.0.1:99999/", "ftp://x/"],
)
def test_a_redirect_to_what_is_no_address_is_told_in_one_line(
    server: WeightsServer, partial: Path, location: str
) -> None:
    server.answers["/w"] = [lambda request: request.send(302, b"", {"Location": location})]
    with pytest.raises(DownloadError, match=f"^{server.url}/w: ") as caught:
        get(server, partial)
    assert str(caught.value).isprintable()
    assert len(server.asked) == 1


def test_what_a_server_says_cannot_reach_the_terminal_raw(
    server: WeightsServer, partial: Path
) -> None:
    def answer(request: Request) -> None:
        request.send_response(404, "\x1b[2Jgone")
        request.end_headers()

    server.answers["/w"] = [answer]
    with pytest.raises(DownloadError, match=r"answers 404  \[2Jgone"):
        get(server, partial)


@pytest.mark.parametrize(
    "tag", [b"\xff\xfe", b'"a\nb"', b'"a"\r\nX-Other: 1', b"\0", '"猫"'.encode(), b"a", b'W/"a"']
)
def test_a_damaged_tag_is_taken_for_none(server: WeightsServer, partial: Path, tag: bytes) -> None:
    partial.write_bytes(CONTENT[:1000])
    partial.with_name("w.partial.etag").write_bytes(tag)
    get(server, partial)
    assert server.asked == [("/w", None)]
    assert partial.read_bytes() == CONTENT


def test_a_server_that_falls_silent_is_not_waited_for_without_end(
    server: WeightsServer, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.download._TIMEOUT_S", (10, 1))
    over = threading.Event()

    def before_the_header(_: Request) -> None:
        over.wait(60)

    def in_the_body(request: Request) -> None:
        headers = {"Content-Length": str(len(CONTENT)), "ETag": server.files["/w"].tag}
        request.send(200, CONTENT[: 1 << 17], headers)
        request.wfile.flush()
        over.wait(60)

    try:
        for stall, there in ((before_the_header, 0), (in_the_body, 1 << 17)):
            server.answers["/w"] = [stall]
            with pytest.raises(DownloadError, match=r"/w: .*timed out"):
                get(server, partial, attempts=1)
            assert (partial.stat().st_size if partial.exists() else 0) == there
        server.asked.clear()
        monkeypatch.undo()
        get(server, partial)
    finally:
        over.set()
    assert server.asked == [("/w", f"bytes={1 << 17}-")]
    assert partial.read_bytes() == CONTENT


def test_nobody_there_is_told_in_one_line(partial: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        download(f"http://127.0.0.1:{port}/w", partial, [0.0], lambda *_: None)
    assert "\n" not in str(caught.value)
    assert f":{port}/w" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/w", "w", "http://"])
def test_what_is_no_address_is_named(partial: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="^" + url):
        download(url, partial, [], lambda *_: None)


def test_a_full_disk_keeps_what_has_arrived(server: WeightsServer, partial: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            get(server, partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert partial.read_bytes() == CONTENT[:3_000_000]
    get(server, partial)
    assert server.asked[-1] == ("/w", "bytes=3000000-")
    assert partial.read_bytes() == CONTENT


def test_the_md5_of_google_cloud_storage_is_passed_on(server: WeightsServer, partial: Path) -> None:
    assert get(server, partial) is None
    discard(partial)
    server.files["/w"].headers["x-goog-hash"] = "crc32c=4gcgLQ==,md5=CS9tHYTtyFntzj7B9nkkJQ=="
    md5 = get(server, partial)
    assert md5 is not None
    assert md5.hex() == "092f6d1d84edc859edce3ec1f6792425"
