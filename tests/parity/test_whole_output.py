"""The output of the whole model: what users see of it must be the same, masks and all."""

from pathlib import Path

import numpy as np
import pytest
from test_values import FC, LAST, USUAL, compared, folder

from conftest import known
from vitconvert.parity._arrange import ways
from vitconvert.parity._distance import apart, not_finite

__all__ = ["folder"]  # a fixture

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

INF = float("inf")


def masked(number: str, made: str = "x") -> tuple[str, str, str]:
    """Let the first four of eight numbers be masked in what the model gives."""
    return FC, USUAL, f"cat([x[:, :4] * 0 {number}, {made}[:, 4:]], 1)"


@pytest.fixture(autouse=True)
def concatenate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give both frameworks' functions one name."""
    import test_values as values

    monkeypatch.setattr(values, "TORCH", values.TORCH + "\ncat = torch.cat\n")
    monkeypatch.setattr(values, "PADDLE", values.PADDLE + "\ncat = paddle.concat\n")


@pytest.mark.parametrize("number", ["- 1e9", "- 3e38"])
def test_a_mask_hides_no_difference(number: str, folder: Path) -> None:
    """Beside a huge number all else would be nothing."""
    assert compared(folder, masked(number), masked(number)).proved

    report = compared(folder, masked(number), masked(number, "(x + 0.001)"))

    assert known(report.culprit).layer == "model output"
    assert known(report.culprit).verdict == "differs"


@pytest.mark.parametrize(
    ("torch", "paddle"),
    [
        pytest.param("x + float('inf')", "x + float('inf')", id="infinite"),
        pytest.param("x - float('inf')", "x - float('inf')", id="infinite below"),
        pytest.param("x * float('nan')", "x * float('nan')", id="NaN"),
        pytest.param("x[:0]", "x[:0]", id="no number"),
    ],
)
def test_what_holds_no_number_proves_nothing(torch: str, paddle: str, folder: Path) -> None:
    """Although both sides give the same."""
    report = compared(folder, (FC, USUAL, torch), (FC, USUAL, paddle))

    assert not report.proved
    assert known(report.culprit).layer == "model output"


MASK = """
m = tensor([[0.0] * 6 + [-float("inf")] * 6] * 12).to(x.dtype)
x = self.layer(x, m)
"""


def test_a_layer_may_be_given_a_mask_of_infinities(folder: Path) -> None:
    """In the same places; beside them all must agree."""
    code = "def forward(self, x, m): return F.softmax(self.fc(x) @ turn(x, 0, 2, 1) + m, -1) @ x"
    use = USUAL.replace("x = self.layer(x)", MASK.strip())

    assert compared(folder, (code, use), (code, use)).proved
    for wrong in (use.replace("* 6 +", "* 5 + [1.0] +"), use.replace('"inf"', '"nan"')):
        report = compared(folder, (code, use), (code, wrong))
        assert not report.proved
        assert known(report.culprit).layer == "model output"
        assert "gives to layer" in report.claim


def test_an_output_is_not_laid_into_other_axes(folder: Path) -> None:
    """[B, N, C] with the values of [B, C, N]: no axis would be what it says."""
    use = LAST + "x = self.layer(x)\n"  # [2, 4, 3, 8]
    tokens = FC, use, "turn(x.flatten(1, 2), 0, 2, 1)"

    assert compared(folder, tokens, (FC, use, "turn(x, 0, 3, 1, 2)")).proved
    report = compared(folder, tokens, (FC, use, "turn(x, 0, 3, 1, 2).reshape([2, 12, 8])"))

    assert "is float64 [2, 12, 8], the reference's is float64 [2, 8, 12]" in report.claim


def test_names_of_a_named_tuple_are_names(folder: Path) -> None:
    """Beside a dict it must call the same tensor the same, beside a tuple it is in order."""
    named = FC, USUAL, "Two(x, 2 * x)"

    assert compared(folder, named, (FC, USUAL, "(x, 2 * x)")).proved
    assert compared(folder, named, (FC, USUAL, "{'b': 2 * x, 'a': x}")).proved
    assert not compared(folder, named, (FC, USUAL, "{'b': x, 'a': 2 * x}")).proved


def test_an_output_may_be_float32_in_every_run(folder: Path) -> None:
    """On both sides; one alone is another function."""
    torch = FC, USUAL, "x.float()"

    assert compared(folder, torch, (FC, USUAL, "x.astype('float32')")).proved
    assert not compared(folder, torch, (FC, USUAL, "x")).proved


def test_a_keyword_may_be_called_as_the_others_are_together(folder: Path) -> None:
    """`args`, where the signature has *args."""
    code = "def forward(self, *args, **more):\n    return self.fc(args[0]) - more['args']"
    use = USUAL.replace("self.layer(x)", "self.layer(x, args=2 * x)")

    report = compared(folder, (code, use), (code, use))

    assert report.proved, report.claim


@pytest.mark.parametrize(
    ("truth", "other", "wrong", "broken"),
    [
        ([1.0, 2.0, -1e9, -1e9], [1.0, 2.0, -1e9, -1e9], False, False),
        ([1.0, 2.0, -1e9, -1e9], [1.0, 2.01, -1e9, -1e9], True, False),
        ([1.0, 2.0, -1e9, 3.0], [1.0, -1e9, -1e9, 3.0], True, False),
        ([1.0, 2.0, -INF, 3.0], [1.0, 2.0, -INF, 3.0], False, False),
        ([1.0, 2.0, -INF, 3.0], [1.0, 2.0, 3.0, 3.0], True, False),
        ([1.0, 2.0, 0.0, 3.0], [1.0, 2.0, -INF, 3.0], True, True),
        ([1.0, 2.0, INF, 3.0], [1.0, 2.0, INF, 3.0], True, True),
        # Two large numbers that are computed say how large rounding may be.
        ([1e9, 0.9e9, 1.0, 0.0], [1e9, 0.9e9, 1.0 + 1e-3, 0.0], False, False),
    ],
)
def test_a_mask_does_not_measure(
    truth: list[float], other: list[float], wrong: bool, broken: bool
) -> None:
    """Neither of a difference nor of what is finite."""
    found, made = np.array(truth), np.array(other)

    assert (apart(found, made).difference > 1e-10) is wrong
    assert bool(not_finite(made, found)) is broken


def test_axes_of_the_whole_may_be_merged_and_split_alone() -> None:
    """Neighbours, behind the batch."""
    assert ways((2, 8, 4, 4), (2, 8, 16), whole=True)
    assert ways((2, 8), (2, 8, 1, 1), whole=True)
    assert not ways((2, 8, 16), (2, 16, 8), whole=True)
    assert not ways((2, 16), (4, 8), whole=True)
