"""Mapping tables: TOML -> Table, checked.

A table pairs the layers of two implementations. It is data: reading one imports no framework.
"""

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ._errors import ModelError, TableError, listing
from ._kinds import Kind, Side, TensorRule, parse_kind

CASTS = ("float32", "float16", "bfloat16")  # what weights can be cast to
Shape = tuple[int, ...]
ShapePattern = tuple[int | str, ...]  # the string is "num_classes"

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")

# How pictures are brought to a model where its table says nothing else: as for ImageNet. Mean and
# standard deviation of red, green and blue, 0..1, are those that nearly all were trained with.
PREPROCESSING: Mapping[str, Any] = {
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}

# What a table must have.
_FIELDS = {
    "family": str,
    "title": str,
    "source": str,
    "rows": list,
    "ignore": dict,
    "variants": dict,
}


@dataclass(frozen=True)
class Row:
    """One line of a table: where a layer lives in each model, and what it is."""

    number: int
    torch: str
    paddle: str
    kind: Kind

    @cached_property
    def _patterns(self) -> dict[Side, re.Pattern[str]]:
        return {"torch": compile_pattern(self.torch), "paddle": compile_pattern(self.paddle)}

    def name_on(self, side: Side) -> str:
        """Give the pattern of one side."""
        return self.torch if side == "torch" else self.paddle

    def pair(self, side: Side, layer: str) -> tuple[str, str] | None:
        """Give the (torch, paddle) names of a layer if this row describes it."""
        match = self._patterns[side].fullmatch(layer)
        if match is None:
            return None
        return self.torch.format(**match.groupdict()), self.paddle.format(**match.groupdict())


@dataclass(frozen=True)
class Claim:
    """A row's word on one tensor: key `source` becomes `target`, None when dropped."""

    row: Row
    rule: TensorRule
    source: str
    target: str | None


@dataclass(frozen=True)
class Variant:
    """One set of sizes of a family.

    Attributes:
        name: For example "shunted_s".
        family: The table it belongs to.
        config: Arguments of `Config` in both model files.
        input_size: Height and width in pixels.
        published: Of each released checkpoint its figures, with their source.
        shapes: PyTorch key -> shape; an axis may be "num_classes".
        own_preprocessing: What differs from PREPROCESSING where no figures are published.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    input_size: tuple[int, int]
    published: tuple[Mapping[str, Any], ...]
    shapes: Mapping[str, ShapePattern]
    own_preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How pictures become its input: as published, or as the table says; all of PREPROCESSING.

        crop_pct is the share of the shorter side that the crop keeps, 0..1; crop_mode "center" or
        "squash"; interpolation the resize filter; mean and std are of red, green and blue, 0..1.
        """
        known = {**next(iter(self.published), {}), **self.own_preprocessing}
        return {name: _frozen(known.get(name, value)) for name, value in PREPROCESSING.items()}

    @property
    def num_classes(self) -> int:
        """Classes that the variant was published with; 0 for the backbone of a detector."""
        return int(self.config.get("num_classes", 1000))

    def resolve(self, pattern: ShapePattern, num_classes: int) -> Shape:
        """Put the number of classes into a shape."""
        return tuple(num_classes if isinstance(n, str) else n for n in pattern)


