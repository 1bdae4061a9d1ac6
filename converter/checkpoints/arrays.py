"""NumPy arrays inside pickles: those of .pdparams, of torch.save, and plain ones.

Source of the format: NumPy, ndarray.__reduce__ and dtype.__reduce__, releases 1 and 2; JAX,
jax/_src/array.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CheckpointError
from . import pickles
from ._tensor import DTYPES, Tensor, check_axes, view
from .storage import Held, Latin, Storage

# Letters of a dtype, without byte order -> name. NumPy saves bfloat16 as void of two bytes.
CODES = {dtype.str[1:]: name for name, dtype in reversed(DTYPES.items())}
CODES |= {"u2": "uint16", "u1": "uint8", "V2": "bfloat16"}

# Classes of the package ml_dtypes, which XLA and JAX have their dtypes from.
_CLASSES = {
    f"{module}.{own}": name
    for module in ("ml_dtypes", "jax.numpy", "jaxlib.xla_client")
    for own, name in {"bfloat16": "bfloat16"}.items() | {(n, n) for n in DTYPES if "float8" in n}
}

_DEEPEST = 8  # dicts within one another, in which arrays are looked for


def builders(codes: Mapping[str, str]) -> dict[str, pickles.Builder]:
    """Map the functions that pickled arrays call to their stand-ins.

    Args:
        codes: Letters of a dtype -> its name; other arrays become inert.
    """
    known: dict[str, pickles.Builder] = {
        "numpy.dtype": _Dtype,
        "numpy.dtypes.dtype": _Dtype,
        "_codecs.encode": _encode,
    }
    for module in ("numpy.core", "numpy._core"):
        known[f"{module}.multiarray._reconstruct"] = lambda *_: Array(codes)
        known[f"{module}.multiarray.scalar"] = lambda *facts: scalar(codes, *facts)
        known[f"{module}.numeric._frombuffer"] = lambda *facts: frombuffer(codes, *facts)
    known["jax._src.array._reconstruct_array"] = lambda *facts: jax_array(codes, *facts)
    for module in ("builtins", "__builtin__"):  # the latter in protocol 2
        known[f"{module}.bytes"] = lambda: Held(b"")
        known[f"{module}.bytearray"] = lambda data=None: data if data is not None else Held(b"")
    return known


def _encode(text: str | pickles.Text, encoding: str) -> Held | pickles.Text:
    """Stand in for the call that protocol 2 writes for bytes."""
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return text if isinstance(text, pickles.Text) else Held(text.encode("latin1"))


class _Dtype:
    """A pickled numpy.dtype: constructed with its code; its state holds the byte order."""

    def __init__(self, code: str | pickles.Global, *_: Any) -> None:
        if isinstance(code, pickles.Global):
            code = code.name
        if not isinstance(code, str):
            raise TypeError("a dtype that is not a string")
        self.code = code
        self.order = "<"

    def set_state(self, state: Any) -> None:
        self.order = ">" if state[1] == ">" else "<"


class Array:
    """A pickled numpy.ndarray, filled by its state.

    Attributes:
        tensor: Its values; None if they are not numbers.
        what: Describes an array of something else than numbers.
        items: What an array of objects holds.
    """

    def __init__(self, codes: Mapping[str, str]) -> None:
        self.codes = codes
        self.tensor: Tensor | None = None
        self.what = "array"
        self.items: list[Any] | None = None

    def set_state(self, state: Any) -> None:
        """Take shape, dtype and values."""
        _version, shape, dtype, fortran, data = state
        self.tensor, self.items = None, None  # the last state counts
        name = _name(dtype, self.codes)
        if name is None:
            self.what = f"array of dtype {getattr(dtype, 'code', '?')!r:.60}"  # such as objects
            self.items = data if isinstance(data, list) else None
            return
        self.tensor = _filled(name, dtype, shape, fortran, data)


def _name(dtype: Any, codes: Mapping[str, str]) -> str | None:
    """Give the name of a dtype; None if tensors do not have it."""
    if not isinstance(dtype, _Dtype):
        return None
    code = dtype.code.lstrip("<>|=")
    return codes.get("b1" if code == "?" else code) or _CLASSES.get(dtype.code)


def _filled(name: str, dtype: _Dtype, shape: Any, fortran: Any, data: Any) -> Tensor:
    """Make a tensor of the values of an array."""
    shape = check_axes(shape)
    size = math.prod(shape) * DTYPES[name].itemsize
    if isinstance(data, pickles.Text):
        data = Latin(data.part, size)
    elif isinstance(data, str):  # bytes of Python 2
        data = Held(data.encode("latin1"))
    if data.size != size:
        raise CheckpointError(
            f"an array of {name} {list(shape)} needs {size} bytes, found {data.size}"
        )
    big_endian = dtype.order == ">" or dtype.code.startswith(">")
    if fortran:
        return view(data, name, shape[::-1], big_endian=big_endian).transposed()
    return view(data, name, shape, big_endian=big_endian)


def frombuffer(codes: Mapping[str, str], *facts: Any) -> Any:
    """Stand in for numpy._core.numeric._frombuffer, which protocol 5 writes for an array."""
    data, dtype, shape, order, *_ = facts
    if (name := _name(dtype, codes)) is None:
        return pickles.Opaque(f"array of dtype {getattr(dtype, 'code', '?')!r:.60}")
    return _filled(name, dtype, shape, order == "F", data)


class Scalar(pickles.Opaque):
    """A NumPy scalar: a tensor where most are, elsewhere a number beside the weights."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(f"a number ({tensor.dtype})")
        self.tensor = tensor


def scalar(codes: Mapping[str, str], dtype: Any, data: Any = None, *_: Any) -> Any:
    """Stand in for numpy._core.multiarray.scalar."""
    name = _name(dtype, codes)
    if name is None or not isinstance(data, (Storage, str)):
        return pickles.Opaque(f"NumPy scalar of dtype {getattr(dtype, 'code', '?')!r:.60}")
    return Scalar(_filled(name, dtype, (), False, data))


def jax_array(codes: Mapping[str, str], *facts: Any) -> Any:
    """Stand in for jax._src.array._reconstruct_array: a NumPy array in four parts."""
    _function, _arguments, state, *_ = facts
    array = Array(codes)
    array.set_state(state)
    return array


def resolve(
    tree: Any,
    before: Callable[[Any], Any] | None = None,
    after: Callable[[dict[Any, Any]], None] | None = None,
) -> Any:
    """Turn the arrays in the dicts of a tree into tensors, or into inert objects.

    An array gets its values after the dict got the array, so this comes when all is read.

    Args:
        tree: What a pickle holds.
        before: Called with every value; what it gives takes its place.
        after: Called with every dict whose values are resolved.
    """
    seen: set[int] = set()

    def found(value: Any, depth: int) -> Any:
        value = before(value) if before else value
        if isinstance(value, Array):
            inner = value.items
            if inner is not None and len(inner) == 1 and isinstance(inner[0], dict):
                return found(inner[0], depth + 1)  # numpy.save of a dict
            return value.tensor if value.tensor is not None else pickles.Opaque(value.what)
        if not isinstance(value, dict) or depth > _DEEPEST or id(value) in seen:
            return value
        seen.add(id(value))
        for key, one in value.items():
            value[key] = found(one, depth + 1)
        scalars = [key for key, one in value.items() if isinstance(one, Scalar)]
        tensors = sum(1 for one in value.values() if isinstance(one, Tensor))
        if scalars and tensors and 2 * tensors >= len(value) - len(scalars):
            value.update((key, value[key].tensor) for key in scalars)
        if after:
            after(value)
        return value

    return found(tree, 0)
