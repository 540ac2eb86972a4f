"""Figures of an evaluation against ones that were counted by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from handlers.config import Limits, Precision
from handlers.images import decode_image
from handlers.openvino_engine import OpenVinoEngine
from tests.training.evaluation.conftest import BROKEN, RUN, Parts, Written, write_logits
from training.archive import archive
from training.evaluation import precisions
from training.evaluation.calibration import compare_scores
from training.evaluation.evaluate import evaluate
from training.evaluation.metrics import Bin, accuracy_interval
from training.evaluation.pictures import Plot, reliability_dots

CLASSES = ("Birman", "Bombay", "Siamese")
# Two photos of each class; one of the Birman's is taken for a Bombay, and surely.
KNOWN: Mapping[str, Sequence[float]] = {
    "Birman/1_1": (4, 0, 0),
    "Birman/2_1": (0, 8, 0),
    "Bombay/3_1": (0, 5, 0),
    "Bombay/4_1": (1, 2, 0),
    "Siamese/5_1": (0, 0, 6),
    "Siamese/6_1": (0, 0, 7),
}
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
Z = 1.96


def write_strangers(folder: Path, logits: Sequence[Sequence[float]]) -> Path:
    folder.mkdir()
    for number, each in enumerate(logits):
        (folder / f"{number}.jpg").write_text(json.dumps(list(map(float, each))))
    return folder


def test_the_share_called_unsure_is_counted_of_the_photos_and_of_the_strangers(
    tmp_path: Path,
) -> None:
    # Below 3 are four of five. At 3 an answer is sure.
    logits = [(5, 0, 0), (0, 1, 0), (0, 0, 2.9), (0.5, 0, 0), (-4, -3, -9)]
    strangers = write_strangers(tmp_path / "strangers", logits)
    data = write_logits(tmp_path / "data", KNOWN)
    model = Written(CLASSES, 1.0, 3.0)
    found = evaluate(model, data, tmp_path / "out", "all", strangers)
    assert found.outside is not None
    assert found.outside.photos == 5
    assert found.outside.unsure == pytest.approx(4 / 5)
    assert found.unsure.bought.answered == pytest.approx(5 / 6)
    assert found.unsure.bought.precision == pytest.approx(4 / 5)
    assert found.unsure.bought.kept == pytest.approx(4 / 5)
    (strangers / "1.jpg").write_text("[3.0, 0.0, 0.0]")
    again = evaluate(model, data, tmp_path / "out", "all", strangers)
    assert again.outside is not None
    assert again.outside.unsure == pytest.approx(3 / 5)


def test_scores_are_compared_at_the_model_s_temperature(tmp_path: Path) -> None:
    """The first stranger's probability lies above the threshold at 2.5, below it at 1."""
    outside = [(3.2, 0, -9), (0.1, 0, 0), (9, 0, 0)]
    known = {name: logits for name, logits in KNOWN.items() if name != "Bombay/4_1"}
    labels = torch.tensor([0, 0, 1, 2, 2])
    data = write_logits(tmp_path / "data", known)
    strangers = write_strangers(tmp_path / "strangers", outside)
    found = evaluate(Written(CLASSES, 2.5, 0.0), data, tmp_path / "out", "all", strangers)
    assert found.outside is not None
    assert found.outside.comparison is not None
    by_score = {each.score: each for each in found.outside.comparison.scores}
    # Of four right answers 95% are all, and the least sure of them has the logits 4, 0, 0.
    probability = by_score["probability"]
    assert probability.threshold == pytest.approx(math.exp(1.6) / (math.exp(1.6) + 2))
    assert probability.outside_unsure == pytest.approx(1 / 3)
    assert (by_score["max-logit"].threshold, probability.kept) == (4, 1)
    assert by_score["max-logit"].outside_unsure == pytest.approx(2 / 3)
    assert by_score["energy"].threshold == pytest.approx(math.log(math.exp(4) + 2))
    logits, others = torch.tensor(list(known.values())).float(), torch.tensor(outside).float()
    assert found.outside.comparison == compare_scores(logits, labels, others, 2.5)
    plain = compare_scores(logits, labels, others, 1.0)
    assert {each.score: each for each in plain.scores}["probability"].outside_unsure > 0.6


def test_the_surest_mistakes_are_shown_and_the_surest_first(tmp_path: Path) -> None:
    """By the probability, which grows with the distance of the two: not by the logits' size, nor
    in the order of the files.
    """
    distances = {"1_1": 2, "2_1": 5, "3_1": 1, "4_1": 6, "5_1": 3, "6_1": 4}
    photos = {
        f"Birman/{name}": (40 - 5 * distance, 40 - 4 * distance)
        for name, distance in distances.items()
    }
    data = write_logits(tmp_path / "data", photos | {"Bombay/7_1": (9, 0), "Bombay/8_1": (0, 3)})
    found = evaluate(Written(CLASSES[:2], 1.5, 0.0), data, tmp_path / "out", "all")
    first, second = found.pairs
    assert (first.label, first.answer, first.photos) == ("Birman", "Bombay", 6)
    assert first.examples == tuple(
        f"images/Birman/{name}.jpg" for name in ("4_1", "2_1", "6_1", "5_1")
    )
    assert (second.label, second.answer, second.photos) == ("Bombay", "Birman", 1)
    assert second.examples == ("images/Bombay/7_1.jpg",)


