"""Published weights to start from: fetched once, checked, and kept in a cache folder.

Nobody publishes a checksum of the BiT files. They are compared with what Google Cloud Storage says
(MD5) and with the checksums that the archive itself has; then their SHA-256 is written beside them,
and later uses compare with that.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import Progress, TaskID

from handlers.checksums import ChecksumError, format_sums, parse_sums, sha256_of
from training.cache_folder import cache_folder
from training.download import DownloadError, discard, download
from training.models import ArchitectureName
from training.progress import download_bar

_BIT = "https://storage.googleapis.com/bit_models"
_TORCHVISION = "https://download.pytorch.org/models"
_PAUSES_S = (1.0, 2.0, 4.0)
_MIRROR = "CATBREEDS_WEIGHTS_MIRROR"


class WeightsError(Exception):
    """The weights are not there or not those asked for; one line says what to do."""


@dataclass(frozen=True)
class PublishedWeights:
    """A file that a training run may start from.

    Attributes:
        name: of the file, as its publisher and the cache folder have it.
        url: its address.
        sha256: the hexadecimal digits that its SHA-256 begins with; None: not published.
        architecture: the only one that it loads into; each of `WEIGHTS` names it.
    """

    name: str
    url: str
    sha256: str | None = None
    architecture: ArchitectureName | None = None


def _bit(member: str) -> PublishedWeights:
    name = f"BiT-M-{member}.npz"
    return PublishedWeights(name, f"{_BIT}/{name}", architecture="bit")


def _torchvision(name: str, architecture: ArchitectureName) -> PublishedWeights:
    # torchvision's names end with the first digits of the SHA-256, and torch.hub checks them.
    sha256 = Path(name).stem.rpartition("-")[2]
    return PublishedWeights(name, f"{_TORCHVISION}/{name}", sha256, architecture)


WEIGHTS: Mapping[str, PublishedWeights] = {
    each.name: each
    for each in (
        *map(_bit, ("R50x1", "R50x3", "R101x1", "R101x3", "R152x2", "R152x4")),
        _torchvision("resnet34-b627a593.pth", "resnet"),
        _torchvision("vgg16-397923af.pth", "vgg"),
        _torchvision("inception_v3_google-0cc3c7bd.pth", "inception"),
        _torchvision("mobilenet_v2-7ebf99e0.pth", "mobilenet"),
    )
}


def fetch(name: str, folder: Path | None = None) -> Path:
    """The file of that name, downloaded where it is not in the folder yet.

    Where the environment has CATBREEDS_WEIGHTS_MIRROR, it comes from the folder at that address,
    in place of its publisher, and is checked alike.

    Args:
        name: a key of `WEIGHTS`.
        folder: made if missing; None: `weights_folder()`.

    Raises:
        WeightsError: no such weights, no network, or not the file that was published.
    """
    if name not in WEIGHTS:
        raise WeightsError(f"weights {name!r}: must be one of {', '.join(WEIGHTS)}")
    published = WEIGHTS[name]
    if mirror := os.environ.get(_MIRROR):
        published = dataclasses.replace(published, url=f"{_folder_at(mirror)}/{name}")
    return fetch_published(published, weights_folder() if folder is None else folder)


def weights_folder() -> Path:
    """The user's cache folder of weights.

    Raises:
        WeightsError: the user has none.
    """
    if (folder := cache_folder("weights")) is None:
        raise WeightsError(
            "there is no home folder to keep weights in; set XDG_CACHE_HOME to a folder, or name a "
            "file with --weights PATH"
        )
    return folder


def _folder_at(mirror: str) -> str:
    """The address without a slash at its end."""
    try:
        address = urlsplit(mirror)
        usable = address.scheme in ("http", "https") and address.hostname
    except ValueError:
        usable = False
    if not usable or address.query or address.fragment:
        raise WeightsError(
            f"{_MIRROR}={ascii(mirror)[1:-1]}: must be the address of a folder, such as "
            "https://files.example/weights"
        )
    return mirror.rstrip("/")


def fetch_published(
    published: PublishedWeights, folder: Path, pauses: Sequence[float] = _PAUSES_S
) -> Path:
    """See `fetch`; two processes that want the same file download it once.

    Args:
        pauses: seconds before each further attempt where the network fails.
    """
    path = folder / published.name
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with download_bar() as bar:
                task = bar.add_task(published.name, total=None)
                with _alone(path, bar, task):
                    if not path.exists():
                        _download(published, path, pauses, bar, task)
        except OSError as error:
            # A full disk, most often.
            raise WeightsError(
                f"{path}: cannot be written: {error.strerror or error}; what has arrived is kept, "
                "and the next call goes on from there"
            ) from error
    _check_kept(published, path)
    return path


@contextmanager
def _alone(path: Path, bar: Progress, task: TaskID) -> Iterator[None]:
    """Wait while another process downloads the same file; the lock of a dead one is freed."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        bar.update(task, note="waiting for another process that downloads it")
        fcntl.flock(lock, fcntl.LOCK_EX)
        bar.update(task, note="")
        yield


