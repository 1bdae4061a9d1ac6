"""Gradients by every parameter and by the input, and one step of norms in training mode."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ParityError
from ..running.side import AnySide
from ..tables.kinds import TensorRule
from ..tables.table import Table
from ._inputs import noise, spell_shape
from ._record import LiveCall, Paired, as_in_torch, watched
from ._trace import TRAINING, Writer
from ._values import named_parts


def differentiate(
    side: AnySide,
    model: Any,
    paired: list[Paired],
    table: Table,
    sizes: Mapping[str, int],
    images: np.ndarray,
    writer: Writer,
) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    """Write the gradients of one loss: all outputs times seeded noise, summed up.

    First as for inference. Then, if the model has norms with running statistics, once more with
    those in training mode, which also moves their statistics by one step.

    Returns:
        PyTorch key, or "input" -> array, without the gradients that do not exist. And for each
        such norm the arrays of its statistics, and the number of values of a channel that one step
        saw.
    """
    with side.no_grad():
        outputs = floating(side, model(side.put(images)))
    if not outputs:
        raise ParityError("--backward: the model gives no floating tensor to differentiate.")
    shapes = [tuple(one.shape) for one in outputs]
    # The same for the same values in another shape.
    flat = [(shape, (int(np.prod(shape, dtype=np.int64)),)) for shape in shapes]
    directions = [
        noise(f"direction:{spell_shape(size)}", size).astype(images.dtype).reshape(shape)
        for shape, size in flat
    ]
    names = {  # own key -> PyTorch key, and what becomes of the tensor
        own: (key, rule) for one in paired for key, own, rule in one.tensors(side.name)
    }
    gradients = dict[str, int]()

    def write(prefix: str) -> None:
        for own, array in _gradients(side, model, images, directions).items():
            key, rule = names.get(own, (own, None))
            alone = side.name == "paddle" and table.ignored(own, "paddle") is not None
            if array is not None and not alone:
                if rule is not None:
                    array = as_in_torch(array, rule, side.name, sizes, own)
                gradients[prefix + key] = writer.add(array)

    write("")
    norms = [one for one in paired if any(rule.buffer for rule in one.kind.tensors)]
    if not norms:
        return gradients, {}
    seen: dict[str, int] = {}

    def around(call: LiveCall) -> Any:
        batch, _channels, *space = call.args[0].shape
        seen[call.layer] = int(batch * np.prod(space, dtype=np.int64))
        return call.make()

    before = [_statistics(side, one) for one in norms]
    for one in norms:
        one.layer.train()
    with watched([(one.name, one.layer) for one in norms], around):
        write(TRAINING)
    training = {}
    for one, old in zip(norms, before, strict=True):
        one.layer.eval()
        arrays = {}
        for rule, (tensor, values) in old.items():
            array = as_in_torch(side.array(tensor), rule, side.name, sizes, one.own)
            arrays[rule.leaf] = writer.add(array)
            side.set(tensor, values)  # as before
        training[one.name] = {"values": seen[one.name], "arrays": arrays}
    return gradients, training


def _gradients(
    side: AnySide, model: Any, images: np.ndarray, directions: list[np.ndarray]
) -> dict[str, np.ndarray | None]:
    """Differentiate sum(output * direction) of all outputs by parameters and input."""
    x = side.put_trained(images)
    trained = {"input": x, **side.parameters(model)}
    pairs = zip(floating(side, model(x)), directions, strict=True)
    loss = sum((output * side.put(direction)).sum() for output, direction in pairs)
    made = zip(trained, side.grad(loss, list(trained.values())), strict=True)
    return side.gradients({name: None if one is None else side.array(one) for name, one in made})


def floating(side: AnySide, output: Any) -> list[Any]:
    """List the floating tensors among what a model gives, in order."""
    tensors = (part for _, part in named_parts(output) if side.is_tensor(part))
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def _statistics(side: AnySide, norm: Paired) -> dict[TensorRule, tuple[Any, np.ndarray]]:
    """Return the running statistics of a norm by their rule: the live tensor, and its values."""
    state = side.state_of(norm.layer)
    return {
        rule: (state[own], side.array(state[own]).copy())
        for rule in norm.kind.tensors
        if rule.buffer and (own := rule.name_on(side.name))
    }
