"""PyTorch as an engine: plain on the CPU, and compiled by TorchInductor for GPUs."""

from __future__ import annotations

import copy
import importlib
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from handlers.config import EngineName, Precision

_DTYPES: dict[Precision, torch.dtype] = {"f32": torch.float32, "bf16": torch.bfloat16}


class TorchEngine:
    """PyTorch on the CPU, channels last: the reference.

    bf16 casts the weights once instead of using autocast, which would cast all of them again for
    every batch and keep float32 between the layers: half the memory traffic is what reduced
    precision is for. What it costs in accuracy the golden set judges.
    """

    name: EngineName = "torch"

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        """Take a folded float32 model; it is copied where the precision differs."""
        self.precision: Precision = precision
        self._dtype = _DTYPES[precision]
        if precision != "f32":
            model = copy.deepcopy(model).to(self._dtype)
        self._model = model

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """See `handlers.engines.Engine.logits`."""
        with torch.inference_mode():
            batch = batch.to(self._dtype, memory_format=torch.channels_last)
            logits: torch.Tensor = self._model(batch)
            return logits.float()


class InductorEngine:
    """The network compiled by TorchInductor: CUDA graphs on a GPU, frozen weights on the CPU.

    A compiled program is for one batch size. There is one for each power of two up to the largest
    batch, and a batch is filled up to the next: a compilation in the midst of serving would take
    longer than a request may. All are compiled and run once when the engine is made.
    """

    name: EngineName = "inductor"

    def __init__(
        self, model: nn.Module, precision: Precision, device: torch.device, shape: tuple[int, ...]
    ) -> None:
        """Compile; minutes on a cold cache (PyTorch keeps one in the temp folder).

        Args:
            model: folded float32 model; it is copied.
            shape: (N, 3, height, width) of the largest batch.

        Raises:
            RuntimeError: no compiler, or the network cannot be compiled.
        """
        self.precision: Precision = precision
        self._device = device
        self._sizes = _powers_of_two(shape[0])
        # A batch is written here in the network's precision, which halves what travels. From pinned
        # memory the copy to a GPU does not go through another one of the driver's.
        self._staged = torch.zeros(
            shape, dtype=_DTYPES[precision], pin_memory=device.type == "cuda"
        )
        model = copy.deepcopy(model).to(device, self._staged.dtype)
        model = model.to(memory_format=torch.channels_last)
        # One program for each size; by default Dynamo gives up after eight.
        dynamo = importlib.import_module("torch._dynamo").config
        dynamo.recompile_limit = max(dynamo.recompile_limit, len(self._sizes) + 1)
        self._compiled = torch.compile(
            model, dynamic=False, options=_options(device), fullgraph=True
        )
        for size in self._sizes:
            self.logits(torch.zeros(size, *shape[1:]))

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """See `handlers.engines.Engine.logits`."""
        largest = self._sizes[-1]
        parts = [
            self._part(batch[start : start + largest]) for start in range(0, len(batch), largest)
        ]
        return torch.cat(parts)

    def _part(self, batch: torch.Tensor) -> torch.Tensor:
        size = self._sizes[bisect_left(self._sizes, len(batch))]
        # What is left of an earlier batch in the other rows has no part in these.
        self._staged[: len(batch)].copy_(batch)
        with torch.inference_mode():
            inputs = self._staged[:size].to(self._device, non_blocking=True)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            # With CUDA graphs the next call writes over this one's output, hence the copy. It also
            # waits for the GPU, which has then read what was staged.
            logits: torch.Tensor = self._compiled(inputs)[: len(batch)].float().cpu().clone()
            return logits


def _powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... and the largest itself."""
    sizes = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    return [*sizes, largest]


def _options(device: torch.device) -> dict[str, str | int | bool | Callable[..., Any]]:
    if device.type == "cuda":
        return {"triton.cudagraphs": True, "freezing": True, "layout_optimization": True}
    return {"freezing": True}
