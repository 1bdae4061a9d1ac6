"""Where a model looked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from conftest import Make
from vitconvert import DataError, ModelError, RunError
from vitconvert.apps.explanation import Explained, Explanation, Options, _draw, _hiding, explain
from vitconvert.apps.explanation import _explain as explaining
from vitconvert.apps.explanation._colours import AGAINST, FOR, grey, tint, to_oklab, to_srgb
from vitconvert.apps.explanation._draw import draw, scale_text, shown_classes
from vitconvert.apps.explanation._explain import find_class, short_names
from vitconvert.apps.explanation._hiding import lime, occlusion, places
from vitconvert.apps.explanation._model import Classifier, scores
from vitconvert.cli import Commands
from vitconvert.commands.explain import explain as command
from vitconvert.images import preprocessing_of
from vitconvert.sides import Side
from vitconvert.tables.reading import find_variant

VARIANT = "shiftvit_cifar_tiny"
REGION = np.s_[8:14, 20:26]  # what the planted model looks at, of 32x32
Predict = Callable[[np.ndarray], np.ndarray]
Plant = Callable[[Predict], list[np.ndarray]]
pytestmark = pytest.mark.usefixtures("folder")


def photo(width: int = 32, height: int = 32, seed: int = 0) -> Image.Image:
    """Make an image of noise that is bright where the planted model looks."""
    pixels = np.random.default_rng(seed).integers(60, 200, (height, width, 3), np.uint8)
    if (height, width) == (32, 32):
        pixels[REGION] = 255
    return Image.fromarray(pixels)


def normalise(pixels: np.ndarray) -> np.ndarray:
    return preprocessing_of(find_variant(VARIANT)[1]).normalise(pixels)


def looks_at_region(images: np.ndarray) -> np.ndarray:
    """A model whose logit of class 1 is the brightness of the region; of 2, its opposite."""
    bright = images[:, :, *REGION].mean((1, 2, 3))
    return np.stack([np.zeros_like(bright), bright, -bright], 1)


def indifferent(images: np.ndarray) -> np.ndarray:
    """A model that says the same of every image."""
    return np.tile(np.array([0.5, 1.5, -2], np.float32), (len(images), 1))


def is_in_region(heat: np.ndarray, margin: int = 0) -> bool:
    """Tell whether a map is highest where the planted model looks."""
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return bool(8 - margin <= row < 14 + margin and 20 - margin <= column < 26 + margin)


def test_map_peaks_where_the_model_looks() -> None:
    """Inside the region; and it is 0 wherever no window that covers a pixel touches the region."""
    heat = occlusion(looks_at_region, photo(), normalise, 1, window=6, stride=1)

    assert is_in_region(heat)
    touched = np.zeros((32, 32), bool)
    touched[8 - 5 : 14 + 5, 20 - 5 : 26 + 5] = True
    assert np.abs(heat[~touched]).max() == 0
    assert heat[REGION].mean() > 3 * heat[touched].mean() / 2 > 0


def test_what_speaks_against_a_class_is_negative() -> None:
    """The same region, for the class whose logit falls with its brightness."""
    pro = occlusion(looks_at_region, photo(), normalise, 1, window=6, stride=2)
    contra = occlusion(looks_at_region, photo(), normalise, 2, window=6, stride=2)

    assert np.array_equal(pro, -contra)
    assert contra.min() < 0 == contra.max()


def test_map_is_the_mean_over_the_windows_that_cover_a_pixel() -> None:
    """As defined, pixel by pixel, computed another way."""
    image, window, stride = photo(12, 9, seed=3), 4, 3
    weights = np.random.default_rng(4).standard_normal((3, 9, 12)).astype(np.float32)

    def predict(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = (images * weights).sum((1, 2, 3))[:, None].astype(np.float64)
        return logits

    heat = occlusion(predict, image, normalise, 0, window, stride)

    # This model is linear: a window costs the sum of what it hides.
    worth = (normalise(np.asarray(image)) * weights).astype(np.float64).sum(0)
    for row in range(9):
        for column in range(12):
            costs = [
                worth[top : top + window, left : left + window].sum()
                for top in (0, 3, 5)
                for left in (0, 3, 6, 8)
                if top <= row < top + window and left <= column < left + window
            ]
            assert heat[row, column] == pytest.approx(np.mean(costs), abs=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (9, 12), (7, 7), (224, 160)])
@pytest.mark.parametrize(("window", "stride"), [(7, 7), (7, 5), (5, 1), (1, 1), (6, 4)])
def test_every_pixel_is_hidden_by_a_window(size: tuple[int, int], window: int, stride: int) -> None:
    """And no window sticks out, or is put to one place twice."""
    times = np.zeros(size, int)
    found = places(size, window, stride)
    for top, left in found:
        assert 0 <= top <= size[0] - window
        assert 0 <= left <= size[1] - window
        times[top : top + window, left : left + window] += 1

    assert times.min() >= 1
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [(33, 1, "expected 1 to 32"), (4, 5, "leaves gaps"), (0, 1, "expected 1 to 32")],
)
def test_window_that_does_not_fit_is_refused(window: int, stride: int, message: str) -> None:
    """Rather than cut."""
    with pytest.raises(RunError, match=message):
        occlusion(looks_at_region, photo(), normalise, 1, window, stride)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_do_not_change_the_map(batch_size: int) -> None:
    """They bound how much the model is given at once, and every step is reported."""
    given, steps = [], []

    def predict(images: np.ndarray) -> np.ndarray:
        given.append(len(images))
        return looks_at_region(images)

    def progress(_text: str, done: int, total: int) -> None:
        steps.append((done, total))

    image = photo()
    heat = occlusion(predict, image, normalise, 1, 8, 4, batch_size, progress)

    assert np.array_equal(heat, occlusion(looks_at_region, image, normalise, 1, 8, 4))
    assert max(given) == min(batch_size, 49)
    assert sum(given) == 1 + 49
    assert steps[-1] == (49, 49)
    assert all(total == 49 for _, total in steps)


def test_scores_are_what_they_are_called() -> None:
    """Probability and log-odds, also where a probability is 0 or 1 to rounding."""
    logits = np.array([[1.0, 2.0, -1.0], [900.0, 0.0, 3.0]], np.float32)
    shares, odds = scores(logits, "probability"), scores(logits, "log-odds")

    assert shares.sum(1) == pytest.approx([1, 1])
    assert odds[0] == pytest.approx(np.log(shares[0] / (1 - shares[0])))
    assert shares[1, 0] == 1
    assert odds[1, 0] == pytest.approx(897 - np.log1p(np.exp(-3)))
    assert scores(logits + 5, "log-odds") == pytest.approx(odds, abs=1e-4)
    with pytest.raises(RunError, match="not finite"):
        scores(np.array([[np.nan, 1]]), "probability")


def test_colours_are_what_they_should_be() -> None:
    """SRGB survives OKLab; no heat is the grey image; the ends are orange and blue."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    assert np.array_equal(to_srgb(to_oklab(pixels)), pixels)

    under = grey(pixels)
    none = tint(under, np.zeros((50, 50)), 1.0)
    assert np.ptp(none.astype(int), axis=-1).max() <= 1
    assert np.array_equal(none, to_srgb(under))
    # OKLab's lightness of white is 1, of a grey of 50 % linear light the cube root of 0.5.
    assert to_oklab(np.array([255, 255, 255]))[0] == pytest.approx(1, abs=1e-6)
    assert to_oklab(np.array([188, 188, 188]))[0] == pytest.approx(0.5 ** (1 / 3), abs=2e-3)
    half = np.tile([0.7, 0, 0], (1, 5, 1))
    colours = tint(half, np.array([[-1.0, -0.5, 0, 0.5, 1]]), 1.0)[0].astype(int)
    steps = np.diff(to_oklab(colours), axis=0)
    far = np.sqrt((steps**2).sum(-1))
    assert far[0] == pytest.approx(far[1], rel=0.05)
    assert far[2] == pytest.approx(far[3], rel=0.05)
    assert np.abs(colours[4] - FOR).max() < 40
    assert np.abs(colours[0] - AGAINST).max() < 40


