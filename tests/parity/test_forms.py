"""A layer is of a kind if it computes what a class of the kind does, on its own inputs."""

import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from conftest import TOOLS, write_paddle
from tracing import run_here
from vitconvert import Pair, ParityError, Report, TableError, check_parity
from vitconvert.apps.proposal import propose_table
from vitconvert.cli import cli
from vitconvert.parity import find_forms
from vitconvert.parity._forms import Form, describe_forms
from vitconvert.running.setup import Setup, Subject
from vitconvert.running.side import make_side
from vitconvert.sides import Side
from vitconvert.tables import reading

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

MAPS, TOKENS = (2, 8, 3, 5), (2, 7, 8)  # shapes of what a layer is given


@pytest.fixture(autouse=True)
def among_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules of tests/tools be imported."""
    monkeypatch.chdir(TOOLS)
    monkeypatch.syspath_prepend(TOOLS)


def form_of(framework: Side, layer: Any, shape: tuple[int, ...], calls: int = 1) -> Form | None:
    """Find the form of a layer, filled with noise, that is called on noise."""
    side = make_side(Setup(framework, Subject("a:b"), device="cpu"))
    noise = np.random.default_rng(0)
    side.cast(layer, "float64")
    layer.eval()
    with side.floating("float64"), side.no_grad():
        for tensor in side.state_of(layer).values():
            if side.array(tensor).dtype == np.float64:
                side.set(tensor, noise.uniform(0.5, 1.5, tuple(tensor.shape)))

        def run() -> None:
            for _ in range(calls):
                layer(side.put(noise.standard_normal(shape) * 0.01))

        kinds = reading.read_kinds().values()
        return find_forms(side, [(layer, kinds)], run).get(id(layer))


def spelled(form: Form | None) -> str:
    return describe_forms([form])[0].spell() if form else ""


TORCH: list[tuple[Callable[[Any], Any], tuple[int, ...], str]] = [
    (lambda t: t.Norm(8), TOKENS, "Norm computes what torch.nn.LayerNorm does"),
    (
        lambda t: t.ChannelNorm(8),
        MAPS,
        "ChannelNorm computes what torch.nn.LayerNorm does over the channels of NCHW",
    ),
    (lambda t: t.GroupNorm1(8), MAPS, "GroupNorm1 computes what torch.nn.GroupNorm does"),
    (
        lambda t: t.NormAct(8, t.nn.ReLU(inplace=True)),
        MAPS,
        "NormAct computes what torch.nn.BatchNorm2d does, then drop and act",
    ),
    (
        lambda t: t.ChannelNormAct(8),
        MAPS,
        "ChannelNormAct computes what torch.nn.LayerNorm does over the channels of NCHW, then act",
    ),
    (lambda t: t.CastLinear(8, 6), TOKENS, "CastLinear computes what torch.nn.Linear does"),
    (lambda t: t.WrittenOut(8), TOKENS, "WrittenOut computes what torch.nn.LayerNorm does"),
    (
        lambda t: t.WrittenOut(8, first=True),
        MAPS,
        "WrittenOut computes what torch.nn.LayerNorm does over the channels of NCHW",
    ),
    (lambda t: t.WrittenOut(8, off=1e-7), TOKENS, ""),
    (lambda t: t.WrittenOut(8, first=True, off=1e-7), MAPS, ""),
    (lambda t: t.ScaledLinear(8, 6), TOKENS, ""),
    (lambda t: t.nn.Linear(8, 6), TOKENS, ""),  # the very class needs no form
]


@pytest.mark.parametrize(("make", "shape", "what"), TORCH)
def test_form_of_a_torch_layer(make: Any, shape: tuple[int, ...], what: str) -> None:
    """Its base's function, its channels', with layers of its own behind it, or none of these."""
    twins = import_module("twin_classes_torch")

    expected = f"twin_classes_torch.{what}, checked on its own input (1 layer)" if what else ""
    assert spelled(form_of("torch", make(twins), shape)) == expected


PADDLE: list[tuple[Callable[[Any], Any], tuple[int, ...], str]] = [
    (
        lambda t: t.ChannelNorm(8, 1e-6),
        MAPS,
        "twin_classes_paddle.ChannelNorm computes what paddle.nn.LayerNorm does over the channels "
        "of NCHW",
    ),
    (
        lambda t: t.NormWithinStages(8),
        MAPS,
        "twin_classes_paddle.NormWithinStages computes what paddle.nn.BatchNorm2D does",
    ),
    (
        lambda t: t.nn.BatchNorm(8, act="relu"),
        MAPS,
        "paddle.nn.BatchNorm(act='relu') computes what paddle.nn.BatchNorm does, then relu",
    ),
    (lambda t: t.nn.BatchNorm(8), MAPS, ""),
    (lambda t: t.ScaledLinear(8, 6), TOKENS, ""),
]


@pytest.mark.parametrize(("make", "shape", "what"), PADDLE)
def test_form_of_a_paddle_layer(make: Any, shape: tuple[int, ...], what: str) -> None:
    """Although Paddle has the epsilons as float32."""
    layer = make(import_module("twin_classes_paddle"))
    epsilon = getattr(layer, "epsilon", None)
    expected = f"{what}, checked on its own input (1 layer)" if what else ""
    assert spelled(form_of("paddle", layer, shape)) == expected
    assert getattr(layer, "epsilon", None) == epsilon
    assert "forward" not in vars(layer)


def test_every_call_is_compared() -> None:
    """The first one alone would tell nothing of the second."""
    twins = import_module("twin_classes_torch")

    assert form_of("torch", twins.TwoWays(8, 8), TOKENS) is not None
    assert form_of("torch", twins.TwoWays(8, 8), TOKENS, calls=2) is None


def test_a_subclass_that_never_runs_counts_as_its_base() -> None:
    """What is written out does not: nothing says that it is a norm."""
    twins = import_module("twin_classes_torch")

    assert spelled(form_of("torch", twins.ScaledLinear(8, 8), TOKENS, calls=0)) == (
        "twin_classes_torch.ScaledLinear never runs and counts as torch.nn.Linear (1 layer)"
    )
    assert form_of("torch", twins.WrittenOut(8), TOKENS, calls=0) is None


# -- a pair of such models


TABLE = """
rows = [
  ["stem",   "stem",   "conv2d"],
  ["bn",     "bn",     "batch_norm"],
  ["ln",     "ln",     "layer_norm"],
  ["ln.act", "act",    "gelu"],
  ["gn",     "gn",     "group_norm"],
  ["norm",   "norm",   "layer_norm"],
  ["fc",     "fc",     "linear"],
  ["scaled", "scaled", "scaled_linear"],
  ["head",   "head",   "linear"],
]
[kinds]
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Compare both models, with weights of noise, in this process."""
    import torch

    monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    torch.manual_seed(0)
    state = import_module("twin_classes_torch").model().state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = torch.rand_like(value) + 0.5
    torch.save(state, tmp_path / "w.pth")
    names = {"bn.running_mean": "bn._mean", "bn.running_var": "bn._variance"}
    turned = ("fc.weight", "scaled.weight", "head.weight")
    paddle = {
        names.get(key, key): (value.T if key in turned else value).contiguous().numpy()
        for key, value in state.items()
        if "num_batches" not in key
    }
    write_paddle(tmp_path / "w.pdparams", paddle)

    def run(table: str, **options: Any) -> Report:
        kinds = (TOOLS / "twin_classes.toml").read_text().replace("\n[", "\n[kinds.")
        (tmp_path / "t.toml").write_text(table.replace("[kinds]", kinds))
        return check_parity(
            Pair("twin_classes_torch:model", "twin_classes_paddle:model", tmp_path / "t.toml"),
            torch_checkpoint=tmp_path / "w.pth",
            paddle_checkpoint=tmp_path / "w.pdparams",
            device="cpu",
            input_size=(16, 24),
            **options,
        )

    return run


def test_layers_are_compared_as_their_bases_are(check: Callable[..., Report]) -> None:
    """A norm before its activation, channels last on both sides; the report says all of it."""
    report = check(TABLE, backward=True)

    assert report.proved, report.claim
    layers = {layer.layer: layer for layer in report.layers}
    assert layers["ln"].shape == (2, 4, 6, 8)
    assert {f.own.rpartition(".")[2]: (f.channels, f.then) for f in report.forms} == {
        "NormAct": (False, ("drop", "act")),
        "ChannelNormAct": (True, ("act",)),
        "GroupNorm1": (False, ()),
        "Norm": (False, ()),
        "CastLinear": (False, ()),
        "BatchNorm(act='relu')": (False, ("relu",)),
    }
    assert report.to_dict()["forms"][0]["base"] == "torch.nn.BatchNorm2d"
    training = [g for g in report.gradients if g.key.startswith("training: bn.")]
    assert {g.key for g in training} == {"training: bn.weight", "training: bn.bias"}


def test_float32_alone_is_enough_to_pair_them(check: Callable[..., Report], tmp_path: Path) -> None:
    """They are looked at in float64 all the same."""
    from vitconvert.parity import dump

    check(TABLE)
    pair = Pair("twin_classes_torch:model", "twin_classes_paddle:model", tmp_path / "t.toml")
    made = dump(pair, "torch", tmp_path / "w.pth", tmp_path / "d", dtype="float32", device="cpu")

    assert [one.own.rpartition(".")[2] for one in made.facts.forms] == [
        *("NormAct", "ChannelNormAct", "GroupNorm1", "Norm", "CastLinear")
    ]
    assert list(made.runs) == ["float32"]


def test_a_layer_that_computes_something_else_is_refused(check: Callable[..., Report]) -> None:
    """With what it is, what was expected, and that the rows of others hold."""
    table = TABLE.replace('"scaled_linear"', '"linear"')

    with pytest.raises(ParityError) as caught:
        check(table)

    assert "does not fit" in str(caught.value)
    assert (
        "scaled: is a twin_classes_torch.ScaledLinear, kind 'linear' expects torch.nn.Linear; its "
        "own code computes something else."
    ) in str(caught.value)
    assert "CastLinear" not in str(caught.value)


def test_kinds_of_ones_own_become_part_of_the_table(tmp_path: Path) -> None:
    """Those that are used; then the table needs nothing else."""
    models = ["--torch-model", "twin_classes_torch:model"]
    models += ["--paddle-model", "twin_classes_paddle:model"]
    options = ["--kinds", "twin_classes.toml", "--input-size", "16x24"]
    out = tmp_path / "made.toml"

    done = CliRunner().invoke(cli, ["table", *models, *options, "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert "PROVED: both checkpoints compute the same function." in done.output
    assert "GroupNorm1 computes what torch.nn.GroupNorm does, checked on its own input" in (
        done.output
    )
    own = tomllib.loads((TOOLS / "twin_classes.toml").read_text())
    assert tomllib.loads(out.read_text())["kinds"] == {"scaled_linear": own["scaled_linear"]}
    rows = {row.torch: row.kind.name for row in reading.read_table(out).rows}
    assert rows["scaled"] == "scaled_linear"
    assert rows["bn"] == "batch_norm"
    assert rows["ln.act"] == "gelu"  # behind the norm on both sides


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[own]\ntorch = []", r"torch is \[\], expected a text or a list of texts"),
        ("[own]\nname = 1", "kind own: name is unknown"),
        ("own = 1", "own is 1, expected a kind: a table"),
        ("[own", "cannot be read as a table"),
    ],
)
def test_errors_in_a_file_of_kinds_name_it(text: str, message: str, tmp_path: Path) -> None:
    """Before any model is built."""
    (tmp_path / "my.toml").write_text(text)

    with pytest.raises(TableError, match=rf"(?s)my\.toml.*{message}"):
        propose_table("a:b", "c:d", kinds=tmp_path / "my.toml")
