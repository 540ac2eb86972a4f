"""The README and docs/ say what is so: requests are made, commands are run, tables are compared."""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer.main
import yaml
from PIL import Image
from typer.core import TyperCommand, TyperGroup

import handlers
import web.problems
from handlers.config import HandlerConfig, Limits
from handlers.images import TAKEN_FORMATS
from handlers.problems import Problem
from serving.cli import app
from serving.settings import DEFAULT_CONFIG, read_properties
from tests.api_reference import PAGES as API_PAGES
from tests.api_reference import make_page, skeleton
from tests.service import DEMO, Service
from tests.serving.rollout.operator import QUICK, Operator
from tests.serving.serve_process import ServeProcess
from tests.web.gateway_process import GatewayProcess
from training.archive import DEFAULT_MODEL_CONFIG, archive, model_card
from training.data.layouts import LayoutName
from training.recipe import load_recipe, recipe_names
from training.run_folder import read_run
from web.observe import Metrics as WebMetrics
from web.service_metrics import families as service_metrics
from web.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "model_store" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
# The demo once more, answering with labels.
LABELS = "cat-breeds-labels"

_needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def _shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh(?: \w+)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _code_spans(text: str) -> list[str]:
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", without_blocks)]


def _table(name: str, first_heading: str) -> list[list[str]]:
    """Rows of the one table whose first column has that heading, without code marks."""
    tables = re.findall(r"(?:^\|.*\n)+", _text(name), re.MULTILINE)
    (table,) = [each for each in tables if each.startswith(f"| {first_heading} |")]
    rows = [re.split(r"(?<!\\)\|", line.strip("|\n")) for line in table.splitlines()]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]


# --- The API reference ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labels_model(
    service: Service, demo_run: Path, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The demo once more, answering as TorchServe's own image classifiers do."""
    run = tmp_path_factory.mktemp("labels")
    for path in demo_run.iterdir():
        if path.name != "run.json":
            (run / path.name).symlink_to(path)
    described = json.loads((demo_run / "run.json").read_text()) | {"name": LABELS}
    (run / "run.json").write_text(json.dumps(described))
    config = yaml.safe_load(DEFAULT_MODEL_CONFIG.read_text())
    config["catbreeds"]["response"] = "labels"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    file = archive(run, "1.0", model_store, run / "config.yaml")
    client = service.server.management()
    client.register(file.name, timeout_s=120)
    yield LABELS
    client.unregister(LABELS, "1.0")
    file.unlink()


