"""Write a model in Paddle's inference form, checked against the model itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np

from ...checkpoints import Checkpoint
from ...errors import ModelError, RunError, brief
from ...files import cannot_be_written, check_room
from ...hub import located
from ...images import known_classes
from ...models import check_side, require
from ...plain import sha256
from ...running.aside import stdout_aside
from ...running.device import Device, import_framework
from ...running.setup import Setup, Subject
from ...running.side import as_function, make_side
from ...tables.opening import open_weights
from ...tables.plan import check_paddle
from ...tables.reading import find_variant
from ...tables.sized import MARK
from ...tables.table import Table
from ...tables.variant import Variant
from ...version import __version__
from ._folder import check_export_folder, made_beside, publish_folder, put_in_order
from ._manifest import FORMAT, LEAST, NAME, Facts
from ._predictor import Predictor

Batches = list[np.ndarray]  # images [B, 3, H, W], or logits [B, num_classes]
Size = tuple[int, int] | Literal["free"] | None
CEILING = 1e-4  # largest difference from the original, as a share of the largest logit
TIMES = 8.0  # how many times the error of the original in float32 may be
COLOURS = 3
LEAST_ERROR = 16 * float(np.finfo(np.float32).eps)  # a smaller error of the original counts as this


@dataclass(frozen=True)
class Check:
    """How far the deployed model is from the original, the most of all batches.

    Attributes:
        max_abs_diff: From the original in float32.
        relative_diff: The same as a share of the largest logit.
        error: From the original in float64, as a share of the largest logit.
        eager_error: The same of the original in float32.
    """

    max_abs_diff: float
    relative_diff: float
    error: float
    eager_error: float


@dataclass(frozen=True)
class Exported:
    """A written export: its folder, its facts, and how exact it is."""

    folder: Path
    facts: Facts
    check: Check


def export(
    variant: str,
    weights: str | Path,
    folder: str | Path,
    *,
    image_size: Size = None,
    num_classes: int | None = None,
    classes: Sequence[str] = (),
    force: bool = False,
) -> Exported:
    """Write a Paddle model in inference form: a program, its parameters and vitconvert.json.

    Any batch size can be run. Layers are exchanged for others that compute the same cheaper, see
    models_paddle/_deployed.py; what was written is loaded, run and compared before it is named.

    Args:
        variant: A name of `list_models`, of a classifier.
        weights: Paddle checkpoint, .pdparams or .safetensors.
        folder: To be made.
        image_size: Height and width in pixels; "free" for any, where the model allows it; the
            variant's own if None. A fixed size runs a little faster.
        num_classes: Number that the checkpoint must have; any if None.
        classes: Their names in the order of the head, kept in vitconvert.json; if left out, those
            in the run.json of a training beside the weights, if there is one.
        force: Replace a folder that is an export.

    Raises:
        CheckpointError: The weights cannot be read or do not fit, or the folder cannot be made.
        DataError: There are more or fewer names of classes than classes.
        ModelError: The variant is unknown or has no head, or cannot have that image size, or this
            Paddle is too old for it.
        RunError: What was written cannot be run, or differs from the model by more than rounding.
    """
    require("paddle")
    target, source = Path(folder), located(weights)
    table, found = find_variant(variant)
    if table.export_needs:
        release = import_framework("paddle").__version__
        if int(release.partition(".")[0]) < table.export_needs:
            raise ModelError(
                f"{variant}, exported, runs with Paddle {table.export_needs} or newer; this is "
                f"{release}, which crashes. Export it in another environment."
            )
    if not found.has_head:
        raise ModelError(f"{variant} is a backbone that gives several maps: it is not exported.")
    if found.channels != COLOURS:
        raise ModelError(
            f"{variant} takes images of {found.channels} channel{'s' * (found.channels > 1)}: only "
            f"models of {COLOURS} channels are exported."
        )
    size = _check_size(table, found, image_size)
    put_in_order(target)
    checkpoint = open_weights(source, table, variant, side="paddle")
    sources = [source, *checkpoint.files]
    check_export_folder(target, sources, force)
    check_side("paddle", checkpoint)
    count = check_paddle(checkpoint, table, found)
    if num_classes not in (None, count):
        raise ModelError(f"{source} has {count} classes; --num-classes says {num_classes}.")
    known = known_classes(source, count, classes)
    classes = known.names if known else ()
    # Twice: the program is no more than the weights, nor are the kernels of exchanged layers.
    check_room(target, 2 * sum(tensor.nbytes for tensor in checkpoint.tensors.values()))
    with made_beside(target) as part:
        inputs, eager, truth = _write(part, target, found, checkpoint, count, size)
        # The predictor reads from the facts what it runs; only then is known how exact it is.
        facts = _describe(part, found, source, count, size, classes)
        _store(part, target, facts)
        predictor = _load(part, target)
        check = compare([predictor(x) for x in inputs], eager, truth, variant)
        facts = replace(facts, check=asdict(check))
        _store(part, target, facts)
        _load(part, target)  # as a user will
        publish_folder(part, target, sources, force)
    return Exported(target, facts, check)


def _check_size(table: Table, variant: Variant, asked: Size) -> tuple[int, int] | None:
    """Settle on an image size in pixels; None for any."""
    if asked == "free":
        if table.fixed_size:
            raise ModelError(
                f"{variant.name} cannot be exported for images of any size: {table.fixed_size}. "
                f"Give --image-size HxW."
            )
        return None
    size = asked or variant.input_size
    if min(size) < LEAST:
        raise ModelError(f"image size is {size[0]}x{size[1]}; expected at least {LEAST}x{LEAST}.")
    return size[0], size[1]


def _write(
    part: Path,
    target: Path,
    variant: Variant,
    weights: Checkpoint,
    num_classes: int,
    size: tuple[int, int] | None,
) -> tuple[Batches, Batches, Batches]:
    """Save the program and its parameters; return images and logits in float32 and float64."""
    paddle = import_framework("paddle")
    # With 32 pixels some map is of one pixel, with an odd size some is not divided evenly.
    height, width = variant.input_size
    sizes = [size] if size else [(height, width), (LEAST, LEAST), (height + 37, width)]
    inputs = [_noise(count, at) for at in sizes for count in (1, 3)]
    device: Device = "gpu" if paddle.get_device().startswith("gpu") else "cpu"
    subject = Subject(variant.name, num_classes)
    path = str(weights.path.absolute())
    side = make_side(Setup("paddle", subject, path, weights.selection, device))
    run = as_function(side, side.model("float64"), "float64")
    try:
        truth = [run(x) for x in inputs]
    except ValueError as error:
        if size in (None, variant.input_size):
            raise
        at = MARK.join([(variant.base or variant).name, "x".join(map(str, size or ()))])
        raise ModelError(
            f"{variant.name} cannot take images of that size: {brief(error)} Weights that were "
            f"converted with --image-size may, under the name {at}."
        ) from error
    model = side.model("float32")
    run = as_function(side, model, "float32")
    eager = [run(x) for x in inputs]
    import_module("vitconvert.models_paddle._deployed").for_deployment(model)
    spec = paddle.static.InputSpec([None, 3, *(size or (None, None))], "float32", "images")
    with cannot_be_written(target), stdout_aside():
        static = paddle.jit.to_static(model, input_spec=[spec], full_graph=True)
        paddle.jit.save(static, str(part / "model"))
        for extra in part.glob("*.info"):  # of training on, which nothing here reads
            extra.unlink()
    return inputs, eager, truth


def _store(part: Path, target: Path, facts: Facts) -> None:
    with cannot_be_written(target):
        (part / NAME).write_text(facts.to_json(), encoding="utf-8")


def _load(part: Path, target: Path) -> Predictor:
    """Load what was written.

    Raises:
        RunError: Paddle cannot; it does not tell when a file that it writes is cut short.
    """
    try:
        return Predictor(part)
    except RunError as error:
        free = shutil.disk_usage(part).free
        why = str(error).removeprefix(f"{part}: ")
        raise RunError(
            f"{target}: what was written cannot be loaded. The disk may be full or this user's "
            f"share of it used up ({free:,} bytes are free): make room and export again. Nothing "
            f"was left behind. {why}"
        ) from error


def _noise(count: int, size: tuple[int, int]) -> np.ndarray:
    """Make images, float32 [count, 3, H, W], the same each time."""
    return np.random.default_rng(0).standard_normal((count, 3, *size)).astype("f4")


def _describe(
    part: Path,
    variant: Variant,
    source: Path,
    num_classes: int,
    size: tuple[int, int] | None,
    classes: Sequence[str],
) -> Facts:
    """Describe what was written and its source; how exact it is, is not known yet."""
    paddle = import_framework("paddle")
    return Facts(
        FORMAT,
        variant.name,
        num_classes,
        tuple(classes),
        size,
        preprocessing={**variant.preprocessing, "size": list(size or variant.input_size)},
        source={"name": source.name, "sha256": sha256(source), "bytes": source.stat().st_size},
        versions={"vitconvert": __version__, "paddle": paddle.__version__},
        check={},
        files={path.name: sha256(path) for path in sorted(part.iterdir())},
    )


def compare(
    deployed: Batches,
    eager: Batches,
    truth: Batches,
    name: str,
) -> Check:
    """Compare batch by batch.

    Args:
        deployed: Logits [B, num_classes] of each batch, float32.
        eager: The same of the original model.
        truth: The same in float64.
        name: Name of the model.

    Raises:
        RunError: They differ by more than rounding.
    """
    rows = []
    for found, near, exact in zip(deployed, eager, truth, strict=True):
        if found.shape != near.shape:
            raise RunError(
                f"{name}: the deployed model gives {list(found.shape)}, the original "
                f"{list(near.shape)}. Nothing was written."
            )
        # Not numpy's own float64 of a float32 difference: the subtraction must not round.
        found, near = found.astype("f8"), near.astype("f8")
        largest = float(np.abs(exact).max()) or 1.0
        diff = float(np.abs(found - near).max())
        errors = (float(np.abs(found - exact).max()), float(np.abs(near - exact).max()))
        rows.append((diff, diff / largest, errors[0] / largest, errors[1] / largest))
    check = Check(*(float(np.max(column)) for column in zip(*rows, strict=True)))
    allowed = max(TIMES * check.eager_error, LEAST_ERROR)
    # Not `>`, so that NaN fails.
    if not (check.relative_diff <= CEILING and check.error <= allowed):
        raise RunError(
            f"{name}: the deployed model differs from the original by {check.max_abs_diff:.2e}, "
            f"{check.relative_diff:.2e} of the largest logit (allowed: {CEILING:.0e}); its error "
            f"from float64 is {check.error:.2e} (allowed: {allowed:.2e}). Nothing was written."
        )
    return check
