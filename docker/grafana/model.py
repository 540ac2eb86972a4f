"""The dashboard of the model: what it says about people's photos, against what its card expects."""

from __future__ import annotations

from docker.grafana.panels import (
    MODEL,
    RATE,
    Json,
    Panel,
    compared,
    dashboard,
    graph,
    heatmap,
    stat,
)

# The bounds that the classical rule names; see prometheus/rules/model.yml.
_DRIFT = ((None, "green"), (0.1, "orange"), (0.25, "red"))
_TOO_FEW = "too few photos"


def model() -> Json:
    """Breeds, confidence and unsure answers; the card speaks of the default version."""
    return dashboard(
        "catbreeds-model",
        "catbreeds: the model",
        "What the model says about people's photos, and what its card expects.",
        {
            "The last day": _last_day(),
            "Breeds and confidence of the last day": _distributions(),
            "Over time": _over_time(),
            "By version": _versions(),
        },
        hours=24,
        all_models=False,
    )


def _last_day() -> list[Panel]:
    version = "{{version}}"
    return [
        stat(
            "Photos",
            "That people sent, by version. From 1,000 on drift is looked at.",
            f"sum by (version) (increase(catbreeds_web_photos_total{{{MODEL}}}[1d]))",
            "short",
            width=5,
            legend=version,
            no_value="none",
        ),
        stat(
            "Drift of breeds",
            "Population stability index: below 0.1 as expected, above 0.25 other photos.",
            f"version:catbreeds_predicted_psi:increase1d{{{MODEL}}}",
            "short",
            _DRIFT,
            width=5,
            legend=version,
            no_value=_TOO_FEW,
        ),
        stat(
            "Drift of confidence",
            "Population stability index of the best breed's probability.",
            f"version:catbreeds_top1_probability_psi:increase1d{{{MODEL}}}",
            "short",
            _DRIFT,
            width=5,
            legend=version,
            no_value=_TOO_FEW,
        ),
        stat(
            "Unsure",
            "Share of the answers, by version.",
            f"version:catbreeds_unsure:ratio1d{{{MODEL}}}",
            "percentunit",
            width=5,
            legend=version,
            no_value="no answers",
        ),
        stat(
            "Unsure, expected",
            "By the card of the default version.",
            f"max by (version) (catbreeds_expected_unsure_share{{{MODEL}}})",
            "percentunit",
            width=4,
            legend=version,
            no_value="not in the card",
        ),
    ]


def _distributions() -> list[Panel]:
    reached = f"le:catbreeds_top1_probability_share:increase1d{{{MODEL}"
    default = "and on (model, version) catbreeds_expected_unsure_share"
    return [
        compared(
            "table",
            "Breeds",
            "Shares of the answers, of the photos by which the model was judged, and what the "
            "difference adds to the drift.",
            "breed",
            {
                "answers": "sum by (breed) "
                f"(breed:catbreeds_predicted_share:increase1d{{{MODEL}}} {default})",
                "expected": "sum by (breed) (max by (model, version, breed) "
                f"(catbreeds_expected_predicted_share{{{MODEL}}}))",
                "adds to drift": "sum by (breed) "
                f"(breed:catbreeds_predicted_psi:increase1d{{{MODEL}}})",
            },
            sort="adds to drift",
            descending=True,
            width=12,
            height=14,
            options={"showHeader": True, "cellHeight": "sm"},
        ),
        compared(
            "barchart",
            "Confidence",
            "The best breed's probability, up to each bound: of the answers, and of the photos by "
            "which the model was judged.",
            "le",
            {
                "answers": f'sum by (le) ({reached},of="photos"}} {default})',
                "expected": f'sum by (le) ({reached},of="card"}})',
            },
            sort="le",
            descending=False,
            width=12,
            height=14,
            options={
                "xField": "le",
                "showValue": "never",
                "groupWidth": 0.7,
                "barWidth": 0.9,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "none"},
            },
        ),
    ]


def _over_time() -> list[Panel]:
    return [
        graph(
            "Drift",
            "Population stability indices of the day before; from 0.25 on there is an alert.",
            [
                (f"version:catbreeds_predicted_psi:increase1d{{{MODEL}}}", "breeds {{version}}"),
                (
                    f"version:catbreeds_top1_probability_psi:increase1d{{{MODEL}}}",
                    "confidence {{version}}",
                ),
            ],
            "short",
            lines=_DRIFT[1:],
        ),
        graph(
            "Unsure answers",
            "Share of the day before, by version, and what the card expects.",
            [
                (f"version:catbreeds_unsure:ratio1d{{{MODEL}}}", "{{version}}"),
                (
                    f"max by (version) (catbreeds_expected_unsure_share{{{MODEL}}})",
                    "{{version}} expected",
                ),
            ],
            "percentunit",
        ),
        heatmap(
            "Confidence",
            "The best breed's probabilities, of all versions.",
            f'sum by (le) (increase(catbreeds_top1_probability_bucket{{{MODEL},le=~"[01][.].+"}}'
            f"[{RATE}]))",
            "percentunit",
            width=8,
        ),
    ]


def _versions() -> list[Panel]:
    def rate(counter: str, by: str = "version") -> str:
        return f"sum by ({by}) (rate({counter}{{{MODEL}}}[{RATE}]))"

    def mean(histogram: str) -> str:
        return f"{rate(f'{histogram}_sum')} / ({rate(f'{histogram}_count')} > 0)"

    return [
        graph(
            "Photos",
            "That the version has answered, be it for people, probes or a deployment.",
            [(rate("catbreeds_top1_probability_count"), "{{version}}")],
            "ops",
            width=6,
        ),
        graph(
            "Mean confidence",
            "The best breed's probability, on average.",
            [(mean("catbreeds_top1_probability"), "{{version}}")],
            "percentunit",
            width=6,
        ),
        graph(
            "Inference",
            "A batch, on average.",
            [(mean("catbreeds_inference_seconds"), "{{version}}")],
            "s",
            width=6,
        ),
        graph(
            "Problems",
            "Photos and requests that the version has refused or failed, by kind.",
            [(rate("catbreeds_problems_total", "version, problem"), "{{version}} {{problem}}")],
            "ops",
            width=6,
            stack=True,
            no_value="none",
        ),
    ]