def _download(
    published: PublishedWeights, path: Path, pauses: Sequence[float], bar: Progress, task: TaskID
) -> None:
    partial = path.with_name(f"{path.name}.partial")

    def report(done: int, total: int | None) -> None:
        bar.update(task, completed=done, total=total)

    try:
        md5 = download(published.url, partial, pauses, report)
    except DownloadError as error:
        raise WeightsError(f"{error}{_ways_out(path, partial)}") from error
    problem = _difference(published, partial, md5)
    if problem:
        discard(partial)
        raise WeightsError(f"{published.url}: {problem}; what came was deleted{_ways_out(path)}")
    partial.replace(path)
    discard(partial)


def _ways_out(path: Path, partial: Path | None = None) -> str:
    arrived = partial.stat().st_size if partial is not None and partial.exists() else 0
    kept = f"; {arrived} bytes are in {partial}, and the next call goes on from there"
    other = f"; you can put {path.name} into {path.parent}, or name it with --weights PATH"
    return (kept if arrived else "") + other


def _difference(published: PublishedWeights, path: Path, md5: bytes | None) -> str:
    """What is wrong with a file that has just come; empty: nothing."""
    if published.sha256 is not None:
        return _wrong_sha256(sha256_of(path), published.sha256)
    if md5 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
        if found != md5:
            return f"its MD5 is {found.hex()}, the server's is {md5.hex()}"
    return _damaged_archive(path)


def _check_kept(published: PublishedWeights, path: Path) -> None:
    """Compare a file of the folder with what is published, or with what it was the first time."""
    record = path.with_name(f"{path.name}.sha256")
    problem = ""
    try:
        digest = sha256_of(path)
        if published.sha256 is not None:
            problem = _wrong_sha256(digest, published.sha256)
        elif record.exists():
            expected = parse_sums(record.read_text(encoding="utf-8")).get(path.name, "")
            if digest != expected:
                problem = f"its SHA-256 is {digest}, {record.name} has {expected or 'none for it'}"
        else:
            problem = _damaged_archive(path)
            if not problem:
                with suppress(OSError):  # a folder that others look after
                    record.write_text(format_sums({path.name: digest}), encoding="utf-8")
    except (OSError, UnicodeDecodeError, ChecksumError) as error:
        problem = f"cannot be checked: {error}"
    if problem:
        raise WeightsError(
            f"{path}: {problem}; remove it (and {record.name}, where there is one) to have it "
            "downloaded again"
        )


def _wrong_sha256(digest: str, beginning: str) -> str:
    if digest.startswith(beginning):
        return ""
    return f"its SHA-256 is {digest}, and should begin with {beginning}"


def _damaged_archive(path: Path) -> str:
    """What is wrong with an .npz by the checksum (CRC-32) that it has of each of its arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        # Damaged archives answer with nearly any exception.
        return f"not a whole .npz archive: {error}"
    return f"{damaged} in it is damaged" if damaged else ""
