"""Written files: every format, forth and back, sharded, cast; complete or not at all."""

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_convert import names, run_cli

from conftest import Make, arrays, every_variant, proof
from vitconvert import CheckpointError, ConversionError, check_parity, convert, open_checkpoint
from vitconvert.checkpoints import held
from vitconvert.checkpoints.target import format_of, parse_size
from vitconvert.tables import reading
from vitconvert.tables.plan import _kept_in

SMALL = "shunted_t"  # has transposed weights, statistics and step counters
TINY = "shunted_cifar_tiny"  # has the same, and is proved in a moment


def to(source: Path, target: Path, **options: Any) -> Path:
    """Convert without parity."""
    return convert(source, target, "shunted", parity=False, **options).path


# -- formats


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.pdparams", "pdparams"),
        ("x.safetensors", "safetensors"),
        ("x.safetensors.index.json", "sharded"),
        ("x.pth", "pth"),
        ("x.y.pt", "pth"),
        ("x.bin", "pth"),
        ("x.pdparam", None),
        ("x", None),
        (".pth", None),
        ("x.json", None),
    ],
)
def test_the_name_determines_the_format(name: str, expected: str | None) -> None:
    """An unknown ending is an error that lists the known ones."""
    if expected is None:
        with pytest.raises(CheckpointError, match=r"cannot tell the format.*\.pdparams"):
            format_of(Path(name))
    else:
        assert format_of(Path(name)) == expected


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("torch", "x.pth", "is already a PyTorch checkpoint; expected a target .pdparams or"),
        ("paddle", "x.pdparams", "is already a Paddle checkpoint; to convert it back, expected a"),
    ],
)
def test_framework_of_the_source_is_refused_as_target(
    source: str, target: str, message: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """Nothing is written."""
    file = {"torch": plain, "paddle": converted}[source](SMALL)

    with pytest.raises(CheckpointError, match=message):
        to(file, tmp_path / target)
    assert names(tmp_path) == []


def test_safetensors_hold_what_pdparams_hold(plain: Make, converted: Make, tmp_path: Path) -> None:
    """Read by the reference implementation; the header names their source."""
    path = to(plain(SMALL), tmp_path / "x.safetensors")
    expected, found = arrays(converted(SMALL)), load_file(path)

    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pd"
    assert metadata["converted_by"].startswith("vitconvert 0.")
    assert (metadata["variant"], metadata["source"]) == (SMALL, plain(SMALL).name)
    assert "github.com/OliverRensu" in metadata["implementation"]
    assert open_checkpoint(path).side == "paddle"


@pytest.mark.paddle
def test_paddle_loads_written_safetensors(plain: Make, tmp_path: Path) -> None:
    """With its own reader, where the release has one."""
    import paddle

    if int(version("paddlepaddle").partition(".")[0]) < 3:
        assert "safetensors" not in (paddle.load.__doc__ or "")
        return
    path = to(plain(SMALL), tmp_path / "x.safetensors")

    load: Any = paddle.load  # its stubs do not know the option
    found = load(str(path), safetensors=True)

    for name, array in arrays(path).items():
        np.testing.assert_array_equal(np.asarray(found[name]), array)


@pytest.mark.parametrize("end", ["pdparams", "safetensors", "pth"])
def test_bytes_are_the_same_every_time(
    end: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """In whatever order the threads work."""
    source = (converted if end == "pth" else plain)(SMALL)
    written = [to(source, tmp_path / f"{i}.{end}").read_bytes() for i in range(4)]

    assert all(data == written[0] for data in written)


# -- the way back


@pytest.mark.parametrize("name", every_variant())
def test_forth_and_back_is_bit_for_bit_equal(
    name: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """All but step counters, which Paddle does not have: they start at 0."""
    check_forth_and_back(name, "pth", plain, converted, tmp_path)


@pytest.mark.parametrize("end", ["safetensors", "safetensors.index.json"])
def test_forth_and_back_in_other_formats(
    end: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """As exactly as in the format of torch.save."""
    check_forth_and_back(SMALL, end, plain, converted, tmp_path)


def check_forth_and_back(name: str, end: str, plain: Make, converted: Make, tmp_path: Path) -> None:
    family = reading.variants()[name].family
    convert(converted(name), tmp_path / f"x.{end}", family, variant=name, parity=False)
    before, after = arrays(plain(name)), arrays(tmp_path / f"x.{end}")

    assert set(after) == set(before)
    for key, array in after.items():
        if key.endswith("num_batches_tracked"):
            assert (str(array.dtype), array.shape, int(array)) == ("int64", (), 0)
        else:
            assert array.dtype == before[key].dtype
            assert array.tobytes() == before[key].tobytes(), key
    assert open_checkpoint(tmp_path / f"x.{end}").side == "torch"


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_torch_loads_the_file_converted_back(
    dtype: str | None, official: Make, tmp_path: Path
) -> None:
    """torch.load(weights_only=True), load_state_dict(strict=True); a sound zip, in model order."""
    import torch

    from vitconvert.models import build

    forth = to(official(SMALL), tmp_path / "x.pdparams")
    path = to(forth, tmp_path / "x.pth", dtype=dtype)
    model = build("torch", reading.variants()[SMALL], 1000)

    state = torch.load(path, weights_only=True)

    model.load_state_dict(state, strict=True)
    assert list(state) == list(model.state_dict())
    for name, value in state.items():
        if value.is_floating_point():
            cast = dtype if dtype and "running_" not in name else "float32"
            assert value.dtype == getattr(torch, cast), name
    assert all(value.is_contiguous() for value in state.values())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert all(torch.equal(mapped[name], value) for name, value in state.items())


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("target", ["back.pth", "back.safetensors"])
def test_the_way_back_is_proved(target: str, converted: Make, tmp_path: Path) -> None:
    """Both models run; the report names the file that was written."""
    done = convert(converted(TINY), tmp_path / target, "shunted")

    assert proof(done).proved
    assert proof(done).reference["file"] == str(tmp_path / target)
    assert proof(done).candidate["file"] == str(converted(TINY))


def test_unlabelled_file_of_paddle_is_known_by_its_shapes(converted: Make, tmp_path: Path) -> None:
    """A .safetensors need not name the framework of its names and layouts."""
    save_file(arrays(converted(SMALL)), tmp_path / "x.safetensors")

    back = to(tmp_path / "x.safetensors", tmp_path / "back.pth")

    assert open_checkpoint(back).side == "torch"


def test_incomplete_paddle_file_is_refused(converted: Make, tmp_path: Path) -> None:
    """The error lists every missing, extra or ill-shaped tensor."""
    state = arrays(converted(SMALL))
    del state["head.bias"]
    state["extra"] = np.ones(2, "f4")
    save_file(state, tmp_path / "x.safetensors", metadata={"format": "pd"})

    with pytest.raises(CheckpointError, match=r"(?s)extra: no row of .*head\.bias: missing"):
        to(tmp_path / "x.safetensors", tmp_path / "x.pth")
    assert names(tmp_path) == ["x.safetensors"]


def test_paddle_file_of_another_family_is_recognised(converted: Make, tmp_path: Path) -> None:
    """The error names the command that converts it."""
    with pytest.raises(CheckpointError, match=r"is a shunted_t as Paddle has it.*vitconvert shun"):
        convert(converted(SMALL), tmp_path / "x.pth", "litv2", parity=False)


# -- casts


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_floating_tensors_are_cast(dtype: str, plain: Make, tmp_path: Path) -> None:
    """Every one but statistics, and nothing else."""
    path = to(plain(SMALL), tmp_path / "x.pdparams", dtype=dtype)

    found = open_checkpoint(path).tensors
    statistics = {name for name in found if name.endswith(("_mean", "_variance"))}
    assert statistics
    assert {found[name].dtype for name in statistics} == {"float32"}
    assert {one.dtype for name, one in found.items() if name not in statistics} == {dtype}


def test_tiny_statistics_survive_a_cast(plain: Make, tmp_path: Path) -> None:
    """A variance of 1e-12 is not zero: float16 would make it so, and its channel infinite."""
    state = arrays(plain(SMALL))
    name = next(name for name in state if name.endswith("running_var"))
    state[name][:] = 1e-12
    save_file(state, tmp_path / "x.safetensors")

    path = to(tmp_path / "x.safetensors", tmp_path / "x.pdparams", dtype="float16")

    found = open_checkpoint(path).tensors[name.replace("running_var", "_variance")]
    assert (found.read() == np.float32(1e-12)).all()


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float64"])
def test_statistics_keep_their_dtype_or_become_float32(stored: str) -> None:
    """Half precision in the source stays what it is; nothing is made narrower than float32."""
    wanted = {"float16": "float16", "bfloat16": "float32", "float64": "float32"}

    assert _kept_in(stored, "float16") == wanted[stored]
    assert _kept_in(stored, "float32") == "float32"


def test_values_that_become_zero_are_counted_and_said(
    plain: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By tensor, the largest first; zeros and what float16 rounds otherwise do not count."""
    state = arrays(plain(SMALL))
    for name in state:
        state[name] = np.where(np.abs(state[name]) < 1e-6, 0, state[name])
    state["head.weight"][0, :3] = 1e-8, -2e-8, 0
    state["head.weight"][1, 0] = 6.1e-8  # the smallest number of float16
    state["head.bias"][0] = np.nextafter(np.float32(0), np.float32(1))
    save_file(state, tmp_path / "x.safetensors")

    to(tmp_path / "x.safetensors", tmp_path / "x.pdparams", dtype="float16")

    told = "3 values, not zero but too small for the dtype, became zero: "
    assert f"{told}head.weight (2, up to 2e-08), head.bias (1, up to 1.4e-45)" in caplog.text


def test_values_that_bfloat16_makes_zero_are_counted() -> None:
    """Also in a transposed tensor, which is read in pieces."""
    values = np.full((3, 5), 1.0, "f4")
    values[1, 2:4] = np.nextafter(np.float32(0), np.float32(1)), 0

    tensor = held(values).transposed().cast("bfloat16")
    for _ in range(2):  # reading twice counts once
        tensor.read()

    assert tensor.vanished() == (1, float(values[1, 2]))


def test_value_too_large_for_the_cast_is_refused(plain: Make, tmp_path: Path) -> None:
    """The error names its tensor; nothing is written."""
    state = arrays(plain(SMALL))
    state["head.weight"][3, 4] = 1e6
    save_file(state, tmp_path / "x.safetensors")

    with pytest.raises(CheckpointError, match=r"head\.weight: a value of 1e\+06.*bfloat16"):
        to(tmp_path / "x.safetensors", tmp_path / "x.pdparams", dtype="float16")
    assert names(tmp_path) == ["x.safetensors"]


def test_unknown_dtype_is_refused(plain: Make, tmp_path: Path) -> None:
    """In Python; the command line offers only known ones."""
    with pytest.raises(ConversionError, match="dtype is 'int8'; expected one of float32"):
        to(plain(SMALL), tmp_path / "x.pdparams", dtype="int8")


@pytest.mark.torch
@pytest.mark.paddle
@pytest.mark.parametrize("end", ["pdparams", "safetensors"])
def test_half_precision_goes_forth_and_back_with_proof(
    end: str, plain: Make, tmp_path: Path
) -> None:
    """float16 forth, bfloat16 back: each time it is the original that is rounded."""
    forth = convert(plain(TINY), tmp_path / f"x.{end}", "shunted", dtype="float16")
    back = convert(forth.path, tmp_path / "y.pth", "shunted", dtype="bfloat16")

    assert proof(forth).proved
    assert proof(forth).reference["rounded_to"] == "float16"
    assert proof(back).proved
    assert proof(back).candidate["rounded_to"] == "bfloat16"


@pytest.mark.torch
@pytest.mark.paddle
def test_converted_file_is_never_rounded_to_match_its_original(plain: Make, tmp_path: Path) -> None:
    """A float32 file whose every weight is off by less than a bfloat16 shows is not proved."""
    original = to(plain(TINY), tmp_path / "x.pdparams", dtype="bfloat16")
    original = to(original, tmp_path / "x.pth")
    wide = arrays(to(original, tmp_path / "wide.safetensors", dtype="float32"))
    off = {name: (array * np.float32(1.001)).astype("f4") for name, array in wide.items()}
    save_file(off, tmp_path / "off.safetensors", metadata={"format": "pd"})

    report = check_parity(
        TINY, torch_checkpoint=original, paddle_checkpoint=tmp_path / "off.safetensors"
    )

    assert not report.proved
    assert "rounded_to" not in report.reference
    assert "rounded_to" not in report.candidate


@pytest.mark.torch
@pytest.mark.paddle
def test_cast_weights_are_proved_against_rounded_ones(plain: Make, tmp_path: Path) -> None:
    """The source is rounded to the new file's dtype; the summary says so."""
    from vitconvert.parity import summary

    done = convert(plain(TINY), tmp_path / "x.pdparams", "shunted", dtype="bfloat16")

    assert proof(done).proved
    assert proof(done).reference["rounded_to"] == "bfloat16"
    assert any("those of torch rounded to bfloat16" in line for line in summary(proof(done)))


# -- sharded


def test_sharded_checkpoint_is_written(plain: Make, converted: Make, tmp_path: Path) -> None:
    """Files of at most the requested size, and an index in the format of Hugging Face."""
    path = to(plain(SMALL), tmp_path / "m.safetensors.index.json", max_shard_size=10_000_000)
    index = json.loads(path.read_text())
    files = sorted(set(index["weight_map"].values()))

    assert files == [f"m-0000{i}-of-00005.safetensors" for i in (1, 2, 3, 4, 5)]
    assert names(tmp_path) == [*files, "m.safetensors.index.json"]
    expected = arrays(converted(SMALL))
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in expected.values())
    for file in files:
        shard = load_file(tmp_path / file)
        assert sum(array.nbytes for array in shard.values()) <= 10_000_000
        assert {name for name, of in index["weight_map"].items() if of == file} == set(shard)
    assert {n: a.tobytes() for n, a in arrays(path).items()} == {
        n: a.tobytes() for n, a in expected.items()
    }


def test_tensor_larger_than_a_shard_gets_its_own(plain: Make, tmp_path: Path) -> None:
    """A tensor cannot be divided."""
    path = to(plain(SMALL), tmp_path / "m.safetensors.index.json", max_shard_size=1)

    assert len(set(json.loads(path.read_text())["weight_map"].values())) == 259


@pytest.mark.torch
@pytest.mark.paddle
def test_sharded_checkpoint_is_proved(plain: Make, tmp_path: Path) -> None:
    """Forth from a sharded file and into one; the report has a hash of each part."""
    source = tmp_path / "m.safetensors.index.json"
    done = convert(plain(TINY), source, "shunted", max_shard_size=1_500_000)
    back = convert(source, tmp_path / "b.safetensors.index.json", "shunted")

    assert proof(done).proved
    assert proof(back).proved
    assert len(proof(done).candidate["shards"]) == 3


def test_set_of_shards_is_not_mixed_with_another(plain: Make, tmp_path: Path) -> None:
    """They cannot be replaced in one step; an older set stays complete, even with --force."""
    path = tmp_path / "m.safetensors.index.json"
    to(plain(SMALL), path, max_shard_size=20_000_000)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    for options in ({}, {"force": True}):
        with pytest.raises(CheckpointError, match=r"exists already"):
            to(plain(SMALL), path, max_shard_size=20_000_000, **options)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    path.unlink()
    to(plain(SMALL), path, max_shard_size=20_000_000, force=True)


@pytest.mark.parametrize("size", [0, -1, "20MB", 1.5, True])
def test_sizes_that_are_no_number_of_bytes_are_refused(
    size: object, plain: Make, tmp_path: Path
) -> None:
    """In Python; the command line reads "20MB"."""
    with pytest.raises(ConversionError, match="expected a number of bytes, such as 20_000_000"):
        to(plain(SMALL), tmp_path / "m.safetensors.index.json", max_shard_size=size)


def test_single_shard_is_distinguished_from_a_whole_checkpoint(plain: Make, tmp_path: Path) -> None:
    """Its names fit no variant; the error asks for the index."""
    to(plain(SMALL), tmp_path / "m.safetensors.index.json", max_shard_size=20_000_000)

    with pytest.raises(CheckpointError, match=r"one file of a sharded checkpoint: give its"):
        to(tmp_path / "m-00002-of-00003.safetensors", tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5KiB", 1536), ("7", 7), ("3g", 3 * 10**9)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """As people write them."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "0", "1XB", "0.1", "1e9"])
def test_other_texts_are_not_sizes(text: str) -> None:
    """The error gives an example."""
    with pytest.raises(ValueError, match="expected one such as 2GB"):
        parse_size(text)


# -- faults


class Stop(Exception):  # noqa: N818
    """An exception that a caller's progress display may raise at any time."""


def test_nothing_is_written_after_an_interruption(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads have ended when the error arrives, and the temporary file is gone."""
    written = []
    pwrite = os.pwrite

    def noted(file: int, data: bytes, offset: int) -> int:
        written.append(file)
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pwrite", noted)

    def interrupt(_text: str, _done: int, _total: int) -> None:
        raise Stop

    with pytest.raises(Stop) as caught:
        to(plain(SMALL), tmp_path / "x.pdparams", progress=interrupt)
    count = len(written)

    assert caught.value.__traceback__ is not None  # which keeps every frame alive
    assert threading.active_count() == 1
    assert len(written) == count
    assert names(tmp_path) == []


@pytest.mark.parametrize("way", ["into", "out of"])
def test_parts_of_the_source_are_never_written_over(way: str, plain: Make, tmp_path: Path) -> None:
    """The files of a sharded checkpoint have derived names, which may be those of the source."""
    index = tmp_path / "m.safetensors.index.json"
    if way == "into":
        source, target = tmp_path / "m-00001-of-00001.safetensors", index
        source.write_bytes(plain(SMALL).read_bytes())
    else:
        to(plain(SMALL), index)
        source, target = index, tmp_path / "m-00001-of-00001.safetensors"
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    with pytest.raises(CheckpointError, match="would be written, but is part of the source"):
        to(source, target, force=True)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


@pytest.mark.torch
@pytest.mark.paddle
def test_sharded_checkpoint_that_is_not_proved_has_other_names(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its files; the same command may be run again."""
    from vitconvert import ParityError

    def fail(*_: object, **__: object) -> None:
        raise ParityError("cannot be checked")

    monkeypatch.setattr("vitconvert.parity.check_parity", fail)
    for _ in range(2):
        with pytest.raises(ParityError):
            convert(plain(SMALL), tmp_path / "m.safetensors.index.json", "shunted")

    assert names(tmp_path) == [
        "m-00001-of-00001.safetensors.unverified",
        "m.safetensors.index.json.unverified",
    ]
    found = open_checkpoint(tmp_path / "m.safetensors.index.json.unverified")
    assert len(found.tensors) == 259


def test_damaged_source_is_refused(converted: Make, tmp_path: Path) -> None:
    """A zip has checksums, which reveal a flipped bit in a weight unless checking is off."""
    source = to(converted(SMALL), tmp_path / "x.pth")
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.pth").write_bytes(data)

    with pytest.raises(CheckpointError, match=r"archive/data/\d+: damaged: .*checksum"):
        to(tmp_path / "bad.pth", tmp_path / "y.pdparams")
    assert names(tmp_path) == ["bad.pth", "x.pth"]
    to(tmp_path / "bad.pth", tmp_path / "y.pdparams", verify=False)


KILLING = """
import itertools, os, signal, sys, threading
from vitconvert import convert
moments, last = itertools.count(1), int(sys.argv[3])
def counted(function):
    def call(*arguments, **options):
        # A thread syncs every so often: how many times is the clock's affair.
        if function is not fsync or threading.current_thread() is threading.main_thread():
            if next(moments) == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
fsync = os.fsync
for name in ("pwrite", "fsync", "replace", "rename", "link", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
convert(sys.argv[1], sys.argv[2], "shunted", parity=False, force=True)
print(next(moments) - 1)
"""


@pytest.mark.parametrize("end", ["pdparams", "pth"])
def test_killed_at_any_moment_the_old_file_is_whole(
    end: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """At several writes, and before each step that renames the file."""
    source = (converted if end == "pth" else plain)(SMALL)
    target = tmp_path / f"x.{end}"

    def run(moment: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLING, str(source), str(target), str(moment)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run(0)
    assert done.returncode == 0, done.stderr
    last, new = int(done.stdout), target.read_bytes()
    moments = {1, 2, 3, last // 2, *range(4, last, last // 8), last - 1, last}
    for moment in sorted(moments):
        target.write_bytes(b"precious")

        assert run(moment).returncode == -signal.SIGKILL, moment

        assert target.read_bytes() in (b"precious", new), moment
        left = [name for name in names(tmp_path) if name != target.name]
        assert all(name.startswith(".") and name.endswith(".part") for name in left)
    assert run(0).returncode == 0
    assert target.read_bytes() == new


def test_leftovers_of_a_killed_run_are_removed(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next one for the same target, unless a process still writes it."""
    from vitconvert import files

    for name in (".x.pdparams.01234567.part", ".y.pdparams.01234567.part"):
        (tmp_path / name).write_text("abandoned")
    to(plain(SMALL), tmp_path / "x.pdparams")
    assert ".x.pdparams.01234567.part" in names(tmp_path)  # too new to tell

    monkeypatch.setattr(files, "_NEW", -1.0)
    (tmp_path / ".x.pdparams.01234567.00001.part").write_text("abandoned")
    with files.written_beside(tmp_path / "x.pdparams") as (_file, part):
        to(plain(SMALL), tmp_path / "x.pdparams", force=True)
        assert set(names(tmp_path)) == {".y.pdparams.01234567.part", part.name, "x.pdparams"}


@pytest.mark.parametrize(
    "target", ["x.pdparams", "x.safetensors", "x.safetensors.index.json", "x.pth"]
)
def test_full_disk_leaves_nothing(
    target: str, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """Writing fails half-way: one error, exit status 1, no file."""
    source = (converted if target.endswith("pth") else plain)(SMALL)
    options = ["--src", source, "--dst", tmp_path / target, "--no-parity"]

    done = run_cli("shunted", *options, limit=5_000_000)

    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == []


def test_disk_without_room_is_refused_first(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written."""
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)

    with pytest.raises(CheckpointError, match=r"room for 1,000 bytes; 46,\d+,\d+ are needed"):
        to(plain(SMALL), tmp_path / "x.pdparams")
    assert names(tmp_path) == []


MEASURED = """
import resource, sys
from vitconvert.cli import cli
cli(sys.argv[1:], standalone_mode=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("end", ["pdparams", "safetensors"])
def test_memory_is_bounded(end: str, plain: Make, tmp_path: Path) -> None:
    """Far below the size of the file: 88 MB of weights, nothing mapped."""
    files = ["--src", str(plain("shunted_s")), "--dst", str(tmp_path / f"x.{end}")]
    command = [sys.executable, "-c", MEASURED, "shunted", *files, "--no-parity"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bare = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    idle = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True)

    peak = int(done.stdout.split()[-1]) - int(idle.stdout)
    assert peak < 75_000, f"{peak} kB above an idle interpreter"
