"""What each image installs: parts of requirements.txt and requirements-dev.txt, hashes included.

    python docker/locks.py FOLDER

writes one file a part there; the Dockerfile does so. The locks say of every package which others
need it ("via"); a part is what is reached from its roots. PyTorch and what nothing else needs are a
part of their own, as an image may bring them from another place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What `catbreeds web` imports.
_WEB = (
    *("aiohttp", "cryptography", "fastapi", "fastapi-offline", "httptools", "httpx", "jinja2"),
    *("limits", "numpy", "pillow", "pillow-heif", "prometheus-client", "psutil", "pydantic"),
    *("pydantic-settings", "python-multipart", "pyyaml", "requests", "rich"),
    *("typer", "uvicorn", "uvloop"),
)
_TORCH = ("torch", "torchvision")
_SBOM = ("cyclonedx-bom",)

_PACKAGE = re.compile(r"^([a-z0-9._-]+)==[^ ]+")


@dataclass(frozen=True)
class Pinned:
    """One package of a lock: its lines, and the packages that need it."""

    text: str
    needed_by: frozenset[str]


def read_lock(content: str) -> dict[str, Pinned]:
    """The packages of a file that pip-compile wrote, by name.

    Raises:
        ValueError: a package of which it is not said what needs it.
    """
    packages = {}
    for text in re.split(r"\n(?=[a-z0-9])", content):
        if match := _PACKAGE.match(text):
            lines = [line for line in text.splitlines() if line.startswith("    ")]
            kept = "\n".join([text.splitlines()[0], *lines])
            needed_by = frozenset(_needed_by(lines))
            if not needed_by:
                raise ValueError(f"{match[1]}: what needs it?")
            packages[match[1]] = Pinned(kept, needed_by)
    return packages


def _needed_by(lines: Iterable[str]) -> Iterable[str]:
    """From `# via NAME`, or `# via` with a line for each name."""
    for line in lines:
        comment = line.strip()
        if comment.startswith("#"):
            yield from comment.removeprefix("#").strip().removeprefix("via").split()[:1]


def reached_from(packages: dict[str, Pinned], roots: Iterable[str]) -> set[str]:
    """The roots, and all that they need.

    Raises:
        ValueError: a root that is not there.
    """
    reached = set(roots)
    if missing := reached - packages.keys():
        raise ValueError(f"not in the lock: {sorted(missing)}")
    return _grown(packages, reached, lambda needed_by: bool(needed_by & reached))


def needed_only_by(packages: dict[str, Pinned], roots: Iterable[str]) -> set[str]:
    """The roots, and what would not be there without them."""
    gone = set(roots)
    return _grown(packages, gone, lambda needed_by: needed_by <= gone)


def _grown(
    packages: dict[str, Pinned], names: set[str], joins: Callable[[frozenset[str]], bool]
) -> set[str]:
    while more := {
        name for name, each in packages.items() if name not in names and joins(each.needed_by)
    }:
        names |= more
    return names


def parts() -> dict[str, str]:
    """File name -> its content."""
    runtime = read_lock((ROOT / "requirements.txt").read_text())
    develop = read_lock((ROOT / "requirements-dev.txt").read_text())
    torch = needed_only_by(runtime, _TORCH)
    return {
        "torchserve.txt": _part(runtime, runtime.keys() - torch),
        "torch.txt": _part(runtime, torch),
        "web.txt": _part(runtime, reached_from(runtime, _WEB)),
        "sbom.txt": _part(develop, reached_from(develop, _SBOM)),
    }


def _part(packages: dict[str, Pinned], names: Iterable[str]) -> str:
    return "".join(f"{packages[name].text}\n" for name in sorted(names))


def main(folder: Path) -> None:
    """Write the files."""
    folder.mkdir(exist_ok=True)
    for name, content in parts().items():
        (folder / name).write_text(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
