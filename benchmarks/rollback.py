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
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import aiohttp

from serving.gateway import Gateway
from serving.server import Server
from serving.settings import Ports, free_ports
from training.archive import archive
from training.drawn_cats import write_photos

_PHOTOS = 67
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Round:
    """Seconds since the command was started."""

    last_bad_answer_s: float
    command_s: float
    requests: int


class Load:
    """Clients that ask again as soon as they are answered; notes who answered when."""

    def __init__(self, url: str, photos: Sequence[bytes], clients: int) -> None:
        self._url, self._photos, self._clients = url, photos, clients
        self._stop = threading.Event()
        self.answers: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._client(session, n) for n in range(self._clients)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        while not self._stop.is_set():
            photo = self._photos[(number + len(self.answers)) % len(self._photos)]
            async with session.post(self._url, data=photo) as response:
                answer = await response.json()
            self.answers.append((time.monotonic(), answer.get("version", str(response.status))))


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
        ):
            load = Load(f"{gateway.url}/api/classify", photos, clients)
            try:
                return [_round(server.inference_url, new, load) for _ in range(rounds)]
            finally:
                load.stop()


def _round(url: str, new: Path, load: Load) -> Round:
    _catbreeds("deploy", str(new), "--watch", "1", "--url", url)
    time.sleep(_SETTLE_S)
    began, before = time.monotonic(), len(load.answers)
    _catbreeds("rollback", "--url", url)
    ended = time.monotonic()
    time.sleep(_SETTLE_S)
    since = load.answers[before:]
    strange = {version for _, version in since} - {"1.0", "1.1"}
    if strange or since[-1][1] != "1.0":
        raise RuntimeError(f"answers: {strange}, the last from {since[-1][1]}")
    last_bad = max((moment for moment, version in since if version == "1.1"), default=began)
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
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "data", seed=11, per_breed=1)
        files = sorted(Path(folder).rglob("*.jpg"))[:_PHOTOS]
        photos = [file.read_bytes() for file in files]
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
