"""Archives that are not as `catbreeds archive` made them, and their way into a running server."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import yaml

from handlers.archive_format import write_archive
from tests.service import Service
from training.archive import DEFAULT_MODEL_CONFIG


def one_worker(folder: Path, **changes: int) -> Path:
    """The default model-config.yaml, but for one worker whatever cores there are: a worker takes
    seconds to start, and with one it is known who answers."""
    config = yaml.safe_load(DEFAULT_MODEL_CONFIG.read_text())
    assert config.keys().isdisjoint({"minWorkers", "maxWorkers"})
    path = folder / "one-worker.yaml"
    path.write_text(yaml.safe_dump({**config, "minWorkers": 1, "maxWorkers": 1, **changes}))
    return path


def unpack(archive: Path, folder: Path) -> Path:
    """The archive's entries as files."""
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


def describe_as(folder: Path, name: str, version: str, **manifest: str) -> None:
    """Give an unpacked archive another name, version and manifest entries."""
    path = folder / "MAR-INF" / "MANIFEST.json"
    described = json.loads(path.read_text())
    described["model"] |= {"modelName": name, "modelVersion": version} | manifest
    path.write_text(json.dumps(described))


def pack(folder: Path, out: Path, *, seal: bool) -> Path:
    """Zip a folder with right CRCs; `seal`: SHA256SUMS are made anew as well."""
    if seal:
        write_archive(folder, out)
        return out
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return out


def register(service: Service, archive: Path, initial_workers: int | None = 1) -> requests.Response:
    """Register an archive that lies in the server's model store, and wait for its workers."""
    query = {"url": archive.name, "synchronous": "true"}
    if initial_workers is not None:
        query["initial_workers"] = str(initial_workers)
    return service.manage("POST", "/models", query)


@contextmanager
def registered(
    service: Service,
    archive: Path,
    name: str,
    version: str,
    initial_workers: int | None = 1,
) -> Iterator[None]:
    """An archive of the model store, served for a while and then removed."""
    try:
        answer = register(service, archive, initial_workers)
        assert answer.status_code == 200, answer.text
        yield
    finally:
        service.manage("DELETE", f"/models/{name}/{version}")
        archive.unlink()
