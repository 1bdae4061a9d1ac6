"""What a table leaves open is noted, tried where that can help, and said once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from outlines import doubtful, match, outline, paired, unit

from conftest import TOOLS
from vitconvert.apps.proposal._match import match_outlines
from vitconvert.apps.proposal._next import next_steps
from vitconvert.apps.proposal._noise import calibrate, fill
from vitconvert.apps.proposal._outline import Leaf, Outline, Unit
from vitconvert.apps.proposal._own_kinds import unused_kinds
from vitconvert.apps.proposal._rows import Group, Proposed, Unclaimed
from vitconvert.apps.proposal._search import alternatives
from vitconvert.apps.proposal._words import fold_problems, fold_rows, spell_names
from vitconvert.cli import cli
from vitconvert.parity import LayerResult
from vitconvert.sides import SIDES, Side
from vitconvert.tables.kinds import parse_kind

# -- which branch is which


def block(side: str, *, shows: bool) -> list[dict[str, Any]]:
    """Give a block whose last convolution and shortcut are alike; Paddle wraps both.

    `shows` is whether the shortcut is given the very tensor that the block is given.
    """
    conv, given, other = ("conv", 4, 4, 1, 1), (1,), (1,) if shows else (9,)
    if side == "torch":
        return [
            unit("b", "my.Block", fed=given),
            unit("b.third", *conv, fed=(5,), inside="b"),
            unit("b.around", "my.Sequential", fed=other, inside="b"),
            unit("b.around.0", *conv, fed=other, inside="b.around"),
        ]
    return [
        unit("b", "their.Block", fed=given),
        unit("b.around", "their.Conv", fed=(5,), inside="b"),  # the third: names mislead
        unit("b.around.conv", *conv, fed=(5,), inside="b.around"),
        unit("b.short", "their.Conv", fed=other, inside="b"),
        unit("b.short.conv", *conv, fed=other, inside="b.short"),
    ]


def test_what_the_block_is_given_tells_its_shortcut() -> None:
    """Whatever the names are."""
    found = match(block("torch", shows=True), block("paddle", shows=True))

    pairs = paired(found)
    assert (pairs["b.third"], pairs["b.around.0"]) == ("b.around.conv", "b.short.conv")
    assert not doubtful(found)


def test_layers_in_another_nesting_are_exchanged_if_chosen() -> None:
    """They have the same tensors: the proof decides."""
    both = (
        outline("torch", *block("torch", shows=False)),
        outline("paddle", *block("paddle", shows=False)),
    )
    first = match_outlines(*both)
    (group,) = first.groups
    other = match_outlines(*both, {group.key: 1})

    assert group.torch == ("b.third", "b.around.0")
    ways = [(paired(one)["b.third"], paired(one)["b.around.0"]) for one in (first, other)]
    assert ways[0] == ways[1][::-1]
    assert set(ways[0]) == {"b.around.conv", "b.short.conv"}


def test_layers_that_are_nested_alike_are_no_doubt() -> None:
    """One model wraps each of them, the other none: their order decides."""
    conv = ("conv", 4, 4, 1, 1)
    torch = [unit("b", "my.Block"), *(unit(f"b.c{i}", *conv, inside="b") for i in (1, 2))]
    paddle = [unit("b", "their.Block")]
    for i in (0, 1):
        paddle += [unit(f"b.w{i}", "their.Conv", inside="b")]
        paddle += [unit(f"b.w{i}.conv", *conv, inside=f"b.w{i}")]

    found = match(torch, paddle)

    assert (paired(found)["b.c1"], paired(found)["b.c2"]) == ("b.w0.conv", "b.w1.conv")
    assert not found.groups


@pytest.mark.parametrize("name", ["conv.0", "conv.", "a..b"])
def test_dots_in_the_name_of_a_layer_are_no_nesting(name: str) -> None:
    """Paddle's add_sublayer takes them."""
    conv = ("conv", 4, 4, 1, 1)
    found = match(
        [unit("b", "my.Block"), unit("b.c", *conv, inside="b")],
        [unit("x.0.", "their.Block"), unit(f"x.0..{name}", *conv, inside="x.0.")],
    )

    assert paired(found) == {"b.c": f"x.0..{name}", "b": "x.0."}


