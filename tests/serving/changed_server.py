"""A server whose settings are not those of config.properties, to tell what each key does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.server import Server
from serving.settings import DEFAULT_CONFIG, Ports, read_properties
from tests.archives import describe_as, pack, unpack
from tests.service import Service

DEFAULT = read_properties(DEFAULT_CONFIG)
CHANGED = {
    "token_expiration_min": "5",
    "blacklist_env_vars": ".*NOT_THIS.*",
    "max_request_size": "65536",
    "max_response_size": "1500",
    "decode_input_request": "true",
    "job_queue_size": "3",
    "default_response_timeout": "77",
    "default_startup_timeout": "66",
    "default_workers_per_model": "2",
    "initial_worker_port": "9500",
    "number_of_netty_threads": "7",
    "netty_client_threads": "1",
    "disable_system_metrics": "false",
    "vmargs": "-Xmx300m",
}
ENVIRONMENT = {
    "CATBREEDS_HARMLESS": "1",
    "HARMLESS": "1",
    "MY_TOKEN": "1",
    "aws_secret_access_key": "1",
    "DB_PASSWORD": "1",
    "NOT_THIS_ONE": "1",
    # Nobody listens there: a call that obeys it fails.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    # TorchServe reads such variables where enable_envvars_config=true.
    "TS_JOB_QUEUE_SIZE": "9",
}


@contextmanager
def changed_server(archive: Path, folder: Path) -> Iterator[Service]:
    """Starts it with a model store of its own, in surroundings that would mislead it."""
    store = folder / "store"
    store.mkdir()
    (store / archive.name).symlink_to(archive)
    config = folder / "changed.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in (DEFAULT | CHANGED).items()))
    for package in ("handlers", "training", "torch"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATBREEDS_STATE", str(folder / "state"))
        patch.setenv("PYTHONPATH", str(folder))
        patch.chdir(folder)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        server = Server(store, config, Ports.free())
    with server:
        yield Service(server)


def pack_probe(demo: Path, folder: Path) -> Path:
    """Into the demo's model store: the demo with requirements that cannot be met.

    It has no model-config.yaml, and its own copy of the handler names breeds in capitals.
    """
    content = unpack(demo, folder)
    describe_as(content, "probe", "1.0", requirementsFile="requirements.txt")
    manifest = content / "MAR-INF" / "MANIFEST.json"
    described = json.loads(manifest.read_text())
    del described["model"]["configFile"]
    manifest.write_text(json.dumps(described))
    (content / "requirements.txt").write_text("-r /nonexistent/requirements.txt\n")
    code = content / "handlers" / "predictions.py"
    name = '"breed": bundle.class_names[class_id]'
    assert name in code.read_text()
    code.write_text(code.read_text().replace(name, f"{name}.upper()"))
    return pack(content, demo.with_name("probe.mar"), seal=True)