@pytest.fixture
def operator(model_store: Path, tmp_path: Path) -> Iterator[Operator]:
    """`catbreeds serve` with the demo, for the commands that change what is deployed."""
    store = tmp_path / "store"
    store.mkdir()
    shutil.copy(model_store / f"{DEMO}-0.1.mar", store)
    server = ServeProcess(tmp_path / "served", store, "--free-ports", "--no-web")
    try:
        server.wait_until_ready()
        yield Operator(server, store)
    finally:
        server.kill()


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "node"))), reason="needs curl and node")
@pytest.mark.usefixtures("labels_model")
@pytest.mark.parametrize("page", API_PAGES, ids=lambda page: page.name)
def test_the_api_references_hold_what_the_services_answer(
    service: Service, gateway: GatewayProcess, cat_photo: bytes, tmp_path: Path, page: Path
) -> None:
    server = service.server
    variables = {
        "STATE": str(server.folder),
        "URL": server.inference_url if page.name == "api.md" else gateway.url,
        "MANAGEMENT": server.management_url,
        "GRPC": server.grpc,
    }
    huge = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(huge, "PNG")
    files = {
        "siamese.jpg": cat_photo,
        "broken.jpg": cat_photo[: len(cat_photo) // 3],
        "huge.png": huge.getvalue(),
        "notes.txt": b"Feed the cat.\n",
        "zeros.bin": bytes(26_000_000),
    }
    made = make_page(page, variables, files, tmp_path)
    committed = page.read_text() if page.exists() else ""
    if skeleton(made) != skeleton(committed):
        new = ROOT / "build" / page.name
        new.parent.mkdir(exist_ok=True)
        new.write_text(made)
        old, fresh = (skeleton(page).splitlines() for page in (committed, made))
        difference = "\n".join(difflib.unified_diff(old, fresh, "committed", "made", lineterm=""))
        pytest.fail(f"{page} is out of date; if it should say this: cp {new} {page}\n{difference}")


def test_the_problems_are_those_of_the_handler() -> None:
    documented = {(int(status), slug, title) for status, slug, title in _table(_API, "Status")}
    kinds = [each for each in Problem.__subclasses__() if each.__module__ == Problem.__module__]
    assert documented == {(each.status, each.slug, each.title) for each in kinds}
    answered = set(re.findall(r'"urn:catbreeds:problem:([a-z-]+)"', _text(_API)))
    assert answered == {slug for _, slug, _ in documented} - {"internal-error"}


def test_the_limits_and_options_are_the_defaults() -> None:
    documented = {name: yaml.safe_load(default) for name, default, *_ in _table(_API, "Limit")}
    packed = yaml.safe_load(DEFAULT_MODEL_CONFIG.read_text())["catbreeds"]
    assert documented == Limits().to_dict() == packed["limits"]
    top_k, _class = _table(_API, "Option")
    assert int(top_k[2]) == HandlerConfig().default_top_k == packed["default_top_k"]
    assert f"1 to {Limits().photos} " in _text(_API)
    properties = read_properties(DEFAULT_CONFIG)
    assert f"{properties['max_request_size']} bytes of body" in _text(_API)


def test_the_formats_are_those_of_the_decoder() -> None:
    assert TAKEN_FORMATS in _text(_API)


def test_the_metrics_are_those_declared() -> None:
    declared = yaml.safe_load(Path(handlers.__file__).with_name("metrics.yaml").read_text())
    assert {tuple(row[:4]) for row in _table(_API, "Metric")} == {
        (metric["name"], kind, metric["unit"], ", ".join(metric["dimensions"]))
        for kind, metrics in declared["model_metrics"].items()
        for metric in metrics
    }


_API = "docs/api.md"
_WEB_API = "docs/web-api.md"


def test_the_gateways_problems_are_those_documented() -> None:
    documented = {(int(status), slug, title) for status, slug, title in _table(_WEB_API, "Status")}
    ours = {each for each in vars(web.problems).values() if isinstance(each, type)}
    kinds = [each for each in ours if issubclass(each, Problem) and hasattr(each, "slug")]
    assert documented == {(each.status, each.slug, each.title) for each in kinds}


def test_the_gateways_settings_are_those_documented() -> None:
    documented = {tuple(row) for row in _table("docs/operations.md", "Setting")}
    fields = Settings.model_fields.items()
    assert documented == {
        (f"{PREFIX}{name.upper()}", _default(field.default), field.description)
        for name, field in fields
    }


def test_the_gateways_metrics_are_those_documented() -> None:
    documented = {row[0] for row in _table("docs/operations.md", "Gateway metric")}
    collected = [*WebMetrics().registry.collect(), *service_metrics().values()]
    kinds = {"counter": "_total"}
    assert documented == {f"{each.name}{kinds.get(each.type, '')}" for each in collected}


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


# --- The other pages --------------------------------------------------------------------------


def test_the_model_card_has_the_documented_keys(demo_run: Path) -> None:
    documented = [key for row in _table("docs/model-card.md", "Key") for key in row[0].split(", ")]
    assert sorted(documented) == sorted([*model_card(read_run(demo_run), "0.1"), "running"])


def test_every_recipe_is_documented() -> None:
    documented = _table("docs/training.md", "Recipe")
    assert sorted(row[0] for row in documented) == recipe_names()
    for name, _classes, _network, size, begins in documented:
        recipe = load_recipe(name)
        assert size == f"{recipe.preprocessing.size[0]} px"
        weights = recipe.architecture.weights
        expected = {"none": "random weights", "BiT-M-R50x1.npz": weights}
        assert begins == expected.get(weights, "torchvision's, ImageNet")


def test_every_layout_is_documented() -> None:
    documented = [row[0] for row in _table("docs/training.md", "Layout")]
    assert sorted(documented) == sorted(get_args(LayoutName))


def test_archive_and_run_folder_hold_the_documented_entries(
    demo_run: Path, model_store: Path
) -> None:
    files, entries = _table("docs/training.md", "File"), _table("docs/training.md", "Entry")
    for name, _ in files:
        assert list(demo_run.glob(name)), name
    # TensorBoard's, where whoever trained it did not turn that off.
    present = {path.name for path in demo_run.iterdir()} - {"tracking"}
    assert present == {name.partition("/")[0] for name, _ in files}
    with zipfile.ZipFile(model_store / f"{DEMO}-0.1.mar") as packed:
        top = {
            re.sub(r"^(handlers|golden|openvino)/.*", r"\1/", name) for name in packed.namelist()
        }
    assert top == {name for name, _ in entries}


def test_the_ports_are_those_of_the_configuration() -> None:
    properties = read_properties(DEFAULT_CONFIG)
    addresses = [properties[f"{api}_address"] for api in ("inference", "management", "metrics")]
    expected = [address.rpartition(":")[2] for address in addresses]
    expected += [properties[f"grpc_{api}_port"] for api in ("inference", "management")]
    assert [row[0] for row in _table("docs/operations.md", "Port")] == expected
    life = int(properties["token_expiration_min"])
    assert f"lives {life} minutes" in _text("docs/operations.md")
    assert f"every {life // 2}:" in _text("docs/operations.md")


def test_every_start_up_error_is_documented() -> None:
    cells = [row[0] for row in _table("docs/operations.md", "The line has")]
    documented = [part for cell in cells for part in cell.split(" or ")]
    messages = []
    for module in (ROOT / "serving").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raised = ast.unparse(node.exc.func)
                parts = [n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant)]
                if raised in ("ServeError", "SettingsError"):
                    messages.append(" ".join(str(part) for part in parts))
    assert len(messages) > 10
    undocumented = [
        message
        for message in messages
        # A message without words of its own passes on what the file system says.
        if re.search(r"[a-z]{3}", message) and not any(part in message for part in documented)
    ]
    assert undocumented == []


