"""Which photos a model is judged by, and whether it has seen them before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from training.data.dataset import Dataset, Photo
from training.data.layouts import LayoutName, read_dataset
from training.data.scan import scan
from training.data.split import Split, split
from training.evaluation.predictor import EvaluationError, ModelDescription

EvaluatedPart = Literal["test", "validation", "training", "all"]

_SPLIT_KEYS = ("validation", "test", "seed", "split_hash")
_ALL = "every photo, seen before or not"
OR_ALL = f"--part all is {_ALL}"


@dataclass(frozen=True)
class Selection:
    """Photos to answer.

    Attributes:
        photos: with labels of `dataset.classes`.
        class_ids: label -> the model's class id, for the labels of `photos`.
        part: validation where the test part was asked for and the run has none.
        split_hash: of the folder as it is now; None where it was not split.
        undecodable: path -> why, of files that are in no part.
        chose_precision: whether these photos, or some of them, decided that less than float32 may
            be used, or not.
        remarks: what a reader of the figures must know, a sentence each.
    """

    dataset: Dataset
    photos: tuple[Photo, ...]
    class_ids: Mapping[int, int]
    layout: str
    part: str
    split_hash: str | None
    undecodable: Mapping[str, str]
    chose_precision: bool
    remarks: tuple[str, ...]


def select(
    model: ModelDescription,
    data: Path,
    part: str,
    layout: str | None = None,
    otherwise: str = OR_ALL,
) -> Selection:
    """Photos of a data folder, split as they were for training.

    Args:
        layout: None: the one that the model was trained on.
        otherwise: what else can be done where a part cannot be told, for the error.

    Raises:
        EvaluationError: the part asked for cannot be told, or holds no photo of the model's
            classes.
        DatasetError: no data folder of that layout.
    """
    if part not in get_args(EvaluatedPart):
        raise EvaluationError(
            f"part: {part!r} is not allowed; {', '.join(get_args(EvaluatedPart))} are"
        )
    chosen = _layout(model, layout, part)
    dataset = read_dataset(chosen, data)
    remarks: list[str] = []
    parts, undecodable = None, {}
    if can_be_split(model.data, chosen):
        found = scan(dataset)
        undecodable = dict(found.undecodable)
        validation, test = float(model.data["validation"]), float(model.data["test"])
        parts = split(dataset, found, validation, test, int(model.data["seed"]))
    photos = dataset.photos
    if part == "all":
        remarks += _about_all(model, parts)
        photos = tuple(photo for photo in photos if photo.path not in undecodable)
    else:
        asked = part
        part, photos = _part(model, asked, parts, data, otherwise)
        if part == "training":
            remarks.append("The model has learned from these photos: the figures flatter it.")
        if part == "validation":
            remarks.append(
                "Checkpoint, temperature and unsure threshold were chosen on these photos, which "
                "flatters the figures."
            )
            if asked == "test":
                remarks.append("There are no test photos: these are those of the validation.")
    # Of other photos than those of the training it says nothing.
    same = parts is not None and parts.hash == model.data["split_hash"]
    decided_by = model.precisions_by
    chose_precision = same and (bool(decided_by) if part == "all" else part in decided_by)
    if chose_precision:
        which = "some of these photos" if part == "all" else "these photos"
        remarks.append(f"Whether less than float32 is used was decided by {which}.")
    class_ids, unknown = _class_ids(model, dataset)
    known = tuple(photo for photo in photos if photo.label in class_ids)
    if unknown:
        left_out = f"{len(photos) - len(known)} photos of classes that the model does not know"
        remarks.append(f"Left out: {left_out} ({_some(unknown)}).")
    if not known:
        raise EvaluationError(
            f"{data}: the part {part!r} holds no photo of the model's classes "
            f"({_some(model.classes)})"
        )
    return Selection(
        dataset=dataset,
        photos=known,
        class_ids=class_ids,
        layout=chosen,
        part=part,
        split_hash=parts.hash if parts else None,
        undecodable=undecodable,
        chose_precision=chose_precision,
        remarks=tuple(remarks),
    )


def _layout(model: ModelDescription, layout: str | None, part: str) -> LayoutName:
    chosen = layout or model.data.get("layout")
    for known in get_args(LayoutName):
        if chosen == known:
            name: LayoutName = known
            return name
    if chosen is None:
        untold, all_photos = "", ""
        if part != "all":
            # Not one after the other: a layout alone would be refused as well.
            untold = f", nor how they were split, so that the part {part!r} is not known"
            all_photos = f"--part all, which is {_ALL}, and "
        raise EvaluationError(
            f"{model.source}: its card does not say in which layout its photos lie{untold}; give "
            f"{all_photos}--layout, one of {', '.join(get_args(LayoutName))}"
        )
    raise EvaluationError(
        f"layout: {chosen!r} is not allowed; {', '.join(get_args(LayoutName))} are"
    )


def can_be_split(described: Mapping[str, Any], layout: str | None) -> bool:
    """Whether a card's `data` tells how photos of a layout were split."""
    return (
        layout is not None
        and described.get("layout") == layout
        and all(key in described for key in _SPLIT_KEYS)
    )


def _part(
    model: ModelDescription, part: str, parts: Split | None, data: Path, otherwise: str
) -> tuple[str, tuple[Photo, ...]]:
    """The photos of a part; those of validation where there is no test part."""
    if parts is None:
        raise EvaluationError(
            f"{model.source}: its card does not say how photos of this layout were split, so that "
            f"the part {part!r} is not known; {otherwise}"
        )
    if parts.hash != model.data["split_hash"]:
        raise EvaluationError(
            f"{data}: not the photos that the model was trained with, or changed since: the split "
            f"has the hash {parts.hash}, the model's card says {model.data['split_hash']}. Which "
            f"are held out cannot be told; {otherwise}"
        )
    if part == "training":
        return part, parts.training
    if part == "test" and parts.test:
        return part, parts.test
    return "validation", parts.validation


def _about_all(model: ModelDescription, parts: Split | None) -> list[str]:
    if parts is None:
        return ["Whether the model has learned from some of these photos is not known."]
    if parts.hash != model.data["split_hash"]:
        return [
            f"The split's hash is {parts.hash}, the model's card says {model.data['split_hash']}: "
            "other photos than those of the training, or changed since. Whether the model has "
            "learned from some of these is not known."
        ]
    return [
        f"The model has learned from {len(parts.training)} of these photos: the figures flatter it."
    ]


def _class_ids(model: ModelDescription, dataset: Dataset) -> tuple[dict[int, int], list[str]]:
    """By name: a folder may hold fewer classes than the model knows, or others."""
    ids = {name: number for number, name in enumerate(model.classes)}
    shown = sorted({photo.label for photo in dataset.photos})
    known = {label: ids[dataset.classes[label]] for label in shown if dataset.classes[label] in ids}
    return known, [dataset.classes[label] for label in shown if label not in known]


def _some(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
