"""`evaluation.json` for programs and `evaluation.html` for people.

The page is one file that loads nothing: its policy allows its own style and script, by their
hashes, and pictures that it carries itself.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training.evaluation import pictures
from training.evaluation.figures import Evaluation

JSON_FILE, PAGE_FILE = "evaluation.json", "evaluation.html"

_HERE = Path(__file__).parent
_MOST_NAMED = 200


def write_report(found: Evaluation, out: Path, data: Path) -> None:
    """Write both files; each is replaced in one step.

    Args:
        out: made if missing.
        data: where the photos of the examples lie.

    Raises:
        OSError: they cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    described = json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False, allow_nan=False)
    _replace(out / JSON_FILE, described + "\n")
    _replace(out / PAGE_FILE, page(found, data))


def page(found: Evaluation, data: Path) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "number": _number}
    style, script = ((_HERE / name).read_text() for name in ("report.css", "report.js"))
    unsure_plot = pictures.unsure_plot(found.unsure)
    thumbnails = {
        path: pictures.thumbnail(data, path) for pair in found.pairs for path in pair.examples
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


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e12 else "above all answers"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
