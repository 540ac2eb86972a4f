"""Who may come in, and how much at once.

Four bounds, each answered at once rather than queued behind: photos that one client sends in a
time (429), photos in work, bytes of uploads in memory (503; 429 where it is one client's own
share), and the time that a photo would have to wait for those before it (503). An upload that has
not come yet takes memory alone: places are for photos that are there, or a few dozen slow clients
would hold them all.

The wait is the photos ahead times how long one takes (`web/pace.py`), so the queue is as long as
the model is fast. What the request itself brings does not matter: on an idle server each is taken.
Few photos ahead are no reason to refuse, or a slow model would refuse small bursts and have small
batches only; and as these few are let in whatever the pace seems to be, it is always learned anew.
A client with nothing in the queue is let in while it is somewhat longer, so that one that asks for
all there is does not shut out the others.
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

from web.pace import Pace
from web.problems import Overloaded, RateLimited
from web.settings import Settings

# Photos of one request that are asked at a time; so many of them another one has before it.
OF_A_REQUEST = 8
# One batch of TorchServe's default size.
_FEW_AHEAD = 8
_ROOM_FOR_NEWCOMERS = 1.5


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
        self._unanswered = 0

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

    def join_queue(self, photos: int) -> None:
        """Say that so many photos are now there to be asked.

        Raises:
            Overloaded: they would have to wait too long.
        """
        self._admission.check_wait(self._client)
        self._set_unanswered(photos)

    def answered(self) -> None:
        """One of those in the queue has its answer."""
        # Tasks that are cancelled come here after all was given back.
        self._set_unanswered(max(0, self._unanswered - 1))

    def _set_unanswered(self, photos: int) -> None:
        more = min(photos, OF_A_REQUEST) - min(self._unanswered, OF_A_REQUEST)
        self._admission.change_queue(self._client, more)
        self._unanswered = photos

    def give_back(self) -> None:
        """All that was claimed."""
        self._set_unanswered(0)
        self._admission.release(self._client, self._photos, self._memory)
        self._photos = self._memory = 0


class Admission:
    """The bounds of one gateway; used from its event loop alone.

    Attributes:
        photos: in work.
        memory: bytes of uploads.
        ahead: photos that one which comes now has before it.
    """

    def __init__(self, settings: Settings, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._rate = None if settings.rate == "none" else parse(settings.rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._photos_by_client: Counter[str] = Counter()
        self._memory_by_client: Counter[str] = Counter()
        self._ahead_by_client: Counter[str] = Counter()
        self.photos = 0
        self.memory = 0
        self.ahead = 0

    @property
    def expected_wait_s(self) -> float:
        """Of a photo that comes now; 0 where it is not known how long one takes."""
        return self.ahead * (self._pace.photo_s or 0.0)

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
            raise Overloaded(
                f"{self.photos} photos are being worked on; try again in a moment",
                self._retry_after_s(),
            )
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

    def check_wait(self, client: str) -> None:
        """See `Ticket.join_queue`."""
        room = 1.0 if self._ahead_by_client[client] else _ROOM_FOR_NEWCOMERS
        wait_s = self.expected_wait_s
        if self.ahead > room * _FEW_AHEAD and wait_s > room * self._settings.queue_s:
            raise Overloaded(
                f"a photo would wait {wait_s:.1f} s; try again in a moment", self._retry_after_s()
            )

    def change_queue(self, client: str, photos: int) -> None:
        """So many photos more that others have before them, or fewer."""
        self.ahead += photos
        _add(self._ahead_by_client, client, photos)

    def release(self, client: str, photos: int, memory: int) -> None:
        """See `Ticket.give_back`."""
        self.photos -= photos
        self.memory -= memory
        _add(self._photos_by_client, client, -photos)
        _add(self._memory_by_client, client, -memory)

    def _retry_after_s(self) -> int:
        # Nothing is ahead for longer than an answer may take.
        return max(1, math.ceil(min(self.expected_wait_s, self._settings.answer_s)))


def _add(held: Counter[str], client: str, more: int) -> None:
    """Add to what a client holds; who holds nothing takes no memory."""
    held[client] += more
    if not held[client]:
        del held[client]
