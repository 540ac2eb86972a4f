"""A typed client for TorchServe's management API.

Source of the rules: https://pytorch.org/serve/management_api.html and token_authorization_api.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from serving.http import call


class ManagementError(Exception):
    """TorchServe refused, or did not answer.

    Attributes:
        status: HTTP status, or None without an answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model as TorchServe describes it."""

    name: str
    version: str
    archive: str
    min_workers: int
    ready_workers: int
    worker_pids: tuple[int, ...]

    @property
    def ready(self) -> bool:
        """Whether all wanted workers are there."""
        return self.min_workers > 0 and self.ready_workers >= self.min_workers


class ManagementClient:
    """Calls the management API with a fresh token each time.

    Args:
        url: the management address.
        token: gives the current token; it is renewed while a server runs.
    """

    def __init__(self, url: str, token: Callable[[], str], timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def register(self, archive: str, timeout_s: float) -> str:
        """Register an archive of the model store and start its workers.

        Args:
            archive: the file's name in the model store.
            timeout_s: how long its workers may take.

        Raises:
            ManagementError: the archive or its worker does not load.
        """
        query = {"url": archive, "initial_workers": "1", "synchronous": "true"}
        return str(self._call("POST", "/models", query, timeout_s)["status"])

    def describe(self, name: str, version: str) -> ModelStatus:
        """Raises:
        ManagementError: no such model or version (status 404), or no answer.
        """
        (answer,) = self._call("GET", f"/models/{name}/{version}")
        workers = [worker for worker in answer["workers"] if worker["status"] == "READY"]
        return ModelStatus(
            name=answer["modelName"],
            version=answer["modelVersion"],
            archive=answer["modelUrl"],
            min_workers=answer["minWorkers"],
            ready_workers=len(workers),
            worker_pids=tuple(worker["pid"] for worker in workers),
        )

    def set_default(self, name: str, version: str) -> None:
        """Make `version` the one that answers where a request names none."""
        self._call("PUT", f"/models/{name}/{version}/set-default")

    def unregister(self, name: str, version: str) -> None:
        """Stop the version's workers and forget it."""
        self._call("DELETE", f"/models/{name}/{version}")

    def renew_token(self, kind: str, api_key: str) -> None:
        """Have TorchServe put a new token of that kind (inference, management) into its file."""
        self._call("GET", "/token", {"type": kind}, token=api_key)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        token: str | None = None,
    ) -> Any:  # noqa: ANN401 - parsed JSON
        try:
            response = call(
                method,
                self._url + path,
                token or self._token(),
                timeout_s or self._timeout_s,
                params=query,
            )
        except requests.RequestException as error:
            raise ManagementError(f"{self._url}: no answer: {type(error).__name__}") from error
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if not response.ok:
            message = answer.get("message") if isinstance(answer, dict) else None
            raise ManagementError(message or f"HTTP {response.status_code}", response.status_code)
        return answer
