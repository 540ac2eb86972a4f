"""A real browser before a real gateway.

Playwright's synchronous API keeps an event loop running in the test's own thread for as long as it
is up, which asyncio.run() in other tests does not bear. So the browser lives as long as a module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.web.browser.photos import Photo, drawn
from tests.web.gateway_process import GatewayProcess

Visit = Callable[..., Page]

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without one the tests are left out, unless $CATBREEDS_BROWSER is `required`."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CATBREEDS_BROWSER") == "required":
            pytest.fail("no chromium or google-chrome on PATH")
        pytest.skip("no chromium or google-chrome on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, gateway: GatewayProcess) -> Iterator[Visit]:
    """Opens the page as somebody new; at the end nothing may have gone wrong unseen.

    That is: no script failed, nothing broke the Content-Security-Policy, and no other host was
    asked for anything.
    """
    complaints: list[str] = []
    contexts = []

    def visit(url: str = "", **options: Any) -> Page:  # noqa: ANN401 - as Browser.new_context
        url = url or gateway.url
        context = browser.new_context(**(DESKTOP | options))
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()

        def note_message(message: ConsoleMessage) -> None:
            # That a request was answered with a problem is no failure of the page.
            if message.type in ("error", "warning") and "Failed to load" not in message.text:
                complaints.append(message.text)

        def note_host(request: Request) -> None:
            address = urlsplit(request.url)
            if address.scheme in ("http", "https") and address.netloc != urlsplit(url).netloc:
                complaints.append(f"asked {request.url}")

        # From the beginning: Playwright tells the browser of a listener without waiting for it, and
        # a key that comes first would open a real dialog.
        page.on("filechooser", lambda chooser: None)
        page.on("console", note_message)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", note_host)
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # requests that a test holds for ever
        context.close()
    assert complaints == []


@pytest.fixture(params=["desktop", "phone"])
def device(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of `visit` for a desktop and for a phone."""
    return DESKTOP if request.param == "desktop" else PHONE


@pytest.fixture(scope="session")
def siamese() -> Photo:
    """A drawn Siamese as JPEG, which the demo recognises."""
    return drawn("Siamese", "siamese.jpg")
