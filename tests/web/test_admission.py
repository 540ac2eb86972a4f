from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.admission import Admission, Ticket, client_key
from web.problems import Overloaded, RateLimited
from web.settings import Settings


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("testclient", "testclient", True),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same


def test_too_many_of_one_client_leave_room_for_others() -> None:
    admission = Admission(Settings(photos_at_once=5, client_photos_at_once=3))
    with admission.ticket("192.0.2.1") as greedy, admission.ticket("192.0.2.2") as other:
        greedy.take_places(3)
        with pytest.raises(RateLimited, match="3 photos in work"):
            greedy.take_places(1)
        other.take_places(2)
        with pytest.raises(Overloaded, match="5 photos"):
            other.take_places(1)
    with admission.ticket("192.0.2.2") as again:
        again.take_places(3)


def test_the_rate_counts_photos_and_says_when_to_come_again() -> None:
    async def test() -> None:
        admission = Admission(Settings(rate="5/minute"))
        with admission.ticket("192.0.2.1") as ticket:
            await ticket.count(5)
        with admission.ticket("192.0.2.1") as ticket:
            with pytest.raises(RateLimited, match="5 photos a minute") as refused:
                await ticket.count(1)
            assert 1 <= refused.value.retry_after_s <= 60
        with admission.ticket("192.0.2.2") as ticket:
            await ticket.count(5)

    asyncio.run(test())


def test_memory_is_bounded_over_all_uploads_and_for_each_client() -> None:
    admission = Admission(Settings(upload_memory=100, client_upload_memory=70))
    with admission.ticket("a") as one, admission.ticket("b") as other:
        one.take_memory(60)
        with pytest.raises(RateLimited, match="70 bytes"):
            one.take_memory(11)
        with pytest.raises(Overloaded, match="memory"):
            other.take_memory(41)
        other.take_memory(40)
    assert admission.memory == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 60)), max_size=30))
def test_nothing_is_ever_lost_or_overdrawn(claims: list[tuple[int, int, int]]) -> None:
    settings = Settings(
        photos_at_once=6, client_photos_at_once=4, upload_memory=100, client_upload_memory=80
    )
    admission = Admission(settings)
    tickets = [Ticket(admission, str(number)) for number in range(4)]
    for who, photos, memory in claims:
        try:
            tickets[who].take_places(photos)
            tickets[who].take_memory(memory)
        except (RateLimited, Overloaded):
            pass
        assert 0 <= admission.photos <= 6
        assert 0 <= admission.memory <= 100
        if memory > 50:
            tickets[who].give_back()
    for ticket in tickets:
        ticket.give_back()
    assert (admission.photos, admission.memory) == (0, 0)
