"""The commands that compare models: parity, dump and compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ModelError
from ..tables.reading import find_variant
from ..terminal import say
from .naming import NUM_CLASSES, naming_options, rename_option
from .options import (
    FILE,
    FOLDER,
    OUTPUT,
    PYTHON,
    SOURCE,
    SOURCE_FILE,
    Choice,
    add,
    check_reports,
    fetched,
    finish,
    model_options,
    progress_bar,
    python_options,
    report_options,
    running_options,
    this_command,
)

if TYPE_CHECKING:
    from ..parity import Pair


def subject(
    variant: str | None, torch_model: str | None, paddle_model: str | None, table: Path | None
) -> str | Pair:
    """Return the shipped variant, or the pair of the user's own models."""
    from ..parity import Pair

    own = {"--torch-model": torch_model, "--paddle-model": paddle_model, "--table": table}
    if variant is not None:
        if given := [name for name, value in own.items() if value is not None]:
            raise click.UsageError(
                f"VARIANT is a shipped model, {given[0]} is for your own: not both."
            )
        try:
            find_variant(variant)
        except ModelError as error:
            raise click.BadParameter(str(error), param_hint="VARIANT") from error
        return variant
    if missing := [name for name, value in own.items() if value is None]:
        raise click.UsageError(
            f"give a VARIANT, see `vitconvert models`; or, for a pair of your own, "
            f"{', '.join(own)} (missing: {', '.join(missing)})."
        )
    return Pair(str(torch_model), str(paddle_model), str(table))


_OF_FILES = (
    "weights",
    "paddle_weights",
    "rename",
    "paddle_rename",
    "num_classes",
    "dialect",
    "target",
)

own_models = add(
    model_options,
    click.option("--table", type=FILE, help="Instead of VARIANT: table that pairs their layers."),
)


@click.command()
@click.argument("variant", metavar="[VARIANT]", required=False)
@click.option("--torch", "torch_file", type=SOURCE, help="PyTorch checkpoint.")
@click.option("--paddle", "paddle_file", type=SOURCE, help="Paddle checkpoint.")
@click.option("--weights", metavar="PREFIX", help="Which of several weights in the PyTorch file.")
@click.option("--paddle-weights", metavar="PREFIX", help="Which of several in the Paddle file.")
@rename_option(what=" of the PyTorch file")
@rename_option("paddle-rename", " of the Paddle file")
@NUM_CLASSES
@naming_options
@click.option(
    "--made-from",
    type=Choice(["torch", "paddle"]),
    default="torch",
    show_default=True,
    help="Which is the original: its weights are rounded if the other has a narrower dtype.",
)
@running_options
@python_options
@own_models
@click.option(
    "--pairs",
    type=FILE,
    metavar="TOML",
    help="Compare all pairs of models in this file, and write one table, --markdown.",
)
@click.option("--force", is_flag=True, help="Compare pairs again that were proved before.")
@report_options
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    help="What the float32 difference in --markdown must be below.  [default: 1e-4]",
)
@fetched
def parity(
    variant: str | None,
    torch_file: Path | None,
    paddle_file: Path | None,
    torch_model: str | None,
    paddle_model: str | None,
    table: Path | None,
    pairs: Path | None,
    force: bool,
    limit: float | None,
    reports: dict[str, Path | None],
    **options: Any,
) -> None:
    """Compare a PyTorch and a Paddle checkpoint, layer by layer.

    Both models run on the same images in float64 and float32; then every Paddle layer alone is
    given what the PyTorch layer was given. Weights and settings are compared, too. With --seeds
    and several sizes in --batch, the whole models run on every further input. Exit status 0
    only if all of it is the same. `vitconvert models` lists the variants.

    \b
    Examples:
      vitconvert parity shunted_s --torch shunt_s.pth --paddle shunt_s.pdparams
      vitconvert parity shunted_s --torch S --paddle P --html proof.html
      vitconvert parity shunted_s --torch S --paddle P --input photo.jpg
      vitconvert parity shunted_s --torch S --paddle P --seeds 5 --batch 1,8 \\
                        --markdown -
      vitconvert parity --torch-model net:a --paddle-model net:b \\
                        --table net.toml --torch S --paddle P
      vitconvert parity --pairs pairs.toml --markdown table.md --seeds 5
    """
    own = {"torch_model": torch_model, "paddle_model": paddle_model, "table": table}
    if limit is not None and reports["markdown"] is None:
        raise click.UsageError("--limit is for the table of --markdown: give both.")
    if pairs is not None:
        single = {"VARIANT": variant, "torch": torch_file, "paddle": paddle_file, **own}
        _compare_pairs(pairs, reports, limit, force, single, options)
        return
    if force:
        raise click.UsageError("--force compares all of --pairs again: give both.")
    files = {"torch": torch_file, "paddle": paddle_file}
    if missing := [f"--{name}" for name, file in files.items() if file is None]:
        raise click.UsageError(f"Missing option {' and '.join(missing)}.")
    model = subject(variant, torch_model, paddle_model, table)
    check_reports(reports, **files, table=table)
    _compare_one(model, Path(str(torch_file)), Path(str(paddle_file)), reports, limit, options)


def _compare_one(
    model: str | Pair,
    torch_file: Path,
    paddle_file: Path,
    reports: dict[str, Path | None],
    limit: float | None,
    options: dict[str, Any],
) -> None:
    """Compare two checkpoints, and show the report."""
    from ..parity import check_parity, open_for

    names = (options[name] for name in ("weights", "rename", "num_classes", "dialect"))
    for note in open_for(model, "torch", torch_file, *names).notes():
        say(f"{torch_file}: {note}")
    with progress_bar() as progress:
        found = check_parity(
            model,
            torch_checkpoint=torch_file,
            paddle_checkpoint=paddle_file,
            progress=progress,
            **options,
        )
    finish(found, reports, limit=limit)


