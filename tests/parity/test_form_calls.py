"""A layer whose function is known in parts is still run by its own code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import known
from tracing import compared_sources, noise
from vitconvert import ParityError, Report

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

MODEL = """
import {library}
from {library} import nn

class NormAct(nn.BatchNorm2{d}):
    calls = 0

    def __init__(self):
        super().__init__(4)
        self.act = nn.GELU()

    def forward(self, x):
        return self.act(super().forward(x))

class Net(nn.{base}):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2{d}(3, 4, 4, 4)
        self.norm = {norm}()
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return {result}

{more}
def net():
    return Net()
"""
OTHER = """
class Other(NormAct):
    def forward(self, x):
        {code}
"""
TABLE = """
rows = [["conv", "conv", "conv2d"], ["norm", "norm", "batch_norm"], ["head", "head", "linear"]]
"""
WORDS: dict[str, dict[str, str]] = {
    "torch": {"library": "torch", "d": "d", "base": "Module"},
    "paddle": {"library": "paddle", "d": "D", "base": "Layer"},
}
RESULT = "self.head(x.mean((2, 3)))"
Check = Callable[..., Report]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Give a function that compares two models: code of Paddle's norm, and what models give."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(code: str, result: str = RESULT) -> Report:
        made = {
            "torch": MODEL.format(**WORDS["torch"], norm="NormAct", result=RESULT, more=""),
            "paddle": MODEL.format(
                **WORDS["paddle"], norm="Other", result=result, more=OTHER.format(code=code)
            ),
        }
        rng = np.random.default_rng(0)
        shapes = {"conv.weight": (4, 3, 4, 4), "head.weight": (5, 4), "head.bias": (5,)}
        norm = ("weight", "bias", "running_mean", "running_var")
        shapes |= {"conv.bias": (4,)} | {f"norm.{leaf}": (4,) for leaf in norm}
        state = {k: rng.uniform(0.2, 1.2, shape).astype("f4") for k, shape in shapes.items()}
        names = {"norm.running_mean": "norm._mean", "norm.running_var": "norm._variance"}
        other = {names.get(k, k): a.T.copy() if a.ndim == 2 else a for k, a in state.items()}
        states = {"torch": state, "paddle": other}
        return compared_sources(tmp_path, made, states, TABLE, noise((2, 3, 8, 8)))  # type: ignore[arg-type]

    return run


def test_what_a_layer_keeps_for_others_is_kept(check: Check) -> None:
    """Its parts alone would not keep it."""
    code = "self.seen = x; return super().forward(x)"

    report = check(code, RESULT.replace("x.", "(x + 0 * self.norm.seen)."))

    assert report.proved, report.claim


@pytest.mark.parametrize(
    "code",
    [
        "self.calls += 1; return super().forward(x) * (2 if self.calls > 1 else 1)",
        "return super().forward(x) * (2 if x.dtype == paddle.float32 else 1)",
    ],
)
def test_a_layer_that_computes_it_in_some_calls_alone_is_refused(code: str, check: Check) -> None:
    """The first call shows how it computes; the rest must be the same."""
    with pytest.raises(ParityError, match="norm: the Paddle layer does not compute in every call"):
        check(code)


def test_what_is_off_in_float32_alone_is_seen(check: Check) -> None:
    """By less than a formula of its own would give."""
    report = check("return super().forward(x) * (1.00005 if x.dtype == paddle.float32 else 1)")

    assert not report.proved
    assert known(report.culprit).verdict == "imprecise"
