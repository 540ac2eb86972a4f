"""Files that are only added to, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def read_lines(path: Path, form: TypeAdapter[T]) -> list[T]:
    """What the lines hold, the latest last; nothing where there is no file.

    A line that is torn, or of another form, is left out.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    read = []
    for line in lines:
        try:
            # Not pydantic's own JSON parser, which refuses the escapes of a name that is not UTF-8.
            read.append(form.validate_python(json.loads(line)))
        except (ValueError, RecursionError):
            continue
    return read