@dataclass(frozen=True)
class Table:
    """The rows and variants of one family."""

    family: str
    file: str
    title: str
    source: str
    rows: tuple[Row, ...]
    ignore: Mapping[str, str]
    variants: Mapping[str, Variant]
    input_size: tuple[int, int] | None = None  # pixels, of a table without variants
    output: Kind | None = None  # of the whole model, where its own code needs a limit

    @cached_property
    def _claimants(self) -> dict[str, list[tuple[re.Pattern[str], Row, TensorRule]]]:
        """Rows and rules by the skeleton of the keys they can claim, so that a look-up is short."""
        claimants: dict[str, list[tuple[re.Pattern[str], Row, TensorRule]]] = {}
        for row in self.rows:
            for rule in row.kind.tensors:
                key = _join(row.torch, rule.leaf)
                claimants.setdefault(_skeleton(key), []).append((compile_pattern(key), row, rule))
        return claimants

    def claims(self, key: str) -> list[Claim]:
        """List every row that claims a PyTorch key; a sound table gives one, or none."""
        found = []
        for pattern, row, rule in self._claimants.get(_skeleton(key), []):
            if match := pattern.fullmatch(key):
                target = None
                if rule.paddle is not None:
                    target = _join(row.paddle, rule.paddle).format(**match.groupdict())
                found.append(Claim(row, rule, key, target))
        return found

    def ignored(self, key: str) -> str | None:
        """Give the reason why a key is left out, or None if it is not."""
        reasons = (
            why for pattern, why in self.ignore.items() if compile_pattern(pattern).fullmatch(key)
        )
        return next(reasons, None)

    def parameters(self, variant: Variant) -> int:
        """Count the trained numbers of a variant with its published number of classes."""
        return sum(
            math.prod(variant.resolve(shape, variant.num_classes))
            for key, shape in variant.shapes.items()
            for claim in self.claims(key)
            if claim.target is not None and not claim.rule.buffer
        )

    def layers(self, side: Side, names: Iterable[str]) -> dict[str, tuple[str, str, Kind]]:
        """Pair the layers of one live model: own name -> (torch name, paddle name, kind)."""
        paired: dict[str, tuple[str, str, Kind]] = {}
        for name in names:
            for row in self.rows:
                if (pair := row.pair(side, name)) is not None:
                    paired[name] = (*pair, row.kind)
        return paired


def families() -> list[str]:
    """Name the families there are tables for, in alphabetical order."""
    names = (entry.name for entry in files("vitconvert.mappings").iterdir())
    return sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml") and n[0] != "_")


def variants() -> dict[str, Variant]:
    """Give every variant of every family by name."""
    return {name: v for family in families() for name, v in load_table(family).variants.items()}


def find_variant(name: str) -> tuple[Table, Variant]:
    """Give a variant and the table of its family.

    Raises:
        ModelError: No table has a variant of that name.
    """
    variant = variants().get(name)
    if variant is None:
        raise ModelError(f"no variant is called {name!r}. There are: {', '.join(variants())}.")
    return load_table(variant.family), variant


@cache
def load_table(family: str) -> Table:
    """Read and check the table of a family.

    Raises:
        TableError: The table is malformed; all problems are listed.
    """
    folder = files("vitconvert.mappings")
    shapes = folder / "shapes" / f"{family}.toml"
    return parse_table(
        f"{family}.toml",
        _read(folder / f"{family}.toml"),
        _read(folder / "_kinds.toml"),
        _read(shapes) if shapes.is_file() else {},
    )


