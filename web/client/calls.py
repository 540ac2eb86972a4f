"""What the two clients of web/client/ share: errors, requests, and how answers are read.

CatbreedsError
  ServiceUnreachable   no answer, or not in time
  UnexpectedAnswer     an answer, but not a gateway's
  ServiceProblem       the gateway says what is wrong
    PhotoProblem       with the photo: damaged, too large, or of another format
    RetryLater         with the moment: too much to do, or no model server
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import httpx

from web.client.answers import Classification, Explanation, Json, Models, Problem

T = TypeVar("T")
Photo = bytes | bytearray | str | os.PathLike[str] | BinaryIO


class CatbreedsError(Exception):
    """Base of all errors of the service."""


class ServiceUnreachable(CatbreedsError):  # noqa: N818 - reads better where it is caught
    """No answer: nobody listens there, the connection broke, or it took too long."""


class UnexpectedAnswer(CatbreedsError):  # noqa: N818 - reads better where it is caught
    """What answers at the address is not a gateway, or one of another version."""


class ServiceProblem(CatbreedsError):  # noqa: N818 - RFC 9457's own term
    """The gateway did not do what was asked; has the fields of `Problem`.

    Attributes:
        retry_after_s: when to ask again, where the gateway says that.
    """

    def __init__(self, problem: Problem, retry_after_s: int | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title.rstrip('.')}: {problem.detail}")
        self.status = problem.status
        self.slug = problem.slug
        self.title = problem.title
        self.detail = problem.detail
        self.request_id = problem.request_id
        self.retry_after_s = retry_after_s


class PhotoProblem(ServiceProblem):
    """The photo is damaged, too large, or not of a format that is taken."""


class RetryLater(ServiceProblem):
    """The same request may go well in `retry_after_s`."""


_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_OF_THE_PHOTO = frozenset({413, 415})
_LATER = frozenset({429, 503})
_LONGEST_WAIT_S = 60


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[Json], T]
    more: dict[str, Any] = field(default_factory=dict)

    def result(self, response: httpx.Response) -> T:
        """What the answer holds.

        Raises:
            ServiceProblem, UnexpectedAnswer: it holds something else.
        """
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        # Several photos of which none is good come with the first one's status.
        results = isinstance(answer, dict) and "results" in answer
        if not response.is_success and not results:
            raise _problem(response, answer)
        try:
            return self.read(answer)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UnexpectedAnswer(f"{response.url} does not answer as a gateway") from error


def wait_s(response: httpx.Response, retries_left: int) -> int | None:
    """Seconds until the same may be asked again, or None where it shall not be.

    429 and 503 mean that nothing was done: https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4.
    """
    seconds = _retry_after_s(response)
    if response.status_code not in _LATER or retries_left <= 0 or seconds is None:
        return None
    return seconds if seconds <= _LONGEST_WAIT_S else None


def _problem(response: httpx.Response, answer: Json) -> ServiceProblem:
    status = response.status_code
    try:
        problem = Problem.from_json(answer)
    except (KeyError, TypeError):
        problem = Problem(status, "", response.reason_phrase, "without a reason", None)
    if status in _LATER:
        return RetryLater(problem, _retry_after_s(response))
    # 400 may also mean a request in no known form.
    if status in _OF_THE_PHOTO or problem.slug == "undecodable-image":
        return PhotoProblem(problem)
    return ServiceProblem(problem)


def _retry_after_s(response: httpx.Response) -> int | None:
    value = response.headers.get("Retry-After", "")
    # Nine digits are thirty years; the header's other form, a date, is not the gateway's.
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def classify_call(photo: Photo, **options: object) -> Call[Classification]:
    """Of one photo; options that are None are not sent."""
    return Call("POST", "/api/classify", Classification.from_json, _one(photo, options))


def classify_many_call(
    photos: Sequence[Photo], **options: object
) -> Call[list[Classification | Problem]]:
    """Of several photos."""
    files = [("images", (str(n), _content(photo))) for n, photo in enumerate(photos)]
    more = {"files": files, "params": _given(options)}
    return Call("POST", "/api/classify", _results, more)


def explain_call(photo: Photo, class_: str | int | None, **options: object) -> Call[Explanation]:
    """Of one photo and one class."""
    more = _one(photo, {"class": class_, **options})
    return Call("POST", "/api/explain", Explanation.from_json, more)


MODELS_CALL = Call("GET", "/api/models", Models.from_json)


def _results(answer: Json) -> list[Classification | Problem]:
    return [
        Problem.from_json(each) if "type" in each else Classification.from_json(each)
        for each in answer["results"]
    ]


def _one(photo: Photo, options: dict[str, object]) -> dict[str, Any]:
    headers = {"Content-Type": "application/octet-stream"}
    return {"content": _content(photo), "headers": headers, "params": _given(options)}


def _given(options: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _content(photo: Photo) -> bytes:
    if isinstance(photo, bytes | bytearray):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        return Path(photo).read_bytes()
    return photo.read()


@contextmanager
def errors_mapped(url: str) -> Iterator[None]:
    """httpx's errors become ServiceUnreachable."""
    try:
        yield
    # The whole of https://www.python-httpx.org/exceptions, which has no common base.
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as error:
        raise ServiceUnreachable(f"{url} does not answer: {error!r}") from error


def connection_settings(url: str, timeout_s: float) -> dict[str, Any]:
    """Arguments of httpx's clients."""
    # A proxy of the environment has no way to this machine.
    trust_env = httpx.URL(url).host not in _LOCAL_HOSTS
    return {"base_url": url, "timeout": timeout_s, "trust_env": trust_env}
