"""Another release of Paddle, in an environment without PyTorch: `make test-compat`."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from conftest import Make
from vitconvert import check_parity, convert
from vitconvert.tables import reading

pytestmark = pytest.mark.compat


@pytest.mark.parametrize("family", reading.families())
def test_smallest_variant_of_each_family_is_proved(
    family: str, plain: Make, tmp_path: Path
) -> None:
    """With its gradients; PyTorch runs in the interpreter that TORCH_PYTHON names."""
    table = reading.load_table(family)
    variant = min(table.variants.values(), key=table.parameters).name
    done = convert(plain(variant), tmp_path / "x.pdparams", family, variant=variant, parity=False)

    report = check_parity(
        variant,
        torch_checkpoint=plain(variant),
        paddle_checkpoint=done.path,
        torch_python=os.environ["TORCH_PYTHON"],
        backward=True,
    )

    assert report.proved
    assert report.candidate["paddle"] == version("paddlepaddle")
