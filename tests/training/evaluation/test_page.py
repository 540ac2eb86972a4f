"""Every figure that the page shows is read back and compared with evaluation.json."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

import pytest
import torch

from tests.training.evaluation.conftest import Written, write_logits
from training.evaluation.evaluate import evaluate

CLASSES = ("Abyssinian", "Birman", "Bombay", "Korat", "Manx", "Persian", "Siamese", "Sphynx")
# Photos of each; the last class is neither shown nor answered, the one before is never answered.
SHOWN = (40, 25, 12, 9, 7, 5, 4, 0)
NOTHING = "\u2013"
# Elements without an end tag.
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Refuses a page whose elements are not nested."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = TreeBuilder()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.tree.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tree.end(tag).tag == tag

    def handle_data(self, data: str) -> None:
        self.tree.data(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    generator = torch.Generator().manual_seed(11)
    photos = {}
    for label, count in enumerate(SHOWN):
        for number in range(count):
            logits = 2 * torch.randn(len(CLASSES), generator=generator)
            logits[label] += 2.2
            logits[-2:] = -12
            photos[f"{CLASSES[label]}/{number}_1"] = logits.tolist()
    strangers = folder / "strangers"
    strangers.mkdir()
    for number in range(46):
        logits = 1.6 * torch.randn(len(CLASSES), generator=generator)
        (strangers / f"{number}.jpg").write_text(json.dumps(logits.tolist()))
    data = write_logits(folder / "data", photos)
    evaluate(Written(CLASSES, 1.7, 2.6), data, folder / "out", "all", strangers)
    return folder / "out"


@pytest.fixture(scope="module")
def found(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return read


@pytest.fixture(scope="module")
def shown(out: Path) -> Element:
    reader = Reader()
    reader.feed((out / "evaluation.html").read_text())
    reader.close()
    return reader.tree.close()


def the(part: Element, path: str) -> Element:
    (only,) = part.findall(f".//{path}")
    return only


def section(shown: Element, name: str) -> Element:
    return the(shown, f"section[@aria-labelledby='{name}']")


def text(part: Element) -> str:
    return " ".join("".join(part.itertext()).split())


def number(part: Element, attribute: str) -> float:
    return float(part.attrib[attribute])


def share(figure: str) -> float | None:
    if figure == NOTHING:
        return None
    assert re.fullmatch(r"\d+\.\d%", figure)
    return float(figure[:-1]) / 100


def rounded(value: float | None) -> object:
    """What a share may be where it is shown with a tenth of a per cent."""
    return None if value is None else pytest.approx(value, abs=5.01e-4)


def table(part: Element) -> list[dict[str, str]]:
    """Rows by the heads of their columns."""
    names = [text(cell) for cell in the(part, "thead/tr")]
    rows = part.findall(".//tbody/tr")
    return [dict(zip(names, map(text, row), strict=True)) for row in rows]


def test_no_two_figures_look_alike(found: dict[str, Any]) -> None:
    """Else one could stand in another's place, or be taken from 1, and no test here would tell."""
    headline, bought, outside = found["headline"], found["unsure"]["bought"], found["outside"]
    figures = [headline[name] for name in ("top1", "top5", "macro_f1", "balanced_accuracy")]
    figures += [headline["majority_baseline"], *headline["top1_interval"], outside["unsure"]]
    figures += [bought[name] for name in ("answered", "precision", "kept")]
    figures += [found["calibration"]["error_before"], found["calibration"]["error_after"]]
    by_score = [
        [each["kept"], each["outside_unsure"], each["auroc"]]
        for each in outside["comparison"]["scores"]
    ]
    for together in (figures, *by_score):
        both_ways = [*together, *(1 - each for each in together)]
        assert min(abs(a - b) for a, b in combinations(both_ways, 2)) > 0.0011


