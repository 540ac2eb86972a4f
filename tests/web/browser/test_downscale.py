"""A big photo is made smaller before it is sent, and only where the answer stays the same."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.images import encode, turned
from tests.web.browser.conftest import Visit
from tests.web.browser.photos import answer, choose, done, large, photo
from tests.web.gateway_process import GatewayProcess

INPUT = {"resize": [96, 96], "crop": None}
# A breed of less than this may be in the list of the one and not of the other.
WORTH_COMPARING = 0.02
# Where the first two are nearer than this the page asks about the original.
NEAR = 0.1


def downscaled(page: Page, content: bytes, model_input: dict[str, Any] | None) -> bytes:
    """What the page sends for a photo."""
    sent = page.evaluate(
        """async ([content, input]) => {
            const { downscaled } = await import("/static/js/downscale.js");
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const blob = await downscaled(new Blob([bytes]), input);
            const url = await new Promise((resolve) => {
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result);
                reader.readAsDataURL(blob);
            });
            return url.split(",")[1];
        }""",
        [base64.b64encode(content).decode(), model_input],
    )
    return base64.b64decode(sent)


@pytest.mark.parametrize(
    ("breed", "size", "format", "orientation"),
    [
        ("Siamese", (2400, 1800), "JPEG", 1),
        ("Tuxedo", (1800, 2400), "JPEG", 6),
        ("Calico", (3200, 1500), "JPEG", 3),
        ("Persian", (2000, 2000), "JPEG", 5),
        ("Maine Coon", (2400, 1800), "WEBP", 1),
    ],
)
def test_the_smaller_copy_has_the_same_answer(
    visit: Visit,
    gateway: GatewayProcess,
    breed: str,
    size: tuple[int, int],
    format: str,
    orientation: int,
) -> None:
    stored, exif = turned(large(breed, size), orientation)
    options = {"exif": exif} if orientation > 1 else {}
    original = encode(stored, format, quality=95, **options)
    assert len(original) > 2**20
    sent = downscaled(visit(), original, INPUT)
    assert len(sent) < len(original) / 4
    whole, copy = (gateway.classify(each).json()["predictions"] for each in (original, sent))
    before, after = ({each["breed"]: each["probability"] for each in top} for top in (whole, copy))
    listed = [name for name in before if before[name] >= WORTH_COMPARING]
    # Seen: 0.0016 where a demo is sure, 0.021 where it wavers; downscale.js tells what is allowed.
    assert [after.get(name, 0) for name in listed] == pytest.approx(
        [before[name] for name in listed], abs=0.04
    )
    first, second = sorted(before.values(), reverse=True)[:2]
    if first - second > NEAR:
        assert next(iter(after)) == next(iter(before))


def test_the_whole_photo_is_asked_about_where_the_answer_hangs_by_little(visit: Visit) -> None:
    page = visit()
    original = encode(large("Siamese", (2000, 1500)), "JPEG", quality=95)
    for first, second, requests in (
        (0.97, 0.02, 1),
        (0.5, 0.45, 2),
        (0.45, 0.1, 2),
        (0.75, 0.1, 1),
    ):
        sizes = answer_all(page, answer(("Siamese", first), ("Manx", second), unsure=False))
        choose(page, photo("siamese.jpg", original))
        expect(done(page).locator(".meta")).to_contain_text("answered in")
        assert len(sizes) == requests
        assert (sizes[-1] == len(original)) == (requests == 2)


def answer_all(page: Page, body: dict[str, Any]) -> list[int]:
    """Answer each photo so; gives the sizes of those that come, in bytes."""
    sizes: list[int] = []

    def fulfil(route: Route) -> None:
        sizes.append(len(route.request.post_data_buffer or b""))
        route.fulfill(json=body)

    page.route("**/api/classify*", fulfil)
    return sizes


def test_everything_else_goes_as_it_is(visit: Visit) -> None:
    page = visit()
    photo = large("Siamese", (2000, 1500))
    stored, exif = turned(photo, 6)
    for what, original in {
        "not JPEG or WebP": encode(large("Siamese", (900, 700), 30), "PNG"),
        "narrow": encode(large("Siamese", (600, 2600)), "JPEG", quality=95),
        "a small file": encode(large("Siamese", (1400, 1100), 2), "JPEG"),
        "of four inks": encode(photo.convert("CMYK"), "JPEG", quality=95),
        # Chromium does not turn it as its EXIF data says, but the server does.
        "WebP to be turned": encode(stored, "WEBP", quality=95, exif=exif),
        "broken": b"\xff\xd8" + bytes(2**21),
        "empty": b"",
    }.items():
        assert downscaled(page, original, INPUT) == original, what


def test_nothing_is_made_smaller_for_a_model_that_is_not_known(visit: Visit) -> None:
    original = encode(large("Siamese", (2000, 1500)), "JPEG", quality=95)
    assert downscaled(visit(), original, None) == original


def test_a_large_input_keeps_more_of_the_photo(visit: Visit) -> None:
    original = encode(large("Siamese", (2400, 1800)), "JPEG", quality=95)
    with Image.open(io.BytesIO(downscaled(visit(), original, {"resize": 300}))) as copy:
        assert copy.size == (1600, 1200)


def test_nothing_is_redrawn_where_the_browser_hides_pixels(visit: Visit) -> None:
    page = visit()
    page.evaluate(
        """() => {
            const real = CanvasRenderingContext2D.prototype.getImageData;
            CanvasRenderingContext2D.prototype.getImageData = function (...box) {
                const image = real.apply(this, box);
                image.data[5] ^= 1;
                return image;
            };
        }"""
    )
    original = encode(large("Siamese", (2000, 1500)), "JPEG", quality=95)
    assert downscaled(page, original, INPUT) == original


def test_the_page_sends_the_copy_and_says_so(visit: Visit) -> None:
    page = visit()
    original = encode(large("Siamese", (2400, 1800)), "JPEG", quality=95)
    with page.expect_request("**/api/classify*") as asked:
        choose(page, photo("siamese.jpg", original))
    card = done(page)
    assert len(asked.value.post_data_buffer or b"") < len(original) / 4
    expect(card.locator(".meta")).to_contain_text("sent as a smaller copy of")
    expect(card.get_by_role("heading", name="Siamese", exact=True)).to_be_visible()


def test_a_photo_beyond_the_limit_whose_copy_is_not(visit: Visit, tmp_path: Path) -> None:
    original = encode(large("Siamese", (2400, 1800)), "JPEG", quality=95)
    motion = tmp_path / "motion.jpg"
    # Data after a JPEG's end belongs to no picture; phones put films there.
    motion.write_bytes(original + bytes(17 * 2**20))
    page = visit()
    page.set_input_files("#file", motion)
    expect(done(page).get_by_role("heading", name="Siamese", exact=True)).to_be_visible()
