"""What a photo's card tells, and what can be taken from it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.service import DEMO, R50
from tests.web.browser.conftest import Visit
from tests.web.browser.photos import Photo, answer, cards, choose, done, photo
from tests.web.gateway_process import GatewayProcess

CLIPBOARD = ["clipboard-read", "clipboard-write"]
NONE_FITS = "None of the breeds fits well"
# (the likeliest, whether the model says that it is unsure, headline, words below)
WORDS: list[tuple[list[tuple[str, float]], bool, str, str]] = [
    ([("Siamese", 0.97)], False, "Siamese", "The model is almost certain."),
    ([("Siamese", 0.7), ("Manx", 0.2)], False, "Siamese", "The model is fairly sure."),
    ([("Siamese", 0.5), ("Manx", 0.4)], False, "Siamese", "but Manx is close"),
    ([("Siamese", 0.4), ("Manx", 0.35)], True, "Could be Siamese or Manx", "unsure"),
    ([("A", 0.3), ("B", 0.28), ("C", 0.2)], True, "Could be A, B or C", "unsure"),
    ([("Siamese", 0.4), ("Manx", 0.1)], True, "Perhaps Siamese", "only 40.0%"),
    ([("Siamese", 0.09), ("Manx", 0.04)], True, NONE_FITS, "Siamese, with only 9.0%."),
    ([("A", 0.2), ("B", 0.19), ("C", 0.18), ("D", 0.17)], True, NONE_FITS, "The nearest is A"),
]
FILE_NAMES = (
    "siamese.jpg",
    "my cat.jpg",
    """it's "$(touch pwned)" `touch pwned`; touch pwned #\\.jpg""",
    "-",
    "-rf",
    "@cat.jpg",
    "new\nline'\x1b[31m\x7f\\n\x9b.jpg",
    "ねこ %20 100% !!.jpg",
)


def give(page: Page, body: dict[str, Any]) -> None:
    """Have each photo answered so."""

    def fulfil(route: Route) -> None:
        route.fulfill(json=body)

    page.route("**/api/classify*", fulfil)


def test_the_page_shows_what_the_api_answers(
    visit: Visit, gateway: GatewayProcess, siamese: Photo
) -> None:
    page = visit()
    choose(page, siamese)
    card = done(page)
    expected = gateway.classify(siamese["buffer"]).json()
    breeds = [each["breed"] for each in expected["predictions"]]
    expect(card.locator(".breed")).to_have_text(breeds)
    for row, each in zip(card.locator(".breeds li").all(), expected["predictions"], strict=True):
        bar = row.locator("meter").evaluate("(meter) => meter.value")
        assert bar == pytest.approx(each["probability"], abs=1e-6)


def test_percentages_never_claim_certainty(visit: Visit, siamese: Photo) -> None:
    page = visit()
    give(page, answer(("A", 0.9997), ("B", 0.0123), ("C", 0.00007), unsure=False))
    choose(page, siamese)
    expect(done(page).locator(".percent")).to_have_text(
        [">99.9%", "1.2%", "<0.1%", "<0.1%", "<0.1%"]
    )


def test_what_the_model_is_unsure_about_is_said_in_words(visit: Visit, siamese: Photo) -> None:
    page = visit()
    for likely, unsure, headline, words in WORDS:
        give(page, answer(*likely, unsure=unsure))
        choose(page, siamese)
        card = done(page)
        expect(card.get_by_role("heading", name=headline, exact=True)).to_be_visible()
        expect(card.locator(".verdict p")).to_contain_text(words)
        expect(page.get_by_role("status")).to_contain_text(f"siamese.jpg: {headline}")
        card.get_by_role("button", name="Remove").click()


def test_latency_and_version_are_told(visit: Visit, siamese: Photo) -> None:
    page = visit()
    give(page, answer(("Siamese", 0.9), unsure=False))
    choose(page, siamese)
    expect(done(page).locator(".meta")).to_contain_text(f"{DEMO} 0.1 answered in ")
    expect(cards(page).locator(".meta")).to_contain_text("4 ms of it in the model")


