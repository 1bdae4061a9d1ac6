"""A table is proposed from how two models run, and proved; what nothing decides is marked."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outlines import doubtful, match, outline, paired, unit

from conftest import TOOLS
from vitconvert import ParityError
from vitconvert.apps.proposal import Proposal, propose_table
from vitconvert.apps.proposal._compress import compress
from vitconvert.apps.proposal._match import match_outlines
from vitconvert.apps.proposal._outline import Leaf, Outline
from vitconvert.apps.proposal._rows import Proposed
from vitconvert.apps.proposal._table_text import write_table
from vitconvert.sides import Side
from vitconvert.tables import reading

Propose = Callable[[str, str], Proposal]


# -- the matching


def test_order_and_shapes_decide_not_names() -> None:
    """Here names point the wrong way."""
    found = match(
        [unit("a", "conv", 8, 3, 1, 1), unit("b", "conv", 4, 8, 1, 1), unit("c", "linear", 5, 4)],
        [unit("b", "conv", 8, 3, 1, 1), unit("c", "conv", 4, 8, 1, 1), unit("a", "linear", 5, 4)],
    )

    assert paired(found) == {"a": "b", "b": "c", "c": "a"}
    assert [row.kind for row in found.rows] == ["conv2d", "conv2d", "linear"]
    assert not doubtful(found)
    assert not found.problems


def test_branches_that_run_in_another_order_are_told_apart_by_shapes() -> None:
    """The shortcut of a residual block comes first in one model, last in the other."""
    main, around = ("conv", 8, 8, 3, 3), ("conv", 8, 8, 1, 1)
    found = match(
        [unit("shortcut", *around), unit("one", *main), unit("two", *main)],
        [unit("x", *main), unit("y", *main), unit("z", *around)],
    )

    assert paired(found) == {"shortcut": "z", "one": "x", "two": "y"}
    assert not doubtful(found)


def test_same_input_same_shapes_and_names_that_say_nothing_are_undecided() -> None:
    """Either pairing is a guess, and the row says so."""
    found = match(
        [unit("a", "linear", 4, 4, fed=[1]), unit("b", "linear", 4, 4, fed=[1])],
        [unit("x", "linear", 4, 4, fed=[7]), unit("y", "linear", 4, 4, fed=[7])],
    )

    assert paired(found) == {"a": "x", "b": "y"}
    assert doubtful(found) == {"a", "b"}
    assert "neither order nor names decide. Could be y as well" in found.rows[0].note
    assert found.groups[0].options == ((0, 1), (1, 0))


def test_names_decide_between_layers_of_the_same_input() -> None:
    """If they agree with the order; if not, they are followed, but it is said."""
    torch = [unit(f"to_{n}", "linear", 4, 4, fed=[1]) for n in ("q", "k", "v")]
    paddle = [unit(f"{n}_proj", "linear", 4, 4, fed=[1]) for n in ("q", "k", "v")]

    agreeing, other = match(torch, paddle), match(torch, paddle[::-1])

    expected = {f"to_{n}": f"{n}_proj" for n in "qkv"}
    assert paired(agreeing) == paired(other) == expected
    assert not doubtful(agreeing)
    assert doubtful(other) == set(expected)
    assert "names and order of execution disagree" in other.rows[0].note


def test_a_choice_moves_what_follows_along() -> None:
    """A convolution that goes elsewhere takes the one behind it with it."""
    shape = ("conv", 4, 4, 1, 1)

    def branches(a: str, b: str) -> list[dict[str, Any]]:
        return [
            unit(a, *shape, fed=[1], gives=[2]),
            unit(f"{a}_next", *shape, fed=[2], gives=[3]),
            unit(b, *shape, fed=[1], gives=[4]),
            unit(f"{b}_next", *shape, fed=[4], gives=[5]),
        ]

    outlines = outline("torch", *branches("a", "b")), outline("paddle", *branches("x", "y"))
    first = match_outlines(*outlines)
    other = match_outlines(*outlines, {first.groups[0].key: 1})

    assert paired(first) == {"a": "x", "a_next": "x_next", "b": "y", "b_next": "y_next"}
    assert paired(other) == {"a": "y", "a_next": "y_next", "b": "x", "b_next": "x_next"}


def test_layers_that_never_run_are_undecided() -> None:
    """However alike their names are."""
    layers = [unit("fc", "linear", 4, 4), unit("spare", "linear", 3, 3, calls=0)]

    found = match(layers, layers)

    assert paired(found) == {"fc": "fc", "spare": "spare"}
    assert doubtful(found) == {"spare"}
    assert not found.rows[-1].runs
    assert found.rows[-1].note.startswith("spare never runs, so that no run can show it")


def test_models_that_are_nested_otherwise_are_opened() -> None:
    """One has stages, the other a flat list; the blocks are paired all the same."""
    conv = ("conv", 4, 4, 3, 3)
    flat = [unit("blocks", "torch.nn.ModuleList", calls=0)]
    staged = [unit("stage", "paddle.nn.Sequential")]
    for i in range(2):
        flat.append(unit(f"blocks.{i}", "my.Block"))
        flat.append(unit(f"blocks.{i}.conv", *conv, inside=f"blocks.{i}"))
        staged.append(unit(f"stage.{i}", "their.Block", inside="stage"))
        staged.append(unit(f"stage.{i}.c", *conv, inside=f"stage.{i}"))

    found = match(flat, staged)

    assert [(r.torch, r.paddle, r.kind) for r in found.rows] == [
        ("blocks.0.conv", "stage.0.c", "conv2d"),
        ("blocks.0", "stage.0", "block"),
        ("blocks.1.conv", "stage.1.c", "conv2d"),
        ("blocks.1", "stage.1", "block"),
    ]


def test_layers_without_tensors_are_paired_where_both_run_them_as_often() -> None:
    """One that runs twice here and once there is left out, and told."""
    conv = ("conv", 4, 4, 1, 1)
    found = match(
        [unit("c", *conv), unit("act", "relu"), unit("d", *conv), unit("act2", "relu")],
        [unit("c", *conv), unit("relu1", "relu"), unit("d", *conv), unit("relu", "relu", calls=2)],
    )

    assert paired(found) == {"c": "c", "act": "relu1", "d": "d"}
    assert found.left_out == [("torch", "act2"), ("paddle", "relu")]


def test_classes_without_a_kind_are_told_and_their_tensors_taken_as_they_are() -> None:
    """They are paired by order and shapes, with a row for each tensor."""
    found = match([unit("n", "my.Norm", 4)], [unit("norm", "their.Norm", 4)])

    rows = {(row.torch, row.paddle, row.kind) for row in found.rows}
    assert rows == {("n.weight", "norm.weight", "param"), ("n", "norm", "block")}
    assert all("my.Norm and their.Norm are of no kind" in row.note for row in found.rows)


def test_bare_tensors_are_paired_by_shape_and_name() -> None:
    """A shape of its own decides, then a name; else it is a guess."""

    def model(side: Side, *names: str) -> Outline:
        shapes = [(1, 1, 8), (1, 5, 8), (8,), (8,), (3,), (3,)]
        leaves = [Leaf(name, shape) for name, shape in zip(names, shapes, strict=True)]
        return outline(side, bare=leaves)

    found = match_outlines(
        model("torch", "cls", "pos", "gamma_1", "gamma_2", "a", "b"),
        model("paddle", "token", "table", "gamma_1", "gamma_2", "x", "y"),
    )

    expected = {"cls": "token", "pos": "table", "a": "x", "b": "y"}
    assert paired(found) == expected | {"gamma_1": "gamma_1", "gamma_2": "gamma_2"}
    assert doubtful(found) == {"a", "b"}


def test_tensors_without_a_counterpart_are_ignored_for_a_reason_or_told() -> None:
    """A table that was computed needs none; a trained tensor, or one of Paddle's, does."""
    leaves = [Leaf("mask", (5, 5), computed=True), Leaf("scale", (2,))]
    found = match_outlines(outline("torch", bare=leaves), outline("paddle", bare=[Leaf("w", (9,))]))

    assert list(found.ignore) == ["mask"]
    torch, paddle = map(str, found.problems)
    assert torch == "PyTorch scale [2], of a.Model"
    assert paddle == "Paddle w [9], of a.Model"


