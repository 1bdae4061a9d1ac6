"""The same PyTorch source under both frameworks: `compat:` before the function for Paddle."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from conftest import TOOLS, Make, arrays
from vitconvert import ModelError, Pair, Report, RunError, check_parity, convert
from vitconvert.apps.proposal import propose_table
from vitconvert.cli import cli
from vitconvert.running import compat
from vitconvert.running.process import Task, keep_workers, run
from vitconvert.running.setup import check_factory
from vitconvert.tables import reading

ROWS = [
    ["pos", "pos", "param"],
    ["stem", "stem", "conv2d"],
    ["pool", "pool", "compat_avg_pool2d"],
    ["unfold", "unfold", "unfold"],
    ["square", "square", "compat_linear"],
    ["norm", "norm", "layer_norm"],
    ["attn", "attn", "compat_multihead_attention"],
    ["pool1", "pool1", "compat_avg_pool1d"],
    ["gate", "gate", "softmax"],
    ["head", "head", "compat_linear"],
]
SHAPES: dict[str, tuple[int, ...]] = {
    "stem.weight": (8, 3, 3, 3),
    "stem.bias": (8,),
    "pos": (1, 9, 32),
    "square.weight": (32, 32),
    "square.bias": (32,),
    "norm.weight": (32,),
    "norm.bias": (32,),
    "attn.in_proj_weight": (96, 32),
    "attn.in_proj_bias": (96,),
    "attn.out_proj.weight": (32, 32),
    "attn.out_proj.bias": (32,),
    "head.weight": (10, 32),
}


@pytest.fixture(autouse=True, scope="module")
def workers() -> Iterator[None]:
    """The processes stay: the source is the same in all of these tests."""
    with keep_workers(own_models=True):
        yield


def outline(factory: str) -> Any:
    """Build and run a model in Paddle's process."""
    job = {
        "framework": "paddle",
        "factory": f"compat:compat_nets:{factory}",
        "size": (24, 24),
        "state": "",
        "kinds": None,
    }
    program = "vitconvert.apps.proposal._outline"
    return run([Task("paddle", program, job, own="compat_nets")], lambda _side, _what: None)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table of the small model and its weights, in the folder with its source."""
    monkeypatch.chdir(TOOLS)
    noise = np.random.default_rng(0)
    state = {key: noise.standard_normal(s).astype("f4") for key, s in SHAPES.items()}
    save_file(state, tmp_path / "w.safetensors")
    file = tmp_path / "mixer.toml"
    file.write_text(f"input_size = [24, 24]\nrows = {ROWS}\n".replace("'", '"'))
    convert(tmp_path / "w.safetensors", tmp_path / "w.pdparams", file, parity=False)
    return file


def check(table: Path, paddle: str = "build", **options: Any) -> Report:
    return check_parity(
        Pair("compat_nets:build", f"compat:compat_nets:{paddle}", str(table)),
        torch_checkpoint=table.with_name("w.safetensors"),
        paddle_checkpoint=table.with_name("w.pdparams"),
        device="cpu",
        **options,
    )


@pytest.mark.torch
@pytest.mark.paddle
def test_the_table_has_the_same_names_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the kinds of the classes that Paddle gives PyTorch source; nothing is transposed."""
    monkeypatch.chdir(TOOLS)

    found = propose_table("compat_nets:build", "compat:compat_nets:build", input_size=(24, 24))

    assert found.proved
    assert not found.undecided
    assert tomllib.loads(found.text)["rows"] == ROWS


@pytest.mark.torch
@pytest.mark.paddle
def test_rewritten_source_has_either_class_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square weights of both: the kind of each row, by Paddle's class, says what is transposed."""
    monkeypatch.chdir(TOOLS)

    found = propose_table("mixed_nets:torch_model", "mixed_nets:paddle_model", input_size=(24, 24))

    assert found.proved
    assert not found.undecided
    assert {row.torch: row.kind for row in found.rows} == {
        "stem": "conv2d",
        "bn": "batch_norm",
        "pool": "compat_avg_pool2d",
        "fc1": "compat_linear",
        "gate": "softmax",
        "fc2": "linear",
    }


def test_a_checkpoint_keeps_names_and_layouts(table: Path) -> None:
    """Of PyTorch, in a file of Paddle's; and back."""
    made = arrays(table.with_name("w.pdparams"))

    state = load_file(table.with_name("w.safetensors"))
    assert {key: value.tobytes() for key, value in made.items()} == {
        key: value.tobytes() for key, value in state.items()
    }
    convert(table.with_name("w.pdparams"), table.with_name("b.safetensors"), table, parity=False)
    back = load_file(table.with_name("b.safetensors"))
    assert {key: value.tobytes() for key, value in back.items()} == {
        key: value.tobytes() for key, value in state.items()
    }


