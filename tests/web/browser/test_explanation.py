""" "Why?": the heat map over a photo."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.images import encode
from tests.service import R50
from tests.web.browser.conftest import Visit
from tests.web.browser.photos import Photo, choose, done, photo
from training.drawn_cats import draw_cat

WIDE = encode(draw_cat("Siamese", (5, 5), size=320).resize((320, 160)), "JPEG")
TALL = encode(draw_cat("Siamese", (5, 5), size=320).resize((160, 320)), "JPEG")

# (photo's width, height, the model's input, expected (left, top, width, height))
PLACES: list[tuple[int, int, dict[str, Any], tuple[float, ...]]] = [
    (400, 300, {"resize": [96, 96], "crop": None}, (0, 0, 1, 1)),
    (400, 200, {"resize": 100, "crop": 80}, (0.3, 0.1, 0.4, 0.8)),
    (200, 400, {"resize": 100, "crop": 80}, (0.1, 0.3, 0.8, 0.4)),
    (900, 300, {"resize": [100, 200], "crop": 50}, (0.375, 0.25, 0.25, 0.5)),
]
GRIDS: list[tuple[list[list[float]], str]] = [
    ([[0, 0, 0], [0, 3, 0], [0, 0, 0]], "What speaks for it lies mostly in the centre (100%)."),
    (
        [[6, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4]],
        "lies mostly at the top left (60%) and at the bottom right (40%).",
    ),
    ([[9, 1, 0], [0, 0, 0], [0, 0, 0]], "lies mostly at the top left (90%)."),
    ([[0, 0, -2], [0, 0, 0], [0, 0, 0]], "Nothing in the photo speaks for it."),
    ([[0, 0, 0], [1, 0, -2], [0, 0, 0]], "speaks against it lies mostly on the right (100%)."),
    ([[0, 5, 0]], "at the top (100%)"),
]
# (the first cell's pixel, the step, the input's height and width, what is said of ONE)
ONE = [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
CELLS: list[tuple[float, float, list[int], str]] = [
    (0, 32, [96, 192], "on the left"),
    (0, 32, [98, 98], "at the top left"),
    (21, 16, [107, 107], "in the centre"),
    (21, 16, [128, 107], "at the top"),
    (15.5, 32, [60, 300], "at the bottom left"),
    (-40, 20, [90, 90], "at the top left"),
    (60, 60, [90, 90], "at the bottom right"),
]


def ask_why(page: Page, what: Photo) -> Locator:
    """The card of a photo with its heat map."""
    choose(page, what)
    card = done(page)
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".heat")).to_be_visible()
    return card


def box(element: Locator) -> tuple[float, float, float, float]:
    """(left, top, width, height) on the screen."""
    found = element.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]


@pytest.mark.parametrize("content", [WIDE, TALL], ids=["wide", "tall"])
def test_the_map_covers_the_whole_photo_that_was_squeezed(
    visit: Visit, device: dict[str, Any], content: bytes
) -> None:
    card = ask_why(visit(**device), photo("cat.jpg", content))
    left, top, width, height = box(card.locator(".photo"))
    assert max(width, height) == pytest.approx(2 * min(width, height), abs=1)
    assert box(card.locator(".heat")) == pytest.approx((left, top, width, height), abs=1)


@pytest.mark.parametrize("content", [WIDE, TALL], ids=["wide", "tall"])
def test_the_map_covers_the_central_square_that_was_cut_out(visit: Visit, content: bytes) -> None:
    page = visit()
    page.get_by_label("Model", exact=True).select_option(f"{R50} 1.0")
    card = ask_why(page, photo("cat.jpg", content))
    left, top, width, height = box(card.locator(".photo"))
    side = min(width, height)
    middle = (left + (width - side) / 2, top + (height - side) / 2, side, side)
    assert box(card.locator(".heat")) == pytest.approx(middle, abs=1)
    expect(card.locator(".words")).to_contain_text("The model saw only what is framed.")


def test_where_the_map_lies(visit: Visit) -> None:
    page = visit()
    for width, height, model_input, expected in PLACES:
        found = page.evaluate(
            """async ([width, height, input]) => {
                const { placement } = await import("/static/js/placement.js");
                const { left, top, width: wide, height: high } = placement(width, height, input);
                return [left, top, wide, high];
            }""",
            [width, height, model_input],
        )
        assert tuple(found) == pytest.approx(expected)


def test_the_map_in_words(visit: Visit) -> None:
    page = visit()
    for grid, words in GRIDS:
        assert words in in_words(page, {"grid": grid}), "of an older archive"
        height, width = 32 * len(grid), 32 * len(grid[0])
        cells = {"cells": {"first": 0, "step": 32}, "input_size": [height, width]}
        assert words in in_words(page, {"grid": grid, **cells})
    for first, step, input_size, words in CELLS:
        cells = {"cells": {"first": first, "step": step}, "input_size": input_size}
        assert f"lies mostly {words} (100%)" in in_words(page, {"grid": ONE, **cells}), cells


def in_words(page: Page, explanation: dict[str, Any]) -> str:
    """What the page says of an explanation."""
    told: str = page.evaluate(
        """async (explanation) => {
            const { told } = await import("/static/js/placement.js");
            return told(explanation, "it");
        }""",
        explanation,
    )
    return told


def test_each_of_the_five_breeds_can_be_explained(visit: Visit, siamese: Photo) -> None:
    page = visit()
    card = ask_why(page, siamese)
    choice = card.get_by_label("What in the photo speaks for")
    names = card.locator(".breed").all_inner_texts()
    assert [
        text.rpartition(" (")[0] for text in choice.locator("option").all_inner_texts()
    ] == names
    first = card.locator(".heat").get_attribute("src")
    choice.select_option(index=2)
    heat_map = card.get_by_role("img", name=f"Heat map of {names[2]}. What speaks")
    expect(heat_map).to_be_visible()
    assert heat_map.get_attribute("src") != first
    expect(page.get_by_role("status")).to_contain_text(names[2])
    expect(card.locator(".legend")).to_contain_text("against")
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".heat")).to_be_hidden()


def test_a_map_that_cannot_be_had_says_why(visit: Visit, siamese: Photo) -> None:
    page = visit()
    page.route("**/api/explain*", lambda route: route.abort())
    choose(page, siamese)
    card = done(page)
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".words")).to_contain_text("The server cannot be reached.")
    page.unroute("**/api/explain*")
    card.get_by_role("button", name="Why?").click()
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".heat")).to_be_visible()
