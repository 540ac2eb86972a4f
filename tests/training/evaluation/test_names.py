from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.names import distinct_names, without_surrogates

NAMES = st.lists(st.binary(min_size=1, max_size=6).map(os.fsdecode), max_size=12)


def test_a_name_that_can_be_printed_stays_as_it_is() -> None:
    for name in ("Sphynx_1.jpg", "Björk/猫.png", "\U0001f431"):
        assert without_surrogates(name) == name


@given(NAMES)
def test_any_name_of_a_file_can_be_printed_and_none_is_lost(names: list[str]) -> None:
    shown = distinct_names(names)
    assert list(shown) == list(dict.fromkeys(names))
    assert len(set(shown.values())) == len(shown)
    for name, text in shown.items():
        assert text.encode()
        assert text.startswith(without_surrogates(name))


def test_names_that_look_alike_are_numbered() -> None:
    odd = [os.fsdecode(name) for name in (b"\xff.jpg", b"\xfe.jpg", b"\xff.jpg", b"a.jpg")]
    assert list(distinct_names(odd).values()) == ["\ufffd.jpg", "\ufffd.jpg (2)", "a.jpg"]


def test_half_a_pair_that_a_card_s_json_may_hold_is_replaced_too() -> None:
    assert without_surrogates(json.loads('"a\\ud83d"')) == "a\ufffd"
