"""Which tensors of a file are the weights: prefixes, rivals, heads and renames."""

import json
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

from conftest import Make, arrays
from vitconvert import (
    CheckpointError,
    ConversionError,
    convert,
    open_checkpoint,
)
from vitconvert.checkpoints import Contents, held, open_selected
from vitconvert.cli import cli
from vitconvert.running.torch_reader import read_with_torch
from vitconvert.tables import choosing
from vitconvert.tables.choosing import look
from vitconvert.tables.names import Names
from vitconvert.tables.opening import open_weights
from vitconvert.tables.reading import load_table, read_table

State = dict[str, np.ndarray]
VARIANT = "shiftvit_cifar_tiny"
TABLE = load_table("shiftvit")


@pytest.fixture(scope="module")
def state(plain: Make) -> State:
    """Give the weights of a small variant, with PyTorch's names."""
    return arrays(plain(VARIANT))


def under(prefix: str, state: State) -> State:
    return {prefix + name: array for name, array in state.items()}


def shifted(state: State) -> State:
    return {name: array + 1 for name, array in state.items()}


def body(state: State) -> State:
    return {name: array for name, array in state.items() if not name.startswith("head.")}


def renamed(state: State) -> State:
    return body(state) | head("fc", state)


def head(name: str, state: State) -> State:
    return {f"{name}.{leaf}": state[f"head.{leaf}"] for leaf in ("weight", "bias")}


def mid(state: State) -> State:
    """Put words of wrappers within names, as FSDP, checkpointing and torch.compile do."""
    words = "layers._fsdp_wrapped_module.0.blocks.1._checkpoint_wrapped_module.module."
    return {name.replace("layers.0.blocks.1.", words): array for name, array in state.items()}


def saved(path: Path, state: State) -> Path:
    save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, path)
    return path


def torch_saved(path: Path, tree: Any) -> Path:
    import torch

    made: dict[int, Any] = {}  # one array becomes one tensor wherever it is

    def turn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turn(one) for key, one in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in made:
            made[id(value)] = torch.from_numpy(value)
        return made[id(value)]

    torch.save(turn(tree), path)
    return path


FLAT: dict[str, tuple[Callable[[State], State], str]] = {
    "lightning": (lambda s: under("model.", s) | {"criterion.w": np.ones(3, "f4")}, "model."),
    "three words": (lambda s: under("model.net.backbone.", s), "model.net.backbone."),
    "DDP around it": (lambda s: under("module.net.", s), "module.net."),
    "DDP within it": (lambda s: under("net.module.", s), "net.module."),
    "trunk": (lambda s: under("trunk.", s), "trunk."),
    "a number": (lambda s: under("0.", s), "0."),
    "DeepSpeed": (lambda s: under("_forward_module.model.", s), "_forward_module.model."),
    "within names": (mid, ""),
    "within names, after a prefix": (lambda s: under("model.", mid(s)), "model."),
    "scalars": (lambda s: s | {"epoch": np.array(3), "best": np.ones(1, "f4")}, ""),
    "model beside its average": (
        lambda s: under("model.", s) | under("ema_model.module.", shifted(s)),
        "model.",
    ),
    "an average within it": (lambda s: s | under("ema.", shifted(s)), ""),
    "of another size": (lambda s: under("student.", s) | under("teacher.", _cut(s)), "student."),
}


def _cut(state: State) -> State:
    return {name: array[..., :1] for name, array in state.items()}


@pytest.mark.parametrize("case", FLAT)
def test_names_and_shapes_find_the_prefix(case: str, state: State, tmp_path: Path) -> None:
    """Whatever stands before all names is removed; inspect finds the same; a worker as well."""
    make, prefix = FLAT[case]
    path = saved(tmp_path / "x.safetensors", make(state))

    found, shown = open_weights(path, TABLE), look(path)[0]

    assert sorted(found.tensors) == sorted(state)
    for name in ("head.bias", "layers.0.blocks.1.mlp.fc1.bias"):
        np.testing.assert_array_equal(found.tensors[name].read(), state[name])
    assert found.prefix == prefix
    assert (shown.selection, shown.beside) == (found.selection, found.beside)
    again = open_selected(path, found.selection)
    assert again.sources == found.sources


