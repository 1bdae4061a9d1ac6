"""Tensors that are not plain: those that hold all their values are read, others are named."""

import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from conftest import write_paddle
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.tables.identify import closest
from vitconvert.tables.plan import source_side
from vitconvert.tables.reading import load_table

STATE: dict[str, np.ndarray] = {
    "a.weight": np.arange(6, dtype="f4").reshape(2, 3),
    "a.bias": np.asfortranarray(np.arange(6, dtype="f8").reshape(3, 2)),
    "a.big": np.arange(2000, dtype=">f4"),
    "a.count": np.int64(7),  # type: ignore[dict-item]
    "a.scale": np.float32(0.5),  # type: ignore[dict-item]
    "a.none": np.zeros((0, 4), "f4"),
}


def check(path: Path, wrapper: tuple[str, ...] = ()) -> None:
    """Compare names, shapes and values with those above."""
    found = open_checkpoint(path)
    assert found.wrapper == wrapper
    assert list(found.tensors) == list(STATE)
    for name, array in STATE.items():
        assert found.tensors[name].shape == array.shape, name
        assert np.array_equal(found.tensors[name].read(), array), name


@pytest.mark.parametrize("protocol", range(1, 6))
def test_pickled_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    """As pickle.dump writes them, in a dict of their own or as detectron2 has them."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(STATE, protocol))
    (tmp_path / "d2.pkl").write_bytes(pickle.dumps({"model": STATE, "__author__": "x"}, protocol))

    check(tmp_path / "x.pkl")
    check(tmp_path / "d2.pkl", ("model",))
    assert open_checkpoint(tmp_path / "x.pkl").format == "pickled NumPy arrays"
    assert open_checkpoint(tmp_path / "x.pkl").side is None


def test_arrays_that_numpy_saved_in_a_dict_are_read(tmp_path: Path) -> None:
    """numpy.save and numpy.savez make a pickle of it."""
    np.save(tmp_path / "x.npy", STATE, allow_pickle=True)  # type: ignore[arg-type]
    np.savez(tmp_path / "x.npz", model=STATE)  # type: ignore[arg-type]

    check(tmp_path / "x.npy")
    check(tmp_path / "x.npz", ("model",))


def test_an_npy_of_one_array_holds_no_names(tmp_path: Path) -> None:
    """It says what was expected."""
    np.save(tmp_path / "x.npy", np.ones(3))

    with pytest.raises(CheckpointError, match="holds no named tensors"):
        open_checkpoint(tmp_path / "x.npy")


@pytest.mark.torch
@pytest.mark.parametrize(("legacy", "protocol"), [(False, 2), (False, 4), (True, 2)])
def test_arrays_inside_torch_save_are_read(legacy: bool, protocol: int, tmp_path: Path) -> None:
    """Beside tensors; a random state beside the weights is no reason to refuse them."""
    import torch

    tree = {"model": STATE, "rng": np.random.RandomState(0).get_state(), "best": np.float64(0.5)}
    torch.save(
        tree,
        tmp_path / "x.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )

    check(tmp_path / "x.pth", ("model",))
    assert open_checkpoint(tmp_path / "x.pth").beside["best"] == "a number (float64)"


class Plain:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def named(monkeypatch: pytest.MonkeyPatch, full: str, is_class: bool = False) -> Any:
    """Make a function, or a class, that pickles under a name of a library that is not here."""
    module, _, name = full.rpartition(".")
    made: Any = type(name, (), {"__module__": module}) if is_class else lambda *_: None
    if not is_class:
        made.__module__, made.__qualname__, made.__name__ = module, name, name
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        at = ".".join(parts[:end])
        if at not in sys.modules:
            monkeypatch.setitem(sys.modules, at, types.ModuleType(at))
    monkeypatch.setattr(sys.modules[module], name, made, raising=False)
    return made


@pytest.mark.torch
@pytest.mark.parametrize(
    "function", ["_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor", "cpu"]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_xla_are_read(function: str, legacy: bool, tmp_path: Path) -> None:
    """A NumPy array or a CPU tensor, and the dtype it had: bfloat16 is written as float32."""
    import torch

    values = np.array([[1.0, -2.5], [3e-3, 4.0]], "f4")
    data: Any = values
    if function == "cpu":
        function, data = "_rebuild_device_tensor_from_cpu_tensor", torch.from_numpy(values)
    rebuild = getattr(torch._utils, function)
    state = {
        "w.f": Plain(rebuild, data, torch.float32, "xla:0", False),
        "w.b": Plain(rebuild, data, torch.bfloat16, "xla:0", False),
    }
    torch.save({"model": state}, tmp_path / "x", _use_new_zipfile_serialization=not legacy)

    found = open_checkpoint(tmp_path / "x").tensors

    assert np.array_equal(found["w.f"].read(), values)
    assert found["w.b"].dtype == "bfloat16"
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
    assert np.array_equal(found["w.b"].read().view(np.int16), expected)


def test_arrays_of_jax_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They pickle as a NumPy array in parts."""
    rebuild = named(monkeypatch, "jax._src.array._reconstruct_array")
    array = np.arange(4, dtype="f4")
    function, arguments, state = cast(tuple[Any, Any, Any], array.__reduce__())
    (tmp_path / "x.pkl").write_bytes(
        pickle.dumps({"w": Plain(rebuild, function, arguments, state, {"weak_type": False})})
    )

    assert open_checkpoint(tmp_path / "x.pkl").tensors["w"].read().tolist() == [0, 1, 2, 3]


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_of_torch_tensors_is_read(protocol: int, tmp_path: Path) -> None:
    """pickle.dump(model.state_dict()): each storage is a file of its own within the pickle."""
    import torch

    state = {"a.w": torch.arange(6.0).reshape(2, 3), "a.b": torch.ones(2000, dtype=torch.float16)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(state, protocol))

    found = open_checkpoint(tmp_path / "x.pkl")
    assert found.side == "torch"
    for name, value in state.items():
        assert np.array_equal(found.tensors[name].read(), value.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_subclasses_with_plain_values_are_read(legacy: bool, tmp_path: Path) -> None:
    """With attributes of their own, as parameters and buffers with attributes are."""
    import torch

    tensor = torch.arange(3.0).as_subclass(Image)
    tensor.origin = "camera"
    parameter = torch.nn.Parameter(torch.arange(3.0))
    parameter.rank = 3  # type: ignore[attr-defined]
    state = {"sub.w": tensor, "par.w": parameter, "buf.w": torch.nn.Buffer(torch.arange(3.0))}
    torch.save(state, tmp_path / "x", _use_new_zipfile_serialization=not legacy)

    found = open_checkpoint(tmp_path / "x").tensors

    assert list(found) == list(state)
    assert all(one.read().tolist() == [0, 1, 2] for one in found.values())


try:
    import torch as _torch

    class Image(_torch.Tensor):
        """A tensor of a class of its own."""

        origin: str

except ImportError:
    pass


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_a_module_inside_a_dict_is_named(legacy: bool, beside: bool, tmp_path: Path) -> None:
    """With the line to type; where the weights are there as well, they are read."""
    import torch

    model = torch.nn.Linear(2, 2)
    tree: dict[str, Any] = {"model": model, "epoch": 3, "best_acc": np.float64(0.7)}
    if beside:
        tree["state_dict"] = model.state_dict()
    torch.save(tree, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)

    if beside:
        found = open_checkpoint(tmp_path / "x.pth")
        assert list(found.tensors) == ["weight", "bias"]
        assert found.beside["model"].startswith("a whole model (torch.nn.modules.linear.Linear)")
        return
    with pytest.raises(CheckpointError, match=r"a whole model.*torch\.save\(model\.state_dict\(\)"):
        open_checkpoint(tmp_path / "x.pth")


def meta() -> Any:
    import torch

    return torch.ones(2, 2, device="meta")


def sparse() -> Any:
    import torch

    return torch.eye(2).to_sparse()


def nested() -> Any:
    import torch

    return torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])