def read_table(path: Path) -> Table:
    """Read and check a table of the user's own: rows, and what else it wants to say.

    Unlike ours it needs neither variants nor a title, and it may have [kinds] of its own.

    Raises:
        TableError: The file cannot be read, or the table is malformed; all problems are listed.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as a table: {error}.") from error
    own = {"family": path.stem, "title": path.stem, "source": "", "ignore": {}, "variants": {}}
    kinds = _read(files("vitconvert.mappings") / "_kinds.toml")
    found = data.get("kinds", {})
    if not (isinstance(found, dict) and all(isinstance(kind, dict) for kind in found.values())):
        raise TableError(f"{path}: [kinds] is {found!r}; expected a table of kinds.")
    return parse_table(str(path), own | data, kinds | found, {})


@cache
def read_kinds() -> dict[str, Kind]:
    """Read every kind of layer that our tables know, by name.

    Raises:
        TableError: _kinds.toml is malformed.
    """
    problems: list[str] = []
    data = _read(files("vitconvert.mappings") / "_kinds.toml")
    kinds = {name: parse_kind(name, entry, problems) for name, entry in data.items()}
    if problems:
        raise TableError(listing("_kinds.toml cannot be used:", problems))
    return kinds


def parse_table(
    file: str, data: Mapping[str, Any], kind_data: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Table:
    """Check the parsed TOML of a table and make a Table of it.

    Args:
        file: Name to use in errors.
        data: The table itself.
        kind_data: Content of _kinds.toml.
        shapes: Variant -> PyTorch key pattern -> shape, content of shapes/<family>.toml.

    Raises:
        TableError: All problems found, in one message.
    """
    problems = [
        f"{name!r} is {data.get(name)!r}, expected a {kind.__name__}."
        for name, kind in _FIELDS.items()
        if not isinstance(data.get(name), kind)
    ]
    if problems:
        raise TableError(listing(f"{file} cannot be used:", problems))
    kinds = {name: parse_kind(name, entry, problems) for name, entry in kind_data.items()}
    rows, seen = [], set[tuple[str, str]]()
    for number, entry in enumerate(data["rows"], 1):
        if not (
            isinstance(entry, list) and len(entry) == 3 and all(isinstance(x, str) for x in entry)
        ):
            problems.append(f"row {number}: expected [torch, paddle, kind], found {entry}.")
            continue
        torch, paddle, kind = entry
        where = f"row {number} ({torch})"
        if kind not in kinds:
            problems.append(f"{where}: kind {kind!r} is unknown; there are {', '.join(kinds)}.")
            continue
        if set(_PLACEHOLDER.findall(torch)) != set(_PLACEHOLDER.findall(paddle)):
            problems.append(f"{where}: {paddle!r} does not have the same {{placeholders}}.")
        if re.search(r"[{}]", _PLACEHOLDER.sub("", torch + paddle)):
            problems.append(f"{where}: a placeholder is a name in braces, such as {{i}}.")
        for side, name in (("torch", torch), ("paddle", paddle)):
            if (side, name) in seen:
                problems.append(f"{where}: an earlier row describes the same {side} layer, {name}.")
            seen.add((side, name))
        rows.append(Row(number, torch, paddle, kinds[kind]))
    problems += [
        f"[ignore] {key!r} has no reason."
        for key, why in data["ignore"].items()
        if not (why and isinstance(why, str))
    ]
    for name, variant in data["variants"].items():
        size = variant.get("input_size") if isinstance(variant, dict) else None
        if not (
            isinstance(size, list) and len(size) == 2 and isinstance(variant.get("config"), dict)
        ):
            problems.append(f"variant {name}: expected input_size = [height, width] and config.")
    if problems:
        raise TableError(listing(f"{file} cannot be used:", problems))
    size = data.get("input_size")
    if size is not None and not _is_size(size):
        problems.append(f"input_size is {size!r}, expected [height, width] in pixels.")
        raise TableError(listing(f"{file} cannot be used:", problems))
    output = data.get("output")
    if output is not None and output not in kinds:
        raise TableError(f"{file}: output is {output!r}, expected a kind: {', '.join(kinds)}.")
    family = data["family"]
    return Table(
        family=family,
        file=file,
        title=data["title"],
        source=data["source"],
        rows=tuple(rows),
        ignore=data["ignore"],
        variants={
            name: _parse_variant(name, family, entry, shapes.get(name, {}))
            for name, entry in data["variants"].items()
        },
        input_size=None if size is None else (size[0], size[1]),
        output=None if output is None else kinds[output],
    )


def _is_size(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(type(side) is int and side > 0 for side in value)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _parse_variant(
    name: str, family: str, entry: Mapping[str, Any], shapes: Mapping[str, list[int | str]]
) -> Variant:
    height, width = entry["input_size"]
    expanded = {key: tuple(shape) for p, shape in shapes.items() for key in _expand(p)}
    return Variant(
        name,
        family,
        entry["config"],
        (height, width),
        tuple(entry.get("published", ())),
        expanded,
        entry.get("preprocessing", {}),
    )


def _read(file: Traversable) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _join(layer: str, leaf: str) -> str:
    return f"{layer}.{leaf}" if leaf else layer


def _expand(pattern: str) -> Iterator[str]:
    """Expand one inclusive range: "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    for i in range(int(match[1]), int(match[2]) + 1):
        yield pattern[: match.start()] + str(i) + pattern[match.end() :]


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn a key pattern into a regular expression for the whole key; {x} is one integer."""
    names, parts = set[str](), []
    for i, part in enumerate(_PLACEHOLDER.split(pattern)):
        if i % 2 == 0:
            parts.append(re.escape(part))
        elif part in names:
            parts.append(f"(?P={part})")
        else:
            names.add(part)
            parts.append(f"(?P<{part}>[0-9]+)")
    return re.compile("".join(parts))


def _skeleton(key: str) -> str:
    return re.sub(r"[0-9]+", "#", _PLACEHOLDER.sub("#", key))
