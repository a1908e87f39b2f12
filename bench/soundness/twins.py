"""Rows that stand twice: inside a side they count double, across sides validation knows the answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from bench.data.arrays import Arrays

# Share of the validation rows: fewer twins in training are a note.
_FEW = 0.01


def find_twins(data: Arrays) -> Iterator[tuple[str, str, bool]]:
    """Yield what to say of rows that stand twice, inputs compared bit for bit.

    Rows of natural data may repeat by chance, and then as often within training as across the split; more
    across than that is leakage.

    Args:
        data: Held whole, on the CPU.

    Yields:
        What there is, what to do, and whether it is to be doubted rather than noted.
    """
    train, val = (_hash_rows(inputs) for inputs in (data.train_inputs, data.val_inputs))
    counts = Counter(train)
    num_extra = len(train) - len(counts)
    if num_extra:
        text = f"{num_extra} of {len(train)} training inputs stand there more than once"
        yield text, "fine where chance repeats rows; else they count double", False
        label_sets: dict[bytes, set[bytes]] = {}
        for row, label in zip(train, _hash_rows(data.train_targets), strict=True):
            if counts[row] > 1:
                label_sets.setdefault(row, set()).add(label)
        num_split = sum(len(labels) > 1 for labels in label_sets.values())
        if num_split and data.task == "classification":
            text = f"{num_split} training inputs stand there with several labels"
            yield text, "no model can learn them: mend the labels", num_split > _FEW * len(train)
    num_leaked = sum(row in counts for row in val)
    if num_leaked:
        share, natural = num_leaked / len(val), sum(num for num in counts.values() if num > 1) / len(train)
        text = f"{num_leaked} of {len(val)} validation inputs ({share:.1%}) are training inputs as well"
        is_bad = share > max(_FEW, 2 * natural)
        yield (
            text,
            "validation flatters: leave them out of one side" if is_bad else "by chance or few",
            is_bad,
        )


def _hash_rows(rows: Tensor) -> list[bytes]:
    flat = rows.reshape(len(rows), -1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in flat]
