"""The only calls into the code that is measured: run folders, archives, the engine.

`training` is imported by the functions that need it: the sides that import this module for its
engine load what a worker loads.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from handlers.bundle import load_bundle
from handlers.config import HandlerConfig
from handlers.cores import default_threads, default_workers
from handlers.engines import Machine, choose_engine, set_threads
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing

VERSION = "1.0"
_HEAD_SPREAD = 2.0
_DRAWN_PER_BREED = 4


@dataclass(frozen=True)
class Model:
    """A run's network as it was trained: unfolded, float32, evaluation mode.

    Attributes:
        temperature: our answers divide the logits by it; those of the other sides do not.
    """

    network: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    temperature: float


class Engine:
    """Our way from a photo's bytes to logits, without a server.

    Args:
        model_dir: an unpacked archive.
        threads: of one inference; 0: all cores that this process may use.
    """

    def __init__(self, model_dir: Path, threads: int) -> None:
        content = yaml.safe_load((model_dir / "model-config.yaml").read_text())
        config = HandlerConfig.from_dict(content["catbreeds"])
        machine = Machine(threads or default_threads(1), None, int(content.get("batchSize", 1)))
        set_threads(machine.threads)
        self._limits = config.limits
        self._bundle = load_bundle(model_dir)
        self._engine = choose_engine(self._bundle, config, machine)
        if self._engine.name != "torch":
            self._bundle.release_network()  # as a worker does
        self.classes = self._bundle.class_names
        self.temperature = self._bundle.temperature

    @property
    def described(self) -> str:
        """What computes, and in which precision: "openvino in int8"."""
        return f"{self._engine.name} in {self._engine.precision}"

    def tensor(self, photo: bytes) -> Tensor:
        """An encoded photo as the network's input, float32 (3, height, width)."""
        preprocessing = self._bundle.preprocessing
        return preprocessing(decode_image(photo, self._limits, preprocessing.decoded_side))

    def logits(self, batch: Tensor) -> Tensor:
        """Float32 (N, 3, height, width) -> float32 (N, classes)."""
        return self._engine.logits(batch)


def random_run(
    folder: Path, member: str = "R50x1", side: int = 128, seed: int = 0, data: Path | None = None
) -> Path:
    """A finished run with seeded random weights and a head that prefers some breeds to others.

    Args:
        member: of `training.models.bit.MEMBERS`.
        side: of the square input, px; the photo's short side is resized to it.
        data: photos that count as those of its training; see `drawn_data`.
    """
    from training.drawn_cats import CLASSES, golden_photos
    from training.models import bit
    from training.run_folder import Run, write_run

    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(side, side, "bilinear", half, half)
    photos = golden_photos()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = bit.build(len(CLASSES), **bit.MEMBERS[member]).eval()
        head = network.get_parameter("head.conv.weight")
        nn.init.normal_(head)
    limits = HandlerConfig().limits
    batch = torch.stack([preprocessing(decode_image(photo, limits)) for photo in photos])
    with torch.no_grad():
        # Without this the five best would be within rounding of each other, or one would be all.
        head.mul_(_HEAD_SPREAD / network(batch).std(1).mean())
    run = Run(
        name="cat-breeds",
        architecture_file="bit",
        architecture_options=bit.MEMBERS[member],
        preprocessing=preprocessing,
        classes=list(CLASSES),
        temperature=1.0,
        unsure_score="probability",
        unsure_threshold=0.0,
        data=_split_of(data) if data else {},
        metrics={},
        intended_use="Measuring how fast it is; its weights are random.",
        limitations=[],
        licence_notes=[],
    )
    write_run(folder, run, network, photos)
    return folder


def drawn_data(folder: Path) -> Path:
    """Drawn cats, for an archive that is to be allowed less than float32."""
    from training.drawn_cats import write_photos

    write_photos(folder, seed=3, per_breed=_DRAWN_PER_BREED)
    return folder


def _split_of(data: Path) -> dict[str, Any]:
    """What a run's card says of its photos, as training would have it."""
    from training.data.layouts import read_dataset
    from training.data.scan import scan
    from training.data.split import split

    shares = {"validation": 0.1, "test": 0.25, "seed": 42}
    dataset = read_dataset("cat-breeds", data)
    parts = split(dataset, scan(dataset), shares["validation"], shares["test"], 42)
    return {"layout": "cat-breeds", **shares, "split_hash": parts.hash}


def pack(run: Path, store: Path, settings: Mapping[str, Any], data: Path | None = None) -> Path:
    """Archive a run.

    Args:
        settings: keys of the `catbreeds:` section that are not to be the default's.
        data: photos of its training, by which less than float32 is allowed.

    Returns:
        The .mar.
    """
    from training.archive import DEFAULT_MODEL_CONFIG, archive

    config = yaml.safe_load(DEFAULT_MODEL_CONFIG.read_text())
    config["catbreeds"] = {**config["catbreeds"], **settings}
    store.mkdir(parents=True, exist_ok=True)
    path = store.parent / f"{store.name}-model-config.yaml"
    path.write_text(yaml.safe_dump(config))
    return archive(run, VERSION, store, path, data=data)


def unpack(mar: Path, folder: Path) -> Path:
    """Lay an archive out as a worker finds it."""
    with zipfile.ZipFile(mar) as archive:
        archive.extractall(folder)
    return folder


def folded(model_dir: Path) -> nn.Module:
    """An archive's float32 network as the engine gets it: plain convolutions."""
    return load_bundle(model_dir).model


def workers_and_threads(model_dir: Path) -> tuple[int, int]:
    """How many processes the archive is served by on this machine, and the threads of each."""
    config = yaml.safe_load((model_dir / "model-config.yaml").read_text())
    workers = int(config.get("minWorkers") or default_workers())
    threads = config.get("catbreeds", {}).get("threads", "auto")
    return workers, threads if type(threads) is int else default_threads(workers)


def load_run(folder: Path) -> Model:
    """A run's network as people would load it."""
    import safetensors.torch

    from training.run_folder import build_model, read_run

    run = read_run(folder)
    network = build_model(run)
    network.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
    return Model(network.eval(), run.preprocessing, tuple(run.classes), run.temperature)


def top(values: Sequence[float], names: Sequence[str], count: int = 5) -> list[tuple[str, float]]:
    """The best names with their values, best first."""
    return sorted(zip(names, values, strict=True), key=lambda each: -each[1])[:count]
