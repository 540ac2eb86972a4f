"""What a finished run says of itself where its answers are too good, or are none."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.small_sets import write_small_set
from tests.training.tiny import PHOTOS, write_tiny
from training.archive import model_card
from training.evaluation.predictors import described_by_card, described_by_run
from training.fitting.stage import TrainingError
from training.fitting.tracking import make_accelerator
from training.prepare import Prepared, prepare
from training.recipe import load_recipe
from training.run_folder import Run
from training.train import judge

# Of each part, by the recipe.
VALIDATION = 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("judge")
    write_small_set("dogs-vs-cats", folder / "data", PHOTOS)
    return prepare(load_recipe(write_tiny(folder)), folder / "data", "none")


class ByColour(nn.Module):
    """Answers all photos rightly, which are red or blue, but for those at some places.

    Args:
        wrong, none: places, counted from the first validation photo on.
    """

    def __init__(self, wrong: Collection[int] = (), none: Collection[int] = ()) -> None:
        super().__init__()
        self._wrong, self._none, self._asked = wrong, none, 0

    def forward(self, photos: Tensor) -> Tensor:
        redder = photos[:, 0].mean((1, 2)) - photos[:, 2].mean((1, 2))
        logits = 3 * torch.stack([redder, -redder], dim=1).sign()
        for row in range(len(photos)):
            if self._asked in self._wrong:
                logits[row] = -logits[row]
            if self._asked in self._none:
                logits[row, 1] = math.nan
            self._asked += 1
        return logits


def judged(prepared: Prepared, model: nn.Module, tmp_path: Path) -> Run:
    accelerator = make_accelerator(prepared.recipe.training, "none", tmp_path)
    validation, test = prepared.validation_photos(), prepared.test_photos()
    return judge(prepared, model, validation, test, accelerator)


def test_a_run_says_what_its_threshold_was_chosen_for(prepared: Prepared, tmp_path: Path) -> None:
    run = judged(prepared, ByColour(wrong=(0,)), tmp_path)
    assert run.sure_precision == prepared.recipe.card.sure_precision == 0.8
    assert 0.05 < run.temperature != 1
    assert "remarks" not in run.data
    assert model_card(run, "1.0")["sure_precision"] == 0.8


def test_no_wrong_answer_is_no_reason_for_certainty(prepared: Prepared, tmp_path: Path) -> None:
    """And whoever reads the figures is told: of the run, and of its archive."""
    run = judged(prepared, ByColour(), tmp_path)
    assert run.metrics["top1"] == 1
    assert run.temperature == 1
    (remark,) = run.data["remarks"]
    assert f"No answer to the {VALIDATION} validation photos is wrong" in remark
    card = json.loads(json.dumps(model_card(run, "1.0")))
    archived = described_by_card(card, "archive", "x.mar", tuple(run.classes))
    assert described_by_run(tmp_path, run).remarks == archived.remarks == (remark,)


def test_photos_without_an_answer_are_left_out_and_counted(
    prepared: Prepared, tmp_path: Path
) -> None:
    plain = judged(prepared, ByColour(wrong=(0, 1)), tmp_path)
    none = (5, VALIDATION + 2, VALIDATION + 3)
    run = judged(prepared, ByColour(wrong=(0, 1), none=none), tmp_path)
    # Two of seven are wrong, not two of eight, so it is a little less sure.
    assert plain.temperature < run.temperature < 20
    assert run.expected is not None
    assert run.expected.photos == 6
    assert all(math.isfinite(value) for value in run.metrics.values())
    validation, test = run.data["remarks"]
    assert f"no answer to 1 of the {VALIDATION} validation photos" in validation
    assert "no answer to 2 of the 8 test photos" in test


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_model_without_any_answer_is_no_run(
    prepared: Prepared, tmp_path: Path, part: str
) -> None:
    first = 0 if part == "validation" else VALIDATION
    model = ByColour(wrong=(0,), none=range(first, first + 8))
    with pytest.raises(TrainingError, match=f"not finite for all 8 {part} photos"):
        judged(prepared, model, tmp_path)