def test_the_interval_is_about_animals(tmp_path: Path) -> None:
    """Twelve animals of one to six photos, whose photos are all right or all wrong."""
    photos, right, animals = {}, [], []
    for animal in range(12):
        # Two digits, so that files come in the order of the animals.
        for photo in range(1 + animal % 6):
            photos[f"Birman/{10 + animal}_{photo}"] = (0, 5) if animal in (2, 5, 9) else (5, 0)
            right.append(animal not in (2, 5, 9))
            animals.append(animal)
    photos["Bombay/99_1"] = (0, 5)
    data = write_logits(tmp_path / "data", photos)
    found = evaluate(Written(CLASSES[:2], 1.0, 0.0), data, tmp_path / "out", "all").headline
    hits = np.array([*right, True])
    assert found.top1 == pytest.approx(hits.mean())
    assert found.top1_interval == accuracy_interval(hits, [*animals, 99])
    low, high = accuracy_interval(hits, range(len(hits)))
    assert found.top1_interval[1] - found.top1_interval[0] > 1.2 * (high - low)


@pytest.mark.parametrize(("animals", "low"), [(1, 0.207), (5, 0.566), (10, 0.722)])
def test_ten_right_photos_are_no_more_certain_than_their_animals(
    animals: int, low: float, tmp_path: Path
) -> None:
    photos = {f"Birman/{number % animals}_{number}": (5, 0) for number in range(10)}
    data = write_logits(tmp_path / "data", photos)
    found = evaluate(Written(CLASSES[:2], 1.0, 0.0), data, tmp_path / "out", "all").headline
    assert found.top1 == 1
    assert found.top1_interval == pytest.approx((low, 1), abs=5e-4)


def of_alike_animals(animals: int, photos: int, right: int) -> tuple[float, float]:
    """The interval where each animal has as many photos, and as many of them right: drawing
    animals anew always gives the same share.
    """
    hits = np.array([number < right for _ in range(animals) for number in range(photos)])
    return accuracy_interval(hits, [animal for animal in range(animals) for _ in range(photos)])


@pytest.mark.parametrize(
    ("animals", "photos", "right", "low", "high"),
    [
        (20, 1, 1, 0.839, 1.0),
        (10, 1, 1, 0.722, 1.0),
        (10, 1, 0, 0.0, 0.278),
        # (0.5 + 0.19208) / 1.38416 = 0.5, give or take 1.96 / 1.38416 * sqrt(0.025 + 0.009604).
        (10, 2, 1, 0.237, 0.763),
        # (0.75 + 0.09604) / 1.19208 = 0.7097, give or take
        # 1.96 / 1.19208 * sqrt(0.009375 + 0.002401) = 0.1784.
        (20, 4, 3, 0.531, 0.888),
    ],
)
def test_wilson_s_interval_has_the_published_values(
    animals: int, photos: int, right: int, low: float, high: float
) -> None:
    found = of_alike_animals(animals, photos, right)
    assert found == pytest.approx((low, high), abs=6e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(1, 7), st.data())
def test_wilson_s_interval_ends_where_the_share_is_just_credible(
    animals: int, photos: int, data: st.DataObject
) -> None:
    """At both ends the share found is 1.96 standard deviations away, which defines the interval."""
    right = data.draw(st.integers(0, photos))
    share = right / photos
    low, high = of_alike_animals(animals, photos, right)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for end in (low, high):
        assert (share - end) ** 2 == pytest.approx(Z * Z * end * (1 - end) / animals, abs=1e-9)
    assert high - low > 0


def test_a_bin_lies_where_its_confidence_and_its_accuracy_meet() -> None:
    """Of a square of 100 px that begins at (10, 20), y downwards."""
    bins = (Bin(0.6, 0.8, 30, 0.7, 0.4), Bin(0.8, 0.9, 0, None, None), Bin(0.9, 1.0, 10, 0.95, 1.0))
    first, last = reliability_dots(Plot(left=10, top=20, side=100), bins)
    assert (first.x, first.y, last.x, last.y) == (80, 80, 105, 20)
    # Areas are as three to one.
    assert first.radius / last.radius == pytest.approx(3**0.5, rel=0.02)


def test_int8_is_not_judged_by_photos_that_it_was_calibrated_on(
    run: Path, photos: Path, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever this CPU has: the graph stays float32's, and only who gets which photos counts."""
    names = {}
    for path in photos.iterdir():
        if path.name != BROKEN:
            image = decode_image(path.read_bytes(), Limits(), RUN.preprocessing.decoded_side)
            names[RUN.preprocessing(image).numpy().tobytes()] = path.name
    assert len(names) == sum(map(len, (parts.training, parts.validation, parts.test)))
    calibrated: list[str] = []
    judged: dict[Precision, list[str]] = {"int8": [], "f32": []}

    def quantise(graph: Any, inputs: Sequence[Tensor]) -> Any:  # noqa: ANN401
        calibrated.extend(names[each[0].numpy().tobytes()] for each in inputs)
        return graph

    class Engine(OpenVinoEngine):
        def logits(self, batch: Tensor) -> Tensor:
            judged[self.precision].extend(names[each.numpy().tobytes()] for each in batch)
            return super().logits(batch)

    monkeypatch.setattr(precisions, "supported_precisions", lambda: ("int8", "f32"))
    monkeypatch.setattr(precisions, "quantise", quantise)
    monkeypatch.setattr(precisions, "OpenVinoEngine", Engine)
    archive(run, "1.0", tmp_path, data=photos)
    assert calibrated
    assert set(calibrated) <= set(parts.training)
    assert judged["int8"]
    assert judged["int8"] == judged["f32"]
    assert set(judged["int8"]).isdisjoint(calibrated)
    assert set(judged["int8"]) <= {*parts.validation, *parts.test}