# -- what is tried


def result(layer: str, verdict: str = "same", kind: str = "linear") -> LayerResult:
    return LayerResult(layer, layer, kind, (), verdict)  # type: ignore[arg-type]


def tried(culprit: LayerResult, *others: str) -> int:
    """Count what is tried if a layer of two blocks is wrong; each has a doubt about a and b."""
    layers = [unit(name, "my.Block") for name in ("one", "two")]
    layers += [unit(f"{n}.{m}", "linear", 4, 4, inside=n) for n in ("one", "two") for m in "ab"]
    groups = [
        Group(name, (f"{name}.a", f"{name}.b"), ("x", "y"), ((0, 1), (1, 0)), "")
        for name in ("one", "two")
    ]
    results = [culprit, *map(result, others), result("output", kind="output")]
    first = next((one for one in results if one.verdict != "same"), None)
    report: Any = SimpleNamespace(layers=results, culprit=first)
    return len([*alternatives(report, groups, outline("torch", *layers))])


def test_only_what_can_mend_the_fault_is_tried() -> None:
    """Each layer alone was given the reference's input: a wrong pair shows in what runs it."""
    compared = "one.a", "one.b", "two"

    assert tried(result("one", "differs", "block"), *compared) == 1
    assert tried(result("one.a", "differs"), "one", "two") == 1
    assert tried(result("model output", "differs", "output"), "one", *compared) == 0
    assert tried(result("model output", "differs", "output"), "two") == 1  # it runs one.a itself
    assert tried(result("elsewhere", "differs"), "one", *compared) == 0
    assert tried(result("one.a", "settings"), "one", "two") == 0
    assert tried(result("one.a", "inherits"), "one", "two") == 3  # either, or both


# -- noise


def test_noise_keeps_scale_mean_and_sign() -> None:
    """Of what varies; a constant stays about where it is, and is never zero."""
    noise = np.random.Generator(np.random.Philox(key=3))
    small, odd = noise.standard_normal((64, 64)) * 0.02, noise.standard_normal((64, 64)) + 0.5
    positive = noise.uniform(1, 3, 200)

    assert fill(small, noise).std() == pytest.approx(0.02, rel=0.1)
    assert fill(odd * 0.1, noise).mean() == pytest.approx(0.05, abs=0.01)
    assert fill(odd * 100, noise).std() < 1  # 64 of them must not add up to something huge
    assert fill(small * 1e-6, noise).std() > 0.01  # nor vanish
    assert (fill(positive, noise) > 0).all()
    for start in (0.0, 1e-6, 1.0, -1.0):
        filled = fill(np.full(200, start), noise)
        assert 0.1 < np.abs(filled).mean() < 2
        assert start == 0 or (np.sign(filled) == np.sign(start)).all()


@pytest.mark.torch
def test_statistics_fit_what_a_norm_is_given() -> None:
    """Also of a channel that is the same everywhere: it is not made huge."""
    torch = pytest.importorskip("torch")
    side: Any = SimpleNamespace(
        is_tensor=torch.is_tensor,
        array=lambda tensor: tensor.numpy(),
        set=lambda tensor, array: tensor.copy_(torch.as_tensor(array)),
    )
    norm = torch.nn.BatchNorm2d(3, dtype=torch.float64).eval()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64) * 1e6 + 1e7
    x[:, 2] = 5.0

    with torch.no_grad():
        calibrate(side, norm, x, np.random.Generator(np.random.Philox(key=4)))
        out = norm(x)
        calibrate(side, torch.nn.ReLU(), x, np.random.default_rng(0))  # has none

    assert 0.5 < float(out[:, :2].std()) < 2
    assert float(out.abs().max()) < 10


# -- words


