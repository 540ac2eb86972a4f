from __future__ import annotations

import json

from handlers.envelopes import envelope
from handlers.requests import PhotoRequest

ANSWERS = [{"a": 1}, {"status": 400}]


def test_each_form_has_its_own() -> None:
    for form in ("image", "json"):
        assert envelope(PhotoRequest(form, (b"",)), ANSWERS[:1], "cats", "1.2") == {"a": 1}
    v1 = envelope(PhotoRequest("kserve-v1", (b"", b"")), ANSWERS, "cats", "1.2")
    assert v1 == {"predictions": ANSWERS}
    v2 = envelope(PhotoRequest("kserve-v2", (b"", b""), id="x"), ANSWERS, "cats", "1.2")
    data = v2["outputs"][0].pop("data")
    assert [json.loads(entry) for entry in data] == ANSWERS
    assert v2 == {
        "model_name": "cats",
        "model_version": "1.2",
        "id": "x",
        "outputs": [{"name": "predictions", "datatype": "BYTES", "shape": [2]}],
    }


def test_what_is_not_known_is_left_out() -> None:
    v2 = envelope(PhotoRequest("kserve-v2", (b"",)), ANSWERS[:1], "cats", None)
    assert set(v2) == {"model_name", "outputs"}
