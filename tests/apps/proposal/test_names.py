"""A layer under several names has one row; a model of which nothing can be told is refused."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from vitconvert import VitconvertError
from vitconvert.apps.proposal import Proposal, propose_table

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

HEAD = """
import {library}
from {library} import nn

class Net(nn.{base}):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2{d}(3, 4, 4, 4)
        self.norm = nn.BatchNorm2{d}(4)
        self.act = nn.{act}()
        self.fc = nn.Linear(4, 4)
        {more}

    def forward(self, x):
        x = self.act(self.norm(self.conv(x))).mean((2, 3))
        return {result}

class Plain(nn.{base}):
    def forward(self, x):
        return 2 * x

def plain():
    return Plain()

def net():
    return Net()
"""
WORDS: dict[str, dict[str, str]] = {
    "torch": {"library": "torch", "d": "d", "base": "Module", "act": "SiLU"},
    "paddle": {"library": "paddle", "d": "D", "base": "Layer", "act": "Silu"},
}
Propose = Callable[..., Proposal]


@pytest.fixture
def propose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Propose:
    """Give a function that proposes a table: for either side what is built, and what is given."""
    monkeypatch.chdir(tmp_path)

    def run(
        torch: tuple[str, str], paddle: tuple[str, str] = ("", "x"), build: str = "net"
    ) -> Proposal:
        for side, (more, result) in {"torch": torch, "paddle": paddle}.items():
            code = HEAD.format(**WORDS[side], more=more, result=result)
            (tmp_path / f"one_{side}.py").write_text(code)
        return propose_table(f"one_torch:{build}", f"one_paddle:{build}", input_size=(8, 8))

    return run


TWICE = "self.again = self.fc; self.blocks = nn.{}([self.norm, self.fc])"


def test_another_name_of_a_layer_is_said_to_be_that(propose: Propose) -> None:
    """On either side; the row of its first name has its weights."""
    twice = "self.fc(self.again(x))"

    proposal = propose(
        (TWICE.format("ModuleList"), twice), ("self.last = self.fc", "self.last(self.fc(x))")
    )

    assert proposal.proved, proposal.text
    assert not proposal.undecided
    written = tomllib.loads(proposal.text)
    assert {key: why for key, why in written["ignore"].items() if "again" in key} == {
        "again.weight": "another name of fc.weight",
        "again.bias": "another name of fc.bias",
    }
    assert written["ignore"]["blocks.0.running_var"] == "another name of norm.running_var"
    assert written["paddle_only"] == {
        "last.weight": "another name of fc.weight",
        "last.bias": "another name of fc.bias",
    }


def test_what_cannot_be_compared_is_said_in_words(propose: Propose) -> None:
    """Each without a traceback: numbers that NumPy lacks, no tensors, tensors without shapes."""
    proposal = propose(("", "self.fc(x).to(torch.bfloat16)"), ("", "self.fc(x).astype('bfloat16')"))
    assert proposal.failure == "a layer takes or gives bfloat16, which cannot be compared."

    proposal = propose(("", "x"), build="plain")
    assert proposal.failure == "the PyTorch model has no tensors: there is nothing to convert."

    with pytest.raises(VitconvertError, match=r"one_torch:net returns a model whose fc.weight has"):
        propose(("self.fc = nn.LazyLinear(4)", "self.fc(x)"))
