"""The commands that convert: one for every family, and one for a table of the user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import unverified
from ..markdown import command_line
from ..sides import CASTS
from ..tables.reading import load_table
from ..terminal import print_table, say
from .naming import NUM_CLASSES, naming_options, rename_option, size_options
from .options import (
    DEVICE,
    FILE,
    INPUT_SIZE,
    OUTPUT,
    SOURCE,
    Choice,
    Size,
    VariantOf,
    add,
    check_reports,
    fetched,
    finish,
    model_options,
    progress_bar,
    python_options,
    report_options,
)

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint
    from ..conversion import Conversion
    from ..parity import Pair
    from ..tables.plan import Plan

_SOURCE_AND_TARGET = (
    click.option(
        "--src",
        required=True,
        type=SOURCE,
        help="Checkpoint: .pth, .pt, .bin, .safetensors, *.index.json, .npz, .pkl; or a "
        ".pdparams; or a folder with one; or a name, hf://ORG/REPO or timm://MODEL.TAG.",
    ),
    click.option(
        "--dst",
        required=True,
        type=OUTPUT,
        help="What to write: .pdparams, .safetensors, .safetensors.index.json; or a .pth.",
    ),
)
_CONVERTING = (
    click.option(
        "--weights",
        metavar="PREFIX",
        help="Which weights to take if a file has several: model_ema, teacher.backbone …  "
        "[default: what fits, or model]",
    ),
    rename_option(),
    naming_options,
    click.option(
        "--dtype", type=Choice(CASTS), help="Cast floating tensors.  [default: as they are]"
    ),
    click.option(
        "--max-shard-size",
        type=Size(),
        metavar="SIZE",
        help="Largest file, if DST is a .safetensors.index.json.  [default: 5GB]",
    ),
)
_WRITING = (
    click.option("--no-verify", is_flag=True, help="Do not read back what was written."),
    click.option("--dry-run", is_flag=True, help="Print what would be done to every tensor; stop."),
    click.option("--force", is_flag=True, help="Replace DST if it exists."),
)
_PROVING = (
    click.option("--no-parity", is_flag=True, help="Convert only; prove nothing."),
    click.option(
        "--device", type=DEVICE, default="auto", show_default=True, help="Where to check parity."
    ),
)


def family_command(family: str) -> click.Command:
    """Make the command that converts checkpoints of one family."""
    table = load_table(family)

    @click.command(
        name=family,
        short_help=f"Convert a {table.title} checkpoint and prove it.",
        help=f"""Convert a {table.title} checkpoint from PyTorch to Paddle, or back, and prove that
        both compute the same.

        The new file gets its name only when parity holds; otherwise it stays as DST.unverified and
        the exit status is 1.

        \b
        Examples:
          vitconvert {family} --src model.pth --dst model.pdparams
          vitconvert {family} --src model.pth --dst model.pdparams --dry-run
          vitconvert {family} --src model.pth --dst model.pdparams --report proof.json
          vitconvert {family} --src model.pth --dst half.safetensors --dtype float16
          vitconvert {family} --src model.pdparams --dst model.pth
          vitconvert {family} --src mine.ckpt --dst mine.pdparams --rename fc=head
        """,
    )
    @add(*_SOURCE_AND_TARGET)
    @click.option(
        "--variant",
        type=VariantOf(table.variants),
        metavar="VARIANT",
        help="Size of the model, see `vitconvert models`.  [default: found from names and shapes]",
    )
    @add(*_CONVERTING, NUM_CLASSES, size_options, *_PROVING, *_WRITING)
    @report_options
    @fetched
    def command(src: Path, dst: Path, no_parity: bool, **how: Any) -> None:
        done = _run(family, src, dst, parity=not no_parity, **how)
        if done is not None:
            say(f"{done.path} written; parity was not checked (--no-parity).")

    return command


def _run(
    model: str | Path | Pair,
    src: Path,
    dst: Path,
    *,
    parity: bool,
    reports: dict[str, Path | None],
    dry_run: bool,
    no_verify: bool,
    weights: str | None,
    rename: dict[str, str] | None,
    dialect: str | None,
    target: str | None,
    max_shard_size: int | None,
    dtype: str | None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_chans: int | None = None,
    variant: str | None = None,
    rows: Path | None = None,
    **how: Any,
) -> Conversion | None:
    """Convert, show the proof and exit with its verdict; or only show what would be done.

    Returns:
        What was converted without proof; None with --dry-run, and where there is a proof.
    """
    from ..checkpoints.target import MAX_SHARD_SIZE, check_side, format_of
    from ..conversion import convert
    from ..planning import plan

    if any(reports.values()) and (dry_run or not parity):
        raise click.UsageError(
            "a report shows the parity check: leave out --no-parity and --dry-run."
        )
    if max_shard_size is not None and format_of(dst) != "sharded":
        raise click.UsageError(
            f"--max-shard-size works with a sharded checkpoint only: expected DST to be its index, "
            f"such as {dst.name.partition('.')[0]}.safetensors.index.json."
        )
    if dry_run:
        asked = weights, rename, num_classes, dialect, target, image_size, in_chans
        checkpoint, made = plan(src, model, variant, *asked)
        check_side(dst, src, made.source)
        _show(checkpoint, made, dtype, target if made.source == "torch" else dialect)
        return None
    check_reports(reports, source=src, target=dst, unverified=unverified(dst), table=rows)
    with progress_bar() as progress:
        done = convert(
            src,
            dst,
            model,
            variant=variant,
            weights=weights,
            rename=rename,
            num_classes=num_classes,
            image_size=image_size,
            in_chans=in_chans,
            dialect=dialect,
            target=target,
            dtype=dtype,
            max_shard_size=max_shard_size or MAX_SHARD_SIZE,
            parity=parity,
            verify=not no_verify,
            progress=progress,
            **how,
        )
    if done.report is None:
        return done
    finish(done.report, reports, done.path)
    return None


def _show(checkpoint: Checkpoint, plan: Plan, dtype: str | None, wanted: str | None) -> None:
    """Print what would become of every tensor, each by its name in the files."""
    from ..tables.border import called_by, find_names

    counters = {key for keys in plan.counters().values() for key in keys}
    shown = [step for step in plan.steps if step.source not in counters]
    names = None if wanted is None else find_names(plan.table, plan.target, wanted)
    targets = {} if names is None else called_by(names, (s.target for s in shown if s.target))
    rows = [
        (
            checkpoint.spelled.get(s.source or "", s.source or "-"),
            checkpoint.altered.get(s.source or "", s.operation),
            targets.get(s.target or "", s.target or "-"),
            s.reason,
        )
        for s in shown
    ]
    rows += [(key, "drop", "-", why) for key, why in checkpoint.left_out.items()]
    print_table(rows, "source", "operation", "target", "reason")
    counts = Counter(checkpoint.altered.get(s.source or "", s.operation) for s in plan.steps)
    order = ("new", "resize", "transpose", "rearrange", "copy", "drop", "restore")
    kept = sum(step.keep for step in plan.steps) if dtype in ("float16", "bfloat16") else 0
    cast = f" Floating tensors would be cast to {dtype}" if dtype else ""
    cast += f", but {kept} statistics stay in float32." if kept else "." * bool(dtype)
    if plan.source == "torch":
        for pattern, reason in plan.table.paddle_only.items():
            say(f"Paddle alone has {pattern}, which is not written: {reason}")
    counts["drop"] += len(checkpoint.left_out)
    words = {name: f"to {name}" for name in order} | {"new": "made anew"}
    listed = ", ".join(f"{counts[name]} {words[name]}" for name in order if counts[name])
    say(f"{counts.total()} tensors: {listed}.{cast} Nothing was written (--dry-run).")


@click.command(name="convert")
@click.option("--table", "rows", type=FILE, required=True, help="Table of your own.")
@add(*_SOURCE_AND_TARGET, *_CONVERTING, model_options, *_PROVING, INPUT_SIZE, python_options)
@add(*_WRITING)
@report_options
@fetched
def convert_by_table(
    rows: Path,
    src: Path,
    dst: Path,
    torch_model: str | None,
    paddle_model: str | None,
    no_parity: bool,
    device: str,
    input_size: tuple[int, int] | None,
    torch_python: str | None,
    paddle_python: str | None,
    reports: dict[str, Path | None],
    **asked: Any,
) -> None:
    """Convert a checkpoint of a model of your own, by a table, and prove it; or back.

    With both models, the new file gets its name only when parity holds; otherwise it stays as
    DST.unverified and the exit status is 1. Without them nothing is proved. `vitconvert table`
    proposes a table.

    \b
    Examples:
      vitconvert convert --table net.toml --src net.pth --dst net.pdparams \\
                         --torch-model net:build --paddle-model paddle_net:build
      vitconvert convert --table net.toml --src net.pdparams --dst net.pth
    """
    from ..parity import Pair

    models = {"--torch-model": torch_model, "--paddle-model": paddle_model}
    runs: dict[str, Any] = {
        "input_size": input_size,
        "torch_python": torch_python,
        "paddle_python": paddle_python,
    }
    parity = _is_proof(models, no_parity, runs | reports)
    model: Path | Pair = rows
    if parity:
        model, asked = Pair(str(torch_model), str(paddle_model), rows), asked | runs
        asked["device"] = device
    done = _run(model, src, dst, parity=parity, reports=reports, rows=rows, **asked)
    if done is not None:
        count = sum(1 for step in done.plan.steps if step.target is not None)
        say(f"{done.path} written: {count} tensors. Not proved yet; to prove it:")
        command = _proving(done, src, rows, models, asked)
        say(command, whole=True)


def _is_proof(models: dict[str, str | None], no_parity: bool, options: dict[str, Any]) -> bool:
    """Tell whether a proof is asked for; refuse options of one, or half of it, where none is."""
    missing = [name for name, value in models.items() if value is None]
    if len(missing) == 1:
        raise click.UsageError(
            f"{missing[0]} is missing: the proof runs both models. Leave out both to convert only."
        )
    unused = [name for name, value in options.items() if value is not None]
    if unused and (missing or no_parity):
        advice = f"give {' and '.join(missing)}" if missing else "leave out --no-parity"
        raise click.UsageError(
            f"--{unused[0].replace('_', '-')} belongs to the parity check: {advice}."
        )
    return not (missing or no_parity)


def _proving(
    done: Conversion,
    src: Path,
    rows: Path,
    models: dict[str, str | None],
    asked: dict[str, Any],
) -> str:
    """Spell the command that proves what was converted."""
    is_torch = done.plan.source == "torch"
    files = (src, done.path) if is_torch else (done.path, src)
    words = ["parity", "--table", str(rows)]
    words += [word for name, value in models.items() for word in (name, value or "PKG.MOD:FUNC")]
    words += ["--torch", str(files[0]), "--paddle", str(files[1])]
    if asked["weights"] is not None:
        words += ["--weights" if is_torch else "--paddle-weights", asked["weights"]]
    for name in ("dialect", "target"):
        words += [f"--{name}", asked[name]] if asked[name] is not None else []
    for old, new in (asked["rename"] or {}).items():
        words += ["--rename" if is_torch else "--paddle-rename", f"{old}={new}"]
    if not is_torch:
        words += ["--made-from", "paddle"]
    return command_line(words)
