"""One question to a gateway through either of the two Python clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from web.client import AsyncClient, Client

Ask = Callable[..., Any]


def ask_sync(url: str, method: str, *args: object, retries: int = 2, **options: object) -> Any:  # noqa: ANN401
    with Client(url, timeout_s=60, retries=retries) as client:
        return getattr(client, method)(*args, **options)


def ask_async(url: str, method: str, *args: object, retries: int = 2, **options: object) -> Any:  # noqa: ANN401
    async def ask() -> Any:  # noqa: ANN401
        async with AsyncClient(url, timeout_s=60, retries=retries) as client:
            return await getattr(client, method)(*args, **options)

    return asyncio.run(ask())
