"""Run by `processes.Guard`: reads +PID and -PID; ends these where its input ends without `done`."""

from __future__ import annotations

import sys
from contextlib import suppress

import psutil


def main() -> None:
    """Wait for the end of standard input."""
    watched: set[int] = set()
    for line in map(str.strip, sys.stdin):
        if line == "done":
            return
        (watched.add if line[0] == "+" else watched.discard)(int(line[1:]))
    for pid in watched:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            # SIGKILL also ends what is suspended.
            for each in (*process.children(recursive=True), process):
                with suppress(psutil.NoSuchProcess):
                    each.kill()


if __name__ == "__main__":
    main()
