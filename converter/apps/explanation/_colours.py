"""Colours that change evenly to the eye, mixed in OKLab.

Source of the matrices: Björn Ottosson, A perceptual color space for image processing, 2020,
https://bottosson.github.io/posts/oklab/.
"""

import numpy as np

FOR = (214, 82, 0)  # RGB, where the image speaks for the class
AGAINST = (0, 96, 190)  # and where it speaks against it; all kinds of eyes can distinguish them
_STRONGEST = 0.9  # share of the colour at the end of the scale; the image stays visible
_GREYS = (0.35, 0.95)  # lightness in OKLab that the image's black and white become

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(pixels: np.ndarray) -> np.ndarray:
    """Bring sRGB to OKLab: uint8 [..., 3] -> float64 [..., 3], lightness 0..1 first."""
    share = pixels / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    lab: np.ndarray = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    return lab


def to_srgb(lab: np.ndarray) -> np.ndarray:
    """Bring OKLab to sRGB: float64 [..., 3] -> uint8 [..., 3], cut to what a screen shows."""
    cones = (lab @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1)
    share = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels: np.ndarray = np.rint(255 * share).astype(np.uint8)
    return pixels


def grey(pixels: np.ndarray) -> np.ndarray:
    """Take the colour out of an image: uint8 [H, W, 3] -> OKLab, neither black nor white."""
    lab = np.zeros(pixels.shape)
    darkest, lightest = _GREYS
    lab[..., 0] = darkest + (lightest - darkest) * to_oklab(pixels)[..., 0]
    return lab


def tint(under: np.ndarray, heat: np.ndarray, limit: float) -> np.ndarray:
    """Lay a map over an image: the further from 0, the more of the colour.

    Args:
        under: OKLab [H, W, 3].
        heat: [H, W], from -limit to limit.
        limit: Which value has the strongest colour.

    Returns:
        uint8 [H, W, 3], sRGB.
    """
    colours = to_oklab(np.array([AGAINST, FOR], np.uint8))
    share = (_STRONGEST * np.clip(np.abs(heat) / limit, 0, 1))[..., None]
    return to_srgb((1 - share) * under + share * colours[(heat > 0).astype(int)])
