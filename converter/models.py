"""The only door to models_torch and models_paddle: builds and loads models, importing late."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import Checkpoint, floats, open_checkpoint
from .errors import CheckpointError, ModelError, listing, some
from .sides import NAMES, Side
from .tables.identify import droppable
from .tables.plan import check_paddle, make_plan
from .tables.reading import find_variant, variants
from .tables.table import Table
from .tables.variant import Variant

_INSTALL = {
    "torch": "PyTorch is not installed here. Install it: pip install 'vitconvert[torch]'",
    "paddle": "PaddlePaddle is not installed here. Install it: pip install 'vitconvert[cpu]'",
}


def require(framework: Side) -> None:
    """Check that a framework is installed, without importing it.

    Raises:
        ModelError: It is not; the message says how to install it.
    """
    if find_spec(framework) is None:
        raise ModelError(_INSTALL[framework])


def build(framework: Side, variant: Variant, num_classes: int) -> Any:
    """Build a freshly initialised model in the framework's default floating type."""
    require(framework)
    module = import_module(f"vitconvert.models_{framework}.{variant.family}")
    sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in variant.config.items()}
    return module.build(replace(module.Config(**sizes), num_classes=num_classes))


def create_model(
    variant: str,
    framework: Side = "paddle",
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
) -> Any:
    """Build a model in evaluation mode and load a checkpoint into it.

    Args:
        variant: A name of `list_models`, such as "shunted_s".
        framework: "paddle" or "torch".
        num_classes: Size of the classification head; 0 for none, the model then gives features.
            As published, mostly 1000, if None.
        checkpoint: A .pdparams for Paddle; a .pth or .safetensors for PyTorch. Freshly
            initialised if None.

    Returns:
        A paddle.nn.Layer or torch.nn.Module: images [B, 3, H, W], float32, normalised
        -> logits [B, num_classes], or features [B, C] without a head. The backbone of a detector
        gives a list of maps [B, C, H', W'], one per stage.

    Raises:
        ModelError: The variant is unknown, the framework not installed, or the file has another
            head.
        CheckpointError: The file cannot be read, or is of the other framework.
        ConversionError: Names or shapes in the file do not fit the model.
    """
    if framework not in ("torch", "paddle"):
        raise ModelError(f"framework is {framework!r}; expected 'torch' or 'paddle'.")
    _table, found = find_variant(variant)
    num_classes = found.num_classes if num_classes is None else num_classes
    if type(num_classes) is not int or num_classes < 0:
        raise ModelError(f"num_classes is {num_classes!r}; expected a number, 0 for no head.")
    if num_classes and not found.num_classes:
        raise ModelError(f"{variant} is a backbone without a head: num_classes is 0.")
    model = build(framework, found, num_classes)
    if checkpoint is not None:
        load(framework, model, variant, open_checkpoint(checkpoint), num_classes)
    model.eval()
    return model


def load(
    framework: Side, model: Any, variant: str, checkpoint: Checkpoint, num_classes: int
) -> None:
    """Fill a model from a checkpoint, every tensor of it, in the model's floating type."""
    check_side(framework, checkpoint)
    table, found = find_variant(variant)
    if framework == "torch":
        plan = make_plan(checkpoint, table, variant)
        _check_classes(checkpoint, plan.num_classes, num_classes)
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        load_torch(model, {k: floats(t, dtype) for k, t in checkpoint.tensors.items()}, table)
    else:
        _check_classes(checkpoint, check_paddle(checkpoint, table, found), num_classes)
        load_paddle(model, checkpoint)


def check_side(framework: Side, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of the other framework; some formats do not say of which they are."""
    if checkpoint.side not in (framework, None):
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.format} file with {NAMES[checkpoint.side]} "
            f"weights; a {NAMES[framework]} model needs others. Of a family that is known here, "
            f"convert it first: vitconvert FAMILY --src {checkpoint.path} --dst D."
        )


def _check_classes(checkpoint: Checkpoint, found: int, asked: int) -> None:
    if found != asked:
        heads = [f"a head for {n} classes" if n else "no head" for n in (found, asked)]
        raise ModelError(
            f"{checkpoint.path} has {heads[0]}, the model was asked for with {heads[1]}. "
            f"Pass num_classes={found}."
        )


def load_torch(model: Any, state: Mapping[str, Any], table: Table) -> None:
    """Load arrays or tensors into a PyTorch model; all that matters must be there.

    What the table ignores is left out, unless the model has it; what it drops (a step counter that
    an old file lacks) may be missing and stays as the model has it.
    """
    import torch

    own = model.state_dict()
    kept = {k: v for k, v in own.items() if droppable(k, table, "torch")}
    for name, value in state.items():
        if table.ignored(name) is None or name in own:
            # The arrays are read-only views of the file, which torch would warn of.
            kept[name] = torch.tensor(value) if isinstance(value, np.ndarray) else value
    model.load_state_dict(kept, strict=True)


def load_paddle(model: Any, checkpoint: Checkpoint) -> None:
    """Load a checkpoint into a Paddle model after checking every name and shape.

    Paddle itself only warns of a missing key or a wrong shape.

    Raises:
        CheckpointError: All keys that are missing, too many or of the wrong shape.
    """
    own = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    problems = [
        f"{name}: missing; the model has it as {list(shape)}."
        for name, shape in shapes.items()
        if name not in checkpoint.tensors
    ]
    for name, shape in checkpoint.shapes.items():
        if name not in shapes:
            problems.append(f"{name}: the model has no such tensor.")
        elif shape != shapes[name]:
            problems.append(f"{name}: shape {list(shape)}, the model has {list(shapes[name])}.")
    if problems:
        raise CheckpointError(listing(f"{checkpoint.path} does not fit the model:", problems))
    dtypes = {name: str(value.dtype).rpartition(".")[2] for name, value in own.items()}
    state = {n: floats(t, dtypes[n]) for n, t in checkpoint.tensors.items()}
    missing, unexpected = model.set_state_dict(state)
    if missing or unexpected:
        raise CheckpointError(
            f"{checkpoint.path}: Paddle did not take {some([*missing, *unexpected])}."
        )


def list_models() -> list[str]:
    """Name every variant that can be converted, as `create_model` takes it."""
    return list(variants())
