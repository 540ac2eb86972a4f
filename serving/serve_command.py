"""What `catbreeds serve` does and prints."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from types import FrameType

from serving.gateway import Gateway
from serving.server import Server
from serving.settings import LOOPBACK, Hosts, LogFormat, Ports, check_port_free


def run_server(
    model_store: Path,
    config: Path,
    ports: Ports | None,
    log_format: LogFormat,
    java_home: Path | None,
    web_port: int | None,
    web_host: str = "127.0.0.1",
    hosts: Hosts = LOOPBACK,
    gateway_folder: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        web_port: of the gateway; None starts none.
        web_host: where the gateway listens.
        hosts, gateway_folder: as `Server` takes them.

    Raises:
        ServeError, SettingsError: as `Server` does.
    """
    stop_asked = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        # An exception from here could strike anywhere, also while everything is being stopped.
        stop_asked.set()

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    if web_port is not None:
        check_port_free(web_port, "gateway")
    try:
        with ExitStack() as running:
            server = running.enter_context(
                Server(
                    *(model_store, config, ports, log_format, java_home, _report, stop_asked),
                    hosts=hosts,
                    gateway_folder=gateway_folder,
                )
            )
            check, page = (lambda: None), None
            if web_port is not None:
                _report("starting the gateway")
                gateway = Gateway(
                    server.inference_url, web_port, log_format, stop_asked, host=web_host
                )
                running.enter_context(gateway)
                check, page = gateway.check_alive, gateway.url
            print(_where_everything_is(server, page), flush=True)
            server.watch(check)
    except KeyboardInterrupt:
        _report("stopped")


def _report(line: str) -> None:
    print(f"catbreeds: {line}", file=sys.stderr, flush=True)


def _where_everything_is(server: Server, gateway_url: str | None) -> str:
    model = server.archives[0].model
    versions = ", ".join(f"{each.model} {each.version}" for each in server.archives)
    prediction = f"{server.inference_url}/predictions/{model}"
    photo = quote(str(server.example_photo))
    catbreeds = Path(sys.executable).with_name("catbreeds")
    page = "" if gateway_url is None else f"  page          {gateway_url}/\n"
    return f"""
Ready: {versions}

{page}  predictions   {prediction}
  gRPC          {server.grpc}
  management    {server.management_url}/models
  metrics       {server.metrics_url}/metrics
  tokens        {server.folder / "key_file.json"}

Try it, then with a photo of your own:

  curl -H @{quote(str(server.header_file))} -T {photo} {prediction}
  {quote(str(catbreeds))} predict {photo} --url {server.inference_url} --model {model}

Ctrl-C stops it.
"""
