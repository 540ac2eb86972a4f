"""What the tests of the whole way share: each part is made once a session.

    drawn cats -> trained demo \
                                -> archives -> one real TorchServe on free ports
    original project's files -> imported R50x1 /                                     <- one gateway
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

with warnings.catch_warnings():
    # TorchServe leaves files open when it is imported, which would fail whatever test runs then.
    warnings.simplefilter("ignore", ResourceWarning)
    import ts.context
    import ts.metrics.metric_type_enum  # noqa: F401

from serving.server import Server
from serving.settings import Ports
from tests.archives import one_worker
from tests.service import BATCHING, DEMO, R50, Service
from tests.web.gateway_process import GatewayProcess
from training.archive import archive
from training.drawn_cats import CLASSES, golden_photos, write_dataset, write_photos
from training.import_original import import_original
from training.models import bit
from training.train import train

# The same examples each time: what is red is so because of a change. To look further:
# pytest --hypothesis-profile=default
# A deadline would be a timing assertion: it fails where another program is at work.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is cached for a user, such as scans of data folders, is not the tests' to touch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set that `make serve` trains on."""
    folder = tmp_path_factory.mktemp("drawn") / "data"
    write_dataset(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def unseen_cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn cats of each breed, of another seed than those trained on."""
    folder = tmp_path_factory.mktemp("unseen") / "data"
    write_photos(folder, seed=7, per_breed=6)
    return folder


@pytest.fixture(scope="session")
def demo_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that `make serve` trains.

    $CATBREEDS_DEMO_RUN names a finished one, to save two minutes while working on other things.
    """
    if finished := os.environ.get("CATBREEDS_DEMO_RUN"):
        return Path(finished).resolve()
    folder = tmp_path_factory.mktemp("demo") / "run"
    train("demo", request.getfixturevalue("demo_data"), folder, tracker="none")
    return folder


@pytest.fixture(scope="session")
def original_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The two files of the original project, with random weights: state dict and class names."""
    folder = tmp_path_factory.mktemp("original")
    torch.manual_seed(0)
    model = bit.build(len(CLASSES), **bit.MEMBERS["R50x1"])
    # A head as it is after training: with the initial zeros all classes would be the same.
    head = model.get_parameter("head.conv.weight")
    torch.nn.init.normal_(head, std=0.05)
    torch.save(model.state_dict(), folder / "cats_model_state")
    (folder / "cat_model_class_names").write_bytes(pickle.dumps(list(CLASSES)))
    return folder / "cats_model_state", folder / "cat_model_class_names"


@pytest.fixture(scope="session")
def r50_run(original_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An R50x1 with random weights, imported from the original project's files."""
    folder = tmp_path_factory.mktemp("r50") / "run"
    import_original(*original_files, folder, golden_photos(), R50)
    return folder


@pytest.fixture(scope="session")
def model_store(demo_run: Path, r50_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives of the demo, of the R50x1, and of a demo that waits for full batches."""
    store = tmp_path_factory.mktemp("store")
    config = one_worker(tmp_path_factory.mktemp("config"))
    archive(demo_run, "0.1", store, config)
    archive(r50_run, "1.0", store, config)
    batching = tmp_path_factory.mktemp("batching")
    described = json.loads((demo_run / "run.json").read_text()) | {"name": BATCHING}
    for path in demo_run.iterdir():
        (batching / path.name).symlink_to(path)
    (batching / "run.json").unlink()
    (batching / "run.json").write_text(json.dumps(described))
    archive(batching, "1.0", store, one_worker(batching, batchSize=8, maxBatchDelay=3000))
    return store


@pytest.fixture(scope="session")
def service(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real TorchServe with all three models, up for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATBREEDS_STATE", str(tmp_path_factory.mktemp("state")))
        with Server(model_store, ports=Ports.free()) as server:
            yield Service(server)


@pytest.fixture(scope="session")
def gateway(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Up for the whole session, with two models and without a rate limit."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = {"rate": "none", "models": f"{DEMO},{R50}"}
    with GatewayProcess(folder, service.server.inference_url, **settings) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="session")
def cat_photo(unseen_cats: Path) -> bytes:
    """A drawn Siamese, as JPEG."""
    return next(iter(sorted((unseen_cats / "images" / "Siamese").glob("*.jpg")))).read_bytes()
