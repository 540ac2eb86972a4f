"""The commands from photos to an archive. Each imports `training` when it runs, and only then."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from handlers.archive_format import read_entry

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
Recipe = Annotated[str, typer.Argument(help="Name of a recipe, or a .toml file.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe: KEY=VALUE, such as training.batch_size=64."),
]

_STOPPED = 130  # as after Ctrl-C elsewhere


def add_commands(app: typer.Typer) -> None:
    """Add all commands of this module to `app`."""
    app.command(epilog="Example: catbreeds demo-data build/demo/data --seed 0")(demo_data)
    recipes = typer.Typer(
        help="The recipes that models are trained by.", invoke_without_command=True
    )
    recipes.callback(epilog="Example: catbreeds recipes")(list_recipes)
    recipes.command(
        "show",
        epilog="Example: catbreeds recipes show cat-breeds-edge\n\n"
        "One of your own: catbreeds recipes show cat-breeds-edge --toml > birds.toml",
    )(show_recipe)
    app.add_typer(recipes, name="recipes")
    data = typer.Typer(help="Look at a folder of photos before training on it.")
    data.callback(epilog="Example: catbreeds data check demo build/demo/data")(lambda: None)
    data.command(
        "check", epilog="Example: catbreeds data check cat-breeds DATA --picture check.png"
    )(check)
    app.add_typer(data, name="data")
    app.command(
        epilog="Example: catbreeds train demo build/demo/data build/demo/run\n\n"
        "Shorter: catbreeds train cat-breeds-edge DATA runs/edge --set training.phases.1.epochs=2"
    )(train)
    app.command(epilog="Example: catbreeds evaluate runs/edge --data DATA --outside OTHERS")(
        evaluate
    )
    app.command(
        "import",
        epilog="Example: "
        "catbreeds import cats_model_state --classes cat_model_class_names runs/cats",
    )(import_)
    app.command(epilog="Example: catbreeds archive runs/cats --version 1.0 --data DATA")(archive)


def demo_data(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or the same set.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same cats.")] = 0,
    per_breed: Annotated[
        int | None,
        typer.Option(min=1, help="As many photos of each breed, and none of the set's traps."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw cats of 67 breeds, in the layout of the cat-breeds data set."""
    from training.drawn_cats import write_dataset, write_photos
    from training.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("drawing", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if per_breed is None:
            summary = write_dataset(out, seed, progress=show)
        else:
            summary = write_photos(out, seed, per_breed, progress=show)
    there = " (was there already)" if summary.already_there else ""
    _say(
        as_json,
        asdict(summary) | {"folder": str(out)},
        f"{out}: {summary.photos} photos of {summary.animals} cats, "
        f"{summary.smallest} to {summary.largest} a breed{there}",
    )


def list_recipes(context: typer.Context, as_json: Json = False) -> None:
    """List the recipes."""
    if context.invoked_subcommand is not None:
        return
    from training.recipe import load_recipe, recipe_names

    summaries = {name: load_recipe(name).summary for name in recipe_names()}
    width = max(map(len, summaries))
    lines = "\n".join(f"{name:{width}}  {summary}" for name, summary in summaries.items())
    _say(as_json, summaries, lines)


def show_recipe(
    name: Recipe,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print its file, to make a recipe of your own from it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Explain a recipe: what it trains, on what, and how."""
    from training.recipe import load_recipe, recipe_path
    from training.recipe_words import in_words

    if as_toml and as_json:
        raise typer.BadParameter("--toml and --json: only one of them at a time")
    recipe = load_recipe(name)
    if name.endswith(".toml"):
        # It loads torch, which takes seconds; those that come with the project are tested.
        from training.check_network import check_network

        check_network(recipe)
    if as_toml:
        print(recipe_path(name).read_text(encoding="utf-8-sig"), end="")
        return
    _say(as_json, recipe.model_dump(mode="json"), in_words(recipe))


def check(
    recipe: Recipe,
    folder: Annotated[Path, typer.Argument(help="Folder of the data set; never changed.")],
    picture: Annotated[Path | None, typer.Option(help="A .png to draw the report into.")] = None,
    as_json: Json = False,
    changes: Changes = None,
) -> None:
    """Count classes, find what does not decode, and what a careless split would leak.

    Exit code 1: the folder does not hold the recipe's layout, or the picture cannot be drawn. What
    is found in the folder changes no code.
    """
    from training.data.check import check_data, print_table
    from training.data.dataset import check_outside
    from training.recipe import load_recipe

    spec = load_recipe(recipe, changes or ()).data
    if picture is not None:
        check_outside(picture, folder, "--picture")
    report = check_data(spec.layout, folder, spec.validation, spec.test, spec.seed)
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print_table(report)
    if picture is not None:
        from training.data.check_picture import draw

        # What took minutes to find is there already, should this fail.
        sys.stdout.flush()
        draw(report, picture)
        print(f"{picture}: drawn", file=sys.stderr)


def train(
    recipe: Recipe,
    data: Annotated[Path, typer.Argument(help="Folder of the data set; never changed.")],
    out: Annotated[Path, typer.Argument(help="The run folder to write.")],
    changes: Changes = None,
    weights: Annotated[
        str | None,
        typer.Option(help="A file of weights instead of the recipe's download; none: random ones."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")
    ] = False,
    tracker: Annotated[
        str, typer.Option(envvar="CATBREEDS_TRACKER", help="tensorboard, comet, mlflow or none.")
    ] = "tensorboard",
    as_json: Json = False,
) -> None:
    """Train a model by a recipe and leave a run folder.

    Ctrl-C saves and stops, with exit code 130. On several GPUs:
    torchrun --nproc-per-node 4 --no-python catbreeds train ...
    """
    from training.fitting.stage import Interrupted
    from training.train import train as train_run

    try:
        run = train_run(
            recipe,
            data,
            out,
            changes=changes or (),
            weights=weights,
            resume=resume,
            tracker=tracker,
        )
    except Interrupted as stopped:
        print(f"{out}: {stopped}; go on with the same command and --resume", file=sys.stderr)
        raise typer.Exit(_STOPPED) from None
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks
        return
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in run.metrics.items())
    part = run.data["figures_of"]
    _say(
        as_json,
        {"run": str(out), "figures_of": part, "metrics": dict(run.metrics)},
        f"{out}: {metrics} ({run.data[f'{part}_photos']} {part} photos)\n"
        f"next: catbreeds evaluate {out} --data {data}, or catbreeds archive {out} --version 1.0",
    )


def evaluate(
    source: Annotated[
        str, typer.Argument(metavar="RUN|FILE.mar|URL", help="What answers: all three do alike.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set; never changed.")],
    part: Annotated[
        str, typer.Option(help="Of the split of its training: test, validation, training or all.")
    ] = "test",
    outside: Annotated[
        Path | None, typer.Option(help="A folder of photos that show none of the classes.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Of the photos; else that of its training.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
    model: Annotated[str | None, typer.Option(help="Of a service; else its first.")] = None,
    version: Annotated[str | None, typer.Option(help="Of a service; else the default.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model by photos: figures, calibration, confusion, as JSON and as one HTML page.

    Exit code 3: no service answered.
    """
    from serving.evaluate_command import evaluate_command

    code = evaluate_command(
        source, data, part, outside, layout, out, as_json, model=model, version=version
    )
    raise typer.Exit(code)


def import_(
    state: Annotated[Path, typer.Argument(help="The state dict, as torch.save wrote it.")],
    out: Annotated[Path, typer.Argument(help="The run folder to write.")],
    classes: Annotated[Path, typer.Option(help="The pickled list of class names.")],
    name: Annotated[str, typer.Option(help="What the model is called when served.")] = "cat-breeds",
    as_json: Json = False,
) -> None:
    """Take over a BiT-M-R50x1 checkpoint of the original project; no code in it is run."""
    from training.drawn_cats import golden_photos
    from training.import_original import import_original

    run = import_original(state, classes, out, golden_photos(), name)
    _say(
        as_json,
        {"run": str(out), "name": run.name, "classes": len(run.classes)},
        f"{out}: {run.name} with {len(run.classes)} classes; next: "
        f"catbreeds archive {out} --version 1.0",
    )


def archive(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    version: Annotated[str, typer.Option(help="MAJOR.MINOR or MAJOR.MINOR.PATCH.")],
    store: Annotated[Path, typer.Option(help="Folder for the .mar.")] = Path("model_store"),
    config: Annotated[
        Path | None, typer.Option(help="A model-config.yaml to pack instead of the default.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Allow other content for this version.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Photos of its training: measure whether bf16 and int8 may be used."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Pack a run into a self-contained, reproducible .mar."""
    from training.archive import DEFAULT_MODEL_CONFIG
    from training.archive import archive as pack
    from training.evaluation.precisions import in_words

    path = pack(run, version, store, config or DEFAULT_MODEL_CONFIG, replace, data)
    size, card = path.stat().st_size, json.loads(read_entry(path, "model-card.json"))
    described = {"archive": str(path), "bytes": size, "precisions": card["precisions"]}
    lines = (f"{path}: {size / 1e6:.1f} MB", *in_words(card["precisions"]))
    _say(as_json, described, "\n".join(lines))


def _say(as_json: bool, described: object, line: str) -> None:
    print(json.dumps(described, indent=2) if as_json else line)
