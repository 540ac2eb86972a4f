"""JSON and base64 from strangers, read strictly and within bounds."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from handlers.config import Limits
from handlers.images import check_bytes
from handlers.problems import MalformedRequest, shorten

# The URL-safe alphabet (RFC 4648, section 5) is read as the usual one.
_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b" \t\r\n"
_SLICE = 2**18


def load_json(body: bytes | bytearray) -> object:
    """Parse a JSON body; a bytearray is emptied, to make room for what is in it.

    Raises:
        MalformedRequest: not UTF-8, not JSON, a key given twice, NaN or Infinity (which RFC 8259
            does not have), nested too deeply, a number of too many digits.
    """
    try:
        # utf-8-sig: Windows tools put a byte order mark before their JSON.
        text = body.decode("utf-8-sig")
        if isinstance(body, bytearray):
            body.clear()
        return json.loads(
            text, object_pairs_hook=_object_without_doubles, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"body: JSON must be UTF-8; byte {error.start} is not") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(f"body: not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedRequest("body: JSON nested too deeply") from None
    except ValueError:  # Python turns only so many digits into an integer
        raise MalformedRequest("body: JSON with a number of too many digits") from None


def decode_base64(key: str, value: object, limits: Limits) -> bytearray:
    """A photo from base64 text or a `data:` URL (RFC 2397).

    Line breaks and the URL-safe alphabet are taken, missing padding is supplied; every other
    character outside of the alphabet is refused.

    Raises:
        MalformedRequest: not a string, or not base64.
        TooLarge: more bytes than `limits.bytes`, counted before decoding.
    """
    if not isinstance(value, str):
        raise MalformedRequest(f"{key}: {shorten(value)} is not allowed; a base64 string is")
    if value[:5].lower() == "data:":
        head, comma, value = value.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise MalformedRequest(f"{key}: a data: URL must have ;base64, before the data")
    if not value.isascii():
        at = next(number for number, each in enumerate(value) if not each.isascii())
        raise MalformedRequest(f"{key}: not base64: character {at}")
    spare = sum(value.count(each) for each in "= \t\r\n")
    check_bytes((len(value) - spare) * 3 // 4, limits)
    decoded = bytearray()
    left = b""
    try:
        for piece, is_last in _slices(value):
            encoded = left + piece.encode("ascii").translate(_ALPHABET, _WHITESPACE)
            if is_last:
                encoded = encoded.rstrip(b"=")
                encoded += b"=" * (-len(encoded) % 4)
            whole = len(encoded) // 4 * 4
            decoded += binascii.a2b_base64(encoded[:whole], strict_mode=True)
            left = encoded[whole:]
    except binascii.Error as error:
        raise MalformedRequest(f"{key}: not base64: {error}") from None
    return decoded


def _slices(text: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is the last): a few megabytes as a whole would be copied thrice.

    The last is never so short that padding could have begun before it.
    """
    start = 0
    while len(text) - start > 2 * _SLICE:
        yield text[start : start + _SLICE], False
        start += _SLICE
    yield text[start:], True


def _object_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in pairs:
        if name in read:
            raise MalformedRequest(f"body: key {shorten(name)} is given twice")
        read[name] = value
    return read


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"body: {name} is not JSON")
