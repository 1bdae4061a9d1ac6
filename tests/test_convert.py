"""Files appear whole or not at all, and under their name only when proved."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import Make, arrays
from vitconvert import CheckpointError, ConversionError, convert, open_checkpoint


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_conversion_transposes_renames_and_drops(plain: Make, tmp_path: Path) -> None:
    """A linear weight turns, a running mean gets Paddle's name, a step counter goes."""
    done = convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted", parity=False)
    before, after = arrays(plain("shunted_t")), arrays(tmp_path / "x.pdparams")

    assert done.path == tmp_path / "x.pdparams"
    assert done.report is None
    q = "block1.0.attn.q.weight"
    np.testing.assert_array_equal(after[q], before[q].T)
    conv = "patch_embed2.proj.weight"
    np.testing.assert_array_equal(after[conv], before[conv])
    mean = "patch_embed1.conv.1.running_mean"
    np.testing.assert_array_equal(after["patch_embed1.conv.1._mean"], before[mean])
    assert not [key for key in after if "num_batches_tracked" in key]
    assert names(tmp_path) == ["x.pdparams"]


def test_existing_target_needs_force(plain: Make, tmp_path: Path) -> None:
    """Without --force nothing is touched; with it the file is replaced."""
    target = tmp_path / "x.pdparams"
    target.write_text("precious")

    with pytest.raises(CheckpointError, match=r"exists already\. Pass --force"):
        convert(plain("shunted_t"), target, "shunted", parity=False)
    assert target.read_text() == "precious"
    convert(plain("shunted_t"), target, "shunted", parity=False, force=True)
    assert len(open_checkpoint(target).tensors) == 259


