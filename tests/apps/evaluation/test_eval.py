"""Evaluation: what both models make of labelled images, interrupted, shared and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image

import vitconvert
from conftest import Make, arrays, write_paddle
from vitconvert import CheckpointError, DataError, ModelError, RunError
from vitconvert.apps.evaluation import Evaluation, ReportError, evaluate
from vitconvert.apps.evaluation._data import Data
from vitconvert.apps.evaluation._options import EvaluationArguments, EvaluationOptions
from vitconvert.apps.evaluation._tally import Tally, judge
from vitconvert.images import open_images, preprocessing_of
from vitconvert.running.team import Team, expected_team
from vitconvert.tables.reading import find_variant
from vitconvert.tables.variant import Variant

VARIANT = "shiftvit_cifar_tiny"
CLASSES = [f"class{i}" for i in range(10)]
BIN = Path(sys.executable).parent
Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 43 images of several sizes in ten folders."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(7)
    for i in range(43):
        place = folder / CLASSES[i % 10]
        place.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (4, 5, 3), np.uint8)
        size = (int(rng.integers(32, 60)), int(rng.integers(32, 60)))
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(place / f"{i:03}.png")
    return folder


@pytest.fixture
def one(images: Path, converted: Make) -> Evaluate:
    """Evaluate the Paddle model on the images, on the processor; options change that."""

    def run(data: Path = images, **options: Any) -> Evaluation:
        return evaluate(
            VARIANT, data, **{"weights": converted(VARIANT), "device": "cpu", **options}
        )

    return run


@pytest.fixture
def both(one: Evaluate, plain: Make) -> Evaluate:
    """Evaluate both models."""
    return partial(one, torch_weights=plain(VARIANT))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [str(BIN / "vitconvert"), "eval", VARIANT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.paddle
@pytest.mark.torch
def test_figures_are_those_of_the_models_run_by_hand(
    both: Evaluate, images: Path, plain: Make, converted: Make
) -> None:
    """Counts, loss, margins and differences equal what plain loops over both models give."""
    import paddle
    import torch

    result = both(batch_size=8)

    found, how = open_images(images), preprocessing_of(find_variant(VARIANT)[1])
    inputs = np.stack([how(found.open(i)) for i in range(len(found))])
    ours = vitconvert.create_model(VARIANT, checkpoint=converted(VARIANT))
    theirs = vitconvert.create_model(VARIANT, "torch", checkpoint=plain(VARIANT))
    with paddle.no_grad(), torch.no_grad():
        logits = [ours(paddle.to_tensor(inputs)).numpy(), theirs(torch.from_numpy(inputs)).numpy()]
    assert result.count == 43
    assert [side.label for side in result.sides] == ["Paddle", "PyTorch"]
    for side, expected in zip(result.sides, logits, strict=True):
        assert (side.predicted == expected.argmax(1)).all()
        loss = torch.nn.functional.cross_entropy(
            torch.from_numpy(expected).double(), torch.from_numpy(found.labels)
        )
        assert result.loss(side) == pytest.approx(loss.item(), rel=1e-5)
        in_five = (np.argsort(-expected, 1)[:, :5] == found.labels[:, None]).any(1)
        assert (side.hit5 == in_five).all()
    assert result.difference.max() < 1e-4
    assert result.same


@pytest.mark.paddle
@pytest.mark.torch
def test_both_sides_are_given_the_same_array(both: Evaluate) -> None:
    """In float64 the logits agree to rounding of float64, which another input would not allow."""
    result = both(dtype="float64")

    assert result.difference.max() < 1e-11
    assert result.same


@pytest.mark.paddle
@pytest.mark.torch
def test_a_wrong_weight_is_no_rounding(
    images: Path, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """Weights that are one percent off are told from rounding; exit status 1."""
    state = arrays(converted(VARIANT))
    name = "layers.0.blocks.0.mlp.fc1.weight"
    state[name] = state[name] * np.float32(1.01)
    wrong = write_paddle(tmp_path / "wrong.pdparams", state)

    done = run("--weights", wrong, "--torch-weights", plain(VARIANT), "--data", images)

    assert done.returncode == 1, done.stderr
    assert "than rounding" in done.stdout


@pytest.mark.paddle
def test_unreadable_images_are_counted_and_listed(
    one: Evaluate, images: Path, tmp_path: Path
) -> None:
    """They are left out and named; --strict stops at the first."""
    for folder in CLASSES:
        (tmp_path / folder).symlink_to(images / folder)
    (tmp_path / "class3").unlink()
    (tmp_path / "class3").mkdir()
    whole = next((images / "class3").iterdir()).read_bytes()
    (tmp_path / "class3" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "class3" / "good.png").write_bytes(whole)

    result = one(tmp_path)

    assert [name for name, _why in result.unreadable] == ["class3/cut.png"]
    assert not result.partial
    assert "class3/good.png" in result.names
    with pytest.raises(DataError, match=r"class3/cut\.png.*--strict"):
        one(tmp_path, strict=True)


@pytest.mark.paddle
def test_limit_takes_images_of_every_class(one: Evaluate, images: Path, tmp_path: Path) -> None:
    """Evenly spread, not the first ones, which are all of one class; labels follow the names."""
    copy = shutil.copytree(images, tmp_path / "copy")
    (copy / "class0").rename(copy / "null")  # sorts last
    shutil.rmtree(copy / "class9")
    names = ["null", *CLASSES[1:]]
    result = one(copy, limit=10, classes=names)

    assert result.count == result.wanted == 10
    assert len(set(result.labels.tolist())) == 9
    assert [name.split("/")[0] for name in result.names] == [names[i] for i in result.labels]
    assert result.classes == tuple(names)
    assert result.matching == "mapped by name: 9 of 10 classes of --classes"
    assert result.confusion(result.sides[0]).sum() == 10
    with pytest.raises(DataError, match="other classes than --classes: that lacks null"):
        one(copy, classes=CLASSES)


def test_images_are_evaluated_in_random_order(images: Path) -> None:
    """So that an interrupted evaluation has seen all classes; each image once, in any process."""
    teams = [Team(rank, 2) for rank in (0, 1)]
    first, second = (Data(str(images), None, EvaluationOptions(), team) for team in teams)
    again = Data(str(images), None, EvaluationOptions(), teams[0])

    assert sorted([*first.share, *second.share]) == list(range(43))
    assert first.share.tolist() == again.share.tolist()
    assert len(set(first.images.labels[first.share[:10]])) > 5


@pytest.mark.paddle
def test_data_and_weights_must_fit(
    one: Evaluate, images: Path, converted: Make, tmp_path: Path
) -> None:
    """No images, other classes, no head, no weights: each is refused before anything runs."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "a" / "1.png")

    with pytest.raises(DataError, match=r"has 1 class .*a head for 10"):
        one(tmp_path)
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DataError):
        one(tmp_path)
    with pytest.raises(RunError, match="no weights"):
        one(weights=None)
    with pytest.raises(ModelError, match="no head"):
        evaluate("litv2_small_det", images, weights=converted("litv2_small_det"))
    with pytest.raises(RunError, match="--resume needs --report"):
        one(resume=True)
    with pytest.raises(RunError, match="dtype is 'float16'"):
        one(dtype="float16")
    with pytest.raises(DataError, match="would lie among the images"):
        one(report=images / "report")
    assert not (images / "report").exists()


