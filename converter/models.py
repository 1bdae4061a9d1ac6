"""The only door to models_torch and models_paddle: builds and loads models, importing late."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from .checked import frozen
from .checkpoints import Checkpoint, floats
from .errors import CheckpointError, ModelError, listing, some
from .reference import TIMM, build_reference
from .sides import NAMES, Side
from .start import Importing
from .tables.identify import compare
from .tables.names import Names
from .tables.opening import open_weights
from .tables.plan import make_plan
from .tables.reading import find_variant, load_table, using, variants
from .tables.spelled import droppable, left_out
from .tables.table import Table
from .tables.variant import Variant

# Framework -> what to install, and the extra of this package that does it.
_INSTALLED_BY = {"torch": ("PyTorch", "torch"), "paddle": ("PaddlePaddle", "cpu")}


def missing(frameworks: Iterable[Side]) -> list[Side]:
    """Name the frameworks that are not installed here, without importing any."""
    return [framework for framework in frameworks if find_spec(framework) is None]


def not_installed(frameworks: Sequence[Side]) -> str:
    """Say that frameworks are missing, and how to install them together."""
    names, extras = zip(*(_INSTALLED_BY[framework] for framework in frameworks), strict=True)
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return (
        f"{' and '.join(names)} {are} not installed here. Install {them}: pip install "
        f"'vitconvert[{','.join(extras)}]'"
    )


def require(*frameworks: Side) -> None:
    """Check that frameworks are installed, without importing them.

    Raises:
        ModelError: Some are not; the message names all of them and says how to install them.
    """
    if lacking := missing(frameworks):
        raise ModelError(not_installed(lacking))


def build(framework: Side, variant: Variant, num_classes: int) -> Any:
    """Build a freshly initialised model in the framework's default floating type."""
    return build_from(load_table(variant.family), framework, variant, num_classes)


def build_from(table: Table, framework: Side, variant: Variant, num_classes: int) -> Any:
    """Build a model of a table that may still lack the shapes of its variants."""
    require(framework)
    if framework == "torch" and table.torch:
        own = variant.torch_config if table.torch == TIMM else variant.config
        with Importing():
            published = variant.base or variant
            return build_reference(table.torch, published.name, frozen(own), num_classes)
    with Importing():
        module = _module(framework, table)
    config = module.Config(**frozen(variant.config))
    return module.build(replace(config, num_classes=num_classes))


def _module(framework: Side, table: Table) -> Any:
    """Import the model file of a family: shipped, or from models_* beside a table of your own.

    Either gets the same name, so that a family may move into the package as it is.
    """
    name = f"vitconvert.models_{framework}.{table.family}"
    if table.shipped:
        return import_module(name)
    file = table.path.parent / f"models_{framework}" / f"{table.family}.py"
    if name in sys.modules and sys.modules[name].__file__ == str(file):
        return sys.modules[name]
    if not file.is_file():
        raise ModelError(
            f"{table.file}: its {NAMES[framework]} model is missing: expected Config and build in "
            f"{file}."
        )
    import_module(name.rpartition(".")[0])
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def create_model(
    variant: str,
    framework: Side = "paddle",
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    tables: str | Path | None = None,
) -> Any:
    """Build a model in evaluation mode and load a checkpoint into it.

    Args:
        variant: A name of `list_models`, such as "shunted_s".
        framework: "paddle" or "torch".
        num_classes: Size of the classification head; 0 for none, the model then gives features.
            As published, mostly 1000, if None.
        checkpoint: A .pdparams for Paddle; a .pth or .safetensors for PyTorch. Freshly
            initialised if None.
        tables: A folder with families of your own, besides the shipped ones.

    Returns:
        A paddle.nn.Layer or torch.nn.Module: images [B, 3, H, W], float32, normalised
        -> logits [B, num_classes], or features [B, C] without a head. The backbone of a detector
        gives a list of maps [B, C, H', W'], one per stage.

    Raises:
        ModelError: The variant is unknown, the framework not installed, or the file has another
            head.
        CheckpointError: The file cannot be read, is of the other framework, or is Paddle's and
            its names or shapes do not fit the model.
        ConversionError: Names or shapes in a PyTorch file do not fit the model.
        TableError: A table of your own is malformed.
    """
    if framework not in ("torch", "paddle"):
        raise ModelError(f"framework is {framework!r}; expected 'torch' or 'paddle'.")
    with using(tables):
        table, found = find_variant(variant)
        num_classes = found.num_classes if num_classes is None else num_classes
        if type(num_classes) is not int or num_classes < 0:
            raise ModelError(f"num_classes is {num_classes!r}; expected a number, 0 for no head.")
        if num_classes and not found.has_head:
            raise ModelError(f"{variant} is a backbone without a head: num_classes is 0.")
        model = build(framework, found, num_classes)
        if checkpoint is not None:
            drop = 0 if num_classes == 0 else None
            weights = open_weights(checkpoint, table, variant, side=framework, num_classes=drop)
            load(framework, model, variant, weights, num_classes)
    model.eval()
    return model


