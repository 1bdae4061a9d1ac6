"""`vitconvert eval` with models of the user's own, and the table for a pull request."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from evaluated import EVIL, disagreeing, evaluation, random
from PIL import Image
from safetensors.numpy import save_file

from tools.own_pair import CLASSES, weights, write_pair
from vitconvert import ConversionError, DataError, ModelError, Pair, RunError, convert, evaluate
from vitconvert.apps.evaluation import MARK, _engine, markdown
from vitconvert.apps.evaluation._engine import Task
from vitconvert.cli import cli
from vitconvert.images import open_images, preprocessing_of
from vitconvert.running.setup import Setup, Subject
from vitconvert.tables.variant import Variant

SIZE = (24, 32)  # that the table states
BOTH = ["--torch-model", "pair_torch:build", "--torch-weights", "w.safetensors"]
BOTH += ["--paddle-model", "pair_paddle:build", "--weights", "w.pdparams"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a pair, its converted weights and 23 images, in which the user is."""
    write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    convert("w.safetensors", "w.pdparams", Path("pair.toml"), parity=False)
    rng = np.random.default_rng(3)
    for i in range(23):
        place = tmp_path / "images" / f"class{i % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(place / f"{i:02}.png")
    yield tmp_path
    sys.modules.pop("pair_torch", None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["eval", "--data", "images", "--device", "cpu", *arguments])


@pytest.mark.torch
@pytest.mark.paddle
def test_a_pair_is_evaluated_as_by_hand(folder: Path) -> None:
    """At the table's image size, with ImageNet's mean; figures and table for a pull request."""
    import torch

    arguments = [*BOTH, "--table", "pair.toml", "--batch-size", "8", "--markdown", "it's.md"]
    done = run(*arguments)

    assert done.exit_code == 0, done.output
    assert "pair_torch:build, pair_paddle:build on images (10 class folders)" in done.output
    model = import_module("pair_torch").build().eval()
    state = {k: torch.tensor(v) for k, v in weights().items() if k != "teacher.weight"}
    model.load_state_dict(state, strict=False)
    how = preprocessing_of(Variant("x", "x", {}, {}, SIZE))
    found = open_images(folder / "images")
    inputs = np.stack([how(found.open(i)) for i in range(len(found))])
    with torch.no_grad():
        right = int((model(torch.from_numpy(inputs)).numpy().argmax(1) == found.labels).sum())
    top1 = f"{100 * right / 23:.2f}%"
    text = (folder / "it's.md").read_text()
    rows = [[c.strip() for c in line.split(" | ")] for line in text.splitlines() if "| " in line]
    figures = dict(zip(rows[0], rows[2], strict=True))
    assert figures["top-1 PyTorch"] == figures["top-1 Paddle"] == top1
    assert figures["same prediction |"] == "23/23 |"
    assert rows[4][-1] == "PASS |"
    assert "24x32 pixels, center crop 0.875, bicubic, mean 0.485/0.456/0.406" in text
    assert "\nvitconvert eval --data images --device cpu --torch-model pair_torch:build" in text
    assert "--markdown 'it'\"'\"'s.md'" in text


def task(model: str, table: str = "", checkpoint: str = "plain.safetensors") -> Task:
    """Describe the work of a process with the PyTorch model alone."""
    state = {key: value for key, value in weights().items() if key != "teacher.weight"}
    if checkpoint == "less.safetensors":
        state = {key: value for key, value in state.items() if not key.startswith("fc1")}
    save_file(state, checkpoint, {"format": "pt"})
    setup = Setup("torch", Subject(model, table=table), checkpoint, device="cpu")
    return Task(setup, "float32", "eager", "", (4, 3, 16, 16), 1)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Twice", "pair_torch:Twice gives a tuple; expected one tensor"),
        (
            "Maps",
            r"pair_torch:Maps gives \[1, 8, 8, 8\] for images \[1, 3, 16, 16\]; expected logi",
        ),
        ("build", ""),
    ],
)
def test_the_size_of_the_head_is_found_from_the_output(model: str, message: str) -> None:
    """One row of logits for each image, or it is refused."""
    of = task(f"pair_torch:{model}")
    run, _facts, _peak = _engine._ready(of)
    if not message:
        assert _engine._count_classes(run, of) == CLASSES
        return
    with pytest.raises(RunError, match=message):
        _engine._count_classes(run, of)


@pytest.mark.torch
def test_a_head_that_the_images_do_not_fit_is_refused() -> None:
    """As soon as the size of the head is known."""
    task("pair_torch:Narrow")
    how: dict[str, Any] = {"preprocessing": {"size": (16, 16)}, "device": "cpu"}
    with pytest.raises(DataError, match=r"has 10 classes \(class0, .* model has a head for 7"):
        evaluate(Pair("pair_torch:Narrow", ""), "images", torch_weights="plain.safetensors", **how)


@pytest.mark.torch
@pytest.mark.parametrize("table", ["", "pair.toml"])
def test_a_tensor_that_is_missing_is_never_left_as_it_was(table: str, folder: Path) -> None:
    """No table, and a table without a row for it: neither lets noise be evaluated."""
    text = (folder / "pair.toml").read_text()
    (folder / "pair.toml").write_text(re.sub(r".*fc1.*\n", "", text))

    with pytest.raises(RunError, match=r'Missing key\(s\) .*: "fc1.weight", "fc1.bias"'):
        _engine._ready(task("pair_torch:build", table, "less.safetensors"))


