"""dump and compare: parity's steps, across environments and machines."""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from conftest import Make, arrays, known, write_paddle
from tracing import SMALL, compared, noise, parity, trace, traced_once
from vitconvert import ModelError, ParityError, Report, check_parity, compare_traces, dump
from vitconvert.cli import cli
from vitconvert.parity._inputs import make_input
from vitconvert.tables.variant import PREPROCESSING

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

VARIANT = "litv2_cifar_tiny"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def traces(
    official: Make, converted: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Folders with a trace of either side, the Paddle one fed by the other."""
    folder = tmp_path_factory.mktemp("traces")
    one, other = folder / "torch", folder / "paddle"
    files = {"torch": official(VARIANT), "paddle": converted(VARIANT)}
    dump(VARIANT, "torch", files["torch"], one, input_size=SMALL)
    dump(VARIANT, "paddle", files["paddle"], other, alone=one, input_size=SMALL)
    return one, other


def test_dump_and_compare_are_parity(traces: tuple[Path, Path], tmp_path: Path) -> None:
    """The same verdict, layers and figures; and neither framework is needed to compare."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['paddle'] = None\n"
        "from vitconvert.cli import main\n"
        f"sys.argv = ['vitconvert', 'compare', {str(traces[1])!r}, {str(traces[0])!r},"
        f" '--report', {str(tmp_path / 'r.json')!r}, '--markdown', '-']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    report = json.loads((tmp_path / "r.json").read_text())
    assert "PROVED: both checkpoints compute the same function." in done.stderr
    assert done.stdout.startswith("**litv2_cifar_tiny: PROVED**")
    assert report["verdict"] == "PROVED"
    # Whatever their order, PyTorch is the reference.
    assert report["reference"]["framework"] == "torch"
    assert all(layer["alone"] < 1e-12 for layer in report["layers"])
    assert "float64 | same top-1 | proof |" in done.stdout
    assert "| 2/2 | PROVED |" in done.stdout
    assert {"torch", "device", "threads", "sha256", "read_by"} <= report["reference"].keys()


def test_trace_holds_inputs_and_outputs_of_every_layer(traces: tuple[Path, Path]) -> None:
    """Of layers, and of the blocks and stages that hold them; and all that says what they are."""
    facts = json.loads((traces[0] / "trace.json").read_text())

    layers = {call["layer"] for call in facts["runs"]["float64"]}
    assert {"layers.0", "layers.0.blocks.0", "layers.0.blocks.0.mlp.fc1", "logits"} <= layers
    assert all(call["inputs"] for call in facts["runs"]["float64"])
    assert facts["layers"]["layers.0.blocks.0.norm2"]["settings"]["eps"] == 1e-5
    assert len(facts["input"]["sha256"]) == 64
    assert facts["checkpoint"]["read_by"] == "torch"
    assert "layers.0.blocks.0.mlp.fc1.weight" in facts["weights"]


def test_traces_of_other_inputs_or_models_are_refused(
    traces: tuple[Path, Path], official: Make, tmp_path: Path
) -> None:
    """What was fed to either is told."""
    dump(VARIANT, "torch", official(VARIANT), tmp_path / "t", input_size=(64, 32), batch_size=1)
    with pytest.raises(ParityError, match="made from different inputs") as caught:
        compare_traces(tmp_path / "t", traces[1])
    assert "1x3x64x32" in str(caught.value)
    with pytest.raises(ParityError, match="is not a readable trace"):
        compare_traces(tmp_path, traces[1])


def test_float32_alone_is_measured_not_proved(
    traces: tuple[Path, Path], official: Make, tmp_path: Path
) -> None:
    """One side float32, the other with the float64 truth: exit status 1, and what is claimed."""
    dump(VARIANT, "torch", official(VARIANT), tmp_path / "t", dtype="float32", input_size=SMALL)

    done = run("compare", tmp_path / "t", traces[1])

    assert done.exit_code == 1
    assert "MEASURED: no layer is further off than float32 rounding may be" in done.output
    assert "float32: error of torch against the float64 truth" in done.output


@pytest.mark.parametrize("other", ["float64", "float32"])
def test_float32_that_is_far_off_is_not_proved(
    other: Literal["float64", "float32"], official: Make, converted: Make, tmp_path: Path
) -> None:
    """One element is off by a thousandth: no rounding does that."""
    one, two = tmp_path / "t", tmp_path / "p"
    dump(VARIANT, "torch", official(VARIANT), one, dtype="float32", input_size=SMALL)
    dump(VARIANT, "paddle", converted(VARIANT), two, dtype=other, input_size=SMALL)
    assert compare_traces(one, two).verdict == "MEASURED"
    values = np.fromfile(one / "float32.bin", "f4")
    values[1000] += 1e-3 * np.abs(values).max()
    values.tofile(one / "float32.bin")

    report = compare_traces(one, two)

    assert report.verdict == "NOT PROVED"
    assert "more than rounding gives" in known(report.culprit).note


def test_gpu_runs_are_not_judged_by_tf32s_error(traces: tuple[Path, Path], tmp_path: Path) -> None:
    """A trace that says it was made in TF32: its error is told; float64 decides."""
    import shutil

    shutil.copytree(traces[0], tmp_path / "t")
    facts = json.loads((tmp_path / "t" / "trace.json").read_text())
    facts["environment"] |= {"tf32": True, "device": "cuda", "card": "a card"}
    (tmp_path / "t" / "trace.json").write_text(json.dumps(facts))
    with (tmp_path / "t" / "float32.bin").open("r+b") as file:
        values = np.frombuffer(file.read(), "f4") * np.float32(1 + 1e-3)
        file.seek(0)
        file.write(values.tobytes())

    report = compare_traces(tmp_path / "t", traces[1])

    assert report.proved
    from vitconvert.parity._terminal import summary

    assert any("torch computes in TF32, error up to 1.0e-03" in line for line in summary(report))
    assert "torch 2.13.0+cpu on a card" in summary(report)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{there}"], "exists already. Pass --force"),
        (["--out", "{other}"], "exists and is not a parity trace"),
        (["--out", "{none}/x"], "does not exist. Make it first"),
        (["--out", "{there}", "--alone", "{there}", "--force"], "alone and out are the same file"),
        (["--out", "x", "--alone", "{there}", "--dtype", "float32"], "neither side can be float32"),
        (["--out", "x", "--device", "gpu"], "sees no GPU here"),
        (
            ["--out", "x", "--python", "/no/such/python"],
            "does not run; expected Python 3.11 or newer",
        ),
        (["--out", "x", "--input", "{other}/x.txt"], "cannot be read as an image"),
        (["--out", "x", "--input", "{other}/x.txt", "--batch", "2"], "--batch is for noise"),
    ],
)
def test_what_cannot_be_dumped_is_one_error(
    arguments: list[str],
    message: str,
    traces: tuple[Path, Path],
    converted: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit status 1, one message, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("not an image")
    names = {"there": traces[0], "other": tmp_path / "other", "none": tmp_path / "none"}
    arguments = [argument.format(**names) for argument in arguments]

    done = run(
        "dump", VARIANT, "--framework", "paddle", "--checkpoint", converted(VARIANT), *arguments
    )

    assert done.exit_code == 1
    assert message in done.output
    assert done.output.startswith("Error: ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_folder_with_more_than_a_trace_is_not_replaced(converted: Make, tmp_path: Path) -> None:
    """Another trace may lie in it, or notes."""
    notes = tmp_path / "t" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    (tmp_path / "t" / "trace.json").write_text("{}")
    which = ("--framework", "paddle", "--checkpoint", converted(VARIANT))

    done = run("dump", VARIANT, *which, "--out", notes.parent, "--force")

    assert done.exit_code == 1
    assert "is not a parity trace, so nothing is written there" in done.output
    assert notes.read_text() == "mine"


@pytest.mark.own_process
def test_other_interpreters_need_no_vitconvert(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """Any Python with NumPy and the framework; another without is told what it lacks."""
    report = parity(
        VARIANT,
        official(VARIANT),
        converted(VARIANT),
        torch_python=sys.executable,
        paddle_python=sys.executable,
    )
    assert report.proved

    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(ModelError, match=r"--paddle-python .*: has no numpy and no paddle"):
        parity(VARIANT, official(VARIANT), converted(VARIANT), paddle_python=bare)


def test_gradients_of_every_parameter_are_compared(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """Through the table, transposed where the weight is, and the input's; norms as in training."""
    with traced_once(VARIANT, official, tmp_path, size=64) as folder:
        trace(folder, "torch", official(VARIANT), VARIANT, backward=True)
        report = compared(folder, converted(VARIANT), VARIANT, backward=True)

    keys = {g.key for g in report.gradients}
    trained = {k for k in arrays(official(VARIANT)) if "running" not in k and "batches" not in k}
    assert keys == {f"{mode}{key}" for mode in ("", "training: ") for key in {"input", *trained}}
    assert report.proved
    assert max(known(g.difference) for g in report.gradients) < 1e-11
    assert "one step of 2 norms" in report.training[0]
    assert "PyTorch enters the unbiased variance" in report.training[0]


def test_gradient_that_differs_is_not_proved(
    official: Make, converted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward the same, backward not: something was detached; statistics move too far."""
    from vitconvert.models_paddle import litv2

    forward = litv2.DWMlp.forward

    def detached(self: litv2.DWMlp, x: Any, h: int, w: int) -> object:
        return forward(self, x.detach(), h, w)

    with traced_once(VARIANT, official, tmp_path, size=64) as folder:
        trace(folder, "torch", official(VARIANT), VARIANT, backward=True)
        monkeypatch.setattr(litv2.DWMlp, "forward", detached)
        report = compared(folder, converted(VARIANT), VARIANT, backward=True)

    assert all(layer.verdict == "same" for layer in report.layers)
    assert report.verdict == "NOT PROVED"
    assert "the gradient of" in report.claim


def test_a_image_is_preprocessed_as_the_models_own_were(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """Resized, cropped and normalised as torchvision does; the report says how."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 410, 3), "u1")).save(tmp_path / "x.png")

    report = parity(VARIANT, official(VARIANT), converted(VARIANT), input=str(tmp_path / "x.png"))

    assert report.proved
    assert report.inputs["shape"] == [1, 3, 64, 64]
    assert report.inputs["preprocessing"] == "bicubic, center 1.0"
    assert report.inputs["mean"] == [0.4914, 0.4822, 0.4465]  # as its table says


def test_preprocessing_is_that_of_the_field(tmp_path: Path) -> None:
    """Shorter side to 256 for 224, the middle cut out; bit for bit what Pillow gives."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (300, 410, 3), "u1"))
    image.save(tmp_path / "x.png")

    images, facts = make_input(str(tmp_path / "x.png"), "x", None, (224, 224), PREPROCESSING)

    resized = image.resize((349, 256), Image.Resampling.BICUBIC)  # 256 * 410 // 300
    left, top = round((349 - 224) / 2), (256 - 224) // 2
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)), "f8") / 255
    mean, std = PREPROCESSING["mean"], PREPROCESSING["std"]
    expected = ((expected - mean) / std).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-6)
    assert facts["shape"] == [1, 3, 224, 224]
    squashed = {**PREPROCESSING, "crop_mode": "squash", "interpolation": "bilinear"}
    images, _ = make_input(str(tmp_path / "x.png"), "x", None, (32, 48), squashed)
    assert images.shape == (1, 3, 32, 48)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 8, 8), "i4"), r"holds int32 \[1, 3, 8, 8\]; expected floats"),
        (np.zeros((1, 1, 8, 8), "f4"), "expected"),
        (np.zeros((3, 8, 8), "f4"), "expected floats"),
        (np.full((1, 3, 8, 8), np.nan, "f4"), "not finite"),
        (np.array([None]), "cannot be read as an .npy"),
    ],
)
def test_array_that_is_no_batch_of_images_is_refused(
    array: np.ndarray, message: str, tmp_path: Path
) -> None:
    """Shape, type and values are checked; nothing pickled is loaded."""
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ParityError, match=message):
        make_input(str(tmp_path / "x.npy"), "x", None, (8, 8), PREPROCESSING)


def test_an_array_is_taken_as_it_is(official: Make, converted: Make, tmp_path: Path) -> None:
    """An .npy of the user's own; its hash is in the report."""
    images = noise((3, 3, 48, 64), 7)
    np.save(tmp_path / "x.npy", images)

    report = check_parity(
        VARIANT,
        torch_checkpoint=official(VARIANT),
        paddle_checkpoint=converted(VARIANT),
        input=str(tmp_path / "x.npy"),
    )

    assert report.proved
    assert report.inputs["shape"] == [3, 3, 48, 64]


def test_wrong_weights_are_explained_by_traces_alone(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """Compare has no checkpoint at hand: the traces hold what it needs."""
    state = arrays(converted(VARIANT))
    key = "layers.2.blocks.0.attn.l_proj.weight"
    state[key] = np.ascontiguousarray(state[key].T)
    dump(VARIANT, "torch", official(VARIANT), tmp_path / "t", input_size=SMALL)
    wrong = write_paddle(tmp_path / "x.pdparams", state)
    dump(VARIANT, "paddle", wrong, tmp_path / "p", alone=tmp_path / "t", input_size=SMALL)

    report: Report = compare_traces(tmp_path / "t", tmp_path / "p")

    assert known(report.culprit).layer == "layers.2.blocks.0.attn.l_proj"
    assert "its weight equals the source's untransposed" in report.diagnosis[0]


def test_figures_from_another_trace_are_not_shown(
    traces: tuple[Path, Path], official: Make, tmp_path: Path
) -> None:
    """What each layer alone made of one trace's inputs says nothing of another's."""
    dump(VARIANT, "torch", official(VARIANT), tmp_path / "t", input_size=SMALL)

    report = compare_traces(tmp_path / "t", traces[1])

    assert report.proved
    assert all(layer.alone is None for layer in report.layers)
    assert "each layer alone: not compared" in run("compare", tmp_path / "t", traces[1]).output


def test_where_something_is_wrong_innocent_layers_are_folded(
    official: Make, converted: Make, tmp_path: Path
) -> None:
    """The wrong ones stand out; how many are left out is said, and the report has them all."""
    state = arrays(converted("litv2_cifar"))
    state["layers.3.blocks.0.mlp.fc1.bias"] += 1
    wrong = write_paddle(tmp_path / "x.pdparams", state)
    arguments = ("--torch", official("litv2_cifar"), "--paddle", wrong, "--input-size", "64")

    done = run("parity", "litv2_cifar", *arguments, "--report", tmp_path / "r.json")

    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert len(lines) < 25
    assert any(line.split()[:2] == ["layers.3.blocks.0.mlp.fc1", "linear"] for line in lines)
    verdict = "NOT PROVED: first wrong layer: layers.3.blocks.0.mlp.fc1"
    assert lines[2].startswith(verdict)  # after what is said of the file
    assert any(line.endswith("outputs are not shown: --all shows every one") for line in lines)
    assert len(json.loads((tmp_path / "r.json").read_text())["layers"]) > 100


def test_what_killed_runs_have_left_is_removed(tmp_path: Path) -> None:
    """Unless it is in use, or so new that its owner may not have marked it yet."""
    import os

    from vitconvert.files import locked_folder
    from vitconvert.running.scratch import temporary_folder

    old, used, new = (tmp_path / f".vitconvert-parity-{name}" for name in ("old", "used", "new"))
    for folder in (old, used, new):
        folder.mkdir()
        (folder / "float64.bin").write_bytes(b"x")
    for folder in (old, used):
        os.utime(folder, (0, 0))

    with locked_folder(used), temporary_folder(tmp_path) as own:
        assert sorted(tmp_path.iterdir()) == sorted([used, new, own])
    assert sorted(tmp_path.iterdir()) == sorted([used, new])
