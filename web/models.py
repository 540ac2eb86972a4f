"""Which models there are, and what their cards say."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from handlers.config import Limits
from handlers.images import TAKEN_FORMATS
from handlers.problems import InvalidOption, Problem, shorten
from serving.state import RecordReader, ServerRecord
from serving.traffic import canary_version
from web import openapi
from web.answers import json_response
from web.problems import NotFound, Unavailable
from web.settings import Settings
from web.upstream import Upstream

log = logging.getLogger(__name__)
router = APIRouter()

_EVERY_S = 0.5
_AGAIN_S = 1.0
_FRESH_S = 10.0
_PATIENCE_S = 10.0
_OF_THE_CARD = (
    "classes",
    "unsure_score",
    "unsure_threshold",
    "intended_use",
    "limitations",
    "metrics",
)
# What holds where a card does not say, as it is of before there was a choice.
_WITHOUT_CHOICE = {"unsure_score": "probability"}


class Catalogue:
    """The models that are offered, by the cards that TorchServe gives for them.

    Args:
        settings: `models` names them; else the record of a local server does, which also tells
            their versions and changes with each deployment.
    """

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._settings = settings
        self._upstream = upstream
        self._record = RecordReader(settings.torchserve, settings.server_folder)
        self._read_at = -_FRESH_S
        self._read_for: dict[str, list[str]] = {}
        self._cards: dict[str, dict[str, Any]] = {}
        self._expected: dict[str, tuple[str, object]] = {}

    def record(self) -> ServerRecord | None:
        """What the server says of itself, where that can be read."""
        return self._record.read()

    def versions(self) -> dict[str, list[str]]:
        """Model -> its versions, as far as they are known; both times the first is the default."""
        record = self._record.read()
        served = dict(record.models) if record else {}
        names = self._settings.models or tuple(served)
        return {name: list(served.get(name, ())) for name in names}

    def default_version(self, model: str) -> str | None:
        """The version that answers where a request names none, if it is known."""
        for version in self.versions().get(model, ()):
            return version
        card = self._cards.get(model)
        return card["default"] if card else None

    def canary_version(self, model: str, client: str) -> str | None:
        """The version on trial that is to answer this client instead of the default."""
        record = self._record.read()
        return canary_version(record, model, client, time.time()) if record else None

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

    def expected(self) -> dict[str, tuple[str, object]]:
        """Model -> its default version, and `expected` of that one's card, unchecked."""
        return {name: self._expected[name] for name in self._cards}

    async def watch(self) -> None:
        """Follow what is served; ends when it is cancelled."""
        while True:
            try:
                await self._refresh()
            except Exception:
                log.exception("the models' cards cannot be read")
                await asyncio.sleep(_FRESH_S)
            await asyncio.sleep(_EVERY_S)

    async def _refresh(self) -> None:
        """Ask for all cards anew, where other versions are served or that was not done lately;
        what is known stays where there is no answer."""
        served = self.versions()
        fresh_s = _FRESH_S if self._agrees_with(served) else _AGAIN_S
        if self._read_for == served and time.monotonic() - self._read_at < fresh_s:
            return
        self._read_for = served
        described = await asyncio.gather(*(self._card(*each) for each in served.items()))
        self._cards = {name: card for name, card in zip(served, described, strict=True) if card}
        self._read_at = time.monotonic()

    def _agrees_with(self, served: dict[str, list[str]]) -> bool:
        """Whether all cards are there, and are those of the defaults.

        While the default is being switched, record and TorchServe may differ for a moment.
        """
        return self._cards.keys() == served.keys() and all(
            versions[:1] in ([], [self._cards[name]["default"]])
            for name, versions in served.items()
        )

    async def _card(self, name: str, versions: list[str]) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                card = _WITHOUT_CHOICE | json.loads(await self._upstream.card(name))
                others = [each for each in versions if each != card["version"]]
                there = [each for each in others if await self._is_there(name, each)]
        except NotFound:
            return None
        except (Problem, TimeoutError):
            return self._cards.get(name)
        self._expected[name] = card["version"], card.get("expected")
        return {
            "name": name,
            "default": card["version"],
            "versions": [card["version"], *there],
            "input": {key: card["preprocessing"][key] for key in ("resize", "crop")},
            **{key: card[key] for key in _OF_THE_CARD},
        }

    async def _is_there(self, name: str, version: str) -> bool:
        """Whether a version of the record is there: it may be being loaded or retired."""
        try:
            await self._upstream.card(name, version)
        except NotFound:
            return False
        except Problem:
            return True  # but does not answer just now
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