# -- placeholders


def rows_of(*pairs: tuple[str, str], kind: str = "conv2d") -> list[Proposed]:
    return [Proposed(torch, paddle, kind) for torch, paddle in pairs]


def compressed(rows: list[Proposed], *others: str) -> list[tuple[str, str]]:
    torch, paddle = ([getattr(row, side) for row in rows] for side in ("torch", "paddle"))
    return [(r.torch, r.paddle) for r in compress(rows, [*torch, *others], [*paddle, *others])]


def test_repeated_layers_become_one_row() -> None:
    """Of which the order is that of the first; conv1 and conv2 stay two."""
    places = [(i, j) for i in (1, 2) for j in (0, 1)]
    pairs = [(f"layer{i}.{j}.conv{n}", f"stage{i}.{j}.c{n}") for i, j in places for n in (1, 2)]

    assert compressed(rows_of(*pairs)) == [
        ("layer{i}.{j}.conv1", "stage{i}.{j}.c1"),
        ("layer{i}.{j}.conv2", "stage{i}.{j}.c2"),
    ]


def test_numbers_that_are_not_the_same_on_both_sides_stay() -> None:
    """There is no arithmetic in a table."""
    pairs = [(f"layers.{i}.{j}.fc", f"layer{i + 1}.{j}.fc") for i in (0, 1) for j in (0, 1)]

    assert compressed(rows_of(*pairs)) == [
        ("layers.0.{i}.fc", "layer1.{i}.fc"),
        ("layers.1.{i}.fc", "layer2.{i}.fc"),
    ]


