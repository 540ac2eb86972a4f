"""What /metrics tells of what stands behind the gateway."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from handlers.expected import BOUNDS
from handlers.metric_labels import metric_label
from serving import state
from serving.state import ServerRecord
from serving.status import STATUS_FILE, Status, Workers, as_json
from serving.traffic import Canary
from tests.canaries import BOTH, NEW, announced, default_is, served_beside
from tests.service import DEMO, R50, Service
from tests.serving.rollout.versions import edit_json
from tests.serving.serve_process import ServeProcess
from tests.web.changed_archive import VERSION, served_as
from tests.web.conftest import StartGateway
from tests.web.gateway_process import GatewayProcess
from training.run_folder import read_run
from web.service_metrics import families, version_shares

WATCHED = "watched"
# In the demo's place of the first breed: as a label it is another one's.
TWIN = "Scottish_Fold"
SHARES = {"Siamese": 0.25, "Scottish Fold": 0.125, TWIN: 0.625}
UNSURE = "catbreeds_expected_unsure_share"
_PATIENCE_S = 60
VERSIONS = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


def expect(content: Path) -> None:
    """Give an unpacked archive of the demo a card that tells what to expect."""
    edit_json(content / "index_to_name.json", **{"0": TWIN})
    breeds = json.loads((content / "index_to_name.json").read_text()).values()
    section = {
        "photos": 8,
        "part": "test",
        "predicted": dict.fromkeys(breeds, 0.0) | SHARES,
        "top1_probability": {bound: number / 9 for number, bound in enumerate(BOUNDS)},
        "unsure": 0.375,
    }
    edit_json(content / "model-card.json", expected=section)


@pytest.fixture(scope="module", autouse=True)
def watched_archive(
    service: Service, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The demo in an archive whose card tells what to expect."""
    with served_as(WATCHED, service, model_store, tmp_path_factory.mktemp("watched"), expect):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the gateway takes for the server's folder; nothing is in it yet."""
    made = tmp_path / "server"
    made.mkdir()
    return made


@pytest.fixture
def start_apart(service: Service, start_gateway: StartGateway, folder: Path) -> StartGateway:
    """Starts gateways that have TorchServe's token, and else that folder."""
    token = service.server.folder / "inference.header"
    return lambda **settings: start_gateway(server_folder=folder, token_file=token, **settings)


def told(gateway: GatewayProcess | ServeProcess) -> dict[str, float]:
    """All samples but those of the gateway's own metrics, each of which is there once."""
    page = gateway.url("page") if isinstance(gateway, ServeProcess) else gateway.url
    answer = requests.get(f"{page}/metrics", timeout=10)
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("catbreeds_web_")]
    assert len({name for name, _ in samples}) == len(samples)
    return {name: float(value) for name, value in samples}


def names(gateway: GatewayProcess | ServeProcess) -> set[str]:
    return {name.partition("{")[0] for name in told(gateway)}


def labelled(samples: dict[str, float], name: str, label: str) -> dict[str, float]:
    """The values of one metric by one of its labels."""
    found = {}
    for sample, value in samples.items():
        if sample.startswith(f"{name}{{") and (of := re.search(rf'\b{label}="([^"]*)"', sample)):
            found[of[1]] = value
    return found


def write_record(folder: Path, service: Service, canary: Canary | None = None) -> None:
    url = service.server.inference_url
    models = {DEMO: ["0.1", NEW], R50: ["1.0"]}
    trying = {DEMO: canary} if canary else {}
    state.write_record(folder, ServerRecord(url, "", "", "", 1, models, "", trying))


def test_what_is_not_known_is_left_out(
    start_apart: StartGateway, folder: Path, service: Service
) -> None:
    gateway = start_apart(models=f"{R50},dogs", ready_every_s=1)
    ready = {'catbreeds_model_ready{model="dogs"}': 0}
    gateway.wait_for(
        lambda: told(gateway) == ready | {f'catbreeds_model_ready{{model="{R50}"}}': 1}
    )
    for damaged in ("", "{", "[]", '{"at": "today", "token_expires": {}, "workers": {}}'):
        for name in (STATUS_FILE, "server.json"):
            (folder / name).write_text(damaged)
        assert names(gateway) == {"catbreeds_model_ready"}
    write_record(folder, service)
    (folder / STATUS_FILE).write_text(as_json(Status(12.5, {}, {})))
    assert names(gateway) == {
        "catbreeds_model_ready",
        "catbreeds_version_share",
        "catbreeds_status_timestamp_seconds",
    }


