"""Requests that a parser may understand in two ways."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.guarded_server import GET, Served

BAD_REQUEST = b"HTTP/1.1 400 Bad Request"
INNER = b"GET /headers HTTP/1.1\r\nHost: smuggled\r\n\r\n"
OFFERS = {
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "two": b"Upgrade: h2c\r\nConnection: upgrade\r\nUPGRADE: TLS/1.0\r\n",
}
BODIES = {
    "length": (b"Content-Length: %d\r\n\r\n" % len(INNER), INNER),
    "chunked": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"5\r\n%s\r\n%x\r\n%s\r\n0\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n"
        % (INNER[:5], len(INNER) - 5, INNER[5:]),
    ),
}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with Served(request.param) as running:
        yield running


def head(offer: bytes = b"", version: bytes = b"1.1", path: bytes = b"/echo") -> bytes:
    return b"POST %s HTTP/%s\r\nHost: a\r\n%s" % (path, version, offer)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize(("rest", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_behind_an_offer_to_upgrade_is_its_body(
    offer: bytes,
    rest: bytes,
    body: bytes,
    at_once: bool,
    served: Served,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with served.connect() as client:
        for _ in range(2):
            client.send(head(offer) + rest + (body if at_once else b""))
            if not at_once:
                # So that it is parsed alone.
                assert not client.is_answered_within(0.1)
                client.send(body)
            # One answer, and no other before that to the next request.
            assert client.answer() == [INNER]
        client.send(GET)
        assert client.answer() == [b"0"]
    assert not caplog.messages


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize(
    ("version", "ending"),
    [(b"1.0", b""), (b"1.1", b"Connection: close\r\n")],
)
@pytest.mark.parametrize(("rest", "body"), [BODIES["length"]])
def test_the_last_request_may_offer_it_as_well(
    version: bytes, ending: bytes, offer: bytes, rest: bytes, body: bytes, served: Served
) -> None:
    with served.connect() as client:
        client.send(head(offer + ending, version) + rest + body + GET)
        received = client.received()
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.endswith(b"\r\n\r\n" + INNER)


def test_requests_sent_at_once_may_all_offer_it(served: Served) -> None:
    rest, body = BODIES["length"]
    with served.connect() as client:
        client.send((head(OFFERS["curl"]) + rest + body + GET) * 10)
        assert client.answer(20) == [INNER, b"0"] * 10


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(1, 400), max_size=6))
def test_where_the_network_cuts_it_does_not_matter(served: Served, cuts: list[int]) -> None:
    sent = b"".join(head(OFFERS["curl"]) + rest + body for rest, body in BODIES.values())
    with served.connect() as client:
        begin = 0
        for cut in [*sorted(cuts), len(sent)]:
            client.send(sent[begin:cut])
            begin = max(begin, cut)
        assert client.answer(2) == [INNER, INNER]


def test_the_application_hears_of_no_upgrade(served: Served) -> None:
    with served.connect() as client:
        client.send(head(OFFERS["curl"] + b"X-Other: 1\r\n", path=b"/headers") + b"\r\n")
        assert client.answer() == [b'["host", "connection", "http2-settings", "x-other"]']


def test_an_offer_does_not_lift_the_limit_of_headers(served: Served) -> None:
    with served.connect() as client:
        client.send(head(OFFERS["curl"]) + b"X: " + b"y" * 5000 + b"\r\n\r\n")
        assert client.received().startswith(b"HTTP/1.1 431 ")


def test_curl_may_prefer_http_2(served: Served) -> None:
    sent = b"x" * 300_000
    url = f"http://127.0.0.1:{served.port}/echo"
    command = ("curl", "--silent", "--show-error", "--http2", "--data-binary", "@-", url)
    answer = subprocess.run(command, input=sent, stdout=subprocess.PIPE, check=True)
    assert answer.stdout == sent


def test_nobody_is_connected_to_others(served: Served) -> None:
    with served.connect() as client:
        client.send(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
        received = client.received()
    assert received.startswith(BAD_REQUEST)
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nX: y\r\nhOST: b\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: a@b\r\n",
        b"Host: a:b\r\n",
        b"Host: a, b\r\n",
        b"Host: [::1\r\n",
        b"Host: \xe4\r\n",
    ],
)
@pytest.mark.parametrize("offer", [b"", OFFERS["curl"]], ids=["plain", "upgrade"])
def test_a_request_names_one_host(hosts: bytes, offer: bytes, served: Served) -> None:
    with served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n" + hosts + offer + b"\r\n" + GET)
        received = client.received()
    assert received.startswith(BAD_REQUEST)
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "host", [b"", b"a", b"a.b-c_d:80", b"a:", b"[::1]", b"[fe80::1]:8000", b" 127.0.0.1:80 \t"]
)
def test_any_host_is_served(host: bytes, served: Served) -> None:
    with served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost:" + host + b"\r\n\r\n")
        assert client.answer() == [b"0"]


def test_http_1_0_needs_no_host(served: Served) -> None:
    with served.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.received().startswith(b"HTTP/1.1 200 ")
