"""A request's body -> its photos and options.

A photo is kept in memory, once, and sent on from there. Starlette's own form parser is not used: it
writes files of more than a megabyte to disk.

    raw        the photo as the whole body
    multipart  each part with a file name or content type is a photo, the others are options
    json       {"image": "<base64 or data: URL>"} | {"images": [...]} | {"url": "https://..."}
               and options as further keys
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request

from handlers.config import Limits
from handlers.problems import InvalidOption, MalformedRequest, Problem, TooLarge, shorten
from handlers.request_json import decode_base64, load_json
from web.admission import Ticket
from web.multipart import PartReader, boundary_of
from web.problems import UploadTimeout
from web.settings import Settings

OPTIONS = ("model", "version", "top_k", "class")
_FORMS = (
    "a photo as body, multipart/form-data with a file part, or JSON as "
    '{"image": "<base64>"} with Content-Type: application/json'
)
_FORM_URLENCODED = "application/x-www-form-urlencoded"
_URLENCODED = re.compile(rb"[A-Za-z0-9_.+%\[\]-]+=")
# Of a JSON body there are two at a time: the body or the values in it, and its text.
_JSON_COPIES = 2
# Commas and opening brackets: of keys and options, and of each photo, which is at most KServe's
# {"image": {"b64": "data:image/jpeg;base64,..."}} and a comma.
_MOST_VALUES = 50
_MOST_OF_A_PHOTO = 4
# One letter beyond Latin makes Python keep all of a text in four bytes a letter.
_MOST_NOT_ASCII = 2**16
MOST_OPTION = 200


@dataclass
class Upload:
    """What a request asks for.

    Attributes:
        photos: in the request's order; a Problem where one could not be read.
        many: whether it is answered as a list, as one that asks for `images` is.
        options: those that were given, as text.
        url: fetch the photo from there.
    """

    photos: list[bytes | bytearray | Problem] = field(default_factory=list)
    many: bool = False
    options: dict[str, str] = field(default_factory=dict)
    url: str | None = None


async def read_upload(request: Request, settings: Settings, ticket: Ticket) -> Upload:
    """Read a request to the end of its body.

    Raises:
        MalformedRequest, InvalidOption, TooLarge: the body is not in one of the forms.
        UploadTimeout: it does not come.
        Overloaded, RateLimited: there is no room for it.
        ClientDisconnect: the client has gone.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    upload = Upload()
    add_options(upload, request.query_params.multi_items(), "query parameter")
    await ticket.count(1)
    pieces = _pieces(request, settings, ticket)
    if content_type == "multipart/form-data":
        await _read_multipart(upload, request, pieces, settings)
    elif content_type == "application/json" or content_type.endswith("+json"):
        body = await _json_body(pieces, settings, ticket)
        # In a thread: decoding megabytes would hold up everybody else.
        await asyncio.to_thread(_parse_json, upload, body, settings)
    else:
        photo = bytearray()
        async for piece in pieces:
            photo += piece
            _check_size(photo, settings)
        # curl's --data-binary says the same of a photo.
        if content_type == _FORM_URLENCODED and _URLENCODED.match(photo):
            raise MalformedRequest(f"content-type: {content_type} is not taken; {_FORMS} is")
        if not photo:
            raise MalformedRequest(f"body: empty; taken are {_FORMS}")
        upload.photos.append(photo)
    if not upload.photos and upload.url is None:
        raise MalformedRequest(f"body: no photo in it; taken are {_FORMS}")
    if len(upload.photos) > 1:
        await ticket.count(len(upload.photos) - 1)
    ticket.take_places(max(1, len(upload.photos)))
    return upload


async def read_json(request: Request, settings: Settings, ticket: Ticket) -> bytearray:
    """The body of a request that is JSON, of no more values than its photos need.

    Raises:
        Problem: as `read_upload`.
    """
    return await _json_body(_pieces(request, settings, ticket), settings, ticket)


async def _pieces(request: Request, settings: Settings, ticket: Ticket) -> AsyncIterator[bytes]:
    """The body as it comes, within the limits of size, memory and time."""
    limit = settings.request_bytes
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise TooLarge(f"body: {int(announced[:20])} bytes; at most {limit} are allowed")
    total = 0
    stream = aiter(request.stream())
    deadline = asyncio.get_running_loop().time() + settings.upload_s
    while True:
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(settings.idle_s, left_s)):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            seconds = settings.upload_s if left_s < settings.idle_s else settings.idle_s
            raise UploadTimeout(f"body: not complete within {seconds:g} s") from None
        total += len(piece)
        if total > limit:
            raise TooLarge(f"body: more than the {limit} bytes that are allowed")
        ticket.take_memory(len(piece))
        if piece:
            yield piece


