"""How a photo's bytes go to TorchServe."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping

PIECE = 256 * 1024


def form_around(options: Mapping[str, str]) -> tuple[str, bytes, bytes]:
    """A boundary, and what stands before and after the photo in a form with these fields."""
    boundary = secrets.token_hex(16)
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in options.items()
    )
    photo = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="photo"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return boundary, (fields + photo).encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()


async def pieces(parts: Iterable[bytes | bytearray]) -> AsyncIterator[bytes]:
    """In turn, each as soon as the one before has gone out: nothing piles up behind the socket."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(part), PIECE):
            yield bytes(view[start : start + PIECE])
