from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.data.photos import write_files
from training.data.dataset import DatasetError
from training.data.layouts import LayoutName, read_dataset
from training.data.scan import scan

ITALIAN = {
    "cane": "dog",
    "cavallo": "horse",
    "elefante": "elephant",
    "farfalla": "butterfly",
    "gallina": "chicken",
    "gatto": "cat",
    "mucca": "cow",
    "pecora": "sheep",
    "ragno": "spider",
    "scoiattolo": "squirrel",
}


def write(folder: Path, *names: str) -> Path:
    return write_files(folder, dict.fromkeys(names, b""))


def write_breeds(folder: Path, files: list[str], rows: list[str]) -> Path:
    table = "\n".join(["id,type,breed,age", *rows]) + "\n"
    write_files(folder, {"data/cats.csv": table.encode()})
    (folder / "images").mkdir()
    return write(folder, *(f"images/{name}" for name in files))


def labelled(layout: LayoutName, folder: Path) -> dict[str, str]:
    """Path -> class."""
    dataset = read_dataset(layout, folder)
    return {photo.path: dataset.classes[photo.label] for photo in dataset.photos}


class TestFolders:
    def test_a_class_is_a_folder_that_holds_photos(self, tmp_path: Path) -> None:
        names = ["owl/1.jpg", "owl/b.HEIC", "great tit/x.png", "great tit/y.webp", "Ärger/1.jpeg"]
        folder = write(tmp_path / "set", *names)
        write(folder, "notes/list.txt", "owl/notes.txt", "lone.jpg", ".git/1.jpg")
        found = labelled("folders", folder)
        assert found == {name: name.partition("/")[0] for name in names}
        dataset = read_dataset("folders", folder)
        assert dataset.classes == ("great tit", "owl", "Ärger")
        assert all(photo.part is None for photo in dataset.photos)
        assert len({photo.group for photo in dataset.photos}) == len(names)

    def test_what_it_passes_over_is_told(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "set", "owl/1.jpg", "owl/more/2.jpg", "lone.JPG", ".git/1.jpg")
        write(folder, "tit/notes.txt", "list.txt")
        assert read_dataset("folders", folder).passed_over == ("lone.JPG", "owl/more", "tit")

    def test_folders_one_deeper_are_refused_with_what_is_due(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "set", "train/owl/1.jpg", "test/owl/2.jpg")
        with pytest.raises(DatasetError, match=r"set: holds no <class>/<photo>\.jpg"):
            read_dataset("folders", folder)


class TestCatBreeds:
    def test_an_id_that_is_the_prefix_of_another_is_another_animal(self, tmp_path: Path) -> None:
        folder = write_breeds(
            tmp_path / "set",
            ["Siamese/123_1.jpg", "Siamese/123_2.jpg", "Siamese/1234_1.jpg", "Sphynx/9_1.jpg"],
            ["123,cat,Siamese,Young", "1234,cat,Siamese,Young", "9,cat,Sphynx,Old"],
        )
        dataset = read_dataset("cat-breeds", folder)
        assert dataset.classes == ("Siamese", "Sphynx")
        assert [photo.group for photo in dataset.photos] == ["1234", "123", "123", "9"]
        assert [photo.label for photo in dataset.photos] == [0, 0, 0, 1]
        assert dataset.rows_without_file == ()

    def test_rows_without_a_file_are_reported(self, tmp_path: Path) -> None:
        folder = write_breeds(
            tmp_path / "set", ["Siamese/12_1.jpg"], ["12,cat,Siamese,Old", "1,cat,Siamese,Old"]
        )
        assert read_dataset("cat-breeds", folder).rows_without_file == ("1",)

    def test_the_folder_says_the_breed_and_not_the_table(self, tmp_path: Path) -> None:
        folder = write_breeds(tmp_path / "set", ["Manx/5_1.jpg"], ["5,cat,Cymric,Old"])
        assert labelled("cat-breeds", folder) == {"images/Manx/5_1.jpg": "Manx"}

    @pytest.mark.parametrize(
        ("table", "named"),
        [
            (b"id,kind\n", r"cats\.csv: column breed is missing; columns id and breed are read"),
            (b"", "column breed, id is missing"),
            (b"id,breed\n1,Si\xffamese\n", r"cats\.csv: not a CSV file in UTF-8"),
            (
                b'id,breed\n1,"Siamese\n2,Siamese\n',
                "not a CSV file in UTF-8: unexpected end of data",
            ),
            (b'id,breed\n1,"Siamese\n2,"Manx"\n', "not a CSV file in UTF-8: ',' expected"),
        ],
    )
    def test_another_table_is_refused_by_name(
        self, tmp_path: Path, table: bytes, named: str
    ) -> None:
        folder = write_breeds(tmp_path / "set", ["Siamese/1_1.jpg"], [])
        (folder / "data" / "cats.csv").write_bytes(table)
        with pytest.raises(DatasetError, match=named):
            read_dataset("cat-breeds", folder)

    def test_a_table_that_is_no_file_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        folder = write_breeds(tmp_path / "set", ["Siamese/1_1.jpg"], [])
        table = folder / "data" / "cats.csv"
        table.unlink()
        os.mkfifo(table)
        with pytest.raises(DatasetError, match=r"cats\.csv: not a file"):
            read_dataset("cat-breeds", folder)
        table.unlink()
        table.mkdir()
        with pytest.raises(DatasetError, match=r"cats\.csv: not a file"):
            read_dataset("cat-breeds", folder)

    def test_a_table_with_a_byte_order_mark_is_read(self, tmp_path: Path) -> None:
        folder = write_breeds(tmp_path / "set", ["Siamese/1_1.jpg"], [])
        (folder / "data" / "cats.csv").write_bytes(b"\xef\xbb\xbfid,breed\n1,Siamese\n2,Siamese\n")
        assert read_dataset("cat-breeds", folder).rows_without_file == ("2",)

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        with pytest.raises(DatasetError, match="set: no such folder"):
            read_dataset("cat-breeds", folder)
        folder.mkdir()
        with pytest.raises(DatasetError, match=r"data/cats\.csv: No such file"):
            read_dataset("cat-breeds", folder)
        write_breeds(folder, [], [])
        with pytest.raises(DatasetError, match=r"holds no images/<breed>/<id>_<n>\.jpg"):
            read_dataset("cat-breeds", folder)
        shutil.rmtree(folder / "images")
        with pytest.raises(DatasetError, match="images: No such file"):
            read_dataset("cat-breeds", folder)


