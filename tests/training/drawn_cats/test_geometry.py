import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.drawn_cats.geometry import Frame, Tube, displaced, ellipse, resample, spline

_NUMBER = st.floats(-100, 100)


@given(st.lists(st.tuples(_NUMBER, _NUMBER), min_size=2, max_size=8))
def test_an_open_spline_starts_and_ends_at_its_knots(knots: list[tuple[float, float]]) -> None:
    curve = spline(knots, 17)
    assert curve.shape == (17, 2)
    assert curve[0] == pytest.approx(knots[0])
    assert curve[-1] == pytest.approx(knots[-1])


def test_v_plus_one_is_the_underside_of_a_tube_from_left_to_right() -> None:
    tube = Tube.through([(10, 50, 5), (50, 50, 8), (90, 50, 5)])
    back, belly = tube.at([0.5, 0.5], [-1.0, 1.0])
    assert belly[1] - back[1] == pytest.approx(16, abs=0.2)


def test_a_mark_beyond_the_end_of_a_tube_reaches_over_its_round_cap() -> None:
    tube = Tube.through([(10, 50, 5), (90, 50, 5)])
    beyond = tube.at([1.1], [0.0])[0]
    assert beyond == pytest.approx([98, 50], abs=0.01)
    assert tube.outline()[:, 0].max() == pytest.approx(95, abs=0.5)


def test_hair_grows_outwards() -> None:
    ring = resample(ellipse((50, 50), (20, 10)), 1.0)
    longer = displaced(ring, np.full(len(ring), 3.0))
    assert np.ptp(longer[:, 0]) == pytest.approx(np.ptp(ring[:, 0]) + 6, abs=0.5)


def test_a_frame_turns_and_scales_about_the_centre_of_the_head() -> None:
    frame = Frame((40.0, 30.0), 10.0, np.pi / 2, 0.2)
    assert frame.place(np.array([[1.0, 0.0]]))[0] == pytest.approx([40, 40])
    assert frame.place(np.array([[1.0, 0.0]]), depth=1.0)[0] == pytest.approx([40, 42])
