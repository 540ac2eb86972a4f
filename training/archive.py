"""Pack a run into a self-contained, reproducible .mar.

MAR-INF/MANIFEST.json   TorchServe's own manifest, written by torch-model-archiver
model_service.py        the entry point that TorchServe loads
handlers/               the code that answers requests, as it stands in this checkout
architecture.py         the network's definition
weights.safetensors     parameters; loading them runs no code
index_to_name.json, model-config.yaml, model-card.json
openvino/               the network's graph for OpenVINO, without its weights
golden/                 photos and their float32 logits, checked whenever a worker loads
SHA256SUMS              of every other entry
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors
import safetensors.torch
import torch
import yaml
from torch import nn

import handlers
from handlers.archive_format import verify_archive, write_archive
from handlers.config import ConfigError, HandlerConfig, Limits, Precision
from handlers.images import decode_image
from training.conversion import convert, write_graph
from training.data.dataset import check_outside
from training.evaluation.precisions import Agreement, measure
from training.run_folder import Run, RunError, architecture, build_model, read_run

DEFAULT_MODEL_CONFIG = Path(__file__).with_name("model-config.yaml")

# TorchServe's own keys; https://docs.pytorch.org/serve/configuration.html. It ignores what it does
# not know. No worker would never become ready, and a delay of 0 means its default, 100 ms.
_WORKER_KEYS = (
    "minWorkers",
    "maxWorkers",
    "batchSize",
    "maxBatchDelay",
    "responseTimeout",
    "startupTimeout",
)
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?")
_NO_TIME = "01/01/1980 00:00:00"
_ENTRY_POINT = '''"""TorchServe loads this file; the code lies in the handlers package beside it."""

from handlers.service import ImageClassifier


class ModelService(ImageClassifier):
    """TorchServe wants exactly one class in the file that it loads."""
'''


class ArchivingError(Exception):
    """The archive cannot be made; the message says what to change. Nothing was written."""


def archive(
    run_folder: Path,
    version: str,
    store: Path,
    model_config: Path = DEFAULT_MODEL_CONFIG,
    replace: bool = False,
    data: Path | None = None,
) -> Path:
    """Pack `run_folder` as `store/<name>-<version>.mar`.

    Args:
        version: MAJOR.MINOR or MAJOR.MINOR.PATCH.
        store: made if missing.
        model_config: becomes the archive's model-config.yaml.
        replace: allow the same version with other content.
        data: photos of the training, by which is measured whether bf16 and int8 may be used;
            without them a worker computes in float32.

    Returns:
        The path of the archive, which `verify_archive` has passed.

    Raises:
        ArchivingError: a bad version or configuration, a run whose weights do not give its
            golden logits, or the version exists with other content.
        RunError: not a finished run.
        EvaluationError, DatasetError: `data` does not hold the photos of the training, or `store`
            lies in it.
    """
    if not _VERSION.fullmatch(version):
        raise ArchivingError(f"version {version!r}: must be MAJOR.MINOR or MAJOR.MINOR.PATCH")
    if data:
        check_outside(store, data, "--store")
    run = read_run(run_folder)
    if run.name.startswith("token"):
        # TorchServe takes every path with "/token" in it for one of a token.
        raise ArchivingError(f"name {run.name!r}: must not begin with token; choose another")
    _check_config(model_config, run)
    model = _checked_model(run_folder, run)
    out = store / f"{run.name}-{version}.mar"
    # torch-model-archiver deletes $TMPDIR/<model name> before it works, hence a TMPDIR of its own.
    with tempfile.TemporaryDirectory(prefix="catbreeds-archive-") as scratch:
        extra = Path(scratch) / "extra"
        extra.mkdir()
        card = model_card(run, version, _converted(run_folder, run, model, data, extra))
        content = _lay_out(run_folder, run, version, card, model_config, Path(scratch))
        made = Path(scratch) / out.name
        write_archive(content, made)
        verify_archive(made)
        if out.exists() and not replace and made.read_bytes() != out.read_bytes():
            raise ArchivingError(
                f"{out}: version {version} is there with other content; "
                "choose a higher version, or --replace it"
            )
        store.mkdir(parents=True, exist_ok=True)
        # A name of its own, as two may be archiving at once.
        partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
        try:
            shutil.copyfile(made, partial)
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    return out


def model_card(
    run: Run, version: str, precisions: Mapping[Precision, Agreement] = MappingProxyType({})
) -> dict[str, Any]:
    """What the archive says about its model; `GET /models/<name>?customized=true` shows it."""
    return {
        "name": run.name,
        "version": version,
        "intended_use": run.intended_use,
        "limitations": list(run.limitations),
        "licence_notes": list(run.licence_notes),
        "classes": len(run.classes),
        "architecture": {
            "file": run.architecture_file,
            "options": dict(run.architecture_options),
        },
        "preprocessing": run.preprocessing.to_dict(),
        "temperature": run.temperature,
        "unsure_score": run.unsure_score,
        "unsure_threshold": run.unsure_threshold,
        "sure_precision": run.sure_precision,
        "data": dict(run.data),
        "metrics": dict(run.metrics),
        "expected": run.expected.to_dict() if run.expected else {},
        "precisions": {name: asdict(found) for name, found in sorted(precisions.items())},
        "git_sha": run.git_sha,
        "libraries": dict(run.libraries),
    }


def _converted(
    run_folder: Path, run: Run, model: nn.Module, data: Path | None, extra: Path
) -> dict[Precision, Agreement]:
    """Write the network's graphs, and find what the card says of reduced precision."""
    folded = architecture(run).fold(model).requires_grad_(False)
    graph = convert(folded, run.preprocessing.size)
    write_graph(graph, folded.state_dict(), "f32", extra)
    if data is None:
        return {}
    return measure(run_folder, run, folded, graph, data, extra)


