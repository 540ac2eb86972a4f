"""How the page comes: how heavy, how calm, how accessible, and what is left without scripts."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.web.browser.conftest import DESKTOP, PHONE, Visit
from tests.web.browser.photos import Photo, choose, done, failed, photo

MOST_BYTES = 200_000
_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (!entry.hadRecentInput) {
                window.shifts.push([
                    entry.value,
                    ...entry.sources.map((source) => source.node?.outerHTML?.slice(0, 80)),
                ]);
            }
        }
    }).observe({ type: "layout-shift", buffered: true });
"""


def test_the_page_is_light(visit: Visit) -> None:
    page = visit()
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    received: list[int] = []
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    bodies: list[int] = []
    page.on("requestfinished", lambda request: bodies.append(request.sizes()["responseBodySize"]))
    page.reload(wait_until="networkidle")
    assert len(received) > 20
    assert sum(received) <= MOST_BYTES
    assert sum(bodies) <= MOST_BYTES


def test_nothing_moves_while_the_first_result_comes(
    visit: Visit, device: dict[str, Any], siamese: Photo
) -> None:
    page = visit(**device)
    page.add_init_script(_SHIFTS)
    page.reload(wait_until="networkidle")
    choose(page, siamese)
    done(page)
    page.wait_for_timeout(300)
    shifts = page.evaluate("window.shifts")
    assert sum(shift[0] for shift in shifts) < 0.02, shifts


def test_the_policy_forbids_what_the_page_does_not_need(visit: Visit) -> None:
    page = visit()
    answer = page.reload()
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_barrier_is_found(
    visit: Visit, siamese: Photo, size: dict[str, Any], scheme: str
) -> None:
    page = visit(**size, color_scheme=scheme, reduced_motion="reduce")
    assert _barriers(page) == []
    broken = photo("broken.jpg", siamese["buffer"][:2000])
    choose(page, siamese, broken, photo("notes.txt", b"no photo"))
    card = done(page, 0)
    failed(page, 1)
    failed(page, 2)
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".heat")).to_be_visible()
    assert _barriers(page) == []


def _barriers(page: Page) -> list[tuple[str, str, Any]]:
    """All that axe finds, of whatever impact."""
    found = Axe().run(page).response["violations"]
    return [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in found]


def test_dark_where_that_is_wanted(visit: Visit) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visit(color_scheme="light").evaluate(ground)
    dark = visit(color_scheme="dark").evaluate(ground)
    assert _brightness(light) > 200
    assert _brightness(dark) < 40


def _brightness(colour: str) -> float:
    return sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) / 3


def test_nothing_sticks_out_sideways(visit: Visit, siamese: Photo) -> None:
    page = visit()
    name = "a-very-long-name-without-any-space-in-it" * 4 + ".jpg"
    choose(page, photo(name, siamese["buffer"]), photo("broken.jpg", siamese["buffer"][:2000]))
    card = done(page)
    failed(page, 1)
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".heat")).to_be_visible()
    for width in (320, 360, 540, 768, 1000, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_form_gives_five_breeds(
    visit: Visit, device: dict[str, Any], siamese: Photo
) -> None:
    page = visit(**device, java_script_enabled=False)
    expect(page.get_by_text("Drop photos")).to_be_hidden()
    expect(page.locator(".examples")).to_be_hidden()
    page.get_by_label("Photo of a cat").set_input_files(siamese)
    page.get_by_role("button", name="Name its breed").click()
    expect(page.get_by_role("heading", name="Siamese", exact=True)).to_be_in_viewport()
    expect(page.locator(".breeds li")).to_have_count(5)
    expect(page.locator(".percent").first).to_contain_text("%")


def test_without_scripts_a_problem_is_told(visit: Visit, siamese: Photo) -> None:
    page = visit(java_script_enabled=False)
    page.get_by_label("Photo of a cat").set_input_files(photo("x.jpg", siamese["buffer"][:2000]))
    page.get_by_role("button", name="Name its breed").click()
    expect(page.get_by_role("alert")).to_contain_text("This photo is damaged.")
    # And the form is there for another try.
    expect(page.get_by_label("Photo of a cat")).to_be_visible()
