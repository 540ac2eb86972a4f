"""One process of the side `limit`: decoding and our engine in a bare loop.

Reads one JSON object a line, {"photos": [paths], "seconds": s, "batch": n, "at": when to begin
(seconds, monotonic), "decoded": whether to decode before the loop and not within}, and answers each
with {"photos", "seconds", "latencies_ms"}; with {"ask": path} it answers {"probabilities": [[breed,
probability], ...]}. The first line it writes says that it is ready, and what computes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.serving.project import Engine, top


def main() -> None:
    """Answer until the end of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args()
    engine = Engine(chosen.model_dir, chosen.threads)
    _say({"engine": engine.described})
    for line in sys.stdin:
        asked = json.loads(line)
        _say(_ask(engine, asked["ask"]) if "ask" in asked else _loop(engine, asked))


def _ask(engine: Engine, path: str) -> dict[str, Any]:
    logits = engine.logits(engine.tensor(Path(path).read_bytes())[None])[0]
    probabilities = (logits / engine.temperature).softmax(0)
    return {"probabilities": top(probabilities.tolist(), engine.classes)}


def _loop(engine: Engine, asked: dict[str, Any]) -> dict[str, Any]:
    photos = [Path(path).read_bytes() for path in asked["photos"]]
    batch, latencies = int(asked["batch"]), []
    done = 0
    ready = [engine.tensor(photo) for photo in photos] if asked.get("decoded") else []
    while time.monotonic() < asked["at"]:
        time.sleep(0.001)
    began = last = time.monotonic()
    while last - began < asked["seconds"]:
        turns = [(done + number) % len(photos) for number in range(batch)]
        tensors = [ready[turn] if ready else engine.tensor(photos[turn]) for turn in turns]
        engine.logits(torch.stack(tensors))
        now = time.monotonic()
        latencies.append(1000 * (now - last))
        done, last = done + batch, now
    return {"photos": done, "seconds": last - began, "latencies_ms": latencies}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
