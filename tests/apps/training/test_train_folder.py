"""What a run may take for its folder, and for images to evaluate."""

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from training import CLASSES, QUICK, invoke, make_images, rows, settings, weights
from vitconvert import CheckpointError, DataError, RunError
from vitconvert.apps.training import Settings, train
from vitconvert.apps.training._prepare import prepare
from vitconvert.apps.training._run import stored_settings
from vitconvert.apps.training._state import Folder, kept

pytestmark = pytest.mark.paddle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the images once."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once, very shortly."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(short(data), out)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Copy the run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def short(data: Path, **options: Any) -> Settings:
    return settings(data, **{**QUICK, "epochs": 1, "limit": 4, **options})


def said(data: Path, out: Path, *options: object) -> str:
    """Train for an epoch on the command line; give what is on the screen."""
    quick = ("--data", data, "--out", out, "--image-size", 16, "--epochs", 1, "--batch-size", 500)
    done = invoke(QUICK["variant"], *quick, *options)
    assert done.exit_code == 0, done.output
    return done.output


def change(run: Path, **facts: object) -> None:
    """Write something else into run.json; None takes a fact away."""
    found = json.loads((run / "run.json").read_text()) | facts
    kept = {name: value for name, value in found.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what --force removes


@pytest.mark.parametrize("name", ["best.pdparams", "state/resume.safetensors"])
def test_weights_to_begin_with_are_not_removed(name: str, run: Path, data: Path) -> None:
    """Not through a link either: they would be gone before they could be trained on."""
    (run.parent / "link").symlink_to(run / name)
    before = files(run)
    for path in (run / name, run.parent / "link"):
        with pytest.raises(
            CheckpointError, match=r"Copy it out of .*run first, or choose another --out"
        ):
            train(short(data, weights=str(path)), run, force=True)
    assert files(run) == before


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"options": {}, "classes": []}'])
def test_a_run_of_something_else_is_not_replaced(text: str, data: Path, tmp_path: Path) -> None:
    """Many programs write a run.json."""
    (tmp_path / "run.json").write_text(text)
    (tmp_path / "curves.png").write_text("somebody's")
    before = files(tmp_path)

    with pytest.raises(RunError, match=r"run\.json: "):
        train(short(data), tmp_path, force=True)
    assert files(tmp_path) == before


def test_a_state_without_a_run_is_not_removed(data: Path, tmp_path: Path) -> None:
    """Only an empty folder of that name counts as nothing."""
    out = tmp_path / "run"
    (out / "state").mkdir(parents=True)
    (out / "state" / "resume.safetensors").write_text("hours of work")

    with pytest.raises(CheckpointError, match="exists and is not a training run"):
        train(short(data), out)
    assert (out / "state" / "resume.safetensors").read_text() == "hours of work"
    (out / "state" / "resume.safetensors").unlink()
    train(short(data), out)


