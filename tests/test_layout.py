"""The rules of CONTRIBUTING.md's "Layout"."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmarks", "handlers", "serving", "training", "web")
# Of all that serves, only the functions of these may import `training`, `web` and `benchmarks`.
COMMANDS = [
    ROOT / "serving" / name
    for name in (
        "bench_command.py",
        "cli.py",
        "evaluate_command.py",
        "load_command.py",
        "training_commands.py",
    )
]
MOST_LINES = 300
MOST_BYTES = 200_000


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(node: ast.AST, module: Path, inner: bool = False) -> Iterator[tuple[str, bool]]:
    """Top-level names that a module imports, and whether a function does it when it is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name.partition(".")[0], inner
        elif isinstance(child, ast.ImportFrom):
            if child.level:  # `from . import x` stays within the package
                yield module.relative_to(ROOT).parts[0], inner
            else:
                yield (child.module or "").partition(".")[0], inner
        else:
            called = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, module, inner or called)


def _wrong(package: str, allowed: set[str]) -> list[str]:
    ours = {*PACKAGES, "tests"}
    wrong = []
    for module in _modules(package):
        for name, inner in _imports(ast.parse(module.read_text()), module):
            command = inner and module in COMMANDS
            if name in ours - allowed and not command:
                wrong.append(f"{module.relative_to(ROOT)} imports {name}")
    return wrong


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("benchmarks", set(PACKAGES)),
        ("handlers", {"handlers"}),
        ("training", {"training", "handlers"}),
        ("serving", {"serving", "handlers"}),
        ("web", {"web", "serving", "handlers"}),
    ],
)
def test_dependencies_point_one_way(package: str, allowed: set[str]) -> None:
    assert _modules(package)
    assert _wrong(package, allowed) == []


def test_nothing_of_training_is_loaded_to_serve() -> None:
    code = (
        "import sys, serving.cli, serving.serve_command, serving.predict_command, web.command;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('training', 'torch')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_an_architecture_depends_on_torch_alone() -> None:
    architectures = []
    for module in _modules("training/models"):
        tree = ast.parse(module.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if {"build", "fold", "explained_layer"} <= functions:
            architectures.append(module.stem)
            imported = {name for name, _ in _imports(tree, module)}
            assert imported - sys.stdlib_module_names == {"torch"}, module
    assert "bit" in architectures


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_short(package: str) -> None:
    lengths = {module: len(module.read_text().splitlines()) for module in _modules(package)}
    assert {str(module): n for module, n in lengths.items() if n > MOST_LINES} == {}


def test_every_package_is_installed() -> None:
    listed = (ROOT / "pyproject.toml").read_text()
    for package in PACKAGES:
        for folder in {module.parent for module in _modules(package)}:
            assert f'"{".".join(folder.relative_to(ROOT).parts)}"' in listed


def test_no_archives_weights_or_data_are_committed() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        (git, "-C", str(ROOT), "ls-files", "-z"), capture_output=True, text=True, check=True
    )
    tracked = [ROOT / name for name in listed.stdout.split("\0") if name]
    kinds = {".mar", ".safetensors", ".npz", ".npy", ".pth", ".pt", ".pkl", ".onnx", ".zip", ".csv"}
    assert [path for path in tracked if path.suffix in kinds] == []
    # The locks are mostly hashes.
    others = [path for path in tracked if path.exists() and path.suffix != ".txt"]
    heavy = [path for path in others if path.stat().st_size > MOST_BYTES]
    assert heavy == []