def one_explanation(heat: np.ndarray, **changed: Any) -> Explained:
    """Wrap a map."""
    shares = np.array([0.2, 0.7, 0.1])
    one = Explanation("p.png", photo(), shares, 1, heat, "probability")
    facts: dict[str, Any] = {"classes": ("cat", "dog", "漢" * 60), "explanations": (one,)}
    facts |= {"passes": 3, **changed}
    return Explained("tiny", "w.pdparams", "paddle", "cpu", "occlusion, window 6 px", **facts)


def colourful(image: Image.Image) -> int:
    """Count the pixels of the middle panel that are no grey; panels are 320 wide, 24 apart."""
    panel = np.asarray(image)[:, 24 + 320 + 24 : 24 + 320 + 24 + 320].astype(int)
    return int((np.ptp(panel, axis=-1) > 4).sum())


def test_flat_map_is_said_to_be_flat() -> None:
    """Of an indifferent model nothing is drawn; rounding is no pattern."""
    heat = occlusion(lambda x: scores(indifferent(x), "probability"), photo(), normalise, 1, 6, 2)
    assert np.array_equal(heat, np.zeros((32, 32)))
    noise = 1e-7 * np.random.default_rng(0).standard_normal((32, 32))

    for flat in (heat, noise):
        found = one_explanation(flat)
        assert found.explanations[0].is_flat
        assert colourful(draw(found)) == 0
    shown = one_explanation(noise * 1e6)
    assert not shown.explanations[0].is_flat
    assert colourful(draw(shown)) > 10_000


