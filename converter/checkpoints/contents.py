"""What a checkpoint file holds, before it is decided which of it are the weights."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, nearest, some
from . import unusual
from ._checkpoint import DEEPEST, Checkpoint
from ._describe import describe, name_of, parts
from ._tensor import Tensor
from .selection import (
    WRAPPERS,
    Renames,
    Selection,
    begins,
    check_renames,
    renamed,
    without_words,
)

Keys = tuple[str, ...]

MOST_WORDS = 16  # of a prefix

# A dict that is there several times counts at its first few places, so that a small file that
# repeats one dict within another stays small; no key that leads to weights is longer.
_MOST_PLACES = 4
_LONGEST_KEY = 256
_MOST_TRIED = 2000  # names among which the nearest to a mistyped one is looked for

_PART_PREFIX = "backbone."  # a detector holds neck and heads beside its backbone
# Tensors that are not weights: an optimizer's state, and the counter of torch's AveragedModel.
_OPTIMIZER = ("optim", "opt_")
_COUNTERS = ("n_averaged",)


class Contents:
    """The dicts and tensors of a file.

    Attributes:
        path: The file.
        facts: Format, side, files and metadata, as of the checkpoint.
        entries: Keys that lead to a tensor -> the tensor, in file order; none of an optimizer.
        dicts: Keys that lead to a dict -> the dict.
    """

    def __init__(self, path: Path, tree: Any, **facts: Any) -> None:
        self.path, self.facts, self._tree = path, facts, tree
        self.entries: dict[Keys, Tensor] = {}
        self.dicts: dict[Keys, dict[Any, Any]] = {}
        self._known: dict[Keys, dict[Keys, int]] = {}  # what looks like a model, by where to look
        places: Counter[int] = Counter()
        left: list[tuple[Keys, Any]] = [((), tree)] if isinstance(tree, dict) else []
        while left:
            keys, found = left.pop()
            places[id(found)] += 1
            if places[id(found)] <= _MOST_PLACES:
                self.dicts[keys] = found
                left += reversed(list(self._enter(keys, found)))

    def _enter(self, keys: Keys, tree: dict[Any, Any]) -> Iterator[tuple[Keys, dict[Any, Any]]]:
        """Take the tensors of a dict, and give the dicts within it."""
        for key, value in tree.items():
            if not isinstance(key, str):
                continue
            if isinstance(value, Tensor):
                self.entries[*keys, key] = value
            elif isinstance(value, dict) and len(keys) < DEEPEST and _may_lead(key):
                yield (*keys, key), value

    def select(self, chosen: Selection, options: Iterable[str] = ()) -> Checkpoint:
        """Give the tensors of a selection as a checkpoint.

        Raises:
            CheckpointError: There are none, two get one name, or a rename finds nothing.
        """
        places, used = self._places(chosen)
        self._check_used(chosen, used)
        tensors = {name: self.entries[keys] for name, keys in places.items()}
        if not tensors:
            tree = self.dicts.get(chosen.wrapper, self._tree)
            raise CheckpointError(
                f"{self.path}: holds no named tensors. Expected a state dict, or a dict with one "
                f"under a key such as 'model'; found {describe(tree)}.{unusual.advice(tree)}"
            )
        taken, options = set(places.values()), tuple(options)
        skipped, beside = self._others(chosen, taken, set(options))
        return Checkpoint(
            path=self.path,
            tensors=tensors,
            wrapper=chosen.wrapper,
            prefix=chosen.prefix,
            beside=beside,
            options=options,
            skipped=skipped,
            selection=chosen,
            sources=places,
            outside={".".join(k): t for k, t in self.entries.items() if k not in taken},
            **self.facts,
        )

    def names(self, chosen: Selection) -> dict[str, Keys]:
        """Give the names of a selection, each with the keys that lead to its tensor.

        Raises:
            CheckpointError: Two tensors get one name.
        """
        return self._places(chosen)[0]

    def _places(self, chosen: Selection) -> tuple[dict[str, Keys], set[str]]:
        """Give names and keys of a selection, and the renames that found something."""
        places: dict[str, Keys] = {}
        used: set[str] = set()
        depth, roots = len(chosen.wrapper), list(chosen.roots())
        lone = frozenset(chosen.lone)
        without: dict[str, list[str]] = {}  # by the first word, because there may be many
        for one in chosen.without:
            without.setdefault(one.partition(".")[0], []).append(one)
        for keys in self.entries:
            inside = keys[:depth] == chosen.wrapper and (chosen.nested or len(keys) == depth + 1)
            own = ".".join(keys[depth:]) if inside else ""
            name = own[len(chosen.prefix) :] if inside and own.startswith(chosen.prefix) else None
            if name is not None:
                name = without_words(name, chosen.inner)
            if chosen.rename:
                full = ".".join(keys)
                known = [full[len(root) :] for root in roots if full.startswith(root)]
                known += [without_words(one, chosen.inner) for one in known if chosen.inner]
                if found := renamed(known, chosen.rename):
                    name, old = found
                    used.add(old)
            out = without.get(name.partition(".")[0], ()) if name is not None else ()
            if name is None or name in lone or any(begins(name, one) for one in out):
                continue
            if name in places:
                both = sorted(map(".".join, (places[name], keys)))
                raise CheckpointError(
                    f"{self.path}: two tensors would be called {name!r}: {' and '.join(both)}. "
                    f"Choose other names with --rename, or the weights with --weights."
                )
            places[name] = keys
        return places, used

    def _check_used(self, chosen: Selection, used: set[str]) -> None:
        """Refuse a rename that finds nothing."""
        for old, new in chosen.rename:
            if old not in used:
                known = islice(dict.fromkeys(self._beginnings(chosen)), _MOST_TRIED)
                raise CheckpointError(
                    f"{self.path}: --rename {old}={new} finds no tensor: no name begins with "
                    f"{old!r}.{nearest(old, known)} See the names: vitconvert inspect FILE"
                )

    def _beginnings(self, chosen: Selection) -> Iterator[str]:
        """Give what the names of the file begin with, within the weights and outside."""
        for keys in islice(self.entries, _MOST_TRIED):
            full = ".".join(keys)
            for root in chosen.roots():
                words = full.removeprefix(root).split(".", 4)
                yield from (".".join(words[:n]) for n in range(1, min(len(words), 4) + 1))

    def _others(
        self, chosen: Selection, taken: set[Keys], options: set[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Describe what is not taken: among the names, and beside them."""
        beside: dict[str, str] = {}
        within = {keys[:depth] for keys in taken for depth in range(1, len(keys))}
        for depth in range(len(chosen.wrapper)):
            at = chosen.wrapper[:depth]
            for key, value in self.dicts[at].items():
                full = ".".join((*at, key)) if isinstance(key, str) else ""
                if (*at, key) not in within and full not in options:
                    beside[name_of(key)] = describe(value)
        at, skipped, rest = chosen.wrapper, dict[str, str](), list[str]()
        whole = all(word in WRAPPERS for word in chosen.prefix.split(".")[:-1])
        for key, value in self.dicts.get(at, {}).items():
            if not isinstance(key, str):
                skipped[name_of(key)] = describe(value)
                continue
            if (*at, key) in taken or (*at, key) in within or ".".join((*at, key)) in options:
                continue
            under = key.startswith(chosen.prefix)
            name = key.removeprefix(chosen.prefix)
            if isinstance(value, Tensor):
                if "." in key or key.startswith("ema_"):
                    rest.append(name if under else key)
                else:
                    beside[name_of(key)] = describe(value)
            elif under or (whole and (*at, key) not in self.dicts):
                skipped[name_of(name)] = describe(value)
            else:
                rest.append(key)
        return skipped, beside | parts(rest)

    def guess(
        self, base: Selection | None = None, lenient: bool = False
    ) -> tuple[Selection, tuple[str, ...]]:
        """Choose by the looks of the names alone: "model", or the only one, without wrappers.

        Args:
            base: Where to look; everywhere if None.
            lenient: Whether to take the largest where several look alike.

        Returns:
            What is chosen, and the paths of the others.

        Raises:
            CheckpointError: There are several, and none is called "model".
        """
        base = base or Selection()
        if base.prefix:
            names = [k[-1] for k in self.entries if k[:-1] == base.wrapper]
            under = [n.removeprefix(base.prefix) for n in names if n.startswith(base.prefix)]
            return Selection(base.wrapper, base.prefix + usual_prefix(under)), ()
        if base.wrapper not in self._known:
            self._known[base.wrapper] = self._states(base.wrapper)
        at, options, states = base.wrapper, list[str](), self._known[base.wrapper]
        while at not in states:
            inner = list(dict.fromkeys(k[: len(at) + 1] for k in states if k[: len(at)] == at))
            if not inner:
                return Selection(base.wrapper), ()
            key = (*at, "model")
            if key not in inner:
                if len(inner) > 1 and not lenient:
                    names = [".".join(one) for one in inner]
                    raise CheckpointError(
                        f"{self.path}: holds weights under several keys: "
                        f"{some(list(map(repr, names)))}. Choose one with --weights KEY."
                    ).asking("--weights", side=self.facts.get("side"))
                sizes: Counter[Keys] = Counter()
                for keys, count in states.items():
                    sizes[keys[: len(at) + 1]] += count
                key = max(inner, key=lambda one: sizes[one])
            options += [".".join(one) for one in inner if one != key]
            at = key
        deeper = (k[: len(at) + 1] for k in states if k[: len(at)] == at and k != at)
        options += dict.fromkeys(map(".".join, deeper))
        names = [keys[-1] for keys in self.entries if keys[:-1] == at]
        loners = {n for n in names if "." not in n and self._count((*at, n)) <= 1}
        own = [name for name in names if name not in loners]
        counters = [name for name in _COUNTERS if name in loners and own]
        prefix = usual_prefix(own or names)
        lone = tuple(counters) if not prefix else ()
        return Selection(at, prefix, lone=lone), tuple(options)

    def _count(self, keys: Keys) -> int:
        """Count the elements of a tensor, as far as two."""
        shape = self.entries[keys].shape
        return 0 if 0 in shape else min(2, max(shape, default=1))

    def _states(self, base: Keys) -> dict[Keys, int]:
        """Find the dicts whose tensors look like a model: the place of each, and their number.

        Names of layers have dots. A metric, a criterion or a schedule beside a model has few
        tensors; they count only where there is nothing better.
        """
        layers, named, sized = Counter[Keys](), Counter[Keys](), Counter[Keys]()
        for keys in self.entries:
            if keys[: len(base)] == base:
                named[keys[:-1]] += 1
                layers[keys[:-1]] += "." in keys[-1]
                sized[keys[:-1]] += self._count(keys) > 1
        for counts in (layers, sized):
            largest = max(counts.values(), default=0)
            found = {k: n for k, n in counts.items() if n and 10 * n >= largest and sized[k]}
            if found:
                return found
        return dict(named)

    def find(self, weights: str) -> Selection:
        """Find the weights that a user asks for: a path through dicts and names, or its end.

        Raises:
            CheckpointError: Nothing is there, or it may be several things.
        """
        ends: Counter[str] = Counter()
        split: dict[str, tuple[Keys, str]] = {}
        for keys in self.entries:
            full = ".".join(keys)
            if begins(full, weights) and full != weights:
                at = 0
            elif (at := full.find(f".{weights}.") + 1) == 0:
                continue
            end = full[: at + len(weights)]
            if end not in split:
                split[end] = _split(keys, end)
            ends[end] += 1
        chosen = weights if weights in ends else next(iter(ends), None)
        if chosen is None:
            raise CheckpointError(self._not_there(weights))
        if chosen != weights and len(ends) > 1:
            names = some([repr(end) for end in ends])
            raise CheckpointError(
                f"{self.path}: {weights!r} is in it several times: under {names}. Choose one with "
                f"--weights, by its whole path."
            )
        return Selection(*split[chosen])

    def _not_there(self, weights: str) -> str:
        found, options = self.guess(lenient=True)
        known = [*([".".join(found.wrapper)] if found.wrapper else []), *options]
        where = f"under {', '.join(map(repr, known))}" if known else "at the top level"
        hint = nearest(weights, [*known, *self._tops()])
        advice = "" if known or hint else ": leave out --weights"
        return (
            f"{self.path}: no weights under {weights!r}; the file has them {where}{advice}.{hint}"
        )

    def _tops(self) -> Iterator[str]:
        """Give the first word of every name."""
        for keys in islice(self.entries, _MOST_TRIED):
            words = ".".join(keys).split(".", 3)
            yield from (".".join(words[:n]) for n in range(1, len(words)))


