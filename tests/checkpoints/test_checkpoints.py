"""Files are read as their own frameworks read them, and written for Paddle to read."""

import argparse
import json
import pickle
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import Make, known, write_paddle, write_tensors
from golden import rule
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.checkpoints import floats, held, pdparams

# -- PyTorch


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def odd_tensors() -> dict[str, Any]:
    """Tensors of every dtype and layout that torch.save can write plainly."""
    import torch

    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, 5, 3, generator=generator)
    whole = torch.arange(24)
    dtypes = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
    dtypes += ["uint8", "bool", "complex64", "complex128", "uint16", "uint32"]
    dtypes += ["float8_e4m3fn", "float8_e5m2"]
    found = {name: (base[0, 0] * 3).to(getattr(torch, name)) for name in dtypes}
    return found | {
        "transposed": base[0, 0].T,
        "permuted": base.permute(3, 1, 0, 2),
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "sliced": base[1:3, ::2, :, 1],
        "expanded": base[0, 0, 0].expand(7, 3),
        "empty": torch.empty(0, 5),
        "scalar": torch.tensor(3.5),
        "shared_a": whole[:12],
        "shared_b": whole[6:].reshape(3, 6),
        "parameter": torch.nn.Parameter(base[0]),
    }


@pytest.mark.torch
def test_every_dtype_and_layout_equals_torch_load(tmp_path: Path) -> None:
    """Bit for bit what torch itself reads, names in file order."""
    import torch

    torch.save(odd_tensors(), tmp_path / "odd.pth")
    expected = torch.load(tmp_path / "odd.pth", weights_only=True)

    found = open_checkpoint(tmp_path / "odd.pth")

    assert list(found.tensors) == list(expected)
    for name, tensor in expected.items():
        ours = found.tensors[name]
        values = tensor.detach()
        assert ours.shape == tuple(values.shape), name
        assert ours.dtype == str(values.dtype).removeprefix("torch."), name
        raw = values.contiguous().reshape(-1).view(torch.uint8) if values.numel() else values
        assert bits(ours.read()) == bits(raw.numpy()), name
        if ours.dtype == "bfloat16":
            np.testing.assert_array_equal(floats(ours), values.float().numpy())


@pytest.mark.torch
def test_official_wrapper_is_peeled_and_announced(official: Make) -> None:
    """A training checkpoint gives the model's weights; the notes list the other entries."""
    found = open_checkpoint(official("shunted_t"))
    notes = list(found.notes())

    assert found.wrapper == ("model",)
    assert found.format == "PyTorch zip"
    assert len(found.tensors) == 260
    assert notes[0] == "weights found under 'model'"
    for word in ("optimizer", "epoch: 299", "args: argparse.Namespace"):
        assert word in notes[1]


@pytest.mark.torch
def test_averaged_weights_are_named_and_taken_when_asked(official: Make) -> None:
    """SPACH saves `model` and `model_ema`, with the same names and different values."""
    path, key = official("shiftvit_cifar"), "layers.0.blocks.0.mlp.fc1.weight"
    plain, averaged = open_checkpoint(path), open_checkpoint(path, "model_ema")

    assert any("'model_ema': choose them with --weights model_ema" in n for n in plain.notes())
    shape = plain.tensors[key].shape
    np.testing.assert_array_equal(plain.tensors[key].read(), rule.weight(key, shape))
    np.testing.assert_array_equal(averaged.tensors[key].read(), rule.weight(f"ema.{key}", shape))