def conjugated() -> Any:
    import torch

    return torch.ones(2, dtype=torch.complex64).conj()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "what", "step"),
    [
        (meta, "meta device", "assign=True"),
        (sparse, "a sparse tensor", "to_dense"),
        (nested, "a nested tensor", "unbind"),
        (conjugated, "conjugated", "resolve_conj"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_values_are_named(
    make: Callable[[], Any], what: str, step: str, tmp_path: Path
) -> None:
    """Whether all are of the kind or one."""
    import torch

    torch.save({"model": {"a.w": make(), "b.w": make()}}, tmp_path / "all.pth")
    torch.save({"a.w": make(), "b.w": torch.ones(2)}, tmp_path / "one.pth")

    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "all.pth")
    assert what in str(caught.value)
    assert step in str(caught.value)
    found = open_checkpoint(tmp_path / "one.pth").skipped["a.w"]
    assert what in found
    assert step in found


@pytest.mark.torch
@pytest.mark.parametrize(
    ("own", "what", "step"),
    [
        ("torch.distributed.tensor.DTensor", "a DTensor", "full_state_dict=True"),
        ("torch.distributed._tensor.api.DTensor", "a DTensor", "full_tensor()"),
        ("torchao.dtypes.affine_quantized_tensor.AffineQuantizedTensor", "quantized", "dequantize"),
        ("transformer_engine.pytorch.float8_tensor.Float8Tensor", "quantized", "dequantize"),
    ],
)
def test_wrapper_subclasses_are_named(
    own: str, what: str, step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They pickle by torch's own functions, and the class says what they are."""
    import torch

    kind = named(monkeypatch, own, is_class=True)
    facts = (kind, torch.float32, (2,), (1,), 0, torch.strided, "cpu", False)
    wrapped = Plain(
        torch._tensor._rebuild_from_type_v2,
        torch._utils._rebuild_wrapper_subclass,
        kind,
        facts,
        {"_local_tensor": torch.ones(2)},
    )
    torch.save({"model": {f"layers.{i}.w": wrapped for i in range(40)}}, tmp_path / "x.pth")

    with pytest.raises(CheckpointError, match="holds no named tensors") as caught:
        open_checkpoint(tmp_path / "x.pth")
    assert "It holds 40 times a " in str(caught.value)
    assert what in str(caught.value)
    assert step in str(caught.value)


@pytest.mark.torch
def test_sharded_tensors_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """FSDP's sharded state dict has objects in place of tensors."""
    import torch

    kind = named(
        monkeypatch, "torch.distributed._shard.sharded_tensor.api.ShardedTensor", is_class=True
    )
    torch.save({"a.w": kind()}, tmp_path / "x.pth")

    with pytest.raises(CheckpointError, match=r"a ShardedTensor.*FULL_STATE_DICT"):
        open_checkpoint(tmp_path / "x.pth")


@pytest.mark.torch
def test_files_of_a_run_without_weights_are_named(tmp_path: Path) -> None:
    """DeepSpeed's parts, an optimizer, a scaler."""
    import torch

    for tree, told in (
        ({"optimizer_state_dict": [], "ds_config": {}}, "DeepSpeed"),
        ({"state": {}, "param_groups": []}, "the state of an optimizer"),
        ({"scale": 65536.0, "growth_factor": 2.0}, "a gradient scaler"),
    ):
        torch.save(tree, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match=told):
            open_checkpoint(tmp_path / "x.pt")


def test_nothing_in_a_pickle_of_arrays_is_called(tmp_path: Path) -> None:
    """Nor in the pickle within an .npy or a zip of torch.save."""
    fired = tmp_path / "fired"
    evil = {"w": np.ones(2, "f4"), "x": Plain(Path.touch, fired)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(evil))
    np.save(tmp_path / "x.npy", evil, allow_pickle=True)  # type: ignore[arg-type]
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(evil, 2))

    for name in ("x.pkl", "x.npy", "x.pth"):
        assert list(open_checkpoint(tmp_path / name).tensors) == ["w"]
    assert not fired.exists()


@pytest.mark.parametrize("end", ["pkl", "pdparams"])
def test_the_side_of_pickled_arrays_is_found_from_shapes(end: str, tmp_path: Path) -> None:
    """PyTorch's layouts are PyTorch's under any name; alike ones are decided by the name."""
    table = load_table("shunted")
    shapes = {k: tuple(s) for k, s in table.variants["shunted_cifar_tiny"].shapes.items()}
    torch_like = {
        k: np.zeros([10 if isinstance(n, str) else n for n in s], "f4") for k, s in shapes.items()
    }
    path = tmp_path / f"x.{end}"
    path.write_bytes(pickle.dumps(torch_like))
    assert source_side(open_checkpoint(path), table) == "torch"
    assert closest(open_checkpoint(path).shapes, table).distance == 0

    path.write_bytes(pickle.dumps({"patch_embed.proj.weight": np.zeros((1, 3, 2, 2), "f4")}))
    assert source_side(open_checkpoint(path), table) == ("paddle" if end == "pdparams" else "torch")


def test_what_vitconvert_and_paddle_write_is_paddles(tmp_path: Path) -> None:
    """Without looking at shapes: Paddle's entries, or how vitconvert begins a file, show it."""
    own = write_paddle(tmp_path / "own", {"w": np.ones(2, "f4")})
    table = {"w": np.ones(2, "f4"), "StructuredToParameterName@@": {"w": "linear_0.w_0"}}
    (tmp_path / "theirs").write_bytes(pickle.dumps(table))

    for path in (own, tmp_path / "theirs"):
        assert open_checkpoint(path).side == "paddle"
        assert open_checkpoint(path).format == "Paddle .pdparams"