@_needs_curl
def test_health_is_looked_at_as_operations_says(
    service: Service, labels_model: str, cat_photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "PHOTO.jpg").write_bytes(cat_photo)
    (health,) = (each for each in _shell_blocks(_text("docs/operations.md")) if "curl" in each)
    server = service.server
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "STATE": str(server.folder),
        "URL": server.inference_url,
        "MANAGEMENT": server.management_url,
        "MODEL": labels_model,
    }
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-euc", health],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- Commands and links -----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h).lower().replace(" ", "-") for h in headings]
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    lines = [line.strip() for block in _shell_blocks(text) for line in block.splitlines()]
    for line in lines:
        command_line, _, _redirected = line.partition(" > ")
        is_ours = line.startswith("catbreeds ")
        words = shlex.split(command_line, comments=True) if is_ours else ["", "-"]
        if not words[1].startswith("-"):
            # Refuses unknown options and missing or surplus arguments; runs nothing.
            command, rest = _command(words[1:])
            command.make_context(words[1], rest)
    for text_line in [*lines, *_code_spans(text)]:
        match text_line.split():
            case ["make", target, *_]:
                assert target in targets
            case ["catbreeds", *words] if words and not words[0].startswith("-"):
                command, _ = _command(words)
                known = {option for parameter in command.params for option in parameter.opts}
                assert {word for word in words if word.startswith("--")} <= known, text_line


