"""The dashboard of whoever is on call."""

from __future__ import annotations

from docker.grafana.panels import (
    MODEL,
    PHOTO_ROUTES,
    RATE,
    Json,
    Panel,
    dashboard,
    graph,
    heatmap,
    stat,
)


def overview() -> Json:
    """Whether it answers, how fast, and what it does with which versions."""
    return dashboard(
        "catbreeds-overview",
        "catbreeds: overview",
        "Whether the service answers, how fast, and with which versions.",
        {
            "Now": _now(),
            "Requests": _requests(),
            "Latency": _latency(),
            "Queue": _queue(),
            "Workers and memory": _workers(),
            "Versions and tokens": _versions(),
        },
        hours=3,
        all_models=True,
    )


def _now() -> list[Panel]:
    return [
        stat(
            "Models",
            "Whether each has answered a photo lately.",
            f"min(catbreeds_model_ready{{{MODEL}}})",
            "short",
            ((None, "red"), (1, "green")),
            words={"0": "not ready", "1": "ready"},
            no_value="none",
        ),
        stat(
            "Workers missing",
            "Wanted but not ready, of all versions. A worker that starts anew takes seconds.",
            f'sum(catbreeds_workers{{state="wanted",{MODEL}}})'
            f' - sum(catbreeds_workers{{state="ready",{MODEL}}})',
            "short",
            ((None, "green"), (1, "orange")),
        ),
        stat(
            "Photos a second",
            "Answered with breeds.",
            f"sum(rate(catbreeds_web_photos_total{{{MODEL}}}[{RATE}]))",
            "short",
        ),
        stat(
            "Failing requests",
            "Share of the requests with photos that were answered 5xx, of five minutes.",
            "catbreeds:photo_request_errors:ratio5m",
            "percentunit",
            ((None, "green"), (0.01, "orange"), (0.05, "red")),
            no_value="no requests",
        ),
        stat(
            "p99",
            "Of the requests with photos, with their uploads, of five minutes.",
            'catbreeds:photo_request_seconds:quantile5m{quantile="0.99"}',
            "s",
            ((None, "green"), (1, "orange"), (2, "red")),
            no_value="no requests",
        ),
        stat(
            "Alerts",
            "That fire now. Which: the graph of alerts, or Prometheus at /alerts.",
            'count(ALERTS{alertname=~"Catbreeds.+",alertstate="firing"}) or vector(0)',
            "short",
            ((None, "green"), (1, "red")),
        ),
    ]


def _requests() -> list[Panel]:
    return [
        graph(
            "Requests by route",
            "All that the gateway answers; probes come to /healthz and /readyz.",
            [(f"sum by (route) (rate(catbreeds_web_requests_total[{RATE}]))", "{{route}}")],
            "reqps",
            stack=True,
        ),
        graph(
            "Answers by status",
            "Of the routes that take photos. 499: the client had gone.",
            [
                (
                    "sum by (status) "
                    f"(rate(catbreeds_web_requests_total{{{PHOTO_ROUTES}}}[{RATE}]))",
                    "{{status}}",
                )
            ],
            "reqps",
            stack=True,
        ),
        graph(
            "Problems by kind",
            "Of requests and of single photos; docs/web-api.md says what each means.",
            [(f"sum by (problem) (rate(catbreeds_web_problems_total[{RATE}]))", "{{problem}}")],
            "ops",
            stack=True,
            no_value="none",
        ),
    ]


