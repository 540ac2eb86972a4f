from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.pace import Pace

FAST_S = 0.02


class Server:
    """A model server and the pace that is learned of it, by a clock of their own."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now = 0.0

    def work(self, seconds: float, photos: int = 1, is_answered: bool = True) -> None:
        """So many photos are there together, and are answered together after so long."""
        for _ in range(photos):
            self.pace.begin(self.now)
        self.now += seconds
        for _ in range(photos):
            self.pace.end(self.now, is_answered)

    @property
    def photo_s(self) -> float:
        assert self.pace.photo_s is not None
        return self.pace.photo_s


@pytest.mark.parametrize(
    ("seconds", "photos", "expected"),
    [(0.02, 1, 0.02), (0.1, 8, 0.0125), (2.0, 8, 0.25), (1.0, 32, 1 / 32)],
)
def test_the_time_of_a_photo_is_that_of_the_batch_by_its_photos(
    seconds: float, photos: int, expected: float
) -> None:
    server = Server()
    for _ in range(40):
        server.work(seconds, photos)
    # A batch that has just ended weighs a little more than the others.
    assert server.photo_s == pytest.approx(expected, rel=0.35 if photos > 8 else 0.1)


def test_two_workers_take_half_the_time() -> None:
    server = Server()
    server.pace.begin(0.0)
    server.pace.begin(0.0)
    for turn in range(1, 100):
        server.pace.begin(turn * 0.1)
        server.pace.end(turn * 0.1, True)
    assert server.photo_s == pytest.approx(0.1)


def test_a_queue_is_no_slowness() -> None:
    """The time that a photo waits there for others is theirs."""
    server = Server()
    for _ in range(16):
        server.pace.begin(0.0)
    for turn in range(1, 200):
        server.pace.begin(turn * FAST_S)
        server.pace.end(turn * FAST_S, True)
    assert server.photo_s == pytest.approx(FAST_S)


def test_of_a_few_photos_nothing_is_concluded() -> None:
    server = Server()
    for _ in range(7):
        server.work(FAST_S)
    assert server.pace.photo_s is None
    server.work(FAST_S)
    assert server.photo_s == pytest.approx(FAST_S)


def test_pauses_do_not_count() -> None:
    server = Server()
    for _ in range(100):
        server.work(FAST_S)
        server.now += 3600
    assert server.photo_s == pytest.approx(FAST_S)


@pytest.mark.parametrize("later", [0.001, 0.2])
def test_another_speed_is_learned_in_some_tens_of_photos(later: float) -> None:
    server = Server()
    for _ in range(100):
        server.work(FAST_S)
    for _ in range(32):
        server.work(later)
    assert server.photo_s == pytest.approx((FAST_S + later) / 2, rel=0.1)
    for _ in range(200):
        server.work(later)
    assert server.photo_s == pytest.approx(later, rel=0.3)


def test_one_slow_photo_is_soon_forgotten() -> None:
    server = Server()
    for _ in range(100):
        server.work(FAST_S)
    server.work(1.5)
    assert server.photo_s < 3 * FAST_S
    for _ in range(64):
        server.work(FAST_S)
    assert server.photo_s < 1.5 * FAST_S


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 25.0])
def test_failures_never_make_it_look_fast_and_are_soon_forgotten(seconds: float) -> None:
    """As while the model server starts anew, or hangs."""
    server = Server()
    for _ in range(100):
        server.work(FAST_S)
    for _ in range(1000):
        server.work(seconds, is_answered=False)
    assert server.photo_s == pytest.approx(FAST_S)
    server.work(FAST_S)
    assert server.photo_s >= 0.99 * FAST_S
    for _ in range(256):
        server.work(FAST_S)
    assert server.photo_s < 1.1 * FAST_S


_PHOTOS = st.lists(
    st.tuples(st.floats(0.001, 5.0), st.integers(1, 16), st.booleans(), st.floats(0.0, 60.0)),
    max_size=60,
)


@given(_PHOTOS)
def test_it_lies_between_what_was_seen(batches: list[tuple[float, int, bool, float]]) -> None:
    server = Server()
    for seconds, photos, is_answered, pause in batches:
        server.work(seconds, photos, is_answered)
        server.now += pause
    if server.pace.photo_s is None:
        answered = sum(photos for _, photos, is_answered, _ in batches if is_answered)
        assert answered <= 8
        return
    total = sum(seconds for seconds, *_ in batches)
    fastest = min(seconds / photos for seconds, photos, is_answered, _ in batches if is_answered)
    # Of a batch that leaves, some may have more of a weight than the time that they took.
    assert fastest * 0.7 <= server.photo_s <= total


@given(_PHOTOS)
def test_without_failures_it_is_never_slower(
    batches: list[tuple[float, int, bool, float]],
) -> None:
    every, good = Server(), Server()
    for seconds, photos, is_answered, _ in batches:
        every.work(seconds, photos, is_answered)
        if is_answered:
            good.work(seconds, photos)
    if good.pace.photo_s is not None:
        assert every.photo_s >= good.photo_s * (1 - 1e-9)
