"""Several seeds and batch sizes: layers with the first input, the output with all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from click.testing import CliRunner

from conftest import known
from tools.small_pair import PARAMETERS, enter, forget, plant
from tracing import run_here
from vitconvert import Pair, ParityError, Report, RunError, check_parity, compare_traces, dump
from vitconvert.cli import cli
from vitconvert.parity import _run, html, markdown
from vitconvert.parity._inputs import make_input
from vitconvert.parity._options import RunOptions
from vitconvert.parity._terminal import summary
from vitconvert.tables.variant import PREPROCESSING

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

PAIR = Pair("small_torch:net", "small_paddle:net", "small.toml")
OWN = ["--torch-model", "small_torch:net", "--paddle-model", "small_paddle:net"]
FILES = ["--table", "small.toml", "--torch", "w.safetensors", "--paddle", "w.pdparams"]


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A folder with the small pair, in which the user is."""
    enter(tmp_path, monkeypatch)
    if not request.node.get_closest_marker("own_process"):
        monkeypatch.setattr("vitconvert.parity._run.run", run_here)
    yield tmp_path
    forget()


def check(**options: Unpack[RunOptions]) -> Report:
    usual: RunOptions = {"device": "cpu"}
    return check_parity(
        PAIR, torch_checkpoint="w.safetensors", paddle_checkpoint="w.pdparams", **(usual | options)
    )


@pytest.mark.usefixtures("folder")
def test_every_seed_and_batch_size_is_compared() -> None:
    """The first is that of a plain check; all reports have the figures of all."""
    report = check(seeds=2, batch_size=(2, 1, 3))

    assert report.proved
    assert report.inputs["sha256"] == check().inputs["sha256"]
    further = [(one.inputs["seed"], one.inputs["shape"][0]) for one in report.further]
    assert further == [(1, 2), (0, 1), (1, 1), (0, 3), (1, 3)]
    assert len({one.inputs["sha256"] for one in report.further}) == 5
    runs = [[figures.run for figures in one.output] for one in report.further]
    assert runs == [["float64", "float32"]] * 5
    worst = [max(known(figures.max) for figures in one.output) for one in report.further]
    pooled = {one.run: one for one in report.pooled}
    assert pooled["float32"].max == max(*worst, known(report.output[1].max))
    assert pooled["float32"].samples == 2 * (2 + 1 + 3)
    assert report.parameters == PARAMETERS
    line = next(line for line in summary(report) if line.startswith("inputs: "))
    assert line.startswith("inputs: 6 (2 seeds x batch 1, 2, 3), largest float32 difference ")
    assert "seed 1, batch 3" in html(report)
    assert len(json.loads(report.to_json())["further"]) == 5
    assert "| 296 |" in markdown(report)
    assert "| 12/12 | PROVED |" in markdown(report)


@pytest.mark.parametrize(
    ("condition", "wrong"),
    [
        ("given.shape[0] > 1", "seed 0, batch 8"),
        (
            "given.numpy().astype('f4').tobytes() in numpy.load('x.npy').tobytes()",
            "seed 1, batch 1",
        ),
    ],
)
def test_fault_that_one_input_alone_shows_is_found(
    condition: str, wrong: str, folder: Path
) -> None:
    """One of batch size, one of what is in it: the layers are compared with that input."""
    np.save("x.npy", make_input(None, "pair", 1, (16, 24), PREPROCESSING, seed=1)[0])
    plant(folder, condition)

    assert check(batch_size=1).proved
    forget()
    report = check(batch_size=(1, 8), seeds=2)

    assert report.verdict == "NOT PROVED"
    assert "the code of the model itself" in report.claim
    assert "what it gives to `fc` is the reference's times 1.001" in report.diagnosis[0]
    assert f"With seed 0, batch 1 all layers are the same, with {wrong} not" in report.diagnosis[-1]


