from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from handlers.metric_labels import metric_label


@given(st.text())
def test_nothing_is_left_that_would_end_a_label(name: str) -> None:
    label = metric_label(name)
    assert not re.search(r"[,:|#\[\]\s]", label)
    assert metric_label(label) == label


def test_a_breed_can_still_be_read() -> None:
    assert metric_label("Domestic Short Hair") == "Domestic_Short_Hair"
    assert metric_label("Türkisch Van") == "Türkisch_Van"
