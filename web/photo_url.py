"""Takes an address that a stranger gives apart, so strictly that no two parsers read it otherwise.

Most ways around a check of addresses are forms that the check reads in one way and whatever
connects in another:
https://www.blackhat.com/docs/us-17/thursday/us-17-Tsai-A-New-Era-Of-SSRF-Exploiting-URL-Parser-In-Trending-Programming-Languages.pdf
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import quote

from yarl import URL

from web.problems import UrlRefused

_LONGEST_URL = 2048
_LONGEST_NAME = 253  # RFC 1035, 2.3.4, as it is written

# Without re.ASCII, [a-z] would also match letters such as the Kelvin sign, whose small form is k.
_FLAGS = re.IGNORECASE | re.ASCII
# https://www.rfc-editor.org/rfc/rfc3986#appendix-B, for https alone.
_URL = re.compile(
    r"https://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?", _FLAGS
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", _FLAGS)
# What parsers drop, or read as something else.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
# The last label cannot start with a digit, so that no form of an IPv4 address is a name: not
# 2130706433, 0177.0.0.1, 0x7f.1 nor 127.1. A name of one label is one of our own network.
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]){_LABEL}", _FLAGS)


@dataclass(frozen=True)
class PhotoUrl:
    """The parts of an https address.

    Attributes:
        host: a name in lower case, or an IP address in its usual form and without brackets.
        path: percent-encoded, as is `query`.
    """

    host: str
    port: int
    path: str
    query: str

    @classmethod
    def parse(cls, url: str, ports: Collection[int]) -> Self:
        """Take an address apart; its fragment is left out.

        Args:
            ports: that it may name.

        Raises:
            UrlRefused: not an address, or not one that is fetched. It does not repeat the
                address, which may hold a password or a key.
        """
        if len(url) > _LONGEST_URL:
            raise UrlRefused(f"longer than {_LONGEST_URL} characters")
        if _UNSAFE.search(url):
            raise UrlRefused("spaces, control characters and backslashes must be percent-encoded")
        parts = _URL.fullmatch(url)
        if not parts:
            raise UrlRefused("only addresses that begin with https:// are fetched")
        if "@" in parts["authority"]:
            raise UrlRefused("a user name or password in the address is not allowed")
        authority = _AUTHORITY.fullmatch(parts["authority"])
        if not authority:
            raise UrlRefused("the host must be a name in ASCII (xn-- for others) or an IP address")
        port = int(authority["port"] or 443)
        if port not in ports:
            raise UrlRefused(f"the port must be {' or '.join(map(str, sorted(ports)))}")
        try:
            path = quote(parts["path"] or "/", safe=_PRINTABLE)
            query = quote(parts["query"] or "", safe=_PRINTABLE)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold
            raise UrlRefused("not valid Unicode") from None
        return cls(_host(authority["host"]), port, path, query)

    def to_yarl(self) -> URL:
        """The same as aiohttp takes it, put together from its parts rather than parsed again."""
        return URL.build(
            scheme="https",
            host=f"[{self.host}]" if ":" in self.host else self.host,
            port=self.port,
            path=self.path,
            query_string=self.query,
            encoded=True,
        )


def _host(host: str) -> str:
    """`PhotoUrl.host` from what stands in the address.

    Raises:
        UrlRefused: neither a full name nor an IP address.
    """
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))
    except ValueError:
        if len(host) <= _LONGEST_NAME and _NAME.fullmatch(host):
            return host.lower()
    raise UrlRefused("the host must be a full name, or an IP address in its usual form")
