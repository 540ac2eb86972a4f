"""Two versions are asked for the same photos, and what differs is seen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.inference import InferenceClient, ServiceError
from serving.rollout.checks import CheckFailed
from serving.rollout.shadow import Comparison, Thresholds, check, compare, load_photos
from tests.archives import registered
from tests.service import DEMO, Service
from tests.serving.rollout.versions import edit_json, fails_at, make_version
from tests.web.scripted_server import Scripted, ScriptedServer

NEW = "0.7"
GOOD = Comparison(
    photos=40,
    answered=39,
    agreement=0.8,
    difference=0.01,
    errors_new=0,
    errors_current=0,
    p50_ms_new=30.0,
    p95_ms_new=60.0,
    p50_ms_current=10.0,
    p95_ms_current=20.0,
)


@pytest.fixture
def client(service: Service) -> InferenceClient:
    return InferenceClient(service.server.inference_url, service.token)


@contextmanager
def beside(service: Service, store: Path, archive: Path) -> Iterator[None]:
    """That version served as well."""
    with registered(service, archive.rename(store / archive.name), DEMO, NEW):
        yield


def asked(client: InferenceClient, photos: list[tuple[str, bytes]]) -> Comparison:
    return compare(client, DEMO, "0.1", NEW, photos, lambda _done, _total: None)


# On a real TorchServe


def test_the_same_model_agrees_with_itself(
    service: Service,
    client: InferenceClient,
    model_store: Path,
    demo_archive: Path,
    unseen_cats: Path,
    tmp_path: Path,
) -> None:
    photos = load_photos(unseen_cats / "images" / "Siamese")
    # Neither version takes these: that is no difference between them.
    photos += [("notes.jpg", b"no photo"), ("torn.jpg", photos[0][1][:100])]
    ticks: list[tuple[int, int]] = []
    with beside(service, model_store, make_version(demo_archive, tmp_path, NEW)):
        found = compare(
            client, DEMO, "0.1", NEW, photos, lambda done, total: ticks.append((done, total))
        )
    assert ticks == [(number + 1, 8) for number in range(8)]
    assert (found.photos, found.answered) == (8, 6)
    assert found.agreement == 1
    assert found.difference < 1e-4
    assert (found.errors_new, found.errors_current) == (0, 0)
    assert 0 < found.p50_ms_new <= found.p95_ms_new
    assert 0 < found.p50_ms_current <= found.p95_ms_current
    check(found, Thresholds(max_slowdown=1000))
    assert "6 of 8 photos: 100% agree" in found.describe()
    assert json.loads(json.dumps(found.figures()))["answered"] == 6


def test_other_answers_are_seen(
    service: Service,
    client: InferenceClient,
    model_store: Path,
    demo_archive: Path,
    unseen_cats: Path,
    tmp_path: Path,
) -> None:
    def change(content: Path) -> None:
        """Each breed under the next one's name."""
        path = content / "index_to_name.json"
        names = list(json.loads(path.read_text()).values())
        turned = names[1:] + names[:1]
        edit_json(path, **{str(index): name for index, name in enumerate(turned)})

    photos = load_photos(unseen_cats / "images" / "Siamese")
    with beside(service, model_store, make_version(demo_archive, tmp_path, NEW, change)):
        found = asked(client, photos)
    assert found.agreement == 0
    assert found.difference > 0.5
    with pytest.raises(CheckFailed, match=r"agreement 0 on 6 photos; at least 0\.8"):
        check(found, Thresholds(max_slowdown=1000))


def test_a_version_that_fails_on_some(
    service: Service,
    client: InferenceClient,
    model_store: Path,
    demo_archive: Path,
    unseen_cats: Path,
    tmp_path: Path,
) -> None:
    photos = load_photos(unseen_cats / "images" / "Siamese")
    with beside(service, model_store, make_version(demo_archive, tmp_path, NEW, fails_at(4))):
        found = asked(client, photos)
    assert (found.errors_new, found.errors_current, found.answered) == (2, 0, 4)
    with pytest.raises(CheckFailed, match="2 of 6 photos are errors of the new version alone"):
        check(found, Thresholds(max_slowdown=1000))
    check(found, Thresholds(max_slowdown=1000, max_errors=0.34))


# On a scripted server, for what a real one does not do when told


def answer(version: str, **breeds: float) -> Scripted:
    predictions = [{"breed": breed, "probability": p} for breed, p in breeds.items()]
    body: dict[str, Any] = {"model": "m", "version": version, "unsure": False}
    return Scripted(200, body | {"predictions": predictions})


REFUSED, FAILED = Scripted(415, {"detail": "no photo"}), Scripted(500, {"detail": "broken"})


