"""What the gateway costs: the same photos to TorchServe directly and through the gateway.

    python benchmarks/gateway.py RUN [RUN ...] [--rounds 9] [--json]

Each RUN is a run folder; its model is archived, and served by a TorchServe and a gateway of their
own. The two ways take turns, round by round, so that whatever else the machine does meets both.
Compared are, with one client, the median latency, and with eight, the rate; the CPU time of the
processes is theirs over the answers of a round. The load comes from this process, on the same
cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.load import Load, run_load
from benchmarks.photos import drawn_photos
from serving import state
from serving.gateway import Gateway
from serving.server import Server
from serving.settings import Ports, free_ports
from training.archive import archive

_ROUND_S = 2.0


@dataclass(frozen=True)
class Side:
    """One way to the model in one round.

    Attributes:
        cpu_ms: of an answer, by process: torchserve (Java and worker) and gateway.
    """

    p50_ms: float
    rate: float
    cpu_ms: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """Medians over the rounds; differences and ratios are taken within each round first."""

    model: str
    clients: int
    rounds: int
    direct: Side
    gateway: Side
    added_p50_ms: float
    added_p50_ms_range: tuple[float, float]
    rate_ratio: float
    rate_ratio_range: tuple[float, float]


def compare(run: Path, photos: Sequence[bytes], rounds: int) -> list[Comparison]:
    """Serve a run's model, and ask it both ways."""
    with _serving(run) as (model, server, gateway):
        processes = {
            "torchserve": _family(server.pid),
            "gateway": _family(gateway.pid),
        }
        token = state.read_token(server.folder, "inference")
        ways = {
            "direct": (f"{server.inference_url}/predictions/{model}", f"Bearer {token}"),
            "gateway": (f"{gateway.url}/api/classify", ""),
        }
        return [_compared(model, ways, processes, photos, c, rounds) for c in (1, 8)]


def _compared(
    model: str,
    ways: Mapping[str, tuple[str, str]],
    processes: Mapping[str, list[psutil.Process]],
    photos: Sequence[bytes],
    clients: int,
    rounds: int,
) -> Comparison:
    def ask(way: str, requests: int) -> tuple[Load, dict[str, float]]:
        url, token = ways[way]
        headers = {"Content-Type": "image/jpeg"} | ({"Authorization": token} if token else {})
        before = {name: _cpu_s(family) for name, family in processes.items()}
        load = asyncio.run(run_load(url, photos, clients, requests, headers))
        if set(load.statuses) != {200}:
            raise RuntimeError(f"{way}: answers {dict(load.statuses)}")
        return load, {
            name: 1000 * (_cpu_s(family) - before[name]) / requests
            for name, family in processes.items()
        }

    warm, _ = ask("direct", 50)
    ask("gateway", 50)
    requests = max(50, int(warm.rate * _ROUND_S))
    sides: dict[str, list[Side]] = {"direct": [], "gateway": []}
    for number in range(rounds):
        # Which comes first takes turns as well.
        for way in ("direct", "gateway") if number % 2 else ("gateway", "direct"):
            load, cpu_ms = ask(way, requests)
            sides[way].append(Side(1000 * load.percentile_s(50), load.rate, cpu_ms))
    pairs = list(zip(sides["direct"], sides["gateway"], strict=True))
    added = [through.p50_ms - direct.p50_ms for direct, through in pairs]
    ratios = [through.rate / direct.rate for direct, through in pairs]
    return Comparison(
        model,
        clients,
        rounds,
        _median(sides["direct"]),
        _median(sides["gateway"]),
        median(added),
        (min(added), max(added)),
        median(ratios),
        (min(ratios), max(ratios)),
    )


def _median(sides: Sequence[Side]) -> Side:
    return Side(
        median(side.p50_ms for side in sides),
        median(side.rate for side in sides),
        {name: median(side.cpu_ms[name] for side in sides) for name in sides[0].cpu_ms},
    )


@contextmanager
def _serving(run: Path) -> Iterator[tuple[str, Server, Gateway]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CATBREEDS_STATE"] = f"{folder}/state"
        os.environ |= {"CATBREEDS_WEB_RATE": "none", "CATBREEDS_WEB_READY_EVERY_S": "3600"}
        archive(run, "1.0", Path(folder))
        with (
            Server(Path(folder), ports=Ports.free()) as server,
            Gateway(
                server.inference_url, free_ports(1)[0], "plain", log=subprocess.DEVNULL
            ) as gateway,
        ):
            yield server.archives[0].model, server, gateway


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _shown(each: Comparison) -> str:
    added, ratios = each.added_p50_ms_range, each.rate_ratio_range
    return (
        f"| {each.model} | {each.clients} "
        f"| {each.direct.p50_ms:.2f} | {each.gateway.p50_ms:.2f} "
        f"| {each.added_p50_ms:+.2f} ({added[0]:+.2f} to {added[1]:+.2f}) "
        f"| {each.direct.rate:.0f} | {each.gateway.rate:.0f} "
        f"| {each.rate_ratio:.3f} ({ratios[0]:.3f} to {ratios[1]:.3f}) "
        f"| {each.direct.cpu_ms['torchserve']:.2f} | {each.gateway.cpu_ms['torchserve']:.2f} "
        f"| {each.gateway.cpu_ms['gateway']:.2f} |"
    )


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a finished run folder")
    parser.add_argument("--rounds", type=int, default=9, help="of each comparison")
    parser.add_argument("--json", action="store_true", help="print JSON for a script to read")
    options = parser.parse_args()
    photos = drawn_photos()
    results = [each for run in options.runs for each in compare(run, photos, options.rounds)]
    if options.json:
        print(json.dumps([asdict(each) for each in results], indent=2))
        return
    print(
        "| Model | Clients | p50 direct ms | p50 gateway ms | Added p50 ms "
        "| Direct /s | Gateway /s | Rate ratio "
        "| CPU ms TorchServe, direct | CPU ms TorchServe, gateway | CPU ms gateway |"
    )
    print("|---" * 11 + "|")
    for each in results:
        print(_shown(each))


if __name__ == "__main__":
    main()