def _lay_out(
    run_folder: Path,
    run: Run,
    version: str,
    card: Mapping[str, Any],
    config: Path,
    scratch: Path,
) -> Path:
    """Arrange the archive's files and have torch-model-archiver add its manifest."""
    extra, exported, private_tmp = (scratch / name for name in ("extra", "exported", "tmp"))
    for folder in (exported, private_tmp):
        folder.mkdir()
    package = Path(handlers.__file__).parent
    (extra / "handlers").mkdir()
    # By pattern: an editor's leftovers must not change the archive.
    for source_file in (*package.glob("*.py"), package / "metrics.yaml"):
        shutil.copyfile(source_file, extra / "handlers" / source_file.name)
    shutil.copytree(run_folder / "golden", extra / "golden")
    source = architecture(run).__file__
    if source is None:
        raise ArchivingError(f"training.models.{run.architecture_file}: has no source file")
    shutil.copyfile(source, extra / "architecture.py")
    (extra / "model-card.json").write_text(_json(card))
    names = {str(index): name for index, name in enumerate(run.classes)}
    (extra / "index_to_name.json").write_text(_json(names))
    (scratch / "model_service.py").write_text(_ENTRY_POINT)
    shutil.copyfile(config, scratch / "model-config.yaml")
    _run_archiver(run, version, run_folder / "weights.safetensors", scratch)
    content = exported / run.name
    manifest = content / "MAR-INF" / "MANIFEST.json"
    described = json.loads(manifest.read_text())
    # The archiver writes the clock's time here; the same run must give the same bytes.
    described["createdOn"] = _NO_TIME
    manifest.write_text(_json(described))
    return content


def _run_archiver(run: Run, version: str, weights: Path, scratch: Path) -> None:
    archiver = subprocess.run(
        (
            *(str(Path(sys.executable).with_name("torch-model-archiver")), "--force"),
            *("--model-name", run.name, "--version", version),
            *("--serialized-file", str(weights.resolve())),
            *("--handler", str(scratch / "model_service.py")),
            *("--config-file", str(scratch / "model-config.yaml")),
            *("--extra-files", str(scratch / "extra")),
            *("--archive-format", "no-archive", "--export-path", str(scratch / "exported")),
        ),
        env=os.environ | {"TMPDIR": str(scratch / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    if archiver.returncode != 0:
        raise ArchivingError(f"torch-model-archiver failed: {archiver.stderr.strip()[-2000:]}")


def _check_config(path: Path, run: Run) -> None:
    try:
        content = yaml.safe_load(path.read_text())
        if not isinstance(content, dict):
            raise ConfigError("must be a table of keys")
        for key, value in content.items():
            if key not in (*_WORKER_KEYS, "catbreeds"):
                raise ConfigError(f"unknown key {key!r}; allowed: {[*_WORKER_KEYS, 'catbreeds']}")
            if key in _WORKER_KEYS and not (type(value) is int and value >= 1):
                raise ConfigError(f"{key}: {value!r} is not allowed; a whole number from 1 on is")
        if ("minWorkers" in content) != ("maxWorkers" in content):
            raise ConfigError("minWorkers and maxWorkers: both, or neither of them")
        HandlerConfig.from_dict(content.get("catbreeds", {}))
    except OSError as error:
        raise ArchivingError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, ConfigError) as error:
        raise ArchivingError(f"{path}: {error}") from error


def _checked_model(run_folder: Path, run: Run) -> nn.Module:
    """The run's model; one whose golden logits disagree would be refused by every worker."""
    try:
        model = build_model(run)
        model.load_state_dict(safetensors.torch.load_file(run_folder / "weights.safetensors"))
        golden = safetensors.torch.load_file(run_folder / "golden" / "logits.safetensors")["logits"]
        paths = sorted((run_folder / "golden").glob("*.png"))
        photos = [decode_image(path.read_bytes(), Limits()) for path in paths]
        with torch.inference_mode():
            logits = model(torch.stack([run.preprocessing(photo) for photo in photos]))
        scale = max(1.0, float(golden.abs().max()))
        torch.testing.assert_close(logits, golden, rtol=0, atol=1e-3 * scale)
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError, AssertionError) as error:
        raise RunError(f"{run_folder}: weights and golden set do not fit: {error}") from error
    return model


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
