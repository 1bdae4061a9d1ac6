"""`vitconvert train`: what a step computes, and that a run can be ended and resumed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from conftest import arrays, write_paddle
from training import CLASSES, QUICK, VARIANT, invoke, make_images, rows, settings, weights
from vitconvert import CheckpointError, DataError, ModelError, RunError, create_model
from vitconvert.apps.training import Settings, train
from vitconvert.apps.training._interrupt import Interrupted
from vitconvert.apps.training._model import decays, make_model
from vitconvert.apps.training._prepare import prepare
from vitconvert.apps.training._state import read_state
from vitconvert.cli import cli
from vitconvert.running.team import Team
from vitconvert.tables.reading import find_variant

pytestmark = pytest.mark.paddle

# Kills itself at a place that the test chooses, in a process of its own.
KILLED = """
import os, signal, sys
from pathlib import Path
from training import settings
from vitconvert.checkpoints import target as targets
from vitconvert.apps.training import _trainer, train

data, out, where = sys.argv[1:]
named = []

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def at_step(epoch, epochs, done, steps, loss, rate):
    if where == "step" and (epoch, done) == (2, 3):
        kill()

def write_state(path, weights, optimizer, position):
    if where == "between" and position.epoch == 2:
        kill()  # the weights of the second epoch are written
    write(path, weights, optimizer, position)

def publish(part, target, force):
    named.append(target.name)
    if where == "naming" and named.count("resume.safetensors") == 3:
        kill()  # the file is written and has no name
    name(part, target, force)

write, _trainer.write_state = _trainer.write_state, write_state
name, targets.publish = targets.publish, publish
train(settings(Path(data), save_every=2), out, listener=at_step)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images once."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once without interruption."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(settings(data), out)
    return out


# -- a step


