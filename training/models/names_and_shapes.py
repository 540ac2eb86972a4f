"""What a checkpoint holds against what a model expects, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Shapes = Mapping[str, tuple[int, ...]]

_MOST = 5


def differences(expected: Shapes, found: Shapes) -> str:
    """Name the missing, extra and mis-shaped arrays; empty where there are none.

    Of each kind the first five are named in the order of the mapping, then how many more there
    are: a checkpoint of another architecture differs in hundreds.
    """
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    wrong = [
        f"{name} {_shape(found[name])} instead of {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    kinds = {"missing": missing, "extra": extra, "wrong shape": wrong}
    return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds.items() if names)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _some(names: Sequence[str]) -> str:
    # Names come from the file: cut, so that one cannot flood a terminal, and no control characters.
    shown = ", ".join(ascii(name[:200])[1:-1] for name in names[:_MOST])
    more = len(names) - _MOST
    return f"{shown} and {more} more" if more > 0 else shown
