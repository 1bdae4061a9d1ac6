"""Damaged files of every format: refused, or read as an independent reader reads them.

Small valid files are cut, spliced, overwritten with extreme numbers. Files that still open are
compared with other readers: the safetensors package, numpy.load, Python's own unpickler with
stand-ins for all that files may call, and torch.load. Where those refuse a file that vitconvert
reads, at least every value must be in it.

    HYPOTHESIS_PROFILE=long pytest tests/checkpoints/test_fuzz.py   takes minutes, new files
"""

import io
import json
import os
import pickle
import re
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import COMMON
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import OLD_TORCH
from tools import handmade
from tools.readers import READERS, torch_load
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.checkpoints import DTYPES, Checkpoint, Tensor

settings.register_profile("short", max_examples=120, derandomize=True, **COMMON)
settings.register_profile("long", max_examples=20_000, **COMMON)
PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# Name -> dtype, shape, bytes.
Values = dict[str, tuple[str, tuple[int, ...], bytes]]

# -- files

STATE = {
    "stem.weight": np.arange(6, dtype="<f4").reshape(2, 3) + 0.25,
    "stem.bias": np.asfortranarray(np.arange(12, dtype="<f8").reshape(3, 4) - 0.5),
    "head.steps": np.array(7, "<i8"),
    "head.mask": np.array([True, False, True]),
}
LETTERS = np.arange(5000, dtype="u1")  # long enough to be a text of its own in protocol 2
STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<i8": "LongStorage",
    "|b1": "BoolStorage",
}


