"""Other names of the shipped families: files as people have them are recognised and converted."""

import json
import struct
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import ROOT
from vitconvert import ConversionError, convert, open_checkpoint
from vitconvert.checkpoints import held
from vitconvert.planning import plan
from vitconvert.tables.border import find_names, to_theirs
from vitconvert.tables.borders import check_borders
from vitconvert.tables.expanding import expand
from vitconvert.tables.names import Names
from vitconvert.tables.reading import families, load_table
from vitconvert.tables.variant import Shape

VIT = load_table("vit")
NAMES = ROOT / "tests" / "data" / "dialects"
FILES: dict[str, Mapping[str, Any]] = {
    f"{path.stem}-{name}": entry
    for path in sorted(NAMES.glob("*.toml"))
    for name, entry in tomllib.loads(path.read_text()).items()
}
FIRST = {entry["dialect"]: name for name, entry in reversed(FILES.items())}
DIALECTS = list(VIT.dialects)
# A small variant that has what the dialect is about,
SMALL = {
    "huggingface_deit": "deit_tiny_distilled_patch16_224",
    "huggingface_dinov2": "vit_small_patch14_reg4_dinov2",
    "facebook_dinov2": "vit_small_patch14_reg4_dinov2",
    "huggingface_clip": "vit_xsmall_patch16_clip_224",
    "openai": "vit_xsmall_patch16_clip_224",
    "huggingface_siglip": "test_vit3",
    "big_vision": "test_vit3",
}


def shapes_of(entry: Mapping[str, Any]) -> dict[str, Shape]:
    """Read the names and shapes of a file."""
    problems: list[str] = []
    found = expand({"it": entry["tensors"]}, "it", problems)
    assert not problems
    return {key: tuple(int(n) for n in shape) for key, shape in found.items()}


def write(path: Path, shapes: Mapping[str, Shape]) -> Path:
    """Write a .safetensors of zeros that takes no room on the disk."""
    header, at = dict[str, Any](), 0
    for key, shape in shapes.items():
        end = at + 4 * int(np.prod(shape, dtype=np.int64))
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return path


@pytest.mark.parametrize("family", families())
def test_every_name_of_every_variant_comes_back(family: str) -> None:
    """Of a shipped table only what is used is checked; here all of it is."""
    assert list(check_borders(load_table(family))) == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_recognised_by_its_names(file: str, tmp_path: Path) -> None:
    """Dialect and variant are found, and every tensor of the file is placed or left out."""
    entry = FILES[file]
    shapes = shapes_of(entry)

    checkpoint, made = plan(write(tmp_path / "x.safetensors", shapes), "vit")

    assert checkpoint.selection.spelling == entry["dialect"]
    assert (made.variant.name, made.num_classes) == (entry["variant"], entry["num_classes"])
    assert {step.source for step in made.steps} == {
        key for key in made.variant.shapes if made.num_classes or not key.startswith("head")
    }
    if names := VIT.dialects.get(entry["dialect"]):
        prefix = checkpoint.selection.prefix
        mine = [key.removeprefix(prefix) for key in shapes if key.startswith(prefix)]
        placed = {source for move in names.moves(mine) for source in move.sources}
        assert placed >= {key for key in mine if key not in checkpoint.left_out}


@pytest.mark.parametrize("file", FIRST.values())
@pytest.mark.parametrize("fault", ["missing", "misshapen", "extra"])
def test_one_tensor_wrong_is_refused_by_its_name(file: str, fault: str, tmp_path: Path) -> None:
    """The message names the tensor as the file does."""
    shapes = shapes_of(FILES[file])
    names = VIT.dialects[FILES[file]["dialect"]]
    blocks = [
        key for key in shapes if names.move(_plain(key)).row and "blocks.5." in _ours(names, key)
    ]
    key = (
        sorted(blocks)[len(blocks) // 2] if blocks else next(k for k in shapes if "blocks.5." in k)
    )
    if fault == "missing":
        del shapes[key]
    elif fault == "misshapen":
        shapes[key] = (*shapes[key], 7)
    else:
        key += "_extra"
        shapes[key] = (3, 5)

    with pytest.raises(ConversionError) as error:
        plan(write(tmp_path / "x.safetensors", shapes), "vit")

    assert _plain(key) in str(error.value)


def _plain(key: str) -> str:
    return key.removeprefix("visual.")


def _ours(names: Names, key: str) -> str:
    return " ".join(names.ours(_plain(key)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_forth_and_back_is_bit_for_bit(dialect: str, tmp_path: Path) -> None:
    """PyTorch's names -> theirs -> a Paddle file -> theirs, all random, nothing is lost."""
    variant = VIT.variants[SMALL.get(dialect, "test_vit")]
    names, rng = find_names(VIT, "torch", dialect), np.random.default_rng(0)
    ours = {
        key: held(rng.standard_normal(variant.resolve(shape, 5)).astype(np.float32))
        for key, shape in variant.shapes.items()
    }
    if not any(names.move("head.bias", back=True).targets):
        ours["head.bias"] = held(np.zeros(5, np.float32))
    theirs = {key: tensor.read() for key, tensor in to_theirs(ours, VIT, names, variant).items()}
    for name, arrays in (("a", theirs), ("ours", {k: t.read() for k, t in ours.items()})):
        save_file(
            {k: np.ascontiguousarray(v) for k, v in arrays.items()},
            tmp_path / f"{name}.safetensors",
        )
    how: dict[str, Any] = {"variant": variant.name, "dialect": dialect, "parity": False}

    convert(tmp_path / "a.safetensors", tmp_path / "b.pdparams", "vit", **how)
    convert(tmp_path / "b.pdparams", tmp_path / "c.safetensors", "vit", **how)
    plainly: dict[str, Any] = {"variant": variant.name, "parity": False}
    convert(tmp_path / "ours.safetensors", tmp_path / "d.pdparams", "vit", **plainly)

    found = load_file(tmp_path / "c.safetensors")
    assert found.keys() == theirs.keys()
    assert all(np.array_equal(found[key], theirs[key]) for key in theirs)
    one, other = (open_checkpoint(tmp_path / name).tensors for name in ("b.pdparams", "d.pdparams"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key].read(), other[key].read()) for key in one)
