from __future__ import annotations

import pytest
import torch

from tests.training.models.randomised import photos
from training.models import plain_cnn


def test_the_network_of_the_book_with_two_logits() -> None:
    with torch.device("meta"):
        model = plain_cnn.build(2)
    # 3,453,121 with one logit.
    assert sum(value.numel() for value in model.parameters()) == 3_453_121 + 513
    assert model.get_parameter("classifier.1.weight").shape == (512, 7 * 7 * 128)


@pytest.mark.parametrize("size", [(46, 46), (47, 60), (150, 97)])
def test_any_size_that_the_network_was_built_for(size: tuple[int, int]) -> None:
    model = plain_cnn.build(3, input_size=list(size), hidden=4).eval()
    with torch.inference_mode():
        assert model(photos(1, *size)).shape == (1, 3)
        with pytest.raises(ValueError, match=r"a photo of \(99, 99\); input_size is"):
            model(photos(1, 99))


def test_a_size_that_leaves_no_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"input_size is \[45, 150\]; too small for 4 convolution"):
        plain_cnn.build(2, input_size=[45, 150])