def test_a_run_that_appeared_meanwhile_is_not_removed(
    finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process began and ended one while this one read its images."""
    from vitconvert.apps.training import _run
    from vitconvert.apps.training._model import make_model

    out = tmp_path / "run"

    def slow(*arguments: Any) -> object:
        shutil.copytree(finished, out)
        return make_model(*arguments)

    monkeypatch.setattr(_run, "make_model", slow)
    with pytest.raises(CheckpointError, match=r"exists already\. Pass --resume"):
        train(short(data, seed=1), out)
    assert weights(out) == weights(finished)


def test_a_folder_without_rights_is_told_before_any_work(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be made, to be replaced, or to resume in."""
    from vitconvert.apps.training import _run

    def prepare(_settings: Settings) -> None:
        raise AssertionError("images are opened")

    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    monkeypatch.setattr(_run, "prepare", prepare)
    with pytest.raises(CheckpointError, match=rf"new: no permission to write into {tmp_path}\.$"):
        train(short(data), tmp_path / "new")
    for force in (True, False):
        with pytest.raises(CheckpointError, match=rf"run: no permission to write into {run}\.$"):
            train(short(data), run, force=force, resume=not force)
    with pytest.raises(CheckpointError, match="does not hold a training run to resume"):
        train(short(data), tmp_path / "new", resume=True)


# -- what a run resumes from


def test_a_run_resumes_with_as_many_processes(run: Path) -> None:
    """Gradients are averaged in another order, and a BatchNorm sees other images."""
    change(run, processes=2)
    with pytest.raises(RunError, match="was started with 2 processes; this command has 1"):
        train(stored_settings(run), run, resume=True)


@pytest.mark.parametrize("name", ["images", "options", "classes", "processes"])
def test_a_damaged_record_is_told(name: str, run: Path) -> None:
    """As an error, not as a traceback."""
    change(run, **{name: None})
    done = invoke("--resume", "--out", run)

    assert done.exit_code == 1
    assert "is not the record of a training run" in done.output


def test_damaged_options_are_told(run: Path) -> None:
    """A number that is a text."""
    options = json.loads((run / "run.json").read_text())["options"]
    change(run, options={**options, "epochs": "many"})
    with pytest.raises(RunError, match="its options are damaged"):
        stored_settings(run)


# -- what is evaluated


def packed(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    return archive


def test_images_that_are_not_split_are_refused(data: Path, tmp_path: Path) -> None:
    """Class folders alone, one archive alone, and a link from one half to the other."""
    (tmp_path / "linked").mkdir()
    for half in ("train", "val"):
        (tmp_path / "linked" / half).symlink_to(data / "train")
    archive = packed(data / "train", tmp_path / "train.zip")

    for place in (data / "train", archive, tmp_path / "linked"):
        with pytest.raises(DataError, match=r"is not split, .* or choose .* with --val-data"):
            train(short(place), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_halves_with_the_same_names_are_two(tmp_path: Path) -> None:
    """As numbered images have them; in archives the images themselves are compared."""
    data = make_images(tmp_path / "data", train=7, val=7)
    assert not prepare(short(data)).is_same
    for half in ("train", "val"):
        packed(data / half, tmp_path / f"{half}.zip")
    shutil.rmtree(data)

    assert not prepare(short(tmp_path)).is_same


def test_evaluating_the_training_images_is_reported(data: Path, tmp_path: Path) -> None:
    """Who asks for it gets it."""
    place = data / "train"
    output = said(place, tmp_path / "run", "--val-data", place, "--limit", 4)

    assert (
        "training and evaluation use the same images: top-1 says nothing about new ones" in output
    )


# -- what vitconvert prints


def test_few_images_make_smaller_batches_which_is_said(data: Path, tmp_path: Path) -> None:
    """Nobody asked for batches of twenty."""
    output = said(data, tmp_path / "run")

    assert "batches of 20 instead of 500: there are no more images" in output
    assert "16x16, batches of 20, 1 step an epoch, " in output
    assert "top-5" not in output


def test_top_5_is_told_of_more_than_five_classes(tmp_path: Path) -> None:
    """Of fewer it is 100 % whatever the model is."""
    data = make_images(tmp_path / "data", train=6, val=6)
    for half in ("train", "val"):
        for number, path in enumerate(sorted((data / half).rglob("*.png"))):
            (data / half / f"class {number}").mkdir()
            path.rename(data / half / f"class {number}" / "one.png")
        for name in CLASSES:
            (data / half / name).rmdir()
    output = said(data, tmp_path / "run")

    (row,) = rows(tmp_path / "run")
    assert row["val_top5"] in [pytest.approx(100 * n / 6) for n in range(7)]
    assert f"top-5 {row['val_top5']:.2f}%" in output
    assert f",{row['val_top5']}," in (tmp_path / "run" / "curves.csv").read_text()


@pytest.mark.parametrize("resumable", [False, True])
def test_a_training_run_that_fails_leaves_only_what_can_be_resumed(
    resumable: bool, tmp_path: Path
) -> None:
    """Its record alone is nothing, unless it was there before."""
    folder = Folder(tmp_path / "run")

    def fail() -> None:
        with kept(folder):
            folder.run.write_text("{}")
            if resumable:
                folder.state.write_text("state")
            raise CheckpointError("full")

    with pytest.raises(CheckpointError, match="full"):
        fail()

    assert folder.path.exists() == folder.run.exists() == resumable
    if resumable:
        folder.state.unlink()
        with pytest.raises(CheckpointError, match="full"), kept(folder):
            raise CheckpointError("full")
        assert folder.run.exists()
