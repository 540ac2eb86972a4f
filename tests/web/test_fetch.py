"""Fetching a photo by its address: what comes, what does not, and how long that may take."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
import trustme

from handlers.problems import TooLarge
from tests.web.https_server import Answer, HttpsServer, ok, raw, redirect, serving, status
from tests.web.loopback_internet import MOST, NAME, PHOTO, Internet
from web.fetch import PhotoFetcher
from web.problems import UrlFailed

SECRET = "s3cret"


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


def test_an_address_that_does_not_answer_is_followed_by_the_next(internet: Internet) -> None:
    internet.public.add("127.0.0.3")  # where nothing listens
    internet.names[NAME] = [["127.0.0.3", "127.0.0.1"]]
    assert internet.fetch(internet.at("/photo.jpg")) == PHOTO


def test_the_proxy_of_the_environment_is_not_asked(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.2:{internet.private.port}")
    assert internet.fetch(internet.at("/photo.jpg")) == PHOTO
    assert internet.private.calls == 0


def test_a_fetch_tells_nothing_about_anybody(internet: Internet) -> None:
    internet.server.answers["/start"] = status(
        "302 Found", b"", "Location: /photo.jpg?size=1#top", "Set-Cookie: a=b; Secure; Path=/"
    )
    internet.server.answers["/photo.jpg?size=1"] = ok(PHOTO)
    assert internet.fetch(internet.at("/start#fragment")) == PHOTO
    assert internet.server.calls == 2
    for request, path in zip(
        internet.server.requests, ("/start", "/photo.jpg?size=1"), strict=True
    ):
        line, *headers = request.decode().strip().split("\r\n")
        assert line == f"GET {path} HTTP/1.1"
        assert sorted(headers) == [
            "Accept-Encoding: identity",
            "Accept: image/*",
            "Connection: close",
            f"Host: {NAME}:{internet.server.port}",
            "User-Agent: catbreeds-gateway",
        ]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a%2Fb/../c//d?e=%20&f", "/a%2Fb/../c//d?e=%20&f"),
        ("/k\u00e4tzchen.jpg", "/k%C3%A4tzchen.jpg"),
    ],
)
def test_paths_arrive_as_they_were_given(path: str, sent: str, internet: Internet) -> None:
    internet.server.answers[sent] = ok(PHOTO)
    assert internet.fetch(internet.at(path)) == PHOTO


@pytest.mark.parametrize(
    "location", ["/photo.jpg", "photo.jpg", "//other.example:PORT/photo.jpg", "../../photo.jpg"]
)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(location: str, code: int, internet: Internet) -> None:
    internet.server.answers["/"] = redirect(
        location.replace("PORT", str(internet.server.port)), f"{code} Moved"
    )
    assert internet.fetch(internet.at("/")) == PHOTO


def test_a_chain_of_redirects_ends(internet: Internet) -> None:
    for step in range(5):
        internet.server.answers[f"/{step}"] = redirect(f"/{step + 1}")
    internet.server.answers["/5"] = ok(PHOTO)
    assert internet.fetch(internet.at("/2")) == PHOTO
    with pytest.raises(UrlFailed, match="more than 3 redirects"):
        internet.fetch(internet.at("/1"))
    assert internet.server.calls == 4 + 4


@pytest.mark.parametrize("path", ["/photo.jpg", "/full", "/chunked"])
def test_bytes_up_to_the_limit(path: str, internet: Internet) -> None:
    internet.server.answers["/full"] = ok(b"x" * MOST)
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    internet.server.answers["/chunked"] = raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    )
    assert len(internet.fetch(internet.at(path))) == {"/full": MOST, "/chunked": 512}.get(
        path, len(PHOTO)
    )


def test_more_bytes_than_the_limit(internet: Internet) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    large: dict[str, Answer] = {
        "/announced": raw(head + b"Content-Length: 1001\r\n\r\n"),
        "/huge": raw(head + b"Content-Length: 99999999999\r\n\r\n"),
        "/until-closed": raw(head + b"\r\n" + b"x" * 1001),
        "/chunked": internet.server.trickle(
            head + b"Transfer-Encoding: chunked\r\n\r\n", b"200\r\n" + b"x" * 512 + b"\r\n"
        ),
    }
    internet.server.answers |= large
    for path in large:
        with pytest.raises(TooLarge, match="1000 bytes"):
            internet.fetch(internet.at(path))


def test_a_body_longer_than_announced_is_cut_or_refused(internet: Internet) -> None:
    internet.server.answers["/"] = raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + b"d" * 2000
    )
    with contextlib.suppress(UrlFailed):
        assert internet.fetch(internet.at("/")) == b"abc"


BANNER = b"HTTP/1.1 "
BAD_ANSWERS = {
    "shorter than announced": BANNER + b"200 OK\r\nContent-Length: 50\r\n\r\nabc",
    "not found": BANNER + b"404 s3cret\r\nContent-Length: 6\r\n\r\ns3cret",
    "server error": BANNER + b"500 s3cret\r\nContent-Length: 0\r\n\r\n",
    "no content": BANNER + b"204 No Content\r\n\r\n",
    "part": BANNER + b"206 Partial Content\r\nContent-Length: 3\r\n\r\nabc",
    "switch": BANNER + b"101 Switching Protocols\r\nUpgrade: s3cret\r\n\r\n",
    "redirect nowhere": BANNER + b"302 Found\r\nContent-Length: 0\r\n\r\n",
    "redirect to no address": BANNER + b"302 Found\r\nLocation: //[s3cret/\r\n\r\n",
    "compressed": BANNER + b"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "nothing": b"",
    "not HTTP": b"SSH-2.0-s3cret\r\n",
    "no number": BANNER + b"s3cret OK\r\n\r\n",
    "broken header": BANNER + b"200 OK\r\ns3cret\r\n\r\n",
    "broken length": BANNER + b"200 OK\r\nContent-Length: s3cret\r\n\r\n",
    "broken chunk": BANNER + b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n",
    "long header": BANNER + b"200 OK\r\nX: " + b"s3cret" * 10_000 + b"\r\n\r\n",
    "many headers": BANNER + b"200 OK\r\n" + b"X: s3cret\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_other_answers_are_failures_that_repeat_nothing(case: str, internet: Internet) -> None:
    internet.server.answers["/?key=s3cret"] = raw(BAD_ANSWERS[case])
    with pytest.raises(UrlFailed) as failed:
        internet.fetch(internet.at("/?key=s3cret"))
    assert SECRET not in failed.value.detail
    assert "127.0.0.1" not in failed.value.detail


def test_nobody_there(internet: Internet) -> None:
    internet.public.add("127.0.0.3")
    internet.names[NAME] = [["127.0.0.3"]]
    with pytest.raises(UrlFailed) as failed:
        internet.fetch(internet.at("/photo.jpg"))
    assert "127.0.0.3" not in failed.value.detail


def test_time_is_limited_from_the_name_to_the_last_byte(internet: Internet) -> None:
    internet.timeout_s = 0.5
    head = b"HTTP/1.1 200 OK\r\n"
    internet.server.answers |= {
        "/silent": internet.server.trickle(b"", b""),
        "/headers": internet.server.trickle(head, b"X: y\r\n"),
        "/interim": internet.server.trickle(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        "/body": internet.server.trickle(head + b"Content-Length: 900\r\n\r\n", b"x"),
    }
    for path in ("/silent", "/headers", "/interim", "/body"):
        with pytest.raises(UrlFailed, match=r"0\.5 seconds"):
            internet.fetch(internet.at(path))


def test_a_slow_name_server_is_not_waited_for(internet: Internet) -> None:
    async def never(_: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    fetcher = PhotoFetcher(MOST, 0.2, 0, ssl_context=internet.trusting, lookup=never)
    with pytest.raises(UrlFailed, match=r"0\.2 seconds"):
        asyncio.run(fetcher.fetch(f"https://{NAME}/"))


def test_a_server_without_tls_is_not_waited_for(internet: Internet) -> None:
    internet.timeout_s = 0.5
    with socket.create_server(("127.0.0.1", 0)) as silent:
        internet.ports = [silent.getsockname()[1]]
        with pytest.raises(UrlFailed):
            internet.fetch(f"https://{NAME}:{internet.ports[0]}/")


def test_closing_ends_what_is_under_way(internet: Internet) -> None:
    internet.server.answers["/"] = internet.server.trickle(b"", b"")
    internet.timeout_s = 60

    async def close_under_way() -> None:
        fetcher = internet.fetcher()
        fetch = asyncio.create_task(fetcher.fetch(internet.at("/")))
        while not internet.server.requests:
            await asyncio.sleep(0.01)
        await fetcher.close()
        with pytest.raises(UrlFailed):
            await fetch
        await fetcher.close()

    asyncio.run(close_under_way())


def test_a_cancelled_request_cancels_its_fetch(internet: Internet) -> None:
    internet.server.answers["/"] = internet.server.trickle(b"", b"")

    async def cancel_under_way() -> None:
        fetch = asyncio.create_task(internet.fetcher().fetch(internet.at("/")))
        while not internet.server.requests:
            await asyncio.sleep(0.01)
        fetch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetch

    asyncio.run(cancel_under_way())


@pytest.mark.parametrize("names", [("other.example",), ("example",), ("127.0.0.1",)])
def test_the_certificate_must_be_that_of_the_name(
    names: tuple[str, ...], internet: Internet
) -> None:
    with HttpsServer(serving(internet.authority, *names)) as stranger:
        stranger.answers["/"] = ok(PHOTO)
        internet.ports = [stranger.port]
        with pytest.raises(UrlFailed, match="certificate"):
            internet.fetch(f"https://{NAME}:{stranger.port}/")
        assert stranger.requests == []


def test_the_certificate_must_be_of_a_known_authority(internet: Internet) -> None:
    with HttpsServer(serving(trustme.CA(), NAME)) as stranger:
        stranger.answers["/"] = ok(PHOTO)
        internet.ports = [stranger.port]
        with pytest.raises(UrlFailed, match="certificate"):
            internet.fetch(f"https://{NAME}:{stranger.port}/")
        assert stranger.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[0:0::0:1]"])
def test_an_ip_address_in_its_usual_form_is_called(host: str, internet: Internet) -> None:
    bare = host.strip("[]")
    internet.public.add("::1")
    with HttpsServer(serving(internet.authority, bare), "::1" if ":" in bare else bare) as called:
        called.answers["/"] = ok(PHOTO)
        internet.ports = [called.port]
        assert internet.fetch(f"https://{host}:{called.port}/") == PHOTO
    assert internet.asked == []