def test_a_placeholder_claims_nothing_else() -> None:
    """Not a layer of another kind, nor one without a row."""
    rows = [*rows_of(("f.0", "f.0"), ("f.3", "f.3")), *rows_of(("f.1", "f.1"), kind="relu")]

    assert compressed(rows) == [("f.0", "f.0"), ("f.3", "f.3"), ("f.1", "f.1")]
    assert compressed(rows_of(("f.0", "f.0"), ("f.3", "f.3")), "f.9") == [
        ("f.0", "f.0"),
        ("f.3", "f.3"),
    ]


def test_text_is_a_table_with_marks(tmp_path: Path) -> None:
    """It reads back as the same rows, and says what is a guess."""
    rows = [Proposed("a.{i}", "x.{i}", "linear", "either way", undecided=True)]
    text = write_table(["made so"], rows, {"mask": "computed"}, ["torch relu"], ["w: none"])
    path = tmp_path / "x.toml"
    path.write_text(text)

    table = reading.read_table(path)

    assert [(r.torch, r.paddle, r.kind.name) for r in table.rows] == [("a.{i}", "x.{i}", "linear")]
    assert table.ignore == {"mask": "computed"}
    assert text.startswith("# made so\nrows = [\n  # torch ")
    assert "  # undecided: either way\n  [" in text


# -- both models, run


@pytest.fixture
def propose(monkeypatch: pytest.MonkeyPatch) -> Propose:
    monkeypatch.chdir(TOOLS)

    def run(torch: str, paddle: str) -> Proposal:
        return propose_table(torch, paddle, input_size=(64, 64))

    return run


@pytest.mark.torch
@pytest.mark.paddle
def test_table_for_a_model_of_paddle_vision_is_proved(propose: Propose, tmp_path: Path) -> None:
    """With a twin that is nested otherwise, called otherwise, and runs its shortcuts first."""
    proposal = propose("twin_resnet:torch_model", "twin_resnet:paddle_model")

    assert proposal.proved
    assert not proposal.undecided
    pairs = [(row.torch, row.paddle) for row in proposal.rows]
    assert pairs[0] == ("stem_conv", "conv1")
    assert ("stages.1.0.shortcut.bn", "layer2.0.downsample.1") in pairs
    assert ("stages.3.{i}.second", "layer4.{i}.conv2") in pairs
    assert "PROVED with weights of seeded noise: 55 outputs" in proposal.text
    path = tmp_path / "resnet.toml"
    path.write_text(proposal.text)
    assert [(row.torch, row.paddle) for row in reading.read_table(path).rows] == pairs


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("fault", ["torch_without_relu", "torch_with_early_stride"])
def test_models_that_differ_are_not_proved(fault: str, propose: Propose) -> None:
    """The tensors fit, the function is another; the table says so."""
    proposal = propose(f"twin_resnet:{fault}", "twin_resnet:paddle_model")

    assert not proposal.proved
    assert proposal.report is not None
    assert "# NOT PROVED: first wrong layer: stages." in proposal.text
    tomllib.loads(proposal.text)


