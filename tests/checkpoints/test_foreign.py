"""Files and folders that hold no checkpoint: named for what they are, with one next step."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vitconvert import CheckpointError, open_checkpoint

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0d0d\nsize 9\n"
# Field 7 of an ONNX model is its graph, field 8 an operator set; 1 and 2 are versions.
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\x8b\x02"
PDMODEL = b"\n\xc8\x9c\x01\x08\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x0c"
PDIPARAMS = bytes(16) + (8).to_bytes(4, "little") + b"\x08\x05\x10\x03\x10\x04"


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file.getvalue()


def tarred(name: str, form: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "step"),
    [
        (b"<!DOCTYPE html><html><head><title>Drive</title>", "web page", "gdown"),
        (b"\xef\xbb\xbf\r\n  <HTML lang='en'>", "web page", "download the file itself"),
        (b"<!-- saved -->\n<!doctype HTML>", "web page", "browser"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML", "address"),
        (b"<?xml version='1.0'?>\n<s3:Error xmlns:s3='x'>", "error message", "address"),
        (b'{"error": "Repository not found"}', "'Repository not found'", "download the file again"),
        (b'{"message": "Not Found", "status": "404"}', "Not Found", "address"),
        (b'{"architectures": ["ViT"]}', "configuration of a model", "beside it, or the folder"),
        (b'{"base_code": {"magic": "pir"}, "program": {}}', "inference export", ".pdparams"),
        (POINTER, "pointer of git-lfs", "git lfs pull"),
        (b"../.git/annex/objects/Xz/9f/SHA256E-s9--0d.pth/x", "git-annex", "git annex get"),
        (b"outs:\n- md5: 0d0d\n  path: x.pth\n", "pointer of DVC", "dvc pull"),
        (b"Entry not found", "text that begins with 'Entry not found'", "torch.save"),
        ("import torch\nprint('ü')\n".encode() * 90, "text that begins with 'import torch'", ""),
        (bytes(4096), "unfinished download", "again"),
        (gzip.compress(b"x", mtime=0), "gzip", "gunzip"),
        (bz2.compress(b"x"), "bzip2", "bunzip2"),
        (lzma.compress(b"x"), "xz", "unxz"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "7-Zip", "7z x"),
        (b"Rar!\x1a\x07\x01\x00", "RAR", "unrar"),
        (b"\x28\xb5\x2f\xfd\x04", "Zstandard", "unzstd"),
        (tarred("weights/model.pth"), "tar archive", "tar -xf"),
        (tarred("weights/model.pth", tarfile.GNU_FORMAT), "tar archive", "tar -xf"),
        (tarred("sys_info"), "before release 0.1.10", "torch.load"),
        (zipped("shunt_s.pth"), "zip archive with a checkpoint in it", "unzip"),
        (zipped("a/b/model.safetensors", "a/README.md"), "zip archive", "unzip"),
        (zipped("archive/archive_format", "archive/version"), ".pt2", "torch.export.load"),
        (zipped("config.json", "metadata.json", "model.weights.h5"), "Keras", "PyTorch"),
        (zipped("notes.txt"), "not one that torch.save wrote", "data.pkl"),
        (b"\x89HDF\r\n\x1a\n\x00", "HDF5", "PyTorch"),
        (ONNX, "ONNX", "exported from"),
        (b"\x08\x07:\x80\x01\n", "ONNX", "exported from"),
        (PDMODEL, ".pdmodel", ".pdparams"),
        (PDIPARAMS, ".pdiparams", ".pdparams"),
        (b"\x08\x01\x12\xd4\x8a\x02\n\x9b", "TensorFlow", "PyTorch"),
        (b'model_checkpoint_path: "model.ckpt-9"', "TensorFlow", "PyTorch"),
        (bytes(range(64)) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "TensorFlow", "PyTorch"),
        (b"GGUF\x03\x00\x00\x00", "GGUF", ".safetensors"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite", "made from"),
        (b"\x81\xa6params\x82\xa5block", "Flax", "PyTorch"),
        (b"\x89PNG\r\n\x1a\n", "image", "--input"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image", "--input"),
        (b"%PDF-1.7", "PDF", "torch.save"),
        (b"\x7fELF\x02\x01", "program", "torch.save"),
        (b"\x01\x02\x03\x9d" * 40, "found a file of 160 bytes", "expected a .pth"),
        (b"", "empty", "Download"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.pdparams"])
def test_what_is_no_checkpoint_is_named(
    content: bytes, what: str, step: str, name: str, tmp_path: Path
) -> None:
    """By its content, whatever its name; with what to do, in one line."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / name)

    told = str(caught.value).removeprefix(f"{tmp_path / name}: ")
    assert what in told
    assert step in told
    assert "\n" not in told


