"""Models in inference form: the same logits, any batch, and nothing half-written."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Make, arrays, left, paddle_in_float64, write_paddle
from golden import rule
from vitconvert import create_model
from vitconvert.apps.deploy import Predictor, export
from vitconvert.errors import CheckpointError, DataError, ModelError, RunError
from vitconvert.images import Preprocessing, preprocessing_of
from vitconvert.running.device import import_framework
from vitconvert.tables import reading

pytestmark = pytest.mark.paddle

# Of every family the smallest classifier.
SMALL = [
    min((v for v in table.variants.values() if v.num_classes), key=table.parameters).name
    for table in map(reading.load_table, reading.families())
]
# Models of timm's families have no layer that is exchanged.
EXCHANGED = [name for name in SMALL if not reading.find_variant(name)[0].torch]
TINY = "shiftvit_cifar_tiny"


@pytest.fixture(scope="module")
def exported(converted: Make, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Export a small variant at its own size, once."""
    folder = tmp_path_factory.mktemp("exported")

    def make(variant: str) -> Path:
        if not (folder / variant).exists():
            export(variant, converted(variant), folder / variant)
        return folder / variant

    return make


def assert_same(
    folder: Path, variant: str, weights: Path, *shapes: tuple[int, ...], num_classes: int = 10
) -> Predictor:
    """Equal but for rounding in float32, in shares of the largest logit, for images [B, H, W]."""
    import paddle

    predictor = Predictor(folder, threads=1)
    model = create_model(variant, checkpoint=weights, num_classes=num_classes)
    for batch, *size in shapes:
        images = rule.noise("x", (batch, 3, *size)).astype("f4")
        found = predictor(images)
        with paddle.no_grad():
            expected = model(paddle.to_tensor(images)).numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
        assert expected.std() > 0.01
    return predictor


@pytest.mark.parametrize("variant", SMALL)
def test_deployed_model_equals_the_model_for_any_batch(
    variant: str, converted: Make, exported: Make
) -> None:
    """One family each; batches of other sizes than those that the export tried."""
    table, found = reading.find_variant(variant)
    release = import_framework("paddle").__version__
    if table.export_needs > int(release.partition(".")[0]):
        with pytest.raises(ModelError, match="or newer"):
            exported(variant)
        return
    shapes = [(batch, *found.input_size) for batch in (1, 2, 5)]
    files = exported(variant), variant, converted(variant)
    assert_same(*files, *shapes, num_classes=found.num_classes)


