"""What `catbreeds predict` does and prints."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from serving.inference import InferenceClient, Prediction, ServiceError
from serving.state import read_record
from serving.terminal import as_it_is

_DEFAULT_MODEL = "cat-breeds"
_AT_ONCE = 8
_BAR_WIDTH = 16


def predict_photos(
    photos: list[Path],
    url: str,
    model: str | None,
    version: str | None,
    top: int | None,
    as_json: bool,
) -> int:
    """Ask for all photos, several at a time, and print the answers in the order given.

    Returns:
        The exit code: 0, 1 where a photo had a problem, 3 where no service answered.
    """
    client = InferenceClient(url)
    if model is None:
        record = read_record(url)
        model = next(iter(record.models)) if record and record.models else None

    def ask(photo: Path) -> Prediction | ServiceError:
        try:
            name = model or (None if client.is_gateway else _DEFAULT_MODEL)
            return client.predict(photo.read_bytes(), name, version, top)
        except OSError as error:
            hint = f"; its photos: {photo}/*" if photo.is_dir() else ""
            return ServiceError(f"{photo}: {error.strerror}{hint}", 0)
        except ServiceError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(ask, photos))
    unreached = [a for a in answers if isinstance(a, ServiceError) and a.status is None]
    if as_json:
        described = [_described(*pair) for pair in zip(photos, answers, strict=True)]
        print(json.dumps(described, indent=2))
    elif len(unreached) < len(answers):
        panels = [_panel(*pair) for pair in zip(photos, answers, strict=True)]
        Console().print(Columns(panels))
    if unreached:
        print(f"error: {unreached[0]}", file=sys.stderr)
        return 3
    return 1 if any(isinstance(answer, ServiceError) for answer in answers) else 0


def _described(photo: Path, answer: Prediction | ServiceError) -> dict[str, Any]:
    if isinstance(answer, Prediction):
        return {"photo": str(photo)} | answer.answer
    return {"photo": str(photo), "problem": answer.problem or {"detail": str(answer)}}


def _panel(photo: Path, answer: Prediction | ServiceError) -> Panel:
    title = as_it_is(photo.name)
    if isinstance(answer, ServiceError):
        return Panel(as_it_is(str(answer)), title=title, border_style="red", width=60)
    table = Table.grid(padding=(0, 1))
    for breed, probability in answer.breeds:
        bar = Text(f"{'█' * round(probability * _BAR_WIDTH):<{_BAR_WIDTH}}", style="cyan")
        table.add_row(as_it_is(breed), bar, f"{probability:6.1%}")
    subtitle = f"{answer.model} {answer.version}" + (" · unsure" if answer.unsure else "")
    return Panel(table, title=title, subtitle=as_it_is(subtitle), expand=False)
