"""Who may come in, and how much at once.

Three bounds, each answered at once rather than queued behind: photos that one client sends in a
time (429), photos in work, and bytes of uploads in memory (503; 429 where it is one client's own
share). An upload that has not come yet takes memory alone: places are for photos that are there,
or a few dozen slow clients would hold them all.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from web.problems import Overloaded, RateLimited
from web.settings import Settings


def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which one household has."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


class Ticket:
    """What one request holds until it is answered."""

    def __init__(self, admission: Admission, client: str) -> None:
        self._admission = admission
        self._client = client
        self._photos = 0
        self._memory = 0

    async def count(self, photos: int) -> None:
        """Count so many photos more as sent by the client.

        Raises:
            RateLimited: it has sent too many lately.
        """
        await self._admission.check_rate(self._client, photos)

    def take_places(self, photos: int) -> None:
        """Claim places for so many photos more.

        Raises:
            RateLimited, Overloaded: there is no room; nothing was claimed.
        """
        self._admission.claim_places(self._client, photos)
        self._photos += photos

    def take_memory(self, size: int) -> None:
        """Claim room for `size` bytes more of an upload.

        Raises:
            RateLimited, Overloaded: there is none.
        """
        self._admission.claim_memory(self._client, size)
        self._memory += size

    def give_back(self) -> None:
        """All that was claimed."""
        self._admission.release(self._client, self._photos, self._memory)
        self._photos = self._memory = 0


class Admission:
    """The bounds of one gateway; used from its event loop alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rate = None if settings.rate == "none" else parse(settings.rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._photos_by_client: Counter[str] = Counter()
        self._memory_by_client: Counter[str] = Counter()
        self.photos = 0
        self.memory = 0

    @contextmanager
    def ticket(self, address: str) -> Iterator[Ticket]:
        """What the request of the client at that IP address may claim; given back at the end."""
        ticket = Ticket(self, client_key(address))
        try:
            yield ticket
        finally:
            ticket.give_back()

    async def check_rate(self, client: str, photos: int) -> None:
        """See `Ticket.count`."""
        rate = self._rate
        if rate and not await self._limiter.hit(rate, client, cost=photos):
            stats = await self._limiter.get_window_stats(rate, client)
            wait_s = max(1, math.ceil(stats.reset_time - time.time()))
            raise RateLimited(
                f"a client may send {self._settings.rate.replace('/', ' photos a ')}", wait_s
            )

    def claim_places(self, client: str, photos: int) -> None:
        """See `Ticket.take_places`."""
        own = self._settings.client_photos_at_once
        if self._photos_by_client[client] + photos > own:
            raise RateLimited(f"a client may have {own} photos in work at once")
        if self.photos + photos > self._settings.photos_at_once:
            raise Overloaded(f"{self.photos} photos are being worked on; try again in a moment")
        self._photos_by_client[client] += photos
        self.photos += photos

    def claim_memory(self, client: str, size: int) -> None:
        """See `Ticket.take_memory`."""
        own = self._settings.client_upload_memory
        if self._memory_by_client[client] + size > own:
            raise RateLimited(f"a client may have {own} bytes of uploads on their way at once")
        if self.memory + size > self._settings.upload_memory:
            raise Overloaded("the memory for uploads is full; try again in a moment")
        self._memory_by_client[client] += size
        self.memory += size

    def release(self, client: str, photos: int, memory: int) -> None:
        """See `Ticket.give_back`."""
        self.photos -= photos
        self.memory -= memory
        for held, given in ((self._photos_by_client, photos), (self._memory_by_client, memory)):
            held[client] -= given
            if not held[client]:
                del held[client]
