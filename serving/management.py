"""A typed client for the management API of TorchServe 0.12.

Source of the rules: https://pytorch.org/serve/management_api.html and token_authorization_api.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import quote

import requests

from serving.http import call, call_repeatedly
from serving.management_answers import (
    ModelStatus,
    RegisteredModel,
    Worker,
    card,
    only_status,
    parsed,
    registered_models,
    said,
    statuses,
)
from serving.management_errors import (
    SERVER_ERRORS,
    AlreadyRegistered,
    BadRequest,
    LoadFailed,
    ManagementError,
    ModelNotFound,
    NoAnswer,
    ServerFailed,
    TokenRefused,
    UnexpectedAnswer,
    refusal,
)
from serving.state import TokenError

__all__ = [
    "AlreadyRegistered",
    "BadRequest",
    "LoadFailed",
    "ManagementClient",
    "ManagementError",
    "ModelNotFound",
    "ModelStatus",
    "NoAnswer",
    "RegisteredModel",
    "ServerFailed",
    "TokenRefused",
    "UnexpectedAnswer",
    "Worker",
]

# TorchServe takes a new token before it has written it, and writes the file in place.
_RENEWAL_S = 0.5
_RENEWAL_POLL_S = 0.01
_DONE = {"status": "done"}


class ManagementClient:
    """Calls the management API with a fresh token each time; may be shared between threads.

    A call whose token is refused is repeated once where there is a new token by then. One whose
    connection breaks is repeated up to twice, but for `register`, which is not the same when done
    again. All methods raise a ManagementError, and what `token` raises.

    Args:
        url: the management address.
        token: gives the current token; it is renewed while a server runs.
        timeout_s: for an answer, where a method has no time of its own.
    """

    def __init__(self, url: str, token: Callable[[], str], timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def register(
        self,
        archive: str,
        timeout_s: float,
        workers: int = 1,
        batch_delay_ms: int = 0,
        synchronous: bool = True,
    ) -> str:
        """Register an archive of the model store and start its workers.

        Args:
            archive: the file's name in the model store.
            timeout_s: how long its workers may take.
            workers: the archive's model-config.yaml overrules it.
            batch_delay_ms: how long requests wait to make a batch. It overrules the
                model-config.yaml, where 0 cannot be said: that would mean 100 there.
            synchronous: whether to wait for the workers, on one of the few threads that answer
                predictions; `describe` calls them ready a moment later. Without, workers that do
                not start are started again and again.

        Returns: What TorchServe says of it.

        Raises:
            LoadFailed: also for a file that is not there.
            AlreadyRegistered: its model has that version.
        """
        query = {
            "url": archive,
            "initial_workers": str(workers),
            "max_batch_delay": str(batch_delay_ms),
            "synchronous": str(synchronous).lower(),
        }
        failures = {400, 404, *SERVER_ERRORS}
        answer = self._call("POST", "/models", query, timeout_s, failures)
        return parsed(answer, said)

    def describe(self, name: str, version: str) -> ModelStatus:
        """One version.

        Raises:
            ModelNotFound: no such model or version.
        """
        return parsed(self._call("GET", _path(name, version)), only_status)

    def describe_all(self, name: str) -> list[ModelStatus]:
        """All versions of a model.

        Raises:
            ModelNotFound: no such model.
        """
        return parsed(self._call("GET", _path(name, "all")), statuses)

    def default_version(self, name: str) -> str:
        """The version that answers where a request names none.

        Raises:
            ModelNotFound: no such model.
        """
        return parsed(self._call("GET", _path(name)), only_status).version

    def customized(self, name: str, version: str) -> dict[str, Any]:
        """What the version's handler says of itself: the model card.

        Raises:
            ModelNotFound: no such model or version.
            ServerFailed: no worker is there to ask.
        """
        answer = self._call("GET", _path(name, version), {"customized": "true"})
        return parsed(answer, card)

    def models(self, page: int = 100) -> list[RegisteredModel]:
        """All models, by name.

        Args:
            page: how many TorchServe tells at once, 1 to 100.
        """
        models: list[RegisteredModel] = []
        query = {"limit": str(page)}
        while True:
            answer = self._call("GET", "/models", query)
            models += parsed(answer, registered_models)
            if "nextPageToken" not in answer:
                return models
            query["next_page_token"] = str(answer["nextPageToken"])

    def scale(
        self,
        name: str,
        version: str,
        min_workers: int,
        max_workers: int,
        timeout_s: float,
        synchronous: bool = True,
    ) -> None:
        """Change how many workers a version has.

        Args:
            timeout_s: how long they may take.
            synchronous: whether to wait for them.

        Raises:
            ModelNotFound: no such model or version.
            LoadFailed: they do not start.
        """
        query = {
            "min_worker": str(min_workers),
            "max_worker": str(max_workers),
            "synchronous": str(synchronous).lower(),
        }
        answer = self._call("PUT", _path(name, version), query, timeout_s, SERVER_ERRORS)
        parsed(answer, said)

    def set_default(self, name: str, version: str) -> None:
        """Make `version` the one that answers where a request names none.

        Raises:
            ModelNotFound: no such model or version.
        """
        parsed(self._call("PUT", f"{_path(name, version)}/set-default"), said)

    def unregister(self, name: str, version: str) -> None:
        """Stop the version's workers and forget it.

        Raises:
            ModelNotFound: no such model or version.
            BadRequest: it is the default, and there are others.
        """
        parsed(self._call("DELETE", _path(name, version)), said)

    def renew_token(self, kind: str, api_key: str) -> None:
        """Have TorchServe put a new token of that kind (inference, management) into its file.

        It does not say that it has.

        Raises:
            TokenRefused: not the API key.
        """
        self._call("GET", "/token", {"type": kind}, api_key=api_key)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        load_failures: Container[int] = (),
        api_key: str | None = None,
    ) -> Any:  # noqa: ANN401 - parsed JSON, or None
        token = api_key or self._read_token()

        def ask(token: str) -> Any:  # noqa: ANN401 - parsed JSON, or None
            wait_s = timeout_s or self._timeout_s
            response, repeated = self._ask(method, path, token, wait_s, query)
            try:
                answer = json.loads(response.content)
            except ValueError:
                answer = None
            if response.ok:
                return answer
            if method == "DELETE" and response.status_code == 404 and repeated:
                return _DONE  # before the connection broke
            raise refusal(response.status_code, answer, load_failures, secret=token)

        try:
            return ask(token)
        except TokenRefused:
            renewed = token if api_key else self._read_token(refused=token)
            if renewed == token:
                raise
            return ask(renewed)

    def _ask(
        self,
        method: str,
        path: str,
        token: str,
        timeout_s: float,
        query: Mapping[str, str] | None,
    ) -> tuple[requests.Response, bool]:
        """The answer, and whether it was asked for more than once."""
        url = self._url + path
        try:
            if method == "POST":
                return call(method, url, token, timeout_s, params=query), False
            return call_repeatedly(method, url, token, timeout_s, params=query)
        except requests.RequestException as error:
            reason = f"{self._url}: no answer: {type(error).__name__}"
            raise NoAnswer(reason) from error

    def _read_token(self, refused: str | None = None) -> str:
        """The current token, where there is one other than `refused` within half a second."""
        deadline = time.monotonic() + _RENEWAL_S
        while True:
            try:
                token = self._token()
                if token != refused or time.monotonic() >= deadline:
                    return token
            except TokenError:  # half written
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_RENEWAL_POLL_S)


def _path(name: str, version: str | None = None) -> str:
    parts = (name,) if version is None else (name, version)
    for part in parts:
        # TorchServe decodes a path before it takes it apart, so "a/b" would be version "b" of "a".
        # An empty version would be the default one: unregistered, it is gone. And requests
        # resolves dots.
        if part in ("", ".", "..") or "/" in part:
            raise ModelNotFound(f"no model or version can be called {part!r}", 404)
    return "/models/" + "/".join(quote(part, safe="") for part in parts)
