"""Convert a checkpoint: read, plan, write, read back, prove, and only then give it its name."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ._errors import CheckpointError, ConversionError
from ._files import (
    check_distinct,
    check_target,
    flush_to_disk,
    publish,
    unverified,
    written_beside,
)
from ._models import require
from ._plan import Plan, Step, apply_step, make_plan, show_head, twins
from ._table import families, load_table
from .checkpoints import PADDLE, Checkpoint, Tensor, open_checkpoint, pdparams
from .parity import Device, Progress, Report, check_parity

log = logging.getLogger("vitconvert")


@dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        plan: What became of every tensor.
        path: Where the Paddle checkpoint is: `dst`, or `dst`.unverified if parity does not hold.
        report: The parity report; None if parity was not asked for.
    """

    plan: Plan
    path: Path
    report: Report | None


def plan(
    src: str | Path, family: str, variant: str | None = None, weights: str | None = None
) -> tuple[Checkpoint, Plan]:
    """Open a PyTorch checkpoint and decide what becomes of every tensor; nothing is written.

    Raises:
        CheckpointError: The file cannot be read, or is a Paddle checkpoint already.
        ConversionError: It does not fit the family or the variant.
    """
    if family not in families():
        raise ConversionError(f"no family {family!r}. There are: {', '.join(families())}.")
    checkpoint = open_checkpoint(src, weights)
    if checkpoint.format == PADDLE:
        raise CheckpointError(f"{src}: is a Paddle checkpoint already; expected PyTorch weights.")
    made = make_plan(checkpoint, load_table(family), variant)
    for note in checkpoint.notes():
        log.info("%s: %s", src, note)
    log.info("variant: %s", _describe(made, variant is not None))
    return checkpoint, made


def _describe(made: Plan, asked: bool) -> str:
    """Say which variant and which head was found, and what else it could have been."""
    how = "as asked" if asked else "found from names and shapes"
    if not asked and (others := twins(made.variant, made.table)):
        how += f", which are also those of {', '.join(others)}: --variant decides"
    return f"{made.variant.name}, {show_head(made.num_classes)} ({how})"


def convert(
    src: str | Path,
    dst: str | Path,
    family: str,
    *,
    variant: str | None = None,
    weights: str | None = None,
    parity: bool = True,
    device: Device = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a PyTorch checkpoint for Paddle and prove that both compute the same.

    Args:
        src: A .pth or .safetensors with PyTorch weights.
        dst: The .pdparams to write.
        family: The table to use, such as "shunted".
        variant: For example "shunted_s"; found from names and shapes if None.
        weights: Key of the weights where the file holds several: "model" or "model_ema".
        parity: Whether to run both models and compare them layer by layer.
        device: Where to run them: "auto", "cpu" or "gpu".
        force: Whether an existing `dst` may be replaced.
        progress: Called with a text, the amount done and the total.

    Returns:
        The plan, the path of the file and the parity report. If parity does not hold, the file
        stays as `dst`.unverified.

    Raises:
        CheckpointError: A file cannot be read or written.
        ConversionError: The checkpoint does not fit the family or variant; nothing is written.
        ModelError: A framework that parity needs is not installed; nothing is written.
        ParityError: Parity could not be checked; the file stays as `dst`.unverified.
    """
    src, dst = Path(src), Path(dst)
    check_target(dst, force)
    check_distinct(source=src, target=dst, unverified=unverified(dst))
    if parity:
        check_target(unverified(dst), force=True)
        require("torch")
        require("paddle")
    checkpoint, made = plan(src, family, variant, weights)
    with written_beside(dst) as (file, part):
        _write(file, part, checkpoint, made, progress)
        if not parity:
            publish(part, dst, force)
            return Conversion(made, dst, None)
        try:
            report = check_parity(
                made.variant.name,
                torch_checkpoint=src,
                paddle_checkpoint=part,
                weights=weights,
                device=device,
                progress=progress,
            )
        except BaseException:  # Ctrl-C as well: the file is whole, only not proved
            publish(part, unverified(dst), force=True)
            log.info("the converted weights stay in %s", unverified(dst))
            raise
        path = dst if report.proved else unverified(dst)
        report.paddle["file"] = str(path)
        publish(part, path, force or not report.proved)
        return Conversion(made, path, report)


def _write(
    file: BinaryIO,
    part: Path,
    checkpoint: Checkpoint,
    made: Plan,
    progress: Progress | None,
) -> None:
    """Write the planned tensors, make them durable, read them back."""
    total = 2 * sum(checkpoint.tensors[step.source].nbytes for step, _ in made.kept())
    done = 0

    def advance(text: str, amounts: Iterator[int]) -> None:
        nonlocal done
        for amount in amounts:
            done += amount
            if progress is not None:
                progress(text, done, total)

    advance("writing", pdparams.write(file, _sources(checkpoint, made)))
    flush_to_disk(file)
    advance("reading back", _verify(open_checkpoint(part), _sources(checkpoint, made)))
    count = sum(1 for _ in made.kept())
    log.info("converted %d tensors, written, read back and equal", count)


def _sources(checkpoint: Checkpoint, made: Plan) -> Iterator[pdparams.Source]:
    """Give each Paddle tensor as the writer takes it, in the order of the source."""
    for step, target in made.kept():
        tensor = checkpoint.tensors[step.source]
        yield target, step.target_shape, tensor.dtype, partial(_turned, step, tensor)


def _turned(step: Step, tensor: Tensor) -> np.ndarray:
    return apply_step(step, tensor.read())


def _verify(written: Checkpoint, sources: Iterator[pdparams.Source]) -> Iterator[int]:
    """Compare a written file with what it was made of, bit for bit.

    Yields:
        The bytes compared since the last.

    Raises:
        CheckpointError: The file does not hold what was written: disk or memory is faulty.
    """
    for name, shape, dtype, values in sources:
        tensor = written.tensors.get(name)
        if tensor is None or (tensor.shape, tensor.dtype) != (shape, dtype):
            raise CheckpointError(f"{written.path}: {name} did not come back as it was written.")
        pairs = zip(pdparams.blocks(values()), pdparams.blocks(tensor.read()), strict=True)
        for wrote, read in pairs:
            if wrote.tobytes() != read.tobytes():
                raise CheckpointError(f"{written.path}: {name} did not come back as written.")
            yield read.nbytes
