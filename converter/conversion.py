"""Convert a checkpoint: read, plan, write, read back, prove, and only then give it its name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from .checkpoints import Renames, Tensor, read_contents
from .checkpoints.losses import describe_vanished, vanished
from .checkpoints.target import MAX_SHARD_SIZE, Draft, Output, check_output, check_side, written
from .errors import ConversionError, VitconvertError
from .files import check_distinct, check_sources_stay, check_target, unverified
from .hub import is_name, located
from .lines import Lines
from .planning import plan
from .sides import CASTS, Side
from .tables.border import find_names, to_theirs
from .tables.borders import require_names
from .tables.plan import Plan
from .tables.provenance import provenance
from .tables.reading import using

if TYPE_CHECKING:
    from .parity import Pair, Report, RunOptions
    from .terminal import Progress

# What works where a framework is missing.
_UNPROVED = "Without a proof neither framework is needed: --no-parity (parity=False), --dry-run."
_PYTHONS = "--torch-python PATH, --paddle-python PATH"

log = logging.getLogger("vitconvert")


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        plan: What became of every tensor.
        path: Where the converted checkpoint is: `dst`, or `dst`.unverified if parity does not hold.
        report: The parity report; None if parity was not asked for.
    """

    plan: Plan
    path: Path
    report: Report | None