def load(
    framework: Side, model: Any, variant: str, checkpoint: Checkpoint, num_classes: int
) -> None:
    """Fill a model from a checkpoint, every tensor of it, in the model's floating type."""
    check_side(framework, checkpoint)
    table = find_variant(variant)[0]
    found = make_plan(checkpoint, table, variant, framework).num_classes
    if found != num_classes:
        heads = [f"a head for {n} classes" if n else "no head" for n in (found, num_classes)]
        raise ModelError(
            f"{checkpoint.path} has {heads[0]}, the model was asked for with {heads[1]}. "
            f"Pass num_classes={found}."
        )
    if framework == "torch":
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        load_torch(model, {k: floats(t, dtype) for k, t in checkpoint.tensors.items()}, table)
    else:
        load_paddle(model, checkpoint, table)


def check_side(framework: Side, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint of the other framework; some formats do not say of which they are."""
    if checkpoint.side not in (framework, None):
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.format} file with {NAMES[checkpoint.side]} "
            f"weights, which a {NAMES[framework]} model cannot load. Convert it first, with "
            f"`vitconvert convert --table`, or with the command of its family."
        )


def load_torch(model: Any, state: Mapping[str, Any], table: Table) -> None:
    """Load arrays or tensors into a PyTorch model; all that matters must be there.

    What the table ignores is left out, unless the model has it; what it drops (a step counter that
    an old file lacks) may be missing and stays as the model has it.
    """
    import torch

    own = model.state_dict()
    known = {key for key in own if table.claims(key) or table.ignored(key) is not None}
    kept = {key: own[key] for key in own if key in known and droppable(key, table, "torch")}
    for name, value in state.items():
        if table.ignored(name) is None or name in own:
            # The arrays are read-only views of the file, which torch would warn of.
            kept[name] = torch.tensor(value) if isinstance(value, np.ndarray) else value
    model.load_state_dict(kept, strict=True)


def load_paddle(
    model: Any, checkpoint: Checkpoint, table: Table, names: Names | None = None
) -> None:
    """Load a checkpoint into a Paddle model after checking every name and shape.

    Paddle itself only warns of a missing key or a wrong shape. What the table says Paddle alone has
    may be missing, and stays as the model has it; it is loaded if the model and the file have it.

    Args:
        model: The model.
        checkpoint: Under the names of the model.
        table: Its table.
        names: The target of the table whose names these are; our own if None.

    Raises:
        CheckpointError: All keys that are missing, too many or of the wrong shape.
    """
    own = model.state_dict()
    every = {*own, *checkpoint.tensors}
    alone = {key for key in every if left_out(key, table, "paddle", names) is not None}
    shapes = {key: s for key, s in checkpoint.shapes.items() if key in own or key not in alone}
    expected = {k: tuple(v.shape) for k, v in own.items() if k in shapes or k not in alone}
    found = compare(shapes, expected)
    problems = found.listed("the model")
    if unknown := [key for key in found.missing if not _is_filled(key, table, names)]:
        others = [] if names else [one.option for one in table.targets.values()]
        whose = f"; or say whose names these are, with {' or '.join(others)}" if others else ""
        problems.append(
            f"no row of {table.file} fills {some(unknown)}: add rows, or [paddle_only] entries "
            f"with their reasons{whose}."
        )
    if problems:
        raise CheckpointError(listing(f"{checkpoint.path} does not fit the model:", problems))
    dtypes = {name: str(value.dtype).rpartition(".")[2] for name, value in own.items()}
    state = own | {key: floats(checkpoint.tensors[key], dtypes[key]) for key in shapes}
    missing, unexpected = model.set_state_dict(state)
    if missing or unexpected:
        raise CheckpointError(
            f"{checkpoint.path}: Paddle did not take {some([*missing, *unexpected])}."
        )


def _is_filled(key: str, table: Table, names: Names | None) -> bool:
    ours = [key] if names is None else names.ours(key)
    return any(table.claims(one, "paddle") for one in ours)


def list_models(tables: str | Path | None = None) -> list[str]:
    """Name every variant that can be converted, as `create_model` takes it.

    Args:
        tables: A folder with families of your own, besides the shipped ones.

    Raises:
        TableError: A table is malformed, or two have the same name.
    """
    with using(tables):
        return list(variants())