@pytest.mark.parametrize("prefix", ["", "net."])
@pytest.mark.parametrize("layer", ["layers", "norm", "head"])
def test_a_metric_that_is_called_as_a_layer(
    layer: str, prefix: str, state: State, tmp_path: Path
) -> None:
    """It is left out, and no tensor of the layer with it."""
    named = under(prefix, {**state, layer: np.array(0.5, "f4")})
    path = saved(tmp_path / "x.safetensors", named)

    assert sorted(open_weights(path, TABLE).tensors) == sorted(state)
    assert sorted(look(path)[0].tensors) == sorted(state)


def test_a_part_that_was_asked_for_is_not_left(state: State, tmp_path: Path) -> None:
    """A path to a part of the model does not give the whole model."""
    path = saved(tmp_path / "x.safetensors", under("net.", state))

    found = open_weights(path, TABLE, weights="net.layers")

    assert found.selection.path == "net.layers"


DICTS: dict[str, tuple[Callable[[State], Any], str]] = {
    "lone tensors": (
        lambda s: {
            "network": s,
            "best_model_score": np.array(0.5),
            "callbacks": {"A": {"best": np.array(0.5)}},
            "schedule": np.ones(100),
            "criterion": {"weight": np.ones(10), "aux.center": np.ones(4)},
            "ema": {"decay": np.array(0.9)},
        },
        "network",
    ),
    "a dict within a dict": (lambda s: {"model": {"backbone": s}}, "model.backbone"),
    "parts as dicts": (
        lambda s: {
            "model": {
                "patch_embed": {k[12:]: v for k, v in s.items() if k.startswith("patch_embed.")},
                **{k: v for k, v in s.items() if not k.startswith("patch_embed.")},
            }
        },
        "model",
    ),
    "keys and names": (
        lambda s: {"state_dict": under("module.encoder.", s), "epoch": 3},
        "state_dict.module.encoder",
    ),
    "one dict twice": (lambda s: {"a": s, "b": s}, "a"),
}


@pytest.mark.torch
@pytest.mark.parametrize("case", DICTS)
def test_a_set_of_weights_among_other_entries(case: str, state: State, tmp_path: Path) -> None:
    """Entries with a few tensors are none; torch itself reads the same tensors."""
    make, path = DICTS[case]
    file = torch_saved(tmp_path / "x.pth", make(state))

    found, reader = open_weights(file, TABLE), "torch"
    own, read_by = read_with_torch(found)

    assert found.selection.path == path
    assert look(file)[0].sources == found.sources
    assert (read_by, sorted(own)) == (reader, sorted(state))
    for name, array in state.items():
        np.testing.assert_array_equal(own[name].numpy(), array)


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (("student.", "teacher."), "teacher"),
        (("student.backbone.", "teacher.backbone."), "teacher.backbone"),
        (("module.encoder_q.", "module.encoder_k."), "encoder_k"),
    ],
)
def test_several_that_fit_are_the_users_choice(
    paths: tuple[str, str], chosen: str, state: State, tmp_path: Path
) -> None:
    """The message is what to type; inspect shows the first and names both."""
    both = under(paths[0], state) | under(paths[1], shifted(state))
    path = saved(tmp_path / "x.safetensors", both)

    with pytest.raises(CheckpointError) as refused:
        convert(path, tmp_path / "x.pdparams", "shiftvit", parity=False)
    for prefix in paths:
        assert f"\n  --weights {prefix[:-1]}" in str(refused.value)
    found = open_weights(path, TABLE, weights=chosen)
    assert found.prefix == paths[1]
    np.testing.assert_array_equal(found.tensors["head.bias"].read(), state["head.bias"] + 1)
    with pytest.raises(CheckpointError, match=f"Did you mean '{paths[1][:-1]}'"):
        open_weights(path, TABLE, weights=f"{paths[1][:-1]}x")
    shown, several, _close = look(path)
    assert shown.prefix in paths
    assert len(several) == 2
    told = CliRunner().invoke(cli, ["inspect", str(path)])
    assert told.exit_code == 0
    assert f"--weights {paths[1][:-1]}" in told.output


@pytest.mark.parametrize("prefix", ["_layers.", "Student.", "_layers.Student."])
def test_prefixes_of_paddle(prefix: str, converted: Make, tmp_path: Path) -> None:
    """DataParallel's and PaddleClas's, on the way back to PyTorch."""
    wrapped = under(prefix, arrays(converted(VARIANT)))
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps(wrapped))

    convert(path, tmp_path / "x.pth", "shiftvit", parity=False)

    assert sorted(open_checkpoint(tmp_path / "x.pth").tensors) == sorted(
        TABLE.variants[VARIANT].shapes
    )