def _compare_pairs(
    pairs: Path,
    reports: dict[str, Path | None],
    limit: float | None,
    force: bool,
    single: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Compare many pairs, and write one table."""
    from ..apps.pairs import check_pairs, read_pairs, results_beside
    from ..parity import LIMIT

    single |= {name: options.pop(name) for name in _OF_FILES}
    single |= {"report": reports["report"], "html": reports["html"]}
    if given := [name for name, value in single.items() if value is not None]:
        name = given[0] if given[0].isupper() else f"--{given[0].replace('_', '-')}"
        raise click.UsageError(f"{name} is for one pair of models, --pairs for many: not both.")
    table = reports["markdown"]
    if table is None or str(table) == "-":
        raise click.UsageError("--pairs needs --markdown FILE: results are kept beside that file.")
    check_reports(reports, pairs=pairs, results=results_beside(table))
    try:
        with progress_bar() as progress:
            rows = check_pairs(
                read_pairs(pairs),
                table,
                limit=limit or LIMIT,
                command=this_command(),
                force=force,
                tell=say,
                progress=progress,
                **options,
            )
    except KeyboardInterrupt:
        say(f"{table} holds the results so far; the same command continues.")
        raise
    passed = sum(row.result(limit or LIMIT) == "PASS" for row in rows)
    say(f"{table} holds the table: {passed} of {len(rows)} models PASS.")
    if passed < len(rows):
        sys.exit(1)


@click.command()
@click.argument("variant", metavar="[VARIANT]", required=False)
@click.option(
    "--framework", type=Choice(["torch", "paddle"]), required=True, help="Which side to run."
)
@click.option("--checkpoint", required=True, type=SOURCE_FILE, help="Weights of that framework.")
@click.option("--out", required=True, type=OUTPUT, help="Folder to make for the trace.")
@click.option("--weights", metavar="PREFIX", help="Which of several weights in the file.")
@rename_option()
@NUM_CLASSES
@click.option("--dialect", metavar="NAME", help="Whose names the file has.  [default: found]")
@click.option(
    "--target", metavar="NAME", help="Whose own Paddle model to compare, if the table names it."
)
@click.option(
    "--dtype",
    type=Choice(["float64", "float32"]),
    help="Run in this precision alone.  [default: both]",
)
@click.option(
    "--alone",
    metavar="TRACE",
    type=FOLDER,
    help="Trace of the other side: every layer alone is given what that one's was given.",
)
@running_options
@click.option("--python", metavar="PATH", help=PYTHON.format("the framework"))
@own_models
@click.option("--force", is_flag=True, help="Replace a trace that is there.")
@fetched
def dump(
    variant: str | None,
    framework: Any,
    checkpoint: Path,
    out: Path,
    weights: str | None,
    rename: dict[str, str] | None,
    num_classes: int | None,
    dialect: str | None,
    target: str | None,
    dtype: Any,
    alone: Path | None,
    python: str | None,
    torch_model: str | None,
    paddle_model: str | None,
    table: Path | None,
    force: bool,
    **options: Any,
) -> None:
    """Run one model and write a trace of it: what every layer was given and what it made of it.

    Traces made anywhere, on a GPU or with another release, are compared with `vitconvert compare`.
    Made with the same options they have the same input.

    \b
    Examples:
      vitconvert dump shunted_s --framework torch --checkpoint S --out t1
      vitconvert dump shunted_s --framework paddle --checkpoint P --out t2 \\
                      --alone t1
      vitconvert compare t1 t2
    """
    from ..parity import dump as dump_trace

    own = {"torch": torch_model, "paddle": paddle_model}
    if variant is None and own[framework] is not None:  # the other one is not needed here
        torch_model, paddle_model = own[framework], own[framework]
    model = subject(variant, torch_model, paddle_model, table)
    options[f"{framework}_python"] = python
    with progress_bar() as progress:
        trace = dump_trace(
            model,
            framework,
            checkpoint,
            out,
            weights=weights,
            rename=rename,
            num_classes=num_classes,
            dialect=dialect,
            target=target,
            dtype=dtype,
            alone=alone,
            force=force,
            progress=progress,
            **options,
        )
    size = sum(file.stat().st_size for file in out.iterdir())
    runs = " and ".join(sorted(trace.runs, reverse=True))
    calls = len(next(iter(trace.runs.values())).calls)
    device = trace.facts.environment.get("card", trace.facts.environment["device"])
    say(f"{out}: {trace.label} on {device}, {runs}, {calls} calls of layers, {size:,} bytes")


@click.command()
@click.argument("first", metavar="T1", type=FOLDER)
@click.argument("second", metavar="T2", type=FOLDER)
@report_options
def compare(first: Path, second: Path, reports: dict[str, Path | None]) -> None:
    """Compare two traces that `vitconvert dump` made; needs neither framework.

    PyTorch's is held to be right; of two traces of one framework the first is. Exit status 0 only
    if the function is proved to be the same, for which both need a float64 run.

    \b
    Example:
      vitconvert compare t1 t2 --html proof.html
    """
    from ..parity import compare_traces

    check_reports(reports)
    with progress_bar() as progress:
        found = compare_traces(first, second, progress)
    finish(found, reports)
