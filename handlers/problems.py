"""What can be wrong with a request, as RFC 9457 problem details.

    Problem
      MalformedRequest  400  the body is in none of the forms that are taken
      UndecodableImage  400  an image file of a known format that does not decode
      TooLarge          413  too many bytes, pixels, frames or photos
      UnsupportedImage  415  not an image format that is taken
      InvalidOption     422  an option with an impossible name or value
      InternalError     500  our fault

A problem is an answer to one photo or one request, never to its whole batch.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

PROBLEM_CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - RFC 9457's own term
    """Base of all problems; `detail` names the key, its value and what is allowed.

    Attributes:
        status: HTTP status code.
        slug: last part of the `type` URN, also the `problem` label of the metric.
        title: the same short sentence for every problem of the kind.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def at(self, place: str) -> Self:
        """The same problem with the place in the request, such as `instances[0]`, before it."""
        return type(self)(f"{place}: {self.detail}")

    def to_body(self, request_id: str | None) -> dict[str, Any]:
        """Members of the `application/problem+json` answer (https://www.rfc-editor.org/rfc/rfc9457)."""
        return {
            "type": f"urn:catbreeds:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }


class MalformedRequest(Problem):
    """The body is not one of the request forms."""

    status = 400
    slug = "malformed-request"
    title = "The request body cannot be read."


class UndecodableImage(Problem):
    """An image file of a known format that is damaged, truncated or of an unknown variant."""

    status = 400
    slug = "undecodable-image"
    title = "The photo cannot be decoded."


class TooLarge(Problem):
    """A limit of the model's configuration is exceeded."""

    status = 413
    slug = "too-large"
    title = "The request is larger than this model takes."


class UnsupportedImage(Problem):
    """Not an image, or an image in a format that is not taken."""

    status = 415
    slug = "unsupported-image"
    title = "Not an image format that this model takes."


class InvalidOption(Problem):
    """An unknown option, or a value that the option cannot have."""

    status = 422
    slug = "invalid-option"
    title = "An option of the request is not valid."


class InternalError(Problem):
    """Something that no request should cause; the worker's log has the traceback."""

    status = 500
    slug = "internal-error"
    title = "The model failed on this request."


def shorten(value: object, length: int = 60) -> str:
    """`repr` of a value from a request, cut to `length` characters.

    Bytes are only counted: they may be somebody's photo. Long strings are cut before `repr`
    looks at them, as they may be megabytes of base64.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "list"
        return f"{kind} of {len(value)}"
    try:
        text = repr(value[: length + 1] if isinstance(value, str) else value)
    except ValueError:  # an integer of more digits than Python turns into text
        return "an integer of thousands of digits"
    return text if len(text) <= length else f"{text[: length - 3]}..."
