"""TorchServe with its stock image_classifier handler, as its documentation has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.serving import USER_ENVIRONMENT
from benchmarks.serving.errors import BenchError
from benchmarks.serving.project import load_run
from benchmarks.serving.sides import published
from benchmarks.serving.sides.side import Answer, HttpSide, Setup, Target, read_labels
from serving.settings import Ports
from serving.torchserve import TorchServe

_MODEL = "stock"
# The stock handler does nothing more than this to be told of another preprocessing.
_HANDLER = """from torchvision import transforms
from torchvision.transforms import InterpolationMode
from ts.torch_handler.image_classifier import ImageClassifier


class StockClassifier(ImageClassifier):
    image_processing = transforms.Compose([
        transforms.Resize({resize!r}, InterpolationMode({interpolation!r})),
        {crop}transforms.ToTensor(),
        transforms.Normalize({mean!r}, {std!r}),
    ])
"""
# TorchServe wants a file with one class in it, which takes no arguments.
_NETWORK = """import architecture
import published
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = published.as_published(architecture.build({classes}, **{options!r}))

    def forward(self, batch):
        return self.network(batch)
"""


class StockSide(HttpSide):
    """One worker a core, no batching, the eager network with its state dict: the defaults."""

    name = "torchserve-stock"
    what = (
        "TorchServe 0.12, stock image_classifier handler, eager model file and state dict, default "
        "workers (one a core) and configuration. Changed: the run's preprocessing; loopback, free "
        "ports, a temp folder of its own; no tokens; a log as quiet as ours; Java started directly"
    )
    read: Callable[[bytes], Answer] = staticmethod(read_labels)

    def __init__(self) -> None:
        self._server: TorchServe | None = None
        self._ports: Ports | None = None

    @property
    def pids(self) -> list[int]:
        """See `Side.pids`."""
        return [self._server.pid] if self._server else []

    def target(self) -> Target:
        """See `HttpSide.target`."""
        port = self._ports.inference if self._ports else 0
        return Target("127.0.0.1", port, f"/predictions/{_MODEL}")

    def start(self, setup: Setup) -> None:
        """See `Side.start`."""
        folder = setup.folder / self.name
        store = _archive(setup, folder)
        ports = self._ports = Ports.free()
        began = time.monotonic()
        server = self._server = TorchServe(
            {
                "inference_address": f"http://127.0.0.1:{ports.inference}",
                "management_address": f"http://127.0.0.1:{ports.management}",
                "metrics_address": f"http://127.0.0.1:{ports.metrics}",
                "grpc_inference_port": str(ports.grpc_inference),
                "grpc_management_port": str(ports.grpc_management),
                "disable_token_authorization": "true",
                "model_store": str(store),
                "load_models": f"{_MODEL}.mar",
            },
            folder,
        )
        setup.guard.watch(server.pid)
        self._guard = setup.guard

        def check_alive() -> None:
            if (code := server.exit_code()) is not None:
                raise BenchError(f"{self.name}: TorchServe ended with exit code {code}")

        self.wait_until_ready(setup.photo, check_alive, began)

    def stop(self) -> None:
        """See `Side.stop`."""
        if self._server is not None:
            self.resume()
            self._server.stop()
            self._guard.forget(self._server.pid)
            self._server = None


def _archive(setup: Setup, folder: Path) -> Path:
    """Make the .mar with torch-model-archiver; the folder that it lies in."""
    store = folder / "store"
    for new in (store, folder / "tmp"):
        new.mkdir(parents=True)
    model = load_run(setup.run)
    card = json.loads((setup.model_dir / "model-card.json").read_text())
    shutil.copyfile(setup.model_dir / "architecture.py", folder / "architecture.py")
    shutil.copyfile(setup.model_dir / "index_to_name.json", folder / "index_to_name.json")
    shutil.copyfile(published.__file__, folder / "published.py")
    options, classes = card["architecture"]["options"], len(model.classes)
    (folder / "network.py").write_text(_NETWORK.format(classes=classes, options=options))
    preprocessing = model.preprocessing
    crop = f"transforms.CenterCrop({preprocessing.crop}),\n        " if preprocessing.crop else ""
    (folder / "stock_handler.py").write_text(
        _HANDLER.format(
            resize=preprocessing.resize,
            interpolation=preprocessing.interpolation,
            crop=crop,
            mean=preprocessing.mean,
            std=preprocessing.std,
        )
    )
    state = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    torch.save(state, folder / "state.pt")
    archiver = subprocess.run(
        (
            str(Path(sys.executable).with_name("torch-model-archiver")),
            *("--model-name", _MODEL, "--version", "1.0", "--export-path", str(store)),
            *("--serialized-file", "state.pt", "--model-file", "network.py"),
            *("--handler", "stock_handler.py"),
            *("--extra-files", "architecture.py,published.py,index_to_name.json"),
        ),
        cwd=folder,
        # It deletes $TMPDIR/<model name> before it works.
        env=USER_ENVIRONMENT | {"TMPDIR": str(folder / "tmp"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if archiver.returncode != 0:
        raise BenchError(f"torchserve-stock: torch-model-archiver: {archiver.stderr[-500:]}")
    return store
