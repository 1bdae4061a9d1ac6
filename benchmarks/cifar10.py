"""Train a small variant on CIFAR-10 images with PyTorch; docs/cifar10.md has the results.

    python benchmarks/cifar10.py shiftvit_cifar_tiny DATA shiftvit.pth --epochs 20

The variant may also be swin_cifar_tiny, timm's Swin of swin_cifar_tiny.toml, for comparison; it
needs timm (pip install -c constraints.txt timm).

DATA holds the images as `vitconvert eval` takes them; they stay in memory. Every epoch visits each
once, in random order, padded, cropped and mirrored at random; AdamW, a cosine schedule after a
warm-up, label smoothing. A .json beside the checkpoint records the training.
"""

import json
import math
import os
import platform
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import torch
from torch.nn import functional

from vitconvert.images import Images, Preprocessing, open_images, preprocessing_of
from vitconvert.models import build
from vitconvert.models_torch._torchvision import import_torchvision
from vitconvert.tables.reading import find_variant

PADDING = 4  # pixels
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
WARM_UP = 0.1  # of all steps


def read(images: Images, how: Preprocessing, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Read images as the model sees them: uint8 [N, H, W, 3], and their labels [N].

    With `most`, an evenly spread subset: the same share of every class.
    """
    count = min(most or len(images), len(images))
    chosen = np.linspace(0, len(images), count, endpoint=False).astype(int)
    pixels = np.stack([np.asarray(how.crop(images.open(int(i)))) for i in chosen])
    return pixels, images.labels[chosen]


def normalised(pixels: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Turn images into the model's input: uint8 [B, H, W, 3] -> float32 [B, 3, H, W]."""
    mean, std = torch.tensor(how.mean), torch.tensor(how.std)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def augmented(inputs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Move every image by up to PADDING pixels, and mirror half of them: [B, 3, H, W]."""
    b, c, h, w = inputs.shape
    padded = functional.pad(inputs, [PADDING] * 4)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, b, 1, 1), generator=rng)
    rows = top + torch.arange(h).reshape(1, h, 1)
    columns = left + torch.arange(w).reshape(1, 1, w)
    mirrored = torch.rand(b, 1, 1, generator=rng) < 0.5
    columns = torch.where(mirrored, columns.flip(2), columns)
    samples = torch.arange(b).reshape(b, 1, 1, 1)
    channels = torch.arange(c).reshape(1, c, 1, 1)
    return padded[samples, channels, rows[:, None], columns[:, None]]


def steps(
    pixels: torch.Tensor, labels: torch.Tensor, how: Preprocessing, batch: int, epochs: int
) -> Iterator[tuple[int, float, torch.Tensor, torch.Tensor]]:
    """Give epoch, completed share of the training, inputs and labels of every step."""
    rng = torch.Generator().manual_seed(0)
    whole = len(labels) // batch
    for epoch in range(epochs):
        order = torch.randperm(len(labels), generator=rng)
        for step in range(whole):
            rows = order[step * batch : (step + 1) * batch]
            inputs = augmented(normalised(pixels[rows], how), rng)
            yield epoch, (epoch * whole + step) / (epochs * whole), inputs, labels[rows]


def prepare(name: str) -> tuple[Callable[[int], torch.nn.Module], Preprocessing]:
    """Give a function that builds the model for a number of classes, and its preprocessing."""
    path = Path(__file__).with_name(f"{name}.toml")
    if not path.exists():
        variant = find_variant(name)[1]
        return lambda classes: build("torch", variant, classes), preprocessing_of(variant)
    data = tomllib.loads(path.read_text(encoding="utf-8"))

    def make(classes: int) -> torch.nn.Module:
        import_torchvision()
        swin = import_module("timm.models.swin_transformer")
        model: torch.nn.Module = swin.SwinTransformer(num_classes=classes, **data["config"])
        return model

    return make, preprocessing_of(find_variant(data["like"])[1])


def rate(done: float) -> float:
    """Give the factor of the learning rate: up linearly, then down as a cosine."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def accuracy(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Give the share of images that are classified correctly."""
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(i).argmax(1) == j).sum())
            for i, j in zip(torch.split(inputs, 500), torch.split(labels, 500), strict=True)
        )
    model.train()
    return right / len(labels)


@click.command()
@click.argument("variant")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--epochs", default=20)
@click.option("--batch", default=128)
@click.option("--lr", default=2e-3)
@click.option("--limit", type=int, help="Train on this many images only.")
def main(
    variant: str, data: Path, out: Path, epochs: int, batch: int, lr: float, limit: int | None
) -> None:
    """Train, and write the weights after every epoch."""
    torch.manual_seed(0)
    make, how = prepare(variant)
    images = open_images(data, "train")
    pixels, labels = (torch.from_numpy(a) for a in read(images, how, limit))
    model = make(len(images.classes))
    # Norms, biases and other vectors are not decayed.
    grouped = [
        {"params": [p for p in model.parameters() if (p.ndim > 1) == big], "weight_decay": decay}
        for big, decay in ((True, WEIGHT_DECAY), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(grouped, lr=lr)
    test, expected = read(open_images(data, "val"), how, None)
    inputs, answers = normalised(torch.from_numpy(test), how), torch.from_numpy(expected)
    curve, losses, start, last = [], list[float](), time.perf_counter(), 0
    options = {"epochs": epochs, "batch": batch, "lr": lr, "images": len(labels)}
    machine = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores"]

    def write() -> None:
        seconds = round(time.perf_counter() - start)
        curve.append({"loss": float(np.mean(losses)), "top1": accuracy(model, inputs, answers)})
        click.echo(f"epoch {len(curve)}/{epochs}: {curve[-1]}, {seconds} s")
        torch.save(model.state_dict(), out)
        facts = {"variant": variant, **options, "seconds": seconds, "curve": curve}
        facts |= {"torch": torch.__version__, "machine": machine, "classes": images.classes}
        out.with_suffix(".json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        losses.clear()

    for epoch, done, x, y in steps(pixels, labels, how, batch, epochs):
        if epoch > last:
            write()
            last = epoch
        for group in optimizer.param_groups:
            group["lr"] = lr * rate(done)
        loss = functional.cross_entropy(model(x), y, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
        losses.append(loss.item())
    write()


if __name__ == "__main__":
    main()
