"""Write mappings/shapes/<family>.toml from the PyTorch models: `make shapes`.

The converter needs the names and shapes of every variant without importing a framework, so they
are kept as data; tests/test_mappings.py fails when they no longer match the live models.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vitconvert.models import build
from vitconvert.tables import reading
from vitconvert.tables.table import Table
from vitconvert.tables.variant import Variant

Pattern = tuple[int | str, ...]


def shape_patterns(variant: Variant) -> dict[str, Pattern]:
    """Build a variant with two numbers of classes; where a size follows, that axis is named."""
    import torch

    with torch.device("meta"):  # no memory, no initialisation
        sizes = (1000, 7) if variant.num_classes else (0, 0)
        one, two = (build("torch", variant, n).state_dict() for n in sizes)
    return {
        key: tuple(
            n if n == m else "num_classes" for n, m in zip(value.shape, two[key].shape, strict=True)
        )
        for key, value in one.items()
    }


def fold(patterns: dict[str, Pattern]) -> Iterable[tuple[str, Pattern]]:
    """Fold keys that differ in their last number alone into one line with a range."""
    groups: dict[tuple[str, str, Pattern], list[int]] = {}
    plain: list[tuple[str, Pattern]] = []
    for key, shape in patterns.items():
        match = re.fullmatch(r"(.*\.)(\d+)(\..*)", key)
        if match:
            groups.setdefault((match[1], match[3], shape), []).append(int(match[2]))
        else:
            plain.append((key, shape))
    for (head, tail, shape), numbers in groups.items():
        runs: list[list[int]] = []
        for n in sorted(numbers):
            if runs and n == runs[-1][-1] + 1:
                runs[-1].append(n)
            else:
                runs.append([n])
        for run in runs:
            middle = str(run[0]) if len(run) == 1 else f"{{{run[0]}..{run[-1]}}}"
            yield f"{head}{middle}{tail}", shape
    yield from plain


def render(table: Table) -> str:
    """Spell the shapes of all variants of a family in TOML."""
    lines = [
        "# PyTorch key = shape, for every variant; {0..2} stands for 0, 1 and 2.",
        "# Written by `make shapes` from models_torch, and compared with it by the tests.",
    ]
    for variant in table.variants.values():
        lines += ["", f"[{variant.name}]"]
        for key, shape in fold(shape_patterns(variant)):
            axes = ", ".join(str(n) if isinstance(n, int) else f'"{n}"' for n in shape)
            lines.append(f'"{key}" = [{axes}]')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = Path(__file__).parents[2] / "mappings" / "shapes"
    for family in reading.families():
        (folder / f"{family}.toml").write_text(render(reading.load_table(family)))
        print(f"wrote mappings/shapes/{family}.toml")
