"""How long a bad version still answers after somebody types `catbreeds rollback`.

    python -m benchmarks.rollback RUN [--rounds 10] [--clients 4] [--json]

The run's model is archived as versions 1.0 and 1.1 and served by a TorchServe and a gateway of
their own, on loopback, under a closed-loop load through the gateway. In each round 1.1 is deployed
and rolled back; 1.0 is still loaded then. Measured are, from the start of the process that the
command is: when the last answer of 1.1 came in at a client, and when the command ended (which also
waits for 1.1's workers to finish and to stop).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.photos import drawn_photos
from benchmarks.steady_load import SteadyLoad
from serving.gateway import Gateway
from serving.server import Server
from serving.settings import Ports, free_ports
from training.archive import archive

_SETTLE_S = 1.0


@dataclass(frozen=True)
class Round:
    """Seconds since the command was started."""

    last_bad_answer_s: float
    command_s: float
    requests: int


def measure(run: Path, photos: Sequence[bytes], rounds: int, clients: int) -> list[Round]:
    """Deploy and roll back so many times under load."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CATBREEDS_STATE"] = f"{folder}/state"
        os.environ["CATBREEDS_WEB_RATE"] = "none"
        store = Path(folder) / "store"
        archive(run, "1.0", store)
        new = archive(run, "1.1", Path(folder) / "new")
        with (
            Server(store, ports=Ports.free()) as server,
            Gateway(
                server.inference_url, free_ports(1)[0], "plain", log=subprocess.DEVNULL
            ) as gateway,
            SteadyLoad(f"{gateway.url}/api/classify", photos, clients) as load,
        ):
            return [_round(server.inference_url, new, load) for _ in range(rounds)]


def _round(url: str, new: Path, load: SteadyLoad) -> Round:
    _catbreeds("deploy", str(new), "--watch", "1", "--url", url)
    time.sleep(_SETTLE_S)
    began, before = time.monotonic(), len(load.answers)
    _catbreeds("rollback", "--url", url)
    ended = time.monotonic()
    time.sleep(_SETTLE_S)
    since = load.answers[before:]
    strange = [each for each in since if each.version not in ("1.0", "1.1")]
    if strange or since[-1].version != "1.0":
        raise RuntimeError(f"answers: {strange}, the last from {since[-1].version}")
    last_bad = max((each.answered for each in since if each.version == "1.1"), default=began)
    return Round(last_bad - began, ended - began, len(since))


def _catbreeds(*command: str) -> None:
    catbreeds = Path(sys.executable).with_name("catbreeds")
    subprocess.run((str(catbreeds), *command), check=True, capture_output=True)


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a finished run folder")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print JSON for a script to read")
    options = parser.parse_args()
    photos = drawn_photos()
    results = measure(options.run, photos, options.rounds, options.clients)
    if options.json:
        print(json.dumps([asdict(each) for each in results], indent=2))
        return
    print("| | median | least | most |\n|---|---|---|---|")
    for name, values in (
        ("last answer of the bad version, s", [each.last_bad_answer_s for each in results]),
        ("command, s", [each.command_s for each in results]),
        ("requests meanwhile", [float(each.requests) for each in results]),
    ):
        print(f"| {name} | {median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()