def test_workers_queue_and_tokens_are_those_of_the_last_look(
    start_apart: StartGateway, folder: Path
) -> None:
    workers = {
        DEMO: {"0.1": Workers(2, 1, 300_000_000, 7), NEW: Workers(1, 1, 150_000_000, 0)},
        R50: {"1.0": Workers(0, 0, 0, 0)},
    }
    looked = time.time()
    tokens = {"inference": looked + 60, "management": looked + 1800.5}
    (folder / STATUS_FILE).write_text(as_json(Status(looked, tokens, workers)))
    gateway = start_apart(models=DEMO)
    others = ("catbreeds_model_ready", "catbreeds_expected_")
    found = {name: each for name, each in told(gateway).items() if not name.startswith(others)}
    expected = {
        "catbreeds_status_timestamp_seconds": looked,
        'catbreeds_token_expires_timestamp_seconds{kind="inference"}': looked + 60,
        'catbreeds_token_expires_timestamp_seconds{kind="management"}': looked + 1800.5,
    }
    for model, versions in workers.items():
        for version, each in versions.items():
            of = f'model="{model}",version="{version}"'
            expected |= {
                f"catbreeds_worker_memory_bytes{{{of}}}": each.memory_bytes,
                f"catbreeds_queue_waiting{{{of}}}": each.waiting,
            }
            for kind, count in (("wanted", each.wanted), ("ready", each.ready)):
                labels = f'model="{model}",state="{kind}",version="{version}"'
                expected[f"catbreeds_workers{{{labels}}}"] = count
    assert found == expected
    (folder / STATUS_FILE).write_text(as_json(Status(looked + 5, tokens, {})))
    assert told(gateway)["catbreeds_status_timestamp_seconds"] == looked + 5
    assert "catbreeds_workers" not in names(gateway)


def test_a_canary_has_its_share_until_its_time_is_over(
    start_apart: StartGateway, folder: Path, service: Service
) -> None:
    gateway = start_apart(models=DEMO)

    def shares() -> dict[str, float]:
        found = {}
        for name, value in told(gateway).items():
            if of := re.fullmatch(
                rf'catbreeds_version_share{{model="{DEMO}",version="(.*)"}}', name
            ):
                found[of[1]] = value
            assert R50 not in name  # is served, but not offered here
        return found

    write_record(folder, service, Canary(NEW, 0.25, time.time() + 3600))
    assert shares() == {"0.1": 0.75, NEW: 0.25}
    write_record(folder, service, Canary(NEW, 0.25, time.time() - 0.1))
    assert shares() == {"0.1": 1, NEW: 0}
    write_record(folder, service)
    assert shares() == {"0.1": 1, NEW: 0}


@given(VERSIONS, st.sampled_from("abcde"), st.floats(0, 1), st.sampled_from([9.0, 10.0, 11.0]))
def test_every_client_gets_some_version(
    versions: list[str], tried: str, share: float, until: float
) -> None:
    shares = version_shares(versions, Canary(tried, share, until), now=10.0)
    if not versions:
        assert shares == {}
        return
    assert math.isclose(sum(shares.values()), 1)
    assert all(0 <= each <= 1 for each in shares.values())
    if until <= 10.0:
        assert shares == version_shares(versions, None, 10.0)
        assert shares[versions[0]] == 1
    elif tried != versions[0]:
        assert shares[tried] == share


