"""The commands as whoever runs the server types them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.inference import InferenceClient, Prediction
from serving.management import ManagementClient
from serving.state import read_token
from tests.service import DEMO
from tests.serving.serve_process import CATBREEDS, ServeProcess

# Long enough for a version to be looked at, short enough for a test.
QUICK = ("--watch", "0.5")
_PATIENCE_S = 60


@dataclass
class Operator:
    """Somebody at the machine of a running `catbreeds serve`."""

    server: ServeProcess
    store: Path

    @property
    def url(self) -> str:
        return self.server.url("predictions")

    def run(
        self, *command: str, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """One command, to its end; `before` runs in its process."""
        url = () if command[0] in ("keygen", "sign") else ("--url", self.url)
        return subprocess.run(
            (str(CATBREEDS), *command, *url),
            env=self.server.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            preexec_fn=before,
        )

    def done(self, *command: str) -> dict[str, Any]:
        """What a command says as JSON, which must succeed."""
        result = self.run(*command, "--json")
        assert result.returncode == 0, result.stderr
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    def deploy(self, file: Path, *options: str) -> dict[str, Any]:
        """A deploy that must succeed."""
        return self.done("deploy", str(file), *QUICK, *options)

    @property
    def folder(self) -> Path:
        """The server's state folder."""
        return self.server.state / "servers" / self.url.rpartition(":")[2]

    def management(self) -> ManagementClient:
        """With the management token."""
        url = self.server.url("management")
        return ManagementClient(url, lambda: read_token(self.folder, "management"))

    def token(self) -> str:
        """The inference token."""
        return read_token(self.folder, "inference")

    def ask(self, photo: bytes, version: str | None = None) -> Prediction:
        """One prediction, with the inference token."""
        return InferenceClient(self.url, self.token).predict(photo, DEMO, version)

    def models(self) -> dict[str, dict[str, Any]]:
        """Version -> what `catbreeds models` says of it."""
        return {row["version"]: row for row in self.done("models")["models"]}

    def states(self) -> dict[str, str]:
        """Version -> its state."""
        return {version: row["state"] for version, row in self.models().items()}

    def events(self) -> list[dict[str, Any]]:
        """The history."""
        events: list[dict[str, Any]] = self.done("history", "--limit", "1000")["events"]
        return events

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until it holds; what the server says, where it never does."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, (self.states(), self.server.stderr())
            time.sleep(0.2)

    def back_to(self, archive: Path, version: str) -> None:
        """That version alone, whatever is deployed."""
        if self.states().get(version) != "default":
            self.deploy(archive)
        for other in set(self.states()) - {version}:
            self.done("retire", other, "--delete")

    def archives(self) -> list[str]:
        """File names in the model store, but for those of the record."""
        return sorted(path.name for path in self.store.iterdir() if ".mar" in path.name)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """One command, which goes on."""
        return subprocess.Popen(
            (str(CATBREEDS), *command, "--url", self.url),
            env=self.server.environment | {"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
