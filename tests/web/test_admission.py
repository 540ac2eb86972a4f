from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.admission import Admission, Ticket, client_key
from web.pace import Pace
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
    admission = Admission(Settings(photos_at_once=5, client_photos_at_once=3), Pace())
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
        admission = Admission(Settings(rate="5/minute"), Pace())
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
    admission = Admission(Settings(upload_memory=100, client_upload_memory=70), Pace())
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
    admission = Admission(settings, Pace())
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


def slow_pace(photo_s: float) -> Pace:
    pace = Pace()
    for turn in range(100):
        pace.begin(turn * photo_s)
        pace.end((turn + 1) * photo_s, is_answered=True)
    return pace


def let_in(admission: Admission, clients: Iterable[str]) -> list[Ticket]:
    """The tickets of those that may join the queue with one photo each."""
    tickets = []
    for client in clients:
        ticket = Ticket(admission, client)
        try:
            ticket.take_places(1)
            ticket.join_queue(1)
        except Overloaded:
            ticket.give_back()
        else:
            tickets.append(ticket)
    return tickets


@pytest.mark.parametrize(
    ("photo_s", "of_one_client", "of_all"),
    [(1.0, 9, 13), (0.04, 11, 16), (0.02, 21, 31), (0.001, 40, 64)],
)
def test_the_queue_is_as_long_as_the_model_is_fast(
    photo_s: float, of_one_client: int, of_all: int
) -> None:
    """And one client leaves room for others."""
    settings = Settings(queue_s=0.4001, client_photos_at_once=64)
    admission = Admission(settings, slow_pace(photo_s))
    assert len(let_in(admission, map(str, range(100)))) == of_all
    admission = Admission(Settings(queue_s=0.4001), slow_pace(photo_s))
    greedy = []
    for _ in range(40):
        greedy += let_in(admission, ["192.0.2.1"])
    assert len(greedy) == of_one_client
    others = let_in(admission, map(str, range(100)))
    assert len(greedy) + len(others) == of_all


def test_before_anything_is_known_only_the_fixed_bounds_hold() -> None:
    admission = Admission(Settings(queue_s=0.001), Pace())
    assert len(let_in(admission, map(str, range(100)))) == 64
    assert admission.expected_wait_s == 0


@pytest.mark.parametrize(("photo_s", "retry_after_s"), [(0.06, 1), (0.25, 4), (1.0, 13), (9.0, 25)])
def test_who_is_refused_is_told_when_the_queue_will_be_done(
    photo_s: float, retry_after_s: int
) -> None:
    admission = Admission(Settings(photos_at_once=13), slow_pace(photo_s * 0.999))
    let_in(admission, map(str, range(100)))
    with admission.ticket("192.0.2.1") as ticket:
        with pytest.raises(Overloaded, match="would wait") as refused:
            ticket.join_queue(1)
        assert refused.value.retry_after_s == retry_after_s
        with pytest.raises(Overloaded, match="13 photos") as refused:
            ticket.take_places(1)
        assert refused.value.retry_after_s == retry_after_s


def test_a_request_of_many_photos_is_taken_and_has_eight_of_them_ahead_of_others() -> None:
    admission = Admission(Settings(), slow_pace(5.0))
    with admission.ticket("192.0.2.1") as many:
        many.take_places(32)
        many.join_queue(32)
        assert admission.ahead == 8
        for left in (*[8] * 24, *range(7, 0, -1)):
            many.answered()
            assert admission.ahead == left
    assert admission.ahead == 0
    many.answered()  # a task that was cancelled
    assert admission.ahead == 0


def test_a_photo_that_is_still_being_fetched_is_ahead_of_nobody() -> None:
    admission = Admission(Settings(), slow_pace(5.0))
    with admission.ticket("192.0.2.1") as fetching:
        fetching.take_places(40)
        assert (admission.photos, admission.ahead) == (40, 0)
        assert len(let_in(admission, "abc")) == 3


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 32), st.integers(0, 40)), max_size=40),
    st.floats(0.0001, 100),
)
def test_where_nothing_is_in_work_everything_is_taken(
    requests: list[tuple[int, int, int]], photo_s: float
) -> None:
    """Whatever was before."""
    admission = Admission(Settings(), slow_pace(photo_s))
    tickets = [Ticket(admission, str(number // 2)) for number in range(6)]
    for who, photos, answered in requests:
        tickets[who].give_back()
        try:
            tickets[who].take_places(photos)
            tickets[who].join_queue(photos)
        except (RateLimited, Overloaded):
            tickets[who].give_back()
        for _ in range(answered):
            tickets[who].answered()
        assert 0 <= admission.ahead <= 6 * 8
    for ticket in tickets:
        ticket.give_back()
    assert admission.ahead == 0
    with admission.ticket("192.0.2.1") as lone:
        lone.take_places(32)
        lone.join_queue(32)
