"""Both implementations reproduce what the official models compute, in float64."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import GOLDEN, Make, every_golden, golden_facts, model_name
from either import array, in_float64, on_each_side, seeded, tensor
from golden import rule
from vitconvert import convert, models
from vitconvert.checkpoints import open_checkpoint
from vitconvert.sides import SIDES, Side
from vitconvert.tables.identify import identify, twins
from vitconvert.tables.reading import find_variant

LIMIT = 1e-10  # absolute, float64; Paddle's float32 epsilons cost up to 3e-12


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write the weights of a golden file, checked against their hash, as .safetensors."""
    folder = tmp_path_factory.mktemp("golden")

    def make(name: str) -> Path:
        path, facts = folder / f"{name}.safetensors", golden_facts(name)
        if not path.exists():
            state = {key: rule.weight(key, *rest) for key, *rest in facts["entries"]}
            assert rule.digest(state.values()) == facts["weights_sha256"]
            save_file(state, path)
        return path

    return make


def batch(name: str) -> np.ndarray:
    facts = golden_facts(name)
    images = rule.images(name, facts["input"]["shape"])
    assert rule.digest([images]) == facts["input"]["sha256"]
    return images.astype(np.float64)


def check(name: str, found: dict[str, np.ndarray]) -> None:
    """Compare logits, features and every tap with the golden numbers."""
    expected = load_file(GOLDEN / f"{name}.safetensors")
    for key in ("logits", "features"):
        np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=LIMIT, err_msg=key)
    stages = golden_facts(name)["stages"]
    assert stages
    for tap, facts in stages.items():
        values = as_map(found[tap], facts["shape"])
        assert list(values.shape) == facts["shape"]
        summary = {
            "mean": values.mean(),
            "std": values.std(),
            "samples": values.reshape(-1)[facts["indices"]],
        }
        for what, value in summary.items():
            key = f"{tap}.{what}"
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=LIMIT, err_msg=key)


TAPS = tomllib.loads((GOLDEN / "taps.toml").read_text())


def tapped(name: str, layers: dict[str, Any]) -> dict[str, Any]:
    """Give the layer behind each tap of a golden file."""
    facts, found = golden_facts(name), {}
    for tap in facts["stages"]:
        head, last, _ = TAPS[facts["family"]][tap].partition("{last}")
        count = sum(1 for layer in layers if re.fullmatch(re.escape(head) + "[0-9]+", layer))
        found[tap] = layers[f"{head}{count - 1}" if last else head]
    return found


def as_map(values: np.ndarray, shape: list[int]) -> np.ndarray:
    """Lay tokens [B, N, C] out as the golden data does: [B, C, H, W]; leave a map alone."""
    return values.transpose(0, 2, 1).reshape(shape) if values.ndim == 3 else values


# What a framework calls its list of layers, and what adds a hook to one.
WORDS = {
    "torch": ("named_modules", "register_forward_hook"),
    "paddle": ("named_sublayers", "register_forward_post_hook"),
}


@on_each_side
@pytest.mark.parametrize("name", every_golden())
def test_model_gives_the_official_numbers(
    name: str, framework: Side, source: Make, tmp_path: Path
) -> None:
    """PyTorch's is the official model; in Paddle official weights give the official logits."""
    variant, file, found = model_name(name), source(name), dict[str, Any]()
    if framework == "paddle":
        family = find_variant(variant)[1].family
        target = tmp_path / "x.pdparams"
        file = convert(file, target, family, variant=variant, parity=False).path
    model = in_float64(framework, variant, file)
    named_layers, add_hook = WORDS[framework]
    for tap, layer in tapped(name, dict(getattr(model, named_layers)())).items():
        getattr(layer, add_hook)(lambda _l, _i, out, tap=tap: found.update({tap: out}))
    features = model.forward_features
    model.forward_features = lambda x: found.setdefault("features", features(x))
    with seeded(framework).no_grad():
        found["logits"] = model(tensor(framework, batch(name)))

    check(name, {key: array(value) for key, value in found.items()})


@pytest.mark.parametrize("name", every_golden())
def test_official_names_and_shapes_are_recognised(name: str, source: Make) -> None:
    """The variant is found from the official names and shapes, and only those that share them."""
    table, variant = find_variant(model_name(name))

    found = identify(open_checkpoint(source(name)).shapes)

    names = {variant.name, *twins(variant, table)}
    assert {(match.variant.name, side) for match, side in found} == {(n, "torch") for n in names}


@pytest.mark.torch
@pytest.mark.parametrize("name", every_golden())
def test_torch_model_lists_the_official_entries(name: str) -> None:
    """Names, order, shapes and parameter count are those of the official model."""
    facts = golden_facts(name)
    model = models.create_model(model_name(name), "torch")

    state = model.state_dict()
    assert [[k, list(v.shape)] for k, v in state.items()] == [e[:2] for e in facts["entries"]]
    assert sum(p.numel() for p in model.parameters()) == facts["parameter_count"]
    table, variant = find_variant(model_name(name))
    assert table.parameters(variant) == facts["parameter_count"]


FIGURES = tomllib.loads((GOLDEN / "figures.toml").read_text())


@pytest.mark.parametrize("name", FIGURES)
def test_entries_and_parameters_are_those_of_the_official_model(name: str) -> None:
    """Of every official variant, also where there is no other data."""
    table, variant = find_variant(model_name(name))

    assert len(variant.shapes) == FIGURES[name]["entries"]
    assert table.parameters(variant) == FIGURES[name]["parameters"]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("name", FIGURES)
def test_logits_of_every_official_variant(name: str, plain: Make, tmp_path: Path) -> None:
    """The spread that the official logits have, and in Paddle every one of them, to 1e-10."""
    variant = model_name(name)
    family = find_variant(variant)[1].family
    done = convert(plain(variant), tmp_path / "x.pdparams", family, variant=variant, parity=False)
    images = rule.images(name, FIGURES[name]["input"]).astype(np.float64)
    files, found = {"torch": plain(variant), "paddle": done.path}, {}
    for framework in SIDES:
        model = in_float64(framework, variant, files[framework])
        with seeded(framework).no_grad():
            found[framework] = array(model(tensor(framework, images)))

    assert round(float(found["torch"].std()), 3) == FIGURES[name]["logits_std"]
    np.testing.assert_allclose(found["paddle"], found["torch"], rtol=0, atol=LIMIT)
