"""Families whose PyTorch models are timm's: the smallest variant starts as theirs, and learns."""

from dataclasses import fields, replace
from importlib import import_module

import pytest

from vitconvert import models
from vitconvert.tables import reading
from vitconvert.tables.variant import Variant

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

FAMILIES = [family for family in reading.families() if reading.load_table(family).torch]
RATES = {"drop_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.3}


def smallest(family: str) -> Variant:
    """Give the variant of the fewest parameters."""
    table = reading.load_table(family)
    return min(table.variants.values(), key=table.parameters)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns(family: str) -> None:
    """A step of training reaches each of them, with everything dropped that can be."""
    import paddle

    paddle.seed(0)
    module = import_module(f"vitconvert.models_paddle.{family}")
    known = {one.name for one in fields(module.Config)}
    assert known > {"drop_rate", "drop_path_rate", "in_chans", "num_classes"}
    variant = smallest(family)
    config = {**variant.config, **{key: rate for key, rate in RATES.items() if key in known}}
    model = models.build("paddle", replace(variant, config=config), 7)
    model.train()
    logits = model(paddle.randn([3, 3, *variant.input_size]))
    logits.square().mean().backward()

    assert list(logits.shape) == [3, 7]
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_initialisation_is_that_of_timm(family: str) -> None:
    """By mean and spread: of n samples they are within five of their own deviations."""
    import paddle
    import torch

    torch.manual_seed(0)
    paddle.seed(0)
    variant = smallest(family)
    theirs = models.build("torch", variant, 100).state_dict()
    ours = models.build("paddle", variant, 100).state_dict()

    for key, value in theirs.items():
        mean, std, n = float(value.mean()), float(value.std(correction=0)), value.numel()
        found = ours[key].numpy()
        assert found.mean() == pytest.approx(mean, abs=5 * std * (2 / n) ** 0.5 + 1e-6), key
        assert found.std() == pytest.approx(std, rel=5 / n**0.5, abs=1e-6), key