def test_another_family_and_another_variant_are_named(state: State, tmp_path: Path) -> None:
    """Also behind a prefix."""
    path = saved(tmp_path / "x.safetensors", under("model.", state))

    with pytest.raises(ConversionError, match=r"is a shiftvit_cifar_tiny .*vitconvert shiftvit"):
        convert(path, tmp_path / "x.pdparams", "shunted", parity=False)
    with pytest.raises(ConversionError, match=r"is a shiftvit_cifar_tiny, not a shiftvit_cifar:"):
        convert(path, tmp_path / "x.pdparams", "shiftvit", variant="shiftvit_cifar", parity=False)


# -- heads

HEADS: dict[str, tuple[Callable[[State], State], str]] = {
    "fc": (lambda s: body(s) | head("fc", s), "fc"),
    "Sequential": (lambda s: body(s) | head("head.1", s), "head.1"),
    "timm": (lambda s: body(s) | head("head.fc", s), "head.fc"),
    "classifier": (lambda s: under("net.", body(s) | head("classifier", s)), "classifier"),
    "outside": (lambda s: under("backbone.", body(s)) | head("head.fc", s), "head.fc"),
    "outside, averaged": (
        lambda s: (
            under("backbone.", body(s))
            | head("cls_head", s)
            | {"ema_backbone_norm_weight": np.ones(192, "f4"), "ema_head_weight": s["head.weight"]}
        ),
        "cls_head",
    ),
    "a module of its own": (lambda s: under("0.", body(s)) | head("1", s), "1"),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_under_another_name_is_never_lost(case: str, state: State, tmp_path: Path) -> None:
    """The message names it with what to type; both ways out work, and are recorded."""
    make, old = HEADS[case]
    path, target = saved(tmp_path / "x.safetensors", make(state)), tmp_path / "y.safetensors"

    with pytest.raises(ConversionError, match=r"--num-classes 0") as refused:
        convert(path, target, "shiftvit", parity=False)
    assert f"\n  --rename {old}=head " in str(refused.value)
    done = convert(path, target, "shiftvit", parity=False, rename={old: "head"})
    assert done.plan.num_classes == 10
    found = open_checkpoint(target)
    np.testing.assert_array_equal(found.tensors["head.weight"].read(), state["head.weight"].T)
    assert found.metadata["source_renamed"] == f"{old}=head"
    done = convert(path, target, "shiftvit", parity=False, num_classes=0, force=True)
    assert done.plan.num_classes == 0
    assert sorted(open_checkpoint(target).tensors) == sorted(body(state))


@pytest.mark.parametrize(
    ("extra", "lost", "message"),
    [
        ({}, ("head.bias",), r"head\.bias: missing; its head has head\.weight \[10, 192\]"),
        (
            {"head.0.weight": (32, 192), "head.0.bias": (32,), "head.3.weight": (5, 32)},
            ("head.weight", "head.bias"),
            r"its head is several layers: head\.0\.weight \[32, 192\].*head\.3\.weight \[5, 32\]",
        ),
        (
            {"fc.0.weight": (32, 192), "fc.2.weight": (5, 32)},
            ("head.weight", "head.bias"),
            r"its head is several layers: fc\.0\.weight.*fc\.2\.weight",
        ),
    ],
)
def test_a_head_that_does_not_fit(
    extra: dict[str, tuple[int, ...]],
    lost: tuple[str, ...],
    message: str,
    state: State,
    tmp_path: Path,
) -> None:
    """One without bias and one of several layers are refused, and can be dropped on purpose."""
    kept = {name: array for name, array in state.items() if name not in lost}
    made = kept | {name: np.ones(shape, "f4") for name, shape in extra.items()}
    path = saved(tmp_path / "x.safetensors", made)

    with pytest.raises(ConversionError, match=message):
        convert(path, tmp_path / "x.pdparams", "shiftvit", parity=False)
    done = convert(path, tmp_path / "x.pdparams", "shiftvit", parity=False, num_classes=0)
    assert done.plan.num_classes == 0


def test_no_head_at_all_is_said(
    state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the file has none or it was dropped."""
    caplog.set_level("INFO", "vitconvert")
    saved(tmp_path / "x.safetensors", under("model.", body(state)))
    saved(tmp_path / "y.safetensors", state)

    convert(tmp_path / "x.safetensors", tmp_path / "x.pdparams", "shiftvit", parity=False)
    assert "no head: the file has none" in caplog.messages
    convert(
        tmp_path / "y.safetensors", tmp_path / "y.pdparams", "shiftvit", parity=False, num_classes=0
    )
    assert "no head: dropped, as asked" in caplog.messages


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize(
    ("command", "case", "expected"),
    [
        ("eval --torch-weights", "rivals", "In this command, --torch-key chooses the weights"),
        ("eval --torch-weights", "head", "`vitconvert eval` has no such options: convert the"),
        ("explain --image drawn.png --out x.png --weights", "rivals", "has no such option: conv"),
        ("parity --torch", "head", ""),
        ("parity --paddle", "rivals", "--paddle-weights and --paddle-rename"),
        ("export --out run --weights", "rivals", "with it, and the new file back, by the"),
    ],
)
def test_a_command_without_those_options_says_what_to_do(
    command: str, case: str, expected: str, state: State, tmp_path: Path, converted: Make
) -> None:
    """The options of a message are those of the commands that convert."""
    good = {"--torch": tmp_path / "good.safetensors", "--paddle": converted(VARIANT)}
    saved(good["--torch"], state)
    name, *options, last = command.split()
    own = arrays(converted(VARIANT)) if last == "--paddle" or name == "export" else state
    rivals = under("student.", own) | under("teacher.", shifted(own))
    bad = saved(tmp_path / "bad.safetensors", rivals if case == "rivals" else renamed(own))
    Image.new("RGB", (32, 32)).save(tmp_path / "drawn.png")
    files = {last: bad} if name != "parity" else {**good, last: bad}
    words = [word for file in files.items() for word in map(str, file)]
    words += ["--data", str(tmp_path)] if name == "eval" else []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)

        shown = CliRunner().invoke(cli, [name, VARIANT, *options, *words])

    assert shown.exit_code == 1
    assert ("--weights teacher" if case == "rivals" else "--rename fc=head") in shown.stderr
    assert expected in shown.stderr.replace("\n", " ").replace("  ", " ")
    assert expected or shown.stderr.rstrip().endswith("[10]")


# -- renames


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"clasifier": "head"}, r"clasifier=head finds no tensor.*Did you mean 'classifier'"),
        ({"classifier": "norm"}, r"two tensors would be called 'norm\.(weight|bias)'"),
        ({"class": "head"}, r"no name begins with 'class'"),
        ({"classifier": ""}, r"expected OLD=NEW"),
    ],
)
def test_renames_that_are_mistaken(
    rename: dict[str, str], message: str, state: State, tmp_path: Path
) -> None:
    """A beginning ends at a dot, finds something, and no tensor takes another one's place."""
    path = saved(tmp_path / "x.safetensors", body(state) | head("classifier", state))

    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path, rename=rename)
    with pytest.raises(CheckpointError, match=message):
        open_weights(path, TABLE, rename=rename)


def test_the_longest_beginning_is_renamed(tmp_path: Path) -> None:
    """Each name once, by the file's names or those behind the prefix."""
    one = np.ones(2, "f4")
    path = saved(tmp_path / "x.safetensors", under("module.", {"a.b.w": one, "a.c": one, "d": one}))

    found = open_checkpoint(path, rename={"a": "x", "a.b": "a", "module.d": "y"})

    assert sorted(found.tensors) == ["a.w", "x.c", "y"]


@pytest.mark.paddle
@pytest.mark.torch
def test_the_proof_reads_the_same_tensors(state: State, tmp_path: Path) -> None:
    """Prefix, wrapper, words within names and rename reach the workers, and the report."""
    tree = {
        "state_dict": under("model.", mid(body(state))) | head("fc", shifted(state)),
        "epoch": 1,
    }
    path = torch_saved(tmp_path / "x.ckpt", tree)

    done = convert(path, tmp_path / "x.pdparams", "shiftvit", rename={"fc": "head"}, device="cpu")

    assert done.report is not None
    assert done.report.proved
    facts = json.loads(done.report.to_json())["reference"]
    assert facts["read_by"] == "torch"
    assert facts["weights_under"] == "state_dict.model"
    assert facts["renamed"] == "fc=head"
    assert "_checkpoint_wrapped_module" in facts["removed_within_names"]


# -- tables of one's own


OWN = """
family = "net"
rows = [["module.conv", "module.conv", "conv2d"], ["fc", "fc", "linear"]]
"""


@pytest.mark.parametrize(
    ("prefix", "words"), [("", ""), ("model.", ""), ("net.core.", ""), ("model.", "_orig_mod.")]
)
def test_rows_without_shapes_find_the_prefix(prefix: str, words: str, tmp_path: Path) -> None:
    """A layer of the model may be called "module": the rows claim it as it is."""
    (tmp_path / "net.toml").write_text(OWN)
    own = {"module.conv.weight": np.ones((2, 3, 1, 1), "f4"), "fc.weight": np.ones((4, 2), "f4")}
    made = {f"{prefix}{name.replace('fc.', f'fc.{words}')}": array for name, array in own.items()}
    path = saved(tmp_path / "x.safetensors", made | {"other.thing": np.ones(2, "f4")})
    if not prefix:
        path = saved(tmp_path / "x.safetensors", made)

    found = open_weights(path, read_table(tmp_path / "net.toml"))

    assert sorted(found.tensors) == sorted(own)


def test_a_model_within_one_module(tmp_path: Path) -> None:
    """All its names begin with "module.", and so do the rows; behind a prefix as well."""
    (tmp_path / "net.toml").write_text(OWN.replace(', ["fc", "fc", "linear"]', ""))
    path = saved(tmp_path / "x.safetensors", {"m.module.conv.weight": np.ones((2, 2, 1, 1), "f4")})

    assert open_weights(path, read_table(tmp_path / "net.toml")).prefix == "m."


def test_a_fragment_is_not_the_model(tmp_path: Path) -> None:
    """A part whose names the rows claim does not stand for a whole with one name too many."""
    (tmp_path / "net.toml").write_text(OWN)
    names = ("module.conv.weight", "fc.weight", "fc.unknown", "aux.fc.weight")
    path = saved(tmp_path / "x.safetensors", {f"m.{n}": np.ones((2, 2), "f4") for n in names})

    with pytest.raises(ConversionError, match=r"fc\.unknown: no row"):
        convert(path, tmp_path / "x.pdparams", tmp_path / "net.toml", parity=False)


# -- growth


ONE, WIDE = held(np.zeros(2, "f4")), held(np.zeros((2, 192), "f4"))
BODY = {f"model.{name}": ONE for name in TABLE.variants[VARIANT].shapes if "head" not in name}
HOSTILE: dict[str, Callable[[int], tuple[str, Any]]] = {
    "layers": lambda i: (f"l{i}.w", ONE),
    "lone": lambda i: (f"l{i}", held(np.zeros(1, "f4"))),
    "prefixes": lambda i: (f"x{i}.patch_embed.proj.weight", ONE),
    "nested": lambda i: (f"{'a.' * (i % 14)}b{i}.patch_embed.module.proj.weight", ONE),
    "dicts": lambda i: (f"k{i}", {"patch_embed.proj.weight": ONE}),
    "heads": lambda i: (f"k{i}.weight", WIDE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_with_the_names(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times as many names take about eight times as long, not sixty-four."""

    def seconds(count: int) -> float:
        tree = BODY | dict(map(HOSTILE[kind], range(count)))
        contents = Contents(Path("x"), tree, format="", side="torch", files=(), metadata={})
        monkeypatch.setattr(choosing, "read_contents", lambda _path: contents)
        start = time.process_time()
        with suppress(CheckpointError):
            open_weights("x", TABLE)
        look("x")
        return time.process_time() - start

    seconds(100)
    assert seconds(8000) < 24 * (min(seconds(1000) for _ in range(2)) + 0.01)


def test_names_of_no_model_are_looked_up_in_no_dialect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may have a million names: that nothing of the model is there takes one look."""
    path = tmp_path / "x.safetensors"
    layers = [f"vit.encoder.layer.{i}.own.weight" for i in range(300)]
    save_file({key: np.zeros(1, "f4") for key in layers}, path)
    monkeypatch.setattr(Names, "usual", lambda *_key: pytest.fail("looked up"))

    found, fits, _near = look(path)
    assert len(found.tensors) == 300
    assert fits == []
