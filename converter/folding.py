"""Long lists of names of tensors, folded by their numbers: layers.{i}.attn.weight (24 tensors)."""

from collections.abc import Iterable

_LETTERS = "ijklmn"


def fold(names: Iterable[str], most: int) -> list[tuple[str, list[str]]]:
    """Fold names to at most so many patterns.

    Numbers become {i}, {j} …; where that is not enough, the ends of the names become "…".

    Args:
        names: With dots between their words.
        most: Number of patterns, if the names have few enough first words.

    Returns:
        Pattern -> its names, in the order of the names; one name alone is its own pattern.
    """
    words = {name: _words(name) for name in names}
    longest = max(map(len, words.values()), default=0)
    found: dict[tuple[str, ...], list[str]] = {}
    for length in range(min(longest, 32), 0, -1):
        found = {}
        for name, own in words.items():
            short = own if len(own) <= length else (*own[:length], "…")
            found.setdefault(short, []).append(name)
        if len(found) <= most or length == 1:
            break
    return [(".".join(pattern) if len(own) > 1 else own[0], own) for pattern, own in found.items()]


def folded(names: Iterable[str], most: int) -> list[str]:
    """Spell folded names, with their numbers, in at most so many lines and one more."""
    found = fold(names, most)
    lines = [f"{pattern}{count(len(own))}" for pattern, own in found[:most]]
    if len(found) > most:
        lines.append(f"and {sum(len(own) for _, own in found[most:])} more")
    return lines


def count(number: int) -> str:
    """Say how many tensors a pattern stands for; nothing for one."""
    return f" ({number} tensors)" if number > 1 else ""


def _words(name: str) -> tuple[str, ...]:
    """Give the words of a name, with a placeholder for each number."""
    found, numbers = list[str](), 0
    for word in name.split("."):
        if word.isascii() and word.isdigit():
            word = f"{{{_LETTERS[min(numbers, len(_LETTERS) - 1)]}}}"
            numbers += 1
        found.append(word)
    return tuple(found)