def scripted(*answers: Scripted) -> tuple[Comparison, list[str]]:
    """The comparison, and the versions in the order in which they were asked."""
    photos = [(f"{n}.jpg", b"photo") for n in range(len(answers) // 2)]
    with ScriptedServer(Scripted(404, {}), *answers) as server:
        client = InferenceClient(server.url, lambda: None)
        found = compare(client, "m", "1.0", "2.0", photos, lambda _done, _total: None)
        paths = [path for method, path, _ in server.asked if method == "POST"]
    return found, [path.removeprefix("/predictions/m/") for path in paths]


def test_versions_take_turns_in_being_first() -> None:
    one, two = answer("1.0", a=0.9), answer("2.0", a=0.7)
    found, order = scripted(one, two, two, one, one, two)
    assert order == ["1.0", "2.0", "2.0", "1.0", "1.0", "2.0"]
    assert found.difference == pytest.approx(0.2)


def test_difference_is_that_of_the_current_first_class() -> None:
    found, _ = scripted(
        answer("1.0", a=0.9, b=0.1),
        answer("2.0", b=0.6, a=0.4),
        answer("2.0", c=1.0),  # does not list it
        answer("1.0", a=0.7),
    )
    assert found.agreement == 0
    assert found.difference == pytest.approx((0.5 + 0.7) / 2)


@pytest.mark.parametrize(
    ("current", "new", "errors_new", "errors_current"),
    [
        (answer("1.0", a=1.0), REFUSED, 1, 0),
        (answer("1.0", a=1.0), FAILED, 1, 0),
        (answer("1.0", a=1.0), Scripted(200, {"a": "good"}), 1, 0),
        (REFUSED, answer("2.0", a=1.0), 0, 1),
        (REFUSED, FAILED, 1, 0),
        (FAILED, REFUSED, 0, 1),
        (REFUSED, REFUSED, 0, 0),
        (FAILED, FAILED, 0, 0),
    ],
)
def test_whose_error_it_is(
    current: Scripted, new: Scripted, errors_new: int, errors_current: int
) -> None:
    found, _ = scripted(current, new)
    assert (found.errors_new, found.errors_current) == (errors_new, errors_current)
    assert (found.answered, found.agreement, found.slowdown) == (0, 0, 1)


def test_a_service_that_is_gone() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        scripted(answer("1.0", a=1.0), Scripted(200, None))


# What is allowed


def test_the_limits_themselves_are_allowed() -> None:
    assert GOOD.slowdown == 3
    check(GOOD, Thresholds())
    check(replace(GOOD, errors_new=4), Thresholds(max_errors=0.1))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"agreement": 0.7999}, "agreement 0.7999 on 39 photos; at least 0.8"),
        ({"p50_ms_new": 31.0}, "slowdown 3.1 (p50 31.0 ms after 10.0); at most 3"),
        (
            {"errors_new": 1},
            "1 of 40 photos are errors of the new version alone (0.025); at most 0",
        ),
        ({"answered": 0, "agreement": 0.0}, "none of 40 photos was answered by both"),
        ({"photos": 0, "answered": 0}, "none of 0 photos was answered by both"),
    ],
)
def test_beyond_a_limit(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckFailed, match=re.escape(says)):
        check(replace(GOOD, **changed), Thresholds())


# Photos to compare on


def test_photos_of_a_folder(tmp_path: Path) -> None:
    names = ["b/2.PNG", "a.jpg", "b/c/3.heic", "b/1.webp", "notes.txt", "b/d.jpg/inside.gif"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    photos = load_photos(tmp_path)
    found = [str(Path(name).relative_to(tmp_path)) for name, _ in photos]
    assert found == ["a.jpg", "b/1.webp", "b/2.PNG", "b/c/3.heic", "b/d.jpg/inside.gif"]
    assert [content.decode() for _, content in photos] == found


def test_a_photo_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "cat"
    path.write_bytes(b"photo")
    assert load_photos(path) == [(str(path), b"photo")]


def test_at_most_a_thousand_from_all_folders(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        for number in range(500):
            (tmp_path / folder / f"{number:03}.jpg").touch()
    photos = load_photos(tmp_path)
    assert len(photos) == len({name for name, _ in photos}) == 1000
    for folder in ("a", "b", "c"):
        assert sum(Path(name).parent.name == folder for name, _ in photos) >= 333


@pytest.mark.parametrize("place", [".", "nowhere"])
def test_no_photos(tmp_path: Path, place: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckFailed, match="no photo there"):
        load_photos(tmp_path / place)


def test_more_than_memory_should_hold(tmp_path: Path) -> None:
    """Files with holes: they take no room on the disk."""
    for name in ("a.jpg", "b.jpg"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(600 << 20)
    with pytest.raises(CheckFailed, match="in 2 photos; at most"):
        load_photos(tmp_path)
