"""Downloads one large file over HTTP, and goes on where an earlier attempt broke off.

What has arrived lies in NAME.partial, the entity tag of the file that it is a part of in
NAME.partial.etag. A server that has another file by then sends that one from its beginning
(If-Range, RFC 9110, section 13.1.5). Whether the bytes are right is for the caller to find out.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

_CHUNK = 1 << 16  # of a piece that breaks off, nothing is kept
_TIMEOUT_S = (10, 60)  # to connect; between two pieces
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_BREAKS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
# Of entity tags (RFC 9110, section 8.8.3) those that are strong and of ASCII; also with spaces,
# which are sent although they should not be. A weak one does not say that all bytes are the same.
_STRONG_TAG = re.compile(r'"[ !#-~]*"')
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_MD5 = re.compile(r"(?:^|,)\s*md5=([A-Za-z0-9+/]{22}==)")

Report = Callable[[int, int | None], None]


class DownloadError(Exception):
    """The file is not there whole; the message names the address and says why, on one line."""


class _BrokenOffError(Exception):
    """Another attempt may go further."""


def download(url: str, partial: Path, pauses: Sequence[float], report: Report) -> bytes | None:
    """Have the whole of `url` in `partial`.

    Args:
        url: redirects are followed.
        partial: what is there from an earlier attempt is kept where it belongs to the same file.
        pauses: seconds before each further attempt; as soon as one brings more than there was
            before, they are counted anew.
        report: called with bytes that are there and bytes in all, None where that is not known.

    Returns:
        The MD5 of the file as Google Cloud Storage says it, 16 bytes; None: the server said none.

    Raises:
        DownloadError: see there; what has arrived stays in `partial`.
        OSError: `partial` cannot be written, as where the disk is full; what is in it stays.
    """
    furthest = _size(partial)
    remaining = list(pauses)
    with requests.Session() as session:
        # Compressed on the way, offsets would be those of another file.
        session.headers["Accept-Encoding"] = "identity"
        while True:
            try:
                return _attempt(session, url, partial, report)
            except _BrokenOffError as error:
                if _size(partial) > furthest:
                    furthest, remaining = _size(partial), list(pauses)
                if not remaining:
                    raise DownloadError(f"{url}: {error}") from error
                time.sleep(remaining.pop(0))


def discard(partial: Path) -> None:
    """Remove what has arrived."""
    partial.unlink(missing_ok=True)
    _tag_file(partial).unlink(missing_ok=True)


def _attempt(session: requests.Session, url: str, partial: Path, report: Report) -> bytes | None:
    there = _size(partial)
    tag = _read_tag(partial)
    headers = {"Range": f"bytes={there}-", "If-Range": tag} if there and tag else {}

    def keep(answer: requests.Response, *_: object, **__: object) -> None:
        answers.callback(answer.close)

    try:
        # Those that redirect as well: where one leads nowhere, requests leaves it open.
        with ExitStack() as answers:
            answer = session.get(
                url,
                headers=headers,
                stream=True,
                timeout=_TIMEOUT_S,
                hooks={"response": keep},
            )
            if answer.status_code == 416 and headers:
                # Either it is all there, or the file has become shorter.
                if answer.headers.get("Content-Range") == f"bytes */{there}":
                    return _md5(answer)
                discard(partial)
                raise _BrokenOffError("the server has less than there is already")
            total = _check(answer, url, partial, there)
            _receive(answer, partial, total, report)
            return _md5(answer)
    except requests.TooManyRedirects as error:
        raise DownloadError(f"{url}: leads in a circle of redirects") from error
    except _BREAKS as error:
        raise _BrokenOffError(_reason(error)) from error
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {_one_line(str(error))}") from error
    except ValueError as error:
        # A redirect may lead to anything: requests has no exception of its own for most of it.
        raise DownloadError(f"{url}: leads to what is no address: {_reason(error)}") from error


def _check(answer: requests.Response, url: str, partial: Path, there: int) -> int | None:
    """Bytes in all where they are known; makes room where the answer is the file's beginning."""
    if answer.status_code in _TRY_AGAIN:
        raise _BrokenOffError(_status(answer))
    if answer.status_code not in (200, 206):
        raise DownloadError(f"{url}: {_status(answer)}")
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise DownloadError(f"{url}: a page came in place of the file, as of a proxy or a login")
    if answer.status_code == 206:
        part = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if part is None or int(part[1]) != there:
            discard(partial)
            raise _BrokenOffError("the server sent another part of the file than was asked for")
        return None if part[2] == "*" else int(part[2])
    partial.write_bytes(b"")
    tag = answer.headers.get("ETag", "")
    _tag_file(partial).write_text(tag if _STRONG_TAG.fullmatch(tag) else "")
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _status(answer: requests.Response) -> str:
    return _one_line(f"the server answers {answer.status_code} {answer.reason}")


def _receive(answer: requests.Response, partial: Path, total: int | None, report: Report) -> None:
    with partial.open("ab") as file:
        done = file.tell()
        for piece in answer.iter_content(_CHUNK):
            file.write(piece)
            done += len(piece)
            report(done, total)
    if total is not None and done > total:
        discard(partial)
        raise _BrokenOffError(f"the server sent {done} bytes of {total}")
    if total is not None and done < total:
        raise _BrokenOffError(f"broke off after {done} of {total} bytes")


def _reason(error: Exception) -> str:
    """The innermost cause: what is around it names the same address again and again."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause  # type: ignore[assignment]
    return _one_line(f"{type(error).__name__}: {error}")


def _one_line(text: str) -> str:
    """Without what a server may have put into it for a terminal to obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _md5(answer: requests.Response) -> bytes | None:
    # https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
    said = _MD5.search(answer.headers.get("x-goog-hash", ""))
    return base64.b64decode(said[1]) if said else None


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


def _read_tag(partial: Path) -> str:
    """Empty where there is none, or the file is damaged: then all is fetched again."""
    try:
        tag = _tag_file(partial).read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    return tag if _STRONG_TAG.fullmatch(tag) else ""
