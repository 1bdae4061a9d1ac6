"""Targets that name models: their names, as data, and what only their models store."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import arrays, write_paddle
from vitconvert import ConversionError, TableError, convert
from vitconvert.tables.border import find_names
from vitconvert.tables.expanding import expand
from vitconvert.tables.functions import COMPUTED
from vitconvert.tables.reading import families, find_variant, load_table, read_table
from vitconvert.tables.spelled import side_patterns

DATA = Path(__file__).parent.parent / "data" / "names"
MODELS = [
    (variant, target)
    for table in map(load_table, families())
    for target, names in table.targets.items()
    for variant in names.models
]
CLASSES = 1000  # of the models that the data is of


def weights(variant: str, num_classes: int = 7) -> dict[str, np.ndarray]:
    """Make noise for a variant, by PyTorch key."""
    found, rng = find_variant(variant)[1], np.random.default_rng(0)
    return {
        key: rng.standard_normal(found.resolve(shape, num_classes), "f4")
        for key, shape in found.shapes.items()
    }


@pytest.mark.parametrize(("variant", "target"), MODELS)
def test_a_target_has_the_names_and_shapes_of_its_models(variant: str, target: str) -> None:
    """Theirs were written down from their own state_dict()."""
    data = tomllib.loads((DATA / f"{target}.toml").read_text())
    table, found = find_variant(variant)
    names, problems = find_names(table, "paddle", target), list[str]()
    theirs = dict(expand(data, variant, problems))

    spelled = side_patterns(found, table, "paddle", names)

    made = {key: found.resolve(shape, CLASSES) for key, shape in spelled.items()}
    for key, function, of in list(names.computed_for(made)):
        made[key] = COMPUTED[function](made[of]).shape
    assert problems == []
    assert made == theirs


@pytest.mark.parametrize("variant", ["deit_tiny_distilled_patch16_224", "swin_s3_tiny_224"])
def test_forth_and_back_is_bit_for_bit(variant: str, tmp_path: Path) -> None:
    """Of a variant that they have, and of one that they have not."""
    family, state = find_variant(variant)[0].family, weights(variant)
    source, made, back = (
        tmp_path / name for name in ("a.safetensors", "b.pdparams", "c.safetensors")
    )
    save_file(state, source)
    convert(source, made, family, variant=variant, target="paddleclas", parity=False)

    convert(made, back, family, variant=variant, target="paddleclas", parity=False)

    returned = load_file(back)
    assert returned.keys() == state.keys()
    assert all(np.array_equal(returned[key], array) for key, array in state.items())


def test_position_indices_are_stored_and_wrong_ones_refused(tmp_path: Path) -> None:
    """A file whose index is another one is of another model."""
    source, made = tmp_path / "a.safetensors", tmp_path / "b.pdparams"
    save_file(weights("swin_tiny_patch4_window7_224"), source)
    convert(source, made, "swin", target="paddleclas", parity=False)
    state = arrays(made)
    index = state["layers.0.blocks.1.attn.relative_position_index"]

    assert (index.dtype.name, index.shape) == ("int64", (49, 49))
    assert index[0, 0] == 84  # in the middle of 13 x 13
    assert index[0, 48] == 0
    assert index[48, 0] == 168

    state["layers.0.blocks.1.attn.relative_position_index"] = index.T.copy()
    wrong = write_paddle(tmp_path / "wrong.pdparams", state)
    with pytest.raises(
        ConversionError, match=r"layers\.0\.blocks\.1\.attn\.relative_position_index: has other"
    ):
        convert(wrong, tmp_path / "c.safetensors", "swin", target="paddleclas", parity=False)


TABLE = """
rows = [["stem", "stem", "conv2d"], ["stage.{i}", "stage.{i}", "block"]]
[variants.small]
input_size = [32, 32]
config = {}
[SECTION.other]
rows = [["patch", "stem"]]
"""
SHAPES = '[small]\n"stem.weight" = [8, 3, 4, 4]\n"stem.bias" = [8]\n'


@pytest.mark.parametrize(
    ("section", "entry", "told"),
    [
        ("targets", 'models = { smal = "a:b" }', "no variant 'smal'. Did you mean 'small'?"),
        ("targets", 'models = { small = "a.b" }', "expected package.module:function"),
        ("targets", 'models = { small = "a b:c" }', "expected package.module:function"),
        ("targets", 'num_classes = "class num"', "expected the name of an argument"),
        ("targets", 'apart = ["stage"]', "apart: stage: no row describes a layer of that name"),
        ("targets", 'apart = ["stage.{i"]', "a placeholder is a name in braces"),
        ("dialects", 'models = { small = "a:b" }', "models: are for a target"),
        (
            "targets",
            'models = { small = "a:b" }\nfolds = { class_position = ["stem.bias", "stem.weight"] }',
            "a target that folds tensors cannot have any",
        ),
    ],
)
def test_a_wrong_entry_is_named_when_the_table_is_read(
    tmp_path: Path, section: str, entry: str, told: str
) -> None:
    """Before anything runs, and without a framework."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "own.toml").write_text(SHAPES)
    path = tmp_path / "own.toml"
    path.write_text(TABLE.replace("SECTION", section) + entry)

    with pytest.raises(TableError) as error:
        read_table(path)

    assert told in str(error.value)


def test_an_entry_of_apart_may_be_one_layer_of_a_row(tmp_path: Path) -> None:
    """Such as the first stage alone."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "own.toml").write_text(SHAPES)
    path = tmp_path / "own.toml"
    path.write_text(TABLE.replace("SECTION", "targets") + 'apart = ["stage.0"]')

    assert read_table(path).targets["other"].apart == ("stage.0",)
