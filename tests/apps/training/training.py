"""What the tests of training share: small images, and how runs are started and compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from vitconvert.apps.training import Settings
from vitconvert.cli import cli

VARIANT = "shunted_cifar_tiny"  # has a BatchNorm: its running statistics are part of the state
QUICK = {"variant": "shiftvit_cifar_tiny", "img_size": (16, 16)}  # has none
CLASSES = ("blue", "green", "red")


def make_images(folder: Path, train: int = 20, val: int = 7) -> Path:
    """Make images of three classes, noise with more of one colour, as PNG of 32x32 pixels."""
    rng = np.random.default_rng(5)
    for split, count in (("train", train), ("val", val)):
        for i in range(count):
            label = i % len(CLASSES)
            pixels = rng.integers(0, 160, (32, 32, 3))
            pixels[:, :, 2 - label] += 90
            path = folder / split / CLASSES[label] / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def settings(data: Path, **options: Any) -> Settings:
    """Ask for a short run: two epochs of five steps."""
    usual = {"variant": VARIANT, "epochs": 2, "batch_size": 4, "workers": 1}
    return Settings(data=str(data), **{**usual, **options})


def invoke(*arguments: object) -> Result:
    """Run the command as `vitconvert train`."""
    return CliRunner().invoke(cli, ["train", *map(str, arguments)])


def rows(run: Path) -> list[dict[str, Any]]:
    """Read the log, without what depends on the time."""
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in found]


def weights(run: Path) -> dict[str, bytes]:
    """Read both checkpoints."""
    return {name: (run / name).read_bytes() for name in ("best.pdparams", "last.pdparams")}
