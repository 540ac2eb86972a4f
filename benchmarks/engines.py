"""What one photo costs each engine: R50x1 with random weights, in this process.

    python -m benchmarks.engines --threads 1 [--side 128] [--rounds 15]

The engines take turns, photo by photo, so that whatever else the machine does meets all of them.
`published` is eager PyTorch with the weights standardised in each call, as BiT's authors wrote it;
int8's ranges come from random inputs, which its speed does not depend on.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.serving.project import random_run
from benchmarks.serving.sides.published import as_published
from handlers.openvino_engine import OpenVinoEngine, supported_precisions
from handlers.torch_engines import InductorEngine, TorchEngine
from training.conversion import convert, quantise, write_graph
from training.models import bit
from training.run_folder import build_model, read_run

Compute = Callable[[Tensor], Tensor]
_CALIBRATION = 16


def engines(folder: Path, side: int, threads: int) -> dict[str, Compute]:
    """Name -> what gives the logits of float32 (N, 3, side, side)."""
    run = read_run(random_run(folder / "run", side=side))
    network = build_model(run)
    folded = bit.fold(network).requires_grad_(False)
    parameters = folded.state_dict()
    graph = convert(copy.deepcopy(folded), (side, side))
    write_graph(graph, parameters, "f32", folder)
    inputs = [torch.randn(1, 3, side, side) for _ in range(_CALIBRATION)]
    write_graph(quantise(graph, inputs), parameters, "int8", folder)
    published = as_published(copy.deepcopy(network))

    def eager(batch: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = published(batch)
            return logits

    cpu = torch.device("cpu")
    return {
        "published": eager,
        "torch f32": TorchEngine(folded, "f32").logits,
        "torch bf16": TorchEngine(folded, "bf16").logits,
        "inductor f32": InductorEngine(folded, "f32", cpu, (1, 3, side, side)).logits,
        **{
            f"openvino {precision}": OpenVinoEngine(folder, parameters, precision, threads).logits
            for precision in reversed(supported_precisions())
        },
    }


def measure(computes: Mapping[str, Compute], side: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round, by engine."""
    photo = torch.randn(1, 3, side, side)
    taken: dict[str, list[float]] = {name: [] for name in computes}
    for compute in computes.values():
        compute(photo)
    for _ in range(rounds):
        for name, compute in computes.items():
            began = time.perf_counter()
            compute(photo)
            taken[name].append(1000 * (time.perf_counter() - began))
    return taken


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        computes = engines(Path(folder), options.side, options.threads)
        taken = measure(computes, options.side, options.rounds)
    print("| Engine | ms a photo | least | most |\n|---|---|---|---|")
    for name, ms in taken.items():
        print(f"| {name} | {median(ms):.1f} | {min(ms):.1f} | {max(ms):.1f} |")


if __name__ == "__main__":
    main()
