"""Which entry of [resize] names a tensor."""

from dataclasses import dataclass

from ..checked import shown
from ..errors import ConversionError
from ._resize_sizes import Asked, Sizes
from .patterns import Patterns
from .resize_parsing import STAGE
from .resize_rules import Rules
from .variant import Variant

_CHANNELS = 3  # of an image, where the variant's config does not say


@dataclass(frozen=True)
class Entry:
    """An entry that names a tensor."""

    pattern: str
    functions: tuple[str, ...]
    stage: int | None


class Finder:
    """Finds the entry that names a tensor; each name is looked up once."""

    def __init__(self, rules: Rules) -> None:
        self.patterns = Patterns[tuple[str, tuple[str, ...]]]()
        for pattern, functions in rules.items():
            self.patterns.add(pattern, (pattern, functions))
        self.known: dict[str, Entry | None] = {}

    def __call__(self, key: str) -> Entry | None:
        """Give the first entry that fits."""
        if key not in self.known:
            self.known[key] = self._find(key)
        return self.known[key]

    def _find(self, key: str) -> Entry | None:
        for pattern, (text, functions) in self.patterns.like(key):
            if match := pattern.fullmatch(key):
                stage = match.groupdict().get(STAGE)
                return Entry(text, functions, None if stage is None else int(stage))
        return None


@dataclass(frozen=True)
class Found:
    """The entries of a table, as they apply to one variant."""

    find: Finder
    variant: Variant

    def __call__(self, key: str) -> Entry | None:
        """Give the entry that names a tensor of the variant."""
        return self.find(key) if key in self.variant.shapes else None

    def functions(self, key: str) -> tuple[str, ...]:
        """Name the functions of a tensor."""
        rule = self(key)
        return rule.functions if rule else ()

    @property
    def channels(self) -> int:
        """Channels of an image that the variant was published for."""
        channels = self.variant.config.get("in_chans", _CHANNELS)
        if type(channels) is not int or channels < 1:
            raise ConversionError(
                f"{self.variant.name}: config.in_chans is {shown(channels)}, expected a number "
                f"from 1 on."
            )
        return channels

    def sizes(self, asked: Asked) -> Sizes:
        """Give what the variant was published for; the patch by the kernel that [resize] names."""
        kernels = (
            shape[2:]
            for key, shape in self.variant.shapes.items()
            if len(shape) == 4 and "patch_kernel" in self.functions(key)
        )
        patch = next(((int(h), int(w)) for h, w in kernels), None)
        return Sizes(self.variant.input_size, self.channels, patch, asked)