class TestPets:
    @pytest.mark.parametrize("below", ["", "images/"])
    def test_a_class_is_the_name_less_its_number(self, tmp_path: Path, below: str) -> None:
        names = ("Maine_Coon_12.jpg", "american_pit_bull_terrier_7.jpg", "Abyssinian_100.jpg")
        folder = write(tmp_path / "set", *(below + name for name in names))
        write(folder, f"{below}Abyssinian_100.mat", f"{below}._Abyssinian_9.jpg", "notes.jpg")
        write(folder, "annotations/Beagle_1.jpg")
        dataset = read_dataset("pets", folder)
        # Capitals first: cats, then dogs.
        assert dataset.classes == ("Abyssinian", "Maine_Coon", "american_pit_bull_terrier")
        assert labelled("pets", folder) == dict(
            zip((below + name for name in sorted(names)), dataset.classes, strict=True)
        )
        assert len({photo.group for photo in dataset.photos}) == 3

    def test_a_folder_without_photos_is_refused(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "set", "cat.jpg", "Bengal.jpg")
        with pytest.raises(DatasetError, match=r"holds no <Breed_Name>_<number>\.jpg"):
            read_dataset("pets", folder)


class TestAnimals10:
    def write_all(self, folder: Path) -> Path:
        return write(folder, *(f"raw-img/{name}/OIP-1.jpeg" for name in ITALIAN))

    def test_classes_are_in_english_and_in_alphabetical_order(self, tmp_path: Path) -> None:
        folder = self.write_all(tmp_path / "set")
        write(folder, "raw-img/gatto/1.png", "raw-img/gatto/2.JPG", "raw-img/gatto/Thumbs.db")
        write(folder, "raw-img/.DS_Store", "translate.py")
        found = labelled("animals-10", folder)
        assert found.pop("raw-img/gatto/1.png") == found.pop("raw-img/gatto/2.JPG") == "cat"
        assert found == {f"raw-img/{name}/OIP-1.jpeg": ITALIAN[name] for name in sorted(ITALIAN)}
        assert read_dataset("animals-10", folder).classes == tuple(sorted(ITALIAN.values()))

    def test_an_unknown_folder_is_refused_with_what_is_allowed(self, tmp_path: Path) -> None:
        folder = write(self.write_all(tmp_path / "set"), "raw-img/lupo/1.jpg")
        with pytest.raises(DatasetError, match=r"raw-img/lupo: not one .*; exactly cane, cavallo"):
            read_dataset("animals-10", folder)

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        folder = self.write_all(tmp_path / "set")
        shutil.rmtree(folder / "raw-img" / "ragno")
        with pytest.raises(DatasetError, match="raw-img/ragno: no such folder"):
            read_dataset("animals-10", folder)


