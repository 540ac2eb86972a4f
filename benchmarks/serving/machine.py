"""What a figure depends on besides the code: the machine and the versions."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

# Instruction sets that convolutions and decoders have kernels for.
_FLAGS = (
    "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8",
)  # fmt: skip
_PACKAGES = (
    "torch", "torchvision", "openvino", "torchserve", "pillow", "captum", "fastapi", "flask",
    "litserve", "locust", "uvicorn",
)  # fmt: skip


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def host() -> str:
    """A short name for file names."""
    return socket.gethostname().split(".")[0] or "host"


def machine() -> dict[str, Any]:
    """For the report; `load_average` tells whether somebody else was at work."""
    from training.run_folder import git_sha

    model, flags = _cpu()
    return {
        "cpu": model,
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "host": host(),
        "load_average": round(os.getloadavg()[0], 2),
        "git": git_sha(),
        "versions": {"python": platform.python_version(), **_versions(), "wrk": _wrk()},
    }


def _cpu() -> tuple[str, set[str]]:
    model, flags = platform.machine(), set[str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
            break
    return model, flags


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _wrk() -> str:
    program = shutil.which("wrk")
    if program is None:
        return "none"
    # It says its version and how to use it, and fails.
    said = subprocess.run((program, "-v"), capture_output=True, text=True, check=False)
    words = (said.stdout + said.stderr).split()
    return words[1] if len(words) > 1 else "unknown"