def torch_file(make: Callable[[bytes, Mapping[str, bytes]], bytes], more: bytes = b"") -> bytes:
    """Make a training checkpoint of STATE."""
    pairs = []
    for key, (name, array) in enumerate(STATE.items()):
        shape, strides = (
            handmade.row(*map(handmade.number, numbers))
            for numbers in (array.shape, [n // array.itemsize for n in array.strides])
        )
        numel = handmade.number(array.size)
        kind = STORAGES[array.dtype.str]
        pairs.append(
            (name, handmade.torch_tensor(str(key), shape, strides, numel, storage=kind, more=more))
        )
    tree = handmade.named(("model", handmade.named(*pairs)), ("epoch", handmade.number(3)))
    return make(tree, {str(key): array.tobytes("A") for key, array in enumerate(STATE.values())})


def torch_zip(tree: bytes, storages: Mapping[str, bytes]) -> bytes:
    return handmade.zipped(*handmade.torch_entries(tree, storages))


def torch_zip_unchecked(tree: bytes, storages: Mapping[str, bytes]) -> bytes:
    """Make one without checksums, so that they do not reveal damage to the pickle."""
    entries = handmade.torch_entries(tree, storages)
    return handmade.zipped(*[handmade.Entry(entry.name, entry.data, crc=0) for entry in entries])


def torch_legacy(tree: bytes, storages: Mapping[str, bytes]) -> bytes:
    sizes = [array.size for array in STATE.values()]
    data = {key: (size, data) for size, (key, data) in zip(sizes, storages.items(), strict=True)}
    return handmade.torch_legacy(tree, data)


def safetensors_file(state: Mapping[str, np.ndarray]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    codes = {"<f4": "F32", "<f8": "F64", "<i8": "I64", "|b1": "BOOL"}
    for name, array in state.items():
        offsets = len(data), len(data) + array.nbytes
        entry = {"dtype": codes[array.dtype.str], "shape": array.shape, "data_offsets": offsets}
        header[name], data = entry, data + array.tobytes()
    return handmade.safetensors(header, data)


def pdparams(protocol: int) -> bytes:
    model = OrderedDict(STATE, letters=LETTERS) if protocol == 2 else OrderedDict(STATE)
    return pickle.dumps({"model": model, "epoch": 3}, protocol)


def npz(save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, **STATE, turned=STATE["stem.weight"].astype(">f4"))
    return file.getvalue()


SHARDS = {
    "0.safetensors": safetensors_file(dict(list(STATE.items())[:2])),
    "1.safetensors": safetensors_file(dict(list(STATE.items())[2:])),
}
INDEX = {n: f"{i // 2}.safetensors" for i, n in enumerate(STATE)}

FILES = {
    "x.zip.pth": torch_file(torch_zip),
    "x.unchecked.pth": torch_file(torch_zip_unchecked),
    "x.legacy.pth": torch_file(torch_legacy, b"N"),
    "x.safetensors": safetensors_file(STATE),
    "x.2.pdparams": pdparams(2),
    "x.3.pdparams": pdparams(3),
    "x.4.pdparams": pdparams(4),
    "x.stored.npz": npz(np.savez),
    "x.compressed.npz": npz(np.savez_compressed),
    "x.index.json": json.dumps({"weight_map": INDEX}).encode(),
    **{path.name: path.read_bytes() for path in sorted(OLD_TORCH.glob("*.pth"))},
}

# -- the rule


def check(path: Path, read: Callable[[Path], Any] | None = None) -> Checkpoint | None:
    """Check that a file is refused clearly, or read as another reader reads it."""
    try:
        found = open_checkpoint(path)
        found.check()
        ours = {name: facts(tensor.read(), tensor.dtype) for name, tensor in found.tensors.items()}
    except CheckpointError:
        return None
    try:
        tree = (read or READERS[found.format])(path)
        for key in found.wrapper:
            tree = tree[key]
        theirs = {name: facts(value) for name, value in tree.items() if is_array(name, value)}
    except Exception as error:
        check_values_are_there(found, error)
        return found
    expected = {found.prefix + name: value for name, value in ours.items()}
    assert expected.items() <= theirs.items(), f"{difference(expected, theirs)} in {found.format}"
    left = theirs.keys() - expected.keys()
    assert left <= {*found.beside, *(found.prefix + name for name in found.skipped)}, left
    return found


def is_array(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, np.ndarray)


def facts(array: np.ndarray, dtype: str | None = None) -> tuple[Any, ...]:
    """Give the facts that must agree, in little-endian order."""
    name = dtype or {"|V2": "bfloat16"}.get(array.dtype.str, array.dtype.name)
    if array.dtype.kind != "V":
        array = array.astype(array.dtype.newbyteorder("<"))
    return name, array.shape, array.tobytes()


def difference(ours: Values, theirs: Values) -> str:
    wrong = next(name for name in ours if ours[name] != theirs.get(name))
    return f"{wrong}: {ours[wrong]!r:.300}, but another reader {theirs.get(wrong)!r:.300}"


def check_values_are_there(found: Checkpoint, error: Exception) -> None:
    """Check that every element of every tensor is in a file that the other reader refuses.

    It must not refuse it for a checksum, which vitconvert checks as well.
    """
    assert "CRC" not in str(error), error
    whole = b"".join(path.read_bytes() for path in found.files)
    starts = [match.start() for match in re.finditer(b"PK\3\4", whole)]
    whole += b"".join(inflated(whole[start:]) for start in starts)
    whole += whole.decode("utf-8", "ignore").encode("latin-1", "ignore")
    for name, tensor in found.tensors.items():
        values = tensor.read()
        pieces = [values.tobytes()] if is_plain(tensor) else [v.tobytes() for v in values.flat]
        for piece in pieces:
            assert piece in whole or piece[::-1] in whole, f"{name} is not in the file: {error!r}"


def is_plain(tensor: Tensor) -> bool:
    """Tell whether a tensor lies in the file in one piece."""
    width = DTYPES[tensor.dtype].itemsize
    plain = [int(np.prod(tensor.shape[axis + 1 :])) * width for axis in range(len(tensor.shape))]
    return list(tensor.strides) == plain and not tensor.big_endian


def inflated(entry: bytes) -> bytes:
    """Unpack the data after a zip header."""
    try:
        skip = sum(struct.unpack("<2H", entry[26:30]))
        return zlib.decompressobj(-15).decompress(entry[30 + skip :], 1 << 20)
    except (zlib.error, struct.error):
        return b""


# -- damage

NUMBERS = [0, 1, 2, 3, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32]
NUMBERS += [2**60, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [b"(", b"t", b"]", b"}", b"N", b"R", b"0", b"h\0", b"K\0", b"\x85", b"\x93", b".", b"\n"]
WORDS += [b"-1", b"1e999", b"NaN", b"null", b'"', b"\\ud800", b"[", b"{", b",", b"/", b"..", b"\0"]
WORDS += [b"PK\3\4", b"PK\1\2", b"PK\5\6", b"posix\nsystem\n", b"<f8", b"|O", b"True", b"F16"]

KINDS = ["bit"] * 4 + ["bytes"] * 2 + ["number", "word", "digits", "move"] * 2 + ["cut", "splice"]


@st.composite
def damaged(draw: Callable[..., Any], name: str) -> bytes:
    """Draw a file with up to three damages, more often in descriptions than in tensors."""
    content = (FILES | SHARDS)[name]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(content)))
        if draw(st.booleans()):  # a place where something is written
            places = [match.start() for match in re.finditer(rb"[\w./\"\[\](){}]{2,}", content)]
            at = draw(st.sampled_from(places)) + draw(st.integers(0, 8)) if places else at
        size = draw(st.sampled_from([0, 1, 1, 1, 2, 4, 8, 16, 100]))
        kind = draw(st.sampled_from(KINDS))
        if kind == "bit":
            flipped = [byte ^ 1 << draw(st.integers(0, 7)) for byte in content[at : at + 1]]
            content = content[:at] + bytes(flipped) + content[at + 1 :]
        elif kind == "bytes":
            new = draw(st.binary(max_size=4))
            content = (
                content[:at] + new + content[at + draw(st.sampled_from([0, len(new), size])) :]
            )
        elif kind == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            value = draw(st.sampled_from([*NUMBERS, len(content), at, -1])) % 256**width
            order = draw(st.sampled_from(["little", "little", "big"]))
            content = content[:at] + value.to_bytes(width, order) + content[at + width :]
        elif kind == "word":
            word = draw(st.sampled_from(WORDS))
            keep = draw(st.booleans())
            content = content[:at] + word + content[at + len(word) * keep :]
        elif kind == "digits":
            value = str(draw(st.sampled_from(NUMBERS))).encode()
            content = content[:at] + re.sub(rb"\d+", value, content[at:], count=1)
        elif kind == "cut":
            content = content[:at] + content[at + size :] if size else content[:at]
        elif kind == "move":
            to, chunk = draw(st.integers(0, len(content))), content[at : at + size]
            replaced = draw(st.sampled_from([0, size]))
            content = content[:to] + chunk + content[to + replaced :]
        else:
            other = FILES[draw(st.sampled_from(sorted(FILES)))]
            content = content[:at] + other[draw(st.sampled_from([at, len(other) // 2])) :]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the shards that the index names."""
    made = tmp_path_factory.mktemp("fuzz")
    for name, content in SHARDS.items():
        (made / name).write_bytes(content)
    return made


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_read_as_others_read_them(name: str, folder: Path) -> None:
    """Each of the files before it is damaged, by the reader meant for it."""
    (folder / name).write_bytes(FILES[name])
    found = check(folder / name)

    assert found is not None
    assert found.format in READERS
    tree = READERS[found.format](folder / name)
    assert found.wrapper in ((), ("model",))
    assert len(found.tensors) == len(tree["model"] if found.wrapper else tree)
    if name.startswith("x."):
        for key, array in STATE.items():
            assert facts(found.tensors[key].read()) == facts(array)


@pytest.mark.parametrize("name", FILES)
@settings(PROFILE)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_correctly(name: str, data: Any, folder: Path) -> None:
    """Never another exception, never other tensors than the other reader's."""
    path = folder / name
    path.write_bytes(data.draw(damaged(name)))

    check(path)


@pytest.mark.parametrize("name", SHARDS)
@settings(PROFILE)
@given(data=st.data())
def test_damaged_shards_are_refused_or_read_correctly(name: str, data: Any, folder: Path) -> None:
    """As above, with the damage in one of the files that an index names."""
    (folder / "x.index.json").write_bytes(FILES["x.index.json"])
    (folder / name).write_bytes(data.draw(damaged(name)))
    try:
        check(folder / "x.index.json")
    finally:
        (folder / name).write_bytes(SHARDS[name])


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".pth")])
def test_torch_reads_the_whole_files(name: str, folder: Path) -> None:
    """So the comparison below compares something."""
    (folder / name).write_bytes(FILES[name])

    assert (
        torch_load(folder / name)["model"].keys() == open_checkpoint(folder / name).tensors.keys()
    )


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".pth")])
@settings(PROFILE)
@given(data=st.data())
def test_damaged_torch_files_are_read_as_torch_reads_them(
    name: str, data: Any, folder: Path
) -> None:
    """As above, compared with torch.load itself."""
    path = folder / name
    path.write_bytes(data.draw(damaged(name)))

    check(path, torch_load)
