"""What a version must pass before any client sees it."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import yaml

from handlers.config import HandlerConfig
from serving.inference import InferenceClient, Prediction, ServiceError
from serving.model_store import version_key

# Of a probability: what handlers/engines.py allows an engine of less precision than float32.
_TOLERANCE = 0.05
# Accuracies are fractions of some hundred photos: what lies below is the arithmetic's.
_ROUNDING = 1e-9
_SHOWN = 3


class CheckFailed(Exception):  # noqa: N818 - what it says of a version, not of a program
    """A version that must not be deployed; the message says what is wrong, with its figures."""


@dataclass(frozen=True)
class Contents:
    """What an archive says of itself.

    Attributes:
        classes: in the order of the network's outputs.
        card: the model card.
        golden: encoded photos.
        golden_probabilities: float64 (photos, classes), at the card's temperature.
        most_listed: classes that an answer lists at most, by the archive's configuration.
    """

    model: str
    version: str
    classes: tuple[str, ...]
    card: dict[str, Any]
    golden: tuple[bytes, ...]
    golden_probabilities: npt.NDArray[np.float64]
    most_listed: int


def read_contents(path: Path) -> Contents:
    """Read an archive that `verify_archive` has passed. Nothing in it is run.

    Raises:
        CheckFailed: an entry is missing or not as `catbreeds archive` writes it; names it.
        OSError: the file cannot be read.
    """
    with _naming(path, "zip structure"), zipfile.ZipFile(path) as archive:
        with _naming(path, "MAR-INF/MANIFEST.json") as entry:
            manifest = _strict_json(_read(archive, entry))["model"]
            model, version = str(manifest["modelName"]), str(manifest["modelVersion"])
            version_key(version)
        with _naming(path, "index_to_name.json") as entry:
            classes = _classes(_strict_json(_read(archive, entry)))
        with _naming(path, "model-card.json") as entry:
            card, temperature = _card(_strict_json(_read(archive, entry)), version)
        with _naming(path, "model-config.yaml") as entry:
            section = (yaml.safe_load(_read(archive, entry)) or {}).get("catbreeds")
            most = HandlerConfig.from_dict(section).limits.top_k or len(classes)
        with _naming(path, "golden/logits.safetensors") as entry:
            names = (name for name in archive.namelist() if name.startswith("golden/"))
            golden = tuple(_read(archive, name) for name in sorted(names) if name.endswith(".png"))
            logits = safetensors.numpy.load(_read(archive, entry))["logits"]
            likely = _probabilities(logits, (len(golden), len(classes)), temperature)
    return Contents(model, version, classes, card, golden, likely, min(most, len(classes)))


def check_classes(new: Contents, current: Contents) -> None:
    """Whoever reads answers by class id, or knows the breeds, must not be surprised.

    Raises:
        CheckFailed: not the same classes in the same order; names some that differ.
    """
    if new.classes == current.classes:
        return
    theirs, ours = set(current.classes), set(new.classes)
    before = [name for name in current.classes if name in ours]
    after = [name for name in new.classes if name in theirs]
    differences = {
        "lacks": [name for name in current.classes if name not in ours],
        "adds": [name for name in new.classes if name not in theirs],
        "moves": [a for a, b in zip(after, before, strict=True) if a != b],
    }
    said = "; ".join(f"{verb} {_some(names)}" for verb, names in differences.items() if names)
    raise CheckFailed(
        f"classes are not those of {current.version}: {new.version} {said}; "
        "--allow-class-change takes them"
    )


def check_accuracy(new: Contents, current: Contents, max_drop: float) -> str:
    """Compare the cards' top-1, each measured on held-out photos of its own training.

    Args:
        max_drop: as a fraction; a version may lie that much lower.

    Returns:
        A sentence for whoever deploys; also where a card has no such figure.

    Raises:
        CheckFailed: the new one lies lower by more than `max_drop`.
    """
    ours, theirs = _top1(new), _top1(current)
    if ours is None or theirs is None:
        without = new.version if ours is None else current.version
        return f"accuracy could not be compared: the card of {without} has no top-1"
    if theirs - ours > max_drop + _ROUNDING:
        raise CheckFailed(
            f"top-1 {ours:.4f}, {theirs:.4f} of {current.version}: more than {max_drop:g} lower; "
            "--max-accuracy-drop allows it"
        )
    photos = "" if _split(new) == _split(current) else ", on other photos"
    return f"top-1 {ours:.4f}, {theirs:.4f} before{photos}"


def self_test(client: InferenceClient, contents: Contents) -> float:
    """Ask the served version for its golden photos, each once.

    Returns:
        The largest difference of a probability from the archive's own.

    Raises:
        CheckFailed: no answer, that of another version, a probability that is off by more than
            0.05, or another first class where the best two lie further apart than that.
    """
    largest = 0.0
    for number, photo in enumerate(contents.golden):
        try:
            answer = client.predict(photo, contents.model, contents.version, contents.most_listed)
            difference = _difference(answer, contents, contents.golden_probabilities[number])
        except (ServiceError, CheckFailed) as error:
            raise CheckFailed(f"golden photo {number}: {error}") from error
        largest = max(largest, difference)
    return largest


def _difference(answer: Prediction, contents: Contents, expected: npt.NDArray[np.float64]) -> float:
    if answer.version not in ("", contents.version):
        raise CheckFailed(f"{answer.version} answers, not {contents.version}")
    places = {name: place for place, name in enumerate(contents.classes)}
    given = dict(answer.breeds)
    if len(given) != contents.most_listed or not given.keys() <= places.keys():
        raise CheckFailed(f"its {len(given)} classes are not those of the archive")
    difference = max(abs(given[name] - float(expected[places[name]])) for name in given)
    # Not `>`, which is false of NaN as well.
    if not difference <= _TOLERANCE:
        raise CheckFailed(
            f"a probability differs by {difference:.4f} from the archive's; "
            f"at most {_TOLERANCE} is allowed"
        )
    best = contents.classes[int(expected.argmax())]
    runner_up, highest = np.sort(expected)[-2:] if len(expected) > 1 else (0.0, 1.0)
    if answer.breeds[0][0] != best and highest - runner_up > _TOLERANCE:
        raise CheckFailed(f"{answer.breeds[0][0]} comes first, not {best}")
    return difference


@contextmanager
def _naming(path: Path, entry: str) -> Iterator[str]:
    try:
        yield entry
    except KeyError as error:
        raise CheckFailed(f"{path}: {entry}: {error.args[0]} is missing") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise CheckFailed(f"{path}: {entry}: {error}") from error


def _read(archive: zipfile.ZipFile, entry: str) -> bytes:
    if entry not in archive.namelist():
        raise ValueError("is not in the archive")
    return archive.read(entry)


def _strict_json(content: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    read = json.loads(content, parse_constant=refuse)
    if not isinstance(read, dict):
        raise ValueError("not a JSON object")
    return read


def _classes(names: dict[str, Any]) -> tuple[str, ...]:
    classes = tuple(names[str(index)] for index in range(len(names)))
    if not classes or not all(isinstance(name, str) and name for name in classes):
        raise ValueError("every class needs a name")
    if len(set(classes)) != len(classes):
        raise ValueError("two classes have the same name")
    return classes


def _card(card: dict[str, Any], version: str) -> tuple[dict[str, Any], float]:
    """The card and its temperature."""
    if card["version"] != version:
        raise ValueError(f"version {card['version']!r}, but the manifest has {version!r}")
    temperature = float(card["temperature"])
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: {temperature!r} is not allowed; a positive number is")
    return card, temperature


def _probabilities(
    logits: npt.NDArray[Any], shape: tuple[int, int], temperature: float
) -> npt.NDArray[np.float64]:
    """Softmax as in `handlers.predictions`."""
    if not shape[0] or logits.shape != shape:
        raise ValueError(f"shape {logits.shape}, but there are {shape} photos and classes")
    if not np.isfinite(logits).all():
        raise ValueError("logits that are not finite")
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    likely: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return likely


def _top1(contents: Contents) -> float | None:
    metrics = contents.card.get("metrics")
    top1 = metrics.get("top1") if isinstance(metrics, dict) else None
    return float(top1) if isinstance(top1, int | float) and not isinstance(top1, bool) else None


def _split(contents: Contents) -> object:
    """Tells which photos were held out."""
    data = contents.card.get("data")
    return data.get("split_hash") if isinstance(data, dict) else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
