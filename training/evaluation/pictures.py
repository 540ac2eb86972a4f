"""Where the report's charts put their marks, and small copies of photos.

Charts are drawn by `charts.html` as inline SVG, so that they follow the page's colours, in print
as well. Coordinates are in px of the chart's view box, y downwards, rounded to a tenth.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from handlers.config import Limits
from handlers.images import decode_image
from handlers.problems import Problem
from training.evaluation.figures import Evaluation, Unsure
from training.evaluation.metrics import Bin

# Twice what is shown, for fine screens.
_THUMBNAIL_SIDE = 192
_QUALITY = 70
_LONGEST_NAME = 26
# Side of a cell in px by the most classes that it is for.
_CELL_SIDES = ((4, 72), (12, 44), (24, 30), (40, 19))
_SMALLEST_CELL = 13
_MOST_WITH_NUMBERS = 24
_LETTER = 0.56  # width of a letter, of the font's size


@dataclass(frozen=True)
class Plot:
    """A chart's inner area; both axes show shares."""

    left: float = 48
    top: float = 12
    side: float = 300
    lowest: float = 0.0  # share at the bottom

    def x(self, share: float) -> float:
        """Of a share on the horizontal axis, which begins at 0."""
        return round(self.left + share * self.side, 1)

    def y(self, share: float) -> float:
        """Of a share on the vertical axis."""
        return round(self.top + (1 - share) / (1 - self.lowest) * self.side, 1)

    @property
    def ticks(self) -> list[float]:
        """Shares with a label on the vertical axis, in fifths of it."""
        return [round(self.lowest + (1 - self.lowest) * i / 5, 3) for i in range(6)]


@dataclass(frozen=True)
class Dot:
    """A bin of a reliability diagram; its area is the bin's share of the photos."""

    x: float
    y: float
    radius: float
    says: str


def reliability_dots(plot: Plot, bins: Sequence[Bin]) -> list[Dot]:
    """Mean confidence across, accuracy upwards."""
    total = sum(each.photos for each in bins)
    return [
        Dot(
            plot.x(each.confidence),
            plot.y(each.accuracy),
            round(max(2.5, 14 * math.sqrt(each.photos / total)), 1),
            f"{each.photos} photos: {each.confidence:.1%} promised, {each.accuracy:.1%} right",
        )
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    ]


def line(points: Sequence[tuple[float, float]]) -> str:
    """The `points` of a polyline."""
    return " ".join(f"{x},{y}" for x, y in points)


def unsure_plot(unsure: Unsure) -> Plot:
    """From the tenth below the lowest precision upwards."""
    lowest = min(
        [point.precision for point in unsure.curve]
        + [unsure.bought.precision if unsure.bought.precision is not None else 1.0]
    )
    return Plot(lowest=min(0.9, math.floor(lowest * 10) / 10))


@dataclass(frozen=True)
class Cell:
    """Photos of one class with one answer.

    Attributes:
        strength: of its colour, 0..1, the square root of its share of the class's photos.
    """

    x: float
    photos: int
    right: bool
    strength: float
    says: str


@dataclass(frozen=True)
class Row:
    """One class of the matrix; `name` may be shortened."""

    y: float
    name: str
    full_name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix; classes neither shown nor answered are left out."""

    side: float
    margin: float
    font: float
    numbers: bool
    rows: tuple[Row, ...]

    @property
    def width(self) -> float:
        """Of the whole chart, which is square."""
        return round(self.margin + self.side * len(self.rows) + 4, 1)


def confusion_matrix(found: Evaluation) -> Matrix:
    """Rows are what photos show, columns what was answered."""
    names = found.model.classes
    ids = [i for i, each in enumerate(found.classes) if each.support or each.answered]
    side = next((side for most, side in _CELL_SIDES if len(ids) <= most), _SMALLEST_CELL)
    font = min(13.0, side - 3.0)
    shortened = {i: _short(names[i]) for i in ids}
    margin = round(max(len(name) for name in shortened.values()) * font * _LETTER + 14, 1)
    rows = []
    for number, label in enumerate(ids):
        support = found.classes[label].support
        cells = []
        for place, answer in enumerate(ids):
            photos = found.confusion[label][answer]
            if not photos:
                continue
            what = "answered rightly" if label == answer else f"answered as {names[answer]}"
            share = photos / support
            cells.append(
                Cell(
                    x=round(margin + place * side, 1),
                    photos=photos,
                    right=label == answer,
                    strength=round(math.sqrt(share), 2),
                    says=f"{names[label]}, {what}: {photos} of {support} ({share:.0%})",
                )
            )
        y = round(margin + number * side, 1)
        rows.append(Row(y, shortened[label], names[label], tuple(cells)))
    return Matrix(side, margin, font, len(ids) <= _MOST_WITH_NUMBERS, tuple(rows))


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a photo; `address` is a data URI, None where the photo cannot be read."""

    path: str
    address: str | None
    width: int
    height: int


def thumbnail(folder: Path, path: str) -> Thumbnail:
    """A JPEG of at most 192 px a side, shown at half of that."""
    try:
        image = decode_image((folder / path).read_bytes(), Limits())
    except (OSError, Problem):
        return Thumbnail(path, None, _THUMBNAIL_SIDE // 2, _THUMBNAIL_SIDE // 2)
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    address = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return Thumbnail(path, address, max(1, image.width // 2), max(1, image.height // 2))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