@pytest.mark.parametrize(
    ("target", "message"),
    [("none/x.pdparams", "does not exist. Make it first"), (".", "is a folder")],
)
def test_impossible_targets_are_refused_first(target: str, message: str, tmp_path: Path) -> None:
    """Before the source is even opened."""
    with pytest.raises(CheckpointError, match=message):
        convert(tmp_path / "not there", tmp_path / target, "shunted", parity=False)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            ["torch"],
            r"PyTorch is not installed here\. Install it: pip install 'vitconvert\[torch\]'",
        ),
        (["torch", "paddle"], r"PyTorch and PaddlePaddle are .*'vitconvert\[torch,cpu\]'"),
    ],
)
def test_missing_frameworks_are_said_before_anything_is_written(
    missing: list[str],
    message: str,
    plain: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them, with the line that installs them and what works without."""
    from vitconvert import ModelError, models

    monkeypatch.setattr(models, "find_spec", lambda name: None if name in missing else "there")

    with pytest.raises(ModelError, match=f"{message}.*--no-parity.*--torch-python"):
        convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted")
    assert names(tmp_path) == []
    assert convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted", parity=False).plan


def test_a_file_of_the_source_is_no_target_and_force_is_not_suggested(
    plain: Make, tmp_path: Path
) -> None:
    """Under its own name, through a link, or as one file of an index."""
    index = tmp_path / "x.safetensors.index.json"
    convert(
        convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted", parity=False).path,
        tmp_path / "back.pth",
        "shunted",
        parity=False,
    )
    convert(tmp_path / "back.pth", index, "shunted", parity=False, max_shard_size=4_000_000)
    (tmp_path / "link.pth").symlink_to("back.pth")
    shards = [name for name in names(tmp_path) if "-of-" in name]

    clashes = [("back.pth", "back.pth"), ("back.pth", "link.pth"), (index.name, shards[0])]
    for source, target in clashes:
        with pytest.raises(CheckpointError, match=r"same file|part of the source") as refused:
            convert(tmp_path / source, tmp_path / target, "shunted", parity=False)
        assert "--force" not in str(refused.value)


def test_folder_under_the_unverified_name_is_refused_first(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second name a conversion may need is checked as early as the first."""
    from vitconvert import models

    monkeypatch.setattr(models, "find_spec", lambda _name: "there")
    (tmp_path / "x.pdparams.unverified").mkdir()

    with pytest.raises(CheckpointError, match=r"x\.pdparams\.unverified: is a folder"):
        convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted")
    assert names(tmp_path) == ["x.pdparams.unverified"]


def test_source_is_never_its_own_target(plain: Make, tmp_path: Path) -> None:
    """Not even with force, nor through a link."""
    source = tmp_path / "x.safetensors"
    source.write_bytes(plain("shunted_t").read_bytes())
    (tmp_path / "link.pdparams").symlink_to(source)

    with pytest.raises(CheckpointError, match="the same file"):
        convert(source, tmp_path / "link.pdparams", "shunted", parity=False, force=True)
    assert source.read_bytes() == plain("shunted_t").read_bytes()


def test_refused_conversion_leaves_nothing(plain: Make, tmp_path: Path) -> None:
    """No file, no temporary file."""
    with pytest.raises(ConversionError):
        convert(
            plain("shunted_t"), tmp_path / "x.bin", "shunted", variant="shunted_b", parity=False
        )
    done = convert(plain("shunted_t"), tmp_path / "y.pdparams", "shunted", parity=False)
    for source, target, message in [
        (done.path, "z.pdparams", "is already a Paddle checkpoint; to convert it back"),
        (plain("shunted_t"), "z.pdparam", "cannot tell the format.*pdparams"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            convert(source, tmp_path / target, "shunted", parity=False)
    assert names(tmp_path) == ["y.pdparams"]


def run_cli(*arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process, optionally unable to write files above a size."""

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", "from vitconvert.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=set_limit,
    )


def test_full_disk_leaves_nothing(plain: Make, tmp_path: Path) -> None:
    """Writing fails half-way: one error, exit status 1, no file; the old target stays."""
    target = tmp_path / "x.pdparams"
    target.write_text("precious")
    options = ("--src", plain("shunted_t"), "--dst", target, "--no-parity", "--force")

    done = run_cli("shunted", *options, limit=5_000_000)

    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == ["x.pdparams"]
    assert target.read_text() == "precious"


@pytest.mark.parametrize("folder", ["/sys", "/proc"])
def test_folder_closed_even_to_root_is_refused(folder: str, plain: Make) -> None:
    """No permission: one error, exit status 1."""
    done = run_cli(
        "shunted", "--src", plain("shunted_t"), "--dst", f"{folder}/x.pdparams", "--no-parity"
    )

    assert done.returncode == 1
    assert f"{folder}/x.pdparams" in done.stderr
    assert "Traceback" not in done.stderr


def test_faulty_disk_is_noticed(
    plain: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes back is compared with what was meant, bit for bit."""
    pwrite = os.pwrite

    def faulty(handle: int, data: memoryview, offset: int) -> int:
        count = pwrite(handle, data, offset)
        if offset <= 5_000_000 < offset + count:
            pwrite(handle, bytes([data[5_000_000 - offset] ^ 1]), 5_000_000)
        return count

    monkeypatch.setattr(os, "pwrite", faulty)

    with pytest.raises(CheckpointError, match="did not come back as"):
        convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted", parity=False)
    assert names(tmp_path) == []


def test_new_file_has_the_usual_rights(plain: Make, tmp_path: Path) -> None:
    """Not those of a temporary file, which nobody else may read."""
    convert(plain("shunted_t"), tmp_path / "x.pdparams", "shunted", parity=False)
    (tmp_path / "usual").write_text("")

    assert (tmp_path / "x.pdparams").stat().st_mode == (tmp_path / "usual").stat().st_mode


FRAMEWORKS = ("torch", "paddle", "paddle.base")


def test_conversion_imports_no_framework(plain: Make, tmp_path: Path) -> None:
    """Neither torch nor Paddle is needed to read, map and write."""
    source, target = str(plain("shunted_t")), str(tmp_path / "x.pdparams")
    code = f"""
import sys, vitconvert
vitconvert.convert({source!r}, {target!r}, "shunted", parity=False)
sys.exit(str([name for name in {FRAMEWORKS} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stderr.strip() == "[]"
