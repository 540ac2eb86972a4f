"""Names as a report can show them: a file's name need not be UTF-8.

Python keeps each byte of such a name that is none as a surrogate (PEP 383), which no JSON file and
no page in UTF-8 can hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNKNOWN = "\ufffd"


def without_surrogates(text: str) -> str:
    """The text with a replacement character for each surrogate."""
    return _SURROGATE.sub(_UNKNOWN, text)


def distinct_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> how it is shown, in their order; no two alike, so that none is lost where they count.

    Of names that would be shown alike the later ones get a number: "a?.jpg", "a?.jpg (2)".
    """
    shown: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = without_surrogates(name)
        chosen, number = plain, 1
        while chosen in taken:
            number += 1
            chosen = f"{plain} ({number})"
        if name not in shown:
            shown[name] = chosen
            taken.add(chosen)
    return shown