def test_headline_figures_stand_below_their_names(found: dict[str, Any], shown: Element) -> None:
    headline, calibration = found["headline"], found["calibration"]
    lead = {
        text(the(part, "p[@class='label']")).partition(":")[0]: part
        for part in the(shown, "div[@class='card lead']")
        if part.find("p[@class='label']") is not None
    }
    for name, value in [("Top-1", "top1"), ("Majority baseline", "majority_baseline")]:
        (figure,) = (each for each in lead[name] if "figure" in each.attrib["class"].split())
        assert share(text(figure)) == rounded(headline[value])
    ends = re.findall(r"[\d.]+%(?= to|$)", text(the(lead["Top-1"], "p[@class='soft']")))
    assert [share(end) for end in ends] == [rounded(end) for end in headline["top1_interval"]]
    tiles = {
        text(the(tile, "dt")): [text(figure) for figure in tile.findall("dd")]
        for tile in the(shown, "dl[@class='tiles']")
    }
    assert share(tiles["Top-5"][0]) == rounded(headline["top5"])
    assert share(tiles["Balanced accuracy"][0]) == rounded(headline["balanced_accuracy"])
    assert share(tiles["Macro-F1"][0]) == rounded(headline["macro_f1"])
    after, before = tiles["Calibration error"]
    assert share(after) == rounded(calibration["error_after"])
    assert share(before.removesuffix(" before scaling")) == rounded(calibration["error_before"])
    assert share(tiles["Called unsure"][0]) == rounded(1 - found["unsure"]["bought"]["answered"])


def test_sentences_have_the_figures_that_they_speak_of(
    found: dict[str, Any], shown: Element
) -> None:
    bought, calibration = found["unsure"]["bought"], found["calibration"]
    unsure = text(section(shown, "unsure"))
    for words, value in [
        ("of the photos", bought["answered"]),
        ("of these answers are right", bought["precision"]),
        ("of all right answers are kept", bought["kept"]),
    ]:
        (figure,) = re.findall(rf"([\d.]+%) {words}", unsure)
        assert share(figure) == rounded(value), words
    assert f"lies below {found['unsure']['threshold']:.4g}, " in unsure
    (figure,) = re.findall(r"at least 90% of the sure answers are right; here ([\d.]+%)", unsure)
    assert share(figure) == rounded(bought["precision"])
    told = text(section(shown, "calibration"))
    ((before, after),) = re.findall(r"goes from (\S+%) to (\S+%)", told)
    assert share(before) == rounded(calibration["error_before"])
    assert share(after) == rounded(calibration["error_after"])
    assert f"a temperature of {calibration['temperature']:.4g} " in told


def test_the_bins_as_a_table(found: dict[str, Any], shown: Element) -> None:
    part, both = section(shown, "calibration"), found["calibration"]
    first, second = (list(map(text, row)) for row in the(part, "thead"))
    assert first == ["", "as the network says", "as answered"]
    assert second == ["Best probability", *(2 * ["Photos", "Promised", "Right"])]
    pairs = zip(both["before"], both["after"], strict=True)
    filled = [pair for pair in pairs if any(each["photos"] for each in pair)]
    for row, pair in zip(part.findall(".//tbody/tr"), filled, strict=True):
        name, *figures = map(text, row)
        assert name == f"{pair[0]['low']:.1%} to {pair[0]['high']:.1%}"
        for (photos, promised, right), each in zip((figures[:3], figures[3:]), pair, strict=True):
            assert int(photos) == each["photos"]
            assert share(promised) == rounded(each["confidence"])
            assert share(right) == rounded(each["accuracy"])


def test_mistakes_have_their_numbers_and_paths(found: dict[str, Any], shown: Element) -> None:
    for item, pair in zip(the(shown, "ul[@class='mistakes']"), found["pairs"], strict=True):
        told, count = text(the(item, "p")), pair["photos"]
        assert told.startswith(f"{pair['label']} answered as {pair['answer']} ")
        assert re.findall(r"\d+ photos?$", told) == [f"{count} photo{'s' * (count > 1)}"]
        assert [text(path) for path in item.findall(".//code")] == pair["examples"]


def test_the_strangers_and_the_three_scores(found: dict[str, Any], shown: Element) -> None:
    part, outside = section(shown, "outside"), found["outside"]
    assert share(text(the(part, "strong"))) == rounded(outside["unsure"])
    assert f"of {outside['photos']} photos" in text(part)
    names = {"best probability": "probability", "largest logit": "max-logit", "energy": "energy"}
    bests = []
    for row, each in zip(table(part), outside["comparison"]["scores"], strict=True):
        ((name, badge),) = re.findall(rf"^({'|'.join(names)})( best)?$", row["Score"])
        assert names[name] == each["score"]
        bests += [each["score"]] if badge else []
        assert float(row["Threshold"]) == pytest.approx(each["threshold"], rel=5.01e-4)
        assert share(row["Right answers kept"]) == rounded(each["kept"])
        assert share(row["Outside called unsure"]) == rounded(each["outside_unsure"])
        assert float(row["AUROC"]) == rounded(each["auroc"])
    assert bests == [outside["comparison"]["best"]]


