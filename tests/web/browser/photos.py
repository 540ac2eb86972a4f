"""Photos to put on the page, and how to wait for what becomes of them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page

from tests.images import encode
from tests.service import DEMO
from training.drawn_cats import draw_cat

Photo = FilePayload
SEED = 31


def photo(name: str, content: bytes, kind: str = "image/jpeg") -> Photo:
    """A file as it lies on the user's device."""
    return {"name": name, "mimeType": kind, "buffer": content}


def drawn(breed: str, name: str = "cat.jpg", format: str = "JPEG", size: int = 256) -> Photo:
    """A drawn cat that was not trained on."""
    return photo(name, encode(draw_cat(breed, (SEED, 0), size=size), format))


def large(breed: str, size: tuple[int, int], noise: float = 8.0) -> Image.Image:
    """A drawn cat of so many pixels, with a sensor's noise, which makes its file large."""
    rng = np.random.default_rng(SEED)
    cat = draw_cat(breed, (SEED, 1), size=512).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(cat, dtype=np.float32)
    pixels = pixels + rng.normal(0, noise, (size[1], size[0], 1)).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def choose(page: Page, *photos: Photo) -> None:
    """Choose files as with the button."""
    page.set_input_files("#file", list(photos))


def cards(page: Page) -> Locator:
    """The photos' cards, without the empty one that keeps the place."""
    return page.locator("#cards .card")


def done(page: Page, number: int = 0) -> Locator:
    """Wait for a card's answer."""
    card = cards(page).nth(number)
    card.and_(page.locator("[data-state=done]")).wait_for()
    return card


def failed(page: Page, number: int = 0) -> Locator:
    """Wait for a card's problem."""
    card = cards(page).nth(number)
    card.and_(page.locator("[data-state=problem]")).wait_for()
    return card


def transfer(page: Page, *photos: Photo) -> Any:  # noqa: ANN401 - a JSHandle
    """A DataTransfer with files, as drop and paste bring one."""
    files = [
        {
            "name": each["name"],
            "type": each["mimeType"],
            "content": base64.b64encode(each["buffer"]).decode(),
        }
        for each in photos
    ]
    return page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const { name, type, content } of files) {
                const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type }));
            }
            return transfer;
        }""",
        files,
    )


def answer(*likely: tuple[str, float], unsure: bool) -> dict[str, Any]:
    """An answer of five breeds, the first of them as given."""
    rest = [(f"Breed {number}", 0.0004) for number in range(5 - len(likely))]
    return {
        "model": DEMO,
        "version": "0.1",
        "predictions": [
            {"breed": breed, "class_id": number, "probability": probability}
            for number, (breed, probability) in enumerate([*likely, *rest])
        ],
        "unsure": unsure,
        "timing_ms": {"decode": 1.0, "inference": 4.2},
    }
