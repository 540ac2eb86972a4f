"""The API's description, held against what the API does with what it describes, and does not."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import requests
import schemathesis
import schemathesis.specs.openapi.checks  # registers them
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.schemas import BaseSchema

from handlers.bundle import UnsureScore
from tests.answers import JSON
from tests.web.gateway_process import GatewayProcess
from web import schemas

# All but one: bytes that the description allows need not be a photo.
CHECKS: list[Any] = [
    each for each in checks.CHECKS.get_all() if each.__name__ != "positive_data_acceptance"
]
KSERVE = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("POST", "/v1/models/{model}:predict"),
    ("POST", "/v1/models/{model}:explain"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{model}"),
    ("GET", "/v2/models/{model}/ready"),
    ("POST", "/v2/models/{model}/infer"),
    ("GET", "/v2/models/{model}/versions/{version}"),
    ("GET", "/v2/models/{model}/versions/{version}/ready"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
]


@pytest.fixture(scope="session")
def described_api(gateway: GatewayProcess) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/classify"),
        ("POST", "/api/explain"),
        ("GET", "/api/models"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        *KSERVE,
    ],
)
@pytest.mark.parametrize("kind", list(GenerationMode))
def test_whatever_is_sent_the_answer_is_as_described(
    described_api: BaseSchema, method: str, path: str, kind: GenerationMode
) -> None:
    """Both what the description allows and what it does not."""
    operation = described_api[path][method]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=kind))
    def check(case: Any) -> None:  # noqa: ANN401 - schemathesis' own type depends on the operation
        case.call_and_validate(checks=CHECKS)

    try:
        check()
    except Unsatisfiable:
        # Nothing that it takes could be wrong.
        assert (kind, method) == (GenerationMode.NEGATIVE, "GET")


def test_answers_to_a_photo_are_as_described(gateway: GatewayProcess, cat_photo: bytes) -> None:
    """Few of the bodies that are made up above are photos."""
    for path, shape in (("classify", schemas.Classification), ("explain", schemas.Explanation)):
        answer = requests.post(f"{gateway.url}/api/{path}", cat_photo, timeout=60).json()
        shape.model_validate(answer)
        assert {field.alias or name for name, field in shape.model_fields.items()} == set(answer)


def test_the_scores_are_those_of_the_handler() -> None:
    described = schemas.Model.model_fields["unsure_score"].annotation
    assert get_args(described) == get_args(UnsureScore)


def test_every_operation_is_tested(gateway: GatewayProcess) -> None:
    assert set(_operations(gateway)) == {
        *("/api/classify", "/api/explain", "/api/models", "/healthz", "/readyz", "/metrics"),
        *(path for _, path in KSERVE),
    }


def test_the_checks_are_those_of_openapi() -> None:
    assert {
        "status_code_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    } <= {each.__name__ for each in CHECKS}


def _operations(gateway: GatewayProcess) -> dict[str, Any]:
    described = requests.get(f"{gateway.url}/openapi.json", timeout=10).json()
    return {
        path: operation
        for path, methods in described["paths"].items()
        for operation in methods.values()
    }


@pytest.mark.parametrize("path", ["/api/classify", "/api/explain"])
def test_every_example_works_as_it_stands(gateway: GatewayProcess, path: str) -> None:
    bodies = _operations(gateway)[path]["requestBody"]["content"]
    assert set(bodies) == {
        *("image/*", "application/octet-stream", "multipart/form-data", "application/json")
    }
    examples = bodies["application/json"]["examples"]
    assert len(examples) >= 4
    for name, example in examples.items():
        answer = requests.post(gateway.url + path, json=example["value"], headers=JSON, timeout=30)
        assert answer.status_code == (422 if name == "address" else 200), answer.text


@pytest.mark.parametrize("path", [path for method, path in KSERVE if method == "POST"])
def test_every_example_of_kserve_works_as_it_stands(gateway: GatewayProcess, path: str) -> None:
    operation = _operations(gateway)[path]
    for parameter in operation["parameters"]:
        path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["example"])
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 2
    for example in examples.values():
        answer = requests.post(gateway.url + path, json=example["value"], timeout=30)
        assert answer.status_code == 200, answer.text


def test_the_page_of_the_api_asks_no_other_host(gateway: GatewayProcess) -> None:
    page = requests.get(f"{gateway.url}/docs", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "//" not in page.text.replace("<!doctype", "")
    for path in ("/docs/static/swagger-ui-bundle.js", "/docs/static/swagger-ui.css"):
        assert path in page.text
        assert requests.get(gateway.url + path, timeout=10).ok
