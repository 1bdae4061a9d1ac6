"""Families whose PyTorch models are timm's: every variant is the same function in Paddle.

Weights are seeded noise of the models' own size: norms, biases, layer scales and tables are away
from what they start with, and the logits stay of the size of 1.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conftest import paddle_in_float64
from vitconvert import models
from vitconvert.sides import SIDES, Side
from vitconvert.tables import reading
from vitconvert.tables.spelled import side_patterns
from vitconvert.tables.table import Table, sizes_of
from vitconvert.tables.variant import Variant

FAMILIES = [family for family in reading.families() if reading.load_table(family).torch]
CLASSES = 11  # of a head, where a variant is published without one
LARGE = 100e6  # parameters of a variant whose names and shapes alone are compared
LIMIT = 1e-10


def variants(is_large: bool) -> list[Any]:
    """Give the variants as parameters; the smallest of each family alone is not left out."""
    params = []
    for table in map(reading.load_table, FAMILIES):
        ordered = sorted(table.variants.values(), key=table.parameters)
        for variant in ordered:
            if (table.parameters(variant) > LARGE) == is_large:
                marks = [pytest.mark.families] * (variant is not ordered[0])
                params.append(pytest.param(table, variant, id=variant.name, marks=marks))
    return params


def noise(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """Perturb the weights that a model was built with: float64, seeded."""
    random, found = np.random.default_rng(0), {}
    for key, tensor in state.items():
        value = tensor.double().numpy()
        leaf, is_matrix = key.rpartition(".")[2], value.ndim >= 2
        if leaf == "gamma":
            value = random.uniform(0.2, 0.8, value.shape)
        elif not is_matrix:
            value = value + random.uniform(-0.3, 0.3, value.shape)
        elif leaf != "weight":  # tokens, tables
            value = random.normal(0, 0.3, value.shape)
        found[key] = np.asarray(value)
    return found


def in_paddle(
    table: Table, variant: Variant, state: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Turn PyTorch's weights into Paddle's, as the rows say."""
    found, sizes = dict[str, np.ndarray](), sizes_of(table, variant)
    for key, value in state.items():
        for claim in table.claims(key):
            if claim.paddle is not None:
                axes = claim.rule.axes
                turned = value if axes is None else axes.apply_array(value, sizes)
                found[claim.paddle] = np.ascontiguousarray(turned)
    return found


def compare(table: Table, variant: Variant) -> float:
    """Give the largest difference of logits in float64, relative to the largest."""
    import paddle
    import torch

    classes = variant.num_classes or CLASSES
    torch.manual_seed(0)
    reference = models.build("torch", variant, classes).double().eval()
    state = noise(reference.state_dict())
    reference.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    with paddle_in_float64():
        model = models.build("paddle", variant, classes)
    model.eval()
    theirs = in_paddle(table, variant, state)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == {
        key: value.shape for key, value in theirs.items()
    }
    model.set_state_dict(theirs)
    images = np.random.default_rng(1).standard_normal((1, 3, *variant.input_size))

    with torch.no_grad():
        expected = reference(torch.from_numpy(images)).numpy()
    with paddle.no_grad():
        found = model(paddle.to_tensor(images)).numpy()

    assert np.abs(expected).max() > 0.1
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(("table", "variant"), variants(is_large=False))
def test_variant_computes_the_same(table: Table, variant: Variant) -> None:
    """Logits of one image, within 1e-10 of the largest."""
    assert compare(table, variant) <= LIMIT


# What makes a variant small and leaves its parts as they are.
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 4}


def small_variants() -> list[Any]:
    """Give a small variant for every set of parts; they are those of the large ones as well."""
    seen, params = set[str](), []
    for table in [reading.load_table("vit")]:
        for variant in table.variants.values():
            parts = {k: v for k, v in variant.config.items() if k not in (*SMALL, "img_size")}
            side = 3 * int(parts.get("patch_size", 16))
            size = {"img_size": (side, 2 * side)}
            if repr(sorted(parts.items())) not in seen:
                seen.add(repr(sorted(parts.items())))
                small = replace(
                    variant,
                    config={**parts, **SMALL, **size},
                    torch_config={**SMALL, **size},
                    input_size=size["img_size"],
                )
                params.append(pytest.param(table, small, id=variant.name))
    return params


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(("table", "variant"), small_variants())
def test_every_set_of_parts_computes_the_same(table: Table, variant: Variant) -> None:
    """With two small blocks; the image is not square."""
    assert compare(table, variant) <= LIMIT


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(("table", "variant"), variants(is_large=True))
def test_large_variant_has_the_names_and_shapes_of_the_table(
    table: Table, variant: Variant
) -> None:
    """On both sides; no model is given memory."""
    import paddle
    import torch

    with torch.device("meta"):
        reference = models.build("torch", variant, CLASSES)
    with paddle.LazyGuard():
        model = models.build("paddle", variant, CLASSES)

    built: dict[Side, Any] = {"torch": reference, "paddle": model}
    for framework in SIDES:
        patterns = side_patterns(variant, table, framework)
        expected = {key: variant.resolve(shape, CLASSES) for key, shape in patterns.items()}
        own = {key: tuple(value.shape) for key, value in built[framework].state_dict().items()}
        assert {key: own[key] for key in expected} == expected
        alone = [key for key in own if key not in expected]
        assert [key for key in alone if table.ignored(key, framework) is None] == []
