"""Every checkpoint format: old and new torch.save, sharded, NumPy, Paddle's own."""

import io
import json
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file
from test_checkpoints import bits, odd_tensors

from conftest import OLD_TORCH, Make, arrays
from vitconvert import CheckpointError, open_checkpoint


def assert_same(path: Path, expected: dict[str, np.ndarray]) -> None:
    """Compare names, shapes and bits; bfloat16 is uint16 in NumPy."""
    found = open_checkpoint(path).tensors
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert bits(found[name].read()) == bits(array), name


# -- PyTorch


@pytest.mark.parametrize("path", sorted(OLD_TORCH.glob("*.pth")), ids=lambda path: path.stem)
def test_files_of_old_releases_are_read(path: Path) -> None:
    """Written by PyTorch 1.4, 1.6 and 1.12: both formats, every layout, tagged cuda:0 or not."""
    name = "expected_cuda.npz" if path.stem.endswith("cuda") else "expected.npz"
    with np.load(OLD_TORCH / name) as expected:
        assert_same(path, dict(expected))

    found = open_checkpoint(path)
    assert found.format == ("PyTorch before 1.6" if "legacy" in path.stem else "PyTorch zip")
    assert found.side == "torch"
    if "cuda" not in path.stem:
        assert found.wrapper == ("model",)
        assert found.beside == {"epoch": "7", "args": "argparse.Namespace"}


@pytest.mark.torch
def test_older_format_equals_torch_load(tmp_path: Path) -> None:
    """As this release writes it: every layout, and all dtypes that it can read back itself."""
    import torch

    path = tmp_path / "old.pth"
    untyped = ("uint16", "uint32", "float8_e4m3fn", "float8_e5m2")
    state = {name: tensor for name, tensor in odd_tensors().items() if name not in untyped}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    expected = torch.load(path, weights_only=True)

    found = open_checkpoint(path)

    assert list(found.tensors) == list(expected)
    for name, tensor in expected.items():
        values = tensor.detach()
        raw = values.contiguous().reshape(-1).view(torch.uint8) if values.numel() else values
        assert bits(found.tensors[name].read()) == bits(raw.numpy()), name


@pytest.mark.torch
def test_file_of_a_big_endian_machine_equals_torch_load(tmp_path: Path) -> None:
    """A record holds the byte order; torch swaps the bytes, and so does vitconvert."""
    import torch

    state = {n: t for n, t in odd_tensors().items() if not n.startswith(("uint1", "uint3"))}
    torch.save(state, tmp_path / "little.pth")
    sizes = {}
    for tensor in state.values():
        storage = tensor.untyped_storage()
        width = tensor.element_size() // (2 if tensor.is_complex() else 1)
        sizes[bytes(storage)] = width
    with (
        zipfile.ZipFile(tmp_path / "little.pth") as source,
        zipfile.ZipFile(tmp_path / "big.pth", "w") as target,
    ):
        for info in source.infolist():
            data = source.read(info)
            if "/data/" in info.filename and data:
                data = np.frombuffer(data, f"u{sizes[data]}").byteswap().tobytes()
            name = info.filename
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    expected = torch.load(tmp_path / "big.pth", weights_only=True)

    found = open_checkpoint(tmp_path / "big.pth").tensors

    for name, tensor in expected.items():
        values = tensor.detach()
        raw = values.contiguous().reshape(-1).view(torch.uint8) if values.numel() else values
        assert bits(found[name].read()) == bits(raw.numpy()), name


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_whole_models_and_programs_are_refused_with_advice(legacy: bool, tmp_path: Path) -> None:
    """torch.save(model) names code that vitconvert does not run."""
    import torch

    model = torch.nn.Linear(2, 2)
    torch.save(model, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)

    with pytest.raises(CheckpointError, match=r"whole model.*state_dict"):
        open_checkpoint(tmp_path / "x.pth")


def test_tar_format_is_refused(tmp_path: Path) -> None:
    """PyTorch before 0.1.10 wrote tar archives."""
    with tarfile.open(tmp_path / "x.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())

    with pytest.raises(CheckpointError, match=r"x\.pth: a tar archive.*does not read"):
        open_checkpoint(tmp_path / "x.pth")


@pytest.mark.torch
def test_file_without_checksums_is_read(tmp_path: Path) -> None:
    """PyTorch can leave them out; a zero then means none, not a wrong one."""
    import torch

    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(7.0)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)

    found = open_checkpoint(tmp_path / "x.pth")
    found.check()
    assert found.tensors["w"].read().tolist() == [0, 1, 2, 3, 4, 5, 6]