@pytest.mark.parametrize("variant", EXCHANGED)
def test_every_exchanged_layer_equals_the_one_it_stands_for(variant: str, converted: Make) -> None:
    """In float64, where a wrong formula cannot hide in rounding; sides that nothing divides."""
    import paddle

    from vitconvert.models_paddle import _deployed

    images = paddle.to_tensor(rule.noise("x", (2, 3, 70, 45)))
    with paddle_in_float64(), paddle.no_grad():
        model = create_model(variant, checkpoint=converted(variant))
        kinds = {type(layer) for layer in model.sublayers()}
        expected = model(images).numpy()
        _deployed.for_deployment(model)
        found = model(images).numpy()

    assert kinds != {type(layer) for layer in model.sublayers()}
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_facts_say_what_was_exported(converted: Make, exported: Make) -> None:
    """Variant, classes, size, hash of the weights, versions, preprocessing, how exact it is."""
    import paddle

    facts = json.loads((exported(TINY) / "vitconvert.json").read_text())

    assert (facts["variant"], facts["num_classes"], facts["image_size"]) == (TINY, 10, [32, 32])
    weights = converted(TINY).read_bytes()
    assert facts["source"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert facts["versions"]["paddle"] == paddle.version.full_version
    assert facts["preprocessing"]["mean"] == [0.4914, 0.4822, 0.4465]
    assert 0 < facts["check"]["relative_diff"] < 1e-5
    assert left(exported(TINY)) == sorted([*facts["files"], "vitconvert.json"])


def test_number_of_classes_is_that_of_the_weights(
    converted: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fine-tuned weights with another head need no option; Paddle prints nothing on stdout."""
    state = arrays(converted(TINY))
    state["head.weight"], state["head.bias"] = state["head.weight"][:, :3], state["head.bias"][:3]
    weights = write_paddle(tmp_path / "three.pdparams", state)
    with pytest.raises(ModelError, match="has 3 classes; --num-classes says 10"):
        export(TINY, weights, tmp_path / "out", num_classes=10)
    export(TINY, weights, tmp_path / "out")

    assert_same(tmp_path / "out", TINY, weights, (2, 32, 32), num_classes=3)
    assert left(tmp_path) == ["out", "three.pdparams"]
    assert capfd.readouterr().out == ""


def test_names_of_classes_go_with_the_export(converted: Make, tmp_path: Path) -> None:
    """With them and the preprocessing a program needs nothing else to name what it sees."""
    names = [f"Tier {number} ü" for number in range(10)]
    for wrong in (names[:9], [*names, "one more"]):
        with pytest.raises(DataError, match=f"{len(wrong)} class names; .* a head for 10"):
            export(TINY, converted(TINY), tmp_path / "out", classes=wrong)
    assert left(tmp_path) == []

    export(TINY, converted(TINY), tmp_path / "out", classes=names)
    facts = Predictor(tmp_path / "out").facts
    assert facts.classes == tuple(names)
    image = Image.effect_noise((50, 40), 64).convert("RGB")
    expected = preprocessing_of(reading.find_variant(TINY)[1])(image)
    assert np.array_equal(Preprocessing(**facts.preprocessing)(image), expected)


@pytest.mark.parametrize("variant", ["shunted_cifar_tiny", TINY])
def test_free_image_size(variant: str, converted: Make, tmp_path: Path) -> None:
    """One program for sizes that the export did not try; too small ones are refused."""
    export(variant, converted(variant), tmp_path / "out", image_size="free")

    shapes = (2, 40, 64), (2, 45, 70)
    predictor = assert_same(tmp_path / "out", variant, converted(variant), *shapes)
    with pytest.raises(RunError, match="expected float32"):
        predictor(np.zeros((1, 3, 31, 40), "f4"))


def test_fixed_image_size_of_ones_own(converted: Make, tmp_path: Path) -> None:
    """Windows and merges that do not divide it; images of another size are refused."""
    variant = "litv2_cifar_tiny"
    export(variant, converted(variant), tmp_path / "out", image_size=(45, 70))

    predictor = assert_same(tmp_path / "out", variant, converted(variant), (3, 45, 70))
    with pytest.raises(RunError, match=r"\[1, 3, 70, 45\], expected float32 \[B, 3, 45, 70\]"):
        predictor(np.zeros((1, 3, 70, 45), "f4"))
    with pytest.raises(RunError, match="float64"):
        predictor(np.zeros((1, 3, 45, 70)))


@pytest.mark.parametrize(
    ("variant", "size", "message"),
    [
        ("litv2_cifar_tiny", "free", "cannot be exported for images of any size"),
        (TINY, (31, 64), "31x64; expected at least 32x32"),
        ("litv2_small_det_ws4", None, "is a backbone"),
        ("shunted_x", None, "shunted_x"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    variant: str, size: Any, message: str, converted: Make, tmp_path: Path
) -> None:
    """Before anything is written."""
    with pytest.raises(ModelError, match=message):
        export(variant, converted(TINY), tmp_path / "out", image_size=size)
    assert left(tmp_path) == []


def test_weights_that_do_not_fit_are_refused(converted: Make, plain: Make, tmp_path: Path) -> None:
    """Of another variant, of PyTorch, or cut short; nothing is left behind."""
    cut = tmp_path / "cut.pdparams"
    cut.write_bytes(converted(TINY).read_bytes()[:-100])
    other = "litv2_cifar_tiny"
    for variant, weights in ((TINY, converted(other)), (other, plain(other)), (TINY, cut)):
        with pytest.raises(CheckpointError):
            export(variant, weights, tmp_path / "out")

    assert left(tmp_path) == ["cut.pdparams"]


def test_only_an_export_is_replaced_and_only_when_asked(
    converted: Make, exported: Make, tmp_path: Path
) -> None:
    """Anything else stays as it is, whatever is asked for."""
    own = shutil.copytree(exported("litv2_cifar_tiny"), tmp_path / "own")
    other = tmp_path / "other"
    other.mkdir()
    (other / "vitconvert.json").write_text('{"mine": 1}')
    with pytest.raises(CheckpointError, match="exists already"):
        export(TINY, converted(TINY), own)
    with pytest.raises(CheckpointError, match="exists and is not a vitconvert export"):
        export(TINY, converted(TINY), other, force=True)
    with pytest.raises(CheckpointError, match="does not exist"):
        export(TINY, converted(TINY), tmp_path / "no" / "out")
    assert Predictor(own).facts.variant == "litv2_cifar_tiny"
    export(TINY, converted(TINY), own, force=True)

    assert Predictor(own).facts.variant == TINY
    assert left(tmp_path) == ["other", "own"]
    assert left(other) == ["vitconvert.json"]


def test_difference_beyond_rounding_is_an_error(
    converted: Make, exported: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight of one exchanged layer off by a thousandth; the old export stays."""
    from vitconvert.models_paddle import _deployed

    own = shutil.copytree(exported(TINY), tmp_path / "own")
    before = (own / "vitconvert.json").read_bytes()
    exchange = _deployed.for_deployment

    def spoil(model: Any) -> None:
        exchange(model)
        weight = model.layers[0].blocks[0].mlp.fc1.weight
        weight.set_value(weight * 1.001)

    monkeypatch.setattr(_deployed, "for_deployment", spoil)
    with pytest.raises(RunError, match="differs from the original by"):
        export(TINY, converted(TINY), own, force=True)

    assert left(tmp_path) == ["own"]
    assert (own / "vitconvert.json").read_bytes() == before
    assert Predictor(own).facts.variant == TINY


Change = Callable[[bytes], bytes] | None  # None removes the file


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("vitconvert.json", None, "is not a vitconvert export"),
        ("vitconvert.json", lambda _: b'{"format": "vitconvert export 1"}', "is damaged"),
        ("vitconvert.json", lambda _: b'{"format": "vitconvert export 99"}', "another release"),
        ("program", None, "is missing"),
        ("program", lambda data: data[:-50], "has changed"),
        (
            "model.pdiparams",
            lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
            "model.pdiparams: has changed",
        ),
    ],
)
def test_corrupted_export_is_refused(
    file: str, change: Change, message: str, exported: Make, tmp_path: Path
) -> None:
    """With what is wrong and what to do, before Paddle sees the files."""
    folder = shutil.copytree(exported(TINY), tmp_path / "own")
    names = json.loads((folder / "vitconvert.json").read_text())["files"]
    program = next(name for name in names if name != "model.pdiparams")
    path = folder / (program if file == "program" else file)
    content = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(content))

    with pytest.raises(ModelError, match=message):
        Predictor(folder)


