"""Models of the user's own are built as their code expects."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from vitconvert.running.setup import Setup, Subject, call_factory
from vitconvert.running.side import make_side

NAMED = """
import paddle


def build():
    attributes = paddle.ParamAttr(name="conv1_weights")
    return paddle.nn.Conv2D(3, 4, 1, weight_attr=attributes, bias_attr=False)
"""

WITH_TORCHVISION = """
def build():
    import torchvision  # as timm does

    return torchvision.ops.boxes.nms
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.paddle
def test_a_model_with_named_parameters_is_built_again_and_again(folder: Path) -> None:
    (folder / "named_net.py").write_text(NAMED)
    side = make_side(Setup("paddle", Subject("named_net:build"), device="cpu"))
    first, second = (side.build("float32") for _ in range(2))
    assert [p.name for p in first.parameters()] == [p.name for p in second.parameters()]


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_a_model_may_import_torchvision_beside_a_cpu_build_of_torch(folder: Path) -> None:
    (folder / "vision_net.py").write_text(WITH_TORCHVISION)
    assert callable(call_factory("vision_net:build"))