def by_hand(asked: Settings) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Compute the loss of the first step, its gradients and the weights before, in Paddle."""
    import paddle

    prepared = prepare(asked)
    model = make_model(asked, len(CLASSES), None)
    before = {name: value.numpy().astype(np.float64) for name, value in model.named_parameters()}
    ((images, targets),) = prepared.batches(asked, Team()).epoch(0, 0)
    log_shares = paddle.nn.functional.log_softmax(model(paddle.to_tensor(images)), -1)
    loss = -(log_shares * paddle.to_tensor(targets)).sum(-1).mean()
    loss.backward()
    gradients = {n: v.grad.numpy() for n, v in model.named_parameters() if v.grad is not None}
    return float(loss), before, gradients


@pytest.mark.parametrize("clip_grad", [None, 0.5])
def test_a_step_is_the_published_adamw_step(
    clip_grad: float | None, data: Path, tmp_path: Path
) -> None:
    """Loshchilov and Hutter, algorithm 2, in float64; only weights of layers are decayed."""
    asked = settings(
        data, **QUICK, epochs=1, batch_size=20, lr=0.01, min_lr=0.01, weight_decay=0.3,
        drop_path=0.0, warmup_epochs=0, clip_grad=clip_grad,
    )  # fmt: skip
    loss, before, gradients = by_hand(asked)
    train(asked, tmp_path / "run")
    after = arrays(tmp_path / "run" / "last.pdparams")

    assert rows(tmp_path / "run")[0]["train_loss"] == pytest.approx(loss, rel=1e-6)
    norm = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()))
    scale = 1.0 if clip_grad is None else min(1.0, clip_grad / norm)
    assert clip_grad is None or scale < 1
    kinds = set()
    for name, value in before.items():
        if name not in gradients:  # running statistics, which Paddle counts among parameters
            continue
        g = gradients[name].astype(np.float64) * scale
        decay = 0.3 if decays(name, value) else 0.0
        # With the bias corrected, the first step's moments are the gradient and its square.
        expected = value - 0.01 * (g / (np.abs(g) + 1e-8) + decay * value)
        sure = np.abs(g) > 1e-3 * np.abs(g).max()  # elsewhere rounding decides the sign
        kinds.add((decay > 0, value.ndim))
        assert np.abs(after[name] - expected)[sure].max() < 1e-6, name
    assert {(True, 2), (True, 4), (False, 1)} <= kinds


def test_norms_biases_and_tables_are_not_decayed() -> None:
    """Only what is multiplied with features is."""
    shapes = {
        "blocks.0.attn.q.weight": (2, 2),
        "blocks.0.norm1.weight": (2,),
        "blocks.0.attn.q.bias": (2,),
        "pos_embed": (1, 4, 2),
        "attn.relative_position_bias_table": (2, 2),
    }

    decayed = [name for name, shape in shapes.items() if decays(name, np.ones(shape))]
    assert decayed == ["blocks.0.attn.q.weight"]


def test_drop_path_differs_from_step_to_step(data: Path, tmp_path: Path) -> None:
    """It is seeded by the step: the same batch gives another loss in another step."""
    losses = []
    same = settings(
        data, **QUICK, epochs=3, batch_size=8, limit=8, lr=1e-12, drop_path=0.9, crop="none",
        flip=False, color_jitter=0.0, mixup=0.0,
    )  # fmt: skip
    train(same, tmp_path / "run", listener=lambda *told: losses.append(told[4]))
    train(same, tmp_path / "again", listener=lambda *told: losses.append(told[4]))

    assert len({round(loss, 6) for loss in losses[:3]}) == 3
    assert losses[:3] == losses[3:]


# -- a run


def test_a_run_learns_and_writes_its_files(data: Path, tmp_path: Path) -> None:
    """After a few epochs the model distinguishes the three colours."""
    out = tmp_path / "run"
    variant = QUICK["variant"]
    done = invoke(variant, "--data", data, "--out", out, "--epochs", 8, "--lr", 0.003,
                  "--batch-size", 10, "--mixup", 0, "--image-size", 16)  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "training on 20 images" in done.output
    assert f"{variant}, 3 classes, 16x16, batches of 10, 2 steps an epoch, " in done.output
    assert "there are no more images" not in done.output
    assert "top-5" not in done.output
    assert f"best: epoch {max(rows(out), key=lambda r: r['val_top1'])['epoch']}" in done.output
    log = rows(out)
    assert [row["epoch"] for row in log] == list(range(1, 9))
    assert log[-1]["train_loss"] < log[0]["train_loss"]
    assert max(row["val_top1"] for row in log) > 80
    assert all(row["val_images"] == 7 for row in log)
    table = (out / "curves.csv").read_text().splitlines()
    assert len(table) == 9
    assert table[0].startswith("epoch,train_loss,val_loss,val_top1,val_top5,learning_rate")
    assert {line.split(",")[4] for line in table[1:]} == {""}
    for name in ("curves.png", "predictions.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_images_that_cannot_be_read_are_told_once(tmp_path: Path) -> None:
    """Of both sets, by name; the run continues with the others."""
    data = make_images(tmp_path / "data", train=9)
    (data / "train" / "red" / "002.png").write_bytes(b"no image")
    (data / "val" / "blue" / "003.png").write_bytes(b"no image")
    done = invoke(QUICK["variant"], "--data", data, "--out", tmp_path / "run", "--epochs", 2,
                  "--batch-size", 3, "--image-size", 16)  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "data (3 class folders, split train): 1 of 9 training images that were" in done.output
    assert "data (3 class folders, split val): 1 of 7 validation images that were" in done.output
    assert done.output.index("1 of 7") < done.output.index("epoch 1/2")
    assert done.output.count("red/002.png") == done.output.count("blue/003.png") == 1
    assert [row["val_unreadable"] for row in rows(tmp_path / "run")] == [1, 1]
    assert [row["val_images"] for row in rows(tmp_path / "run")] == [6, 6]


def test_weights_of_a_run_load_everywhere(whole: Path, tmp_path: Path) -> None:
    """As a model, by `inspect`, and back to PyTorch."""
    create_model(VARIANT, num_classes=3, checkpoint=whole / "best.pdparams")
    shown = CliRunner().invoke(cli, ["inspect", str(whole / "last.pdparams")])
    back = ["shunted", "--src", str(whole / "best.pdparams"), "--dst", str(tmp_path / "back.pth")]
    converted = CliRunner().invoke(cli, [*back, "--no-parity"])

    assert f"{VARIANT} (family shunted, 3 classes" in shown.output
    assert converted.exit_code == 0, converted.output


def test_evaluation_of_a_run_is_that_of_its_best_weights(whole: Path, data: Path) -> None:
    """Computed again, without any of its code, with the preprocessing of evaluation."""
    import paddle

    from vitconvert.images import open_images, preprocessing_of

    best = max(rows(whole), key=lambda row: row["val_top1"])
    model = create_model(VARIANT, num_classes=3, checkpoint=whole / "best.pdparams")
    images, how = open_images(data, "val"), preprocessing_of(find_variant(VARIANT)[1])
    inputs = np.stack([how(images.open(i)) for i in range(len(images))])
    with paddle.no_grad():
        logits = model(paddle.to_tensor(inputs)).numpy().astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    assert best["val_top1"] == pytest.approx(100 * (logits.argmax(1) == images.labels).mean())
    assert best["val_top5"] is None
    loss = -np.log(shares[np.arange(7), images.labels]).mean()
    assert best["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_threads_change_no_bit_of_a_run(whole: Path, data: Path, tmp_path: Path) -> None:
    """Nor does how often it is saved."""
    train(settings(data, workers=3, save_every=1), tmp_path / "run")

    assert weights(tmp_path / "run") == weights(whole)
    assert rows(tmp_path / "run") == rows(whole)


def test_what_else_runs_in_the_process_changes_no_bit(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    """A Predictor, say, sets the threads of all matrix products of its process."""
    from paddle.base import core

    core.set_num_threads(2)
    train(settings(data), tmp_path / "run")

    assert weights(tmp_path / "run") == weights(whole)


# -- the end of a run, and resuming


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bits(
    number: int, whole: Path, data: Path, tmp_path: Path
) -> None:
    """In the middle of an epoch; the step that it comes in is finished."""
    out = tmp_path / "run"

    def end(epoch: int, _epochs: int, done: int, *_: float) -> None:
        if (epoch, done) == (2, 2):
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="in epoch 2 after 2 of 5 steps; the state is saved"):
        train(settings(data), out, listener=end)
    assert read_state(out / "state" / "resume.safetensors")[2].step == 2

    done = invoke("--resume", "--out", out)
    assert done.exit_code == 0, done.output
    assert "resuming in epoch 2 after 2 steps" in done.output
    assert weights(out) == weights(whole)
    assert rows(out) == rows(whole)


@pytest.mark.parametrize(
    ("where", "epoch", "step"),
    [
        ("step", 1, 2),
        pytest.param("between", 1, 4, marks=pytest.mark.slow),
        pytest.param("naming", 0, 2, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(
    where: str, epoch: int, step: int, whole: Path, data: Path, tmp_path: Path
) -> None:
    """SIGKILL between two saves, when weights are newer than the state, and while it is saved."""
    out, script = tmp_path / "run", tmp_path / "killed.py"
    script.write_text(KILLED)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run(
        [sys.executable, script, data, out, where],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    reached = read_state(out / "state" / "resume.safetensors")[2]
    assert (reached.epoch, reached.step) == (epoch, step)

    train(settings(data, save_every=2), out, resume=True)
    assert weights(out) == weights(whole)
    assert rows(out) == rows(whole)


def test_a_finished_run_is_not_trained_again(whole: Path) -> None:
    """It says what came out."""
    before = weights(whole)
    done = invoke("--resume", "--out", whole)

    assert done.exit_code == 0, done.output
    assert "last: epoch 2" in done.output
    assert "resuming" not in done.output
    assert f"{whole}: all 2 epochs are done; nothing left to do" in done.output
    assert weights(whole) == before


def test_interruption_on_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 130, and how to resume."""
    from vitconvert.apps.training._trainer import Trainer

    learn = Trainer._step

    def step(self: Trainer, *batch: np.ndarray) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *batch)

    monkeypatch.setattr(Trainer, "_step", step)
    done = invoke(VARIANT, "--data", data, "--out", tmp_path / "run", "--batch-size", 4)

    assert done.exit_code == 130
    assert f"Resume: vitconvert train --resume --out {tmp_path / 'run'}" in done.output


