"""A tiny model in the layout of an unpacked archive, and TorchServe's own context around it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

import handlers
from handlers.checksums import SUMS_FILE, format_sums
from handlers.config import Limits
from handlers.images import decode_image
from handlers.preprocessing import Preprocessing
from handlers.service import ImageClassifier

HANDLERS = Path(handlers.__file__).parent
CLASSES = ("Abyssinian", "Bengal", "Domestic Short Hair", "Maine Coon", "Sphynx", "Türkisch Van")
TEMPERATURE = 1.5
PREPROCESSING = Preprocessing(
    resize=36, crop=32, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)

# Small, but with all that the contract asks for: options, a fold, a GAP-linear head.
ARCHITECTURE = """
import copy
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 5, stride=4, padding=2)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))

def build(num_classes, *, channels):
    return Tiny(num_classes, channels)

def fold(model):
    return copy.deepcopy(model).eval()

def explained_layer(model):
    return model.act

def explained_cells(model):
    return 0.0, 4.0
"""


def sha256_sums(model_dir: Path) -> dict[str, str]:
    """Digest of every file but SHA256SUMS."""
    return {
        path.relative_to(model_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(model_dir.rglob("*"))
        if path.is_file() and path.name != SUMS_FILE and "__pycache__" not in path.parts
    }


def seal(model_dir: Path) -> None:
    """Write SHA256SUMS anew, after a test has changed a file on purpose."""
    (model_dir / SUMS_FILE).write_text(format_sums(sha256_sums(model_dir)))


def write_model_dir(model_dir: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Write an unpacked archive; `settings` is the `catbreeds:` section of model-config.yaml."""
    (model_dir / "golden").mkdir(parents=True)
    (model_dir / "MAR-INF").mkdir()
    shutil.copytree(HANDLERS, model_dir / "handlers", ignore=shutil.ignore_patterns("__pycache__"))
    (model_dir / "architecture.py").write_text(ARCHITECTURE)
    (model_dir / "model_service.py").write_text(
        "from handlers.service import ImageClassifier\n\n\n"
        "class ModelService(ImageClassifier):\n    pass\n"
    )
    (model_dir / "index_to_name.json").write_text(json.dumps(dict(enumerate(CLASSES))))
    (model_dir / "model-config.yaml").write_text(yaml.safe_dump({"catbreeds": settings or {}}))
    (model_dir / "model-card.json").write_text(json.dumps(model_card()))
    manifest = {
        "model": {"modelName": "tiny", "configFile": "model-config.yaml"},
        "modelServerVersion": "1.0",
    }
    (model_dir / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    namespace: dict[str, Any] = {}
    exec(ARCHITECTURE, namespace)  # noqa: S102
    torch.manual_seed(0)
    model = namespace["build"](len(CLASSES), channels=8).eval()
    with torch.no_grad():
        model.head.weight.mul_(8)  # far from uniform answers
    safetensors.torch.save_file(model.state_dict(), model_dir / "weights.safetensors")
    inputs = []
    for number in range(3):
        photo = encode(photo_image((60, 48), seed=number), "PNG")
        (model_dir / "golden" / f"{number:02d}.png").write_bytes(photo)
        inputs.append(PREPROCESSING(decode_image(photo, Limits())))
    with torch.no_grad():
        logits = model(torch.stack(inputs))
    safetensors.torch.save_file({"logits": logits}, model_dir / "golden" / "logits.safetensors")
    seal(model_dir)
    return model_dir


def model_card() -> dict[str, Any]:
    """The tiny model's card."""
    return {
        "name": "tiny",
        "version": "1.2",
        "classes": len(CLASSES),
        "architecture": {"file": "tiny.py", "options": {"channels": 8}},
        "preprocessing": PREPROCESSING.to_dict(),
        "temperature": TEMPERATURE,
        "unsure_score": "probability",
        "unsure_threshold": 0.3,
        "intended_use": "Tests.",
        "limitations": ["Knows nothing."],
    }


def photo_image(size: tuple[int, int] = (48, 40), seed: int = 0) -> Image.Image:
    """Smooth random colours: they survive JPEG, and every corner differs."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(0, 256, (4, 5, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(small.numpy()).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: ANN401
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def sealed_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked archive with default settings that no test may change."""
    return write_model_dir(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def model_dir(tmp_path: Path, sealed_model_dir: Path) -> Path:
    """A copy of the archive's folder for one test to change."""
    return Path(shutil.copytree(sealed_model_dir, tmp_path / "tiny"))


def load_metrics_cache(path: Path) -> MetricsCacheYamlImpl:
    """What a TorchServe worker makes of its metrics_config."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file open
        cache = MetricsCacheYamlImpl(str(path))
    cache.initialize_cache()
    return cache


@pytest.fixture
def metrics_cache() -> Callable[[Path], MetricsCacheYamlImpl]:
    """Loads a metrics_config."""
    return load_metrics_cache


class Worker:
    """A service in TorchServe's own context, with TorchServe's own metrics cache."""

    def __init__(self, model_dir: Path, batch_size: int = 8) -> None:
        cache = load_metrics_cache(HANDLERS / "metrics.yaml")
        cache.model_name = "tiny"
        config = yaml.safe_load((model_dir / "model-config.yaml").read_text())
        manifest = {"model": {"modelName": "tiny", "modelVersion": "1.0"}}
        self.context = Context(
            "tiny", str(model_dir), manifest, batch_size, None, "0.12.0", True, cache, config
        )
        self.service = ImageClassifier()
        self.service.initialize(self.context)

    def handle(
        self,
        batch: Sequence[Mapping[str, Any]],
        headers: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[tuple[int, Any]]:
        """(status, parsed body) of each request."""
        headers = headers or [{} for _ in batch]
        self.context.request_processor = [RequestProcessor(dict(entry)) for entry in headers]
        self.context.request_ids = {index: str(uuid.uuid4()) for index in range(len(batch))}
        bodies = self.service.handle(batch, self.context)
        assert len(bodies) == len(batch)
        answers = []
        for index, body in enumerate(bodies):
            status, phrase = self.context.get_response_status(index)
            assert phrase
            answers.append((status, json.loads(body)))
        return answers

    def ask(self, fields: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """(status, parsed body) of one request."""
        return self.handle([fields], [headers or {}])[0]


@pytest.fixture(scope="session")
def worker(sealed_model_dir: Path) -> Worker:
    """A loaded worker with default settings."""
    return Worker(sealed_model_dir)


@pytest.fixture
def start(model_dir: Path) -> Callable[..., Worker]:
    """Starts a worker on the test's own archive, with other settings where they are given."""

    def start(settings: Mapping[str, Any] | None = None, batch_size: int = 8) -> Worker:
        if settings is not None:
            config = yaml.safe_dump({"catbreeds": dict(settings)})
            (model_dir / "model-config.yaml").write_text(config)
        seal(model_dir)
        return Worker(model_dir, batch_size)

    return start


@pytest.fixture
def photo() -> bytes:
    """A small PNG."""
    return encode(photo_image(), "PNG")
