"""Which tensors of a file are the weights, and what they are called."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError

Renames = Mapping[str, str]

# Words that wrappers of a model put into names: DistributedDataParallel, torch.compile, FSDP,
# activation checkpoints, Lightning's strategies, and Paddle's DataParallel.
WRAPPERS = (
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "_layers",
)


@dataclass(frozen=True)
class Selection:
    """The tensors of a file that are taken as the weights. Travels to workers as JSON.

    Attributes:
        wrapper: Keys of the dicts that lead to them.
        prefix: Beginning of their names, which is removed; ends in a dot if there is any.
        nested: Whether dicts within that dict are parts of the names, too.
        inner: Words removed wherever they are in a name, such as "_fsdp_wrapped_module".
        rename: Beginnings of names, and what takes their place: (old, new), from anywhere in
            the file into the weights.
        without: Beginnings of names that are left out.
        lone: Whole names that are left out: a metric may be called as a layer is.
        headless: Whether the head is among those, on purpose.
        resized: Image size that they are then resized to.
        new_head: Classes of the head that is then made anew; 0 if it stays.
        spelling: Dialect or target whose names these are then; those of the table if empty.
    """

    wrapper: tuple[str, ...] = ()
    prefix: str = ""
    nested: bool = False
    inner: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    lone: tuple[str, ...] = ()
    headless: bool = False
    spelling: str = ""
    resized: str = ""
    new_head: int = 0

    @property
    def path(self) -> str:
        """The keys and the prefix in one, as --weights takes them; "" for the whole file."""
        return ".".join([*self.wrapper, *([self.prefix[:-1]] if self.prefix else [])])

    def facts(self) -> dict[str, str]:
        """Describe it for a report; nothing where all of the file was taken as it is."""
        found = {
            "weights_under": self.path,
            "removed_within_names": ", ".join(self.inner),
            "renamed": ", ".join(f"{old}={new}" for old, new in self.rename),
            "left_out": ", ".join((*self.without, *self.lone)),
            "head": "dropped on purpose" if self.headless else "",
            "names_of": self.spelling,
            "resized_to": self.resized,
            "new_head": f"{self.new_head} classes, not trained" if self.new_head else "",
        }
        return {name: text for name, text in found.items() if text}

    def roots(self) -> Iterator[str]:
        """Give the beginnings of full names after which a rename may start: "", then deeper."""
        root = ""
        yield root
        for word in (*self.wrapper, *self.prefix.split(".")[:-1]):
            root += f"{word}."
            yield root


def read_selection(data: Mapping[str, Any]) -> Selection:
    """Make a selection of what came as JSON."""
    lists = {key: tuple(data[key]) for key in ("wrapper", "inner", "without", "lone")}
    pairs = tuple((old, new) for old, new in data["rename"])
    return Selection(**{**data, **lists, "rename": pairs})


def check_renames(rename: Renames | None) -> tuple[tuple[str, str], ...]:
    """Bring renames into the order in which they are tried: the longest beginning first.

    Raises:
        CheckpointError: One has no beginning to find, or nothing to put there.
    """
    pairs = [(old.strip("."), new.strip(".")) for old, new in (rename or {}).items()]
    for old, new in pairs:
        if not (old and new):
            raise CheckpointError(
                f"--rename {old}={new}: expected OLD=NEW, beginnings of names, such as fc=head."
            )
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


def begins(name: str, beginning: str) -> bool:
    """Tell whether a name begins with whole words of another one."""
    return name.startswith(beginning) and name[len(beginning) :][:1] in ("", ".")


def renamed(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """Give what a tensor is renamed to, and by which beginning; None if by none.

    Args:
        names: What it may be called: within the weights, or from the top of the file.
        pairs: Those of `check_renames`.
    """
    for old, new in pairs:
        for name in names:
            if begins(name, old):
                return new + name[len(old) :], old
    return None


def without_words(name: str, words: Sequence[str]) -> str:
    """Remove whole words from a name."""
    if not any(word in name for word in words):
        return name
    return ".".join(part for part in name.split(".") if part not in words)
