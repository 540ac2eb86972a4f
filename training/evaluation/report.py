"""`evaluation.json` for programs and `evaluation.html` for people.

The page is one file that loads nothing: its policy allows its own style and script, by their
hashes, and pictures that it carries itself.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training.evaluation import pictures
from training.evaluation.figures import Evaluation

JSON_FILE, PAGE_FILE = "evaluation.json", "evaluation.html"

_HERE = Path(__file__).parent
_MOST_NAMED = 200


def write_report(
    found: Evaluation, out: Path, data: Path, paths: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write both files; they are replaced when both are whole.

    Args:
        out: made if missing.
        data: where the photos of the examples lie.
        paths: of a photo as `found` shows it -> below `data`, where the two may differ.

    Raises:
        OSError: they cannot be written; those that were there are then as before.
    """
    described = json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False, allow_nan=False)
    texts = {JSON_FILE: described + "\n", PAGE_FILE: page(found, data, paths)}
    out.mkdir(parents=True, exist_ok=True)
    # Names of their own, as two may be evaluating at once.
    partials = {name: out / f".{name}.{os.getpid()}.partial" for name in texts}
    try:
        for name, text in texts.items():
            partials[name].write_text(text, encoding="utf-8")
        for name, partial in partials.items():
            partial.replace(out / name)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def page(found: Evaluation, data: Path, paths: Mapping[str, str] = MappingProxyType({})) -> str:
    """The report as HTML; arguments as for `write_report`."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "round_share": _round_share, "number": _number}
    style, script = ((_HERE / name).read_text() for name in ("report.css", "report.js"))
    unsure_plot = pictures.unsure_plot(found.unsure)
    thumbnails = {
        path: pictures.thumbnail(data, paths.get(path, path))
        for pair in found.pairs
        for path in pair.examples
    }
    not_answered = list(found.data.not_answered.items())
    return environment.get_template(
        "report.html"
    ).render(
        found=found,
        policy=(
            f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
            f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
        ),
        # Ours, from this folder; everything else that the page shows is escaped.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        pictures=pictures,
        reliability_plot=pictures.Plot(),
        unsure_plot=unsure_plot,
        matrix=pictures.confusion_matrix(found),
        thumbnails=thumbnails,
        classes=list(zip(found.model.classes, found.classes, strict=True)),
        not_answered=not_answered[:_MOST_NAMED],
        not_named=max(0, len(not_answered) - _MOST_NAMED),
    )


def _share(value: float | None, digits: int = 1) -> str:
    return "\u2013" if value is None else f"{value:.{digits}%}"


def _round_share(value: float) -> str:
    """Of one that was asked for, which has few digits: 95%, 99.5%."""
    return f"{100 * value:g}%"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e12 else "above all answers"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
