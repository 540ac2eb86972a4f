"""What goes wrong with a photo or with the server, and how the page tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from handlers.problems import Problem
from tests.service import DEMO, Service
from tests.web.browser.conftest import Visit
from tests.web.browser.forwarder import Forwarder
from tests.web.browser.photos import Photo, cards, choose, done, drawn, failed, photo
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from web import problems as gateway_problems

SLUGS = sorted(
    {
        kind.slug
        for kind in (*Problem.__subclasses__(), *gateway_problems.RetryLater.__subclasses__())
        if hasattr(kind, "slug")
    }
)
AGAIN = "Try again"


def answer_with(page: Page, slug: str, status: int = 400, **headers: str) -> None:
    """Have each photo answered with a problem."""
    body = {
        "type": f"urn:catbreeds:problem:{slug}",
        "title": "<b>title</b>",
        "status": status,
        "detail": "<b>the detail</b>",
        "request_id": "id-17",
    }
    page.route(
        "**/api/classify*", lambda route: route.fulfill(json=body, status=status, headers=headers)
    )


def test_files_that_are_no_good(visit: Visit, device: dict[str, Any], siamese: Photo) -> None:
    # A smooth way there is given up where something else scrolls meanwhile.
    page = visit(**device, reduced_motion="reduce")
    no_photo = "This is not a photo that can be read."
    for name, content, title in (
        ("broken.jpg", siamese["buffer"][:3000], "This photo is damaged."),
        ("notes.txt", b"no photo at all", no_photo),
        ("data.json", b'{"image": "x"}', no_photo),
        ("empty.jpg", b"", "Your browser could not read this file."),
    ):
        choose(page, photo(name, content, "application/json" if "json" in name else ""))
        expect(failed(page).get_by_role("heading", name=title)).to_be_in_viewport()
        expect(page.get_by_role("status")).to_contain_text(f"{name}: {title}")
        page.get_by_role("button", name=f"Remove {name}").click()


def test_a_file_that_is_too_big_is_not_sent(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    big = tmp_path / "big.bmp"
    big.write_bytes(b"BM" + bytes(17 * 2**20))
    page.set_input_files("#file", big)
    expect(failed(page)).to_contain_text("This file has 17 MB. At most 16 MB")
    assert [url for url in sent if "/api/" in url] == []


def test_there_is_a_text_for_every_problem(visit: Visit) -> None:
    page = visit()
    found = page.evaluate(
        """async (slugs) => {
            const { textsOf } = await import("/static/js/problems.js");
            return slugs.map((slug) => textsOf(slug));
        }""",
        [*SLUGS, "offline", "unreadable", "never-heard-of"],
    )
    titles = [each["title"] for each in found]
    assert all(each["title"] and each["advice"] for each in found)
    # Each is one of its own, and what is not known is told as a bad answer.
    assert len(set(titles)) == len(titles) - 1
    assert titles[-1] == titles[SLUGS.index("bad-answer")]


def test_a_problem_is_told_with_its_request(visit: Visit, siamese: Photo) -> None:
    page = visit()
    answer_with(page, "internal-error", 500)
    choose(page, siamese)
    card = failed(page)
    expect(card.get_by_role("heading", name="The model failed on this photo.")).to_be_visible()
    expect(card.locator(".detail")).to_have_text("<b>the detail</b> Request id-17")


def test_a_page_of_a_proxy_is_told_as_what_it_means(visit: Visit, siamese: Photo) -> None:
    page = visit()
    body = "<h1>502 Bad Gateway</h1>"
    page.route("**/api/classify*", lambda route: route.fulfill(body=body, status=502))
    choose(page, siamese)
    expect(failed(page)).to_contain_text("The model is not running at the moment.")


def test_trying_again_keeps_the_focus_on_the_photo(visit: Visit, siamese: Photo) -> None:
    page = visit()
    answer_with(page, "upstream-timeout", 504)
    choose(page, siamese)
    again = failed(page).get_by_role("button", name=AGAIN)
    page.unroute("**/api/classify*")
    again.click()
    done(page)
    expect(cards(page).first).to_be_focused()


@pytest.mark.parametrize("slug", ["overloaded", "rate-limited"])
def test_a_busy_server_is_asked_again_by_itself(visit: Visit, siamese: Photo, slug: str) -> None:
    page = visit()
    answer_with(page, slug, 503, **{"Retry-After": "1"})
    choose(page, siamese)
    expect(cards(page).first).to_contain_text("The server is busy; waiting a little")
    page.unroute("**/api/classify*")
    done(page)


def test_a_server_that_stays_busy_for_long_is_not_waited_for(visit: Visit, siamese: Photo) -> None:
    page = visit()
    answer_with(page, "rate-limited", 429, **{"Retry-After": "600"})
    choose(page, siamese)
    expect(failed(page).get_by_role("button", name=AGAIN)).to_be_visible()


def test_the_gateway_is_down_and_comes_back(
    visit: Visit, gateway: GatewayProcess, siamese: Photo
) -> None:
    with Forwarder(gateway.url) as way:
        page = visit(way.up().url)
        way.down()
        choose(page, siamese, drawn("Bengal"))
        page.get_by_role("button", name="Persian").click()
        for number in range(3):
            expect(failed(page, number)).to_contain_text("The server cannot be reached.")
        way.up()
        cards(page).nth(0).get_by_role("button", name=AGAIN).click()
        done(page, 0)
        page.get_by_role("button", name="Try all again").click()
        done(page, 1)
        done(page, 2)
        expect(page.get_by_role("button", name="Try all again")).to_be_hidden()
        page.context.close()


def test_photos_wait_for_the_connection(visit: Visit, siamese: Photo) -> None:
    page = visit()
    page.context.set_offline(True)
    choose(page, siamese)
    failed(page)
    page.context.set_offline(False)
    done(page)


def test_the_model_server_is_down_and_comes_back(
    visit: Visit, start_gateway: StartGateway, service: Service, siamese: Photo
) -> None:
    token = service.server.folder / "inference.header"
    with Forwarder(service.server.inference_url) as way:
        gateway = start_gateway(way.url, models=DEMO, token_file=token, ready_every_s=0.2)
        page = visit(gateway.url)
        expect(page.locator("#service")).to_contain_text("The model is not running at the moment.")
        expect(page.locator("#notice")).to_be_hidden()
        choose(page, siamese)
        expect(failed(page)).to_contain_text("The model is not running at the moment.")
        way.up()
        page.get_by_role("button", name="Try now").click()
        # Where that was too soon the page looks again by itself.
        expect(page.locator("#service")).to_be_hidden(timeout=20_000)
        expect(page.locator("#notice")).to_contain_text("drawings")
        expect(page.locator("#model-name")).to_have_text(f"{DEMO} 0.1")
        cards(page).get_by_role("button", name=AGAIN).click()
        done(page)


def test_a_slow_network_shows_how_far_the_upload_is(visit: Visit) -> None:
    page = visit()
    network = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 50, "downloadThroughput": -1}
    network.send("Network.emulateNetworkConditions", conditions | {"uploadThroughput": 60_000})
    choose(page, drawn("Siamese", "cat.bmp", "BMP"))
    progress = page.get_by_role("progressbar", name="Upload")
    expect(progress).to_be_visible()
    expect(cards(page)).to_contain_text("Sending… ")
    assert 0 <= progress.evaluate("(bar) => bar.value") < 1
    done(page)
    expect(progress).to_be_hidden()


def test_a_photo_that_is_removed_is_not_sent_further(visit: Visit, siamese: Photo) -> None:
    page = visit()
    page.route("**/api/classify*", lambda route: None)
    with page.expect_request("**/api/classify*"):
        choose(page, siamese)
    with page.expect_event("requestfailed") as gone:
        page.get_by_role("button", name="Remove siamese.jpg").click()
    assert "/api/classify" in gone.value.url
    expect(cards(page)).to_have_count(0)
