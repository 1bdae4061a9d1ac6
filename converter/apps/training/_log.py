"""What a run writes for people: logs, curves, a sheet of predictions, VisualDL if asked for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError, RunError
from ...files import write_all, write_whole
from ...images.sheet import Tile, make_sheet
from ...lines import joined
from ._batches import spread
from ._state import COLUMNS, Folder

if TYPE_CHECKING:
    from ._evaluate import Validation

Row = dict[str, Any]
_MOST_TILES = 20  # images on the sheet of predictions


def check_installed(visualdl: bool) -> None:
    """Check that the package that logs is there, before any work is done.

    Raises:
        RunError: It is not installed; the message says how to get it.
    """
    if visualdl and find_spec("visualdl") is None:
        raise RunError("--visualdl: VisualDL is not installed. Install it: pip install visualdl")


def draws_curves() -> bool:
    """Tell whether the package that draws the learning curves is installed."""
    return find_spec("matplotlib") is not None


def write_logs(folder: Folder, history: Sequence[Row]) -> None:
    """Write all epochs anew, so an epoch that is repeated after a kill appears once."""
    lines = "".join(f"{json.dumps(row)}\n" for row in history)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_all({folder.log: lines.encode(), folder.table: text.getvalue().encode()})


def draw_curves(path: Path, history: Sequence[Row], title: str) -> None:
    """Draw losses, accuracies and learning rate over the epochs, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("loss", {"training": "train_loss", "validation": "val_loss"}),
        ("accuracy in percent", {"top-1": "val_top1", "top-5": "val_top5"}),
        ("learning rate at the end of the epoch", {"": "learning_rate"}),
    )
    for axes, (heading, lines) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for label, column in lines.items():
            values = [row[column] for row in history]
            if all(value is None for value in values):
                continue
            axes.plot(epochs, values, marker="." if len(epochs) < 40 else "", label=label)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    figure.suptitle(title, fontsize=11)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    write_whole(path, image.getvalue())


def draw_predictions(
    path: Path,
    model: Any,
    data: Validation,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw some images, evenly spread, as the model sees them, with its prediction."""
    import paddle

    seen = []
    for index in data.chosen[spread(len(data.chosen), _MOST_TILES)]:
        with suppress(DataError):  # the evaluation counts and reports it
            image = data.preprocessing.crop(data.images.open(int(index)))
            seen.append((image, int(data.images.labels[index])))
    if not seen:
        return
    inputs = np.stack([data.preprocessing.normalise(np.asarray(image)) for image, _ in seen])
    model.eval()
    with paddle.no_grad():
        shares = paddle.nn.functional.softmax(model(paddle.to_tensor(inputs)), -1).numpy()
    tiles = []
    for (image, label), row in zip(seen, shares, strict=True):
        found = int(row.argmax())
        caption = [f"{classes[found]} {100 * row[found]:.0f}%"]
        if found != label:
            caption.append(f"is: {classes[label]}")
        tiles.append(Tile(image, joined(caption), found == label))
    file = io.BytesIO()
    make_sheet(tiles, title).save(file, "PNG")
    write_whole(path, file.getvalue())


class VisualDL:
    """Scalars for VisualDL, in the folder of the run; does nothing unless wanted."""

    def __init__(self, folder: Folder, wanted: bool) -> None:
        self._writer: Any = None
        if wanted:
            logs = str(folder.path / "visualdl")
            self._writer = import_module("visualdl").LogWriter(logdir=logs)

    def add(self, row: Row) -> None:
        """Add the values of an epoch."""
        if self._writer is not None:
            for name in COLUMNS[1:]:
                if row[name] is not None:
                    self._writer.add_scalar(tag=name, value=row[name], step=row["epoch"])

    def close(self) -> None:
        """Write the rest."""
        if self._writer is not None:
            self._writer.close()
