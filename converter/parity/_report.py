"""The result of a parity check, as data and as a table in the terminal."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._compare import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_LIMIT, LayerResult

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Report:
    """What a parity check found.

    Attributes:
        variant: The model.
        layers: Every paired layer in order of execution, the logits last.
        torch: File, its hash, who read it, versions and device of the PyTorch side.
        paddle: The same of the Paddle side.
        inputs: Shape, seed and hash of the input batch.
        seconds: Wall time of the whole check.
    """

    variant: str
    layers: tuple[LayerResult, ...]
    torch: dict[str, Any]
    paddle: dict[str, Any]
    inputs: dict[str, Any]
    seconds: float

    @property
    def proved(self) -> bool:
        """Whether every layer and the logits are the same on both sides."""
        return bool(self.layers) and self.first_diverging is None

    @property
    def first_diverging(self) -> LayerResult | None:
        """The first layer, in order of execution, that is not the same."""
        return next((layer for layer in self.layers if layer.verdict != "same"), None)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, for JSON."""
        first = self.first_diverging
        return {
            "variant": self.variant,
            "proved": self.proved,
            "first_diverging": first.layer if first else None,
            "criteria": {
                "float64_limit": FLOAT64_LIMIT,
                "float32_factor": FLOAT32_FACTOR,
                "float32_floor": FLOAT32_FLOOR,
            },
            "torch": self.torch,
            "paddle": self.paddle,
            "inputs": self.inputs,
            "seconds": round(self.seconds, 2),
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        from .._files import cannot_be_written, publish, written_beside

        with written_beside(path) as (file, part):
            with cannot_be_written(path):
                file.write(json.dumps(self.to_dict(), indent=1).encode() + b"\n")
                file.flush()
            publish(part, path, force=True)


def show(report: Report, console: Console) -> None:
    """Print the table of all layers and the verdict."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for heading in ("float64\ndiff", "float32\ntorch", "float32\nPaddle"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for layer in report.layers:
        figures = (layer.float64, layer.float32_torch, layer.float32_paddle)
        style = "green" if layer.verdict == "same" else "bold red"
        verdict = f"[{style}]{layer.verdict}[/]"
        table.add_row(layer.layer, layer.kind, *map(_figure, figures), verdict)
    console.print(table)
    console.print()
    for line in summary(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def summary(report: Report) -> list[str]:
    """Say in a few lines what was compared and what came out."""
    images = "x".join(map(str, report.inputs["shape"]))
    sides = [
        f"{name} {facts[name.lower()]} on {facts['device']}"
        for name, facts in (("torch", report.torch), ("Paddle", report.paddle))
    ]
    lines = [
        f"{report.variant}: {len(report.layers) - 1} layers and the output compared, input "
        f"{images}, {sides[0]}, {sides[1]}, {report.seconds:.1f} s",
    ]
    if report.torch.get("read_by") == "vitconvert":
        lines.append("torch.load refuses this file: vitconvert's own reader read both sides.")
    first = report.first_diverging
    if first is None:
        worst = max(layer.float64 or 0.0 for layer in report.layers)
        output = report.layers[-1]
        lines += [
            f"float64: largest difference {worst:.1e} of a layer's largest value, limit "
            f"{FLOAT64_LIMIT:.0e}; {output.layer} {output.float64:.1e}",
            f"float32: Paddle's error is at most {_factor(report):.1f} times torch's own, limit "
            f"{FLOAT32_FACTOR:.0f}",
            f"weights: the two files hold exactly the same{_roundings(report)}",
            "PROVED: both checkpoints compute the same function.",
        ]
        return lines
    count = sum(1 for layer in report.layers if layer.verdict != "same")
    lines += [
        f"{count} of {len(report.layers)} outputs are not the same.",
        f"NOT PROVED: first diverging layer: {first.layer} ({first.kind}): {first.verdict}; "
        f"{first.note}.",
    ]
    if first.paddle_layer != first.layer:
        lines.append(f"In Paddle it is called {first.paddle_layer}.")
    return lines


def _roundings(report: Report) -> str:
    """Say which side's weights were rounded to what the other file holds."""
    found = [
        f"those of {name} rounded to {facts['rounded_to']}"
        for name, facts in (("PyTorch", report.torch), ("Paddle", report.paddle))
        if "rounded_to" in facts
    ]
    return ", " + ", ".join(found) if found else ""


def _factor(report: Report) -> float:
    return max(
        (layer.float32_paddle or 0.0) / max(layer.float32_torch or 0.0, FLOAT32_FLOOR)
        for layer in report.layers
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
