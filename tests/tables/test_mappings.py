"""Properties of every table, checked against the live models of every variant."""

import tomllib
from typing import Any

import pytest

from conftest import Make, arrays, every_variant
from either import on_each_side
from vitconvert import models
from vitconvert.checkpoints import open_checkpoint
from vitconvert.commands import shapes
from vitconvert.running.side import find_class, is_class
from vitconvert.sides import Side
from vitconvert.tables import reading
from vitconvert.tables.identify import identify, twins
from vitconvert.tables.plan import make_plan

FAMILIES = reading.families()


def build(framework: Side, name: str) -> Any:
    variant = reading.variants()[name]
    return models.build(framework, variant, variant.num_classes)


@pytest.mark.torch
@pytest.mark.parametrize(
    "family",
    [
        # To build hundreds of models takes minutes.
        pytest.param(f, marks=[pytest.mark.slow] * bool(reading.load_table(f).torch))
        for f in FAMILIES
    ],
)
def test_kept_shapes_are_those_of_the_live_models(family: str) -> None:
    """mappings/shapes/ holds what `make shapes` would write now."""
    kept = reading.SHIPPED / "shapes" / f"{family}.toml"

    assert kept.read_text() == shapes.render(reading.load_table(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_shapes_are_stored_twice(family: str) -> None:
    """A variant with the shapes of another says so."""
    file = reading.SHIPPED / "shapes" / f"{family}.toml"
    stored = [
        list(shapes.items())
        for shapes in tomllib.loads(file.read_text()).values()
        if "same_as" not in shapes
    ]

    assert [shapes for number, shapes in enumerate(stored) if shapes in stored[:number]] == []


@pytest.mark.parametrize("name", sorted(reading.variants()))
def test_every_key_is_claimed_once(name: str) -> None:
    """Each key of the torch model matches exactly one row or one ignore, not both."""
    variant = reading.variants()[name]
    table = reading.load_table(variant.family)
    assert variant.shapes

    for key in variant.shapes:
        assert len(table.claims(key)) + (table.ignored(key) is not None) == 1, key


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_claims_something(family: str) -> None:
    """A row with tensors that no variant has is dead."""
    table = reading.load_table(family)
    keys = {key for variant in table.variants.values() for key in variant.shapes}
    used = {claim.row.number for key in keys for claim in table.claims(key)}

    assert [r.torch for r in table.rows if r.kind.tensors and r.number not in used] == []


@pytest.mark.paddle
@pytest.mark.parametrize("name", every_variant())
def test_every_paddle_tensor_is_filled_once(name: str, plain: Make) -> None:
    """The targets of a plan are the live Paddle model's state dict, names and shapes."""
    table, _variant = reading.find_variant(name)
    plan = make_plan(open_checkpoint(plain(name)), table)
    targets = [(key, step.target_shape) for _source, key, step in plan.kept()]

    own = {key: tuple(value.shape) for key, value in build("paddle", name).state_dict().items()}
    assert len(targets) == len(dict(targets))
    assert dict(targets) == own


@on_each_side
@pytest.mark.parametrize("name", every_variant())
def test_kinds_are_the_exact_classes(name: str, framework: Side) -> None:
    """Every layer with tensors has one row, whose kind names its very class; timm's are derived."""
    model = build(framework, name)
    layers = dict(model.named_modules() if framework == "torch" else model.named_sublayers())
    table, _variant = reading.find_variant(name)
    paired = table.layers(framework, layers)
    for own, layer in layers.items():
        held = {**layer._parameters, **layer._buffers}
        names = [f"{own}.{leaf}".lstrip(".") for leaf, tensor in held.items() if tensor is not None]
        has_tensors = not all(any(row.pair(framework, n) for row in table.rows) for n in names)
        rows = [row for row in table.rows if row.pair(framework, own)]
        assert len(rows) <= 1, own
        if has_tensors:
            assert own in paired, own
            assert paired[own][2].tensors, own
    for own, (_torch_name, _paddle_name, kind) in paired.items():
        nothing = is_class(layers[own], [f"{framework}.nn.Identity"])
        if kind.torch and not (table.torch and nothing):
            classes = kind.classes_on(framework)
            derived = tuple(one for one in map(find_class, classes) if one is not None)
            is_derived = table.torch and framework == "torch" and isinstance(layers[own], derived)
            assert is_derived or is_class(layers[own], classes), own


@pytest.mark.parametrize("name", every_variant())
def test_conversion_reverses_bit_for_bit(name: str, plain: Make, converted: Make) -> None:
    """Undoing every step of the plan on the Paddle file gives the PyTorch file back."""
    table, _variant = reading.find_variant(name)
    plan = make_plan(open_checkpoint(plain(name)), table)
    before, after = arrays(plain(name)), arrays(converted(name))

    assert len(after) == sum(1 for _ in plan.kept())
    for source, target, step in plan.kept():
        back = after[target].T if step.operation == "transpose" else after[target]
        assert back.tobytes() == before[source].tobytes(), target


@pytest.mark.parametrize("name", every_variant())
def test_converted_file_is_recognised(name: str, converted: Make) -> None:
    """A converted file is known as the Paddle side of its variant and of those of its shapes."""
    table, variant = reading.find_variant(name)

    found = identify(open_checkpoint(converted(name)).shapes)

    names = {name, *twins(variant, table)}
    assert {(match.variant.name, side) for match, side in found} == {(n, "paddle") for n in names}


@pytest.mark.parametrize("family", FAMILIES)
def test_published_figures_name_their_source(family: str) -> None:
    """A figure without a source is a rumour; without crop and filter it cannot be had again."""
    fields = {"crop_pct", "crop_mode", "interpolation", "source"}
    table = reading.load_table(family)
    if not table.torch:  # timm lists how images are preprocessed alone
        fields |= {"top1", "params_millions"}
    for variant in table.variants.values():
        for published in variant.published:
            assert fields <= published.keys(), variant.name
            assert published["crop_mode"] in ("center", "squash")
            millions = table.parameters(variant) / 1e6
            said = published.get("params_millions", millions)
            assert said == pytest.approx(millions, abs=0.6)


def test_square_linear_layers_of_shunted_b() -> None:
    """128 of 197 are square: no shape check would see them untransposed."""
    table, variant = reading.find_variant("shunted_b")
    linear = [
        variant.shapes[key]
        for key in variant.shapes
        for claim in table.claims(key)
        if claim.rule.axes
    ]

    assert len(linear) == 197
    assert sum(1 for shape in linear if shape[0] == shape[1]) == 128