@pytest.mark.torch
def test_config_of_a_class_that_is_not_installed_is_left_alone(
    official: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LITv2 saves its yacs configuration beside the weights."""
    path = official("litv2_cifar")
    monkeypatch.setitem(sys.modules, "yacs", None)
    found = open_checkpoint(path)

    assert found.wrapper == ("model",)
    assert found.beside["config"] == "yacs.config.CfgNode"
    assert "head.weight" in found.tensors


@pytest.mark.torch
def test_backbone_is_taken_out_of_a_detector(official: Make) -> None:
    """Names under `backbone.` are the model's; the notes list the other parts as ignored."""
    found = open_checkpoint(official("litv2_small_det"))

    assert (found.wrapper, found.prefix) == (("state_dict",), "backbone.")
    assert "patch_embed.proj.weight" in found.tensors
    assert not [name for name in found.tensors if "neck" in name or "bbox" in name]
    assert "ignored: meta: dict of 2; neck: 1 entry; bbox_head: 1 entry" in found.notes()


@pytest.mark.torch
def test_entries_that_are_not_tensors_are_never_dropped_silently(tmp_path: Path) -> None:
    """Nor those whose key is not a string: they are listed, among the weights or beside them."""
    import torch

    w = torch.zeros(2)
    for name, tree in {
        "module": {"module.w": w, "extra": 3},
        "backbone": {"backbone.w": w, "neck.x": "text", "backbone.y": "text"},
        "number": {"w": w, 0: w},
    }.items():
        torch.save(tree, tmp_path / name)

    assert open_checkpoint(tmp_path / "module").skipped == {"extra": "3"}
    backbone = open_checkpoint(tmp_path / "backbone")
    assert (backbone.skipped, backbone.beside) == ({"y": "'text'"}, {"neck": "1 entry"})
    assert open_checkpoint(tmp_path / "number").skipped == {"0": "tensor"}


@pytest.mark.parametrize(
    ("names", "prefix", "kept", "beside"),
    [
        (["backbone.w", "backbone.b"], "backbone.", ["w", "b"], {}),
        (["module.backbone.w", "module.head.w"], "module.backbone.", ["w"], {"head": "1 entry"}),
        (["backbone.module.w"], "backbone.module.", ["w"], {}),
        (["module.w", "b"], "", ["module.w", "b"], {}),
        (["w", "ema_backbone_w"], "", ["w", "ema_backbone_w"], {}),
        ([*(f"w{i}" for i in range(20)), "backbone.x"], "", [], {}),
        (["backbone.w", "ema_neck_a", "ema_neck_b"], "backbone.", ["w"], {"ema_*": "2 entries"}),
        (["backbone.w", "neck.a", "neck.b"], "backbone.", ["w"], {"neck": "2 entries"}),
    ],
)
def test_prefixes_are_peeled_to_the_end(
    names: list[str], prefix: str, kept: list[str], beside: dict[str, Any], tmp_path: Path
) -> None:
    """`module.` when every name has it, `backbone.` when any has."""
    save_file({name: np.ones(2, "f4") for name in names}, tmp_path / "x.safetensors")

    found = open_checkpoint(tmp_path / "x.safetensors")

    assert found.prefix == prefix
    assert sorted(found.tensors) == sorted(kept or names)
    assert found.beside == beside


@pytest.mark.torch
def test_wrapper_choices(tmp_path: Path) -> None:
    """`model` is the default; among other names the user chooses; `module.` is removed."""
    import torch

    one, two = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    torch.save({"model": one, "model_ema": two, "epoch": 3}, tmp_path / "both.pth")
    torch.save({"a": one, "b": two}, tmp_path / "ab.pth")
    torch.save({"module.w": torch.ones(2)}, tmp_path / "ddp.pth")
    torch.save({"state_dict": {"model": one}}, tmp_path / "deep.pth")

    both = open_checkpoint(tmp_path / "both.pth")
    assert both.wrapper == ("model",)
    assert both.options == ("model_ema",)
    assert any("model_ema" in note for note in both.notes())
    assert not both.tensors["w"].read().any()
    assert open_checkpoint(tmp_path / "both.pth", "model_ema").tensors["w"].read().all()
    with pytest.raises(CheckpointError, match=r"no weights under 'nets'.*'model', 'model_ema'"):
        open_checkpoint(tmp_path / "both.pth", "nets")
    with pytest.raises(CheckpointError, match=r"several keys: 'a', 'b'.*--weights"):
        open_checkpoint(tmp_path / "ab.pth")
    assert open_checkpoint(tmp_path / "ddp.pth").prefix == "module."
    assert list(open_checkpoint(tmp_path / "ddp.pth").tensors) == ["w"]
    assert open_checkpoint(tmp_path / "deep.pth").wrapper == ("state_dict", "model")


class Touch:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.torch
def test_hostile_training_checkpoint_runs_nothing(tmp_path: Path) -> None:
    """A command hidden beside the weights is not run; the weights are still read."""
    import torch

    state = {"w": torch.ones(3)}
    extra = {"args": argparse.Namespace(a=1), "bad": Touch(tmp_path / "executed")}
    torch.save({"model": state, **extra}, tmp_path / "x.pth")

    found = open_checkpoint(tmp_path / "x.pth")

    assert found.tensors["w"].read().tolist() == [1, 1, 1]
    assert found.beside["bad"] == "posix.system"
    assert not (tmp_path / "executed").exists()


@pytest.mark.torch
def test_torch_files_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    """Cut off, compressed, a view outside its storage."""
    import torch

    path = tmp_path / "x.pth"
    torch.save({"w": torch.ones(100, 100)}, path)
    whole = path.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with zipfile.ZipFile(tmp_path / "short.pth", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:80] if name.endswith("data/0") else data)

    for name, message in {
        "cut.pth": "cut short",
        "packed.pth": "compressed",
        "short.pth": "storage 0 holds 80 bytes, expected 40000",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(tmp_path / name)


# -- safetensors


def test_safetensors_are_read(tmp_path: Path) -> None:
    """Names, shapes, dtypes and values as saved."""
    rng = np.random.default_rng(0)
    dtypes = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?"]
    state = {f"t{d}": (rng.standard_normal((3, 4)) * 9).astype(d) for d in dtypes}
    state |= {"scalar": np.full((), 2, "f4"), "empty": np.zeros((0, 2), "f4")}
    save_file(state, tmp_path / "x.safetensors")

    found = open_checkpoint(tmp_path / "x.safetensors")

    assert set(found.tensors) == set(state)
    for name, array in state.items():
        assert found.tensors[name].shape == array.shape
        np.testing.assert_array_equal(found.tensors[name].read(), array)


def safetensors_bytes(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}},
        {"w": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}},
        {"w": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
        {"w": {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 16]}},
        {"w": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}},
        {"w": {"shape": [4]}},
        {"w": [1]},
    ],
)
def test_safetensors_that_contradict_themselves_are_refused(header: object, tmp_path: Path) -> None:
    """Ranges that do not fit shape or file, unknown dtypes, malformed entries."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(16)))

    with pytest.raises(CheckpointError, match=str(path)):
        open_checkpoint(path)


# -- Paddle


def some_state() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    dtypes = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?", "c8", "c16"]
    state = {f"t{d}": (rng.standard_normal((3, 4)) * 9).astype(d) for d in dtypes}
    large = rng.standard_normal((1300, 900)).astype("f4")
    return state | {
        "scalar": np.full((), 2, "f4"),
        "empty": np.zeros((0, 2), "f4"),
        "turned": large.T,
        "large": large,
        "ünïcode": np.ones(2, "f4"),
    }


def test_written_pdparams_come_back(tmp_path: Path) -> None:
    """The reader gives back every dtype, shape and value, in order."""
    state = some_state()
    path = write_paddle(tmp_path / "x.pdparams", state)

    found = open_checkpoint(path)

    assert found.format == "Paddle .pdparams"
    assert list(found.tensors) == list(state)
    for name, array in state.items():
        assert found.tensors[name].dtype == str(array.dtype)
        np.testing.assert_array_equal(found.tensors[name].read(), array)


def test_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    """Output is deterministic."""
    one = write_paddle(tmp_path / "1.pdparams", some_state())
    two = write_paddle(tmp_path / "2.pdparams", some_state())

    assert one.read_bytes() == two.read_bytes()


def test_written_pdparams_name_old_numpy_only(tmp_path: Path) -> None:
    """A plain unpickler reads them, and they name no module that one NumPy lacks."""
    path = write_paddle(tmp_path / "x.pdparams", some_state())
    loaded = pickle.loads(path.read_bytes())

    assert list(loaded) == list(some_state())
    assert all(type(value) is np.ndarray for value in loaded.values())
    assert b"numpy._core" not in path.read_bytes()


@pytest.mark.paddle
def test_paddle_loads_written_files(tmp_path: Path) -> None:
    """paddle.load gives tensors with the same values, and no warning."""
    import paddle

    state = {k: v for k, v in some_state().items() if k != "empty"}
    state["bits"] = np.array([0x3F80, 0xC000, 0x7FC0], np.uint16)
    tensors = {name: held(value) for name, value in state.items()}
    tensors["bits"] = replace(tensors["bits"], dtype="bfloat16", stored="bfloat16")
    write_tensors(tmp_path / "x.pdparams", pdparams.layout(tensors))

    found = paddle.load(str(tmp_path / "x.pdparams"))

    assert list(found) == list(state)
    assert all(isinstance(value, paddle.Tensor) for value in found.values())
    assert "bfloat16" in str(found["bits"].dtype)
    for name, array in state.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


@pytest.mark.paddle
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_files_of_paddle_save_are_read(tmp_path: Path, protocol: Literal[2, 3, 4]) -> None:
    """Names, shapes, dtypes and values of paddle.save, wrapped or not."""
    import paddle

    layer = paddle.nn.BatchNorm2D(3)
    known(layer.weight).set_value(paddle.rand([3]))
    path = str(tmp_path / "x.pdparams")
    paddle.save(layer.state_dict(), path, protocol=protocol)

    found = open_checkpoint(path)

    assert list(found.tensors) == list(layer.state_dict())
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(found.tensors[name].read(), value.numpy())


@pytest.mark.parametrize("dtype", ["uint16", "float8_e4m3fn"])
def test_dtypes_that_paddle_would_misread_are_refused(dtype: str) -> None:
    """Paddle would take uint16 for bfloat16; float8 loses its type."""
    with pytest.raises(CheckpointError, match=dtype):
        pdparams.layout({"w": replace(held(np.zeros(2, "u2")), dtype=dtype)})


def test_hostile_pdparams_runs_nothing(tmp_path: Path) -> None:
    """The tensors are read, the command is not run."""
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({"w": np.ones(2, "f4"), "bad": Touch(tmp_path / "executed")}, 4))

    found = open_checkpoint(path)

    assert list(found.tensors) == ["w"]
    assert found.skipped == {"bad": "posix.system"}
    assert not (tmp_path / "executed").exists()


def test_array_that_does_not_fit_its_bytes_is_refused(tmp_path: Path) -> None:
    """A shape of 2^60 needs more bytes than the file has."""
    path = write_paddle(tmp_path / "x.pdparams", {"w": np.ones(7, "f4")})
    path.write_bytes(path.read_bytes().replace(b"J\x07\x00\x00\x00", b"J\xff\xff\xff\x7f"))

    with pytest.raises(CheckpointError, match="needs 8589934588 bytes, found 28"):
        open_checkpoint(path)


# -- other files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a checkpoint"),
        (pickle.dumps({"epoch": 3, "args": [1, 2]}), "holds no named tensors"),
        (pickle.dumps([1, 2, 3]), "holds no named tensors"),
        (pickle.dumps({}), "holds no named tensors"),
        (b"PK\x03\x04" + bytes(50), "cut short"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    """The error names the file and its content."""
    path = tmp_path / "x.pth"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    """A path that does not exist raises no bare OSError."""
    with pytest.raises(CheckpointError, match="No such file"):
        open_checkpoint(tmp_path / "none.pth")


# -- hostile files found by reviewers: each an error or inert data, none a crash, hang or bomb

DEEP = b")" + b"\x85" * 100_000  # a hundred thousand tuples in each other


def hostile_pickles() -> dict[str, bytes]:
    shared = b"}q\x00"
    for level in range(1, 40):  # each dict holds the one before many times
        items = b"".join(b"K" + bytes([i]) + b"h" + bytes([level - 1]) for i in range(40))
        named = items.replace(b"K", b"\x8c\x01").replace(b"\x8c\x01\x8c", b"\x8c\x01x")
        shared += b"}q" + bytes([level]) + b"(" + named + b"u"
    return {
        "deep key of an OrderedDict": b"\x80\x02ccollections\nOrderedDict\n]]"
        + DEEP
        + b"aK\x01aa\x85R.",
        "deep dtype": b"\x80\x02}X\x01\x00\x00\x00wcnumpy\ndtype\n" + DEEP + b"\x85Rs.",
        "a dict that holds itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        "one byte": b"\x80",
        "a number of 20,000 bytes": b"\x80\x02}X\x05\x00\x00\x00epoch\x8b\x20\x4e\x00\x00"
        + b"\x7f" * 20_000
        + b"s.",
        "dicts within dicts": b"\x80\x02" + shared + b".",
    }


@pytest.mark.parametrize("name", hostile_pickles())
def test_hostile_pickles_are_refused(name: str, tmp_path: Path) -> None:
    """Refusing takes no more time and memory than reading them once."""
    path = tmp_path / "x.pdparams"
    path.write_bytes(hostile_pickles()[name])

    with pytest.raises(CheckpointError):
        open_checkpoint(path)


@pytest.mark.parametrize("shape", [[1e999], [1000.0], ["4"], [True]])
def test_shapes_of_no_integers_are_refused(shape: list[Any], tmp_path: Path) -> None:
    """1000.0 == 1000, but it is not an axis."""
    header = {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(4)))

    with pytest.raises(CheckpointError):
        open_checkpoint(path)


@pytest.mark.torch
def test_expanded_bomb_is_refused(tmp_path: Path) -> None:
    """Four bytes that claim to be eleven gigabytes."""
    import torch

    torch.save({"w": torch.ones(1).expand(3_000_000_000)}, tmp_path / "x.pth")

    with pytest.raises(CheckpointError, match="the limit is"):
        open_checkpoint(tmp_path / "x.pth")


@pytest.mark.torch
def test_entries_among_the_weights_that_are_not_tensors_are_reported(tmp_path: Path) -> None:
    """A sparse tensor, a number, a NumPy array: reported, never dropped silently."""
    import torch

    state = {"w": torch.ones(2), "scale": 2.0, "sparse": torch.eye(3).to_sparse()}
    torch.save(state, tmp_path / "x.pth")

    found = open_checkpoint(tmp_path / "x.pth")

    sparse = "a sparse tensor. Save {name: t.to_dense() ...} instead"
    assert found.skipped == {"scale": "2.0", "sparse": sparse}
    assert any("sparse among the weights cannot be read" in note for note in found.notes())


def test_pipe_is_refused(tmp_path: Path) -> None:
    """Opening a pipe would wait for ever."""
    import os

    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CheckpointError, match="is not a regular file"):
        open_checkpoint(tmp_path / "pipe")
