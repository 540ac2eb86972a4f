"""An archive's own words are read as they stand, held against those of the current version, and
tried on the version that is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml

from handlers.predictions import probabilities
from serving.inference import InferenceClient
from serving.rollout.checks import (
    CheckFailed,
    Contents,
    check_accuracy,
    check_classes,
    read_contents,
    self_test,
)
from tests.archives import describe_as, pack, registered, unpack
from tests.service import DEMO, R50, Service
from tests.serving.rollout.versions import edit_json, fails_at, make_version
from tests.web.scripted_server import Scripted, ScriptedServer
from training.drawn_cats import CLASSES

NEW = "0.6"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def demo(demo_archive: Path) -> Contents:
    return read_contents(demo_archive)


@pytest.fixture
def client(service: Service) -> InferenceClient:
    return InferenceClient(service.server.inference_url, service.token)


# What an archive says


def test_contents_are_the_archive_s(demo: Contents, demo_run: Path) -> None:
    assert (demo.model, demo.version) == (DEMO, "0.1")
    assert demo.classes == tuple(CLASSES)
    assert demo.most_listed == len(CLASSES)
    run = json.loads((demo_run / "run.json").read_text())
    assert demo.card["metrics"] == run["metrics"]
    photos = sorted((demo_run / "golden").glob("*.png"))
    assert demo.golden == tuple(photo.read_bytes() for photo in photos)
    golden = safetensors.numpy.load_file(demo_run / "golden" / "logits.safetensors")["logits"]
    served = probabilities(torch.from_numpy(golden), run["temperature"])
    np.testing.assert_allclose(demo.golden_probabilities, served.numpy(), atol=1e-12)


def test_logits_beyond_what_exp_can_hold(demo_archive: Path, tmp_path: Path) -> None:
    def change(content: Path) -> None:
        path = content / "golden" / "logits.safetensors"
        logits = safetensors.numpy.load_file(path)["logits"]
        safetensors.numpy.save_file({"logits": logits * np.float32(1e6)}, path)

    contents = read_contents(make_version(demo_archive, tmp_path, NEW, change))
    np.testing.assert_allclose(contents.golden_probabilities.sum(axis=1), 1)


def in_card(**changed: object) -> Change:
    return lambda content: edit_json(content / "model-card.json", **changed)


def without(entry: str) -> Change:
    return lambda content: (content / entry).unlink()


def holding(entry: str, text: str) -> Change:
    def changed(content: Path) -> None:
        (content / entry).write_text(text)

    return changed


def with_logits(change: Callable[[Any], Any]) -> Change:
    def changed(content: Path) -> None:
        path = content / "golden" / "logits.safetensors"
        logits = change(safetensors.numpy.load_file(path)["logits"])
        safetensors.numpy.save_file({"logits": np.ascontiguousarray(logits)}, path)

    return changed


def with_version(version: str) -> Change:
    def changed(content: Path) -> None:
        describe_as(content, DEMO, version)
        edit_json(content / "model-card.json", version=version)

    return changed


DAMAGED: dict[str, tuple[Change, str]] = {
    "no card": (without("model-card.json"), "model-card.json: is not in the archive"),
    "card of no JSON": (holding("model-card.json", "{"), "model-card.json"),
    "card that is a list": (holding("model-card.json", "[]"), "model-card.json: not a JSON object"),
    "nested too deeply": (holding("model-card.json", "[" * 100_000), "model-card.json"),
    "card with NaN": (in_card(metrics={"top1": float("nan")}), "model-card.json: NaN is not JSON"),
    "card of another version": (in_card(version="7.7"), "'7.7', but the manifest has '0.6'"),
    "no temperature": (holding("model-card.json", '{"version": "0.6"}'), "temperature is missing"),
    "temperature of nothing": (in_card(temperature=0), "temperature: 0.0 is not allowed"),
    "temperature in words": (in_card(temperature="warm"), "model-card.json"),
    "no classes": (holding("index_to_name.json", "{}"), "every class needs a name"),
    "a class left out": (holding("index_to_name.json", '{"1": "a"}'), "0 is missing"),
    "a class twice": (holding("index_to_name.json", '{"0": "a", "1": "a"}'), "the same name"),
    "a class of no text": (holding("index_to_name.json", '{"0": 1}'), "every class needs a name"),
    "configuration of no YAML": (holding("model-config.yaml", "{"), "model-config.yaml"),
    "configuration of a list": (holding("model-config.yaml", "[1]"), "model-config.yaml"),
    "no golden logits": (without("golden/logits.safetensors"), "logits.safetensors: is not in"),
    "golden logits of no tensors": (holding("golden/logits.safetensors", "x"), "logits.safetens"),
    "a photo fewer": (without("golden/00.png"), "shape"),
    "a logit fewer": (with_logits(lambda logits: logits[:, 1:]), "shape"),
    "logits of infinity": (with_logits(lambda logits: logits / 0.0), "not finite"),
    "version in words": (with_version("latest"), "must be MAJOR.MINOR"),
    "version with a zero": (with_version("0.06"), "must be MAJOR.MINOR"),
    "version of one number": (with_version("6"), "must be MAJOR.MINOR"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_does_not_fit_is_refused_by_name(
    name: str, demo_archive: Path, tmp_path: Path
) -> None:
    change, says = DAMAGED[name]
    archive = make_version(demo_archive, tmp_path, NEW, change)
    with pytest.raises(CheckFailed) as raised:
        read_contents(archive)
    assert str(raised.value).startswith(str(archive))
    assert says in str(raised.value)


def test_no_archive_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_text("no zip")
    with pytest.raises(CheckFailed, match=r"a\.mar: zip structure"):
        read_contents(path)


# Beside the current version


def test_the_same_classes(demo: Contents) -> None:
    check_classes(replace(demo, version=NEW), demo)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (CLASSES[:-1], [f"lacks {CLASSES[-1]};"]),
        ((*CLASSES, "Dachshund"), ["adds Dachshund;"]),
        (CLASSES[1:], [f"lacks {CLASSES[0]};"]),
        (("Dachshund", *CLASSES[1:]), [f"lacks {CLASSES[0]};", "adds Dachshund;"]),
        ((CLASSES[1], CLASSES[0], *CLASSES[2:]), [f"moves {CLASSES[1]}, {CLASSES[0]};"]),
        (tuple(str(n) for n in range(67)), ["adds 0, 1, 2 and 64 more;", " and 64 more"]),
    ],
)
def test_other_classes_are_named(demo: Contents, classes: Sequence[str], says: list[str]) -> None:
    with pytest.raises(CheckFailed) as raised:
        check_classes(replace(demo, version=NEW, classes=tuple(classes)), demo)
    for each in (*says, "--allow-class-change", "0.1"):
        assert each in str(raised.value)
    if "Dachshund" in classes or len(classes) < len(CLASSES):
        assert "moves" not in str(raised.value)


def with_card(contents: Contents, **changed: object) -> Contents:
    return replace(contents, version=NEW, card=contents.card | changed)


@pytest.mark.parametrize(("old", "new"), [(0.9, 0.88), (0.3, 0.28), (0.9, 0.95), (0, 0), (1, 1)])
def test_as_accurate_or_nearly(demo: Contents, old: float, new: float) -> None:
    current = with_card(demo, metrics={"top1": old})
    said = check_accuracy(with_card(demo, metrics={"top1": new}), current, 0.02)
    assert f"{new:.4f}" in said
    assert f"{old:.4f}" in said
    assert "other photos" not in said


def test_less_accurate(demo: Contents) -> None:
    new, current = (with_card(demo, metrics={"top1": top1}) for top1 in (0.8799, 0.9))
    with pytest.raises(CheckFailed, match=r"0\.8799, 0\.9000 .*0\.02"):
        check_accuracy(new, current, 0.02)
    check_accuracy(new, current, 0.03)


def test_accuracies_of_other_photos(demo: Contents) -> None:
    new = with_card(demo, data={"split_hash": "another"})
    assert "on other photos" in check_accuracy(new, demo, 0.02)


@pytest.mark.parametrize(
    "card", [{"metrics": {}}, {"metrics": None}, {"metrics": {"top1": "good"}}, {"metrics": []}]
)
def test_a_card_without_accuracy(demo: Contents, card: dict[str, object]) -> None:
    bare = with_card(demo, **card)
    said = [check_accuracy(bare, demo, 0.02), check_accuracy(demo, bare, 0.02)]
    assert all(f"could not be compared: the card of {NEW} has no" in each for each in said)


def test_an_imported_model_has_no_accuracy(model_store: Path, demo: Contents) -> None:
    imported = read_contents(model_store / f"{R50}-1.0.mar")
    assert "could not be compared" in check_accuracy(imported, demo, 0.0)


# On the version that is served


@pytest.mark.parametrize(("model", "version"), [(DEMO, "0.1"), (R50, "1.0")])
def test_a_good_version_passes(
    client: InferenceClient, model_store: Path, model: str, version: str
) -> None:
    contents = read_contents(model_store / f"{model}-{version}.mar")
    assert 0 <= self_test(client, contents) < 0.001


def test_probabilities_that_are_off(client: InferenceClient, demo: Contents) -> None:
    off = demo.golden_probabilities.copy()
    off[3, 5] += 0.08
    with pytest.raises(CheckFailed, match=r"golden photo 3: a probability differs by 0\.0[78]"):
        self_test(client, replace(demo, golden_probabilities=off))
    off[3, 5] -= 0.05
    assert self_test(client, replace(demo, golden_probabilities=off)) == pytest.approx(
        0.03, abs=0.001
    )


def test_one_that_answers_as_torchserves_own_classifiers_do(
    service: Service, client: InferenceClient, demo_archive: Path, tmp_path: Path
) -> None:
    """Its answers say nothing of a version."""

    def answer_labels(content: Path) -> None:
        config = content / "model-config.yaml"
        said = yaml.safe_load(config.read_text())
        said["catbreeds"] = said.get("catbreeds", {}) | {"response": "labels"}
        config.write_text(yaml.safe_dump(said))

    archive = make_version(demo_archive, tmp_path, NEW, answer_labels)
    served = archive.rename(demo_archive.parent / archive.name)
    contents = read_contents(served)
    with registered(service, served, DEMO, NEW):
        assert client.predict(contents.golden[0], DEMO, NEW).version == ""
        assert self_test(client, contents) < 0.001


def test_a_version_that_is_not_there(client: InferenceClient, demo: Contents) -> None:
    with pytest.raises(CheckFailed, match="golden photo 0: 404"):
        self_test(client, replace(demo, version="7.7"))


def test_the_named_version_is_asked(
    service: Service, client: InferenceClient, demo_archive: Path, tmp_path: Path
) -> None:
    """Beside a default that answers well: a new one that fails at its third photo."""
    archive = make_version(demo_archive, tmp_path, NEW, fails_at(2))
    served = archive.rename(demo_archive.parent / archive.name)
    contents = read_contents(served)
    with registered(service, served, DEMO, NEW):
        assert service.server.management().default_version(DEMO) == "0.1"
        with pytest.raises(CheckFailed, match="golden photo 2: 503"):
            self_test(client, contents)


def test_an_archive_that_lists_few_classes(
    service: Service, client: InferenceClient, demo_archive: Path, tmp_path: Path
) -> None:
    def change(content: Path) -> None:
        path = content / "model-config.yaml"
        config = yaml.safe_load(path.read_text())
        config["catbreeds"] = (config.get("catbreeds") or {}) | {"limits": {"top_k": 3}}
        path.write_text(yaml.safe_dump(config))

    archive = make_version(demo_archive, tmp_path, NEW, change)
    served = archive.rename(demo_archive.parent / archive.name)
    contents = read_contents(served)
    assert contents.most_listed == 3
    with registered(service, served, DEMO, NEW):
        assert self_test(client, contents) < 0.001


def scripted(contents: Contents, ranked: dict[str, float], version: str) -> float:
    """The self-test where this is the answer to each photo."""
    answer = {
        "model": contents.model,
        "version": version,
        "predictions": [{"breed": breed, "probability": p} for breed, p in ranked.items()],
        "unsure": False,
    }
    with ScriptedServer(Scripted(404, {}), Scripted(200, answer)) as server:
        return self_test(InferenceClient(server.url, lambda: None), contents)


@pytest.fixture
def two(demo: Contents) -> Contents:
    """A model of two classes and one photo."""
    likely = np.array([[0.515, 0.485]])
    return replace(
        demo, classes=("a", "b"), golden=demo.golden[:1], golden_probabilities=likely, most_listed=2
    )


def test_another_first_class(two: Contents) -> None:
    assert scripted(two, {"a": 0.52, "b": 0.48}, "0.1") == pytest.approx(0.005)
    apart = replace(two, golden_probabilities=np.array([[0.53, 0.47]]))
    with pytest.raises(CheckFailed, match="golden photo 0: b comes first, not a"):
        scripted(apart, {"b": 0.501, "a": 0.499}, "0.1")
    close = replace(two, golden_probabilities=np.array([[0.505, 0.495]]))
    assert scripted(close, {"b": 0.501, "a": 0.499}, "0.1") == pytest.approx(0.006)


@pytest.mark.parametrize(
    ("ranked", "version", "says"),
    [
        ({"a": 0.515, "b": 0.485}, "0.2", "0.2 answers, not 0.1"),
        ({"a": 0.515}, "0.1", "1 classes are not those"),
        ({"a": 0.515, "c": 0.485}, "0.1", "classes are not those"),
        ({"a": float("nan"), "b": 0.485}, "0.1", "differs by nan"),
    ],
)
def test_other_answers(two: Contents, ranked: dict[str, float], version: str, says: str) -> None:
    with pytest.raises(CheckFailed, match=f"golden photo 0: .*{says}"):
        scripted(two, ranked, version)


def test_packed_again_it_is_read_the_same(demo_archive: Path, tmp_path: Path) -> None:
    again = pack(unpack(demo_archive, tmp_path / "content"), tmp_path / "again.mar", seal=True)
    assert read_contents(again).classes == tuple(CLASSES)
