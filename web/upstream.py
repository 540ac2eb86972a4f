"""TorchServe's inference API, asked over kept-alive connections.

Whatever came from the client is framed anew here: TorchServe answers broken multipart or a missing
content type with a 500 of its own, before any handler sees it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict

from handlers.problems import PROBLEM_CONTENT_TYPE, InvalidOption, Problem, TooLarge, shorten
from web.problems import BadAnswer, NotFound, Overloaded, Unavailable, UpstreamTimeout

log = logging.getLogger(__name__)

_JSON = "application/json"
_PIECE = 256 * 1024
_TOKEN_WAITS_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


Note = Callable[[str], None]


def _forget(_request_id: str) -> None:
    """For those who do not need the id."""


@dataclass(frozen=True)
class Answer:
    """What TorchServe said to one photo.

    Attributes:
        status: 200, or a problem's.
        body: JSON: a result, or a problem (RFC 9457).
        request_id: TorchServe's, as in its log.
    """

    status: int
    body: bytes
    request_id: str

    @property
    def is_problem(self) -> bool:
        """Whether `body` is a problem."""
        return self.status != 200


class Token:
    """The inference token, read from a file that is replaced when the token is renewed.

    The file holds one line, `Authorization: Bearer ...`: the gateway is never given the management
    token that lies beside it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._header = ""

    @property
    def header(self) -> str:
        """The value of `Authorization`; empty where the file is not there."""
        return self._header or self.read()

    def read(self) -> str:
        """The same, from the file as it is now."""
        try:
            self._header = self.file.read_text().partition(":")[2].strip()
        except (OSError, ValueError):
            self._header = ""
        return self._header


class Upstream:
    """One TorchServe.

    Args:
        url: its inference API.
        token_file: see `Token`.
        answer_s: seconds that one answer may take, with the wait for its turn.
        at_once: requests that it has at a time. TorchServe works off its queue whether or not
            somebody still waits, so the queue is here, where it can be left.
    """

    def __init__(self, url: str, token_file: Path, answer_s: float, at_once: int) -> None:
        self._url = url.rstrip("/")
        self._places = asyncio.Semaphore(at_once)
        self._answer_s = answer_s
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

    async def predict(
        self,
        photo: bytes | bytearray,
        model: str,
        version: str | None,
        options: Mapping[str, str],
        note: Note = _forget,
    ) -> Answer:
        """Ask for a photo's classes.

        Args:
            options: the handler's.
            note: is told TorchServe's id of the request, also where there is a problem.

        Raises:
            Problem: TorchServe gave no answer of the handler's; see `_ask`.
        """
        return await self._ask("predictions", photo, model, version, options, note)

    async def explain(
        self,
        photo: bytes | bytearray,
        model: str,
        version: str | None,
        options: Mapping[str, str],
        note: Note = _forget,
    ) -> Answer:
        """Ask what in a photo speaks for a class.

        Raises:
            Problem: as `predict`.
        """
        return await self._ask("explanations", photo, model, version, options, note)

    async def card(self, model: str, version: str | None = None) -> bytes:
        """The model card as JSON.

        The management API has it as well, for a token that could also remove the model.

        Raises:
            Problem: as `predict`.
        """
        headers = {"describe": "True"}
        answer = await self._ask("predictions", b"{}", model, version, {}, _forget, headers)
        if answer.is_problem:
            raise BadAnswer(f"model {model}: gives no model card")
        return answer.body

    async def _ask(
        self,
        api: str,
        photo: bytes | bytearray,
        model: str,
        version: str | None,
        options: Mapping[str, str],
        note: Note,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One answer of the handler, good or a problem.

        Raises:
            NotFound: no such model or version.
            Overloaded: TorchServe's queue is full.
            Unavailable: no TorchServe there, no worker, or no valid token.
            TooLarge: TorchServe's own limit on bytes.
            UpstreamTimeout: no answer in time.
            BadAnswer: an answer that is not the handler's.
        """
        for name, value in (("model", model), ("version", version or "0")):
            if not 1 <= len(value) <= 100 or not _NAME.issuperset(value) or not value.strip("."):
                raise InvalidOption(
                    f"{name}: {shorten(value)} is not allowed; letters, digits, '.', '_', '-' are"
                )
        path = f"/{api}/{model}" + (f"/{version}" if version else "")
        try:
            async with asyncio.timeout(self._answer_s), self._places:
                return await self._answered(path, photo, model, version, options, headers, note)
        except TimeoutError:
            raise UpstreamTimeout("no answer in time: too much to do, or this photo") from None

    async def _answered(
        self,
        path: str,
        photo: bytes | bytearray,
        model: str,
        version: str | None,
        options: Mapping[str, str],
        headers: Mapping[str, str] | None,
        note: Note,
    ) -> Answer:
        for wait_s in (*_TOKEN_WAITS_S, None):
            status, content_type, request_id, body = await self._post(path, photo, options, headers)
            if status == 400 and content_type != PROBLEM_CONTENT_TYPE and b"KeyException" in body:
                if wait_s is None:
                    break
                # The token has just been renewed: its file has the new one now, or in a moment.
                await asyncio.sleep(wait_s)
                self._token.read()
                continue
            note(request_id)
            if content_type == (_JSON if status == 200 else PROBLEM_CONTENT_TYPE):
                return Answer(status, body, request_id)
            raise self._problem(status, model, version, request_id)
        log.error("TorchServe takes no token from %s", self._token.file)
        raise Unavailable("the gateway has no valid token for the model server")

    async def _post(
        self,
        path: str,
        photo: bytes | bytearray,
        options: Mapping[str, str],
        headers: Mapping[str, str] | None,
    ) -> tuple[int, str, str, bytes]:
        sent = CIMultiDict(headers or {})
        sent["Authorization"] = self._token.header
        before, after = b"", b""
        if options:
            boundary, before, after = _form_around(options)
            sent["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        else:
            sent["Content-Type"] = "application/octet-stream"
        size = len(before) + len(photo) + len(after)
        sent["Content-Length"] = str(size)
        try:
            for last_try in (False, True):
                whole = size <= _PIECE
                data = before + photo + after if whole else _pieces((before, photo, after))
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


def _form_around(options: Mapping[str, str]) -> tuple[str, bytes, bytes]:
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


async def _pieces(parts: Iterable[bytes | bytearray]) -> AsyncIterator[bytes]:
    """In turn, each as soon as the one before has gone out: nothing piles up behind the socket."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(part), _PIECE):
            yield bytes(view[start : start + _PIECE])
