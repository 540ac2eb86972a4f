from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.state import ServerRecord
from serving.traffic import Canary, canary_version

NOW = 1_753_862_400.0
CLIENTS = [f"10.0.{number >> 8}.{number & 255}" for number in range(4000)]
_SHARES = st.floats(0, 1)
_NAMES = st.text(st.characters(), max_size=40)


def record(canary: Canary | None) -> ServerRecord:
    canaries = {"cats": canary} if canary else {}
    return ServerRecord("i", "m", "x", "g", 1, {"cats": ["1.0", "1.1"]}, "/store", canaries)


def chosen(share: float, version: str = "1.1", model: str = "cats") -> set[str]:
    trying = record(Canary(version, share, NOW + 5))
    trying.canaries[model] = trying.canaries["cats"]
    return {each for each in CLIENTS if canary_version(trying, model, each, NOW) == version}


@given(_SHARES)
def test_about_that_share_of_the_clients_is_chosen(share: float) -> None:
    # Five standard deviations of 4000 draws at most.
    assert len(chosen(share)) / len(CLIENTS) == pytest.approx(share, abs=0.04)


@given(_SHARES, _SHARES)
def test_a_larger_share_takes_nobody_out(one: float, other: float) -> None:
    assert chosen(min(one, other)) <= chosen(max(one, other))


def test_none_and_all() -> None:
    assert chosen(0.0) == set()
    assert chosen(1.0) == set(CLIENTS)


def test_another_version_or_model_chooses_other_clients() -> None:
    first = chosen(0.5)
    for other in (chosen(0.5, version="1.2"), chosen(0.5, model="dogs")):
        assert 0.4 < len(first & other) / len(first) < 0.6


@given(_NAMES, _NAMES, _SHARES)
def test_the_same_client_stays_with_its_version(version: str, client: str, share: float) -> None:
    answers = {
        canary_version(record(Canary(version, share, NOW + left)), "cats", client, NOW)
        for left in (1.0, 5.0, 3600.0)
    }
    assert len(answers) == 1
    assert answers <= {version, None}


@pytest.mark.parametrize(
    ("canary", "model"),
    [
        (None, "cats"),
        (Canary("1.1", 1.0, NOW + 5), "dogs"),
        (Canary("1.1", 1.0, NOW), "cats"),
        (Canary("1.1", 1.0, NOW - 1), "cats"),
    ],
)
def test_without_a_canary_or_after_its_time_there_is_none(
    canary: Canary | None, model: str
) -> None:
    assert canary_version(record(canary), model, "10.0.0.1", NOW) is None
