"""The ways for a photo to get onto the page."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.images import encode
from tests.web.browser.conftest import PHONE, Visit
from tests.web.browser.photos import Photo, cards, choose, done, drawn, failed, photo, transfer
from training.drawn_cats import draw_cat


def test_a_chosen_photo_gets_its_breeds(
    visit: Visit, device: dict[str, Any], siamese: Photo
) -> None:
    page = visit(**device)
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose photos").click()
    assert chooser.value.is_multiple()
    chooser.value.set_files(siamese)
    card = done(page)
    expect(card.get_by_role("heading", name="Siamese", exact=True)).to_be_in_viewport()
    expect(card.locator(".breeds li")).to_have_count(5)
    expect(card.get_by_role("img", name="Photo siamese.jpg")).to_be_in_viewport()


def test_the_same_photo_can_be_chosen_twice(visit: Visit, siamese: Photo) -> None:
    page = visit()
    for number in (1, 2):
        choose(page, siamese)
        expect(cards(page)).to_have_count(number)


def test_an_example_gets_its_breed(visit: Visit, device: dict[str, Any]) -> None:
    page = visit(**device)
    examples = page.locator(".example")
    assert 6 <= examples.count() <= 8
    page.get_by_role("button", name="Calico").click()
    expect(done(page).get_by_role("heading", name="Calico", exact=True)).to_be_in_viewport()


def test_a_photo_is_dropped_anywhere_on_the_page(visit: Visit, siamese: Photo) -> None:
    page = visit()
    files = transfer(page, siamese)
    page.dispatch_event("footer", "dragenter", {"dataTransfer": files})
    expect(page.locator("#curtain")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": files})
    expect(page.locator("#curtain")).to_be_hidden()
    done(page)


def test_dropping_what_is_no_file_says_so(visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.setData("text/uri-list", "https://example.org/cat.jpg");
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }"""
    )
    expect(page.get_by_text("That was no file.").first).to_be_visible()
    expect(cards(page)).to_have_count(0)


def test_a_photo_is_pasted(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    cat = encode(draw_cat("Tuxedo", (3, 1)), "PNG")
    page.evaluate(
        """async (content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const photo = new Blob([bytes], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": photo })]);
        }""",
        base64.b64encode(cat).decode(),
    )
    page.keyboard.press("Control+V")
    expect(done(page).get_by_role("heading", name="Tuxedo", exact=True)).to_be_visible()


def test_pasting_text_says_that_it_is_no_photo(visit: Visit) -> None:
    page = visit()
    page.evaluate("document.dispatchEvent(new ClipboardEvent('paste'))")
    expect(page.get_by_text("There is no photo on the clipboard.").first).to_be_visible()


def test_a_phone_can_take_the_photo(visit: Visit, siamese: Photo) -> None:
    page = visit(**PHONE)
    camera = page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Take a photo").click()
    assert not chooser.value.is_multiple()
    chooser.value.set_files(siamese)
    done(page)


def test_several_photos_each_get_their_own_answer(visit: Visit, siamese: Photo) -> None:
    page = visit()
    broken = photo("broken.jpg", siamese["buffer"][:2000])
    choose(page, siamese, broken, drawn("Bengal", "bengal.png", "PNG"), drawn("Calico"))
    expect(done(page, 0).locator(".name")).to_have_text("siamese.jpg")
    expect(failed(page, 1).get_by_text("This photo is damaged.")).to_be_visible()
    expect(done(page, 2).get_by_role("heading", name="Bengal", exact=True)).to_be_visible()
    expect(done(page, 3).get_by_role("heading", name="Calico", exact=True)).to_be_visible()
    page.get_by_role("button", name="Clear all").click()
    expect(cards(page)).to_have_count(0)


def test_a_slow_photo_holds_up_no_other(visit: Visit, siamese: Photo) -> None:
    page = visit()
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/classify*", hold_the_first)
    choose(page, siamese, *(drawn("Bengal", f"{number}.jpg") for number in range(5)))
    for number in range(1, 6):
        done(page, number)
    assert cards(page).nth(0).get_attribute("data-state") != "done"
    held[0].continue_()
    done(page, 0)


def test_more_photos_than_are_taken_at_once(visit: Visit, siamese: Photo) -> None:
    page = visit()
    page.route("**/api/classify*", lambda route: None)
    choose(page, *(photo(f"{number}.jpg", siamese["buffer"]) for number in range(34)))
    expect(
        page.get_by_text("Only the first 32 of these 34 photos were taken.").first
    ).to_be_visible()
    expect(cards(page)).to_have_count(32)


def test_formats(visit: Visit) -> None:
    page = visit()
    formats = ("PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
    choose(page, *(drawn("Siamese", f"cat.{format.lower()}", format) for format in formats))
    for number, format in enumerate(formats):
        card = done(page, number)
        expect(card.locator(".name")).to_have_text(f"cat.{format.lower()}")
        expect(card.get_by_role("heading", name="Siamese", exact=True)).to_be_visible()


def test_a_heic_photo_without_preview(visit: Visit, device: dict[str, Any]) -> None:
    page = visit(**device)
    choose(page, drawn("Siamese", "IMG_0001.HEIC", "HEIF"))
    card = done(page)
    expect(card.get_by_role("heading", name="Siamese", exact=True)).to_be_visible()
    expect(card.get_by_text("No preview")).to_be_visible()
    card.get_by_role("button", name="Why?").click()
    expect(card.get_by_role("img", name="Heat map")).to_be_visible()


def test_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit()

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("(what) => document.activeElement.matches(what)", selector):
                return
        pytest.fail(f"{selector} cannot be reached")

    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the results")).to_be_focused()
    tab_to("#file")
    ring = "getComputedStyle(document.querySelector('label[for=file]')).outlineStyle"
    assert page.evaluate(ring) == "solid"
    with page.expect_file_chooser():
        page.keyboard.press("Enter")
    tab_to(".example")
    page.keyboard.press("Enter")
    card = done(page)
    tab_to(".why")
    page.keyboard.press("Enter")
    expect(card.get_by_role("img", name="Heat map of Siamese")).to_be_visible()
    tab_to(".explanation select")
    page.keyboard.press("ArrowDown")
    second = card.locator(".breeds .breed").nth(1).inner_text()
    expect(card.get_by_role("img", name=f"Heat map of {second}")).to_be_visible()
    for _ in range(10):
        page.keyboard.press("Shift+Tab")
        if _focused(page, ".remove"):
            break
    page.keyboard.press("Space")
    expect(cards(page)).to_have_count(0)
    # Whoever removed it is still at the results, not back at the top of the page.
    assert _focused(page, "#answers")


def _focused(page: Page, selector: str) -> bool:
    return bool(page.evaluate("(what) => document.activeElement.matches(what)", selector))
