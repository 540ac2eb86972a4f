"""What dashboards are made of: panels, in rows, as the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "catbreeds"}
# As in prometheus/rules/service.yml.
PHOTO_ROUTES = 'route=~".+(classify|explain|predict|infer)"'
RATE = "$__rate_interval"
MODEL = 'model=~"$model"'

Json = dict[str, Any]
# From a value on (None: from the lowest) a colour.
Steps = Sequence[tuple[float | None, str]]
# PromQL, and how a series is called in the legend.
Queries = Sequence[tuple[str, str]]

CALM: Steps = ((None, "blue"),)


@dataclass(frozen=True)
class Panel:
    """A panel; its place comes from the row that it is in.

    Attributes:
        kind: Grafana's type.
        unit: one of Grafana's, such as `s` or `percentunit`.
        custom, options: Grafana's own of the kind.
        table: each query's result as a table, of now alone.
        transformations: of these tables.
    """

    kind: str
    title: str
    description: str
    queries: Queries
    unit: str
    width: int
    height: int = 8
    steps: Steps = CALM
    custom: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    mappings: Sequence[Json] = ()
    no_value: str | None = None
    form: str = "time_series"
    instant: bool = False
    transformations: Sequence[Json] = ()

    def to_json(self, number: int, x: int, y: int) -> Json:
        """What Grafana reads."""
        defaults: Json = {
            "unit": self.unit,
            "thresholds": {
                "mode": "absolute",
                "steps": [{"value": value, "color": color} for value, color in self.steps],
            },
            "mappings": list(self.mappings),
            "custom": self.custom,
        }
        if self.no_value is not None:
            defaults["noValue"] = self.no_value
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": DATASOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                    "format": self.form,
                    "instant": self.instant,
                    "range": not self.instant,
                }
                for index, (expression, legend) in enumerate(self.queries)
            ],
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": self.options,
            "transformations": list(self.transformations),
        }


def stat(
    title: str,
    description: str,
    expression: str,
    unit: str,
    steps: Steps = CALM,
    *,
    width: int = 4,
    legend: str = "",
    words: dict[str, str] | None = None,
    no_value: str | None = None,
) -> Panel:
    """A number, coloured; `words` are shown in place of some."""
    shown = {value: {"text": text} for value, text in (words or {}).items()}
    return Panel(
        "stat",
        title,
        description,
        [(expression, legend)],
        unit,
        width,
        height=4,
        steps=steps,
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none",
            "textMode": "value_and_name" if legend else "value",
        },
        mappings=[{"type": "value", "options": shown}] if shown else [],
        no_value=no_value,
        instant=True,
    )


def graph(
    title: str,
    description: str,
    queries: Queries,
    unit: str,
    *,
    width: int = 8,
    stack: bool = False,
    lines: Steps = (),
    no_value: str | None = None,
) -> Panel:
    """Lines over time; `lines` are drawn across, where alerts begin or limits are."""
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        unit,
        width,
        steps=((None, "transparent"), *lines),
        custom={
            "lineWidth": 1,
            "fillOpacity": 40 if stack else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if stack else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if lines else "off"},
            "axisSoftMin": 0,
        },
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        no_value=no_value,
    )


def heatmap(title: str, description: str, buckets: str, unit: str, *, width: int) -> Panel:
    """A histogram over time."""
    return Panel(
        "heatmap",
        title,
        description,
        [(buckets, "{{le}}")],
        "short",
        width,
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5},
            "filterValues": {"le": 1e-9},
            "legend": {"show": False},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"unit": unit},
        },
        form="heatmap",
    )


def compared(
    kind: str,
    title: str,
    description: str,
    by: str,
    columns: dict[str, str],
    *,
    sort: str,
    descending: bool,
    width: int,
    height: int,
    options: Json,
) -> Panel:
    """Figures of now side by side, one row a value of the label `by`: column -> PromQL."""
    # A single value column is called Value, of several queries they are Value #A, Value #B.
    names = {f"Value #{chr(ord('A') + index)}": name for index, name in enumerate(columns)}
    times = {f"Time {index + 1}": True for index in range(len(columns))}
    return Panel(
        kind,
        title,
        description,
        [(expression, "") for expression in columns.values()],
        "percentunit",
        width,
        height,
        custom={"fillOpacity": 80} if kind == "barchart" else {"align": "auto"},
        options=options,
        form="table",
        instant=True,
        transformations=[
            {"id": "joinByField", "options": {"byField": by, "mode": "outer"}},
            {"id": "organize", "options": {"excludeByName": times, "renameByName": names}},
            {"id": "sortBy", "options": {"sort": [{"field": sort, "desc": descending}]}},
        ],
    )


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: dict[str, Sequence[Panel]],
    *,
    hours: int,
    all_models: bool,
) -> Json:
    """A dashboard with a variable for the model. A row's panels wrap at 24 columns."""
    panels: list[Json] = []
    y = 0
    for name, members in rows.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": name, "gridPos": place, "panels": []}
        )
        x, y = 0, y + 1
        for panel in members:
            if x + panel.width > 24:
                x, y = 0, y + panel.height
            panels.append(panel.to_json(len(panels) + 1, x, y))
            x += panel.width
        y += members[-1].height
    query = "label_values(catbreeds_model_ready, model)"
    model: Json = {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "model"},
        "refresh": 2,
        "sort": 1,
        "multi": all_models,
        "includeAll": all_models,
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["catbreeds"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": f"now-{hours}h", "to": "now"},
        "templating": {"list": [model]},
        "links": [
            {"type": "dashboards", "tags": ["catbreeds"], "title": "catbreeds", "keepTime": True}
        ],
        "panels": panels,
    }
