"""A stranger's address leads to the internet at large or nowhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.https_server import redirect
from tests.web.loopback_internet import MOST, NAME, PHOTO, Internet
from web.fetch import PhotoFetcher
from web.photo_url import PhotoUrl
from web.problems import UrlRefused

SECRET = "s3cret"


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


# What leads to the server of the tests, or would with a parser or resolver less strict. PORT is
# the server's.
REFUSED = {
    "loopback": "https://127.0.0.1:PORT/photo.jpg",
    "rest of loopback": "https://127.9.9.9:PORT/photo.jpg",
    "localhost": "https://localhost:PORT/photo.jpg",
    "localhost with a dot": "https://localhost.:PORT/photo.jpg",
    "unspecified": "https://0.0.0.0:PORT/photo.jpg",
    "link-local": "https://169.254.169.254:PORT/latest/meta-data/",
    "private 10": "https://10.0.0.1:PORT/",
    "private 172": "https://172.16.0.1:PORT/",
    "private 192": "https://192.168.0.1:PORT/",
    "shared": "https://100.100.100.200:PORT/",
    "multicast": "https://224.0.0.1:PORT/",
    "broadcast": "https://255.255.255.255:PORT/",
    "decimal": "https://2130706433:PORT/photo.jpg",
    "octal": "https://0177.0.0.1:PORT/photo.jpg",
    "octal number": "https://017700000001:PORT/photo.jpg",
    "leading zeros": "https://127.000.000.001:PORT/photo.jpg",
    "hexadecimal": "https://0x7f.0.0.1:PORT/photo.jpg",
    "hexadecimal number": "https://0x7f000001:PORT/photo.jpg",
    "hexadecimal short": "https://0x7f.1:PORT/photo.jpg",
    "short": "https://127.1:PORT/photo.jpg",
    "zero": "https://0:PORT/photo.jpg",
    "too large a number": "https://4294967297:PORT/photo.jpg",
    "ipv4 with a dot": "https://127.0.0.1.:PORT/photo.jpg",
    "five parts": "https://127.0.0.1.1:PORT/photo.jpg",
    "ipv6 loopback": "https://[::1]:PORT/photo.jpg",
    "ipv6 unspecified": "https://[::]:PORT/photo.jpg",
    "ipv6 long": "https://[0:0:0:0:0:0:0:1]:PORT/photo.jpg",
    "ipv4-mapped": "https://[::ffff:127.0.0.1]:PORT/photo.jpg",
    "ipv4-mapped hexadecimal": "https://[::ffff:7f00:1]:PORT/photo.jpg",
    "ipv4-mapped public": "https://[::ffff:8.8.8.8]:PORT/photo.jpg",
    "ipv4-compatible": "https://[::127.0.0.1]:PORT/photo.jpg",
    "nat64": "https://[64:ff9b::127.0.0.1]:PORT/photo.jpg",
    "6to4": "https://[2002:7f00:1::1]:PORT/photo.jpg",
    "teredo": "https://[2001:0:7f00:1::1]:PORT/photo.jpg",
    "unique local": "https://[fd00:ec2::254]:PORT/",
    "ipv6 link-local": "https://[fe80::1]:PORT/",
    "ipv6 scope": "https://[fe80::1%25lo]:PORT/",
    "ipv6 loopback scope": "https://[::1%lo]:PORT/photo.jpg",
    "ipv6 future": "https://[v1.127.0.0.1]:PORT/photo.jpg",
    "ipv6 bare": "https://::1:PORT/photo.jpg",
    "user": "https://photos.example@127.0.0.1:PORT/photo.jpg",
    "user and password": "https://user:s3cret@photos.example:PORT/photo.jpg",
    "empty user": "https://@photos.example:PORT/photo.jpg",
    "at sign after a hash sign": "https://photos.example#@127.0.0.1:PORT/photo.jpg",
    "backslash": "https://127.0.0.1:PORT\\@photos.example/photo.jpg",
    "backslashes": "https:\\\\photos.example:PORT\\photo.jpg",
    "percent in the host": "https://photos%2eexample:PORT/photo.jpg",
    "space in the host": "https://photos.example :PORT/photo.jpg",
    "space before": " https://photos.example:PORT/photo.jpg",
    "tab": "https://photos.\texample:PORT/photo.jpg",
    "line end": "https://photos.example:PORT/photo.jpg\r\nX: y",
    "line end at the end": "https://photos.example:PORT/photo.jpg\n",
    "null": "https://photos.example\x00.other.example:PORT/photo.jpg",
    "delete": "https://photos.example\x7f:PORT/photo.jpg",
    "full-width dot": "https://127\uff0e0\uff0e0\uff0e1:PORT/photo.jpg",
    "ideographic dot": "https://photos\u3002example:PORT/photo.jpg",
    "circled digits": "https://\u2460\u2461\u2466.0.0.1:PORT/photo.jpg",
    "kelvin sign": "https://photos.\u212aample:PORT/photo.jpg",
    "long s": "http\u017f://photos.example:PORT/photo.jpg",
    "half a surrogate": "https://photos.example:PORT/\ud800",
    "other alphabet": "https://k\u00e4tzchen.example:PORT/photo.jpg",
    "no host": "https://:PORT/photo.jpg",
    "no authority": "https:///photo.jpg",
    "one slash": "https:/photos.example:PORT/photo.jpg",
    "no slash": "https:photos.example:PORT/photo.jpg",
    "one label": "https://photos:PORT/photo.jpg",
    "dot at the end": "https://photos.example.:PORT/photo.jpg",
    "two dots": "https://photos..example:PORT/photo.jpg",
    "dot at the start": "https://.photos.example:PORT/photo.jpg",
    "long label": f"https://{'a' * 64}.example:PORT/photo.jpg",
    "long name": f"https://{'a.' * 130}example:PORT/photo.jpg",
    "long address": f"https://photos.example:PORT/{'a' * 2048}",
    "hyphen first": "https://-photos.example:PORT/photo.jpg",
    "http": "http://photos.example:PORT/photo.jpg",
    "ftp": "ftp://photos.example:PORT/photo.jpg",
    "file": "file:///etc/passwd",
    "gopher": "gopher://photos.example:PORT/_x",
    "data": "data:image/png;base64,AAAA",
    "javascript": "javascript:alert(1)",
    "dict": "dict://photos.example:PORT/d",
    "no scheme": "//photos.example:PORT/photo.jpg",
    "only a name": "photos.example",
    "empty": "",
    "standard port": "https://photos.example/photo.jpg",
    "port 22": "https://photos.example:22/photo.jpg",
    "port 0": "https://photos.example:0/photo.jpg",
    "no port": "https://photos.example:/photo.jpg",
    "port too large": "https://photos.example:70000/photo.jpg",
    "port not a number": "https://photos.example:PORTx/photo.jpg",
    "port negative": "https://photos.example:-PORT/photo.jpg",
    "unknown name": "https://nowhere.example:PORT/photo.jpg",
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_without_calling_anybody(case: str, internet: Internet) -> None:
    internet.public.clear()
    internet.names = {NAME: [["127.0.0.1"]], "localhost": [["127.0.0.1"]]}
    with pytest.raises(UrlRefused) as refused:
        internet.fetch(REFUSED[case].replace("PORT", str(internet.server.port)))
    assert internet.server.calls == 0
    assert internet.asked == (["nowhere.example"] if case == "unknown name" else [])
    assert SECRET not in refused.value.detail


# Each comes from a server that may be called; 127.0.0.2 may not.
REFUSED_REDIRECTS = [
    "https://127.0.0.2:PORT/photo.jpg",
    "//127.0.0.2:PORT/photo.jpg",
    "https://2130706434:PORT/photo.jpg",
    "https://0177.0.0.2:PORT/photo.jpg",
    "https://0x7f.2:PORT/photo.jpg",
    "https://127.2:PORT/photo.jpg",
    "https://[::ffff:127.0.0.2]:PORT/photo.jpg",
    "https://[::1]:PORT/photo.jpg",
    "https://169.254.169.254:PORT/latest/meta-data/",
    "https://private.example:PORT/photo.jpg",
    "https://mixed.example:PORT/photo.jpg",
    "https://nowhere.example:PORT/photo.jpg",
    "https://localhost:PORT/photo.jpg",
    "https://user:s3cret@photos.example:PORT/photo.jpg",
    "https://photos.example:PORT@127.0.0.2:PORT/photo.jpg",
    "https://127.0.0.2:PORT\\@photos.example/photo.jpg",
    "https://photos.example/photo.jpg",
    "http://photos.example:PORT/photo.jpg",
    "ftp://photos.example:PORT/photo.jpg",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    f"/{'a' * 3000}",
]


@pytest.mark.parametrize("location", REFUSED_REDIRECTS)
def test_a_redirect_is_checked_like_an_address(location: str, internet: Internet) -> None:
    internet.names |= {
        "localhost": [["127.0.0.1"]],
        "private.example": [["127.0.0.2"]],
        "mixed.example": [["127.0.0.1", "127.0.0.2"]],
    }
    internet.server.answers["/"] = redirect(location.replace("PORT", str(internet.server.port)))
    with pytest.raises(UrlRefused, match=r"^url, redirect 1: ") as refused:
        internet.fetch(internet.at("/"))
    assert (internet.server.calls, internet.private.calls) == (1, 0)
    assert SECRET not in refused.value.detail


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "::1"],
        ["127.0.0.1", "::ffff:127.0.0.1"],
        ["127.0.0.1", "fe80::1%lo"],
        ["127.0.0.1"] * 8 + ["127.0.0.2"],
        ["127.0.0.1", "nonsense"],
        [],
    ],
)
def test_one_private_address_among_those_of_a_name_refuses_it(
    addresses: list[str], internet: Internet
) -> None:
    internet.names[NAME] = [addresses]
    with pytest.raises(UrlRefused):
        internet.fetch(internet.at("/photo.jpg"))
    assert (internet.server.calls, internet.private.calls) == (0, 0)


def test_a_private_name_looks_the_same_as_an_unknown_one(internet: Internet) -> None:
    internet.names["private.example"] = [["10.0.0.1"]]
    details = set()
    for name in ("private.example", "unknown.example"):
        with pytest.raises(UrlRefused) as refused:
            internet.fetch(internet.at("/", name))
        details.add(refused.value.detail)
    assert len(details) == 1


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(internet: Internet) -> None:
    internet.names[NAME] = [["127.0.0.1"], ["127.0.0.2"]]
    assert internet.fetch(internet.at("/photo.jpg")) == PHOTO
    assert internet.asked == [NAME]
    assert (internet.server.calls, internet.private.calls) == (1, 0)


def test_a_name_that_changes_its_address_for_a_redirect_is_refused(internet: Internet) -> None:
    internet.names[NAME] = [["127.0.0.1"], ["127.0.0.2"]]
    internet.server.answers["/"] = redirect("/photo.jpg")
    with pytest.raises(UrlRefused):
        internet.fetch(internet.at("/"))
    assert internet.asked == [NAME, NAME]
    assert (internet.server.calls, internet.private.calls) == (1, 0)


def test_fetches_of_one_fetcher_share_no_address_and_no_connection(internet: Internet) -> None:
    internet.names[NAME] = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]

    async def fetch_all() -> list[bytes | BaseException]:
        fetcher = internet.fetcher()
        fetches = (fetcher.fetch(internet.at("/photo.jpg")) for _ in range(3))
        return await asyncio.gather(*fetches, return_exceptions=True)

    answers = asyncio.run(fetch_all())
    assert [answer for answer in answers if isinstance(answer, bytes)] == [PHOTO, PHOTO]
    assert [type(answer) for answer in answers if answer != PHOTO] == [UrlRefused]
    assert (internet.server.calls, internet.private.calls) == (2, 0)


def test_by_itself_it_calls_only_the_internet_at_large(internet: Internet) -> None:
    fetcher = PhotoFetcher(MOST, 10, 0, ports=[internet.server.port])
    for host in ("127.0.0.1", "[::1]", "localhost.localdomain"):
        with pytest.raises(UrlRefused):
            asyncio.run(fetcher.fetch(internet.at("/photo.jpg", host)))
    assert internet.server.calls == 0


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"https://[a-z0-9.:@\[\]%\\-]{1,20}(/.*)?", fullmatch=True),
        st.builds(lambda host, path: f"https://{host}/{path}", st.text(max_size=20), st.text()),
    )
)
def test_what_aiohttp_calls_is_what_was_checked(text: str) -> None:
    try:
        url = PhotoUrl.parse(text, [443])
    except UrlRefused:
        return
    called = url.to_yarl()
    assert (called.scheme, called.raw_host, called.port) == ("https", url.host, 443)
    assert (called.user, called.password, called.fragment) == (None, None, "")
    assert called.raw_path_qs.isascii()
    if is_number_to_resolver(url.host):
        assert str(ip_address(url.host)) == url.host


def is_number_to_resolver(host: str) -> bool:
    """Whether the system reads it as an IP address, in any form: 127.1 and 0x7f000001 are two."""
    try:
        socket.inet_aton(host)
    except OSError:
        return ":" in host
    return True