def _latency() -> list[Panel]:
    def mean(total: str, count: str) -> str:
        return (
            f"sum(rate({total}{{{MODEL}}}[{RATE}])) / (sum(rate({count}{{{MODEL}}}[{RATE}])) > 0)"
        )

    def p99(histogram: str) -> str:
        buckets = f"sum by (le) (rate({histogram}_bucket{{{MODEL}}}[{RATE}]))"
        return f"histogram_quantile(0.99, {buckets})"

    queue = mean("ts_queue_latency_microseconds", "ts_inference_requests_total")
    return [
        heatmap(
            "How long requests take",
            "Requests with photos, from the headers to the last byte of the answer.",
            "sum by (le) "
            f"(increase(catbreeds_web_request_seconds_bucket{{{PHOTO_ROUTES}}}[{RATE}]))",
            "s",
            width=12,
        ),
        graph(
            "Quantiles",
            "The same, over five minutes. The upload is in it: slow lines are slow here.",
            [("catbreeds:photo_request_seconds:quantile5m", "{{quantile}}")],
            "s",
            width=12,
            lines=((2, "red"),),
        ),
        graph(
            "Where the time goes",
            "On average: a request in TorchServe's queue, a photo decoded, a batch in the network.",
            [
                (f"1e-6 * {queue}", "queue"),
                (mean("catbreeds_decode_seconds_sum", "catbreeds_decode_seconds_count"), "decode"),
                (
                    mean("catbreeds_inference_seconds_sum", "catbreeds_inference_seconds_count"),
                    "inference",
                ),
            ],
            "s",
        ),
        graph(
            "p99 of decoding and inference",
            "A photo, and a batch.",
            [
                (p99("catbreeds_decode_seconds"), "decode"),
                (p99("catbreeds_inference_seconds"), "inference"),
            ],
            "s",
        ),
        graph(
            "Photos in a batch",
            "On average. Near 1 there is nothing that waits, near 8 the workers are full.",
            [
                (
                    mean("catbreeds_top1_probability_count", "catbreeds_inference_seconds_count"),
                    "photos",
                )
            ],
            "short",
        ),
    ]


def _queue() -> list[Panel]:
    return [
        graph(
            "Photos in work",
            "In the gateways, and how many of them wait at TorchServe. Above 64 in one gateway the "
            "next gets 503.",
            [
                ("sum(catbreeds_web_photos_in_work)", "in work"),
                (f"sum(catbreeds_queue_waiting{{{MODEL}}})", "in TorchServe's queue"),
            ],
            "short",
        ),
        graph(
            "Expected wait",
            "That a photo which comes now has. Above 0.4 s it is refused.",
            [("max(catbreeds_web_expected_wait_seconds)", "wait")],
            "s",
            lines=((0.4, "orange"),),
        ),
        graph(
            "Photos refused",
            "Share of those that would have waited too long, of five minutes.",
            [("catbreeds:photos_refused:ratio5m", "refused")],
            "percentunit",
            lines=((0.05, "orange"),),
        ),
    ]


def _workers() -> list[Panel]:
    version = "{{model}} {{version}}"
    return [
        graph(
            "Workers",
            "Wanted and ready, by version.",
            [
                (
                    f"sum by (model, version, state) (catbreeds_workers{{{MODEL}}})",
                    f"{version} {{{{state}}}}",
                )
            ],
            "short",
        ),
        graph(
            "Memory of a worker",
            "On average; what workers share is counted once.",
            [
                (
                    "avg by (model, version) "
                    f"(version:catbreeds_worker_memory_bytes:each{{{MODEL}}})",
                    version,
                )
            ],
            "bytes",
        ),
        graph(
            "Memory of uploads",
            "Photos on their way, in the gateways.",
            [("sum(catbreeds_web_upload_bytes)", "uploads")],
            "bytes",
        ),
    ]


def _versions() -> list[Panel]:
    version = "{{model}} {{version}}"
    return [
        graph(
            "Photos by version",
            "Answered. Passed over: where a canary did not answer well, and the default was asked.",
            [
                (f"version:catbreeds_photos:rate5m{{{MODEL}}}", version),
                (
                    "sum by (model) "
                    f"(rate(catbreeds_web_canary_fallbacks_total{{{MODEL}}}[{RATE}]))",
                    "{{model}} passed over",
                ),
            ],
            "ops",
            width=6,
        ),
        graph(
            "Clients by version",
            "Share of the clients who are given it: all get the default, but for a canary's.",
            [(f"max by (model, version) (catbreeds_version_share{{{MODEL}}})", version)],
            "percentunit",
            width=6,
        ),
        graph(
            "Life of the tokens",
            "Until they end. They are renewed with half an hour left.",
            [("min by (kind) (catbreeds_token_expires_timestamp_seconds) - time()", "{{kind}}")],
            "s",
            width=6,
            lines=((1200, "red"),),
        ),
        graph(
            "Alerts",
            "That fire; docs/monitoring.md says what each means and what to do.",
            [
                (
                    'count by (alertname) (ALERTS{alertname=~"Catbreeds.+",alertstate="firing"})',
                    "{{alertname}}",
                )
            ],
            "short",
            width=6,
            stack=True,
            no_value="none fires",
        ),
    ]
