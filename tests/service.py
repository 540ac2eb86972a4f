"""Calls to the server under test."""

from __future__ import annotations

from dataclasses import dataclass

import requests

from serving import state
from serving.server import Server

DEMO = "cat-breeds"
R50 = "cat-breeds-r50"
# The demo once more, with a worker that waits until a batch of eight is full.
BATCHING = "cat-breeds-batching"


@dataclass(frozen=True)
class Service:
    """The running server, and calls with its tokens."""

    server: Server

    def token(self, kind: str = "inference") -> str:
        return state.read_token(self.server.folder, kind)

    def post(
        self,
        path: str,
        data: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        files: dict[str, tuple[str, bytes]] | None = None,
    ) -> requests.Response:
        """POST to the inference API with the inference token."""
        authorised = {"Authorization": f"Bearer {self.token()}"} | (headers or {})
        url = self.server.inference_url + path
        return requests.post(url, data, headers=authorised, files=files, timeout=60)

    def manage(
        self, method: str, path: str, params: dict[str, str] | None = None
    ) -> requests.Response:
        """Call the management API with the management token."""
        return requests.request(
            method,
            self.server.management_url + path,
            params=params,
            headers={"Authorization": f"Bearer {self.token('management')}"},
            timeout=60,
        )

    def metrics(self) -> str:
        return requests.get(self.server.metrics_url + "/metrics", timeout=10).text

    def worker_pid(self, model: str, version: str) -> int:
        (pid,) = self.server.management().describe(model, version).worker_pids
        return pid
