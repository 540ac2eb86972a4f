"""Each recipe from photos to answers: trained for a few steps at its own input size with random
weights, archived, and all of them served by one TorchServe. The demo goes that way in
`tests.conftest`."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from serving.predict_command import predict_photos
from serving.server import Server
from serving.settings import Ports
from tests.answers import form, problem_of
from tests.images import rgb
from tests.service import Service
from tests.training.recipe_service import Trained, pack
from training.data.layouts import read_dataset
from training.recipe import load_recipe, recipe_names
from training.run_folder import build_model

RECIPES = [name for name in recipe_names() if name != "demo"]
EACH = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    folder = tmp_path_factory.mktemp("recipes")
    return {name: pack(name, folder / name, folder / "store") for name in RECIPES}


@pytest.fixture(scope="module")
def served(
    trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """All of them at once: a store without a record is served with all its files."""
    store = trained[RECIPES[0]].archive.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CATBREEDS_STATE", str(tmp_path_factory.mktemp("recipes-state")))
        with Server(store, ports=Ports.free()) as server:
            yield Service(server)


@EACH
def test_a_photo_gets_the_classes_of_its_layout(
    served: Service, trained: dict[str, Trained], name: str
) -> None:
    model = trained[name]
    response = served.post(f"/predictions{model.route}", model.photo())
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["model"], answer["version"]) == (model.run.name, model.version)
    assert type(answer["unsure"]) is bool
    classes = read_dataset(load_recipe(name).data.layout, model.data).classes
    best = answer["predictions"]
    # The default of 5 asks for more classes than some models have.
    assert len(best) == min(5, len(classes))
    assert all(each["breed"] == classes[each["class_id"]] for each in best)

    body, headers = form(("photo", ("photo", model.photo())), ("top_k", str(len(classes))))
    every = served.post(f"/predictions{model.route}", body, headers).json()["predictions"]
    assert {each["breed"] for each in every} == set(classes)
    shares = [each["probability"] for each in every]
    assert shares == sorted(shares, reverse=True)
    assert math.isclose(sum(shares), 1, abs_tol=1e-5)


@EACH
def test_the_command_line_shows_the_same(
    served: Service,
    trained: dict[str, Trained],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, photo = trained[name], tmp_path / "photo.jpg"
    photo.write_bytes(model.photo())
    url = served.server.inference_url
    assert predict_photos([photo], url, model.run.name, model.version, None, as_json=True) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    answer = served.post(f"/predictions{model.route}", model.photo()).json()
    assert [each["breed"] for each in shown["predictions"]] == [
        each["breed"] for each in answer["predictions"]
    ]


@EACH
def test_the_card_tells_how_it_was_trained(
    served: Service, trained: dict[str, Trained], name: str
) -> None:
    model, recipe = trained[name], load_recipe(name)
    path = f"/models{model.route}"
    (described,) = served.manage("GET", path, {"customized": "true"}).json()
    card = described["customizedMetadata"]
    assert (card["name"], card["version"]) == (recipe.name, model.version)
    network = recipe.architecture.model_dump(mode="json", include={"file", "options"})
    assert card["architecture"] == network
    data = card["data"]
    assert data["split_hash"] == model.run.data["split_hash"]
    assert (data["layout"], data["weights"]) == (recipe.data.layout, "none")
    assert data["training_photos"] >= 2
    assert data["figures_of"] == ("test" if data["test_photos"] else "validation")
    assert set(card["metrics"]) > {"top1", "top5", "loss", "majority_baseline"}
    for key in ("intended_use", "limitations", "licence_notes"):
        assert card[key] == recipe.card.model_dump(mode="json")[key], key


@EACH
def test_an_explanation_is_a_grid_and_a_heat_map_of_the_inputs_size(
    served: Service, trained: dict[str, Trained], name: str
) -> None:
    model = trained[name]
    response = served.post(f"/explanations{model.route}", model.photo())
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["model"], answer["version"]) == (model.run.name, model.version)
    height, width = load_recipe(name).preprocessing.size
    assert rgb(base64.b64decode(answer["heatmap"])).size == (width, height)
    assert answer["input_size"] == [height, width]
    grid, first, step = answer["grid"], answer["cells"]["first"], answer["cells"]["step"]
    assert all(math.isfinite(value) for row in grid for value in row)
    for side, cells in ((height, len(grid)), *((width, len(row)) for row in grid)):
        # They look at all of the photo, but for an edge where the network does not pad it.
        assert first + step * (cells - 1) < side <= first + step * (cells + 2)


@EACH
def test_what_is_no_photo_gets_its_problem(
    served: Service, trained: dict[str, Trained], name: str
) -> None:
    response = served.post(f"/predictions{trained[name].route}", b"no photo")
    assert "JPEG" in problem_of(response, 415, "unsupported-image")


# With as many classes as the recipe's data set has, and then so many parameters.
PARAMETERS = {
    "animals-10": (10, 14_848_586),
    "cat-breeds": (67, 23_637_635),
    "cat-breeds-edge": (67, 2_309_699),
    "cat-breeds-original": (67, 23_637_635),
    "cats-and-dogs": (2, 2_668_418),
    "dogs-vs-cats": (2, 47_504_098),
    "dogs-vs-cats-cnn": (2, 3_453_634),
    "pets": (37, 21_303_653),
}


@EACH
def test_the_network_has_the_size_that_it_should(trained: dict[str, Trained], name: str) -> None:
    classes, parameters = PARAMETERS[name]
    run = dataclasses.replace(
        trained[name].run, classes=[f"class {number}" for number in range(classes)]
    )
    with torch.device("meta"):
        model = build_model(run)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
