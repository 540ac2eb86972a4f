"""multipart/form-data (RFC 7578) without a copy on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from handlers.problems import MalformedRequest

_MOST_HEADER_BYTES = 8192


@dataclass
class Part:
    """One part of the form.

    Attributes:
        name: of the field.
        file_name: as the client says; for telling parts apart, never a path. Empty where a form
            was sent without a file chosen, None where the part has none.
        typed: whether it has a content type of its own, other than text.
    """

    name: str = ""
    file_name: str | None = None
    typed: bool = False
    content: bytearray = field(default_factory=bytearray)

    @property
    def is_file(self) -> bool:
        """Whether it is a photo rather than an option."""
        return self.file_name is not None or self.typed


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type header names.

    Raises:
        MalformedRequest: none, or not as RFC 2046 (5.1.1) has it.
    """
    _, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise MalformedRequest("content-type: multipart/form-data has no boundary of 1 to 70 bytes")
    return boundary


class PartReader:
    """Takes a body piece by piece.

    Attributes:
        parts: those that have begun.
    """

    def __init__(self, boundary: bytes) -> None:
        self.parts: list[Part] = []
        self._header = (bytearray(), bytearray())
        self._header_bytes = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._append,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Read what came next.

        Raises:
            MalformedRequest: it is not multipart.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedRequest(f"body: not multipart/form-data: {_line(error)}") from None

    def finish(self) -> None:
        """Raises:
        MalformedRequest: the last boundary has not come.
        """
        if not self._ended:
            raise MalformedRequest("body: multipart/form-data ends before its last boundary")

    def _begin(self) -> None:
        self.parts.append(Part())
        self._header_bytes = 0

    def _add(self, which: int, text: bytes) -> None:
        self._header_bytes += len(text)
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise MalformedRequest(f"body: a part's headers exceed {_MOST_HEADER_BYTES} bytes")
        self._header[which].extend(text)

    def _end_header(self) -> None:
        name, value = (bytes(each) for each in self._header)
        for each in self._header:
            each.clear()
        part = self.parts[-1]
        if name.lower() == b"content-disposition":
            _, parameters = parse_options_header(value)
            part.name = parameters.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in parameters:
                part.file_name = parameters[b"filename"].decode("utf-8", "replace")
        elif name.lower() == b"content-type":
            # The default (RFC 7578, 4.4), which some libraries write out for every field.
            part.typed = not value.strip().lower().startswith(b"text/plain")

    def _append(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:100]
