"""Exit code 0 where the service in this container answers a photo: a health check for containers.

    python healthcheck.py torchserve|web

Asks each model's default version for a photo, or the gateway whether each has answered lately. It
is run every few seconds, so it imports nothing that takes long.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Less than a health check may take.
_PATIENCE_S = 8
_WEB_PORT = 8000


def check_torchserve() -> None:
    """Raises:
    OSError, ValueError, KeyError, HTTPException: no model is served, or one does not answer.
    """
    # A container has one server.
    (folder,) = (Path(os.environ["CATBREEDS_STATE"]) / "servers").iterdir()
    record = json.loads((folder / "server.json").read_text())
    address, models = record["inference"].removeprefix("http://"), record["models"]
    name, _, token = (folder / "inference.header").read_text().strip().partition(": ")
    photo = (folder / "example.png").read_bytes()
    if not models:
        raise ValueError("no model is served")

    def ask(model: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE_S)
        headers = {name: token, "probe": "True"}
        connection.request("POST", f"/predictions/{model}", photo, headers)
        _look_at(connection.getresponse(), model)

    with ThreadPoolExecutor(len(models)) as at_once:
        list(at_once.map(ask, models))


def check_web() -> None:
    """Raises:
    OSError, ValueError, HTTPException: the gateway is not ready.
    """
    port = int(os.environ.get("CATBREEDS_WEB_PORT", _WEB_PORT))
    if os.environ.get("CATBREEDS_WEB_CERTIFICATE"):
        # The certificate is for the name that clients use, which this is not.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=_PATIENCE_S, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    connection.request("GET", "/readyz")
    _look_at(connection.getresponse(), "gateway")


def _look_at(answer: http.client.HTTPResponse, whose: str) -> None:
    body = answer.read()
    if answer.status != http.client.OK:
        raise ValueError(f"{whose}: {answer.status} {body[:300].decode('utf-8', 'replace')}")


def main() -> None:
    """Check; what is wrong goes to standard error."""
    checks = {"torchserve": check_torchserve, "web": check_web}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(f"usage: healthcheck.py {'|'.join(checks)}")
    try:
        checks[sys.argv[1]]()
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
