"""Images and a model -> where the model looked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import DataError, nearest, some
from ...images import Preprocessing, known_classes, open_image, preprocessing_of
from ...running.device import Device
from ...sides import Side
from ...tables.reading import find_variant
from ._hiding import default_window, lime, occlusion, places, require_lime
from ._model import MEASURES, Classifier, Measure, load_classifier, probabilities, scores

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...terminal import Progress

Method = Literal["occlusion", "lime"]

_LOG = logging.getLogger("vitconvert")
_LIME = "LIME"  # as it is called in words


@dataclass(frozen=True)
class Options:
    """How to explain.

    Attributes:
        method: "occlusion" slides a grey window; "lime" hides random sets of segments.
        measure: Measure of the answer: "probability" or "log-odds".
        window: Side of occlusion's window, in pixels; a fifth of the shorter side if None.
        stride: Step of that window, in pixels; a quarter of the window if None.
        samples: Samples of LIME.
        seed: Seed of LIME; occlusion draws nothing at random.
        batch_size: Images that the model is given at once.
        exif: Whether images are turned as their EXIF orientation says.
    """

    method: Method = "occlusion"
    measure: Measure = "probability"
    window: int | None = None
    stride: int | None = None
    samples: int = 1000
    seed: int = 0
    batch_size: int = 32
    exif: bool = False


@dataclass(frozen=True)
class Explanation:
    """Where a model looked at one image.

    Attributes:
        name: The end of the image's path that distinguishes it from the others.
        seen: RGB, the part that the model sees.
        probabilities: float64 [K].
        target: The class that is explained.
        heat: float64 [H, W], in units of the measure; positive where the image speaks for it.
        measure: Measure of the answer.
    """

    name: str
    seen: Image
    probabilities: np.ndarray
    target: int
    heat: np.ndarray
    measure: Measure

    @property
    def is_flat(self) -> bool:
        """Whether hiding no part mattered, so the map holds rounding only."""
        return bool(np.abs(self.heat).max() <= MEASURES[self.measure].flat)


@dataclass(frozen=True)
class Explained:
    """All explanations, and how they were made.

    Attributes:
        variant: The model.
        weights: Its file, as it was given.
        framework: The one that ran it.
        device: Where it ran.
        method: In words, with its sizes.
        passes: Images that the model was given for each explanation.
        classes: Their names, or ().
        explanations: One per image.
    """

    variant: str
    weights: str
    framework: Side
    device: str
    method: str
    passes: int
    classes: tuple[str, ...]
    explanations: tuple[Explanation, ...] = field(repr=False)

    @property
    def is_linear(self) -> bool:
        """Whether maps hold the weights of LIME's linear model, not what hiding a place costs."""
        return self.method.startswith(_LIME)

    def class_name(self, number: int) -> str:
        """Name a class: "cat", or "class 3"."""
        return self.classes[number] if self.classes else f"class {number}"


