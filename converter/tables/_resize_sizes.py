"""What a resizing is about: the sizes that are asked, a tensor, and what becomes of it."""

from dataclasses import dataclass
from typing import Any

from ..errors import ConversionError
from .variant import Shape

Grid = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Asked:
    """What the user wants to be otherwise; None where nothing changes.

    Attributes:
        image_size: Height and width in pixels.
        in_chans: Channels of an image.
        patch_size: Height and width of a patch in pixels.
        window: Height and width of an attention window in tokens.
    """

    image_size: Grid | None = None
    in_chans: int | None = None
    patch_size: Grid | None = None
    window: Grid | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that a model of that size is built with, in either framework."""
        found: dict[str, Any] = {}
        if self.image_size is not None:
            found["img_size"] = list(self.image_size)
        if self.in_chans is not None:
            found["in_chans"] = self.in_chans
        for name, size in (("patch_size", self.patch_size), ("window_size", self.window)):
            if size is not None:
                found[name] = size[0] if size[0] == size[1] else list(size)
        return found

    @property
    def grid(self) -> bool:
        """Whether anything is asked that grids of tokens depend on."""
        return any((self.image_size, self.patch_size, self.window))


@dataclass(frozen=True)
class Sizes:
    """What a variant was published for, and what is asked.

    Attributes:
        image: Height and width in pixels that its own shapes are for.
        channels: Of an image.
        patch: Height and width of its patch kernel in pixels; None if [resize] names none.
        asked: What shall be otherwise.
    """

    image: Grid
    channels: int
    patch: Grid | None
    asked: Asked

    @property
    def new_image(self) -> Grid:
        """The image size that is wanted."""
        return self.asked.image_size or self.image

    @property
    def new_patch(self) -> Grid | None:
        """The patch size that is wanted."""
        return self.asked.patch_size or self.patch


@dataclass(frozen=True)
class Subject:
    """One tensor that may change.

    Attributes:
        key: Its PyTorch name.
        shape: What it has.
        own: What the variant has there.
        stage: Number of its stage, if its name says so.
    """

    key: str
    shape: Shape
    own: Shape
    stage: int | None = None

    def refused(self, what: str) -> ConversionError:
        """Make an error about it."""
        return ConversionError(f"{self.key} {list(self.shape)}: {what}")


@dataclass(frozen=True)
class Change:
    """What one function does to one tensor.

    Attributes:
        shape: What it will have.
        old: Its grid, window, patch or number of channels.
        new: The same afterwards.
        kept: Tokens or rows that stay as they are.
        what: All this for people.
    """

    shape: Shape
    old: tuple[int, ...]
    new: tuple[int, ...]
    kept: int
    what: str


def by(grid: tuple[int, ...]) -> str:
    """Spell lengths: 14x14."""
    return "x".join(map(str, grid))