class TestDogsVsCats:
    @pytest.mark.parametrize("below", ["", "train/"])
    def test_the_name_says_the_class(self, tmp_path: Path, below: str) -> None:
        folder = write(tmp_path / "set", f"{below}cat.0.jpg", f"{below}dog.11.jpg", "test1/1.jpg")
        write(folder, f"{below}cat.jpg", f"{below}dog.1.txt", f"{below}bobcat.1.jpg")
        assert labelled("dogs-vs-cats", folder) == {
            f"{below}cat.0.jpg": "cat",
            f"{below}dog.11.jpg": "dog",
        }

    def test_one_class_alone_is_refused(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "set", "cat.0.jpg")
        with pytest.raises(DatasetError, match=r"holds no dog\.<n>\.jpg"):
            read_dataset("dogs-vs-cats", folder)


class TestCatsAndDogs:
    def test_the_layout_says_the_part(self, tmp_path: Path) -> None:
        folder = write(
            tmp_path / "set",
            "training_set/training_set/cats/cat.1.jpg",
            "training_set/training_set/cats/_DS_Store",
            "training_set/training_set/dogs/dog.1.jpg",
            "test_set/test_set/cats/cat.4001.jpg",
            "test_set/test_set/dogs/dog.4001.jpg",
            "test_set/test_set/dogs/_DS_Store",
        )
        dataset = read_dataset("cats-and-dogs", folder)
        assert dataset.classes == ("cat", "dog")
        assert [(photo.label, photo.part) for photo in dataset.photos] == [
            (0, "test"),
            (1, "test"),
            (0, "training"),
            (1, "training"),
        ]

    def test_a_missing_part_is_named(self, tmp_path: Path) -> None:
        names = ("cats/cat.1.jpg", "dogs/dog.1.jpg")
        folder = write(tmp_path / "set", *(f"training_set/training_set/{name}" for name in names))
        with pytest.raises(DatasetError, match="test_set/test_set/cats: No such file"):
            read_dataset("cats-and-dogs", folder)


def test_an_unknown_layout_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'birds' is not allowed; one of \['folders'"):
        read_dataset("birds", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", get_args(LayoutName))
def test_an_empty_folder_is_none_of_them(tmp_path: Path, layout: LayoutName) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DatasetError, match="set"):
        read_dataset(layout, tmp_path / "set")


def test_photos_may_be_links_but_folders_may_not_lead_out(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere", "5_1.jpg")
    folder = write_breeds(tmp_path / "set", ["Manx/1_1.jpg"], [])
    (folder / "images" / "Manx" / "2_1.jpg").symlink_to(elsewhere / "5_1.jpg")
    (folder / "images" / "Manx" / "3_1.jpg").symlink_to("gone.jpg")
    by_link = tmp_path / "link"
    by_link.symlink_to(folder)
    # Whether a link leads anywhere is for the scan to say.
    assert len(read_dataset("cat-breeds", by_link).photos) == 3
    (folder / "images" / "Siamese").symlink_to(elsewhere)
    with pytest.raises(DatasetError, match="Siamese: a link that leads out of"):
        read_dataset("cat-breeds", folder)


def test_links_to_themselves_lead_nowhere(tmp_path: Path) -> None:
    folder = write_breeds(tmp_path / "set", ["Manx/1_1.jpg"], [])
    (folder / "images" / "Manx" / "2_1.jpg").symlink_to("2_1.jpg")
    (folder / "images" / "Siamese").symlink_to("Siamese")
    dataset = read_dataset("cat-breeds", folder)
    # As a link does whose target is gone: a photo that does not decode, and no folder.
    assert [photo.path for photo in dataset.photos] == [
        "images/Manx/1_1.jpg",
        "images/Manx/2_1.jpg",
    ]
    assert dataset.classes == ("Manx",)
    assert set(scan(dataset).undecodable) >= {"images/Manx/2_1.jpg"}
    shutil.rmtree(folder / "images")
    (folder / "images").symlink_to("images")
    with pytest.raises(DatasetError, match="images: Too many levels of symbolic links"):
        read_dataset("cat-breeds", folder)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DatasetError, match="loop: no such folder"):
        read_dataset("cat-breeds", tmp_path / "loop")


@given(order=st.permutations(["b_1.jpg", "B_1.jpg", "ä_1.jpg", "a_10.jpg", "a_2.jpg", "_1_1.jpg"]))
def test_the_order_does_not_depend_on_how_files_came_to_be(
    tmp_path_factory: pytest.TempPathFactory, order: list[str]
) -> None:
    folder = write(tmp_path_factory.mktemp("set"), *order)
    assert [photo.path for photo in read_dataset("pets", folder).photos] == sorted(order)
    shutil.rmtree(folder)