# -- wrappers and prefixes


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state", "model_ema", "ema", "net"])
@pytest.mark.parametrize("deeper", [(), ("state_dict",), ("model", "module")])
def test_wrappers_are_peeled(key: str, deeper: tuple[str, ...], tmp_path: Path) -> None:
    """Nested, beside an optimizer that holds arrays as well."""
    tree: Any = {"module._orig_mod.w": np.ones(2, "f4")}
    for name in reversed([key, *deeper]):
        tree = {name: tree, "optimizer": {"w_moment": np.zeros(2, "f4")}, "epoch": 3}
    (tmp_path / "x").write_bytes(pickle.dumps(tree))

    found = open_checkpoint(tmp_path / "x")

    assert list(found.tensors) == ["w"]
    assert found.wrapper == (key, *deeper)
    assert found.prefix == "module._orig_mod."
    assert set(found.beside) == {"optimizer", "epoch"}
    assert next(iter(found.notes())).startswith(f"weights found under '{key}'")


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "backbone.", "module._orig_mod.", "_orig_mod.module.backbone."],
)
def test_prefixes_are_peeled_in_any_order(prefix: str, tmp_path: Path) -> None:
    """The prefixes of DataParallel, torch.compile and a detector."""
    save_file({prefix + name: np.ones(2, "f4") for name in ("w", "b")}, tmp_path / "x")

    found = open_checkpoint(tmp_path / "x")

    assert sorted(found.tensors) == ["b", "w"]
    assert found.prefix == prefix
    assert f"prefix {prefix!r} removed from the names" in found.notes()


def test_two_candidates_are_the_users_choice(tmp_path: Path) -> None:
    """Unless one of them is `model`, which is then the default, and a note names the other."""
    one, two = {"w": np.zeros(2, "f4")}, {"w": np.ones(2, "f4")}
    (tmp_path / "x").write_bytes(pickle.dumps({"net": one, "ema": two}))

    with pytest.raises(CheckpointError, match=r"several keys: 'net', 'ema'.*--weights"):
        open_checkpoint(tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"no weights under 'foo'; .* under 'net', 'ema'"):
        open_checkpoint(tmp_path / "x", "foo")
    assert open_checkpoint(tmp_path / "x", "ema").tensors["w"].read().all()


def test_model_with_another_beside_it_is_taken(tmp_path: Path) -> None:
    """A note names the other, and --weights chooses it."""
    one, two = {"fc.w": np.zeros(2, "f4")}, {"fc.w": np.ones(2, "f4")}
    (tmp_path / "x").write_bytes(pickle.dumps({**one, "teacher": two}))

    found = open_checkpoint(tmp_path / "x")

    assert not found.tensors["fc.w"].read().any()
    assert (found.options, found.skipped) == (("teacher",), {})
    assert open_checkpoint(tmp_path / "x", "teacher").tensors["fc.w"].read().all()


def test_counter_of_an_averaged_model_is_not_a_weight(tmp_path: Path) -> None:
    """torch.optim.swa_utils.AveragedModel saves one beside the names under `module.`."""
    save_file({"module.w": np.ones(2, "f4"), "n_averaged": np.array([3], "i8")}, tmp_path / "x")

    found = open_checkpoint(tmp_path / "x")

    assert list(found.tensors) == ["w"]
    assert found.beside == {"n_averaged": "tensor"}


# -- sharded


@pytest.mark.torch
def test_sharded_checkpoints_are_read_as_one(plain: Make, tmp_path: Path) -> None:
    """The index of Hugging Face, with .safetensors or torch.save's files, or both."""
    import torch

    state = arrays(plain("shiftvit_cifar"))
    names = list(state)
    halves = {"model-1.safetensors": names[:50], "model-2.bin": names[50:]}
    save_file({n: state[n] for n in names[:50]}, tmp_path / "model-1.safetensors")
    torch.save({n: torch.from_numpy(state[n]) for n in names[50:]}, tmp_path / "model-2.bin")
    index = {"metadata": {}, "weight_map": {n: f for f, ns in halves.items() for n in ns}}
    (tmp_path / "model.index.json").write_text(json.dumps(index))

    found = open_checkpoint(tmp_path / "model.index.json")

    assert found.format == "sharded PyTorch zip and safetensors"
    assert found.side == "torch"
    assert [path.name for path in found.files] == ["model.index.json", *halves]
    assert_same(tmp_path / "model.index.json", state)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"w": "../x.safetensors"}, "expected the name of a file beside the index"),
        ({"w": "/etc/passwd"}, "expected the name of a file beside"),
        ({"w": "none.safetensors"}, "none.safetensors: cannot be read: No such file"),
        ({"w": "x.safetensors", "v": "x.safetensors"}, "tensors that its files do not hold: v in"),
        ({}, "holds no named tensors"),
        ({"w": "index.json"}, "index.json: not a checkpoint"),
        ([], "expected a weight_map"),
    ],
)
def test_wrong_indexes_are_refused(weight_map: Any, message: str, tmp_path: Path) -> None:
    """Files outside the folder, missing files, misplaced tensors."""
    save_file({"w": np.ones(2, "f4")}, tmp_path / "x.safetensors")
    (tmp_path / "index.json").write_text(json.dumps({"weight_map": weight_map}))

    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / "index.json")


