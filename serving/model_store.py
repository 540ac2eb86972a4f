"""The archives that a server is to serve."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from handlers.archive_format import ArchiveError, read_entry, verify_archive

# TorchServe's default for a model-config.yaml without the key.
_STARTUP_TIMEOUT_S = 120


class ServeError(Exception):
    """The server cannot start, or has ended by itself; the message is one clear line."""


@dataclass(frozen=True)
class Archive:
    """A verified .mar of the model store."""

    path: Path
    model: str
    version: str
    startup_timeout_s: float


def verified_archives(model_store: Path) -> list[Archive]:
    """Every .mar of the folder, checked, versions of a model in rising order.

    Raises:
        ServeError: no such folder, no archive in it, or a damaged one.
    """
    paths = sorted(model_store.glob("*.mar"))
    if not paths:
        raise ServeError(
            f"{model_store}: holds no .mar; `make serve` makes a demo, `catbreeds archive` your own"
        )
    archives = []
    for path in paths:
        try:
            verify_archive(path)
            model = json.loads(read_entry(path, "MAR-INF/MANIFEST.json"))["model"]
            config = yaml.safe_load(read_entry(path, "model-config.yaml"))
            archive = Archive(
                path,
                model["modelName"],
                model["modelVersion"],
                float(config.get("startupTimeout", _STARTUP_TIMEOUT_S)),
            )
            version_key(archive.version)
        except (ArchiveError, OSError) as error:
            raise ServeError(f"broken archive: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise ServeError(
                f"broken archive: {path}: not one of `catbreeds archive`: {error!r}"
            ) from error
        archives.append(archive)
    return sorted(archives, key=lambda archive: (archive.model, version_key(archive.version)))


def version_key(version: str) -> tuple[int, ...]:
    """Order of versions as numbers: 1.10 comes after 1.9."""
    return tuple(int(part) for part in version.split("."))
