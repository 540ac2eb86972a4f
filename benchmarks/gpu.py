"""What a GPU gives: the worker's engine beside plain PyTorch in bf16, and training, with R50x1.

    python -m benchmarks.gpu --out gpu [--side 128] [--rounds 7] [--no-training]

Weights are random, which speed does not depend on. Serving counts from a batch in the CPU's memory
to its logits there, as a worker has it; `photos` counts from JPEGs of 500 x 375 px, decoded in
threads ahead of the network by the worker's own functions. The sides take turns, round by round.
Training is forward, backward and optimiser step in bf16 autocast on a batch in the GPU's memory.
The share is of the rate at which the same GPU multiplies two bf16 matrices of 8192 x 8192. Writes
gpu.json and gpu.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.serving.floor import work
from benchmarks.serving.photos import photo_set
from benchmarks.serving.sides.published import as_published
from handlers.config import HandlerConfig
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from handlers.side_by_side import in_chunks
from handlers.torch_engines import InductorEngine
from training.models import bit

_CLASSES = 67
_BATCHES = (1, 8, 64)
_MATRIX = 8192
_LEAST_S = 0.3
_HALF = (0.5, 0.5, 0.5)
# (px, photos): as many as a common 80 GB hold easily.
_TRAINED = ((128, 512), (480, 64))
_TRAINED_STEPS = 12
# As a worker has at most.
_DECODERS = 8
# A step's backward pass is twice its forward pass.
_PASSES = 3


@dataclass(frozen=True)
class Rate:
    """Photos a second of one side.

    Attributes:
        rounds: of each round.
        tflops: of the median, by the network's convolutions and its head alone.
        share: of the peak.
    """

    side: str
    px: int
    batch: int
    rounds: list[float]
    tflops: float
    share: float


@dataclass(frozen=True)
class Result:
    """What was found; `ready_s` is how long our engine took to compile, less what PyTorch's cache
    in the temp folder has held."""

    device: str
    torch: str
    cores: int
    peak_tflops: float
    ready_s: float
    serving: list[Rate]
    training: list[Rate]


def measure(px: int, rounds: int, train: bool) -> Result:
    """Takes some minutes, most of it compilation."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # as a worker with a GPU does
    network = bit.build(_CLASSES, **bit.MEMBERS["R50x1"]).eval()
    folded = bit.fold(network).requires_grad_(False)
    peak = _peak(device)
    gflop = work(folded, px).gflop
    began = time.perf_counter()
    ours = InductorEngine(folded, "bf16", device, (max(_BATCHES), 3, px, px))
    ready_s = time.perf_counter() - began
    sides = {
        "PyTorch, bf16, as published": _eager(as_published(copy.deepcopy(network)), device),
        "PyTorch, bf16, folded, channels last": _eager(folded, device),
        "ours": ours.logits,
    }
    rates = []
    for batch in _BATCHES:
        inputs = torch.randn(batch, 3, px, px)
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, compute in sides.items():
                taken[name].append(_rate(compute, inputs))
        taken["ours, photos"] = [_photo_rate(ours.logits, px, batch) for _ in range(rounds)]
        for name, found in taken.items():
            rates.append(_described(name, px, batch, found, gflop, peak))
    del ours, sides
    trained = []
    for side, count in _TRAINED if train else ():
        found = _training(device, side, count, rounds)
        each = _PASSES * work(folded, side).gflop
        trained.append(_described("training", side, count, found, each, peak))
    name = torch.cuda.get_device_name(device)
    return Result(
        name, torch.__version__, os.cpu_count() or 0, peak / 1e12, ready_s, rates, trained
    )


def _eager(network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    model = copy.deepcopy(network).to(device, torch.bfloat16)
    model = model.to(memory_format=torch.channels_last)

    def compute(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            inputs = batch.to(device, torch.bfloat16, memory_format=torch.channels_last)
            logits: Tensor = model(inputs)
            return logits.float().cpu()

    return compute


def _rate(compute: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    for _ in range(3):
        compute(inputs)
    done, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < _LEAST_S:
        compute(inputs)
        done += len(inputs)
    return done / seconds


def _photo_rate(compute: Callable[[Tensor], Tensor], px: int, batch: int) -> float:
    """Photos a second from JPEG to logits, the next batch being decoded meanwhile."""
    limits, preprocessing = HandlerConfig().limits, Preprocessing(px, px, "bilinear", _HALF, _HALF)
    photos = [photo.data for photo in photo_set("small")]

    def tensors(chunk: Sequence[int]) -> list[Tensor]:
        return [
            preprocessing(decode_image(photos[n % len(photos)], limits, preprocessing.decoded_side))
            for n in chunk
        ]

    numbers = list(range(max(24, 12 * batch)))
    with ThreadPoolExecutor(_DECODERS) as pool:
        done, began = 0, 0.0
        for chunk in in_chunks(numbers, batch, tensors, pool, lambda n: n):
            compute(torch.stack(chunk))
            if not began:  # the first had nothing beside it
                began = time.perf_counter()
            else:
                done += len(chunk)
        return done / (time.perf_counter() - began)


def _training(device: torch.device, px: int, count: int, rounds: int) -> list[float]:
    model = bit.build(_CLASSES, **bit.MEMBERS["R50x1"]).to(device).train()
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), 3e-3, 0.9)
    inputs = torch.randn(count, 3, px, px, device=device)
    inputs = inputs.to(memory_format=torch.channels_last)
    labels = torch.randint(_CLASSES, (count,), device=device)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(model(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(3):
        step()
    rates = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in repeat(None, _TRAINED_STEPS):
            step()
        torch.cuda.synchronize()
        rates.append(_TRAINED_STEPS * count / (time.perf_counter() - began))
    return rates


def _peak(device: torch.device) -> float:
    """Operations a second of a bf16 matrix product; a multiplication with its addition is two."""
    one, other = torch.randn(2, _MATRIX, _MATRIX, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(10):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(5):
            torch.mm(one, other)
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - began) / 5)
    return 2 * _MATRIX**3 / best


def _described(
    name: str, px: int, batch: int, rounds: list[float], gflop: float, peak: float
) -> Rate:
    flops = median(rounds) * gflop * 1e9
    return Rate(name, px, batch, rounds, flops / 1e12, flops / peak)


def _table(result: Result) -> str:
    lines = [
        f"{result.device}, torch {result.torch}, {result.cores} CPU cores, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}; bf16 matrix product "
        f"{result.peak_tflops:.0f} TFLOP/s; our engine ready after {result.ready_s:.0f} s.\n",
        "| | px | batch | photos/s, median (least to most) | TFLOP/s | of the peak |",
        "|---|---|---|---|---|---|",
    ]
    for rate in (*result.serving, *result.training):
        low, high = min(rate.rounds), max(rate.rounds)
        lines.append(
            f"| {rate.side} | {rate.px} | {rate.batch} | {median(rate.rounds):,.0f} "
            f"({low:,.0f} to {high:,.0f}) | {rate.tflops:.1f} | {rate.share:.1%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="names of the files, less .json")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-training", action="store_true")
    options = parser.parse_args()
    result = measure(options.side, options.rounds, not options.no_training)
    text = _table(result)
    print(text)
    options.out.with_suffix(".json").write_text(json.dumps(asdict(result), indent=1) + "\n")
    options.out.with_suffix(".md").write_text("# R50x1 on a GPU\n\n" + text)


if __name__ == "__main__":
    main()
