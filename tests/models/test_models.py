"""Models are built with the head that was asked for, and filled only from a file that has it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, arrays, every_variant
from either import on_each_side, tensor
from vitconvert import ModelError, convert, create_model
from vitconvert.sides import Side
from vitconvert.tables import reading


def images(framework: Side) -> object:
    return tensor(framework, np.ones((1, 3, 64, 64), "f4"))


@on_each_side
@pytest.mark.parametrize(("num_classes", "shape"), [(None, [1, 10]), (3, [1, 3]), (0, [1, 512])])
def test_head_is_as_published_or_as_asked(
    framework: Side, num_classes: int | None, shape: list[int]
) -> None:
    """10 classes for CIFAR-10; none gives features."""
    model = create_model("litv2_cifar", framework, num_classes)

    assert list(model(images(framework)).shape) == shape
    assert not model.training


@on_each_side
def test_backbone_of_a_detector_gives_a_map_per_stage(framework: Side) -> None:
    """At strides 4, 8, 16 and 32; it has no head to be asked for."""
    maps = create_model("litv2_small_det", framework)(images(framework))

    assert [list(m.shape) for m in maps] == [[1, 96 * 2**i, 16 >> i, 16 >> i] for i in range(4)]
    with pytest.raises(ModelError, match="litv2_small_det is a backbone without a head"):
        create_model("litv2_small_det", framework, 10)


@on_each_side
def test_file_with_another_head_is_refused(framework: Side, plain: Make, tmp_path: Path) -> None:
    """Both numbers are said, and what to pass."""
    state = {k: v for k, v in arrays(plain("shiftvit_cifar")).items() if "head" not in k}
    save_file(state, tmp_path / "x.safetensors")
    file = tmp_path / "x.safetensors"
    if framework == "paddle":
        file = convert(file, tmp_path / "x.pdparams", "shiftvit", parity=False).path

    with pytest.raises(ModelError, match=r"no head, .* with a head for 10 classes\. Pass num_cl"):
        create_model("shiftvit_cifar", framework, checkpoint=file)
    model = create_model("shiftvit_cifar", framework, 0, checkpoint=file)
    assert list(model(images(framework)).shape) == [1, 768]


@pytest.mark.parametrize("wrong", [-1, 2.5, "10", True])
def test_number_of_classes_that_makes_no_sense_is_refused(wrong: Any) -> None:
    """Before any framework is imported."""
    with pytest.raises(ModelError, match="expected a number, 0 for no head"):
        create_model("shiftvit_cifar", num_classes=wrong)


@pytest.mark.torch
@pytest.mark.parametrize("name", every_variant())
def test_smallest_image_of_the_table_is_that_of_the_model(name: str) -> None:
    """One pixel less is refused by the model itself; nothing is computed, tensors have no data."""
    import torch

    table = reading.find_variant(name)[0]
    if table.fixed_size or table.torch:
        pytest.skip("its model takes images of one size, or is timm's, which refuses none")
    with torch.device("meta"):
        model = create_model(name, "torch")
        least = reading.variants()[name].smallest_image
        model(torch.zeros(1, 3, least, least))
        with pytest.raises(ValueError, match=rf"expected at least {least}x{least}\."):
            model(torch.zeros(1, 3, least, least - 1))
