import csv
import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from training.drawn_cats import (
    CLASSES,
    OutputExistsError,
    Summary,
    dataset,
    write_dataset,
    write_photos,
)
from training.drawn_cats.plan import MIN_PHOTOS

SIZE = 24


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    out = tmp_path_factory.mktemp("drawn") / "cats"
    return write_dataset(out, seed=3, photos=MIN_PHOTOS, size=SIZE, workers=2)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except (OSError, UnidentifiedImageError):
        return False
    return True


def test_it_has_the_layout_of_cat_breeds(drawn: Summary) -> None:
    with (drawn.folder / "data" / "cats.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"id", "breed"} < set(rows[0])
    breeds = {row["id"]: row["breed"] for row in rows}
    assert {path.name for path in (drawn.folder / "images").iterdir()} == set(CLASSES)
    for path in (drawn.folder / "images").glob("*/*"):
        animal_id, number = path.stem.split("_")
        assert breeds[animal_id] == path.parent.name
        assert path.suffix == ".jpg"
        assert int(number) >= 1


def test_the_files_that_decode_are_as_many_as_said(drawn: Summary) -> None:
    contents = [path.read_bytes() for path in (drawn.folder / "images").glob("*/*.jpg")]
    broken = [data for data in contents if not _decodes(data)]
    assert len(contents) - len(broken) == drawn.photos == MIN_PHOTOS
    assert len(broken) == drawn.undecodable
    assert b"" in broken
    assert any(data.startswith(b"<!DOCTYPE html") for data in broken)
    assert any(data.startswith(b"\xff\xd8") for data in broken)


def test_the_bytes_do_not_depend_on_the_number_of_workers(drawn: Summary, tmp_path: Path) -> None:
    seen = []
    write_dataset(
        tmp_path / "one", seed=3, photos=MIN_PHOTOS, size=SIZE, workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert _digests(tmp_path / "one") == _digests(drawn.folder)
    assert seen == sorted(seen)
    assert seen[-1] == (MIN_PHOTOS + drawn.undecodable,) * 2


def test_the_same_set_is_left_as_it_is(drawn: Summary) -> None:
    again = write_dataset(drawn.folder, seed=3, photos=MIN_PHOTOS, size=SIZE)
    assert again.already_there
    assert not drawn.already_there
    assert (again.photos, again.largest) == (drawn.photos, drawn.largest)


def test_another_set_is_not_overwritten(drawn: Summary) -> None:
    with pytest.raises(OutputExistsError, match=r"cats: holds .* other settings \(seed\)"):
        write_dataset(drawn.folder, seed=4, photos=MIN_PHOTOS, size=SIZE)
    with pytest.raises(OutputExistsError, match="other settings"):
        write_photos(drawn.folder, seed=3, per_breed=1, size=SIZE)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(OutputExistsError, match="no finished set"):
        write_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(OutputExistsError, match="is a file"):
        write_dataset(tmp_path / "mine.txt")


def test_a_set_that_lost_photos_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "few"
    write_photos(out, seed=1, per_breed=1, size=SIZE, workers=1)
    next((out / "images").glob("*/*.jpg")).unlink()
    with pytest.raises(OutputExistsError, match="holds 66 photos"):
        write_photos(out, seed=1, per_breed=1, size=SIZE, workers=1)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    summary = write_photos(tmp_path, seed=1, per_breed=1, size=SIZE, workers=1)
    assert (summary.photos, summary.smallest, summary.largest) == (67, 1, 1)
    assert len(list(tmp_path.glob("images/*/*.jpg"))) == 67


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_call_leaves_nothing(tmp_path: Path, workers: int) -> None:
    def interrupt(done: int, total: int) -> None:
        assert 0 < done < total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(
            tmp_path / "cats", photos=MIN_PHOTOS, size=SIZE, workers=workers, progress=interrupt
        )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset, "_photo_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        write_photos(tmp_path / "cats", seed=1, per_breed=1, size=SIZE, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_set_differs_from_the_training_set_of_its_seed(
    drawn: Summary, tmp_path: Path
) -> None:
    write_photos(tmp_path / "even", seed=3, per_breed=1, size=SIZE, workers=1)
    training = set(_digests(drawn.folder / "images").values())
    assert training.isdisjoint(_digests(tmp_path / "even" / "images").values())
