"""Models of the user's own are built as their code expects."""

import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from vitconvert import ModelError
from vitconvert.running.setup import Setup, Subject, call_factory, spell_fault
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


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def build():\n    return inner()\ndef inner():\n    return 1 / 0",
            r"^faulty_net:build raises ZeroDivisionError: division by zero \(.*_net.py, line 4\)",
        ),
        (
            "def build(:",
            r"^faulty_net:build raises SyntaxError: invalid syntax \(faulty_net.py, line 1",
        ),
        ("import no_such_module", "^faulty_net:build: No module named 'no_such_module'"),
    ],
)
def test_error_of_the_users_function_is_one_line_with_its_place(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a traceback through vitconvert's own code."""
    (tmp_path / "faulty_net.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "faulty_net", raising=False)

    with pytest.raises(ModelError, match=message):
        call_factory("faulty_net:build")


@pytest.mark.torch
def test_a_fault_is_placed_in_the_users_code_or_in_a_librarys(folder: Path) -> None:
    """Never in the framework's, which runs both."""
    import torch

    (folder / "faulty.py").write_text("def build():\n    return unknown\n")
    with pytest.raises(ModelError, match=r"'unknown' is not defined \(.*faulty\.py, line 2\)"):
        call_factory("faulty:build")
    with pytest.raises(TypeError) as library:
        textwrap.dedent(3)  # type: ignore[arg-type]
    assert "textwrap.py, line" in spell_fault(library.value)
    with pytest.raises(RuntimeError) as framework:
        torch.nn.Linear(2, 3)(torch.zeros(1, 4))
    assert "torch" not in spell_fault(framework.value)