@pytest.mark.slow
@pytest.mark.torch
def test_what_torch_exports_is_named(tmp_path: Path) -> None:
    """As this release writes it: an exported program and TorchScript."""
    import torch

    model = torch.nn.Linear(2, 2)
    program = torch.export.export(model, (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2")

    with pytest.raises(CheckpointError, match=r"exported program.*torch\.export\.load"):
        open_checkpoint(tmp_path / "x.pt2")


def write(path: Path, *, fill: float = 1.0) -> Path:
    """Write a checkpoint of one tensor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({"w": np.full(2, fill, "f4")}, path)
    else:
        path.write_bytes(pickle.dumps({"w": np.full(2, fill, "f4")}))
    return path


@pytest.mark.parametrize(
    ("names", "taken", "said"),
    [
        (["model.safetensors"], "model.safetensors", "took model.safetensors"),
        (["pytorch_model.bin"], "pytorch_model.bin", "took pytorch_model.bin"),
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors", "not pytorch_model.bin"),
        (["model.safetensors", "optimizer.pt", "rng_state.pth"], "model.safetensors", "took"),
        (["shiftvit.pth", "README.md"], "shiftvit.pth", "took shiftvit.pth"),
    ],
)
def test_the_one_checkpoint_of_a_folder_is_taken(
    names: list[str], taken: str, said: str, tmp_path: Path
) -> None:
    """As of Hugging Face: safetensors first, without what training left; and it is said."""
    (tmp_path / "config.json").write_text("{}")
    for name in names:
        write(tmp_path / name, fill=7.0 if name == taken else 0.0)

    found = open_checkpoint(tmp_path)

    assert found.path == tmp_path / taken
    assert found.tensors["w"].read().tolist() == [7, 7]
    assert said in next(iter(found.notes()))


def test_the_index_of_a_folder_is_taken(tmp_path: Path) -> None:
    """Its shards are no choice of their own."""
    for number in (1, 2):
        save_file(
            {f"w{number}": np.ones(2, "f4")}, tmp_path / f"model-0000{number}-of-2.safetensors"
        )
    index = {"weight_map": {f"w{n}": f"model-0000{n}-of-2.safetensors" for n in (1, 2)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    assert list(open_checkpoint(tmp_path).tensors) == ["w1", "w2"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.pth", "b.pth"], r"2 checkpoints: a\.pth, b\.pth\. Give one"),
        (["model.safetensors", "model.fp16.safetensors"], "2 checkpoints: model.fp16"),
        (["README.md"], r"a folder with README\.md in it; expected one checkpoint"),
        ([], "a folder with nothing in it"),
        ([".metadata", "__0_0.distcp"], r"distributed checkpoint.*format_utils dcp_to_torch"),
        (["zero_to_fp32.py", "latest"], r"DeepSpeed.*python zero_to_fp32\.py \. pytorch_model"),
        (["archive/data.pkl", "archive/version"], r"unpacked \.pth.*zip -0 -r packed\.pth archive"),
        (["data.pkl", "version", "data/0"], r"unpacked \.pth.*zip -0 -r"),
        (["saved_model.pb", "variables/variables.index"], "SavedModel of TensorFlow"),
        (["checkpoint", "m.data-00000-of-00001", "m.index"], "checkpoint of TensorFlow"),
        (["inference.pdmodel", "inference.pdiparams"], r"inference export of Paddle.*\.pdparams"),
    ],
)
def test_other_folders_are_named(names: list[str], told: str, tmp_path: Path) -> None:
    """Those in parts with the command that joins them; several checkpoints by their names."""
    for name in names:
        write(tmp_path / "x.pth" / name)
    (tmp_path / "x.pth").mkdir(exist_ok=True)

    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_parts_of_a_distributed_checkpoint_are_named(name: str, tmp_path: Path) -> None:
    """The command names their folder."""
    write(tmp_path / "dcp" / name)

    with pytest.raises(CheckpointError, match=f"dcp_to_torch {tmp_path / 'dcp'} out.pth"):
        open_checkpoint(tmp_path / "dcp" / name)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "mlx"}, {"format": "np"}, {"step": 7}, 5]
)
def test_headers_are_read_as_safetensors_reads_them(metadata: Any, tmp_path: Path) -> None:
    """It takes null, nothing and any text, and refuses numbers."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    head = json.dumps({"__metadata__": metadata, "w": entry}).encode()
    (tmp_path / "x").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))

    try:
        expected = list(load_file(tmp_path / "x"))
    except SafetensorError:
        with pytest.raises(CheckpointError, match="expected texts alone"):
            open_checkpoint(tmp_path / "x")
        return
    assert list(open_checkpoint(tmp_path / "x").tensors) == expected
