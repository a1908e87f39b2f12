"""A photograph to learn as a function from place to colour: real, smooth, with a result one can look at."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.arrays import Arrays, chunks, digest
from bench.data.bundled import find_bundled
from bench.data.dataset import Seed, require
from bench.data.split import Share, hold_out
from bench.kinds import Count, Positive


class Photo(Arrays):
    """Regression from Fourier features of a pixel's place to its colour in [-1, 1].

    Source: Tancik et al., 2020, arXiv 2006.10739, section 4: random Gaussian frequencies, sine and cosine.

    Args:
        stride: Keep every n-th pixel each way.
        coordinate_range: First and last coordinate of each axis.
        num_frequencies: Random frequencies; twice as many features.
        frequency_sd: Their standard deviation, in periods per unit of coordinate.
        frequency_seed: Of the frequencies' private stream.
        val_share: Share of the pixels held out.
        split_seed: Of the split's private stream.

    Raises:
        DataError: An argument is out of range; the line names its key.
    """

    def __init__(
        self,
        *,
        stride: Count,
        coordinate_range: tuple[float, float],
        num_frequencies: Count,
        frequency_sd: Positive,
        frequency_seed: Seed,
        val_share: Share,
        split_seed: Seed,
    ) -> None:
        require("stride", stride >= 1, "a whole number >= 1", stride)
        first, last = coordinate_range
        require("coordinate_range", first < last, "two rising numbers", list(coordinate_range))
        require("num_frequencies", num_frequencies >= 1, "a whole number >= 1", num_frequencies)
        require("frequency_sd", frequency_sd > 0, "a number > 0", frequency_sd)
        require("frequency_seed", frequency_seed >= 0, "a whole number >= 0", frequency_seed)
        source = np.asarray(Image.open(find_bundled("sklearn", "datasets", "images", "china.jpg")))
        self._picture = np.ascontiguousarray(source[::stride, ::stride])
        height, width, num_channels = self._picture.shape
        # In float64 and rounded once, so that a platform's last bit of sine is lost in the rounding.
        rows, columns = np.linspace(first, last, height), np.linspace(first, last, width)
        places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        stream = np.random.Generator(np.random.PCG64(frequency_seed))
        angles = 2 * np.pi * (places @ (frequency_sd * stream.standard_normal((2, num_frequencies))))
        inputs = torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32))
        colours = torch.from_numpy((self._picture.reshape(-1, num_channels) / 127.5 - 1).astype(np.float32))
        one_stratum = np.zeros(height * width, dtype=np.int64)
        self._rows = tuple(torch.from_numpy(side) for side in hold_out(one_stratum, val_share, split_seed))
        train, val = ((inputs[side], colours[side]) for side in self._rows)
        super().__init__(
            task="regression",
            item="pixel",
            input_kind="features",
            num_outputs=num_channels,
            sha256=digest(source),
            train=train,
            val=val,
        )

    def summarise(self, val_loss: float, means: dict[str, float]) -> dict[str, float]:
        """Return `psnr_db`: 10 log10(peak squared / mean squared error), for colours that span 2."""
        if not 0 < val_loss < math.inf:
            return {}
        return {"psnr_db": 10 * (math.log10(4) - math.log10(val_loss))}

    def artifacts(self, predict: Callable[[Tensor], Tensor]) -> dict[str, bytes]:
        """Return `learned.png`, the whole picture as predicted, and `original.png`, both of the same size."""
        colours = torch.empty(self._picture.shape).reshape(-1, self.num_outputs)
        with torch.no_grad():
            for rows, inputs in zip(self._rows, (self.train_inputs, self.val_inputs), strict=True):
                predicted = [predict(chunk).float().cpu() for chunk in chunks(inputs)]
                colours[rows] = torch.cat(predicted)
        levels = ((colours.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        learned = levels.reshape(self._picture.shape).numpy()
        return {"learned.png": _png(learned), "original.png": _png(self._picture)}


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()