@_needs_curl
def test_the_programs_of_the_readme_get_an_answer(
    gateway: GatewayProcess, cat_photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "PHOTO.jpg").write_bytes(cat_photo)
    readme = _text("README.md").replace("http://127.0.0.1:8000", gateway.url)
    (curl,) = re.findall(r"^curl .*$", readme, re.MULTILINE)
    (python,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (script,) = re.findall(r"^```js\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    read = 'const photo = (await import("node:fs")).readFileSync("PHOTO.jpg");'
    script = f"{read}\n{script}\nconsole.log(predictions[0].breed);"
    commands = [["bash", "-euc", curl], [sys.executable, "-c", python]]
    if shutil.which("node"):
        commands.append(["node", "--input-type=module", "--eval", script])
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Siamese" in done.stdout


def test_the_commands_of_the_readme_do_what_they_say(
    service: Service,
    operator: Operator,
    original_files: tuple[Path, Path],
    demo_data: Path,
    demo_run: Path,
    cat_photo: bytes,
    tmp_path: Path,
) -> None:
    state, names = original_files
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "data").symlink_to(demo_data)
    (tmp_path / "build" / "demo" / "run").symlink_to(demo_run)
    (tmp_path / "cats_model_state").symlink_to(state)
    (tmp_path / "cat_model_class_names").symlink_to(names)
    (tmp_path / "PHOTO.jpg").write_bytes(cat_photo)
    # Importing handlers.images has taught Pillow to write HEIC, too.
    Image.open(io.BytesIO(cat_photo)).save(tmp_path / "OTHER.heic", "HEIF")
    lines = [line for block in _shell_blocks(_text("README.md")) for line in block.splitlines()]
    printed: dict[str, str] = {}
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make" or line == ". .venv/bin/activate" or words[1] == "serve":
            continue  # what runs these tests, and the server that runs already
        if words[0] == "curl":
            continue  # see above
        assert words[0] == "catbreeds", line
        if "*" in words[-1]:
            words[-1:] = [str(path) for path in tmp_path.glob(words[-1])]
            assert len(words) > 2
        if words[1] == "predict":
            words += ["--url", service.server.inference_url]
        if words[1] in ("deploy", "models", "rollback"):
            words += ["--url", operator.url, *(QUICK if words[1] == "deploy" else ())]
        command = [str(Path(sys.executable).with_name("catbreeds")), *words[1:]]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=operator.server.environment if operator.url in words else os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed[line] = done.stdout
    assert (tmp_path / "cats" / "cat-breeds-1.0.mar").exists()
    assert "0.2      default" in printed["catbreeds models"]
    assert printed["catbreeds rollback"] == "cat-breeds 0.1 answers now, not 0.2\n"
    recipes = [line.split()[0] for line in printed["catbreeds recipes"].splitlines()]
    assert recipes == recipe_names()
    assert (tmp_path / "build" / "check.png").stat().st_size > 10_000
    assert "evaluation.html" in next(shown for line, shown in printed.items() if "evaluate" in line)
    (verified,) = [shown for line, shown in printed.items() if "verify" in line]
    assert verified.strip().endswith("entries, OK")
    assert len(list(tmp_path.glob("build/unseen/images/*/*.jpg"))) == 67
    (shown,) = [shown for line, shown in printed.items() if "--json" in line]
    answers = json.loads(shown)
    assert [each["photo"] for each in answers] == ["PHOTO.jpg", "OTHER.heic"]
    assert [each["predictions"][0]["breed"] for each in answers] == ["Siamese", "Siamese"]
    assert [len(each["predictions"]) for each in answers] == [3, 3]


def _command(words: list[str]) -> tuple[TyperCommand | TyperGroup, list[str]]:
    """The command that the words begin with, and the words behind its name."""
    found = typer.main.get_command(app)
    while isinstance(found, TyperGroup) and words and words[0] in found.commands:
        found = found.commands[words[0]]
        words = words[1:]
    assert isinstance(found, TyperCommand | TyperGroup)
    assert found.name != "root", f"catbreeds {words[0]} does not exist"
    return found, words
