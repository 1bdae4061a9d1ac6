"""A trace of a model of one layer, made without a framework."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vitconvert.parity._facts import Call, Facts, Layer, Weight, write_facts
from vitconvert.parity._trace import Writer

SHAPE = (2, 3)


def write_trace(
    folder: Path, framework: str, name: str = "fc", model: str = "tiny", seed: int = 0
) -> dict[str, Any]:
    """Write a trace of one layer, and give what its trace.json says."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    call = {"dict": {"x": {"array": 0}}}
    runs, places = {}, {}
    for dtype in ("float64", "float32", "weights"):
        with Writer(folder / f"{dtype}.bin") as writer:
            for _ in range(2):
                kind = "float32" if dtype == "float32" else "float64"
                writer.add(rng.standard_normal(SHAPE).astype(kind))
        places[dtype] = writer.arrays.places
        if dtype != "weights":
            runs[dtype] = [
                Call(name, 1, "logits", call, {"array": 1}),
                Call("logits", 1, None, call, [{"array": 1}, None, 2.5]),
            ]
    facts = Facts(
        framework=framework,
        model=model,
        output="logits",
        environment={framework: "1.0", "device": "cpu", "threads": 1},
        checkpoint={"file": f"{name}.pth", "sha256": "a" * 64},
        input={"shape": [2, 3], "noise": "input:tiny", "seed": 0, "sha256": "b" * 64},
        layers={
            name: Layer(name, "linear", {"eps": 1e-6}, spelled={"eps": f"{name}=1e-06"}),
            "logits": Layer("", "output", {}),
        },
        weights={f"{name}.weight": Weight(name, f"{name}.weight", 0)},
        runs=runs,
        places=places,
        parameters=6,
    )
    write_facts(folder, facts)
    found: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    return found
