from __future__ import annotations

from typing import Any

import pytest

from handlers.config import MOST_PIXELS, ConfigError, HandlerConfig, Limits


def test_an_empty_section_gives_the_defaults() -> None:
    assert HandlerConfig.from_dict(None) == HandlerConfig.from_dict({}) == HandlerConfig()
    assert HandlerConfig().limits == Limits(
        bytes=16 * 1024 * 1024, pixels=50_000_000, frames=1000, top_k=None, photos=32
    )


def test_settings_come_back_from_their_mapping() -> None:
    config = HandlerConfig(
        response="labels", precision="bf16", threads=2, limits=Limits(bytes=10, top_k=3)
    )
    assert HandlerConfig.from_dict(config.to_dict()) == config
    assert Limits.from_dict(config.limits.to_dict()) == config.limits


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ([], ["catbreeds", "[]", "mapping", "response"]),
        ({"topk": 5}, ["'topk'", "default_top_k"]),
        ({"response": "json"}, ["response", "'json'", "predictions", "labels"]),
        ({"engine": "tensorflow"}, ["engine", "'tensorflow'", "torch"]),
        ({"precision": "float32"}, ["precision", "'float32'", "auto", "f32", "bf16", "int8"]),
        ({"threads": 0}, ["threads", "0", "from 1 to 1024"]),
        ({"threads": "all"}, ["threads", "'all'", "auto", "1 to 1024"]),
        ({"default_top_k": 0}, ["default_top_k", "0", "at least 1"]),
        ({"default_top_k": True}, ["default_top_k", "True", "integer"]),
        ({"default_top_k": 2.5}, ["default_top_k", "2.5", "integer"]),
        ({"limits": 5}, ["limits", "5", "mapping"]),
        ({"limits": {"byte": 1}}, ["'byte'", "bytes"]),
        ({"limits": {"bytes": 0}}, ["limits.bytes", "0"]),
        ({"limits": {"pixels": MOST_PIXELS + 1}}, ["limits.pixels", str(MOST_PIXELS)]),
        ({"limits": {"frames": None}}, ["limits.frames", "None"]),
        ({"limits": {"top_k": 0}}, ["limits.top_k", "0"]),
        ({"limits": {"photos": "32"}}, ["limits.photos", "'32'"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    section: Any,  # noqa: ANN401
    words: list[str],
) -> None:
    with pytest.raises(ConfigError) as caught:
        HandlerConfig.from_dict(section)
    for word in words:
        assert word in str(caught.value)
