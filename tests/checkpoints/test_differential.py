"""Two readers, one file, one answer: what other programs would read otherwise is refused.

`tools/twisted_files.py` has the files: each contradicts itself, or is written as nobody does.
"""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools import twisted_files as twisted
from tools.handmade import torch_entries, zipped
from tools.readers import read_npz, read_safetensors, torch_load
from vitconvert import CheckpointError, open_checkpoint
from vitconvert.running.torch_reader import read_with_torch

PICKLES = [
    (form, name)
    for form in ("zip", "legacy")
    for name in twisted.TORCH_PICKLES
    if (form, name) != ("legacy", "two values")  # that form has several anyway
]
Reader = Callable[[Path], Any]
Values = dict[str, list[Any]]


def values(tree: Any) -> Values:
    """Give the arrays of a flat dict as lists, by name."""
    arrays = {n: v for n, v in tree.items() if isinstance(n, str) and isinstance(v, np.ndarray)}
    return {name: array.tolist() for name, array in arrays.items()}


def read(path: Path) -> Values:
    found = open_checkpoint(path)
    found.check()
    return values({name: tensor.read() for name, tensor in found.tensors.items()})


def check(path: Path, case: tuple[bytes, str | None], theirs: Reader | None) -> None:
    """Check that a file is refused as it must be, or read as the other program reads it, if any."""
    content, message = case
    path.write_bytes(content)
    if message is not None:
        with pytest.raises(CheckpointError, match=message):
            read(path)
        return
    ours = read(path)
    assert ours
    if theirs is not None:
        assert ours == values(theirs(path))


@pytest.mark.torch
@pytest.mark.parametrize("name", twisted.TORCH_ZIPS)
def test_zips_are_read_as_torch_reads_them(name: str, tmp_path: Path) -> None:
    """Directories, counts, names and headers that contradict one another."""
    check(tmp_path / "x.pth", twisted.TORCH_ZIPS[name], torch_load)


@pytest.mark.torch
@pytest.mark.parametrize(("form", "name"), PICKLES)
def test_pickles_are_read_as_torch_reads_them(form: str, name: str, tmp_path: Path) -> None:
    """Names in other spellings, twice, or put aside and replaced."""
    tree, message = twisted.TORCH_PICKLES[name]
    file = zipped(*torch_entries(tree, {"0": twisted.ONE}))
    content = file if form == "zip" else twisted.legacy(tree)
    theirs = None if name in twisted.REFUSED_BY_TORCH else torch_load

    check(tmp_path / "x.pth", (content, message), theirs)


@pytest.mark.torch
@pytest.mark.parametrize("name", twisted.LEGACY)
def test_parts_of_storages_are_read_as_torch_reads_them(name: str, tmp_path: Path) -> None:
    """PyTorch remembers a part by its name, and where it lies only once."""
    check(tmp_path / "x.pth", twisted.LEGACY[name], torch_load)


@pytest.mark.parametrize("name", twisted.NPZS)
def test_npz_is_read_as_numpy_reads_it(name: str, tmp_path: Path) -> None:
    """Counts, and names in several encodings."""
    check(tmp_path / "x.npz", twisted.NPZS[name], read_npz)


@pytest.mark.parametrize("name", twisted.SAFETENSORS)
def test_safetensors_is_read_as_its_authors_read_it(name: str, tmp_path: Path) -> None:
    """Names that occur twice, and bytes behind the end."""
    check(tmp_path / "x.safetensors", twisted.SAFETENSORS[name], read_safetensors)


@pytest.mark.paddle
@pytest.mark.parametrize("name", twisted.PDPARAMS)
def test_pdparams_is_read_as_paddle_reads_it(name: str, tmp_path: Path) -> None:
    """Several pickles, names in other spellings, tables of split tensors."""
    import paddle

    check(
        tmp_path / "x.pdparams",
        twisted.PDPARAMS[name],
        lambda path: paddle.load(str(path), return_numpy=True),
    )


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_every_protocol_of_torch_save_is_read_and_read_again(
    is_zip: bool, protocol: int, tmp_path: Path
) -> None:
    """The second reader of a proof is PyTorch, or says that it was not."""
    import argparse

    import torch

    path, state = tmp_path / "x.pth", {"a.weight": torch.ones(2), "b.weight": torch.arange(3.0)}
    whole = {"model": state, "args": argparse.Namespace(lr=1)}
    how: dict[str, Any] = {"_use_new_zipfile_serialization": is_zip, "pickle_protocol": protocol}
    torch.save(whole, path, **how)

    found = open_checkpoint(path)
    again, reader = read_with_torch(found)

    assert found.format == ("PyTorch zip" if is_zip else "PyTorch before 1.6")
    assert {name: tensor.read().tolist() for name, tensor in found.tensors.items()} == {
        name: tensor.tolist() for name, tensor in again.items()
    }
    assert reader == ("torch" if protocol in (2, 3) else "vitconvert")


@pytest.mark.torch
def test_second_reader_steps_aside_whatever_torch_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases refuse with other errors, and not all have the same helpers."""
    import torch

    torch.save({"a.weight": torch.ones(2)}, tmp_path / "x.pth")
    monkeypatch.delattr(torch.serialization, "get_unsafe_globals_in_checkpoint")
    found = open_checkpoint(tmp_path / "x.pth")
    assert read_with_torch(found)[1] == "torch"

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("PytorchStreamReader failed")

    monkeypatch.setattr(torch, "load", refuse)
    assert read_with_torch(found)[1] == "vitconvert"


def test_pickle_that_is_a_tar_as_well_is_refused(tmp_path: Path) -> None:
    """torch.load looks for a tar archive first, vitconvert for a pickle."""
    head = bytearray(twisted.legacy(twisted.TREE).ljust(1024, b"\0"))
    head[100:148] = b"0000644\0" * 3 + b"00000000000\0" * 2
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    (tmp_path / "x.pth").write_bytes(head)

    with pytest.raises(CheckpointError, match="tar archive and a pickle"):
        open_checkpoint(tmp_path / "x.pth")


def test_older_torch_file_is_not_taken_for_a_dict(tmp_path: Path) -> None:
    """Paddle's files are pickles as well; a whole number at the top is none of theirs."""
    pickled = pickle.dumps(0x1950A86A20F9469CFC6C, 3) + twisted.legacy(twisted.TREE)[15:]
    (tmp_path / "x.pdparams").write_bytes(pickled)

    found = open_checkpoint(tmp_path / "x.pdparams")

    assert re.match("PyTorch", found.format)
    assert found.tensors["w"].read().tolist() == [1, 2]
