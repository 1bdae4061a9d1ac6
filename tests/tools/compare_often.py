"""Compare a correct pair of checkpoints on several inputs, and print what was found as JSON.

    OMP_NUM_THREADS=2 python tests/tools/compare_often.py shunted_t model.pth model.pdparams FOLDER

How many threads a framework takes is settled when it is imported: hence a process of its own.
"""

import json
import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "parity")]

import numpy as np

from tracing import built_once, compared, noise, trace


def photos() -> dict[str, np.ndarray]:
    """Give five inputs, float32 [B, 3, H, W]."""
    rows, columns = np.mgrid[0:64, 0:96] / 48 - 1
    smooth = np.stack([np.sin(3 * rows + columns), columns, rows * columns])[None]
    return {
        "noise": noise((2, 3, 64, 64)),
        "wide": noise((1, 3, 64, 96), 1),
        "faint": noise((1, 3, 64, 64), 2) * np.float32(1e-3),
        "loud": noise((1, 3, 64, 64), 3) * np.float32(30),
        "smooth": smooth.astype("f4"),
    }


def main(variant: str, torch_file: str, paddle_file: str, folder: str) -> None:
    """Compare on every input."""
    import torch

    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    found, place = {}, Path(folder)
    with built_once():
        for name, images in photos().items():
            np.save(place / "in.npy", images)
            trace(place, "torch", Path(torch_file), variant)
            report = compared(place, Path(paddle_file), variant)
            first = report.first_diverging
            found[name] = {
                "verdict": report.verdict,
                "threads": report.reference["threads"],
                "float64": max(layer.float64 for layer in report.layers),
                "alone": max(layer.alone for layer in report.layers),
                "factor": max(
                    max(a, b) / max(min(a, b), 4 * 2.0**-23)
                    for layer in report.layers
                    for a, b in [(layer.float32_reference, layer.float32_candidate)]
                ),
                "first": f"{first.layer}: {first.verdict}; {first.note}" if first else "",
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
