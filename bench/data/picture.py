"""One picture from a file to the square of pixels a model sees, at its centre or at random."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.root import refuse
from bench.errors import DataError

# What validation shows of a picture scaled to its shorter side. Source: Krizhevsky et al., 2012: 224 of 256.
CENTRE_SHARE = 224 / 256
# Share of the area and ratio of the sides of a random part. Source: Szegedy et al., 2014, arXiv 1409.4842, 6.
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
NUM_TRIES = 10
# Number formats of one byte a channel, which RGB can hold.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def open_picture(root: Path, path: str) -> Image.Image:
    """Return a picture in RGB, whole: grey, indexed and CMYK ones are converted, transparency is dropped.

    Args:
        root: The set's folder.
        path: Of the file in it, as messages name it.

    Raises:
        DataError: It can't be decoded.
    """
    try:
        with Image.open(root / path) as picture:
            if picture.mode not in MODES:
                raise refuse(path, "a picture of 8 bits a channel", f"mode {picture.mode}")
            # Indexed colours may be transparent, which Pillow would warn of.
            return (picture.convert("RGBA") if picture.mode == "P" else picture).convert("RGB")
    except DataError:
        raise
    except Exception as error:  # Pillow lets through whatever its decoders raise.
        reason = (str(error) or type(error).__name__).replace(str(root / path), path)
        raise refuse(path, "a picture Pillow can decode", reason) from None


def cut_centre(picture: Image.Image, size: int) -> Image.Image:
    """Return the centre of a picture whose shorter side was scaled to size * 256 / 224.

    Args:
        picture: In RGB.
        size: Height and width of what is cut out, in pixels.
    """
    # The part of the original that it comes from: scaled once, and only what is kept.
    side = CENTRE_SHARE * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return _scale(picture, (left, top, left + side, top + side), size)


def cut_at_random(picture: Image.Image, size: int, stream: np.random.Generator) -> Image.Image:
    """Return a part of random area and shape, scaled to a square.

    Args:
        picture: In RGB.
        size: Height and width of the result, in pixels.
        stream: Where the choice is drawn from.
    """
    # All at once, so that how much is drawn does not depend on the picture.
    areas = picture.width * picture.height * stream.uniform(*AREA, NUM_TRIES)
    ratios = np.exp(stream.uniform(math.log(RATIO[0]), math.log(RATIO[1]), NUM_TRIES))
    places = stream.uniform(size=(2, NUM_TRIES))
    for area, ratio, x, y in zip(areas, ratios, *places, strict=True):
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= picture.width and 0 < height <= picture.height:
            left = int(x * (picture.width - width + 1))
            top = int(y * (picture.height - height + 1))
            return _scale(picture, (left, top, left + width, top + height), size)
    # A picture too long for any: the largest part at its centre that is not.
    width = min(picture.width, round(picture.height * RATIO[1]))
    height = min(picture.height, round(picture.width / RATIO[0]))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return _scale(picture, (left, top, left + width, top + height), size)


def mirror(picture: Image.Image, stream: np.random.Generator) -> Image.Image:
    """Return the picture, or its mirror image half of the time."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if stream.random() < 0.5 else picture


def _scale(picture: Image.Image, box: tuple[float, float, float, float], size: int) -> Image.Image:
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
