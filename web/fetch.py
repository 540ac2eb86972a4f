"""A photo from an https address that a stranger gives, without doing the stranger's bidding.

Whoever may name an address that we call could have us call what only we can reach: this machine,
its network, a cloud's metadata. So an address is taken apart strictly, its host is looked up once,
every address found must be public, and the connection goes to these addresses and no others. The
same holds for each redirect.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError

from handlers.problems import Problem, TooLarge
from web.addresses import is_public
from web.photo_url import PhotoUrl
from web.problems import UrlFailed, UrlRefused

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], Awaitable[Sequence[str]]]

_AGENT = {"User-Agent": "catbreeds-gateway", "Accept": "image/*"}
# A few compressed bytes could become gigabytes.
_HEADERS = _AGENT | {"Accept-Encoding": "identity"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# A DNS answer may hold hundreds, and each would get a packet of ours.
_MOST_ADDRESSES = 8


class _Pins(AbstractResolver):
    """Lets aiohttp connect to the addresses that were checked, and to no other."""

    def __init__(self) -> None:
        self.addresses: Sequence[Address] = ()
        self._sockets: list[socket.socket] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses, in place of a second look-up."""
        return [
            ResolveResult(
                hostname=host, host=str(address), port=port, family=family, proto=0, flags=0
            )
            for address in self.addresses
        ]

    def socket(self, target: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for one of the addresses; aiohttp does not resolve what looks like one."""
        family, kind, proto, _, sockaddr = target
        if ip_address(sockaddr[0]) not in self.addresses:
            raise OSError("not an address that was checked")
        self._sockets.append(socket.socket(family, kind, proto))
        return self._sockets[-1]

    async def close(self) -> None:
        """End all connections; for the end of TLS asyncio would wait 30 seconds."""
        for used in self._sockets:
            with suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)


async def look_up(host: str) -> list[str]:
    """The IP addresses of a name, as the system finds them.

    Raises:
        OSError: none found.
    """
    # The dot at the end keeps the system from trying the name within our own domain.
    found = await asyncio.get_running_loop().getaddrinfo(
        f"{host}.", None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return [str(sockaddr[0]) for *_, sockaddr in found]


class PhotoFetcher:
    """Fetches photos; used from one event loop.

    Args:
        max_bytes: of one photo.
        timeout_s: for everything: names, connections, redirects and the last byte.
        permitted: which IP addresses may be called.
        ssl_context: whom to trust; the system's authorities where None.
        ports: that an address may name.
        lookup: the IP addresses of a host name.
    """

    def __init__(
        self,
        max_bytes: int,
        timeout_s: float,
        max_redirects: int,
        *,
        permitted: Callable[[Address], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
        ports: Collection[int] = (443,),
        lookup: Lookup = look_up,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._permitted = permitted
        self._ssl = ssl_context or ssl.create_default_context()
        self._ports = frozenset(ports)
        self._lookup = lookup
        self._deadlines: set[asyncio.Timeout] = set()

    async def close(self) -> None:
        """End the fetches under way; they raise `UrlFailed`."""
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0)

    async def fetch(self, url: str) -> bytes:
        """What lies at an https address.

        No problem repeats the address, which may hold a key, or says what was found there.

        Raises:
            UrlRefused: an address that is not fetched; nobody was called, save for the servers
                that led there.
            UrlFailed: no answer, not with 200, or not in time.
            TooLarge: more than `max_bytes`.
        """
        # A session of its own: no connection, cookie or looked-up name outlives the fetch.
        pins = _Pins()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=pins,
                socket_factory=pins.socket,
                use_dns_cache=False,
                force_close=True,
                ssl=self._ssl,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )
        try:
            async with session, asyncio.timeout(self._timeout_s) as deadline:
                self._deadlines.add(deadline)
                try:
                    return await self._follow(session, pins, url)
                finally:
                    self._deadlines.remove(deadline)
        except TimeoutError:
            raise UrlFailed(f"url: no photo came within {self._timeout_s:g} seconds") from None
        finally:
            await pins.close()

    async def _follow(self, session: aiohttp.ClientSession, pins: _Pins, url: str) -> bytes:
        place = "url"
        for redirects in range(self._max_redirects + 1):
            try:
                target = PhotoUrl.parse(url, self._ports)
                pins.addresses = await self._addresses(target.host)
                answer = await self._get(session, target)
            except Problem as problem:
                raise problem.at(place) from None
            if isinstance(answer, bytes):
                return answer
            url, place = answer, f"url, redirect {redirects + 1}"
        raise UrlFailed(f"url: more than {self._max_redirects} redirects")

    async def _addresses(self, host: str) -> list[Address]:
        """All IP addresses of a host.

        Raises:
            UrlRefused: one of them may not be called, or there is none. That is one and the same
                text, as the names of an inner network are nobody's business either.
        """
        try:
            found = [ip_address(host)]
        except ValueError:
            try:
                found = [ip_address(address) for address in await self._lookup(host)]
            except (OSError, ValueError):
                found = []
        if not found or not all(self._permitted(address) for address in found):
            raise UrlRefused("the host has no public address on the internet")
        return found[:_MOST_ADDRESSES]

    async def _get(self, session: aiohttp.ClientSession, target: PhotoUrl) -> bytes | str:
        """The photo, or the address that the server redirects to.

        Raises:
            UrlFailed, TooLarge: see `fetch`.
        """
        try:
            async with session.get(target.to_yarl(), allow_redirects=False) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    return urljoin(str(target.to_yarl()), response.headers["Location"])
                return await self._read(response)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise UrlFailed("no secure connection; is its certificate valid?") from None
        # ValueError: a redirect to something that is no address at all.
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError):
            raise UrlFailed("the server did not answer as it should") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise UrlFailed(f"the server answered with status {response.status}, not 200")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise UrlFailed("the server answered compressed, which was not asked for")
        too_large = TooLarge(f"more than {self._max_bytes} bytes")
        if (response.content_length or 0) > self._max_bytes:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_bytes:
                raise too_large
            chunks.append(chunk)
        return b"".join(chunks)