def test_options_are_the_same_by_name_and_as_an_object() -> None:
    """What an editor and `help` show is what there is."""
    assert get_type_hints(EvaluationArguments) == get_type_hints(EvaluationOptions)


@pytest.mark.paddle
def test_images_that_the_model_does_not_take_are_refused(
    one: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a process starts; and if a model says so, its reason reaches the user."""
    message = "images of 4x4 pixels, expected at least 8x8"
    with pytest.raises(DataError, match=message):
        one(preprocessing={"size": (4, 4)})
    monkeypatch.setattr(Variant, "check_size", lambda *_: None)
    with pytest.raises(RunError, match=message):
        one(preprocessing={"size": (4, 4)})


@pytest.mark.paddle
@pytest.mark.torch
def test_the_deployed_form_classifies_alike(
    one: Evaluate, both: Evaluate, images: Path, converted: Make, tmp_path: Path
) -> None:
    """From a checkpoint as from a folder that was exported; and beside PyTorch."""
    exported = tmp_path / "exported"
    vitconvert.export(VARIANT, converted(VARIANT), exported)
    how: dict[str, Any] = {"engine": "inference", "batch_size": 16}

    made = both(**how)
    given = one(weights=exported, **how)

    assert made.same
    assert made.sides[0].label == "Paddle (inference)"
    assert (given.sides[0].loss == made.sides[0].loss).all()
    with pytest.raises(RunError, match=r"is the folder of an export\. Run it with --engine inf"):
        one(weights=exported)
    with pytest.raises(ModelError, match=f"is an export of {VARIANT}, not shunted_cifar_tiny"):
        evaluate("shunted_cifar_tiny", images, weights=exported, **how)


@contextmanager
def slowed(batches: int, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start an evaluation that takes its time, and wait until it is at that batch."""
    command = [sys.executable, "-c", _SLOW, VARIANT, *map(str, arguments), "--batch-size", "4"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"batch {batches}"):
                break
        yield process


# The command line, but every batch is told of and takes a while.
_SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from vitconvert.apps.evaluation import _engine
run, count = _engine.Engine.run, [0]
def slow(self, *arguments):
    count[0] += 1
    print("batch", count[0], flush=True)
    if count[0] > 1:
        time.sleep(1)
    return run(self, *arguments)
_engine.Engine.run = slow
from vitconvert.cli import main
sys.argv = ["vitconvert", "eval", *sys.argv[1:]]
main()
"""


@pytest.mark.paddle
@pytest.mark.torch
def test_an_interrupted_run_resumes_and_equals_a_whole_one(
    images: Path, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """Ctrl-C shows the figures so far, marked partial; --resume gives what one run gives."""
    report = tmp_path / "out"
    arguments = ["--data", images, "--weights", converted(VARIANT), "--device", "cpu"]
    arguments += ["--torch-weights", plain(VARIANT), "--batch-size", "4"]

    with slowed(6, *arguments, "--report", report) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "PARTIAL" in out
    assert "--resume" in out
    first = json.loads((report / "report.json").read_text())
    assert 0 < first["evaluated"] < 43
    assert (report / "state.npz").exists()
    again = run(*arguments, "--report", report)
    assert again.returncode == 1
    assert "--resume" in again.stderr
    other = run(*arguments, "--report", report, "--resume", "--limit", "40")
    assert other.returncode == 1
    assert "limit" in other.stderr
    resumed = run(*arguments, "--report", report, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = run(*arguments, "--report", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr

    rows = [(folder / "images.csv").read_text() for folder in (report, tmp_path / "whole")]
    assert rows[0] == rows[1]
    assert not (report / "state.npz").exists()


VITCONVERT = str(BIN / "vitconvert")
PADDLE = "-m paddle.distributed.launch --nproc_per_node 2 --log_dir {log}"
LAUNCHERS = {
    "paddle": [*PADDLE.split(), VITCONVERT],
    "torch": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "vitconvert"],
}


@pytest.mark.slow
@pytest.mark.paddle
@pytest.mark.torch
@pytest.mark.parametrize("side", ["paddle", "torch"])
def test_two_processes_count_every_image_once(
    side: str, images: Path, plain: Make, converted: Make, tmp_path: Path
) -> None:
    """An odd number of images, shared by two processes, gives the counts of one process."""
    weights = {
        "paddle": ("--weights", converted(VARIANT)),
        "torch": ("--torch-weights", plain(VARIANT)),
    }
    arguments = ["--data", images, *weights[side], "--device", "cpu"]
    launcher = [part.format(log=tmp_path / "log") for part in LAUNCHERS[side]]
    command = [sys.executable, *launcher, "eval", VARIANT, *arguments, "--report", tmp_path / "two"]

    single = run(*arguments, "--report", tmp_path / "one")
    shared = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
    )

    assert single.returncode == 0, single.stderr
    assert shared.returncode == 0, shared.stderr + shared.stdout
    one, two = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("one", "two"))
    assert two["processes"] == 2
    assert two["evaluated"] == one["evaluated"] == 43
    assert two["sides"][0]["top1"]["count"] == one["sides"][0]["top1"]["count"]
    columns = [
        [line.split(",")[:4] for line in (tmp_path / n / "images.csv").read_text().splitlines()]
        for n in ("one", "two")
    ]
    assert columns[0] == columns[1]


@pytest.mark.paddle
def test_nothing_outlives_an_evaluation_that_is_killed(images: Path, converted: Make) -> None:
    """The process of the model ends when the one that asks it is gone."""
    with slowed(2, "--data", images, "--weights", converted(VARIANT)) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()

    assert children
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "the process of the model lives on"
        time.sleep(0.1)


def test_figures_of_a_image_by_hand() -> None:
    """Largest logit, five largest, cross-entropy, margin; equal logits count in order."""
    logits = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 0.0]])

    found = judge(logits, np.array([2, 1]))

    assert found["predicted"].tolist() == [1, 0]
    assert found["hit5"].tolist() == [True, True]
    assert found["margin"].tolist() == [1.0, 0.0]
    assert found["largest"].tolist() == [3.0, 5.0]
    expected = [np.log(np.exp([1, 3, 2]).sum()) - 2, np.log(np.exp([5, 5, 0]).sum()) - 5]
    assert found["loss"] == pytest.approx(expected)


def test_logits_that_are_not_finite_are_no_prediction() -> None:
    """They hit nothing, rather than whatever a comparison with them gives."""
    found = judge(np.array([[np.nan, 1.0], [np.inf, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))

    assert found["predicted"].tolist() == [-1, -1, 1]
    assert found["hit5"].tolist() == [False, False, True]


@pytest.fixture
def stopped(one: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Make an evaluation that Ctrl-C ended after two batches, its report in tmp_path / "out"."""

    def stop(*data: Path) -> Evaluation:
        made, add = list[None](), Tally.add

        def two(self: Tally, *arguments: Any) -> None:
            if len(made) == 2:
                raise KeyboardInterrupt
            made.append(add(self, *arguments))

        with monkeypatch.context() as patch:
            patch.setattr(Tally, "add", two)
            return one(*data, report=tmp_path / "out", batch_size=4)

    return stop


@pytest.mark.paddle
def test_resuming_is_of_the_same_images_labels_and_weights(
    stopped: Evaluate, one: Evaluate, images: Path, tmp_path: Path
) -> None:
    """Other labels, more images, another batch size: each is named, and nothing is mixed."""
    copy = shutil.copytree(images, tmp_path / "copy")
    again = partial(one, copy, report=tmp_path / "out", resume=True)

    assert stopped(copy).partial
    with pytest.raises(RunError, match="batch_size was 4, is now 5"):
        again(batch_size=5)
    shutil.copy(next((copy / "class9").iterdir()), copy / "class9" / "zzz.png")
    with pytest.raises(RunError, match="the images or labels have changed"):
        again(batch_size=4)
    (copy / "class9" / "zzz.png").unlink()
    (copy / "class0").rename(copy / "class99")  # every label is another one
    with pytest.raises(RunError, match="the images or labels have changed"):
        again(batch_size=4)
    (copy / "class99").rename(copy / "class0")

    assert again(batch_size=4).count == 43


@pytest.mark.paddle
def test_a_batch_that_is_interrupted_half_way_is_not_counted(
    stopped: Evaluate,
) -> None:
    """Whatever of its figures are there already, those of whole batches are shown."""
    assert stopped().count == 8


@pytest.mark.paddle
def test_a_report_that_cannot_be_written_loses_no_figures(
    one: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come with the error."""
    from vitconvert.apps.evaluation import _run

    def full(*_arguments: object) -> None:
        raise CheckpointError("out/report.json: cannot be written: No space left on device.")

    monkeypatch.setattr(_run, "write_reports", full)

    with pytest.raises(ReportError, match="No space left") as caught:
        one(report=tmp_path / "out")
    assert caught.value.result.count == 43


@pytest.mark.paddle
def test_logits_that_are_not_finite_end_with_status_1(
    images: Path, converted: Make, tmp_path: Path
) -> None:
    """Though nothing stands beside them to differ from."""
    state = arrays(converted(VARIANT))
    state["head.bias"] = np.full_like(state["head.bias"], np.nan)
    broken = write_paddle(tmp_path / "nan.pdparams", state)

    done = run("--weights", broken, "--data", images, "--limit", "4")

    assert done.returncode == 1
    assert "not finite" in done.stdout


@pytest.mark.paddle
def test_the_deployed_form_is_made_for_the_size_that_is_asked_for(
    one: Evaluate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And nothing of it is left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    result = one(engine="inference", preprocessing={"size": (40, 48)}, limit=5)

    assert result.count == 5
    assert not list(tmp_path.glob("vitconvert-export-*"))


@pytest.mark.paddle
def test_memory_is_that_of_the_process_alone(one: Evaluate) -> None:
    """Not of the one that started it, whatever that holds."""
    held = np.ones(3 << 27, "u1")  # 400 MB more than a process with Paddle needs by far

    result = one(limit=4)

    status = Path("/proc/self/status").read_text()
    own = next(int(x.split()[1]) << 10 for x in status.splitlines() if x.startswith("VmHWM"))
    assert 100e6 < result.sides[0].peak_bytes["process"] < own - held.nbytes / 4


def test_an_environment_that_no_launcher_sets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a traceback."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "")

    with pytest.raises(RunError, match=r"RANK=''.*WORLD_SIZE='2'"):
        expected_team()