def explain(
    variant: str,
    weights: Path,
    images: Sequence[Path],
    *,
    target: str | int | None = None,
    classes: Sequence[str] = (),
    framework: Side | None = None,
    device: Device = "auto",
    preprocessing: Preprocessing | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Find where a model looks in images.

    Args:
        variant: A name of `list_models`, such as "shunted_s".
        weights: A .pdparams for Paddle; a .pth or .safetensors for PyTorch.
        images: Files of images.
        target: Number or name of the class to explain; the predicted one of each image if None.
        classes: Their names in the order of the head; if left out, those in the run.json of a
            training beside the weights, or else numbers only.
        framework: That of the weights if None.
        device: "auto" takes a GPU where the framework sees one.
        preprocessing: As the variant was published with if None.
        options: How.
        progress: Called with a text, the images done and their total.

    Raises:
        DataError: An image cannot be read, or classes do not fit the model.
        ModelError: The variant is unknown or has no head, or the framework is not installed.
        CheckpointError: The weights cannot be read, or are of the other framework.
        ConversionError: They do not fit the variant.
        RunError: The options do not fit, the device or a package is missing, or logits are
            not finite.
    """
    options = options or Options()
    preprocessing = preprocessing or preprocessing_of(find_variant(variant)[1])
    words, passes = _described(options, preprocessing.size)
    if options.exif:
        words += ", images turned by EXIF"
    seen = [_seen(path, preprocessing, options.exif) for path in images]
    classifier = load_classifier(variant, weights, framework, device)
    known = known_classes(weights, classifier.num_classes, classes)
    classes = known.names if known else ()
    wanted = None if target is None else find_class(target, classes, classifier.num_classes)
    found = list[Explanation]()
    for name, image in zip(short_names(images), seen, strict=True):
        title = f"image {len(found) + 1} of {len(seen)}"
        report = None if progress is None else partial(_report, progress, title)
        found.append(_explain(classifier, name, image, preprocessing, wanted, options, report))
    run = str(weights), classifier.framework, classifier.device
    return Explained(variant, *run, words, passes, tuple(classes), tuple(found))


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name each file by as little of the end of its path as distinguishes it from the others."""

    def end(path: Path, count: int) -> Path:
        return Path(*path.parts[-count:])

    names = []
    for path in paths:
        others, count = {other for other in paths if other != path}, 1
        while count < len(path.parts) and end(path, count) in {end(o, count) for o in others}:
            count += 1
        names.append(str(end(path, count)))
    return names


def find_class(target: str | int, classes: Sequence[str], num_classes: int) -> int:
    """Find a class by its name or, else, its number.

    Raises:
        DataError: There is no such class, or several have that name.
    """
    places_of = [number for number, name in enumerate(classes) if name == str(target)]
    if len(places_of) > 1:
        numbers = some([str(number) for number in places_of])
        raise DataError(f"{target!r} is the name of several classes: {numbers}. Give the number.")
    if places_of:
        return places_of[0]
    if not str(target).isdecimal():
        advice = f"Give --classes FILE, or a number 0 to {num_classes - 1}"
        known = f"there are {some(classes)}" if classes else f"no names were given. {advice}"
        raise DataError(f"no class is called {target!r}: {known}.{nearest(str(target), classes)}")
    if int(target) >= num_classes:
        raise DataError(f"there is no class {target}: the model has 0 to {num_classes - 1}.")
    return int(target)


def _described(options: Options, size: tuple[int, int]) -> tuple[str, int]:
    """Describe the method and count its forward passes; refuse sizes that do not fit."""
    if options.method == "lime":
        require_lime()
        return f"{_LIME}, {options.samples} samples, seed {options.seed}", options.samples + 1
    window, stride = default_window(size, options.window, options.stride)
    passes = len(places(size, window, stride)) + 2  # once for the answer, once to compare with
    return f"occlusion, window {window} px, stride {stride} px", passes


def _seen(path: Path, preprocessing: Preprocessing, exif: bool) -> Image:
    image, is_turned = open_image(path, str(path), exif=exif)
    if is_turned:
        _LOG.warning("%s has an EXIF orientation that is not applied; --exif applies it.", path)
    try:
        return preprocessing.crop(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _explain(
    classifier: Classifier,
    name: str,
    image: Image,
    preprocessing: Preprocessing,
    target: int | None,
    options: Options,
    progress: Progress | None,
) -> Explanation:
    """Explain the answer to one image."""

    def predict(images: np.ndarray) -> np.ndarray:
        return scores(classifier.predict(images), options.measure)

    normalise = preprocessing.normalise
    found = probabilities(classifier.predict(normalise(np.asarray(image))[None]))[0]
    target = int(found.argmax()) if target is None else target
    how = options.batch_size, progress
    if options.method == "lime":
        heat = lime(predict, image, normalise, target, options.samples, options.seed, *how)
    else:
        window = default_window(preprocessing.size, options.window, options.stride)
        heat = occlusion(predict, image, normalise, target, *window, *how)
    return Explanation(name, image, found, target, heat, options.measure)


def _report(progress: Progress, title: str, text: str, done: int, total: int) -> None:
    progress(f"{title}: {text}", done, total)