@pytest.mark.parametrize(
    ("variant", "what"),
    [
        ("shiftvit_cifar_tiny", "a loss of nan in epoch 2 after 2 steps"),
        # Its ReLU makes 0 of nan, which only the statistics of its BatchNorm keep.
        ("shunted_cifar_tiny", "weights that are not finite in epoch 2 after 3 steps"),
    ],
)
def test_what_is_not_finite_ends_the_run(
    variant: str, what: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the last whole epoch stay, and the state before."""
    from vitconvert.apps.training._batches import Batches

    make = Batches._make

    def spoil(
        self: Batches, places: np.ndarray, epoch: int, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        images, targets = make(self, places, epoch, step)
        return images * np.float32(np.nan if (epoch, step) == (1, 2) else 1), targets

    monkeypatch.setattr(Batches, "_make", spoil)
    out = tmp_path / "run"
    with pytest.raises(RunError, match=rf"gives {what}.* has the weights of epoch 1\."):
        train(settings(data, variant=variant, limit=12, save_every=1), out)

    assert all(np.isfinite(value).all() for value in arrays(out / "last.pdparams").values())
    kept, _slots, position = read_state(out / "state" / "resume.safetensors")
    assert (position.epoch, position.step) == (1, 2)
    assert all(np.isfinite(value).all() for value in kept.values())


# -- weights to begin with


def test_another_number_of_classes_gets_a_new_head(whole: Path) -> None:
    """All else comes from the file, and it is said."""
    asked = settings(Path("d"), weights=str(whole / "best.pdparams"))
    model = make_model(asked, 5, whole / "best.pdparams")
    begun = arrays(whole / "best.pdparams")
    fresh = make_model(asked, 5, None).state_dict()

    for name, value in model.state_dict().items():
        expected = fresh[name].numpy() if name.startswith("head.") else begun[name]
        assert np.array_equal(value.numpy(), expected), name


def test_weights_are_said_to_get_a_new_head(whole: Path, tmp_path: Path) -> None:
    """Here two classes instead of three."""
    data = make_images(tmp_path / "data")
    for split in ("train", "val"):
        for file in (data / split / "red").iterdir():
            file.unlink()
        (data / split / "red").rmdir()
    done = invoke(VARIANT, "--data", data, "--out", tmp_path / "run", "--epochs", 1,
                  "--weights", whole / "best.pdparams")  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "has a head for 3 classes; it is replaced by a random one for 2 classes" in done.output


def test_weights_that_lack_a_tensor_are_refused(whole: Path, data: Path, tmp_path: Path) -> None:
    """Only the head may be another."""
    state = arrays(whole / "best.pdparams")
    name = next(key for key in state if not key.startswith("head."))
    del state[name]
    path = write_paddle(tmp_path / "part.pdparams", state)

    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        train(settings(data, weights=str(path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- errors before any work


def test_a_backbone_cannot_be_trained(data: Path, tmp_path: Path) -> None:
    """It tells no classes apart."""
    with pytest.raises(ModelError, match="is a backbone without a head"):
        train(settings(data, variant="litv2_small_det"), tmp_path / "run")


def test_wrong_calls_are_told_from_the_start(whole: Path, data: Path, tmp_path: Path) -> None:
    """On the command line, in one line each."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("work of years")
    good = (VARIANT, "--data", data)
    cases = (
        (("shunted_x", "--data", data, "--out", tmp_path / "run"), "no variant is called"),
        ((VARIANT, "--out", tmp_path / "run"), "missing option --data"),
        ((*good, "--out", whole), "exists already. Pass --resume"),
        ((*good, "--out", tmp_path / "full", "--force"), "exists and is not a training run"),
        (("--resume", "--out", tmp_path / "none"), "does not hold a training run to resume"),
        (("--resume", "--force", "--out", whole), "give only one of them"),
        (("--resume", "--out", whole, "--lr", 5), "--lr: was 0.001, is now 5.0"),
        ((*good, "--out", tmp_path / "run", "--num-classes", 4), "is 4, but the images have 3 cl"),
        ((*good, "--out", tmp_path / "run", "--device", "gpu"), "sees no GPU"),
        ((*good, "--out", tmp_path / "run", "--amp", "--device", "cpu"), "on a GPU only"),
        ((*good, "--out", tmp_path / "run", "--image-size", 8), "--image-size 8x8: images of"),
        ((*good, "--out", tmp_path / "no" / "run"), "does not exist. Make it first"),
    )
    for arguments, message in cases:
        done = invoke(*arguments)
        assert done.exit_code in (1, 2), arguments
        assert message in " ".join(done.output.split()), done.output
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_without_matplotlib_no_curves_are_drawn(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is said before the first epoch; VisualDL is needed only where it is asked for."""
    from vitconvert.apps.training import _log

    monkeypatch.setattr(_log, "find_spec", lambda _name: None)
    with pytest.raises(RunError, match="Install it: pip install visualdl"):
        train(settings(data, visualdl=True), tmp_path / "run")
    done = invoke(QUICK["variant"], "--data", data, "--out", tmp_path / "run", "--epochs", 1,
                  "--limit", 3, "--image-size", 16)  # fmt: skip

    assert done.exit_code == 0, done.output
    assert done.output.index("no curves are drawn") < done.output.index("epoch 1/1")
    assert "curves.png" not in done.output
    assert {p.name for p in (tmp_path / "run").glob("*.*")} >= {"curves.csv", "predictions.png"}
    assert not (tmp_path / "run" / "curves.png").exists()


def test_sets_with_other_classes_are_refused(data: Path, tmp_path: Path) -> None:
    """A label is a place in the list of names."""
    other = make_images(tmp_path / "other")
    (other / "val" / "red").rename(other / "val" / "pink")

    with pytest.raises(DataError, match=r"other classes than the training images: .* lacks pink"):
        train(settings(data, val_data=str(other)), tmp_path / "run")


def test_a_run_does_not_go_on_with_other_images(whole: Path, tmp_path: Path) -> None:
    """The order of the rest of an epoch would be another."""
    with pytest.raises(RunError, match="was started with other images"):
        train(settings(make_images(tmp_path / "more", 24)), whole, resume=True)


def test_force_replaces_a_run(data: Path, tmp_path: Path) -> None:
    """And nothing is removed before the new one can begin."""
    out = tmp_path / "run"
    train(settings(data, epochs=1, limit=4), out)
    before = weights(out)
    with pytest.raises(DataError):
        train(settings(tmp_path / "none"), out, force=True)
    assert weights(out) == before

    train(settings(data, epochs=1, limit=4, seed=1), out, force=True)
    assert weights(out) != before