def unclaimed(side: Side, cls: str, *layers: str, known: bool) -> list[Unclaimed]:
    return [
        Unclaimed(side, layer, f"{layer}.{leaf}", (8,), cls, known, True)
        for layer in layers
        for leaf in ("weight", "bias")
    ]


def test_tensors_without_a_row_are_one_line_for_each_cause() -> None:
    """A class that no kind describes, with that of the other side that goes with it."""
    names = [f"blocks.{i}.norm{j}" for i in range(12) for j in (1, 2)]
    problems: Sequence[Unclaimed | str] = [
        *unclaimed("torch", "timm.LayerNorm", *names, "norm", known=False),
        *unclaimed("paddle", "paddle.nn.LayerNorm", *names, "n", known=True),
        Unclaimed("torch", "", "pos", (1, 24, 4, 4), "a.TNT", False, False),
        Unclaimed("paddle", "", "pos", (1, 16, 24), "b.TNT", False, False),
        "tensor 1 of a",
        "tensor 2 of a",
    ]

    layers, torch, paddle, text = fold_problems(problems)

    assert layers == (
        "25 PyTorch layers of timm.LayerNorm (blocks.{i}.norm{j}, norm): no row, as no kind "
        "describes this class; 25 Paddle layers of paddle.nn.LayerNorm with the same shapes are "
        "left over"
    )
    assert torch.endswith("Paddle has pos [1, 16, 24] left, of another shape")
    assert paddle.endswith("PyTorch has pos [1, 24, 4, 4] left, of another shape")
    assert text == "tensor 1 of a (2 such tensors)"


def test_tensors_that_one_model_joins_are_named_side_by_side() -> None:
    """Separate q, k and v, and PyTorch's own attention, which keeps one bare tensor for them."""
    separate = [f"enc.{i}.{name}" for i in range(2) for name in "qkv"]
    fused = [f"blocks.{i}.attn.qkv" for i in range(2)]

    def layers(side: Side, names: list[str], wide: int) -> Iterator[Unclaimed]:
        for name in names:
            for leaf, shape in (("weight", (8, wide)), ("bias", (wide,))):
                yield Unclaimed(side, name, f"{name}.{leaf}", shape, "Linear", True, True)

    problems = [*layers("torch", fused, 24), *layers("paddle", separate, 8)]
    bare = [
        Unclaimed("torch", "attn", f"attn.in_proj_{leaf}", shape, "Attention", False, False)
        for leaf, shape in (("weight", (24, 8)), ("bias", (24,)))
    ]
    other = [*bare, *layers("paddle", ["attn.q_proj", "attn.k_proj", "attn.v_proj"], 8)]

    begin, end = (
        "PyTorch keeps in one tensor what Paddle keeps in 3: ",
        "; a target of the table can join or split ",
    )
    assert fold_problems(problems) == [
        f"{begin}blocks.{{i}}.attn.qkv beside enc.{{i}}.q, enc.{{i}}.k, enc.{{i}}.v{end}them"
    ]
    assert fold_problems(other) == [
        f"{begin}attn.in_proj_weight, attn.in_proj_bias beside attn.q_proj, attn.k_proj, "
        f"attn.v_proj{end}them"
    ]
    (told,) = next_steps(problems, None, "p:b", {}, None)
    assert 'rows = [[["enc.{i}.q", "enc.{i}.k", "enc.{i}.v"], "OURS"]]' in told
    turned = [*layers("torch", separate, 8), *layers("paddle", fused, 24)]
    (told,) = next_steps(turned, None, "p:b", {}, None)
    assert 'rows = [["blocks.{i}.attn.qkv", ["OURS_1", "OURS_2", "OURS_3"]]]' in told
    more = [*problems, *layers("paddle", ["head"], 8)]
    assert not any("keeps in one tensor" in line for line in fold_problems(more[2:]))