@pytest.mark.torch
@pytest.mark.paddle
def test_one_source_is_proved_under_both_frameworks_with_its_gradients(table: Path) -> None:
    found = check(table, backward=True)

    assert found.proved, found.claim
    assert found.candidate["model"] == "compat_nets.Mixer"
    code = found.candidate["code"]
    assert [Path(file).name for file in code] == ["compat_nets.py"]


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(
    ("factory", "layer", "words"),
    [
        ("wrong_pool", "pool", "count_include_pad is True in torch, False in Paddle"),
        ("wrong_heads", "attn", "num_heads is 4 in torch, 2 in Paddle"),
        ("wrong_axis", "gate", "dim is -1 in torch, 0 in Paddle"),
    ],
)
def test_a_wrong_setting_is_found(factory: str, layer: str, words: str, table: Path) -> None:
    """In the layer that has it, with its value."""
    found = check(table, factory)

    assert not found.proved
    assert found.claim.startswith(f"first wrong layer: {layer} (")
    assert words in str(found.diagnosis)


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(
    ("key", "change", "layer", "words"),
    [
        ("square.weight", lambda w: w.T, "square", "weight equals the source's transposed"),
        ("attn.in_proj_weight", lambda w: np.roll(w, 32, 0), "attn", "in_proj_weight holds"),
        ("attn.out_proj.weight", lambda w: w.T, "attn", "out_proj.weight equals the source's tr"),
        ("head.weight", lambda w: w * 1.001, "head", "weight"),
    ],
)
def test_a_wrong_weight_is_found(
    key: str, change: Any, layer: str, words: str, table: Path
) -> None:
    """A square one that was transposed, as for a plain Paddle model, too."""
    state = load_file(table.with_name("w.safetensors"))
    state[key] = np.ascontiguousarray(change(state[key]), "f4")
    save_file(state, table.with_name("faulty.safetensors"))
    convert(
        table.with_name("faulty.safetensors"),
        table.with_name("w.pdparams"),
        table,
        parity=False,
        force=True,
    )

    found = check(table)

    assert not found.proved
    assert found.claim.startswith(f"first wrong layer: {layer} (")
    assert words in str(found.diagnosis)


@pytest.mark.torch
@pytest.mark.paddle
def test_commands_take_it_wherever_they_take_a_paddle_model(table: Path) -> None:
    """`convert` proves what it wrote, `dump` runs one side."""
    models = ["--torch-model", "compat_nets:build", "--paddle-model", "compat:compat_nets:build"]
    files = ["--src", table.with_name("w.safetensors"), "--dst", table.with_name("x.pdparams")]
    dumped = ["--framework", "paddle", "--checkpoint", files[-1], "--out", table.with_name("t")]

    def call(*arguments: Any) -> str:
        done = CliRunner().invoke(cli, [*map(str, arguments), "--device", "cpu"])
        assert done.exit_code == 0, done.output
        return done.output

    assert "PROVED" in call("convert", "--table", table, *files, *models)
    assert "10 calls of layers" in call("dump", *dumped, *models[2:], "--table", table)


@pytest.mark.paddle
@pytest.mark.parametrize(
    ("factory", "lacking", "line"),
    [
        ("lacking", "torch.nn.BatchNorm2d", "self.norm = nn.BatchNorm2d(3)"),
        ("lacking_module", "torch.fx", "import torch.fx"),
        ("lacking_name", "torch.nn.RMSNorm", "from torch.nn import RMSNorm"),
        ("lacks_function", "torch.special.entr", "torch.special.entr(x)"),
        ("lacks_method", "torch.Tensor.xlogy", "x.xlogy(x)"),
    ],
)
def test_what_paddle_lacks_is_named_with_the_line_that_uses_it(
    factory: str, lacking: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, whether the model is built or run."""
    monkeypatch.chdir(TOOLS)
    source = (TOOLS / "compat_nets.py").read_text().splitlines()
    place = next(number for number, text in enumerate(source, 1) if line in text)

    with pytest.raises(RunError) as caught:
        outline(factory)

    told = str(caught.value)
    assert f"has no {lacking} under paddle.enable_compat() (" in told
    assert told.endswith(f"compat_nets.py, line {place})")
    assert "\n" not in told


@pytest.mark.paddle
def test_no_real_torch_is_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the installed one would do, Paddle's process has its own alone."""
    monkeypatch.chdir(TOOLS)

    with pytest.raises(RunError) as caught:
        outline("which_torch")

    assert "torch is torch, of paddle.compat.nn: {'ProxyModule'}" in str(caught.value)


def test_only_paddle_runs_it() -> None:
    with pytest.raises(ModelError, match=r"expected net:build for the PyTorch model\.$"):
        check_factory("compat:net:build", "torch")
    for name in ("compat:net:", "compat:", "compat::build"):
        with pytest.raises(ModelError, match=r"expected package\.module:function\.$"):
            check_factory(name, "paddle")
    check_factory("compat:net:build", "paddle")
    check_factory("compat:build", "torch")  # of a module that is called so


def test_an_older_paddle_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the release that can."""
    old = SimpleNamespace(__version__="2.6.2")
    monkeypatch.setattr(compat, "import_framework", lambda _: old)
    compat.enable_compat.cache_clear()

    with pytest.raises(ModelError, match=r"^Paddle 2\.6\.2 cannot run .* expected 3\.3 or newer"):
        compat.enable_compat()
    assert not compat.is_enabled()


@pytest.mark.parametrize("variant", ["shunted_cifar_tiny", "shiftvit_cifar_tiny"])
def test_its_checkpoint_becomes_a_plain_one(variant: str, plain: Make, tmp_path: Path) -> None:
    """By way of PyTorch's names, bit for bit what PyTorch's own checkpoint becomes."""
    shipped, _variant = reading.find_variant(variant)
    table = tmp_path / "compat.toml"
    table.write_text(shipped.path.read_text().replace('"linear"', '"compat_linear"'))
    source, family = plain(variant), shipped.family
    held = convert(source, tmp_path / "compat.pdparams", table, parity=False).path
    expected = convert(source, tmp_path / "plain.pdparams", family, parity=False).path

    back = convert(held, tmp_path / "back.safetensors", table, parity=False).path
    folded = convert(back, tmp_path / "folded.pdparams", family, parity=False).path

    assert arrays(held).keys() == arrays(folded).keys()
    assert any(value.shape != arrays(held)[key].shape for key, value in arrays(folded).items())
    assert {k: v.tobytes() for k, v in arrays(folded).items()} == {
        k: v.tobytes() for k, v in arrays(expected).items()
    }
