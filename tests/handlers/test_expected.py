from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.expected import BOUNDS, Expected

EXPECTED = Expected(
    photos=8,
    part="test",
    predicted={"Bengal": 0.75, "Siamese": 0.25, "Sphynx": 0.0},
    top1_probability={bound: number / 9 for number, bound in enumerate(BOUNDS)},
    unsure=0.125,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=6,
)


def test_it_comes_back_from_a_file() -> None:
    assert Expected.from_dict(json.loads(json.dumps(EXPECTED.to_dict()))) == EXPECTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": 0}, "expected.photos: 0 is not allowed"),
        ({"photos": True}, "expected.photos: True"),
        ({"photos": 2.5}, "expected.photos: 2.5"),
        ({"part": ""}, "expected.part: ''"),
        ({"predicted": {}}, "expected.predicted: shares"),
        ({"predicted": {"Bengal": 0.5}}, "expected.predicted: shares of 0 to 1 that make up 1"),
        ({"predicted": {"Bengal": 1.5, "Siamese": -0.5}}, "expected.predicted: shares"),
        ({"predicted": {"Bengal": "all"}}, "expected.predicted: shares"),
        ({"predicted": [1.0]}, "expected.predicted: shares"),
        ({"top1_probability": {"1.0": 1.0}}, r"by \['0\.005', .*'1\.0'\]"),
        ({"top1_probability": dict.fromkeys(BOUNDS, 0.5)}, "shares that rise to 1"),
        (
            {"top1_probability": dict.fromkeys(BOUNDS, 1) | {"0.5": 0.9}},
            "expected.top1_probability: shares that rise to 1",
        ),
        ({"unsure": math.nan}, "expected.unsure: nan is not allowed; 0 to 1 is"),
        ({"unsure": None}, "expected.unsure: None"),
        ({"more": 1}, r"an object with the keys \['photos', .*\] is needed"),
    ],
)
def test_what_are_no_such_shares_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Expected.from_dict(EXPECTED.to_dict() | change)


@given(st.sampled_from(list(EXPECTED.to_dict())), JSON)
def test_whatever_a_card_says_nothing_else_is_raised(key: str, said: object) -> None:
    for section in (said, EXPECTED.to_dict() | {key: said}):
        with suppress(ValueError):
            assert Expected.from_dict(section).to_dict() == section
