"""Which parameters of a live model its output depends on."""

from typing import Any

import numpy as np

from ...parity import floating
from ...running.side import AnySide


def uses(side: AnySide, model: Any, images: np.ndarray) -> dict[str, bool]:
    """Tell for each parameter whether the output depends on it.

    A parameter is suspected if no gradient comes to it from the output. As a model may stop
    gradients on purpose, all suspects are then changed at once: they are unused if not one bit of
    the output follows. The model is of no use afterwards, and must not have run before: what it
    has computed from its parameters it may keep.

    Args:
        side: The framework, with gradients switched on.
        model: A float64 model in evaluation mode.
        images: float64 [B, 3, H, W].

    Returns:
        Key -> whether it is used, without those of which nothing is known: all, if the model
        cannot be differentiated, or does not take one image.
    """
    parameters = side.parameters(model)
    try:
        outputs = floating(side, model(side.put(images)))
        loss = sum(output.sum() for output in outputs)
        gradients = side.grad(loss, list(parameters.values())) if outputs and parameters else ()
    # Whatever the user's model raises on these images; an operator without a derivative, too.
    except Exception:
        return {}
    pairs = zip(parameters, gradients, strict=False)
    used = {key: True for key, gradient in pairs if gradient is not None}
    suspects = [key for key in parameters if key not in used]
    if not used or not suspects:
        return used
    with side.no_grad():
        before = [side.array(one).copy() for one in floating(side, model(side.put(images)))]
        for key in suspects:
            array = side.array(parameters[key])
            side.set(parameters[key], np.asarray(array * -2 + 1, array.dtype))
        model.train()  # many a model forgets then what it has kept for inference
        model.eval()
        after = [side.array(one) for one in floating(side, model(side.put(images)))]
    both = zip(before, after, strict=True)
    same = all(np.array_equal(*pair) for pair in both)  # NaN says nothing: it is never equal
    return used | dict.fromkeys(suspects, False) if same else used
