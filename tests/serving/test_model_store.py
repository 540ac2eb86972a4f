"""Archives are code: a server takes them from its model store alone (`allowed_urls`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service


@pytest.fixture(scope="module")
def elsewhere(
    demo_archive: Path, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A good archive in another folder, in the folder above the store, and in one below."""
    (model_store / "sub").mkdir()
    archive = tmp_path_factory.mktemp("elsewhere") / "elsewhere.mar"
    copies = [archive, model_store.parent / archive.name, model_store / "sub" / archive.name]
    for copy in copies:
        copy.write_bytes(demo_archive.read_bytes())
    yield archive
    for copy in copies:
        copy.unlink()
    (model_store / "sub").rmdir()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/elsewhere.mar",
        "http://127.0.0.1:1/elsewhere.mar",
        "s3://bucket/elsewhere.mar",
        "file:///etc/passwd",
        "file://{elsewhere}",
        "{elsewhere}",
        "../elsewhere.mar",
        "file://{store}/../elsewhere.mar",
        "file://{store}/sub/elsewhere.mar",
        "sub/elsewhere.mar",
    ],
)
def test_an_archive_from_elsewhere_is_refused(
    service: Service, model_store: Path, elsewhere: Path, url: str
) -> None:
    place = url.format(elsewhere=elsewhere, store=model_store)
    query = {"url": place, "model_name": "visitor", "initial_workers": "0"}
    answer = service.manage("POST", "/models", query)
    assert answer.status_code == 404, answer.text
    assert service.manage("GET", "/models/visitor").status_code == 404


def test_an_archive_of_the_model_store_is_taken_by_its_name(
    service: Service, demo_archive: Path
) -> None:
    query = {"url": demo_archive.name, "initial_workers": "0"}
    answer = service.manage("POST", "/models", query)
    assert answer.status_code == 409  # it is registered already
    assert "already registered" in answer.json()["message"]
