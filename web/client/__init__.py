"""A client of the gateway for Python programs, sync and async.

    from web.client import Client, PhotoProblem

    with Client("http://127.0.0.1:8000") as client:
        try:
            answer = client.classify("cat.jpg")
        except PhotoProblem as problem:
            print("another photo, please:", problem.detail)
        else:
            print(answer.best.breed, f"{answer.best.probability:.0%}", answer.unsure)

`AsyncClient` has the same methods to await, under asyncio. All errors of the service are
`CatbreedsError`s, see web/client/calls.py; a photo that cannot be read from disk is an OSError.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Self, TypeVar

import httpx

from web.client.answers import (
    Breed,
    Cells,
    Classification,
    Explanation,
    Input,
    Limits,
    Model,
    Models,
    Problem,
    Timing,
)
from web.client.calls import (
    MODELS_CALL,
    Call,
    CatbreedsError,
    Photo,
    PhotoProblem,
    RetryLater,
    ServiceProblem,
    ServiceUnreachable,
    UnexpectedAnswer,
    classify_call,
    classify_many_call,
    connection_settings,
    errors_mapped,
    explain_call,
    wait_s,
)

__all__ = [
    "AsyncClient",
    "Breed",
    "CatbreedsError",
    "Cells",
    "Classification",
    "Client",
    "Explanation",
    "Input",
    "Limits",
    "Model",
    "Models",
    "Photo",
    "PhotoProblem",
    "Problem",
    "RetryLater",
    "ServiceProblem",
    "ServiceUnreachable",
    "Timing",
    "UnexpectedAnswer",
]

T = TypeVar("T")
_HERE = "http://127.0.0.1:8000"
_TIMEOUT_S = 90.0


class Client:
    """Asks a gateway; may be shared between threads.

    Args:
        timeout_s: for each step of a request: to connect, to send, to be answered.
        retries: after 429 and 503, waiting for as long as the gateway asks for.

    Raises:
        ServiceUnreachable: not an address.
    """

    def __init__(self, url: str = _HERE, timeout_s: float = _TIMEOUT_S, retries: int = 2) -> None:
        self._url = url
        self._retries = retries
        with errors_mapped(url):
            self._http = httpx.Client(**connection_settings(url, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def classify(
        self,
        photo: Photo,
        *,
        model: str | None = None,
        version: str | None = None,
        top_k: int | None = None,
    ) -> Classification:
        """The breeds of one photo, best first.

        Args:
            photo: an encoded image as it lies on disk, the path of one, or an open binary file.
            model: the gateway's default where None, as with version and the number of breeds.

        Raises:
            CatbreedsError: see web/client/calls.py.
            OSError: the file cannot be read.
        """
        return self._ask(classify_call(photo, model=model, version=version, top_k=top_k))

    def classify_many(
        self,
        photos: Sequence[Photo],
        *,
        model: str | None = None,
        version: str | None = None,
        top_k: int | None = None,
    ) -> list[Classification | Problem]:
        """The breeds of each photo, or what is wrong with it, in order; see `classify`."""
        if not photos:
            return []
        return self._ask(classify_many_call(photos, model=model, version=version, top_k=top_k))

    def explain(
        self,
        photo: Photo,
        class_: str | int | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
    ) -> Explanation:
        """What in a photo speaks for a class, by name or id; for the best where None."""
        return self._ask(explain_call(photo, class_, model=model, version=version))

    def models(self) -> Models:
        """What is served."""
        return self._ask(MODELS_CALL)

    def _ask(self, call: Call[T]) -> T:
        retries = self._retries
        while True:
            with errors_mapped(self._url):
                response = self._http.request(call.method, call.path, **call.more)
            seconds = wait_s(response, retries)
            if seconds is None:
                return call.result(response)
            time.sleep(seconds)
            retries -= 1


class AsyncClient:
    """`Client` for asyncio; its arguments and methods are described there."""

    def __init__(self, url: str = _HERE, timeout_s: float = _TIMEOUT_S, retries: int = 2) -> None:
        self._url = url
        self._retries = retries
        with errors_mapped(url):
            self._http = httpx.AsyncClient(**connection_settings(url, timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def classify(
        self,
        photo: Photo,
        *,
        model: str | None = None,
        version: str | None = None,
        top_k: int | None = None,
    ) -> Classification:
        """See `Client.classify`."""
        return await self._ask(classify_call(photo, model=model, version=version, top_k=top_k))

    async def classify_many(
        self,
        photos: Sequence[Photo],
        *,
        model: str | None = None,
        version: str | None = None,
        top_k: int | None = None,
    ) -> list[Classification | Problem]:
        """See `Client.classify_many`."""
        if not photos:
            return []
        call = classify_many_call(photos, model=model, version=version, top_k=top_k)
        return await self._ask(call)

    async def explain(
        self,
        photo: Photo,
        class_: str | int | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
    ) -> Explanation:
        """See `Client.explain`."""
        return await self._ask(explain_call(photo, class_, model=model, version=version))

    async def models(self) -> Models:
        """See `Client.models`."""
        return await self._ask(MODELS_CALL)

    async def _ask(self, call: Call[T]) -> T:
        retries = self._retries
        while True:
            with errors_mapped(self._url):
                response = await self._http.request(call.method, call.path, **call.more)
            seconds = wait_s(response, retries)
            if seconds is None:
                return call.result(response)
            await asyncio.sleep(seconds)
            retries -= 1
