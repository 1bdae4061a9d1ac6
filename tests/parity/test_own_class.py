"""A target's own model, with other names than ours: it is compared, and faults get our names."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import arrays, write_paddle
from tracing import run_here
from vitconvert import ModelError, ParityError, Report, check_parity, convert
from vitconvert.parity import _run
from vitconvert.parity._options import RunOptions

pytestmark = [pytest.mark.torch, pytest.mark.paddle]

REFERENCE = """
import torch
from torch import nn
from vitconvert.tables.functions import window_position_index

class Stage(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.down = nn.Identity() if first else nn.Linear(8, 8)
        self.table = nn.Parameter(torch.zeros(9, 8))
        index = torch.from_numpy(window_position_index((9, 8)))
        self.register_buffer("position_index", index, persistent=False)
        self.qkv = nn.Linear(8, 24)
        self.act = nn.GELU()

    def forward(self, x):
        x = self.down(x)
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = (q @ k.transpose(1, 2) + self.table[self.position_index].sum(-1)).softmax(-1)
        return x + self.act(weights @ v)

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 16, 16)
        self.layers = nn.ModuleList([Stage(True), Stage(False)])
        self.head = nn.Linear(8, num_classes) if num_classes else nn.Identity()

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))

def net(num_classes):
    return Net(num_classes)
"""
# Another library's: stages end with what ours begin with, and count from 1.
FOREIGN = """
import paddle
from paddle import nn
from vitconvert.tables.functions import window_position_index

class Stage(nn.Layer):
    def __init__(self, last):
        super().__init__()
        self.table = self.create_parameter([9, 8])
        self.register_buffer("position_index", paddle.to_tensor(window_position_index((9, 8))))
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.act = nn.GELU()
        self.down = None if last else nn.Linear(8, 8)

    def forward(self, x):
        bias = self.table[self.position_index.flatten()].reshape([4, 4, 8]).sum(-1)
        weights = self.q(x) @ self.k(x).transpose([0, 2, 1]) + bias
        x = x + self.act(nn.functional.softmax(weights, -1) @ self.v(x))
        return x if self.down is None else self.down(x)

class Patch(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 16, 16)

    def forward(self, x):
        return self.conv(x).flatten(2).transpose([0, 2, 1])

class Net(nn.Layer):
    def __init__(self, classes):
        super().__init__()
        self.patch = Patch()
        self.stages = nn.Sequential(("1", Stage(False)), ("2", Stage(True)))
        self.classifier = nn.Linear(8, classes) if classes else nn.Identity()

    def forward(self, x):
        return self.classifier(self.stages(self.patch(x)).mean(1))

def net(classes):
    return Net(classes)
"""
TABLE = """
family = "other"
title = "Other"
source = "a test"
torch = "reference_net:net"
rows = [
  ["stem",                "stem",                "conv2d"],
  ["layers.{s}.down",     "layers.{s}.down",     "linear"],
  ["layers.{s}.table",    "layers.{s}.table",    "param"],
  ["layers.{s}.qkv",      "layers.{s}.qkv",      "linear"],
  ["layers.{s}.act",      "layers.{s}.act",      "gelu"],
  ["layers.{s}",          "layers.{s}",          "block"],
  ["head",                "head",                "linear"],
]
[variants.other_s]
input_size = [32, 32]
config = {}
[variants.other_l]
input_size = [32, 32]
config = {}

[targets.plain]
rows = [["classifier", "head"]]

[targets.library]
title = "The library"
num_classes = "classes"
apart = ["layers.{s}"]
rows = [
  ["patch.conv",           "stem"],
  ["stages.{s+1}",         "layers.{s}"],
  ["stages.{s+1}.down",    "layers.{s+1}.down"],
  [["stages.{s+1}.q", "stages.{s+1}.k", "stages.{s+1}.v"], "layers.{s}.qkv"],
  ["classifier",           "head"],
]
[targets.library.models]
other_s = "foreign_net:net"
[targets.library.computed]
"stages.{s}.position_index" = { function = "window_position_index", of = "stages.{s}.table" }
"""
SHAPES = """
[other_s]
"stem.weight" = [8, 3, 16, 16]
"stem.bias" = [8]
"layers.{0..1}.table" = [9, 8]
"layers.{0..1}.qkv.weight" = [24, 8]
"layers.{0..1}.qkv.bias" = [24]
"layers.1.down.weight" = [8, 8]
"layers.1.down.bias" = [8]
"head.weight" = ["num_classes", 8]
"head.bias" = ["num_classes"]
[other_l]
same_as = "other_s"
"extra" = [1]
"""
LOGGER = """
def init_logger():
    global made
    made = True