def test_explained_class_is_shown_even_if_unlikely() -> None:
    """After the five likeliest, in their order."""
    shares = np.array([0.01, 0.3, 0.2, 0.15, 0.25, 0.09])

    assert shown_classes(shares, 4) == [1, 4, 2, 3, 5]
    assert shown_classes(shares, 0) == [1, 4, 2, 3, 5, 0]


def test_classes_are_found_by_name_and_number() -> None:
    """A name comes first; what is ambiguous or unknown is an error."""
    names = ("cat", "crane", "crane", "3", "dog")

    assert find_class("cat", names, 5) == 0
    assert find_class("3", names, 5) == 3
    assert find_class("1", names, 5) == 1
    assert find_class(4, (), 5) == 4
    for target, message in (
        ("crane", "several classes: 1, 2. Give the number"),
        ("cow", "no class is called 'cow': there are cat"),
        ("catt", "Did you mean 'cat'?"),
        ("5", "the model has 0 to 4"),
        ("-1", "no class is called '-1'"),
    ):
        with pytest.raises(DataError, match=message):
            find_class(target, names, 5)


def test_files_are_called_by_what_tells_them_apart() -> None:
    """The end of the path, no longer than needed; the same file twice has one name."""
    given = ("x/horse/drawn.png", "x/cat/drawn.png", "drawn.png", "y/cat/b.png", "/z/cat/drawn.png")
    paths = [Path(name) for name in given]

    assert short_names(paths) == [
        "horse/drawn.png", "x/cat/drawn.png", "drawn.png", "b.png", "z/cat/drawn.png",
    ]  # fmt: skip
    assert short_names([Path("a/b.png"), Path("a/b.png")]) == ["b.png", "b.png"]
    assert short_names([Path("b.png"), Path("/b.png")]) == ["b.png", "/b.png"]


