"""Convert a checkpoint: read, plan, write, read back, prove, and only then give it its name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoints import Checkpoint, Tensor, open_checkpoint
from .checkpoints.target import MAX_SHARD_SIZE, Draft, Output, check_output, check_side, written
from .errors import CheckpointError, ConversionError, nearest
from .files import check_distinct, check_sources_stay, check_target, unverified
from .models import require
from .sides import CASTS, Side
from .tables.identify import show_head, twins
from .tables.plan import Plan, make_plan, source_side
from .tables.reading import families, load_table, read_table, using
from .tables.table import Table
from .version import __version__

if TYPE_CHECKING:
    from .parity import Report
    from .running.device import Device
    from .terminal import Progress

_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.")  # in the name of a file that an index names

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


def plan(
    src: str | Path, family: str | Path, variant: str | None = None, weights: str | None = None
) -> tuple[Checkpoint, Plan]:
    """Open a checkpoint and decide what becomes of every tensor; nothing is written.

    Raises:
        CheckpointError: The file cannot be read, or is a Paddle checkpoint that does not fit.
        ConversionError: It does not fit the family or the variant.
        TableError: A table is malformed.
    """
    table, checkpoint = _table(family), open_checkpoint(src, weights)
    try:
        made = make_plan(checkpoint, table, variant, source_side(checkpoint, table))
    except (CheckpointError, ConversionError) as error:
        if _SHARD.search(checkpoint.path.name):
            hint = "looks like one file of a sharded checkpoint: give its *.index.json instead."
            raise type(error)(f"{src}: {hint}\n{error}") from error
        raise
    for note in checkpoint.notes():
        log.info("%s: %s", src, note)
    if table.variants:
        log.info("variant: %s", _describe(made, variant is not None))
    if restored := [step.target for step in made.steps if step.operation == "restore"]:
        counters = "counter, which Paddle does not have, starts"
        if len(restored) > 1:
            counters = "counters, which Paddle does not have, start"
        log.info("%d step %s at 0", len(restored), counters)
    return checkpoint, made


def _table(family: str | Path) -> Table:
    """Give the table of a family, or read that of a file."""
    if isinstance(family, Path):
        table = read_table(family)
        has_shapes = all(variant.shapes for variant in table.variants.values())
        return table if has_shapes else replace(table, variants={})
    if family not in (known := families()):
        raise ConversionError(
            f"no family {family!r}.{nearest(family, known)} There are: {', '.join(known)}."
        )
    return load_table(family)


def _describe(made: Plan, asked: bool) -> str:
    """Say which variant and which head was found, and what else it could have been."""
    how = "as asked" if asked else "found from names and shapes"
    if not asked and (others := twins(made.variant, made.table)):
        how += f", which are also those of {', '.join(others)}: --variant decides"
    return f"{made.variant.name}, {show_head(made.num_classes)} ({how})"


def convert(
    src: str | Path,
    dst: str | Path,
    family: str | Path,
    *,
    variant: str | None = None,
    weights: str | None = None,
    dtype: str | None = None,
    max_shard_size: int = MAX_SHARD_SIZE,
    parity: bool = True,
    verify: bool = True,
    device: Device = "auto",
    force: bool = False,
    tables: str | Path | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a checkpoint to the other framework and prove that both compute the same.

    Args:
        src: A checkpoint with PyTorch weights, or with Paddle's for the way back.
        dst: The file to write; its name says what: .pdparams, .safetensors, the
            .safetensors.index.json of a sharded one, or .pth.
        family: The family of the model, such as "shunted"; or the Path of a table of your own,
            which needs no variants. Of such a one nothing can be proved here: pass parity=False.
        variant: For example "shunted_s"; found from names and shapes if None.
        weights: Key of the weights where the file holds several: "model" or "model_ema".
        dtype: "float32", "float16" or "bfloat16" to cast floating tensors to; as they are if None.
        max_shard_size: Bytes of tensors in one file of a sharded checkpoint.
        parity: Whether to run both models and compare them layer by layer.
        verify: Whether to read the file back, and to check what checksums the source has.
        device: Where to run them: "auto", "cpu" or "gpu".
        force: Whether an existing `dst` may be replaced.
        tables: A folder with families of your own, besides the shipped ones.
        progress: Called with a text, the amount done and the total.

    Returns:
        The plan, the path of the file and the parity report. If parity does not hold, the file
        stays as `dst`.unverified.

    Raises:
        CheckpointError: A file cannot be read or written, or a value does not fit `dtype`.
        ConversionError: The checkpoint does not fit the family or variant; nothing is written.
        ModelError: A framework that parity needs is not installed; nothing is written.
        ParityError: Parity could not be checked; the file stays as `dst`.unverified.
        TableError: A table is malformed.
    """
    src, dst = Path(src), Path(dst)
    _check(dtype, max_shard_size, family, parity)
    check_output(dst, force)
    check_distinct(source=src, target=dst, unverified=unverified(dst))
    if parity:
        check_target(unverified(dst), force=True)
        require("torch")
        require("paddle")
    with using(tables):
        checkpoint, made = plan(src, family, variant, weights)
        check_side(dst, src, made.source)
        tensors = made.apply(checkpoint.tensors, dtype)
        output = Output(dst, tensors, _provenance(checkpoint, made), max_shard_size)
        check_sources_stay(checkpoint.files, output.paths())
        with written(output, force, verify, _meter(tensors, progress)) as draft:
            how = (
                "written, read back and equal" if verify else "written, not read back (--no-verify)"
            )
            log.info("converted %d tensors%s, %s", len(tensors), f" to {dtype}" * bool(dtype), how)
            if not parity:
                draft.publish(dst, force)
                return Conversion(made, dst, None)
            return _prove(made, src, dst, draft, weights, device, force, progress)