def test_what_cannot_be_evaluated_is_refused_before_anything_runs(folder: Path) -> None:
    """Names that the table does not know, files of the other side, exports."""
    table = folder / "pair.toml"
    pair = Pair("pair_torch:build", "pair_paddle:build", table)
    table.write_text(table.read_text().replace('"head"', '"tail"'))
    refused: list[tuple[Pair, dict[str, Any], type[Exception], str]] = [
        (pair, {"torch_weights": "w.safetensors"}, ConversionError, "head.bias: no row of"),
        (Pair("a:b", ""), {"weights": "w.pdparams"}, ModelError, "Paddle weights need a Paddle"),
        (Pair("a", ""), {"torch_weights": "w.safetensors"}, ModelError, r"'a': expected package"),
        (pair, {"weights": "images"}, RunError, "images: is a folder; expected the weights of"),
        (pair, {"weights": "w.pdparams", "engine": "inference"}, RunError, "exports shipped mod"),
    ]
    for model, options, kind, message in refused:
        with pytest.raises(kind, match=message):
            evaluate(model, "images", **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shunted_s", *BOTH], "VARIANT is a shipped model, --torch-model is for your own"),
        (BOTH[2:], "--torch-weights needs --torch-model."),
        (BOTH[:6], "--paddle-model needs --weights."),
        (["--weights", "w.pdparams"], "give a VARIANT, see `vitconvert models`; or, for models"),
        (["--weights", "w.pdparams", "--table", "pair.toml"], "give a VARIANT"),
        (["shuntd_s", "--weights", "w.pdparams"], "Did you mean 'shunted_s'?"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    """What is missing, or contradicts something else."""
    done = run(*arguments)

    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_table_replaces_nothing_else(folder: Path) -> None:
    """A file that is not such a table, or that is read, stays as it is."""
    for name in ("pair.toml", "w.pdparams"):
        before = (folder / name).read_bytes()
        done = run(*BOTH, "--table", "pair.toml", "--markdown", name)
        assert done.exit_code == 1
        assert name in done.output
        assert (folder / name).read_bytes() == before


def cells(text: str) -> dict[str, list[str]]:
    """Read a table: heading -> the cells below it."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return {
        head.strip(): [cell.strip() for cell in rest] for head, *rest in zip(*rows, strict=True)
    }


def test_markdown_has_what_reviewers_ask_for() -> None:
    """Both accuracies, difference, logits and agreement, with limits and whether they hold."""
    text = markdown(random(1000))
    found = cells(text)

    assert text.startswith(
        "**shiftvit_cifar: SAME**, both classify all 1,000 images the same.\n\n|"
    )
    assert list(found) == [
        *("model", "images", "top-1 PyTorch", "top-1 Paddle", "difference (Paddle - PyTorch)"),
        *("top-5 PyTorch / Paddle", r"max \|Δ logit\|", r"mean \|Δ logit\|", "same prediction"),
    ]
    assert found["images"][1:] == ["1,000", "", ""]
    assert found["difference (Paddle - PyTorch)"][1] == "+0.00 points"
    assert found["same prediction"][1:] == ["1,000/1,000", "at least 99.8%", "PASS"]
    assert found[r"max \|Δ logit\|"][2:] == ["< 1e-4", "PASS"]
    assert float(found[r"max \|Δ logit\|"][1]) < 1e-5


def test_markdown_of_what_is_not_the_same() -> None:
    """Too far apart, too few the same, logits that are not finite: each fails by itself."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 10)) * 100
    apart = cells(markdown(evaluation(x, x + 2e-4)))
    assert apart[r"max \|Δ logit\|"][1:] == ["0.0002", "< 1e-4", "**FAIL**"]
    assert apart["same prediction"][-1] == "PASS"

    for wrong, expected in ((2, "PASS"), (3, "**FAIL**")):
        y = x.copy()
        y[:wrong] = np.roll(y[:wrong], 1, 1)
        same = cells(markdown(evaluation(x, y)))["same prediction"]
        assert same[1:] == [f"{1000 - wrong}/1,000", "at least 99.8%", expected]

    text = markdown(disagreeing())
    assert "**shiftvit_cifar: NOT THE SAME**, 3 of 3 images are classified differently" in text
    x[0, 0] = np.nan
    broken = cells(markdown(evaluation(x, x)))
    assert broken[r"max \|Δ logit\|"][1:] == ["not finite", "< 1e-4", "**FAIL**"]


def test_markdown_of_one_side_and_of_a_part() -> None:
    """No column without a figure; an interrupted run is marked."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    text = markdown(evaluation(x, wanted=9), "vitconvert eval x")

    assert text.startswith("**shiftvit_cifar: evaluation**\n\n| model |")
    assert list(cells(text)) == ["model", "images", "top-1 Paddle"]
    assert "- PARTIAL: interrupted after 4 of 9 images" in text
    assert text.endswith("\n```bash\nvitconvert eval x\n```\n")
    assert MARK in text


def test_names_of_files_cannot_break_the_markdown() -> None:
    """Bars, ends of lines, backticks and HTML in names stay text."""
    evil = f"a|b\n`c` {EVIL}"
    found = disagreeing(names=(evil,) * 3, data=evil, variant="shiftvit_cifar", unreadable=())
    text = markdown(found)

    assert not re.search(r"(?<!\\)<script>(?![^`]*`)", text.replace("``", "`"))
    assert [line for line in text.splitlines() if line and line[0] not in "*|-"] == []
    cells(text)
