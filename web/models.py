"""Which models there are, and what their cards say."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from handlers.config import Limits
from handlers.images import TAKEN_FORMATS
from handlers.problems import InvalidOption, Problem, shorten
from serving.state import read_record
from web import openapi
from web.answers import json_response
from web.problems import NotFound, Unavailable
from web.settings import Settings
from web.upstream import Upstream

router = APIRouter()

_FRESH_S = 10.0
_PATIENCE_S = 10.0
_OF_THE_CARD = ("classes", "unsure_threshold", "intended_use", "limitations", "metrics")


class Catalogue:
    """The models that are offered, by the cards that TorchServe gives for them.

    Args:
        settings: `models` names them; else the record of a local server does, which also tells
            their versions.
    """

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._settings = settings
        self._upstream = upstream
        self._read_at = -_FRESH_S
        self._cards: dict[str, dict[str, Any]] = {}

    def versions(self) -> dict[str, list[str]]:
        """Model -> its versions, as far as they are known; the first model is the default."""
        record = read_record(self._settings.torchserve)
        served = dict(record.models) if record else {}
        names = self._settings.models or tuple(served)
        return {name: list(served.get(name, ())) for name in names}

    def chosen(self, name: str | None) -> str:
        """The model that a request means.

        Raises:
            InvalidOption: one that is not offered.
            Unavailable: none is.
        """
        offered = self._cards or self.versions()
        if name is None:
            for first in offered:
                return first
            raise Unavailable("no model is served at the moment", 2)
        if name in offered or name in self.versions():
            return name
        raise InvalidOption(f"model: {shorten(name)} is not served; {list(offered)} are")

    def cards(self) -> dict[str, dict[str, Any]]:
        """Model -> what /api/models says of it, as far as it is known."""
        return self._cards

    async def refresh(self) -> None:
        """Ask for all cards anew, where that was not done lately; what is known stays where there
        is no answer."""
        served = self.versions()
        if time.monotonic() - self._read_at < _FRESH_S and self._cards.keys() == served.keys():
            return
        described = await asyncio.gather(*(self._card(*each) for each in served.items()))
        self._cards = {name: card for name, card in zip(served, described, strict=True) if card}
        self._read_at = time.monotonic()

    async def _card(self, name: str, versions: list[str]) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                card = json.loads(await self._upstream.card(name))
                others = [each for each in versions if each != card["version"]]
                there = [each for each in others if await self._is_there(name, each)]
        except NotFound:
            return None
        except (Problem, TimeoutError):
            return self._cards.get(name)
        return {
            "name": name,
            "default": card["version"],
            "versions": [card["version"], *there],
            "input": {key: card["preprocessing"][key] for key in ("resize", "crop")},
            **{key: card[key] for key in _OF_THE_CARD},
        }

    async def _is_there(self, name: str, version: str) -> bool:
        """Whether a version that was there when the server started still is."""
        try:
            await self._upstream.card(name, version)
        except NotFound:
            return False
        return True


def described(catalogue: Catalogue, settings: Settings) -> dict[str, Any]:
    """The answer of `GET /api/models`.

    Raises:
        Unavailable: no model has told of itself yet.
    """
    models = list(catalogue.cards().values())
    if not models:
        raise Unavailable("no model is served at the moment", 2)
    return {
        "default": models[0]["name"],
        "models": models,
        "limits": {
            "bytes": settings.photo_bytes,
            "pixels": Limits().pixels,
            "photos": settings.photos,
        },
        "formats": TAKEN_FORMATS,
        "url": settings.fetch,
    }


@router.get("/api/models", **openapi.MODELS)
async def models(request: Request) -> Response:
    """The models, their versions, and what their cards say of them."""
    state = request.app.state
    return json_response(described(state.catalogue, state.settings))