def _check(dtype: str | None, max_shard_size: int, family: str | Path, parity: bool) -> None:
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
            f"pass parity=False, then check_parity(Pair(...)) with both models."
        )


def _prove(
    made: Plan,
    src: Path,
    dst: Path,
    draft: Draft,
    weights: str | None,
    device: Device,
    force: bool,
    progress: Progress | None,
) -> Conversion:
    """Check parity with what was written, and give it the name that it deserves."""
    from .parity import check_parity

    files: dict[Side, Path] = {made.source: src, made.target: draft.part}
    keys: dict[Side, str | None] = {made.source: weights, made.target: None}
    try:
        report = check_parity(
            made.variant.name,
            torch_checkpoint=files["torch"],
            paddle_checkpoint=files["paddle"],
            weights=keys["torch"],
            paddle_weights=keys["paddle"],
            made_from=made.source,
            device=device,
            progress=progress,
        )
    except BaseException:  # Ctrl-C as well: the file is whole, only not proved
        draft.publish(unverified(dst), force=True)
        log.info("the converted weights stay in %s", unverified(dst))
        raise
    path = dst if report.proved else unverified(dst)
    written_side = report.candidate if made.source == "torch" else report.reference
    written_side["file"] = str(path)
    draft.publish(path, force or not report.proved)
    return Conversion(made, path, report)


def _provenance(checkpoint: Checkpoint, made: Plan) -> dict[str, str]:
    """Say in the header of a .safetensors where it comes from; "format" is for other readers."""
    known = {"variant": made.variant.name, "num_classes": str(made.num_classes)}
    return {
        "format": {"torch": "pd", "paddle": "pt"}[made.source],
        "converted_by": f"vitconvert {__version__}",
        **(known if made.table.variants else {}),
        "source": _spelled(checkpoint.path.name),
        "source_format": checkpoint.format,
        "source_weights": _spelled(".".join(checkpoint.wrapper)),
        "implementation": made.table.source,
    }


def _spelled(text: str) -> str:
    """Give a text that UTF-8 can spell; names of files may hold any bytes."""
    return text.encode("utf-8", "replace").decode()


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
