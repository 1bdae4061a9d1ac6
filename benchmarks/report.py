"""What the benchmarks share: tables that are valid Markdown, printed and saved beside the data."""

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent.parent / "build" / "bench"
RESULTS.mkdir(parents=True, exist_ok=True)
QUICK = "--quick" in sys.argv[1:]
CORES = os.cpu_count()


def new_table(first: str, *others: str) -> Table:
    """Make a table with names in its first column and figures in the others."""
    table = Table(box=MARKDOWN)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def machine() -> str:
    """Spell the system and the versions."""
    versions = [f"{name} {version(name)}" for name in ("numpy", "torch", "paddlepaddle")]
    return " ".join([platform.platform(), "Python", platform.python_version(), *versions])


def publish(name: str, data: Any, *parts: str | Table) -> None:
    """Print lines and tables, and save them as <name>.md, the data as <name>.json."""
    console = Console(record=True, width=140, highlight=False)
    for part in parts:
        console.print(part)
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(console.export_text(), encoding="utf-8")