def test_fault_that_comes_and_goes_is_not_proved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the layers are the same when the wrong input is run once more."""
    plant(folder, "given.shape[0] == 3 and not pathlib.Path('again').exists()")

    def once(*given: object) -> Report:
        report = kept(*given)  # type: ignore[arg-type]
        (folder / "again").touch()
        return report

    kept = _run._compare
    monkeypatch.setattr(_run, "_compare", once)
    report = check(batch_size=(2, 3))

    assert report.verdict == "NOT PROVED"
    assert report.first_diverging is None
    assert report.claim.startswith(
        "the layers are the same with seed 0, batch 2, but the outputs of 1 of 1 further inputs "
        "are not. With seed 0, batch 3: what it gives differs, most at "
    )
    assert "| FAIL |" in markdown(report)
    assert "seed 0, batch 3: what it gives differs" in "\n".join(summary(report))
    assert "what it gives differs" in html(report)


@pytest.mark.own_process
def test_seeds_and_batches_of_the_command(folder: Path) -> None:
    """In processes of their own; the table has the command that made it."""
    plant(folder, "given.shape[0] == 1", 1 + 1e-7)  # float32 does not show it

    asked = ["--input-size", "16x24", "--batch", "8,1", "--seeds", "2", "--markdown", "my table.md"]
    done = CliRunner().invoke(cli, ["parity", *OWN, *FILES, *asked])

    assert done.exit_code == 1
    assert "inputs: 4 (2 seeds x batch 1, 8), largest float32 difference" in done.output
    text = (folder / "my table.md").read_text()
    assert "| 16x24 | 296 |" in text
    assert "| 1e-4 | FAIL |" in text
    assert "| 18/18 | NOT PROVED |" in text
    assert "--seeds 2 \\\n    --markdown 'my table.md'\n```\n" in text


@pytest.mark.usefixtures("folder")
def test_limit_decides_the_table_and_not_the_proof() -> None:
    """Float32 further off than reviewers allow, of the same function."""
    done = CliRunner().invoke(
        cli, ["parity", *OWN, *FILES, "--limit", "1e-12", "--markdown", "-", "--device", "cpu"]
    )

    assert done.exit_code == 0
    assert "| 1e-12 | FAIL |" in done.output
    assert "| PROVED |" in done.output


def test_dumps_have_further_inputs(folder: Path) -> None:
    """Compare judges them as parity does, and refuses other ones."""
    how: RunOptions = {"device": "cpu", "seeds": 2}
    torch = dump(PAIR, "torch", "w.safetensors", folder / "t", **how)
    plant(folder, "True", 1.0)
    dump(PAIR, "paddle", "w.pdparams", folder / "p", **how)
    assert {"further float32.bin", "further float64.bin"} <= {
        f.name for f in torch.folder.iterdir()
    }

    report = compare_traces(folder / "t", folder / "p")
    assert report.proved
    assert len(report.further) == 1

    values = np.fromfile(folder / "p" / "further float64.bin")
    values[3] = np.nan
    values.tofile(folder / "p" / "further float64.bin")
    wrong = compare_traces(folder / "t", folder / "p")
    assert wrong.verdict == "NOT PROVED"
    assert "candidate float64 has 1 value that is not finite" in wrong.claim
    assert "| - | - |" not in markdown(report)
    assert "| FAIL | - |" in markdown(wrong)

    dump(PAIR, "paddle", "w.pdparams", folder / "p", force=True, device="cpu", seeds=3)
    with pytest.raises(ParityError, match=r"different further inputs.*\n.*seed 1.*\n.*seed 2"):
        compare_traces(folder / "t", folder / "p")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds is 0; expected a positive number"),
        ({"batch_size": (1, 1)}, "expected one or more, each of them once"),
        ({"batch_size": ()}, "expected one or more"),
        ({"batch_size": (1, 0)}, "expected positive numbers"),
        ({"seeds": 2, "input": "x.npy"}, "--seeds is for noise; x.npy is one batch"),
        ({"batch_size": (1, 2), "input": "x.npy"}, "--batch is for noise"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(options: RunOptions, message: str) -> None:
    """Before anything runs."""
    with pytest.raises((ParityError, RunError), match=message):
        check(**options)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "1,,2"], "expected numbers of images"),
        (["--batch", "1,1"], "has a size twice"),
        (["--limit", "1e-5"], "--limit is for the table of --markdown"),
        (["--force"], "--force compares all of --pairs again"),
    ],
)
def test_wrong_options_of_the_command(arguments: list[str], message: str) -> None:
    """Exit status 2, and what was expected."""
    done = CliRunner().invoke(cli, ["parity", *OWN, *FILES, *arguments])

    assert done.exit_code == 2
    assert message in done.stderr