def test_tensor_that_the_index_does_not_name_is_an_error(tmp_path: Path) -> None:
    """Nothing is skipped silently."""
    save_file({"w": np.ones(2, "f4"), "v": np.ones(2, "f4")}, tmp_path / "x.safetensors")
    (tmp_path / "index.json").write_text(json.dumps({"weight_map": {"w": "x.safetensors"}}))

    with pytest.raises(CheckpointError, match="does not name tensors that its files hold: v of x"):
        open_checkpoint(tmp_path / "index.json")


def test_a_header_whose_length_looks_like_json_is_none(tmp_path: Path) -> None:
    """31520 bytes: a space and a brace."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes((31520).to_bytes(8, "little") + header.ljust(31520) + bytes(8))
    assert path.read_bytes().startswith(b" {")

    assert open_checkpoint(path).format == "safetensors"


# -- NumPy


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read(save: Any, tmp_path: Path) -> None:
    """Stored or compressed, either byte order, Fortran order, scalars and empty arrays."""
    rng = np.random.default_rng(0)
    state = {
        f"a/{d}": (rng.standard_normal((3, 4)) * 9).astype(d)
        for d in ("f8", "f4", "f2", ">f4", "i8", "i4", "i2", "i1", "u1", "?", "c8")
    }
    state |= {
        "fortran": np.asfortranarray(rng.standard_normal((30, 20))),
        "scalar": np.array(3, "f4"),
        "empty": np.zeros((0, 2)),
        "large": rng.standard_normal((300, 200)),
    }
    save(tmp_path / "x.npz", **state)

    found = open_checkpoint(tmp_path / "x.npz")

    found.check()
    assert (found.format, found.side) == ("NumPy .npz", None)
    assert list(found.tensors) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(found.tensors[name].read(), array)


def test_objects_and_texts_in_an_npz_are_reported(tmp_path: Path) -> None:
    """Objects are pickles, which are never executed."""
    objects = np.array([{}, []], dtype=object)
    np.savez(tmp_path / "x.npz", w=np.ones(2), objects=objects, note="text")

    assert open_checkpoint(tmp_path / "x.npz").skipped == {
        "objects": "array of dtype '|O'",
        "note": "array of dtype '<U4'",
    }


def test_compressed_npz_is_unpacked_when_it_is_read(tmp_path: Path) -> None:
    """Not before: a hundred arrays, tiny on the disk and large unpacked, take no memory."""
    import tracemalloc

    zeros: dict[str, Any] = {f"a{i}": np.zeros(1_000_000, "f4") for i in range(30)}
    np.savez_compressed(tmp_path / "x.npz", **zeros)
    tracemalloc.start()

    found = open_checkpoint(tmp_path / "x.npz")

    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert not found.tensors["a29"].read().any()


@pytest.mark.torch
def test_checkpoint_with_npy_in_its_name_is_not_an_npz(tmp_path: Path) -> None:
    """torch.save names its records after the file."""
    import torch

    torch.save({"w": torch.ones(2)}, tmp_path / "m.npy.pth")

    assert open_checkpoint(tmp_path / "m.npy.pth").format == "PyTorch zip"


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_views_that_are_not_plain_tensors_are_reported(legacy: bool, tmp_path: Path) -> None:
    """Conjugated, negated, quantized, sparse: their storage alone would give other values."""
    import torch

    z, other = torch.view_as_complex(torch.arange(24.0).reshape(2, 3, 2, 2)).clone()
    state = {"w": torch.ones(2), "conj": z.conj(), "neg": other.clone().conj().imag}
    with warnings.catch_warnings(action="ignore"):  # deprecated, but in files of years
        state["quantized"] = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)

    found = open_checkpoint(tmp_path / "x.pth")

    assert list(found.tensors) == ["w"]
    told = {name: what.partition(". ") for name, what in found.skipped.items()}
    assert {name: what for name, (what, _, _) in told.items()} == {
        "conj": "a conjugated or negated view",
        "neg": "a conjugated or negated view",
        "quantized": "a quantized tensor, whose integers mean nothing without their scales",
    }
    assert "t.resolve_conj().resolve_neg()" in told["conj"][2]
    assert "t.dequantize()" in told["quantized"][2]


# -- Paddle

Protocol = Literal[2, 3, 4]  # of pickle, that paddle.save knows


@pytest.mark.paddle
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_nested_dict_of_paddle_is_read(protocol: Protocol, tmp_path: Path) -> None:
    """{'model': ..., 'epoch': ...}: each tensor and parameter is then (name, array)."""
    import paddle

    layer = paddle.nn.Sequential(paddle.nn.Linear(40, 30), paddle.nn.BatchNorm2D(3))
    state = layer.state_dict()
    tree: Any = {"model": state, "opt": {"w_moment1_0": paddle.ones([2])}, "epoch": 3, "best": 81.5}
    paddle.save(tree, str(tmp_path / "x.pdparams"), protocol=protocol)

    found = open_checkpoint(tmp_path / "x.pdparams")

    assert (found.wrapper, found.side) == (("model",), "paddle")
    assert found.beside == {"opt": "dict of 1", "epoch": "3", "best": "81.5"}
    assert_same(tmp_path / "x.pdparams", {name: value.numpy() for name, value in state.items()})


@pytest.mark.paddle
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_dense_tensors_of_paddle_are_read(protocol: Protocol, tmp_path: Path) -> None:
    """paddle.save writes them as a call of eval, which is never made."""
    import paddle

    value = paddle.arange(12, dtype="float32").reshape([3, 4])
    dense = value.value().get_tensor()  # a view, which `value` keeps alive
    tree: Any = {"a": {"w": dense}, "n": 1}
    paddle.save(tree, str(tmp_path / "x.pdparams"), protocol=protocol)

    assert_same(tmp_path / "x.pdparams", {"w": np.arange(12, dtype="f4").reshape(3, 4)})


@pytest.mark.paddle
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_dtypes_of_paddle_are_read(dtype: Any, tmp_path: Path) -> None:
    """As paddle.save stores them; bfloat16 as its bits."""
    import paddle

    value = (paddle.arange(12, dtype="float32") / 3).cast(dtype)
    paddle.save({"w": value, "scalar": paddle.to_tensor(2.5)}, str(tmp_path / "x.pdparams"))

    found = open_checkpoint(tmp_path / "x.pdparams").tensors["w"]

    assert found.dtype == dtype
    assert bits(found.read()) == bits(value.numpy())


def split(name: str, array: np.ndarray, size: int) -> dict[str, Any]:
    """Split a large tensor as paddle.save does in protocols 2 and 3."""
    flat = array.reshape(-1)
    parts = [flat[start : start + size] for start in range(0, flat.size, size)]
    names = [f"{name}@@.{i}" for i in range(len(parts))]
    info = {name: {"OriginShape": array.shape, "slices": names}}
    return dict(zip(names, parts, strict=True)) | {"UnpackBigParamInfor@@": info}


@pytest.mark.parametrize("protocol", [2, 3])
def test_split_tensors_are_joined(protocol: int, tmp_path: Path) -> None:
    """Those protocols cannot hold a large tensor in one piece."""
    rng = np.random.default_rng(0)
    large, small = rng.standard_normal((70, 50)).astype("f4"), rng.standard_normal(5).astype("f4")
    (tmp_path / "x").write_bytes(pickle.dumps({"s": small, **split("w", large, 1000)}, protocol))

    assert_same(tmp_path / "x", {"s": small, "w": large})


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.parametrize("protocol", [2, 3])
def test_tensor_above_one_gibibyte_is_read(protocol: Protocol, tmp_path: Path) -> None:
    """As paddle.save splits it."""
    import paddle

    large = np.arange((2**30 + 2**20) // 2, dtype="i2").reshape(-1, 1024)
    state = {"w": paddle.to_tensor(large), "v": paddle.ones([3])}
    paddle.save(state, str(tmp_path / "x.pdparams"), protocol=protocol)

    found = open_checkpoint(tmp_path / "x.pdparams").tensors

    assert set(found) == {"w", "v"}
    assert found["w"].shape == large.shape
    np.testing.assert_array_equal(found["w"].region((999, 0), (70, 1024)).read(), large[999:1069])
    np.testing.assert_array_equal(
        found["w"].region((524_700, 0), (88, 1024)).read(), large[524_700:524_788]
    )