def test_the_table_of_classes(found: dict[str, Any], shown: Element) -> None:
    rows = table(section(shown, "classes"))
    assert [row["Class"] for row in rows] == list(CLASSES)
    assert [int(row["Photos"]) for row in rows] == list(SHOWN)
    for row, each in zip(rows, found["classes"], strict=True):
        assert (int(row["Photos"]), int(row["Answered"])) == (each["support"], each["answered"])
        assert share(row["Recall"]) == rounded(each["recall"])
        assert share(row["Precision"]) == rounded(each["precision"])
        assert share(row["F1"]) == rounded(each["f1"])
    assert (rows[-2]["Recall"], rows[-2]["Precision"]) == ("0.0%", NOTHING)
    assert (rows[-1]["Recall"], rows[-1]["Precision"]) == (NOTHING, NOTHING)


def test_the_confusion_matrix_has_each_number_in_its_place(
    found: dict[str, Any], shown: Element
) -> None:
    rows = the(shown, "svg[@class='matrix']").findall("g[@class='row']")
    # A class's column lies as far to the right as its row lies below.
    places = [number(the(row, "rect[@class='band']"), "y") for row in rows]
    read = [[0] * len(CLASSES) for _ in CLASSES]
    for label, row in enumerate(rows):
        assert text(the(row, "text[@class='name']")).startswith(CLASSES[label])
        for cell in row.findall("g"):
            answer = places.index(number(the(cell, "rect"), "x"))
            read[label][answer] = int(text(the(cell, "text")))
            assert ("right" in cell.attrib["class"].split()) == (label == answer)
    assert read == found["confusion"]


def read_off(chart: Element, marks: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """(across, upwards) of marks at (x, y), as the labels of the chart's axes have it."""

    def axis(anchor: str, places: list[float], marked: list[float]) -> list[float]:
        labels = chart.findall(f"text[@class='tick'][@text-anchor='{anchor}']")
        shares = [float(text(label).removesuffix("%")) / 100 for label in labels]
        step = (shares[-1] - shares[0]) / (places[-1] - places[0])
        return [shares[0] + (place - places[0]) * step for place in marked]

    columns = chart.findall("text[@class='tick'][@text-anchor='middle']")
    lines = chart.findall("line[@class='grid']")
    across = axis("middle", [number(each, "x") for each in columns], [x for x, _ in marks])
    upwards = axis("end", [number(each, "y1") for each in lines], [y for _, y in marks])
    return list(zip(across, upwards, strict=True))


def circles(part: Element) -> list[tuple[float, float]]:
    return [(number(each, "cx"), number(each, "cy")) for each in part.findall("circle")]


def points(polyline: Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in polyline.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def close(marks: list[tuple[float, float]]) -> list[object]:
    return [pytest.approx(mark, abs=5e-4) for mark in marks]


def test_the_charts_show_figures_along_the_axes_that_are_named(
    found: dict[str, Any], shown: Element
) -> None:
    chart = the(section(shown, "calibration"), "svg")
    across, upwards = (text(each) for each in chart.findall("text[@class='axis']"))
    assert across.startswith("best probability")
    assert upwards.startswith("right answers")
    for name in ("before", "after"):
        bins = [each for each in found["calibration"][name] if each["photos"]]
        expected = close([(each["confidence"], each["accuracy"]) for each in bins])
        group = the(chart, f"g[@class='{name}']")
        assert read_off(chart, circles(group)) == expected
        assert read_off(chart, points(the(group, "polyline"))) == expected
    chart, unsure = the(section(shown, "unsure"), "svg"), found["unsure"]
    across, upwards = (text(each) for each in chart.findall("text[@class='axis']"))
    assert across.startswith("photos answered")
    assert upwards.startswith("right among the answered")
    curve = [(each["answered"], each["precision"]) for each in unsure["curve"]]
    assert read_off(chart, points(the(chart, "polyline[@class='curve']"))) == close(curve)
    chosen = [(unsure["bought"]["answered"], unsure["bought"]["precision"])]
    assert read_off(chart, circles(the(chart, "g[@class='chosen']"))) == close(chosen)
