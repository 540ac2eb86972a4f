"""A changed archive is refused: by `verify`, and by a real worker that should load it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import safetensors.torch
import torch

from tests.archives import describe_as, pack, unpack
from tests.service import DEMO
from tests.serving.serve_process import CATBREEDS, ServeProcess

Change = Callable[[Path], object]


def change_weights(content: Path) -> None:
    """One weight of the head, by so much that answers change."""
    path = content / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    name = next(name for name in weights if name.startswith("head") and weights[name].ndim == 4)
    weights[name][0] += 1
    safetensors.torch.save_file(weights, path)


def change_code(content: Path) -> None:
    path = content / "handlers" / "predictions.py"
    path.write_text(path.read_text() + "\n# changed\n")


def change_names(content: Path) -> None:
    path = content / "index_to_name.json"
    path.write_text(path.read_text().replace("Siamese", "Sphinx"))


def change_golden_logits(content: Path) -> None:
    path = content / "golden" / "logits.safetensors"
    logits = safetensors.torch.load_file(path)["logits"]
    safetensors.torch.save_file({"logits": logits + 0.5}, path)


def golden_logits_of_nan(content: Path) -> None:
    path = content / "golden" / "logits.safetensors"
    logits = safetensors.torch.load_file(path)["logits"]
    safetensors.torch.save_file({"logits": torch.full_like(logits, torch.nan)}, path)


def add_file(content: Path) -> None:
    (content / "more.py").write_text("print('hello')\n")


def take_sums_away(content: Path) -> None:
    (content / "SHA256SUMS").unlink()


def impossible_setting(content: Path) -> None:
    path = content / "model-config.yaml"
    path.write_text(path.read_text().replace("precision: auto", "precision: float7"))


REFUSED: dict[str, tuple[Change, bool, str]] = {
    # change, whether SHA256SUMS are made to fit it, what the log says
    "weights": (change_weights, False, "weights.safetensors: differs from its checksum"),
    "code": (change_code, False, "handlers/predictions.py: differs from its checksum"),
    "names": (change_names, False, "index_to_name.json: differs from its checksum"),
    "one file more": (add_file, False, "more.py: not listed"),
    "no sums": (take_sums_away, False, "SHA256SUMS: cannot be read"),
    "weights, sums to match": (change_weights, True, "golden set: logits differ by"),
    "golden logits, sums to match": (change_golden_logits, True, "golden set: logits differ by"),
    "golden NaN, sums to match": (golden_logits_of_nan, True, "golden set: logits that are not"),
    "impossible setting": (impossible_setting, True, "precision: 'float7' is not allowed"),
}


def register(served: ServeProcess, archive: Path, name: str) -> requests.Response:
    """Try to, and forget the model again: TorchServe keeps it, without workers."""
    (key_file,) = served.state.rglob("key_file.json")
    token = json.loads(key_file.read_text())["management"]["key"]
    headers = {"Authorization": f"Bearer {token}"}
    models = f"{served.url('management')}/models"
    query = {"url": archive.name, "initial_workers": "1", "synchronous": "true"}
    try:
        return requests.post(models, params=query, headers=headers, timeout=60)
    finally:
        requests.delete(f"{models}/{name}/0.1", headers=headers, timeout=60)
        archive.unlink()


@pytest.mark.parametrize("case", REFUSED)
def test_a_worker_does_not_load_it_and_the_log_says_why(
    served: ServeProcess, demo_archive: Path, tmp_path: Path, case: str
) -> None:
    change, seal, says = REFUSED[case]
    name = "changed-" + re.sub(r"\W+", "-", case)
    content = unpack(demo_archive, tmp_path / "content")
    describe_as(content, name, "0.1")
    # The manifest has another name now: with fitting sums, `change` is all that is wrong.
    pack(content, tmp_path / "sealed.mar", seal=True)
    change(content)
    archive = pack(content, served.folder / "store" / f"{name}.mar", seal=seal)
    answer = register(served, archive, name)
    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Failed to start workers")
    refusal = f"{name} cannot be loaded"
    served.wait_for(says, after=refusal)
    (event,) = [json.loads(line) for line in served.stderr().splitlines() if refusal in line]
    assert event["level"] == "WARN"


def test_a_flipped_byte_in_a_mar_is_refused_by_torchserve_itself(
    served: ServeProcess, demo_archive: Path
) -> None:
    """Without another CRC it is not even unpacked."""
    content = bytearray(demo_archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive = served.folder / "store" / "flipped.mar"
    archive.write_bytes(content)
    assert register(served, archive, "flipped").status_code >= 400


@pytest.mark.parametrize("case", ["weights", "one file more", "no sums"])
def test_verify_names_the_entry(demo_archive: Path, tmp_path: Path, case: str) -> None:
    change, _, says = REFUSED[case]
    content = unpack(demo_archive, tmp_path / "content")
    change(content)
    archive = pack(content, tmp_path / "changed.mar", seal=False)
    done = verify(archive)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {archive}: {says.partition(':')[0]}: ")


def test_verify_names_where_a_byte_was_flipped(demo_archive: Path, tmp_path: Path) -> None:
    archive = tmp_path / demo_archive.name
    content = bytearray(demo_archive.read_bytes())
    archive.write_bytes(content)
    done = verify(archive)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("entries, OK\n")
    content[content.index(b'"51": "Siamese"') + 8] ^= 1
    archive.write_bytes(content)
    done = verify(archive)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {archive}: index_to_name.json: ")


def verify(archive: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(CATBREEDS), "verify", str(archive)),
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_was_refused_leaves_the_others_alone(served: ServeProcess, cat_photo: bytes) -> None:
    (key_file,) = served.state.rglob("key_file.json")
    token = json.loads(key_file.read_text())["inference"]["key"]
    answer = requests.post(
        f"{served.url('predictions')}/predictions/{DEMO}",
        cat_photo,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert answer.status_code == 200
