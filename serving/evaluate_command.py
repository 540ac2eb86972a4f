"""What `catbreeds evaluate` does and prints: a run, an archive and a service in one way."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.inference import ServiceError
from serving.served_model import ServedModel
from serving.terminal import as_it_is


class UnknownSourceError(Exception):
    """Nothing there that could be evaluated, or no photos to do it with."""


def evaluate_command(
    source: str,
    data: Path,
    part: str,
    outside: Path | None,
    layout: str | None,
    out: Path | None,
    as_json: bool,
    model: str | None = None,
    version: str | None = None,
) -> int:
    """Evaluate, write the report, print the main figures.

    Args:
        source: a run folder, a .mar, or the address of a service, see `serving.served_model`.
        part: test, validation, training or all.
        layout: of the photos; None: that of the training.
        out: folder of the report; by default RUN/evaluation, and for archives and services
            evaluations/<name>-<version> in the working directory.
        model, version: of a service; else its first model and that one's default version.

    Returns:
        The exit code: 0, or 3 where no service answered. Photos without an answer are no failure.

    Raises:
        EvaluationError, DatasetError, RunError, ArchiveError: see `training.evaluation`.
        UnknownSourceError, ServedModelError, ServiceError: the source cannot be asked.
    """
    from training.evaluation.evaluate import evaluate

    for folder in (data, outside):
        if folder is not None and not folder.is_dir():
            raise UnknownSourceError(f"{folder}: no such folder of photos")
    try:
        predictor = _predictor(source, model, version)
        described = predictor.model
        name = f"{described.name}-{described.version}"
        is_run = described.kind == "run"
        out = out or (Path(source) / "evaluation" if is_run else Path("evaluations") / name)
        found = evaluate(predictor, data, out, part, outside, layout)
    except ServiceError as error:
        if error.status is not None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 3
    summary = _summary(found, out)
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _print(summary)
    return 0


def _predictor(source: str, model: str | None, version: str | None) -> Any:  # noqa: ANN401 - a Predictor, whose module is not to be loaded at serving time
    from training.evaluation.predictors import (
        ServedPredictor,
        described_by_card,
        from_archive,
        from_run,
    )

    if source.startswith(("http://", "https://")):
        served = ServedModel.find(source, model, version)
        described = described_by_card(
            served.card, "service", source, served.classes(), served.remarks
        )
        return ServedPredictor(described, served.ask)
    path = Path(source)
    asked = {"--model": model, "--version": version}
    if named := [f"{option} {value}" for option, value in asked.items() if value is not None]:
        raise UnknownSourceError(
            f"{' '.join(named)}: only of a service, which has several; {source} is no address"
        )
    if path.is_dir():
        return from_run(path)
    if path.is_file():
        return from_archive(path)
    raise UnknownSourceError(
        f"{source}: not there; a run folder, a .mar or an address such as http://127.0.0.1:8080 "
        "can be evaluated"
    )


def _summary(found: Any, out: Path) -> dict[str, Any]:  # noqa: ANN401 - an Evaluation
    """The main figures; evaluation.json has all."""
    from training.evaluation.names import without_surrogates
    from training.evaluation.report import JSON_FILE, PAGE_FILE

    outside = found.outside
    return {
        "model": found.model.name,
        "version": found.model.version,
        "part": found.data.part,
        "photos": found.data.photos,
        "not_answered": len(found.data.not_answered),
        "headline": asdict(found.headline),
        "calibration_error": {
            "before": found.calibration.error_before,
            "after": found.calibration.error_after,
        },
        "unsure": {
            **asdict(found.unsure.bought),
            "sure_precision": found.unsure.sure_precision,
        },
        "outside": _summary_of_outside(outside) if outside else None,
        "remarks": list(found.remarks),
        "report": without_surrogates(str(out / PAGE_FILE)),
        "json": without_surrogates(str(out / JSON_FILE)),
    }


def _summary_of_outside(outside: Any) -> dict[str, Any]:  # noqa: ANN401 - an Outside
    from training.evaluation.calibration import KEPT

    comparison = outside.comparison
    return {
        "photos": outside.photos,
        "unsure": outside.unsure,
        # Each score at its own threshold, which keeps so much of the right answers.
        "comparison": {"at_least_kept": KEPT, **asdict(comparison)} if comparison else None,
    }


def _print(summary: dict[str, Any]) -> None:
    headline, unsure = summary["headline"], summary["unsure"]
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right", style="bold")

    def row(name: str, value: float, note: str = "") -> None:
        table.add_row(name, f"{value:.1%}", Text(note, style="dim"))

    low, high = headline["top1_interval"]
    row("Top-1", headline["top1"], f"95% interval {low:.1%} to {high:.1%}")
    row("Majority baseline", headline["majority_baseline"], "always naming the commonest class")
    row("Top-5", headline["top5"])
    row("Balanced accuracy", headline["balanced_accuracy"])
    row("Macro-F1", headline["macro_f1"])
    error = summary["calibration_error"]
    before = error["before"]
    row(
        "Calibration error",
        error["after"],
        "" if before is None else f"{before:.1%} before scaling",
    )
    precision = unsure["precision"]
    right = "none of the others" if precision is None else f"{precision:.1%} of the others"
    stated = unsure["sure_precision"]
    chosen_for = "" if stated is None else f"; chosen for {100 * stated:g}%"
    row("Called unsure", 1 - unsure["answered"], f"{right} are right{chosen_for}")
    if outside := summary["outside"]:
        row("Outside unsure", outside["unsure"], f"of {outside['photos']} photos of no class")
        if comparison := outside["comparison"]:
            kept = f"where {comparison['at_least_kept']:.0%} of the right answers are kept"
            scores = comparison["scores"]
            for each in scores:
                is_best = len(scores) > 1 and each["score"] == comparison["best"]
                best = "; the best" if is_best else ""
                row(f"  by {each['score']}", each["outside_unsure"], f"{kept}{best}")
    title = " ".join(filter(None, (summary["model"], summary["version"])))
    counted = f"{summary['photos']} photos ({summary['part']})"
    if summary["not_answered"]:
        counted += f"; {summary['not_answered']} files of the folder have no answer"
    console = Console()
    console.print(as_it_is(f"{title}: {counted}"))
    console.print(table)
    for remark in summary["remarks"]:
        console.print(as_it_is(remark), style="yellow")
    # Whole, so that it can be clicked or copied.
    print(summary["report"])
