"""`vitconvert train` in two processes that share every batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import VARIANT, make_images, rows, settings
from vitconvert.apps.training import flag, train
from vitconvert.apps.training._state import read_state
from vitconvert.running.team import expected_team

pytestmark = pytest.mark.paddle

# As the installed command is, which launchers of several processes start as a script.
COMMAND = """
from vitconvert.cli import main

main()
"""


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start `vitconvert train` as Paddle's launcher does."""
    script = folder / "command.py"
    script.write_text(COMMAND)
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    return subprocess.run(
        [sys.executable, *launcher, "--log_dir", folder / "logs", script, "train", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def both(folder: Path, variant: str, lr: float) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Train in one process and in two: the row of either, and what the two print."""
    data = make_images(folder / "data", train=10, val=7)
    own = {"epochs": 1, "drop_path": 0.0, "batch_size": 8, "warmup_epochs": 0.0, "lr": lr}
    options = [word for name, value in own.items() for word in (flag(name), str(value))]
    done = launch(folder, variant, "--data", str(data), "--out", "two", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    train(settings(data, variant=variant, **own), folder / "one")
    (alone,), (shared,) = rows(folder / "one"), rows(folder / "two")
    return alone, shared, done.stdout


@pytest.mark.slow
def test_two_processes_train_a_model_with_batch_norm(tmp_path: Path) -> None:
    """One of them alone prints and writes, and every image is evaluated once."""
    alone, shared, output = both(tmp_path, VARIANT, 1e-3)

    # The one BatchNorm sees half of the images in each process; all else is computed alike.
    assert shared["train_loss"] == pytest.approx(alone["train_loss"], rel=2e-2)
    assert shared["val_images"] == alone["val_images"] == 7
    assert output.count("epoch 1/1: ") == 1
    assert output.count("best: epoch 1") == 1


@pytest.mark.slow
def test_two_processes_without_batch_norm_agree_to_rounding(tmp_path: Path) -> None:
    """The first moment of AdamW after one step is a tenth of the gradient."""
    alone, shared, _output = both(tmp_path, "shiftvit_cifar_tiny", 1e-5)

    assert shared["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-6)
    assert shared["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-4)
    assert shared["val_top1"] == pytest.approx(alone["val_top1"])
    assert shared["val_images"] == 7
    moments = [
        read_state(tmp_path / run / "state" / "resume.safetensors")[1] for run in ("one", "two")
    ]
    assert moments[0].keys() == moments[1].keys()
    for name, value in moments[0].items():
        if name.startswith("moment1"):
            scale = np.abs(value).max()
            assert np.abs(moments[1][name] - value).max() < 1e-4 * scale + 1e-9, name


def test_the_launcher_says_who_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process alone is no team, whatever number it has."""
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "3")
    assert (expected_team().rank, expected_team().size) == (1, 3)
    assert not expected_team().leads

    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "1")
    assert (expected_team().rank, expected_team().size) == (0, 1)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    """Before any work, in every process."""
    data = make_images(tmp_path / "data", train=10, val=7)
    options = ["--data", str(data), "--out", "two", "--batch-size", "5"]
    done = launch(tmp_path, VARIANT, *options)

    assert done.returncode != 0
    logged = done.stdout + done.stderr + (tmp_path / "logs" / "workerlog.0").read_text()
    assert "expected a multiple of 2" in logged
    assert not (tmp_path / "two").exists()
