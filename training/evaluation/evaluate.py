"""Judge a model by photos with known classes:

    catbreeds evaluate runs/cats --data photos --outside not_cats

The same photos give the same figures whether a run, its archive or the service answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from training.data.dataset import check_outside, is_inside
from training.evaluation.figures import Evaluation
from training.evaluation.findings import Answers, found_of
from training.evaluation.names import distinct_names
from training.evaluation.predictor import Answered, EvaluationError, Predictor
from training.evaluation.report import write_report
from training.evaluation.selection import select
from training.progress import progress_bar

# Encoded photos that are in memory at once.
_FILES_AT_ONCE = 64


def evaluate(
    predictor: Predictor,
    data: Path,
    out: Path,
    part: str = "test",
    outside: Path | None = None,
    layout: str | None = None,
) -> Evaluation:
    """Judge a model and write `evaluation.json` and `evaluation.html` to `out`.

    Args:
        data: photos in one of the layouts of `training.data`, the one of the training unless
            `layout` names another.
        out: made if missing.
        part: "test" becomes "validation" where the run has no test photos, which is said.
        outside: a folder with photos of none of the classes, in any order; apart from `data`.

    Raises:
        EvaluationError: the part cannot be told, no photo can be answered, `outside` and `data`
            share photos, or nothing can be written to `out`; the last two are found out first.
        DatasetError: `data` does not hold the layout, or `out` lies in a folder of photos.
        OSError: the report cannot be written after all, as where the disk is full.
    """
    if outside:
        _check_apart(data, outside)
    for folder in filter(None, (data, outside)):
        check_outside(out, folder, "--out")
    with _writable(out):
        chosen = select(predictor.model, data, part, layout)
        strangers = _files_below(outside) if outside else []
        with progress_bar() as progress:
            paths = [photo.path for photo in chosen.photos]
            known = _ask(predictor, data, paths, progress, "evaluating")
            unknown = _ask(predictor, outside, strangers, progress, "outside") if outside else None
        shown = distinct_names((*paths, *chosen.undecodable))
        found = found_of(predictor.model, data, chosen, known, shown, outside, unknown)
        write_report(found, out, data, {name: path for path, name in shown.items()})
    return found


def _check_apart(data: Path, outside: Path) -> None:
    """Photos of the classes are none of strangers.

    Raises:
        EvaluationError: one folder is the other, or lies in it.
    """
    within, around = is_inside(outside, data), is_inside(data, outside)
    if not within and not around:
        return
    how = "is the same folder as" if within and around else "lies in" if within else "holds"
    raise EvaluationError(
        f"--outside {outside}: {how} --data {data}; a folder apart from it is needed, with photos "
        "of none of the classes"
    )


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """The folder of the report, made and tried before the long work; where that comes to nothing, a
    folder that was made for it goes again.

    Raises:
        EvaluationError: nothing can be written there.
    """
    made = not out.exists()
    try:
        _try_to_write(out)
        yield
    finally:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _try_to_write(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable.{os.getpid()}.partial"
        try:
            probe.write_bytes(b"-")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise EvaluationError(
            f"{out}: no report can be written there ({error.strerror}); --out names another folder"
        ) from error


def _ask(
    predictor: Predictor, folder: Path, paths: Sequence[str], progress: Progress, task_name: str
) -> Answers:
    """Memory holds the files of one batch, and the logits of all.

    Raises:
        EvaluationError: no photo was answered.
    """
    logits: list[Tensor] = []
    unsure: list[bool] = []
    places: list[int] = []
    refused: dict[str, str] = {}
    task = progress.add_task(task_name, total=len(paths))
    for start in range(0, len(paths), _FILES_AT_ONCE):
        batch: dict[int, bytes] = {}
        for place in range(start, min(start + _FILES_AT_ONCE, len(paths))):
            try:
                batch[place] = (folder / paths[place]).read_bytes()
            except OSError as error:
                refused[paths[place]] = error.strerror or type(error).__name__
        answers = predictor.predict(list(batch.values()))
        for place, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Answered):
                logits.append(answer.logits)
                unsure.append(answer.unsure)
                places.append(place)
            else:
                refused[paths[place]] = answer.why
        progress.advance(task, min(_FILES_AT_ONCE, len(paths) - start))
    if not logits:
        reason = next(iter(refused.values()), "it is empty")
        raise EvaluationError(f"{folder}: none of {len(paths)} photos was answered: {reason}")
    return Answers(torch.stack(logits), ~torch.tensor(unsure), places, refused)


def _files_below(folder: Path) -> list[str]:
    """Every file but hidden ones, sorted.

    Raises:
        EvaluationError: there is none.
    """
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = sorted(
        path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise EvaluationError(f"{folder}: no photo there; a folder of photos is due")
    return names
