from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.data.photos import jpeg, picture, write_files
from training.data.check import check_data, print_table
from training.data.report import ClassCount, DataReport


@pytest.fixture
def report(tmp_path: Path) -> DataReport:
    files = {f"cat.{n}.jpg": jpeg(picture(n)) for n in range(12)} | {"cat.99.jpg": b""}
    files |= {f"dog.{n}.jpg": jpeg(picture(100 + n)) for n in range(6)}
    files["dog.7.jpg"] = files["cat.3.jpg"]
    return check_data("dogs-vs-cats", write_files(tmp_path / "set", files), 0.2, 0.2, 42)


def printed(report: DataReport) -> str:
    file = io.StringIO()
    print_table(report, Console(file=file, width=80))
    return file.getvalue()


def test_what_is_piped_is_plain_text_of_80_columns(
    report: DataReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(report)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    for said in (
        "20 photos, 2 classes",
        "Files that do not decode: 1",
        "cat.99.jpg: empty",
        "Groups of files with the same bytes: 1",
        "cat, dog: cat.3.jpg, dog.7.jpg",
        "Groups of photos that look the same: none",
        "with this split: 0 groups of copies, 0 animals",
        report.split_hash,
    ):
        assert said in text


def test_counts_stand_beside_their_class(report: DataReport) -> None:
    (line,) = (line for line in printed(report).splitlines() if line.strip().startswith("cat "))
    cats = report.classes[0]
    shown = [int(cell) for cell in line.split()[1:]]
    assert shown == [13, cats.training, cats.validation, cats.test, 1]


def test_a_class_that_is_not_split_says_why(report: DataReport) -> None:
    classes = (
        ClassCount("lone", 3, 0, 0, 0, 0),
        ClassCount("broken", 0, 0, 0, 0, 4),
        ClassCount("empty", 0, 0, 0, 0, 0),
    )
    unsplit = tuple(count.name for count in classes)
    text = printed(dataclasses.replace(report, classes=classes, unsplit=unsplit))
    assert "Classes of which nothing is held out: 3" in text
    for said in ("lone: too small", "broken: no photo that decodes", "empty: no photo\n"):
        assert said in text


def test_long_lists_are_cut_and_say_so(report: DataReport) -> None:
    many = dataclasses.replace(report, undecodable={f"{n}.jpg": "empty" for n in range(1500)})
    text = printed(many)
    assert "Files that do not decode: 1,500" in text
    assert "and 1,492 more; --json lists all" in text
    assert "1499.jpg" not in text


def test_any_name_can_be_printed(report: DataReport) -> None:
    """Names come from a folder: markup, control characters and broken UTF-8 stay text."""
    name = "[red]\x1b[2Jcaf\udce9[/nothing]"
    odd = dataclasses.replace(
        report,
        folder=f"/data/{name}",
        majority_class=name,
        classes=(ClassCount(name, 10**6, 10**6, 10**6, 10**5, 10**5), *report.classes),
        undecodable={name: name},
        unsplit=(name,),
    )
    text = printed(odd)
    assert "\x1b" not in text
    assert "[red]?[2Jcaf?[/nothing]" in text
    assert max(map(len, text.splitlines())) <= 80
    text.encode()