@pytest.mark.torch
@pytest.mark.paddle
def test_runs_decide_what_nothing_else_does(propose: Propose) -> None:
    """Branches in another order, alike in shape; only what never runs stays undecided."""
    proposal = propose("twin_branches:torch_model", "twin_branches:paddle_model")

    assert proposal.proved
    pairs = {row.torch: row.paddle for row in proposal.rows}
    expected = {"a": "left", "a_norm": "left_bn", "b": "right", "b_norm": "right_bn"}
    assert expected.items() <= pairs.items()
    assert (pairs["p"], pairs["q"]) == ("z", "y")
    (told,) = proposal.undecided
    assert told.startswith("2 rows (spare | two, unused | one): spare never runs")
    assert "# Not compared, as neither model runs them: spare, unused." in proposal.text
    assert "The run proves this one" in proposal.text
    assert set(tomllib.loads(proposal.text)["ignore"]) == {"extra.weight", "extra.bias"}


@pytest.mark.torch
@pytest.mark.paddle
def test_blocks_that_do_not_hold_are_left_out(propose: Propose) -> None:
    """They carry no weights; what they are about is told, and a setting is for people to judge."""
    proposal = propose("twin_blocks:torch_model", "twin_blocks:paddle_model")

    assert proposal.proved
    pairs = {row.torch: (row.paddle, row.kind) for row in proposal.rows}
    assert pairs["1.norm.g"] == ("first.norm.scale", "param")
    assert pairs["2.norm"] == ("second.norm", "block")
    assert not {"1", "2"} & set(pairs)
    assert "#   1 | first: differs: what it gives differs" in proposal.text
    setting = "2 | second: settings: rate is 0.1 in torch, 0.2 in Paddle (left out)"
    assert proposal.undecided == (setting,)
    note = next(row.note for row in proposal.rows if row.torch == "1.norm.g")
    assert note.endswith("are of no kind; tensors are taken as they are. The run proves this one")


@pytest.mark.torch
@pytest.mark.paddle
def test_tensors_without_a_row_are_told_and_nothing_is_run(propose: Propose) -> None:
    """One weight here, three there: no table can say that."""
    proposal = propose("twin_blocks:torch_attention", "twin_blocks:paddle_attention")

    assert not proposal.proved
    assert proposal.report is None
    assert proposal.failure == "some tensors have no row."
    assert "# NOT PROVED, the models were not run: some tensors have no row.\n" in proposal.text
    told = (
        "PyTorch keeps in one tensor what Paddle keeps in 3: attn.in_proj_weight, attn.in_proj_bias"
    )
    assert any(told in line for line in proposal.undecided)
    assert [row.torch for row in proposal.rows] == ["stem", "attn.out_proj"]
    assert proposal.runs == 0


@pytest.mark.torch
@pytest.mark.paddle
def test_factory_that_is_not_there_is_told(propose: Propose) -> None:
    """In one line."""
    with pytest.raises(ParityError, match=r"twin_resnet has no nothing\."):
        propose("twin_resnet:nothing", "twin_resnet:paddle_model")


def is_cut_to_size(family: str) -> bool:
    """Tell whether the models of a family are timm's and take images of one size."""
    table = reading.load_table(family)
    return bool(table.torch and table.fixed_size)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("family", [one for one in reading.families() if not is_cut_to_size(one)])
def test_our_own_tables_are_found_again(
    family: str, monkeypatch: pytest.MonkeyPatch, propose: Propose
) -> None:
    """Every layer goes where our table has it, and it is proved."""
    monkeypatch.setenv("VITCONVERT_TEST_VARIANT", next(iter(reading.load_table(family).variants)))

    proposal = propose("own_variant:torch_model", "own_variant:paddle_model")

    assert proposal.proved
    assert not proposal.undecided
    assert all(row.torch == row.paddle for row in proposal.rows)