"""
Check = Callable[..., Report]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder with the table, the models' files, and weights of either side."""
    (tmp_path / "tables" / "shapes").mkdir(parents=True)
    (tmp_path / "tables" / "other.toml").write_text(TABLE)
    (tmp_path / "tables" / "shapes" / "other.toml").write_text(SHAPES.replace('"extra" = [1]', ""))
    (tmp_path / "reference_net.py").write_text(REFERENCE)
    (tmp_path / "foreign_net.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_run, "run", run_here)
    yield tmp_path
    for name in ("reference_net", "foreign_net"):
        sys.modules.pop(name, None)


@pytest.fixture
def converted(folder: Path) -> Path:
    """Convert noise for the library."""
    rng = np.random.default_rng(0)
    shapes = {
        "stem.weight": (8, 3, 16, 16), "stem.bias": (8,), "head.weight": (5, 8), "head.bias": (5,),
        "layers.1.down.weight": (8, 8), "layers.1.down.bias": (8,),
    }  # fmt: skip
    for s in (0, 1):
        shapes |= {f"layers.{s}.table": (9, 8), f"layers.{s}.qkv.weight": (24, 8)}
        shapes[f"layers.{s}.qkv.bias"] = (24,)
    state = {key: 0.2 * rng.standard_normal(shape, "f4") for key, shape in shapes.items()}
    save_file(state, folder / "weights.safetensors")
    convert(
        "weights.safetensors", "weights.pdparams", "other", variant="other_s",
        target="library", parity=False, tables="tables", force=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def check(converted: Path) -> Check:
    """Give a function that proves the library's model."""
    assert (converted / "weights.pdparams").exists()

    def check(target: str = "library", **options: Unpack[RunOptions]) -> Report:
        return check_parity(
            "other_s", torch_checkpoint="weights.safetensors", paddle_checkpoint="weights.pdparams",
            target=target, tables="tables", **options,
        )  # fmt: skip

    return check


def planted(folder: Path, old: str, new: str) -> None:
    """Change the library's code."""
    assert old in FOREIGN
    (folder / "foreign_net.py").write_text(FOREIGN.replace(old, new))


def test_the_file_has_their_names_and_what_only_they_store(converted: Path) -> None:
    """Parts, numbers from 1, and position indices of int64."""
    found = arrays(converted / "weights.pdparams")

    assert {"patch.conv.weight", "stages.1.q.weight", "stages.1.down.bias"} <= found.keys()
    assert found["stages.2.position_index"].dtype == np.int64
    assert "stages.2.down.weight" not in found


def test_their_own_model_is_proved_under_our_names(check: Check) -> None:
    """Layers, parts of tensors, buffers and gradients; the report says whose class ran."""
    report = check(backward=True)

    assert report.proved, [report.claim, *[g for g in report.gradients if not g.same]]
    assert report.candidate["model"] == "foreign_net.Net"
    assert report.candidate["library"] == "foreign_net"
    layers = {one.layer for one in report.layers}
    assert {"stem", "layers.0.act", "layers.1.down", "head"} <= layers
    assert "layers.0" not in layers  # theirs holds another part
    assert "layers.0.qkv" not in layers  # three layers of theirs
    assert report.weights == 12
    assert {one.key for one in report.gradients} >= {"layers.0.qkv.weight", "head.bias"}
    assert [one.note for one in report.paddle_only] == ["", ""]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("nn.GELU()", "nn.GELU(approximate=True)", "layers.0.act"),
        ("nn.functional.softmax(weights, -1)", "nn.functional.softmax(weights, 1)", "layers.0.act"),
        (".mean(1))", ".max(1))", "head"),
    ],
)  # fmt: skip
def test_faults_of_their_code_are_found(
    check: Check, folder: Path, old: str, new: str, place: str
) -> None:
    """Under our names."""
    planted(folder, old, new)

    report = check()

    assert not report.proved
    assert place in {one.layer for one in report.layers if one.verdict != "same"} | {""}


def test_a_wrong_part_of_a_tensor_is_found(check: Check, folder: Path) -> None:
    """The part is a third of the tensor that has our name."""
    state = arrays(folder / "weights.pdparams")
    state["stages.2.k.weight"] = state["stages.2.k.weight"].T.copy()
    write_paddle(folder / "weights.pdparams", state)

    report = check()

    assert not report.proved
    assert any("layers.1.qkv" in line for line in [report.claim, *report.diagnosis])


@pytest.mark.usefixtures("converted")
def test_a_target_without_models_runs_ours() -> None:
    """A family of one's own has a Paddle model; none is there in this test."""
    with pytest.raises(ParityError, match="its Paddle model is missing"):
        convert(
            "weights.safetensors", "plain.pdparams", "other", variant="other_s",
            target="plain", tables="tables",
        )  # fmt: skip


def test_a_variant_that_the_library_has_not_is_refused(check: Check, folder: Path) -> None:
    """The message says which it has."""
    (folder / "tables" / "other.toml").write_text(TABLE.replace("other_s = ", "other_l = "))

    with pytest.raises(ModelError, match=r"has no model of other_s\..* It has: other_l"):
        check()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("no_such_library:net", "No module named 'no_such_library'. Is it in"),
        ("foreign_net:nets", "no attribute 'nets'"),
        ("ppcls.arch.backbone:ViT", "PaddleClas is not installed here. Install it: pip install"),
    ],
)
def test_a_library_that_is_not_there_is_named(
    check: Check, folder: Path, function: str, told: str
) -> None:
    """With what to install."""
    (folder / "tables" / "other.toml").write_text(TABLE.replace("foreign_net:net", function))

    with pytest.raises(ParityError, match=told):
        check()


def test_paddleclas_is_prepared(check: Check, folder: Path) -> None:
    """Its logger comes first, nothing is downloaded, and its folder is found inside the package."""
    inner = folder / "paddleclas" / "ppcls"
    (inner / "utils").mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("raise RuntimeError('not to be imported')")
    (inner / "utils" / "logger.py").write_text(LOGGER)
    (inner / "net.py").write_text(
        "from .utils import logger\nfrom foreign_net import Net\n"
        "assert logger.made\n"
        "def net(classes, pretrained=True):\n    assert not pretrained\n    return Net(classes)\n"
    )
    (folder / "tables" / "other.toml").write_text(TABLE.replace("foreign_net:", "ppcls.net:"))
    try:
        assert check().proved
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "ppcls"]:
            del sys.modules[name]
