"""TorchServe's inference API, asked over kept-alive connections.

Whatever came from the client is framed anew here: TorchServe answers broken multipart or a missing
content type with a 500 of its own, before any handler sees it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from multidict import CIMultiDict

from handlers.problems import (
    PROBLEM_CONTENT_TYPE,
    InvalidOption,
    Problem,
    TooLarge,
    shorten,
)
from web.framing import PIECE, form_around, pieces
from web.pace import Pace
from web.problems import BadAnswer, NotFound, Overloaded, Unavailable, UpstreamTimeout
from web.token import Token

log = logging.getLogger(__name__)

_JSON = "application/json"
_TOKEN_WAITS_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


Note = Callable[[str], None]


def _forget(_: str) -> None:
    """For those who do not need to know."""


@dataclass(frozen=True)
class Answer:
    """What TorchServe said to one photo.

    Attributes:
        status: 200, or a problem's.
        body: JSON: a result, or a problem (RFC 9457).
        request_id: TorchServe's, as in its log.
        asked: the version that was asked for; None: the default.
    """

    status: int
    body: bytes
    request_id: str
    asked: str | None

    @property
    def is_problem(self) -> bool:
        """Whether `body` is a problem."""
        return self.status != 200


@dataclass(frozen=True)
class Question:
    """One photo for TorchServe.

    Attributes:
        version: None asks the default.
        options: the handler's.
        headers: beside the usual ones.
        canary: a version to ask before `version`. Where it is not there or fails, that is asked
            instead, so that nobody suffers for being asked to try it.
        note: is told TorchServe's id of each request, also where there is a problem.
        passed_over: is told the kind of problem where the canary's answer was not taken.
    """

    photo: bytes | bytearray
    model: str
    version: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    canary: str | None = None
    note: Note = _forget
    passed_over: Note = _forget


class Upstream:
    """One TorchServe.

    Args:
        url: its inference API.
        token_file: see `Token`.
        answer_s: seconds that one answer may take, with the wait for its turn.
        at_once: requests that it has at a time. TorchServe works off its queue whether or not
            somebody still waits, so the queue is here, where it can be left.
        pace: is told of each photo there.
    """

    def __init__(
        self, url: str, token_file: Path, answer_s: float, at_once: int, pace: Pace
    ) -> None:
        self._url = url.rstrip("/")
        self._places = asyncio.Semaphore(at_once)
        self._answer_s = answer_s
        self._pace = pace
        self._token = Token(token_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, connect=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def predict(self, question: Question) -> Answer:
        """Ask for a photo's classes.

        Raises:
            Problem: TorchServe gave no answer of the handler's; see `_ask`.
        """
        return await self._ask("predictions", question)

    async def explain(self, question: Question) -> Answer:
        """Ask what in a photo speaks for a class.

        Raises:
            Problem: as `predict`.
        """
        return await self._ask("explanations", question)

    async def card(self, model: str, version: str | None = None) -> bytes:
        """The model card as JSON.

        The management API has it as well, for a token that could also remove the model.

        Raises:
            Problem: as `predict`.
        """
        asked = Question(b"{}", model, version, headers={"describe": "True"})
        answer = await self._ask("predictions", asked, is_photo=False)
        if answer.is_problem:
            raise BadAnswer(f"model {model}: gives no model card")
        return answer.body

    async def _ask(self, api: str, question: Question, is_photo: bool = True) -> Answer:
        """One answer of the handler, good or a problem.

        Raises:
            NotFound: no such model or version.
            Overloaded: TorchServe's queue is full.
            Unavailable: no TorchServe there, no worker, or no valid token.
            TooLarge: TorchServe's own limit on bytes.
            UpstreamTimeout: no answer in time.
            BadAnswer: an answer that is not the handler's.
        """
        named = (("model", question.model), ("version", question.version or "0"))
        for name, value in named:
            if not 1 <= len(value) <= 100 or not _NAME.issuperset(value) or not value.strip("."):
                raise InvalidOption(
                    f"{name}: {shorten(value)} is not allowed; letters, digits, '.', '_', '-' are"
                )
        try:
            async with asyncio.timeout(self._answer_s) as timeout, self._places:
                if not is_photo:
                    return await self._answered(api, question, question.version)
                return await self._of_photo(api, question, timeout.when() or 0.0)
        except TimeoutError:
            raise UpstreamTimeout("no answer in time: too much to do, or this photo") from None

    async def _of_photo(self, api: str, question: Question, until: float) -> Answer:
        """A photo's answer, of which the pace is told.

        Args:
            until: seconds, of the loop's clock.
        """
        is_answered = False
        self._pace.begin(time.monotonic())
        try:
            answer = None
            if question.canary is not None:
                # Half of what is left after the wait for a place: the default gets the rest.
                left_s = until - asyncio.get_running_loop().time()
                answer = await self._of_canary(api, question, question.canary, left_s / 2)
            if answer is None:
                answer = await self._answered(api, question, question.version)
            is_answered = True
            return answer
        finally:
            self._pace.end(time.monotonic(), is_answered)

    async def _of_canary(
        self, api: str, question: Question, version: str, patience_s: float
    ) -> Answer | None:
        """The canary's answer; None where it gives no good one, and the default has to be asked:
        only that knows whether it is the photo's fault."""
        try:
            async with asyncio.timeout(patience_s):
                answer = await self._answered(api, question, version)
        except TimeoutError:
            question.passed_over(UpstreamTimeout.slug)
            return None
        except Problem as problem:
            question.passed_over(problem.slug)
            return None
        if answer.is_problem:
            question.passed_over(str(json.loads(answer.body)["type"]).rpartition(":")[2])
            return None
        return answer

    async def _answered(self, api: str, question: Question, version: str | None) -> Answer:
        model = question.model
        path = f"/{api}/{model}" + (f"/{version}" if version else "")
        for wait_s in (*_TOKEN_WAITS_S, None):
            status, content_type, request_id, body = await self._post(path, question)
            if status == 400 and content_type != PROBLEM_CONTENT_TYPE and b"KeyException" in body:
                if wait_s is None:
                    break
                # The token has just been renewed: its file has the new one now, or in a moment.
                await asyncio.sleep(wait_s)
                self._token.read()
                continue
            question.note(request_id)
            if content_type == (_JSON if status == 200 else PROBLEM_CONTENT_TYPE):
                return Answer(status, body, request_id, version)
            raise self._problem(status, model, version, request_id)
        log.error("TorchServe takes no token from %s", self._token.file)
        raise Unavailable("the gateway has no valid token for the model server")

    async def _post(self, path: str, question: Question) -> tuple[int, str, str, bytes]:
        photo, options = question.photo, question.options
        sent = CIMultiDict(question.headers)
        sent["Authorization"] = self._token.header
        before, after = b"", b""
        if options:
            boundary, before, after = form_around(options)
            sent["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        else:
            sent["Content-Type"] = "application/octet-stream"
        size = len(before) + len(photo) + len(after)
        sent["Content-Length"] = str(size)
        try:
            for last_try in (False, True):
                whole = size <= PIECE
                data = before + photo + after if whole else pieces((before, photo, after))
                try:
                    async with self._session.post(
                        self._url + path, data=data, headers=sent, allow_redirects=False
                    ) as response:
                        return (
                            response.status,
                            response.content_type,
                            response.headers.get("x-request-id", ""),
                            await response.read(),
                        )
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                    # A kept connection that TorchServe has closed meanwhile says so only now. A
                    # prediction changes nothing, so asking twice does no harm.
                    if last_try or isinstance(error, aiohttp.ClientConnectorError):
                        raise
        except aiohttp.ClientError as error:
            log.warning("TorchServe at %s: %s", self._url, type(error).__name__)
        raise Unavailable("the model server cannot be reached", 2)

    def _problem(self, status: int, model: str, version: str | None, request_id: str) -> Problem:
        wanted = f"{model} {version}" if version else model
        if status == 404:
            return NotFound(f"model {wanted}: is not served here")
        if status == 413:
            return TooLarge("body: more bytes than the model server takes")
        # Its text stays here: TorchServe likes to quote what it could not read.
        log.warning("TorchServe's request %s: %d", request_id, status)
        if status == 503:
            # Its text is the same for both, and speaks of scaling workers.
            return Overloaded(f"model {wanted}: its queue is full, or its worker starts anew")
        return BadAnswer(f"model {wanted}: the model server answered {status}")
