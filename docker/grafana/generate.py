"""Writes the dashboards: `python -m docker.grafana.generate`, after each change to them here.

The JSON in dashboards/ is what Grafana reads, and is committed; overview.py and model.py are what
people read.
"""

from __future__ import annotations

import json
from pathlib import Path

from docker.grafana.model import model
from docker.grafana.overview import overview

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """File name -> content."""
    dashboards = {"overview.json": overview(), "model.json": model()}
    return {name: json.dumps(each, indent=2) + "\n" for name, each in dashboards.items()}


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content)
