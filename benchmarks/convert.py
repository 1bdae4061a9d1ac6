"""Run the command line of vitconvert with one more family, defined in vit_large.toml.

    python benchmarks/convert.py vit_large --src S --dst D --no-parity

The package has no table of a plain vision transformer. This script replaces the two functions that
find tables before anything imports them by name; start-up, planning, writing and reading back are
those of the `vitconvert` command.
"""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from shapes import SHAPES

from vitconvert.tables import reading
from vitconvert.tables.table import Table

FAMILY = "vit_large"

_families, _load_table = reading.families, reading.load_table


@cache
def load_table(family: str) -> Table:
    """Give the benchmark's table, or one of the package's."""
    if family != FAMILY:
        return _load_table(family)
    data = tomllib.loads(Path(__file__).with_name("vit_large.toml").read_text(encoding="utf-8"))
    kinds = (files("vitconvert.mappings") / "_kinds.toml").read_text(encoding="utf-8")
    return reading.parse_table(f"{FAMILY}.toml", data, tomllib.loads(kinds) | data["kinds"], SHAPES)


reading.families = lambda: sorted({*_families(), FAMILY})
reading.load_table = load_table

if __name__ == "__main__":
    from vitconvert.cli import main

    main()
