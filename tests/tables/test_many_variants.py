"""Tables of hundreds of variants: files of their own, shapes by difference, found by a few keys."""

import time
from pathlib import Path

import pytest

from vitconvert import TableError
from vitconvert.sides import SIDES, Side
from vitconvert.tables import reading
from vitconvert.tables.expanding import Shapes, expand
from vitconvert.tables.identify import closest, fit, identify
from vitconvert.tables.spelled import side_patterns
from vitconvert.tables.variant import Shape, Variant

TABLE = """
title = "Net"
source = "somewhere"
rows = [["fc.{i}", "fc.{i}", "linear"]]
"""
VARIANT = "[net_a]\ninput_size = [32, 32]\nconfig = {}\n"


def write(folder: Path, table: str, variants: str, shapes: str) -> Path:
    """Write a family called net."""
    for name in ("variants", "shapes"):
        (folder / name).mkdir()
    (folder / "variants" / "net.toml").write_text(variants)
    (folder / "shapes" / "net.toml").write_text(shapes)
    (folder / "net.toml").write_text(table)
    return folder / "net.toml"


def test_variants_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    """They are those of the table, after its own."""
    own = TABLE + VARIANT.replace("[net_a]", "[variants.net_b]")
    shapes = '[net_b]\n"fc.{0..1}.bias" = [3]\n[net_a]\nsame_as = "net_b"\n"fc.1.bias" = [4]\n'

    table = reading.read_table(write(tmp_path, own, VARIANT, shapes))

    assert list(table.variants) == ["net_b", "net_a"]
    assert table.variants["net_a"].shapes == {"fc.0.bias": (3,), "fc.1.bias": (4,)}


def test_variant_in_both_files_is_refused(tmp_path: Path) -> None:
    """With both files and the name; and one that is wrong is refused as in the table."""
    path = write(tmp_path, TABLE + VARIANT.replace("[net", "[variants.net"), VARIANT, "")
    with pytest.raises(TableError, match=r"net\.toml and .*variants/net\.toml both have net_a\."):
        reading.read_table(path)
    path.write_text(TABLE)
    (tmp_path / "variants" / "net.toml").write_text(VARIANT + "input = 3\n")
    with pytest.raises(TableError, match="variant net_a: input is unknown"):
        reading.read_table(path)


def test_shapes_are_equal_however_they_are_written() -> None:
    """As a range or one by one, listed beside another variant's or not."""
    problems = list[str]()
    stored = {
        "a": {"x.{0..1}": [2], "y": [3]},
        "b": {"x.0": [2], "x.1": [2], "y": [3]},
        "c": {"same_as": "a", "y": [4]},
    }
    a, b, c = (expand(stored, name, problems) for name in stored)

    assert problems == []
    assert a == b != c
    assert (dict(c), len(c), c.most, c.few()) == (
        {"x.0": (2,), "x.1": (2,), "y": (4,)},
        3,
        3,
        {"x.0": (2,), "y": (4,)},
    )
    assert not Shapes({})


@pytest.mark.parametrize("side", SIDES)
def test_a_few_keys_tell_the_same_as_all(side: Side) -> None:
    """The closest variant is that of a full comparison with each, for files with faults as well."""
    table = reading.load_table("vit")
    for name in ("vit_small_patch16_224", "test_vit2", "deit3_small_patch16_384"):
        variant = table.variants[name]
        patterns = side_patterns(variant, table, side)
        shapes = {key: variant.resolve(shape, 5) for key, shape in patterns.items()}
        for change in range(4):
            if change:
                shapes |= dict.fromkeys(list(shapes)[change :: 5 * change], (7, change))
                shapes.pop(next(iter(shapes)))
            found = closest(shapes, table, side)
            every = [fit(shapes, one, table, side) for one in table.variants.values()]
            best = min(every, key=lambda one: one.distance)
            assert (found.variant.name, found.distance) == (best.variant.name, best.distance)


def of(variant: Variant) -> dict[str, Shape]:
    """Give the shapes of a file with a variant's weights."""
    return {key: variant.resolve(shape, 1000) for key, shape in variant.shapes.items()}


def test_hundreds_of_variants_cost_little() -> None:
    """Reading a family, and finding a file among all families; measured 0.06 s and 0.06 s."""
    reading.variants()
    reading._read_table.cache_clear()
    started = time.process_time()
    table = reading.load_table("vit")
    read = time.process_time()
    found = identify(of(table.variants["vit_tiny_patch16_224"]))
    done = time.process_time()

    assert next(match.variant.name for match, _side in found) == "vit_tiny_patch16_224"
    assert read - started < 0.5
    assert done - read < 1