def test_own_kind_that_describes_nothing_is_named() -> None:
    """A class that is misspelt, and a tensor that has no rule."""
    unit = Unit("s", "net.Scale", (Leaf("gamma", (8,)), Leaf("shift", (8,))))
    models = [Outline(side, "net:build", "1", (unit,)) for side in SIDES]
    rules = {"shift": {"paddle": "shift"}}
    entries: dict[str, dict[str, Any]] = {
        "misspelt": {"torch": "net.Scael", "paddle": "net.Scale"},
        "short": {"torch": "net.Scale", "paddle": "net.Scale", "tensors": rules},
    }
    kinds = {name: parse_kind(name, entry, []) for name, entry in entries.items()}

    misspelt, short = unused_kinds(kinds, kinds, models)

    assert misspelt.startswith(
        "kind misspelt: no layer of the PyTorch model is of net.Scael. Did you mean 'net.Scale'?"
    )
    assert short.startswith("kind short: it has no rule for gamma of net.Scale.")


def test_rows_are_folded_by_reason() -> None:
    """Names and figures in it are those of each row."""
    notes = [f"b.{i}.q and b.{i}.k are alike; could be x{i} as well" for i in range(3)]
    rows = [Proposed(f"b.{i}.q", f"x{i}", "linear", note, True) for i, note in enumerate(notes)]
    rows.append(Proposed("c", "d", "linear", "never runs", True))

    lines = fold_rows(rows, {f"b.{i}.{n}" for i in range(3) for n in "qk"} | {"x0", "x1", "x2"})

    pairs = "b.0.q | x0, b.1.q | x1, b.2.q | x2"
    assert lines == [f"3 rows ({pairs}): {notes[0]}", "c | d: never runs"]
    assert spell_names(["a.0.b1", "a.1.b1", "c"]) == ["a.{i}.b1", "c"]


# -- the command


def table(name: str, out: Path) -> tuple[int, str]:
    models = [f"--{side}-model=twin_open:{side}_{name}" for side in ("torch", "paddle")]
    done = CliRunner().invoke(cli, ["table", *models, "--input-size=64", f"--out={out}"])
    return done.exit_code, done.output


@pytest.mark.torch
@pytest.mark.paddle
def test_the_other_way_is_tried_and_the_next_command_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither nesting nor names tell the branches; names with dots are converted, too."""
    monkeypatch.chdir(TOOLS)

    code, text = table("branches", tmp_path / "x.toml")

    assert code == 0, text
    rows = (tmp_path / "x.toml").read_text()
    assert '"1.conv3",      "blocks.0..shortcut.conv.0"' in rows
    assert '"1.shortcut.1", "blocks.0..other._bn."' in rows
    assert "Both models ran 2 times" in text
    assert "x.toml holds 10 rows, 0 of them undecided." in " ".join(text.split())
    command = " ".join(text.replace("\\\n", "").partition("next: ")[2].split())
    assert f"vitconvert convert --table {tmp_path / 'x.toml'} --src" in command
    assert "--torch-model twin_open:torch_branches --paddle-model twin_open:paddle_b" in command


@pytest.mark.torch
@pytest.mark.paddle
def test_a_fault_that_no_pairing_mends_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes the numbers comes first, each setting once; then what to do."""
    monkeypatch.chdir(TOOLS)

    code, text = table("norms", tmp_path / "x.toml")

    assert code == 1
    assert "Both models ran once" in text
    assert "x.toml holds 8 rows, 3 of them undecided." in " ".join(text.split())
    epsilon = "all 3 layer_norm: eps is 1e-05 in Paddle, expected 1e-06."
    dropout = "all 3 dropout: p is 0.2 in Paddle, expected 0.1."
    assert text.count("NOT PROVED: first wrong layer: blocks.0.norm (layer_norm)") == 1
    assert 0 < text.index(epsilon) < text.index("`bn` gives the same numbers") < text.index(dropout)
    step = "next: set epsilon=1e-06 in all 3 layer_norm of twin_open:paddle_norms, and"
    assert text.index(dropout) < text.index(step) < text.index("next: set momentum=0.9")