def convert(
    src: str | Path,
    dst: str | Path,
    family: str | Path | Pair,
    *,
    variant: str | None = None,
    weights: str | None = None,
    rename: Renames | None = None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_chans: int | None = None,
    dialect: str | None = None,
    target: str | None = None,
    dtype: str | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
    parity: bool = True,
    verify: bool = True,
    force: bool = False,
    tables: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Conversion:
    """Convert a checkpoint to the other framework and prove that both compute the same.

    Args:
        src: A checkpoint with PyTorch weights, or with Paddle's for the way back; or its name on
            the hub, such as "hf://ORG/REPO" or "timm://MODEL.TAG".
        dst: The file to write; its name says what: .pdparams, .safetensors, the
            .safetensors.index.json of a sharded one, or .pth.
        family: The family of the model, such as "shunted"; or a pair of models of your own with
            their table, which needs no variants. The Path of such a table alone is enough with
            parity=False.
        variant: For example "shunted_s"; found from names and shapes if None.
        weights: Which weights to take where the file holds several: keys and beginnings of names,
            with dots, such as "model_ema" or "teacher.backbone".
        rename: Beginnings of names -> what takes their place, such as {"fc": "head"}.
        num_classes: Size of the head: another one than the file's is made anew, not trained; 0
            leaves it out on purpose: the model then gives features.
        image_size: Height and width in pixels that tables of positions are resized to.
        in_chans: Channels of an image that the first convolution is fitted to.
        dialect: Whose names the PyTorch checkpoint has, such as "huggingface"; found from the names
            if None. On the way back, whose names it gets: the table's own if None.
        target: Whose names the Paddle checkpoint gets, such as "paddleclas": the table's own if
            None. On the way back, whose names it has: found if None.
        dtype: "float32", "float16" or "bfloat16" to cast floating tensors to; as they are if None.
        max_shard_size: Bytes of tensors in one file of a sharded checkpoint.
        parity: Whether to run both models and compare them layer by layer.
        verify: Whether to read the file back, and to check what checksums the source has.
        force: Whether an existing `dst` may be replaced.
        tables: A folder with families of your own, besides the shipped ones.
        progress: Called with a text, the amount done and the total.
        options: How the models are run to compare them, as for `check_parity`: device, tf32,
            input, batch_size, input_size, backward, torch_python and paddle_python.

    Returns:
        The plan, the path of the file and the parity report. If parity does not hold, the file
        stays as `dst`.unverified.

    Raises:
        CheckpointError: A file cannot be read or written, or a value does not fit `dtype`.
        ConversionError: The checkpoint does not fit the family or variant; nothing is written.
        ModelError: A framework that parity needs is not installed; nothing is written.
        ParityError: Parity could not be checked; the file stays as `dst`.unverified.
        RunError: An option of the check makes no sense; nothing is written.
        TableError: A table is malformed.
    """
    dst = Path(dst)
    _check(dtype, max_shard_size, family, parity, options)
    if is_name(src):  # it cannot be the target: refuse one that is there before anything is fetched
        check_output(dst, force)
    src = located(src)
    _check_apart(src, dst)
    check_output(dst, force)
    if parity:
        check_target(unverified(dst), force=True)
        _check_models(family, options)
    with using(tables):
        asked = weights, rename, num_classes, dialect, target, image_size, in_chans
        checkpoint, made = plan(src, family, variant, *asked)
        check_side(dst, src, made.source)
        tensors = made.apply(checkpoint.tensors, dtype)
        wanted = target if made.source == "torch" else dialect
        named = _spelled_as(tensors, made, wanted)
        output = Output(dst, named, provenance(checkpoint, made, wanted), max_shard_size)
        check_sources_stay(checkpoint.files, output.paths())
        with written(output, force, verify, _meter(named, progress)) as draft:
            how = "read back and equal" if verify else "not read back (--no-verify)"
            cast = f" to {dtype}" if dtype else ""
            log.info("converted %d tensors%s, written, %s", len(named), cast, how)
            lost = vanished(tensors)
            if lost:
                log.warning("%s", describe_vanished(lost))
            if not parity:
                draft.publish(dst, force)
                return Conversion(made, dst, None)
            model = made.variant.name if isinstance(family, str | Path) else family
            names = {"weights": weights, "rename": rename}
            same = {"num_classes": num_classes, "dialect": dialect, "target": target}
            done = _prove(made, model, src, dst, draft, names, same, force, progress, options)
            if lost and done.report:
                report = done.report
                side = report.candidate if made.source == "torch" else report.reference
                side["became_zero"] = {name: count for name, (count, _) in lost.items()}
            return done


def _check(
    dtype: str | None,
    max_shard_size: int,
    family: str | Path | Pair,
    parity: bool,
    options: RunOptions,
) -> None:
    """Refuse arguments that make no sense, before anything is read."""
    if dtype not in (None, *CASTS):
        raise ConversionError(f"dtype is {dtype!r}; expected one of {', '.join(CASTS)}.")
    if type(max_shard_size) is not int or max_shard_size < 1:
        raise ConversionError(
            f"max_shard_size is {max_shard_size!r}; expected a number of bytes, such as 20_000_000."
        )
    if parity and isinstance(family, Path):
        raise ConversionError(
            f"{family} does not say how its models are built, so convert cannot prove anything: "
            f"pass Pair(torch_model, paddle_model, table) instead, or parity=False."
        )
    if not parity and (unused := sorted(options.keys() - {"device"})):
        raise ConversionError(
            f"{', '.join(unused)}: for the parity check only, which parity=False leaves out."
        )


def _check_apart(src: Path, dst: Path) -> None:
    """Refuse a target that is the source or a file of it, before --force is suggested."""
    check_distinct(source=src, target=dst, **{"unproved target": unverified(dst)})
    if dst.is_file() and (src.is_dir() or src.suffix == ".json"):
        parts: Sequence[Path] = ()
        with suppress(VitconvertError):  # if it cannot be opened, `plan` says why
            parts = read_contents(src).facts["files"]
        check_sources_stay(parts, [dst])


def _check_models(family: str | Path | Pair, options: RunOptions) -> None:
    """Refuse what parity cannot be checked with, before anything is written."""
    from .parity import check_options, pythons
    from .running.interpreters import check_pythons
    from .running.setup import check_factory

    check_options(options, family)
    others = f"`vitconvert parity` proves it later, with other interpreters: {_PYTHONS}."
    if not isinstance(family, str):
        others = f"Other interpreters that have them are named so: {_PYTHONS}."
    check_pythons(pythons(options), f"{_UNPROVED} {others}")
    if not isinstance(family, str | Path):
        check_factory(family.torch_model, "torch")
        check_factory(family.paddle_model, "paddle")


def _prove(
    made: Plan,
    model: str | Pair,
    src: Path,
    dst: Path,
    draft: Draft,
    names: Mapping[str, Any],
    asked: Mapping[str, Any],
    force: bool,
    progress: Progress | None,
    options: RunOptions,
) -> Conversion:
    """Check parity with what was written, and give it the name that it deserves."""
    from .parity import check_parity

    files: dict[Side, Path] = {made.source: src, made.target: draft.part}
    keys = names if made.source == "torch" else {f"paddle_{k}": v for k, v in names.items()}
    try:
        report = check_parity(
            model,
            torch_checkpoint=files["torch"],
            paddle_checkpoint=files["paddle"],
            theirs=False,
            made_from=made.source,
            progress=progress,
            **keys,
            **asked,
            **options,
        )
    except BaseException as error:  # Ctrl-C as well: the file is whole, only not proved
        left = unverified(dst)
        draft.publish(left, force=True)
        log.info("the converted weights stay in %s", left)
        if isinstance(error, VitconvertError):  # it was read under a passing name
            told = str(error).replace(str(draft.part.absolute()), str(left))
            raise type(error)(Lines(told)) from error
        raise
    path = dst if report.proved else unverified(dst)
    written_side = report.candidate if made.source == "torch" else report.reference
    written_side["file"] = str(path)
    draft.publish(path, force or not report.proved)
    return Conversion(made, path, report)


def _spelled_as(tensors: Mapping[str, Tensor], made: Plan, wanted: str | None) -> dict[str, Tensor]:
    """Give what was made under the names of a dialect or a target, if one is wanted."""
    if wanted is None:
        return dict(tensors)
    names = find_names(made.table, made.target, wanted)
    require_names(made.table, names)
    log.info("names of %s", names.title or names.name)
    return to_theirs(tensors, made.table, names, made.variant)


def _meter(
    tensors: Mapping[str, Tensor], progress: Progress | None
) -> Callable[[str, Iterator[int]], None]:
    """Add up what is written for one display."""
    total, done = sum(tensor.nbytes for tensor in tensors.values()), 0

    def advance(text: str, amounts: Iterator[int]) -> None:
        nonlocal done
        for amount in amounts:
            done += amount
            if progress is not None:
                progress(text, done, total)

    return advance
