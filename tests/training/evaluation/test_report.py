"""The page: one file that loads nothing, shows names as they are, and stays readable and small."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.web.browser.conftest import browser  # noqa: F401 - a fixture
from training.evaluation import calibration, metrics, pictures
from training.evaluation.evaluate import evaluate
from training.evaluation.figures import (
    Calibration,
    ConfusedPair,
    EvaluatedData,
    EvaluatedModel,
    Evaluation,
    Headline,
    Outside,
    Unsure,
)
from training.evaluation.predictors import from_run
from training.evaluation.report import page, write_report

EVIL = '<script>alert("x")</script>&\'{{ 7 * 7 }}'


def evaluation(classes: int, photos: int = 600) -> Evaluation:
    """Of random answers; class 1 is neither shown nor answered where there are more than two."""
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (photos,), generator=generator)
    logits = torch.randn(photos, classes, generator=generator)
    logits[torch.arange(photos), labels] += 2
    if classes > 2:
        logits[:, 1] = -20
        labels[labels == 1] = 0
    answers = metrics.answers_of(logits)
    by_class = metrics.per_class(answers, labels, classes)
    right = metrics.right_answers(logits, labels)
    matrix = metrics.confusion(answers, labels, classes)
    names = (EVIL, *(f"A breed of number {number}" for number in range(1, classes)))
    bins = metrics.reliability(logits.softmax(1), labels)
    scores = logits.logsumexp(1)
    return Evaluation(
        made="2026-01-02T03:04:05+00:00",
        model=EvaluatedModel("archive", f"{EVIL}.mar", "cats", "1.0", None, names),
        data=EvaluatedData(
            f"/data/{EVIL}", "pets", "all", photos, {f"{EVIL}.jpg": EVIL}, None, None
        ),
        remarks=(f"Left out: {EVIL}.",),
        headline=Headline(float(right.double().mean()), (0.4, 0.6), 0.9, 0.5, 0.5, 0.1),
        calibration=Calibration(2.0, 0.1, 0.02, bins, bins),
        unsure=Unsure(
            "energy",
            1.5,
            calibration.what_it_buys(scores > 1.5, right),
            "energy",
            calibration.selective_curve(scores.double(), right),
        ),
        outside=Outside(
            EVIL, 5, {}, 0.4, calibration.compare_scores(logits, labels, logits[:5] - 3)
        ),
        pairs=tuple(
            ConfusedPair(names[each.label], names[each.answer], each.photos, (f"{EVIL}.jpg",))
            for each in metrics.most_confused(matrix, 10)
        ),
        classes=by_class,
        confusion=tuple(tuple(row) for row in matrix.tolist()),
    )


@pytest.mark.parametrize("classes", [2, 10, 37, 67])
def test_names_are_shown_and_never_run(classes: int, tmp_path: Path) -> None:
    html = page(evaluation(classes), tmp_path)
    assert html.count("<script") == html.count("</script>") == 1
    assert "alert(&#34;x&#34;)" in html
    assert "{{ 7 * 7 }}" in html
    assert len(html) < 1_500_000


def test_nothing_is_loaded_and_only_its_own_style_and_script_are_allowed(tmp_path: Path) -> None:
    html = page(evaluation(10), tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'")
    assert allowed.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert "style=" not in html


def test_unsure_that_is_never_sure_is_told_in_words(tmp_path: Path) -> None:
    found = evaluation(10)
    never = dataclasses.replace(
        found.unsure,
        threshold=1.7976931348623157e308,
        bought=calibration.Bought(0.0, None, 0.0),
    )
    html = page(dataclasses.replace(found, unsure=never), tmp_path)
    assert "above all answers" in html
    assert "e+308" not in html


def test_the_mistakes_are_shown_small(run: Path, photos: Path, tmp_path: Path) -> None:
    evaluate(from_run(run), photos, tmp_path, "all")
    html = (tmp_path / "evaluation.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    examples = sum(
        len(pair["examples"])
        for pair in json.loads((tmp_path / "evaluation.json").read_text())["pairs"]
    )
    assert 0 < len(pictures) == examples <= 40
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert max(image.size) <= 192


def test_a_full_disk_leaves_the_last_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(evaluation(2), tmp_path, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_text

    def full(path: Path, text: str, encoding: str | None = None) -> int:
        write(path, text[:100], encoding=encoding)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(evaluation(10), tmp_path, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interrupted_report_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files: a new one beside an old one would be of two models."""
    write_report(evaluation(2), tmp_path, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "thumbnail", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_report(evaluation(10), tmp_path, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_report(evaluation(10), tmp_path, tmp_path)
    assert all((tmp_path / name).read_bytes() != content for name, content in before.items())
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_two_that_write_at_once_do_not_write_into_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, used = Path.write_text, []

    def noted(path: Path, text: str, encoding: str | None = None) -> int:
        used.append(path.name)
        return write(path, text, encoding=encoding)

    monkeypatch.setattr(Path, "write_text", noted)
    for process in (101, 102):
        monkeypatch.setattr(os, "getpid", lambda number=process: number)
        write_report(evaluation(2), tmp_path, tmp_path)
    assert len(set(used)) == len(used) == 4


def test_what_the_threshold_was_chosen_for_is_said_where_it_is_known(tmp_path: Path) -> None:
    found = evaluation(10)
    assert "chosen on validation photos" not in page(found, tmp_path)
    for stated, told in ((0.95, "95%"), (0.995, "99.5%"), (0.57, "57%")):
        unsure = dataclasses.replace(found.unsure, sure_precision=stated)
        html = page(dataclasses.replace(found, unsure=unsure), tmp_path)
        assert f"so that at least {told} of the sure answers are right; here " in html


@pytest.mark.parametrize("chose", [True, False])
def test_test_photos_that_decided_something_are_not_called_untouched(
    tmp_path: Path, chose: bool
) -> None:
    found = evaluation(10)
    data = dataclasses.replace(found.data, part="test", chose_precision=chose)
    html = page(dataclasses.replace(found, data=data), tmp_path)
    assert ("which nothing was decided on" in html) != chose


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Page]:  # noqa: F811
    """The page in a browser, from disk; at the end nothing may have been refused or asked for."""
    write_report(evaluation(37), tmp_path, tmp_path)
    context = browser.new_context(viewport={"width": 400, "height": 800}, offline=True)
    complaints: list[str] = []
    shown = context.new_page()
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("dialog", lambda dialog: complaints.append(dialog.message))
    shown.on("request", lambda request: complaints.append(request.url))
    address = (tmp_path / "evaluation.html").as_uri()
    shown.goto(address)
    yield shown
    context.close()
    assert complaints == [address]


def test_it_works_from_disk_and_fits_a_phone(opened: Page) -> None:
    assert opened.title() == "cats 1.0: evaluation"
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    assert opened.locator("svg.matrix g.row").count() == 36
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(ground)
    opened.emulate_media(color_scheme="dark")
    assert opened.evaluate(ground) != light
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate(ground) == "rgb(255, 255, 255)"


def test_no_name_is_too_long_for_a_phone(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    long = "unspeakably" * 25
    found = evaluation(10)
    assert found.outside is not None
    pairs = tuple(
        dataclasses.replace(pair, label=long, answer=long, examples=(f"{long}/{long}.jpg",))
        for pair in found.pairs
    )
    found = dataclasses.replace(
        found,
        model=dataclasses.replace(
            found.model, name=long, source=long, classes=(long, *found.model.classes[1:])
        ),
        data=dataclasses.replace(found.data, folder=long, layout=long, not_answered={long: long}),
        outside=dataclasses.replace(found.outside, folder=long),
        remarks=(long,),
        pairs=pairs,
    )
    write_report(found, tmp_path, tmp_path)
    shown = browser.new_page(viewport={"width": 375, "height": 800})
    shown.goto((tmp_path / "evaluation.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 375
    beyond = """() => [...document.querySelectorAll("header *, main *")].filter(each =>
        !each.closest(".scroll, svg") && each.getBoundingClientRect().right > innerWidth
    ).map(each => each.outerHTML.slice(0, 80))"""
    assert shown.evaluate(beyond) == []
    shown.close()


def test_all_that_scrolls_can_be_reached_with_the_keyboard(opened: Page) -> None:
    scrolling = opened.locator(".scroll")
    assert scrolling.count() == 4
    for each in scrolling.all():
        assert each.get_attribute("tabindex") == "0"
        assert each.get_attribute("role") == "region"
        name = each.get_attribute("aria-labelledby")
        assert opened.locator(f"#{name}").inner_text()


def test_bins_and_paths_are_there_as_text(opened: Page) -> None:
    """What only a pointer finds is lost on a phone, in print and to a screen reader."""
    table = opened.locator("section[aria-labelledby=calibration] details table")
    assert not table.is_visible()
    opened.get_by_text("The bins as a table").click()
    assert table.is_visible()
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    bins = [each for each in evaluation(37).calibration.after if each.photos]
    told = [[str(each.photos), f"{each.confidence:.1%}", f"{each.accuracy:.1%}"] for each in bins]
    # As the network says, then as answered: here these are the same.
    assert rows == [each * 2 for each in told]
    pairs = evaluation(37).pairs
    assert opened.locator(".mistakes .paths code").all_inner_texts() == [
        path for pair in pairs for path in pair.examples
    ]


def test_the_table_of_classes_sorts_by_each_column(opened: Page) -> None:
    def column(number: int) -> list[str]:
        cells = opened.locator(f"table.sortable tbody tr > :nth-child({number})")
        return cells.all_text_contents()

    head = opened.locator("table.sortable thead th")
    head.nth(1).locator("button").click()
    assert [int(text) for text in column(2)] == sorted(map(int, column(2)), reverse=True)
    head.nth(1).locator("button").click()
    assert [int(text) for text in column(2)] == sorted(map(int, column(2)))
    assert head.nth(1).get_attribute("aria-sort") == "ascending"
    head.nth(3).locator("button").click()
    recalls = [float(text[:-1]) if text[-1] == "%" else -1.0 for text in column(4)]
    assert recalls == sorted(recalls, reverse=True)
    assert head.nth(1).get_attribute("aria-sort") is None
    head.nth(0).locator("button").click()
    names = [name for name in column(1) if name.startswith("A breed")]
    assert names[:2] == ["A breed of number 1", "A breed of number 10"]
    assert names[-1] == "A breed of number 9"
