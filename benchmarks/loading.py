"""Measure how much loading images slows an evaluation; `make bench-speed` runs it.

    python benchmarks/loading.py [--quick]

The deployed Paddle model and the PyTorch model classify JPEG files of 500x375 pixels through
`vitconvert.evaluate`, with two workers. The end-to-end rate is compared with that of the model
alone: batches of the same size with no loading meanwhile. Both take turns. Exit status 1 if a full
run finds less than LEAST of the model's own rate.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure
import numpy as np
from PIL import Image
from report import CORES, QUICK, RESULTS, new_table, publish
from throughput import DEPLOYED, TORCH, make_files, new_worker, timed

from vitconvert import evaluate

VARIANT = "shunted_t"
CLASSES, BATCH, WORKERS = 1000, 8, 2
LEAST = 0.9
HEADINGS = ("model alone, images/s", "ms per image", "end to end, images/s", "share, medians")


def make_images(folder: Path, count: int) -> None:
    """Make JPEG files with about as much detail as photographs; most classes stay empty."""
    rng = np.random.default_rng(0)
    for i in range(CLASSES):
        (folder / f"{i:04}").mkdir(parents=True)
    for i in range(count):
        whole = np.zeros((375, 500, 3), "f4")
        for size, share in ((40, 0.6), (8, 0.25), (2, 0.15)):
            layer = Image.fromarray(rng.integers(0, 256, (375 // size, 500 // size, 3), "u1"))
            whole += np.asarray(layer.resize((500, 375), Image.Resampling.BICUBIC)) * share
        Image.fromarray(whole.astype("u1")).save(folder / f"{i % CLASSES:04}" / f"{i}.jpg")


def main() -> None:
    """Measure, print, save and judge."""
    count, rounds = (40, 1) if QUICK else (120, 3)
    rates: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(dir=RESULTS) as name:
        folder = Path(name)
        make_images(folder / "images", count)
        make_files(VARIANT, folder)
        data = folder / "images"
        setting: dict[str, Any] = {"batch_size": BATCH, "workers": WORKERS}
        others = measure.watch_others()
        for _ in range(rounds):
            for case in (DEPLOYED, TORCH):
                how: dict[str, Any] = {"weights": folder / VARIANT, "engine": "inference"}
                if case == TORCH:
                    how = {"torch_weights": folder / f"{VARIANT}.pth"}
                with new_worker(case, VARIANT, folder) as worker:
                    alone = BATCH / worker.submit(timed, BATCH, count // BATCH).result()
                found = evaluate(VARIANT, data, device="cpu", **setting, **how)
                of = rates.setdefault(case, {"alone": [], "whole": []})
                of["alone"].append(alone)
                of["whole"].append(found.end_to_end or 0.0)
        busy = others()
    table = new_table(f"{VARIANT}, batches of {BATCH}", *HEADINGS)
    shares = {}
    for case, of in rates.items():
        alone, whole = median(of["alone"]), median(of["whole"])
        shares[case] = whole / alone
        row = (f"{alone:.1f}", f"{1000 / alone:.1f}", f"{whole:.1f}", f"{shares[case]:.2f}")
        table.add_row(case, *row)
    publish(
        "loading",
        rates,
        f"{count} images of 500x375, {WORKERS} workers, {rounds} rounds in turn.",
        f"Other processes used {busy:.2f} of {CORES} cores on average.",
        table,
    )
    sys.exit(not QUICK and min(shares.values()) < LEAST)


if __name__ == "__main__":
    main()
