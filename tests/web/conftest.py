"""Gateways with settings of their own; the session's is in tests/conftest.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service import Service
from tests.web.gateway_process import GatewayProcess

StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(service: Service, tmp_path: Path) -> Iterator[StartGateway]:
    """Starts gateways that end with the test; `torchserve=` names another one."""
    with ExitStack() as running:

        def start(torchserve: str = "", **settings: object) -> GatewayProcess:
            url = torchserve or service.server.inference_url
            return running.enter_context(GatewayProcess(tmp_path, url, **settings))

        yield start
