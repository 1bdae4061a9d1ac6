"""The model to train, perhaps with a new head, and its optimizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...checkpoints import held
from ...errors import ModelError, RunError
from ...models import build, check_side, load_paddle
from ...tables.opening import open_weights
from ...tables.plan import check_paddle
from ...tables.reading import find_variant
from ...tables.table import Table
from ...tables.variant import Variant

if TYPE_CHECKING:
    from ._settings import Settings

_LOG = logging.getLogger("vitconvert")


def check_variant(name: str) -> tuple[Table, Variant]:
    """Find a variant that can be trained, and its table.

    Raises:
        ModelError: There is none of that name, or it has no head.
    """
    table, variant = find_variant(name)
    if not variant.has_head:
        raise ModelError(
            f"{name} is a backbone without a head, so it cannot be trained as a classifier. Choose "
            f"a variant with a head: vitconvert models"
        )
    return table, variant


def make_model(
    settings: Settings, num_classes: int, weights: Path | None, is_new_head: bool = False
) -> Any:
    """Build a model in training mode; a head for other classes is not loaded.

    Args:
        settings: Has variant, drop path rate and seed.
        num_classes: Of the head.
        weights: Paddle checkpoint; freshly initialised if None.
        is_new_head: Whether the checkpoint's head is for other classes, though for as many.

    Raises:
        CheckpointError: The file does not hold a whole model of the variant.
    """
    import paddle

    table, variant = check_variant(settings.variant)
    if settings.drop_path is not None:
        config = {**variant.config, "drop_path_rate": settings.drop_path}
        variant = replace(variant, config=config)
    paddle.seed(settings.seed)
    model = build("paddle", variant, num_classes)
    if weights is not None:
        _load(model, weights, table, variant, num_classes, is_new_head)
    model.train()
    return model


def check_size(model: Any, size: tuple[int, int]) -> None:
    """Run a model on one empty image, so that it refuses an unsuitable size at once.

    Raises:
        RunError: It cannot take images of that height and width.
    """
    import paddle

    model.eval()
    try:
        with paddle.no_grad():
            model(paddle.zeros([1, 3, *size]))
    except ValueError as error:
        raise RunError(f"--image-size {size[0]}x{size[1]}: {error}") from error
    finally:
        model.train()


def _load(
    model: Any, path: Path, table: Table, variant: Variant, num_classes: int, is_new_head: bool
) -> None:
    """Load weights; if the file has another head, the model keeps its random one."""
    checkpoint = open_weights(path, table, variant.name, side="paddle")
    check_side("paddle", checkpoint)
    found = check_paddle(checkpoint, table, variant)
    if is_new_head or found != num_classes:
        # The head: tensors whose shape depends on the number of classes.
        keys = [key for key, shape in variant.shapes.items() if "num_classes" in shape]
        head = {claim.paddle for key in keys for claim in table.claims(key)}
        state = model.state_dict()
        fresh = {key: held(value.numpy()) for key, value in state.items() if key in head}
        checkpoint = replace(checkpoint, tensors={**checkpoint.tensors, **fresh})
        has = f"a head for {found} classes" if found else "no head"
        has += ", which are others" if found == num_classes else ""
        _LOG.info(f"{path} has {has}; it is replaced by a random one for {num_classes} classes")
    load_paddle(model, checkpoint, table)


def decays(key: str, value: Any) -> bool:
    """Tell whether a parameter is decayed: weights of linear layers and convolutions are.

    Norms, biases, position embeddings and tables of relative positions are not.
    """
    return key.rpartition(".")[2] == "weight" and len(value.shape) > 1


def make_optimizer(model: Any, settings: Settings) -> Any:
    """Make AdamW for a model; the learning rate is set before every step."""
    import paddle

    decayed = {value.name for key, value in model.named_parameters() if decays(key, value)}
    clip = None
    if settings.clip_grad is not None:
        clip = paddle.nn.ClipGradByGlobalNorm(settings.clip_grad)
    return paddle.optimizer.AdamW(
        learning_rate=settings.lr,
        parameters=model.parameters(),
        weight_decay=settings.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=clip,
    )


def optimizer_state(optimizer: Any, model: Any) -> dict[str, Any]:
    """Return the state of the optimizer, as arrays by "moment1_0.blocks.0.fc.weight".

    Paddle names it by names of parameters that are others in the next process.
    """
    keys = {value.name: key for key, value in model.named_parameters()}
    state = {}
    for name, value in optimizer.state_dict().items():
        if name in ("LR_Scheduler", "master_weights"):
            continue
        parameter = next((own for own in keys if name.startswith(f"{own}_")), None)
        if parameter is None:
            raise RunError(
                f"the optimizer of this Paddle keeps {name}, which belongs to no parameter."
            )
        state[f"{name[len(parameter) + 1 :]}.{keys[parameter]}"] = value.numpy()
    return state


def restore_optimizer(optimizer: Any, model: Any, state: Mapping[str, Any]) -> None:
    """Restore the state of `optimizer_state` in an optimizer that has made no step.

    Raises:
        RunError: It is of another model.
    """
    import paddle

    parameters = dict(model.named_parameters())
    names = {key: value.name for key, value in parameters.items()}
    renamed = {}
    for name, value in state.items():
        slot, _, key = name.partition(".")
        if key not in names:
            raise RunError(
                f"the state of the optimizer holds {name}, but the model has no {key!r}."
            )
        if value.size != 1 and list(value.shape) != list(parameters[key].shape):
            raise RunError(
                f"the state of the optimizer holds {name} in the shape of another model."
            )
        renamed[f"{names[key]}_{slot}"] = paddle.to_tensor(value)
    if renamed:
        optimizer.set_state_dict(renamed)
