from __future__ import annotations

from training.models.names_and_shapes import differences


def test_equal_names_and_shapes_give_no_words() -> None:
    assert differences({"a": (1, 2), "b": ()}, {"b": (), "a": (1, 2)}) == ""


def test_each_kind_of_difference_is_named() -> None:
    text = differences({"a": (1,), "b": (2, 3)}, {"b": (3, 2), "c": ()})
    assert text == "missing: a; extra: c; wrong shape: b 3x2 instead of 2x3"


def test_a_long_list_is_cut_and_counted() -> None:
    text = differences({f"w{i}": (1,) for i in range(9)}, {})
    assert text == "missing: w0, w1, w2, w3, w4 and 4 more"


def test_names_from_a_file_cannot_reach_the_terminal_raw() -> None:
    assert differences({}, {"\x1b[2J\n": ()}) == "extra: \\x1b[2J\\n"
