"""Print the names and shapes of a target's own models, for tests/data/names/<target>.toml.

    .venv-audit/bin/python tests/tools/target_names.py pvt_v2 paddleclas

The models have 1000 classes and take no memory.
"""

import sys
from collections.abc import Iterator

import paddle

from vitconvert.commands.shapes import spell_shapes
from vitconvert.running.foreign import build_foreign
from vitconvert.tables.border import find_names
from vitconvert.tables.reading import load_table
from vitconvert.tables.variant import Shape


def theirs(family: str, target: str) -> Iterator[tuple[str, dict[str, Shape]]]:
    """Give the shapes of every model that a target names, by variant."""
    table = load_table(family)
    names = find_names(table, "paddle", target)
    for variant in names.models:
        with paddle.LazyGuard():
            state = build_foreign(names, table.variants[variant], 1000).state_dict()
        yield variant, {key: tuple(value.shape) for key, value in state.items()}


if __name__ == "__main__":
    print("\n".join(spell_shapes(theirs(*sys.argv[1:]))))
