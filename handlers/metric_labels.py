"""How a name is spelled as a label's value in the worker's metrics.

Also for whoever sets other figures beside them: only what is spelled alike can be matched.
"""

from __future__ import annotations

import re

# What separates names, values and dimensions in a metric's line; TorchServe has no escapes.
_SEPARATORS = re.compile(r"[,:|#\[\]\s]+")


def metric_label(text: str) -> str:
    """`Domestic_Short_Hair` of `Domestic Short Hair`; two names may come out the same."""
    return _SEPARATORS.sub("_", text)
