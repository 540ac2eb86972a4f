"""A report on a data folder as a picture: how unequal the classes are, and what copies look like.

The one module here that loads matplotlib.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from handlers.images import decode_image
from training.data.dataset import check_outside
from training.data.photo_facts import LIMITS
from training.data.report import ClassCount, DataReport, printable

# Told apart by the colour-blind as well (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/).
_COLOURS = {
    "training": "#0072B2",
    "validation": "#E69F00",
    "test": "#009E73",
    "in no part": "#AAAAAA",
}
_MUTED = "#555555"
_WIDTH, _BAR, _AROUND_BARS, _PAIR = 9.0, 0.18, 1.25, 1.6  # inches
_MOST_PAIRS, _PAIRS_A_ROW = 6, 3
_THUMBNAIL = 240  # px
# Beyond this ratio the small classes could not be seen on a linear axis.
_VERY_UNEQUAL = 50


def draw(report: DataReport, path: Path) -> None:
    """Draw a report into a PNG file.

    Raises:
        DatasetError: the file would lie in the data folder, which is never changed.
        OSError: it cannot be written.
    """
    check_outside(path, Path(report.folder), "--picture")
    pairs = list(_pairs(report))
    rows = -(-len(pairs) // _PAIRS_A_ROW)
    heights = [_AROUND_BARS + _BAR * len(report.classes)]
    if pairs:
        heights.append(0.4 + _PAIR * rows)
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=130, layout="constrained")
    above, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_bars(above.subplots(), report)
    for place in below:
        _draw_pairs(place, report, pairs, rows)
    png = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(png, format="png")
    path.write_bytes(png.getvalue())


def _draw_bars(axes: Axes, report: DataReport) -> None:
    """A bar a class, the commonest on top, its parts one after another."""
    classes = sorted(report.classes, key=lambda count: (-count.total, count.name))[::-1]
    most = max(count.total for count in classes)
    least = min((count.total for count in classes if count.total), default=1)
    rows = np.arange(len(classes))
    left = np.zeros(len(classes))
    for part, colour in _COLOURS.items():
        widths = np.array([_in_part(count, part) for count in classes])
        if widths.any():
            label = f"{part} {widths.sum():,}"
            axes.barh(rows, widths, left=left, height=0.72, color=colour, label=label)
        left += widths
    if most > _VERY_UNEQUAL * least:
        axes.set_xscale("log")
        axes.set_xlim(0.7, most * 2.5)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        scale = "photos, logarithmic: compare the ends of bars, not the lengths of parts"
    else:
        axes.set_xlim(0, most * 1.12)
        scale = "photos"
    axes.set_xlabel(scale, size=8, color=_MUTED)
    for row, count in enumerate(classes):
        axes.annotate(
            f"{count.total:,}",
            (count.total or axes.get_xlim()[0], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=7.5,
            color=_MUTED,
        )
    axes.set_yticks(rows, [_short(count.name, 40) for count in classes], size=8, parse_math=False)
    axes.set_ylim(-0.6, len(classes) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8, borderpad=0.2
    )
    axes.set_title(_title(report), loc="left", size=10, weight="bold", pad=24, parse_math=False)


def _in_part(count: ClassCount, part: str) -> int:
    return {
        "training": count.training,
        "validation": count.validation,
        "test": count.test,
        "in no part": count.dropped + count.undecodable,
    }[part]


def _title(report: DataReport) -> str:
    baseline = (
        report.parts["test"].majority_baseline or report.parts["validation"].majority_baseline
    )
    said = f", majority baseline {baseline:.1%} (held out)" if baseline is not None else ""
    return f"{report.photos:,} photos of {len(report.classes)} classes{said}"


def _draw_pairs(
    place: SubFigure, report: DataReport, pairs: Sequence[tuple[str, str]], rows: int
) -> None:
    conflicts = sum(len(group.classes) > 1 for group in report.near_copies)
    said = f", {conflicts:,} of them in different classes" if conflicts else ""
    place.suptitle(
        f"Groups of photos that look the same: {len(report.near_copies):,}{said}",
        size=10,
        weight="bold",
        x=0.01,
        ha="left",
    )
    # A column between one pair and the next.
    widths = [1.0, 1.0, 0.15] * _PAIRS_A_ROW
    grid = place.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
    for axes in grid.flat:
        axes.axis("off")
        axes.set_anchor("N")
    for number, pair in enumerate(pairs):
        row, column = divmod(number, _PAIRS_A_ROW)
        for axes, name in zip(grid[row, 3 * column : 3 * column + 2], pair, strict=True):
            axes.imshow(_thumbnail(Path(report.folder) / name))
            axes.set_title(_caption(name), size=6.5, color=_MUTED, parse_math=False)


def _pairs(report: DataReport) -> Iterator[tuple[str, str]]:
    """Two of each of some groups; those under different classes first, else evenly chosen."""
    conflicts = [group for group in report.near_copies if len(group.classes) > 1]
    others = [group for group in report.near_copies if len(group.classes) == 1]
    conflicts = conflicts[:_MOST_PAIRS]
    wanted = min(_MOST_PAIRS - len(conflicts), len(others))
    chosen = [others[number * len(others) // wanted] for number in range(wanted)]
    for group in (*conflicts, *chosen):
        first, *rest = group.paths
        folder = PurePosixPath(first).parent
        elsewhere = [path for path in rest if PurePosixPath(path).parent != folder]
        yield first, (elsewhere or rest)[0]


def _thumbnail(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    photo = decode_image(path.read_bytes(), LIMITS)
    photo.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def _caption(path: str) -> str:
    """The last two parts of a path, a line each."""
    return "\n".join(_short(part, 20) for part in PurePosixPath(path).parts[-2:])


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
