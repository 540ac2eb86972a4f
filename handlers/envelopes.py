"""The body of a good answer, in the form of its request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from handlers.requests import PhotoRequest


def envelope(
    request: PhotoRequest, answers: Sequence[dict[str, Any]], model: str, version: str | None
) -> dict[str, Any]:
    """The answers to a request's photos as its protocol has them.

    Args:
        request: decides the envelope.
        answers: one result, explanation or problem for each photo, in the request's order.
        model: that answered.
        version: None where several did.
    """
    if request.form == "kserve-v1":
        return {"predictions": list(answers)}
    if request.form == "kserve-v2":
        # The protocol has no JSON datatype: each element is one photo's answer as a string.
        told = {"model_version": version, "id": request.id}
        return {
            "model_name": model,
            **{key: value for key, value in told.items() if value is not None},
            "outputs": [
                {
                    "name": "predictions",
                    "datatype": "BYTES",
                    "shape": [len(answers)],
                    "data": [json.dumps(answer) for answer in answers],
                }
            ],
        }
    return answers[0]