def test_what_to_expect_is_that_of_the_card(
    start_gateway: StartGateway, service: Service, unseen_cats: Path
) -> None:
    """With labels that can be matched with those of TorchServe's metrics."""
    gateway = start_gateway(models=f"{WATCHED},{R50}", rate="none")
    gateway.wait_for(lambda: UNSURE in names(gateway))
    of = f'model="{WATCHED}",version="{VERSION}"'
    found = {name: each for name, each in told(gateway).items() if "_expected_" in name}
    assert R50 not in str(found)  # nothing was measured
    assert found[f"{UNSURE}{{{of}}}"] == 0.375
    predicted = labelled(found, "catbreeds_expected_predicted_share", "breed")
    assert len(predicted) == 66
    assert {breed: share for breed, share in predicted.items() if share} == {
        "Siamese": 0.25,
        "Scottish_Fold": 0.75,
    }
    reached = labelled(found, "catbreeds_expected_top1_probability_share", "le")
    assert reached == pytest.approx({bound: number / 9 for number, bound in enumerate(BOUNDS)})
    assert len(found) == 66 + len(BOUNDS) + 1

    folds = sorted((unseen_cats / "images" / "Scottish Fold").glob("*.jpg"))
    answers = [gateway.classify(photo.read_bytes(), model=WATCHED).json() for photo in folds]
    best = [metric_label(answer["predictions"][0]["breed"]) for answer in answers]
    gateway.classify(folds[0].read_bytes(), model="somebodys", version="own")

    def counted() -> dict[str, float]:
        ours = f'ModelName="{WATCHED}",ModelVersion="{VERSION}"'
        lines = [line for line in service.metrics().splitlines() if ours in line]
        samples = (line.rsplit(" ", 1) for line in lines)
        return {name: float(value) for name, value in samples}

    def answered() -> dict[str, float]:
        return labelled(counted(), "catbreeds_predicted_total", "breed")

    assert "Scottish_Fold" in best
    gateway.wait_for(lambda: answered().get("Scottish_Fold") == best.count("Scottish_Fold"))
    assert answered().keys() <= predicted.keys()
    bounds = labelled(counted(), "catbreeds_top1_probability_bucket", "le")
    assert {each for each in bounds if float(each) <= 1} == reached.keys()
    assert "somebodys" not in str(told(gateway))


def test_what_to_expect_follows_the_default(
    start_gateway: StartGateway, service: Service, model_store: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(models=DEMO)

    def expecting() -> set[str]:
        return set(labelled(told(gateway), UNSURE, "version"))

    with served_beside(service, model_store, tmp_path, NEW, expect):
        with announced(service, **BOTH):
            gateway.wait_for(lambda: requests.get(f"{gateway.url}/api/models", timeout=10).ok)
            assert NEW not in expecting()
        with default_is(service, NEW), announced(service, models={DEMO: [NEW, "0.1"]}):
            gateway.wait_for(lambda: expecting() == {NEW})
    gateway.wait_for(lambda: NEW not in expecting())


def test_of_the_served_demo_all_of_it_is_known(
    model_store: Path, demo_run: Path, tmp_path: Path
) -> None:
    """`catbreeds serve` as it comes, with the gateway that it starts."""
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(model_store / f"{DEMO}-0.1.mar", store)
    served = ServeProcess(tmp_path / "served", store, "--free-ports")
    try:
        served.wait_until_ready()
        deadline = time.monotonic() + _PATIENCE_S
        all_ready = {"wanted": 1, "ready": 1}
        while (
            names(served) != families().keys()
            or labelled(found := told(served), "catbreeds_workers", "state") != all_ready
        ):
            assert time.monotonic() < deadline, names(served)
            time.sleep(0.1)
    finally:
        served.kill()
    of = f'model="{DEMO}",version="0.1"'
    assert found[f'catbreeds_model_ready{{model="{DEMO}"}}'] == 1
    assert found[f"catbreeds_version_share{{{of}}}"] == 1
    assert found[f"catbreeds_worker_memory_bytes{{{of}}}"] > 50e6
    assert found[f"catbreeds_queue_waiting{{{of}}}"] == 0
    ends = labelled(found, "catbreeds_token_expires_timestamp_seconds", "kind")
    looked = found["catbreeds_status_timestamp_seconds"]
    assert ends.keys() == {"inference", "management"}
    assert all(looked < each <= looked + 3600 for each in ends.values())
    expected = read_run(demo_run).expected
    assert expected is not None
    predicted = labelled(found, "catbreeds_expected_predicted_share", "breed")
    assert list(predicted.values()) == pytest.approx(list(expected.predicted.values()))
    reached = labelled(found, "catbreeds_expected_top1_probability_share", "le")
    assert reached == expected.top1_probability
    assert found[f"{UNSURE}{{{of}}}"] == expected.unsure