# The command.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, names of classes and a file that stands for weights."""
    photo().save(tmp_path / "a.png")
    photo(200, 90, seed=1).save(tmp_path / "b.png")
    (tmp_path / "w.pdparams").write_bytes(b"weights")
    (tmp_path / "names.txt").write_text("cat\ndog\nÜnicorn\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Put a function in the place of the model, and list what it is given; one is there already."""

    def plant(predict: Predict) -> list[np.ndarray]:
        given: list[np.ndarray] = []

        def watched(images: np.ndarray) -> np.ndarray:
            given.append(images.copy())
            return predict(images)

        monkeypatch.setattr(
            explaining, "load_classifier", lambda *_: Classifier(watched, 3, "paddle", "cpu")
        )
        return given

    plant(looks_at_region)
    return plant


def run(*arguments: str, variant: str = VARIANT) -> Result:
    """Run the command as the user does, on w.pdparams, to o.png."""
    default = [] if "--weights" in arguments else ["--weights", "w.pdparams"]
    default += [] if "--image" in arguments else ["--image", "a.png"]
    default += [] if "--out" in arguments else ["--out", "o.png"]
    group = Commands(commands={"explain": command})
    return CliRunner().invoke(group, ["explain", variant, *default, *arguments])


def test_command_writes_image_and_maps(folder: Path, planted: Plant) -> None:
    """The image, the numbers and the words agree."""
    given = planted(looks_at_region)
    both = ["--image", "a.png", "--image", "b.png"]
    done = run(*both, "--classes", "names.txt", "--map", "o.npy", "--class", "dog")
    assert done.exit_code == 0, done.output

    preprocess = preprocessing_of(find_variant(VARIANT)[1])
    with Image.open("b.png") as image:
        assert any(np.array_equal(images[0], preprocess(image)) for images in given)
    heat = np.load("o.npy")
    assert heat.shape == (2, 32, 32)
    row, column = np.unravel_index(heat[0].argmax(), (32, 32))
    share = scores(looks_at_region(normalise(np.asarray(photo()))[None]), "probability")[0, 1]
    assert f"a.png: dog, probability {share:.3f}; " in done.output
    assert f"hiding what is around row {row}, column {column} of 32x32" in done.output
    with Image.open("o.png") as image:
        assert image.format == "PNG"
        assert image.width == 1056

    once = (folder / "o.png").read_bytes()
    done = run(*both, "--classes", "names.txt", "--map", "o.json", "--class", "1", "--force")
    assert done.exit_code == 0, done.output
    assert (folder / "o.png").read_bytes() == once
    facts = json.loads((folder / "o.json").read_text())
    assert [p["image"] for p in facts["images"]] == ["a.png", "b.png"]
    assert np.array_equal([p["map"] for p in facts["images"]], heat)
    assert facts["images"][0]["class_name"] == "dog"
    assert facts["forward_passes"] == 27 * 27 + 2
    assert sum(len(images) for images in given) == 2 * 2 * facts["forward_passes"]


@pytest.mark.usefixtures("planted")
def test_predicted_class_is_explained_unless_another_is_named() -> None:
    """Of every image its own."""
    Image.new("RGB", (32, 32)).save("dark.png")
    done = run("--image", "a.png", "--image", "dark.png", "--window", "8", "--stride", "8")

    assert "a.png: class 1, " in done.output
    assert "dark.png: class 2, " in done.output
    done = run("--class", "0", "--force", "--window", "8", "--stride", "8")
    assert "a.png: class 0, probability" in done.output
    assert "(predicted: class 1, 0." in done.output


def test_command_says_that_a_map_is_flat(planted: Plant) -> None:
    """And what to try."""
    planted(indifferent)
    done = run("--window", "8")

    assert done.exit_code == 0
    assert "class 1, probability 0.71" in done.output
    assert "Flat: hiding parts changes its probability by no more than 0.1 perc" in done.output
    assert "--measure log-odds" in done.output
    done = run("--window", "8", "--force", "--measure", "log-odds")
    assert "Flat: hiding parts changes its log-odds" in done.output


def test_a_model_that_is_sure_has_a_map_of_its_log_odds(planted: Plant) -> None:
    """Its probability does not move."""
    planted(lambda images: 100 * looks_at_region(images) + np.array([0, 300, 0], np.float32))

    assert "Flat" in run("--window", "4").output
    done = run("--window", "4", "--measure", "log-odds", "--map", "m.npy", "--force")
    assert "Flat" not in done.output
    assert is_in_region(np.load("m.npy")[0])


TEXTS = {
    "two.txt": "cat\ndog\n",
    "hole.txt": "cat\n\ndog\n",
    "none.txt": "\n",
    "cut.json": '{"classes": ["cat"',
    "list.json": '["cat", "dog", "cow"]',
    "numbers.json": '{"classes": [1, 2, 3]}',
    "there.png": "mine",
}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--image", "names.txt"], 1, "names.txt: cannot be read as an image"),
        (["--image", "thin.png"], 1, "thin.png: is 600x2 pixels"),
        (["--class", "3"], 1, "there is no class 3: the model has 0 to 2"),
        (["--class", "cow"], 1, "no names were given. Give --classes FILE, or a number 0 to 2."),
        (["--classes", "two.txt"], 1, "got 2 class names; w.pdparams has a head for 3"),
        (["--classes", "hole.txt"], 1, "hole.txt: name 2 is empty"),
        (["--classes", "b.png"], 1, "b.png: cannot be read as class names"),
        (["--classes", "none.txt"], 1, "none.txt: is empty; expected class names"),
        (["--classes", "cut.json"], 1, "cut.json: cannot be read as class names"),
        (["--classes", "list.json"], 1, 'list.json: has no list "classes" of names'),
        (["--classes", "numbers.json"], 1, 'numbers.json: has no list "classes" of names'),
        (["--window", "40"], 1, "the window is 40 pixels; expected 1 to 32"),
        (["--window", "4", "--stride", "9"], 1, "leaves gaps"),
        (["--out", "there.png"], 1, "there.png: exists already. Pass --force"),
        (["--out", "no/o.png"], 1, "the folder no does not exist"),
        (["--out", "o.jpg"], 2, "o.jpg is not a .png file"),
        (["--map", "o.txt"], 2, "o.txt is not a .npy or .json file"),
        (["--out", "a.png", "--force"], 1, "image and out are the same file"),
        (["--samples", "100"], 2, "--samples works with --method lime only"),
        (["--method", "lime", "--stride", "2"], 2, "--stride works with --method occlusion only"),
        (["--image", "gone.png"], 2, "gone.png"),
    ],
)
@pytest.mark.usefixtures("planted")
def test_what_cannot_be_done_is_one_error(
    arguments: list[str], code: int, message: str, folder: Path
) -> None:
    """With what was found and expected; nothing is written."""
    photo(600, 2).save("thin.png")
    for name, text in TEXTS.items():
        Path(name).write_text(text)
    before = {path: path.read_bytes() for path in folder.iterdir()}

    done = run(*arguments)

    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_interruption_leaves_nothing_behind(folder: Path, planted: Plant) -> None:
    """Also not the file that would be replaced."""

    def stopped(images: np.ndarray) -> np.ndarray:
        if len(images) > 1:
            raise KeyboardInterrupt
        return looks_at_region(images)

    planted(stopped)
    (folder / "o.png").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = run("--map", "o.npy", "--force")

    assert done.exit_code == 130
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_variants_that_predict_no_class_are_refused(folder: Path) -> None:
    """An unknown name, and the backbone of a detector."""
    done = run(variant="shiftvit_huge")
    assert done.exit_code == 2
    assert "no variant is called 'shiftvit_huge'" in done.output

    (folder / "w.pdparams").write_bytes(b"weights")
    with pytest.raises(ModelError, match="a backbone without a head"):
        explain("litv2_small_det", folder / "w.pdparams", [folder / "a.png"])


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("file", "content", "name"),
    [
        ("mark.txt", "\ufeffcat\r\ndog\r\ncow\r\n\r\n", "cat"),  # as some editors write it
        ("run.json", json.dumps({"classes": ["cat", "dog", "Ünicorn"]}), "Ünicorn"),
    ],
)
def test_names_of_classes_are_read(file: str, content: str, name: str) -> None:
    """With a byte order mark, and from the run.json of a training."""
    Path(file).write_bytes(content.encode())
    done = run("--classes", file, "--class", name, "--window", "8")

    assert done.exit_code == 0, done.output
    assert f"a.png: {name}, " in done.output


