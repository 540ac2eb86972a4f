"""Archives of one model in several versions, and what is wrong with some."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch

from tests.archives import describe_as, pack, unpack
from tests.service import DEMO


def make_version(
    archive: Path,
    folder: Path,
    version: str,
    change: Callable[[Path], None] = lambda _: None,
    *,
    seal: bool = True,
) -> Path:
    """The archive again under another version number, after a change to its unpacked files.

    Args:
        seal: SHA256SUMS are made anew, as somebody would who knows how; else they tell.
    """
    content = unpack(archive, folder / f"content-{version}")
    describe_as(content, DEMO, version)
    edit_json(content / "model-card.json", version=version)
    change(content)
    return pack(content, folder / f"{DEMO}-{version}.mar", seal=seal)


def edit_json(path: Path, **changed: object) -> None:
    """Replace keys of a JSON object in a file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def other_classes(content: Path) -> None:
    """Another breed in place of one."""
    edit_json(content / "index_to_name.json", **{"3": "Dachshund"})


def less_accurate(content: Path) -> None:
    """A card that says so."""
    card = json.loads((content / "model-card.json").read_text())
    edit_json(content / "model-card.json", metrics=card["metrics"] | {"top1": 0.5})


def other_weights(content: Path) -> None:
    """Weights that do not give the golden logits."""
    path = content / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: -each for name, each in weights.items()}, path)


def other_code(content: Path) -> None:
    """One line more in what a worker runs."""
    code = content / "handlers" / "predictions.py"
    code.write_text(code.read_text() + "\nprint('hello')\n")


def fails_at(photos: int) -> Callable[[Path], None]:
    """A handler that loads well, answers so many batches, and then no more."""

    def change(content: Path) -> None:
        code = content / "model_service.py"
        code.write_text(
            code.read_text()
            + f"""
    def handle(self, data, context):
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches > {photos}:
            raise RuntimeError("broken")
        return super().handle(data, context)
"""
        )

    return change


def climbing(archive: Path, out: Path) -> Path:
    """A zip with an entry that leads out of the folder that it is unpacked to."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(out, "w") as copy:
        for info in source.infolist():
            copy.writestr(info, source.read(info))
        copy.writestr("../../escaped.txt", "here")
    return out
