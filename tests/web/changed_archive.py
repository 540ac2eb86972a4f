"""The demo's archive once more, under another name and with something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.archives import describe_as, pack, registered, unpack
from tests.service import DEMO, Service
from tests.serving.rollout.versions import edit_json

VERSION = "1.0"


@contextmanager
def served_as(
    name: str, service: Service, store: Path, scratch: Path, change: Callable[[Path], None]
) -> Iterator[None]:
    """Serve it for a while.

    Args:
        store: the server's, with the demo's archive.
        scratch: an empty folder.
        change: what is done to the unpacked archive.
    """
    folder = unpack(store / f"{DEMO}-0.1.mar", scratch / "content")
    describe_as(folder, name, VERSION)
    edit_json(folder / "model-card.json", name=name, version=VERSION)
    change(folder)
    archive = pack(folder, store / f"{name}-{VERSION}.mar", seal=True)
    with registered(service, archive, name, VERSION):
        yield
