"""A client for predictions, from TorchServe itself or through the gateway."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests

from serving import state
from serving.http import call
from serving.traffic import canary_version

# What a gateway calls itself.
GATEWAY = "catbreeds"
_RENEWAL_S = 0.3


class ServiceError(Exception):
    """No prediction: the service answered with a problem, or not at all.

    Attributes:
        status: HTTP status, or None without an answer.
        problem: the RFC 9457 problem as it came, or an empty dict.
    """

    def __init__(self, message: str, status: int | None = None, problem: Any = None) -> None:  # noqa: ANN401 - parsed JSON
        super().__init__(message)
        self.status = status
        self.problem: dict[str, Any] = problem if isinstance(problem, dict) else {}


@dataclass(frozen=True)
class Prediction:
    """One photo's answer.

    Attributes:
        model, version: empty where the model's answers do not say (`response: labels`).
        breeds: (name, probability in 0..1), best first.
        unsure: whether the score that the model card names lies below the card's threshold.
        answer: the JSON as it came.
    """

    model: str
    version: str
    breeds: tuple[tuple[str, float], ...]
    unsure: bool
    answer: dict[str, Any]


class InferenceClient:
    """Asks a service for predictions; may be shared between threads.

    While a new version is on trial (`serving.traffic`), it answers some of the clients that name
    no version. A gateway sees to that by itself; for TorchServe on this machine this client does:
    where `client` is among the chosen, it asks the new version, and where that does not answer
    well, the default.

    Args:
        url: TorchServe's inference address, as http://127.0.0.1:8080, or a gateway's, as
            http://127.0.0.1:8000.
        token: gives TorchServe's current token, or None to send none. A gateway gets none.
        client: who asks; the same one stays with the same version. By default user@host.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str | None] | None = None,
        timeout_s: float = 90.0,
        client: str | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token or (lambda: state.find_inference_token(self._url))
        self._timeout_s = timeout_s
        self._client = _user_and_host() if client is None else client
        self._record = state.RecordReader(self._url)

    @cached_property
    def is_gateway(self) -> bool:
        """Whether a gateway listens there, which says so at /healthz.

        Raises:
            ServiceError: nobody does.
        """
        try:
            alive = call("GET", f"{self._url}/healthz", None, self._timeout_s)
            return bool(alive.ok and alive.json()["service"] == GATEWAY)
        except (requests.JSONDecodeError, KeyError, TypeError):
            return False
        except (requests.RequestException, ValueError) as error:
            raise self._unanswered(error) from error

    def predict(
        self,
        photo: bytes,
        model: str | None,
        version: str | None = None,
        top_k: int | None = None,
    ) -> Prediction:
        """The breeds of one photo.

        Args:
            photo: an encoded image as it lies on disk.
            model: where None, the gateway's first; TorchServe itself needs one.
            version: where None, the default's, or that of one on trial.
            top_k: how many breeds; the model's default where None.

        Raises:
            ServiceError: a problem with the photo or the request, or no answer.
        """
        fields = {} if top_k is None else {"top_k": str(top_k)}
        if self.is_gateway:
            asked = {"model": model, "version": version}
            fields |= {name: value for name, value in asked.items() if value}
            return _prediction(self._ask("/api/classify", photo, fields))
        canary = None if version else self._canary(model)
        if canary is not None:
            with suppress(ServiceError):
                response = self._ask_torchserve(model, canary, photo, fields, self._timeout_s / 2)
                if response.ok:
                    return _prediction(response)
        return _prediction(self._ask_torchserve(model, version, photo, fields))

    def _canary(self, model: str | None) -> str | None:
        record = self._record.read()
        if record is None or model is None:
            return None
        return canary_version(record, model, self._client, time.time())

    def _ask_torchserve(
        self,
        model: str | None,
        version: str | None,
        photo: bytes,
        fields: dict[str, str],
        timeout_s: float | None = None,
    ) -> requests.Response:
        route = f"/predictions/{model}" + (f"/{version}" if version else "")
        response = self._ask(route, photo, fields, timeout_s)
        if _token_was_refused(response):
            # Right after a renewal the file of tokens may still hold the old one, or nothing.
            time.sleep(_RENEWAL_S)
            response = self._ask(route, photo, fields, timeout_s)
        return response

    def _ask(
        self, route: str, photo: bytes, fields: dict[str, str], timeout_s: float | None = None
    ) -> requests.Response:
        try:
            return call(
                "POST",
                self._url + route,
                None if self.is_gateway else self._token(),
                timeout_s or self._timeout_s,
                fields=fields,
                files={"photo": ("photo", photo, "application/octet-stream")},
            )
        # ValueError: an address with a port that is no number, or an unclosed bracket.
        except (requests.RequestException, ValueError) as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"{self._url} does not answer ({type(error).__name__}); is `catbreeds serve` up?"
        )


def _user_and_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # one that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _token_was_refused(response: requests.Response) -> bool:
    """TorchServe says so with 400, as https://docs.pytorch.org/serve/token_authorization_api.html."""
    return response.status_code == 400 and b"InvalidKeyException" in response.content


def _prediction(response: requests.Response) -> Prediction:
    try:
        # Not `response.json()`, which parses otherwise where simplejson happens to be installed.
        answer = json.loads(response.content)
    except ValueError:
        answer = None
    if not response.ok or not isinstance(answer, dict):
        raise _service_error(response, answer)
    if answer and all(isinstance(value, float) for value in answer.values()):
        # A model with `response: labels` answers as TorchServe's own image classifiers do.
        return Prediction("", "", tuple(answer.items()), False, answer)
    try:
        return Prediction(
            model=answer["model"],
            version=answer["version"],
            breeds=tuple((best["breed"], best["probability"]) for best in answer["predictions"]),
            unsure=answer["unsure"],
            answer=answer,
        )
    except (KeyError, TypeError) as error:
        raise ServiceError("the answer is not that of a catbreeds model", 200, answer) from error


def _service_error(response: requests.Response, answer: Any) -> ServiceError:  # noqa: ANN401 - parsed JSON
    status = response.status_code
    problem = answer if isinstance(answer, dict) else {}
    if status == 413 and not problem:
        # TorchServe's own limit (max_request_size) answers without a body.
        problem = {
            "title": "Too large",
            "status": 413,
            "detail": "more bytes than the server takes",
        }
    # The handler's problems have `detail`, TorchServe's own errors `message`.
    detail = problem.get("detail") or problem.get("message") or response.reason
    title = str(problem.get("title") or response.reason).rstrip(".")
    return ServiceError(f"{status} {title}: {detail}", status, problem)