def test_what_the_model_cannot_do_is_on_the_page(visit: Visit, device: dict[str, Any]) -> None:
    page = visit(**device)
    notice = page.get_by_role("region", name="What to know about this model")
    expect(notice).to_contain_text("It knows drawings, not photos.")
    expect(notice.get_by_role("listitem").first).to_contain_text("Trained on drawn cats alone")


def test_a_file_name_cannot_bring_markup(visit: Visit, siamese: Photo) -> None:
    page = visit()
    name = '<img src=x onerror="alert(1)"> & "quotes".jpg'
    choose(page, photo(name, siamese["buffer"]))
    card = done(page)
    expect(card.locator(".name")).to_have_text(name)
    expect(card.get_by_role("button", name=f"Remove {name}")).to_be_visible()
    assert card.locator("img[src=x]").count() == 0


def test_names_from_the_server_cannot_bring_markup(visit: Visit, siamese: Photo) -> None:
    page = visit()
    give(page, answer(("<b>A</b>", 0.9), unsure=False))
    choose(page, siamese)
    expect(done(page).locator(".breed").first).to_have_text("<b>A</b>")


def test_copying_the_result_as_json(visit: Visit, siamese: Photo) -> None:
    page = visit(permissions=CLIPBOARD)
    body = answer(("Siamese", 0.9), unsure=False)
    give(page, body)
    choose(page, siamese)
    done(page).get_by_role("button", name="Copy JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(_clipboard(page)) == body


def test_copying_without_the_clipboard_api(visit: Visit, siamese: Photo) -> None:
    """As over plain HTTP from another machine."""
    page = visit(permissions=["clipboard-read"])
    body = answer(("Siamese", 0.9), unsure=False)
    give(page, body)
    page.evaluate("delete Navigator.prototype.clipboard")
    choose(page, siamese)
    done(page).get_by_role("button", name="Copy JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_focused()


def test_the_curl_line_works_whatever_the_file_is_called(
    visit: Visit, gateway: GatewayProcess, siamese: Photo, tmp_path: Path
) -> None:
    page = visit(permissions=CLIPBOARD)
    expected = gateway.classify(siamese["buffer"]).json()["predictions"]
    for number, name in enumerate(FILE_NAMES):
        choose(page, photo(name, siamese["buffer"]))
        card = done(page)
        card.get_by_role("button", name="Copy curl").click()
        expect(card.get_by_role("button", name="Copied")).to_be_visible()
        line = _clipboard(page)
        assert not set(line) & set(map(chr, (*range(32), 127, 0x9B)))
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(siamese["buffer"])
        assert _run(line, folder) == expected
        assert [path.name for path in folder.iterdir()] == [name]


def test_the_curl_line_of_an_example_needs_no_file(
    visit: Visit, gateway: GatewayProcess, tmp_path: Path
) -> None:
    page = visit(permissions=CLIPBOARD)
    page.get_by_role("button", name="Persian").click()
    done(page).get_by_role("button", name="Copy curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert _run(_clipboard(page), tmp_path)[0]["breed"] == "Persian"


def test_another_model_can_be_picked(visit: Visit, siamese: Photo) -> None:
    page = visit(permissions=CLIPBOARD)
    picker = page.get_by_label("Model", exact=True)
    assert picker.locator("option").all_inner_texts()[:2] == [f"{DEMO} 0.1", f"{R50} 1.0"]
    picker.select_option(f"{R50} 1.0")
    expect(page.locator("#notice")).not_to_contain_text("drawings")
    choose(page, siamese)
    card = done(page)
    expect(card.locator(".meta")).to_contain_text(f"{R50} 1.0 answered")
    card.get_by_role("button", name="Copy curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert f"?model={R50}'" in _clipboard(page)


def _clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def _run(line: str, folder: Path) -> Any:  # noqa: ANN401 - parsed JSON
    """What bash makes of a pasted line."""
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        pytest.skip("no bash or curl on PATH")
    ran = subprocess.run((bash, "-c", line), cwd=folder, capture_output=True, check=True)
    return json.loads(ran.stdout)["predictions"]
