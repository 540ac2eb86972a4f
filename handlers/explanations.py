"""Which parts of a photo speak for a class: HiResCAM.

Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks" (https://arxiv.org/abs/2011.08891): gradient times activation at
the last feature map, summed over the channels. Where global average pooling and one linear layer
follow, the map is exact: it then says how each place has moved the logit.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from handlers.bundle import Bundle
from handlers.predictions import prediction, probabilities, top_classes
from handlers.problems import InvalidOption, shorten

_FOR, _AGAINST = (214, 39, 40), (31, 119, 180)  # red and blue that colour-blind people tell apart
_MOST_OPAQUE = 200


def class_id_of(target: str | int, class_names: tuple[str, ...]) -> int:
    """The class meant by a name or an id; an id may come as text, as form fields do.

    Raises:
        InvalidOption: there is no such class.
    """
    if isinstance(target, str) and target in class_names:
        return class_names.index(target)
    if isinstance(target, str) and target.isascii() and target.isdigit() and len(target) < 10:
        target = int(target)
    if isinstance(target, int) and 0 <= target < len(class_names):
        return target
    raise InvalidOption(
        f"class: {shorten(target)} is not one of this model's; "
        f"a name from its index_to_name.json or an id from 0 to {len(class_names) - 1} is"
    )


def explain(bundle: Bundle, batch: torch.Tensor, target: str | int | None) -> dict[str, Any]:
    """The answer of `/explanations/<model>` to one photo.

    Args:
        bundle: its float32 model is used, whatever precision predictions are made in.
        batch: float32 (1, 3, height, width), preprocessed.
        target: class name or id; None: the most probable class.

    Returns:
        `grid`: rows of signed numbers, positive where the photo speaks for the class; `cells`:
        where they look, down as across: `first` is the pixel of the input, counted from 0, that
        the first one is centred on, `step` the pixels from one to the next; `input_size`: [height,
        width] in pixels; `heatmap`: the grid at that size, a transparent PNG (red for, blue
        against) in base64, to be laid over the photo as the network saw it, resized and cropped.

    Raises:
        InvalidOption: there is no such class.
    """
    wanted = None if target is None else class_id_of(target, bundle.class_names)
    network = bundle.network
    logits, grid, class_id = hirescam(network.model, network.explained_layer, batch, wanted)
    probability = probabilities(logits, bundle.temperature)
    size, (first, step) = bundle.preprocessing.size, network.explained_cells
    heat_map = _heat_map_png(grid, size, network.explained_cells)
    return {
        "model": bundle.name,
        "version": bundle.version,
        "class": prediction(bundle, probability, class_id),
        "grid": [[round(value, 6) for value in row] for row in grid.tolist()],
        "cells": {"first": first, "step": step},
        "input_size": list(size),
        "heatmap": base64.b64encode(heat_map).decode(),
    }


def hirescam(
    model: nn.Module, layer: nn.Module, batch: torch.Tensor, class_id: int | None
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Explain one logit.

    Args:
        model: float32 classifier whose parameters need no gradient.
        layer: a submodule whose output is a feature map (1, channels, h, w).
        batch: float32 (1, 3, height, width).
        class_id: the logit to explain; None: the largest.

    Returns:
        logits (classes,), map (h, w), class id. The map is scaled by h * w, so that for global
        average pooling and a linear layer its mean plus the class's bias is the logit.
    """
    captured: list[torch.Tensor] = []

    def capture(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        # The graph starts here: nothing of the layers before is kept for a backward pass.
        captured.append(output.detach().requires_grad_())
        # A copy, as the next layer may work in place, which a leaf does not allow.
        return captured[-1].clone()

    handle = layer.register_forward_hook(capture)
    try:
        with torch.enable_grad():
            logits: torch.Tensor = model(batch.contiguous(memory_format=torch.channels_last))[0]
            if class_id is None:
                class_id = top_classes(logits.detach(), 1)[0]
            (gradient,) = torch.autograd.grad(logits[class_id], captured[-1])
    finally:
        handle.remove()
    activation = captured[-1].detach()
    cells = activation.shape[-2] * activation.shape[-1]
    return logits.detach(), (gradient * activation).sum(1)[0] * cells, class_id


def enlarged(grid: torch.Tensor, size: tuple[int, int], cells: tuple[float, float]) -> torch.Tensor:
    """The map at the input's size, each cell where it looks at, and linear in between.

    What lies outside of all centres has the value of the nearest cells.

    Args:
        grid: (h, w).
        size: (height, width) of the input.
        cells: pixel that the first cell is centred on, pixels from a cell to the next.

    Returns:
        (height, width), the type of `grid`.
    """
    rows, columns = (
        _shares(length, count, *cells).to(grid.dtype)
        for length, count in zip(size, grid.shape, strict=True)
    )
    return rows @ grid @ columns.T


def _shares(length: int, count: int, first: float, step: float) -> torch.Tensor:
    """What part each of `count` cells has in each of `length` pixels: float64 (length, count)."""
    place = (torch.arange(length, dtype=torch.float64) - first) / step
    distance = place.clamp(0, count - 1)[:, None] - torch.arange(count)
    return (1 - distance.abs()).clamp_min(0)


def _heat_map_png(grid: torch.Tensor, size: tuple[int, int], cells: tuple[float, float]) -> bytes:
    map_ = enlarged(grid, size, cells)
    strength = (map_ / map_.abs().max().clamp_min(1e-12)).numpy()
    pixels = np.empty((*size, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(strength[..., None] >= 0, _FOR, _AGAINST)
    pixels[..., 3] = (np.abs(strength) * _MOST_OPAQUE).round()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
