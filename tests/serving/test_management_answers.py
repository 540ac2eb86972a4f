from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.management import UnexpectedAnswer
from serving.management_answers import (
    ModelStatus,
    card,
    only_status,
    parsed,
    registered_models,
    said,
    statuses,
)

# As TorchServe 0.12.0 sends it, with a second worker that starts.
DESCRIBED: list[dict[str, Any]] = [
    {
        "modelName": "cat-breeds",
        "modelVersion": "0.1",
        "modelUrl": "cat-breeds-0.1.mar",
        "runtime": "python",
        "minWorkers": 2,
        "maxWorkers": 3,
        "batchSize": 8,
        "maxBatchDelay": 1,
        "responseTimeout": 60,
        "startupTimeout": 120,
        "maxRetryTimeoutInSec": 300,
        "loadedAtStartup": False,
        "workers": [
            {
                "id": "9001",
                "startTime": "2026-11-21T11:07:55.681Z",
                "status": "READY",
                "memoryUsage": 567116000,
                "pid": 13817,
                "gpu": False,
                "gpuUsage": "N/A",
            },
            {
                "id": "9002",
                "startTime": "2026-11-21T11:08:01Z",
                "status": "UNLOADING",
                "memoryUsage": 0,
                "pid": -1,
                "gpu": False,
                "gpuUsage": "N/A",
            },
        ],
        "jobQueueStatus": {"remainingCapacity": 97, "pendingRequests": 3},
        "customizedMetadata": {"name": "cat-breeds"},
    }
]
PARSERS = (statuses, only_status, card, registered_models, said)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_description_is_taken_apart() -> None:
    status = parsed(DESCRIBED, only_status)
    assert (status.min_workers, status.max_workers, status.ready_workers) == (2, 3, 1)
    assert status.worker_pids == (13817,)
    assert not status.ready
    assert (status.queue_pending, status.queue_remaining) == (3, 97)
    ready, starting = status.workers
    assert (ready.id, ready.memory_bytes) == ("9001", 567116000)
    assert ready.started.isoformat() == "2026-11-21T11:07:55.681000+00:00"
    assert (starting.pid, starting.status) == (-1, "UNLOADING")


@pytest.mark.parametrize("parse", PARSERS)
@given(answer=json_values)
def test_any_other_json_is_told_as_unexpected(
    parse: Callable[[object], object], answer: object
) -> None:
    with suppress(UnexpectedAnswer):
        parsed(answer, parse)


@given(data=st.data(), value=json_values)
def test_a_description_with_one_wrong_part_is_told_as_unexpected(
    data: st.DataObject, value: object
) -> None:
    changed = copy.deepcopy(DESCRIBED)
    part: Any = changed
    while True:
        key = data.draw(st.sampled_from(list(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or data.draw(st.booleans()):
            break
        part = part[key]
    part[key] = value
    try:
        status = parsed(changed, only_status)
    except UnexpectedAnswer:
        return
    assert isinstance(status, ModelStatus)
    assert isinstance(status.ready, bool)


def test_one_version_is_one() -> None:
    for described in ([], DESCRIBED * 2):
        with pytest.raises(UnexpectedAnswer):
            parsed(described, only_status)
    assert len(parsed(DESCRIBED * 2, statuses)) == 2
    # As of a model whose last version is just being removed.
    assert parsed([], statuses) == []