# With real models.


@pytest.mark.torch
@pytest.mark.paddle
def test_both_frameworks_give_the_same_map(plain: Make, converted: Make, tmp_path: Path) -> None:
    """To rounding: the same weights, images and windows."""
    photo(50, 40).save(tmp_path / "p.png")
    how = Options(window=8, stride=4)
    sources: dict[Side, Path] = {"torch": plain(VARIANT), "paddle": converted(VARIANT)}
    found = {
        side: explain(
            VARIANT, path, [tmp_path / "p.png"], framework=side, device="cpu", options=how
        ).explanations[0]
        for side, path in sources.items()
    }

    heat = found["torch"].heat
    assert not found["torch"].is_flat
    assert found["torch"].target == found["paddle"].target
    assert np.abs(heat - found["paddle"].heat).max() < 1e-3 * np.abs(heat).max()
    assert found["paddle"].probabilities == pytest.approx(found["torch"].probabilities, abs=1e-5)


@pytest.mark.paddle
def test_weights_say_which_framework_runs_them_and_only_it_is_imported(
    converted: Make, tmp_path: Path
) -> None:
    """A .pdparams is Paddle's; PyTorch is not even imported."""
    photo().save(tmp_path / "p.png")
    script = """
import sys
from pathlib import Path
from vitconvert.apps.explanation import Options, explain
assert not {"torch", "paddle"} & set(sys.modules)
variant, weights, image = sys.argv[1:]
found = explain(variant, Path(weights), [Path(image)], options=Options(window=16), device="cpu")
assert "torch" not in sys.modules
print(found.framework, found.passes, float(abs(found.explanations[0].heat).max()))
"""
    arguments = [VARIANT, converted(VARIANT), tmp_path / "p.png"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    framework, passes, most = done.stdout.split()
    assert (framework, passes) == ("paddle", str(5 * 5 + 2))
    assert float(most) > 0


@pytest.mark.paddle
def test_weights_that_do_not_fit_are_refused(converted: Make, plain: Make, folder: Path) -> None:
    """Of another variant, of the other framework, of nothing at all."""
    for weights, options, message in (
        ("w.pdparams", [], "w.pdparams"),
        (str(converted(VARIANT)), ["--framework", "torch"], "with Paddle weights"),
        (str(plain("litv2_cifar_tiny")), ["--framework", "paddle"], "safetensors"),
    ):
        done = run("--weights", weights, *options)
        assert done.exit_code == 1, done.output
        assert message in done.output
        assert not (folder / "o.png").exists()


def test_lime_finds_the_place_too() -> None:
    """Repeatably for a seed."""
    pytest.importorskip("lime")
    pixels = np.random.default_rng(0).integers(110, 130, (32, 32, 3), np.uint8)
    pixels[REGION] = 255
    image = Image.fromarray(pixels)
    found = [lime(looks_at_region, image, normalise, 1, 300, seed) for seed in (0, 0, 1)]

    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert is_in_region(found[0], margin=2)


def test_lime_says_whose_number_it_is(planted: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of a linear model: hiding that segment alone was never tried."""
    pytest.importorskip("lime")
    captions: list[str] = []

    def kept(found: Explained) -> str:
        captions.append(scale_text(found))
        return captions[-1]

    monkeypatch.setattr(_draw, "scale_text", kept)
    done = run("--method", "lime", "--samples", "60")

    assert done.exit_code == 0, done.output
    assert "; the segment at row " in done.output
    assert ", by LIME's linear model, adds " in done.output
    assert "costs" not in done.output
    assert captions == ["added, by LIME's linear model"]
    assert run("--window", "8", "--force").exit_code == 0
    assert captions[1:] == ["lost where it is hidden"]
    planted(indifferent)
    done = run("--method", "lime", "--samples", "60", "--force")
    assert "Flat: no segment's weight in LIME's linear model exceeds 0.1 perc" in done.output


@pytest.mark.usefixtures("planted")
def test_images_of_one_name_are_distinguished(folder: Path) -> None:
    """In the lines and in the numbers."""
    for name in ("horse", "cat"):
        (folder / name).mkdir()
        photo().save(folder / name / "drawn.png")
    both = ["--image", "horse/drawn.png", "--image", "cat/drawn.png"]
    done = run(*both, "--window", "8", "--stride", "8", "--map", "o.json")

    assert "horse/drawn.png: class 1, " in done.output
    assert "cat/drawn.png: class 1, " in done.output
    facts = json.loads((folder / "o.json").read_text())
    assert [p["image"] for p in facts["images"]] == ["horse/drawn.png", "cat/drawn.png"]


def test_lime_that_is_not_installed_is_named(
    folder: Path, planted: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work is done, with what to install."""
    given = planted(looks_at_region)
    monkeypatch.setattr(_hiding, "find_spec", lambda _name: None)
    done = run("--method", "lime")

    assert done.exit_code == 1
    assert "needs the package lime" in done.output
    assert "pip install lime;" in " ".join(done.output.split())
    assert not given
    assert not (folder / "o.png").exists()
