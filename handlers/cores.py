"""How many workers a model gets, and how many threads each of them, where nothing else is said.

Each worker computes alone, so workers times threads is at most the number of cores: more threads
than cores make each other wait. One thread a worker answers the most photos a second, as no thread
waits for another within a layer; a worker costs memory, so there are only so many.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

# A further worker with R50x1 takes nearly 500 MB; beyond these, cores become threads.
MOST_WORKERS = 8

_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores that this process may keep busy, at least 1.

    The least of what the scheduler's mask and the container's CPU quota (cgroup v2 `cpu.max`, v1
    `cpu.cfs_quota_us`, https://docs.kernel.org/admin-guide/cgroup-v2.html) allow; `os.cpu_count()`
    looks at neither. A part of a core beyond a whole one is left to the server.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota()
    return max(1, min(cores, int(quota))) if quota else cores


def default_workers(cores: int | None = None) -> int:
    """Workers of a model whose model-config.yaml names no `minWorkers`."""
    cores = cores or available_cores()
    threads = math.ceil(cores / MOST_WORKERS)
    return cores // threads


def default_threads(workers: int | None, cores: int | None = None) -> int:
    """Threads of each of so many workers; `workers` None: as many as `default_workers` says."""
    cores = cores or available_cores()
    return max(1, cores // (workers or default_workers(cores)))


def _quota() -> float | None:
    """Cores by the container's quota; None without one."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            v1 = _CGROUP / "cpu"
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal() or not int(period):  # "max", or -1
        return None
    return int(quota) / int(period)
