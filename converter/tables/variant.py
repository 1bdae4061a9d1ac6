"""Variants: the sizes of a family, and how their images are preprocessed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..checked import expected, frozen
from ..errors import DataError

Shape = tuple[int, ...]
ShapePattern = tuple[int | str, ...]  # the string is "num_classes"
# How images are brought to a model where its table says nothing else: as for ImageNet. Mean and
# standard deviation of red, green and blue, 0..1, are those that nearly all were trained with.
PREPROCESSING: Mapping[str, Any] = {
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
_MOST_SIDE = 99_999  # pixels
IN_PIXELS = expected(
    "[height, width] in pixels",
    lambda size: 0 < min(size) <= max(size) <= _MOST_SIDE,
)
_Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Figures:
    """What a table may say of a released checkpoint, as far as it is used; it may say more."""

    crop_pct: float = field(
        default=1.0, metadata=expected("a number above 0, up to 1", lambda share: 0 < share <= 1)
    )
    crop_mode: Literal["center", "squash"] = "center"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    mean: _Channels = (0, 0, 0)
    std: _Channels = (1, 1, 1)
    top1: float = 0.0
    source: str = ""
    weights: str = ""
    input_size: tuple[int, int] = field(default=(224, 224), metadata=IN_PIXELS)


@dataclass(frozen=True)
class Variant:
    """One set of sizes of a family.

    Attributes:
        name: For example "shunted_s".
        family: The table it belongs to.
        shapes: PyTorch key -> shape; an axis may be "num_classes".
        config: Arguments of `Config` in both model files.
        torch_config: Arguments that timm's model gets beside its name, in a table of timm's.
        input_size: Height and width in pixels.
        published: Of each released checkpoint its figures, with their source.
        own_preprocessing: What differs from PREPROCESSING where no figures are published.
        smallest_image: Height and width in pixels that an image must have at least.
        base: The variant that was published, of one at another size.
    """

    name: str
    family: str
    shapes: Mapping[str, ShapePattern]
    config: Mapping[str, Any]
    input_size: tuple[int, int] = field(metadata=IN_PIXELS)
    published: tuple[Mapping[str, Any], ...] = ()
    own_preprocessing: Mapping[str, Any] = field(default_factory=dict)
    smallest_image: int = 32
    torch_config: Mapping[str, Any] = field(default_factory=dict)
    base: "Variant | None" = None

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse images that the last stage would have nothing left of.

        Raises:
            DataError: Height or width is smaller than `smallest_image`.
        """
        if min(size) < self.smallest_image:
            raise DataError(
                f"{self.name} does not take images of {size[0]}x{size[1]} pixels, expected at "
                f"least {self.smallest_image}x{self.smallest_image}."
            )

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How images become its input: as published, or as the table says; all of PREPROCESSING.

        crop_pct is the share of the shorter side that the crop keeps, 0..1; crop_mode "center" or
        "squash"; interpolation the resize filter; mean and std are of red, green and blue, 0..1.
        """
        known = {**PREPROCESSING, **next(iter(self.published), {}), **self.own_preprocessing}
        return frozen({name: known[name] for name in PREPROCESSING})

    def computes(self, other: "Variant") -> bool:
        """Tell whether another variant is the same function of weights and images."""
        sizes = dict.fromkeys(("num_classes", "img_size"))
        return {**self.config, **sizes} == {**other.config, **sizes}

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return int(self.config.get("in_chans", 3))

    @property
    def num_classes(self) -> int:
        """Classes that the variant was published with; 0 for the backbone of a detector."""
        return int(self.config.get("num_classes", 1000))

    @property
    def has_head(self) -> bool:
        """Whether it can be built with a head, though it may be published without one."""
        return any("num_classes" in shape for shape in self.shapes.values())

    def resolve(self, pattern: ShapePattern, num_classes: int) -> Shape:
        """Put the number of classes into a shape."""
        return tuple(num_classes if isinstance(n, str) else n for n in pattern)
