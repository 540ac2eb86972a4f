"""An archive is self-contained, reproducible, whole or not there, and small."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import yaml

from handlers import problems
from handlers.archive_format import verify_archive
from handlers.checksums import parse_sums
from tests.archives import one_worker
from tests.service import DEMO, R50
from training.archive import DEFAULT_MODEL_CONFIG, ArchivingError, archive
from training.data.dataset import DatasetError
from training.run_folder import RunError, read_run

CATBREEDS = Path(sys.executable).with_name("catbreeds")


@pytest.fixture(scope="module")
def packed(model_store: Path) -> Path:
    """The demo's archive, which no test may change."""
    return model_store / f"{DEMO}-0.1.mar"


@pytest.fixture
def run(demo_run: Path, tmp_path: Path) -> Path:
    """A copy of the demo's run folder for one test to change."""
    return Path(shutil.copytree(demo_run, tmp_path / "run"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_it_holds_all_that_a_worker_needs(packed: Path, demo_run: Path) -> None:
    run = read_run(demo_run)
    with zipfile.ZipFile(packed) as content:
        names = content.namelist()
        entries = {name: content.read(name) for name in names}
        assert {info.compress_type for info in content.infolist()} == {zipfile.ZIP_STORED}
    assert names == sorted(names)
    assert parse_sums(entries["SHA256SUMS"].decode()).keys() == set(names) - {"SHA256SUMS"}
    for name in names:
        assert name.endswith((".py", ".json", ".yaml", ".png", ".safetensors")) or name in (
            "SHA256SUMS",
            "handlers/py.typed",
            "openvino/network.bin",
            "openvino/network.xml",
        )
    weights = demo_run / "weights.safetensors"
    assert entries["weights.safetensors"] == weights.read_bytes()
    names_of_classes = json.loads(entries["index_to_name.json"])
    assert list(names_of_classes.values()) == list(run.classes)
    card = json.loads(entries["model-card.json"])
    assert (card["name"], card["version"], card["classes"]) == (DEMO, "0.1", 67)
    for key in ("intended_use", "limitations", "licence_notes", "data", "metrics", "git_sha"):
        assert card[key], key
    assert "majority_baseline" in card["metrics"]
    assert card["libraries"]["torch"]
    manifest = json.loads(entries["MAR-INF/MANIFEST.json"])["model"]
    assert (manifest["modelName"], manifest["modelVersion"]) == (DEMO, "0.1")
    golden = safetensors.torch.load(entries["golden/logits.safetensors"])["logits"]
    assert golden.shape == (sum(name.endswith(".png") for name in names), 67)
    for module in Path(problems.__file__).parent.glob("*.py"):
        assert f"handlers/{module.name}" in names


def test_the_same_run_gives_the_same_bytes_whatever_surrounds_it(
    demo_run: Path, packed: Path, tmp_path: Path
) -> None:
    """Other working and temp folders, umask, hash seed, locale, file times, order of files."""
    again = tmp_path / "elsewhere" / "run"
    again.parent.mkdir()
    (again / "golden").mkdir(parents=True)
    for path in sorted(demo_run.rglob("*"), reverse=True):
        if path.is_file():
            copy = again / path.relative_to(demo_run)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o600)
            os.utime(copy, (1, 1))
    temp = tmp_path / "temp"
    # torch-model-archiver deletes $TMPDIR/<model name>.
    users_own = temp / DEMO / "precious.txt"
    users_own.parent.mkdir(parents=True)
    users_own.write_text("mine")
    done = subprocess.run(
        (
            *(str(CATBREEDS), "archive", "run", "--version", "0.1"),
            *("--store", "../store", "--config", str(one_worker(tmp_path)), "--json"),
        ),
        cwd=again.parent,
        env=os.environ
        | {"TMPDIR": str(temp), "PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Kathmandu"},
        umask=0o077,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = tmp_path / "store" / packed.name
    assert json.loads(done.stdout)["bytes"] == made.stat().st_size
    assert made.read_bytes() == packed.read_bytes()
    assert users_own.read_text() == "mine"
    assert [path.name for path in temp.iterdir()] == [DEMO]
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_the_large_one_is_hardly_larger_than_its_weights(model_store: Path, r50_run: Path) -> None:
    size = (model_store / f"{R50}-1.0.mar").stat().st_size
    assert size <= 1.1 * (r50_run / "weights.safetensors").stat().st_size


def test_a_version_has_one_content_for_ever(run: Path, store: Path) -> None:
    first = archive(run, "1.2", store)
    content = first.read_bytes()
    assert archive(run, "1.2", store) == first
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(described | {"unsure_threshold": 0.123}))
    with pytest.raises(ArchivingError, match=r"version 1\.2 is there with other content"):
        archive(run, "1.2", store)
    assert first.read_bytes() == content
    assert archive(run, "1.3", store) != first
    archive(run, "1.2", store, replace=True)
    assert first.read_bytes() != content
    assert len(list(store.iterdir())) == 2


def test_a_name_that_cannot_be_managed_is_refused(run: Path, store: Path) -> None:
    described = json.loads((run / "run.json").read_text()) | {"name": "token-cats"}
    (run / "run.json").write_text(json.dumps(described))
    with pytest.raises(ArchivingError, match="must not begin with token"):
        archive(run, "1.0", store)


def test_no_archive_is_put_among_the_photos(run: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(DatasetError, match=r"store: lies in the data folder .* --store"):
        archive(run, "1.0", photos / "store", data=photos)
    assert list(photos.iterdir()) == []


@pytest.mark.parametrize(
    "version", ["1", "v1.0", "1.0-beta", "01.0", "1.0.0.0", "", "1.0/../../x", "1.0\n", "1,0"]
)
def test_a_version_is_two_or_three_numbers(run: Path, store: Path, version: str) -> None:
    with pytest.raises(ArchivingError, match=r"MAJOR\.MINOR"):
        archive(run, version, store)
    assert not store.exists()


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("step", ["copyfile", "replace"])
def test_a_full_disk_leaves_the_store_as_it_was(
    run: Path, store: Path, monkeypatch: pytest.MonkeyPatch, step: str, existing: bool
) -> None:
    if existing:
        archive(run, "1.0", store)
    before = {path.name: path.read_bytes() for path in store.glob("*")}
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(described | {"unsure_threshold": 0.123}))
    copyfile, replace = shutil.copyfile, Path.replace

    def half_a_copy(source: Path, target: Path, **options: bool) -> object:
        if Path(target).parent != store:
            return copyfile(source, target, **options)
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(28, "No space left on device")

    def no_replace(source: Path, target: Path) -> Path:
        if Path(target).parent != store:
            return replace(source, target)
        raise OSError(28, "No space left on device")

    if step == "copyfile":
        monkeypatch.setattr(shutil, "copyfile", half_a_copy)
    else:
        monkeypatch.setattr(Path, "replace", no_replace)
    with pytest.raises(OSError, match="No space left"):
        archive(run, "1.0", store, replace=True)
    assert {path.name: path.read_bytes() for path in store.glob("*")} == before


def changed_weights(run: Path) -> None:
    weights = safetensors.torch.load_file(run / "weights.safetensors")
    name = next(name for name in weights if name.startswith("head") and weights[name].ndim == 4)
    weights[name][0] += 1
    safetensors.torch.save_file(weights, run / "weights.safetensors")


def test_weights_that_do_not_give_the_golden_logits_are_not_packed(run: Path, store: Path) -> None:
    changed_weights(run)
    with pytest.raises(RunError, match="weights and golden set do not fit"):
        archive(run, "1.0", store)
    assert not store.exists()


@pytest.mark.parametrize("missing", ["run.json", "classes.json", "weights.safetensors", "golden"])
def test_an_unfinished_run_is_not_packed(run: Path, store: Path, missing: str) -> None:
    path = run / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(RunError, match=str(run)):
        archive(run, "1.0", store)
    assert not store.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("catbreeds: {responce: labels}", "responce"),
        ("catbreeds: {limits: {pixels: 0}}", "pixels"),
        ("[1, 2]", "table of keys"),
        ("a: {", "config.yaml"),
    ],
)
def test_a_bad_model_config_is_refused_by_name(
    run: Path, store: Path, tmp_path: Path, text: str, says: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(ArchivingError, match=says):
        archive(run, "1.0", store, config)
    assert not store.exists()


def test_another_model_config_is_packed_as_it_is(run: Path, store: Path, tmp_path: Path) -> None:
    config = tmp_path / "some name.yaml"
    settings = yaml.safe_load(DEFAULT_MODEL_CONFIG.read_text()) | {"batchSize": 3}
    config.write_text(yaml.safe_dump(settings))
    made = archive(run, "1.0", store, config)
    assert verify_archive(made)
    with zipfile.ZipFile(made) as content:
        assert content.read("model-config.yaml") == config.read_bytes()