def test_program_of_paddle_3_needs_paddle_3(
    exported: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older Paddle cannot read it: said, not crashed."""
    import paddle

    folder = shutil.copytree(exported(TINY), tmp_path / "own")
    facts = json.loads((folder / "vitconvert.json").read_text())
    if "model.pdmodel" in facts["files"]:  # made here by such an older Paddle
        (folder / "model.pdmodel").rename(folder / "model.json")
        facts["files"]["model.json"] = facts["files"].pop("model.pdmodel")
        (folder / "vitconvert.json").write_text(json.dumps(facts))
    monkeypatch.setattr(paddle, "__version__", "2.6.2")

    with pytest.raises(ModelError, match="which is installed, cannot read it"):
        Predictor(folder)


def test_settings_that_make_no_sense_are_refused(exported: Make) -> None:
    """As an error that says what there is."""
    with pytest.raises(RunError, match="threads is 0"):
        Predictor(exported(TINY), threads=0)
    with pytest.raises(RunError, match="device is 'tpu'"):
        Predictor(exported(TINY), device="tpu")  # type: ignore[arg-type]  # which is the mistake


def test_command_says_what_it_wrote_and_how_exact_it_is(converted: Make, tmp_path: Path) -> None:
    """Beside what Paddle prints by itself; a variant that is not known is wrong usage."""
    code = "from vitconvert.commands.export import export; export()"
    command = [sys.executable, "-c", code, "--weights", str(converted(TINY))]
    command += ["--out", str(tmp_path / "out")]
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    with_names = [*command, TINY, "--classes", str(tmp_path / "names.txt")]
    done = subprocess.run(with_names, capture_output=True, text=True)
    wrong = subprocess.run([*command, "shiftvit_x"], capture_output=True, text=True)

    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if " " in line]
    first, second, third = lines[-3:]
    assert first.endswith(
        f"holds {TINY}: images of 32x32 pixels, any batch size, 10 classes (a, b, c and 7 more)."
    )
    assert second.startswith("Compared with the original model in float32: largest difference")
    assert third.startswith("Error from float64")
    assert json.loads((tmp_path / "out" / "vitconvert.json").read_text())["classes"][1] == "b"
    assert (wrong.returncode, left(tmp_path)) == (2, ["names.txt", "out"])


INTERRUPTED = """
import os, signal, sys
from vitconvert.apps import deploy
from vitconvert.apps.deploy import _export
def stop(*_arguments):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
setattr(_export, sys.argv[4], stop)
deploy.export(*sys.argv[1:4], force=True)
"""


@pytest.mark.parametrize("moment", ["compare", "publish_folder", "Predictor"])
def test_interrupted_export_leaves_nothing(
    moment: str, converted: Make, exported: Make, tmp_path: Path
) -> None:
    """Ctrl-C before the comparison, after it, and before the name is given; the old one stays."""
    own = shutil.copytree(exported("litv2_cifar_tiny"), tmp_path / "own")
    command = [sys.executable, "-c", INTERRUPTED, TINY, str(converted(TINY)), str(own), moment]
    done = subprocess.run(command, capture_output=True, text=True)

    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode != 0
    assert left(tmp_path) == ["own"]
    assert json.loads((own / "vitconvert.json").read_text())["variant"] == "litv2_cifar_tiny"


def test_ctrl_c_at_any_moment_leaves_nothing(converted: Make, tmp_path: Path) -> None:
    """As soon as the temporary folder is there."""
    code = "import sys; from vitconvert.apps.deploy import export; export(*sys.argv[1:])"
    command = [sys.executable, "-c", code, TINY, str(converted(TINY)), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while not list(tmp_path.glob(".out.*.part")) and run.poll() is None:
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGINT)

    assert run.returncode not in (0, None)
    assert left(tmp_path) == []