async def _read_multipart(
    upload: Upload, request: Request, pieces: AsyncIterator[bytes], settings: Settings
) -> None:
    reader = PartReader(boundary_of(request.headers["content-type"]))
    async for piece in pieces:
        checked = max(0, len(reader.parts) - 1)
        reader.feed(piece)
        for part in reader.parts[checked:]:
            if part.is_file:
                _check_size(part.content, settings)
        if len(reader.parts) > settings.photos + len(OPTIONS):
            raise TooLarge(f"body: more than {settings.photos} photos")
    reader.finish()
    files = [part for part in reader.parts if part.is_file]
    # A form that is sent without a file chosen has an empty one.
    upload.photos += [part.content for part in files if part.content or part.file_name]
    upload.many = len(upload.photos) > 1 or any(part.name == "images" for part in files)
    options = [part for part in reader.parts if not part.is_file]
    add_options(upload, [(part.name, part.content.decode("utf-8", "replace")) for part in options])
    if len(upload.photos) > settings.photos:
        raise TooLarge(f"body: {len(upload.photos)} photos; at most {settings.photos} are allowed")


async def _json_body(pieces: AsyncIterator[bytes], settings: Settings, ticket: Ticket) -> bytearray:
    body = bytearray()
    values = 0
    async for piece in pieces:
        ticket.take_memory(len(piece) * (_JSON_COPIES - 1))
        body += piece
        # Before it is parsed: megabytes of small values would take seconds, in which nobody else
        # is served, and many times their size.
        values += sum(piece.count(each) for each in b",[{")
        if values > _MOST_VALUES + _MOST_OF_A_PHOTO * settings.photos:
            raise MalformedRequest(f"body: JSON of more values than {settings.photos} photos need")
        if len(body) > _MOST_NOT_ASCII and not piece.isascii():
            raise MalformedRequest("body: JSON with other letters than base64 has")
    return body


def _parse_json(upload: Upload, body: bytearray, settings: Settings) -> None:
    content = load_json(body)
    if not isinstance(content, dict):
        raise MalformedRequest(f"body: {shorten(content)} is not allowed; {_FORMS} is")
    sources = [key for key in ("image", "images", "url") if key in content]
    if len(sources) != 1:
        raise MalformedRequest(f"body: has {sources}; exactly one of image, images and url is due")
    (source,) = sources
    value = content.pop(source)
    options = {key: _option_text(key, each) for key, each in content.items() if each is not None}
    add_options(upload, list(options.items()), "key")
    limits = Limits(bytes=settings.photo_bytes)
    if source == "url":
        if not isinstance(value, str):
            raise MalformedRequest(f"url: {shorten(value)} is not allowed; a string is")
        upload.url = value
    elif source == "image":
        upload.photos.append(decode_base64("image", value, limits))
    else:
        if not isinstance(value, list) or not value:
            raise MalformedRequest(f"images: {shorten(value)} is not allowed; a list of base64 is")
        upload.many = True
        if len(value) > settings.photos:
            raise TooLarge(f"images: {len(value)} photos; at most {settings.photos} are allowed")
        for number, each in enumerate(value):
            try:
                upload.photos.append(decode_base64(f"images[{number}]", each, limits))
            except Problem as problem:
                upload.photos.append(problem)


def _option_text(key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidOption(f"{shorten(key)}: {shorten(value)} is not allowed; text or a number is")
    return str(value) if isinstance(value, str) else shorten(value)


def add_options(upload: Upload, given: list[tuple[str, str]], kind: str = "field") -> None:
    """Note the options that were given.

    Raises:
        InvalidOption: unknown, too long, or given before with another value.
    """
    for name, value in given:
        if name not in OPTIONS:
            raise InvalidOption(f"unknown {kind} {shorten(name)}; allowed are {list(OPTIONS)}")
        if len(value) > MOST_OPTION:
            raise InvalidOption(
                f"{name}: {len(value)} characters; at most {MOST_OPTION} are allowed"
            )
        if upload.options.get(name, value) != value:
            raise InvalidOption(f"{name}: given twice, with different values")
        upload.options[name] = value


def _check_size(photo: bytearray, settings: Settings) -> None:
    if len(photo) > settings.photo_bytes:
        raise TooLarge(f"photo: more than the {settings.photo_bytes} bytes that are allowed")