def _may_lead(key: str) -> bool:
    """Tell whether weights may lie under a key."""
    return len(key) <= _LONGEST_KEY and key != "opt" and not key.startswith(_OPTIMIZER)


def _split(keys: Keys, end: str) -> tuple[Keys, str]:
    """Divide a path into the keys of dicts, and the prefix of the names in the last one."""
    wrapper: Keys = ()
    for key in keys[:-1]:
        if not begins(end, ".".join((*wrapper, key))):
            break
        wrapper = (*wrapper, key)
    rest = end[len(".".join(wrapper)) :].lstrip(".") if wrapper else end
    return wrapper, f"{rest}." if rest else ""


def usual_prefix(names: Iterable[str]) -> str:
    """Find the prefix that wrappers gave to all names, or that of a backbone.

    A backbone's prefix counts if one name in ten has it, because the rest of the detector may be
    larger than the backbone; a stray name in another model does not count.
    """
    names, prefix = list(names), ""
    while names and prefix.count(".") < MOST_WORDS // 2:
        word = names[0].partition(".")[0]
        found = f"{word}."
        if word not in WRAPPERS or not all(name.startswith(found) for name in names):
            found = _PART_PREFIX
            if 10 * sum(name.startswith(found) for name in names) < len(names):
                break
        names = [name.removeprefix(found) for name in names if name.startswith(found)]
        prefix += found
    return prefix


def choose(
    contents: Contents, weights: str | None = None, rename: Renames | None = None
) -> Checkpoint:
    """Choose by the looks of the names alone, or what a user asks for.

    Raises:
        CheckpointError: As of `open_checkpoint`.
    """
    base = None if weights is None else contents.find(weights)
    found, options = contents.guess(base)
    return contents.select(replace(found, rename=check_renames(rename)), options)
