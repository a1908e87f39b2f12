"""CIFAR's pickles come back number for number, a damaged one is a line, and a hostile one runs nothing."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.cifar import ArrayUnpickler, Cifar, read_batch
from bench.errors import DataError, Unsupported
from tests.image_files import CIFAR_SETTINGS, old_pickle, write_cifar_set

FOLDERS = {10: "cifar-10-batches-py", 100: "cifar-100-python"}


def load(folder: Path | None, **changes: object) -> Cifar:
    settings = CIFAR_SETTINGS | {"root": None if folder is None else str(folder)} | changes
    return Cifar(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("dump", [old_pickle, lambda r, ls: pickle.dumps({b"data": r, b"labels": ls}, 2)])
def test_planes_are_channels_row_by_row(tmp_path: Path, dump: Callable[..., bytes]) -> None:
    rows = np.zeros((2, 3072), np.uint8)
    rows[0, 0], rows[0, 33], rows[0, 1024], rows[0, 3071] = 1, 2, 3, 4
    rows[1] = 255
    path = tmp_path / "batch"
    path.write_bytes(dump(rows, [7, 0]))
    images, labels = read_batch(path, b"labels", 10)
    assert images.shape == (2, 3, 32, 32) and images.dtype == np.uint8
    assert (images[0, 0, 0, 0], images[0, 0, 1, 1], images[0, 1, 0, 0], images[0, 2, 31, 31]) == (1, 2, 3, 4)
    assert images[0].sum() == 10 and (images[1] == 255).all()
    assert labels.tolist() == [7, 0]


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("is_direct", [True, False])
def test_every_row_is_on_its_side(tmp_path: Path, num_classes: int, is_direct: bool) -> None:
    written = write_cifar_set(tmp_path if is_direct else tmp_path / FOLDERS[num_classes], num_classes)
    data = load(tmp_path, num_classes=num_classes)
    *train, (test_rows, test_labels) = written.values()
    assert data.num_outputs == num_classes and data.input_shape == (3, 32, 32)
    got = {
        (image.numpy().tobytes(), int(label))
        for images, labels in ((data.train_inputs, data.train_targets), (data.val_inputs, data.val_targets))
        for image, label in zip(images, labels, strict=True)
    }
    assert got == {
        (row.tobytes(), label) for rows, labels in train for row, label in zip(rows, labels, strict=True)
    }
    assert data.num_train_rows == data.num_val_rows == len(got) / 2
    tested = load(tmp_path, num_classes=num_classes, evaluate_on="test")
    assert torch.equal(tested.val_inputs.flatten(1), torch.from_numpy(test_rows))
    assert tested.val_targets.tolist() == test_labels
    assert tested.sha256 == data.sha256


@pytest.mark.parametrize("num_classes", [10, 100])
def test_where_nothing_is_the_line_says_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_classes: int
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(Unsupported, match=rf"^not run: wants CIFAR-{num_classes}'s {FOLDERS[num_classes]} "):
        load(None, num_classes=num_classes)


class Calls:
    """Pickled as a call of anything with anything."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "function", [os.system, subprocess.check_call, eval, exec, getattr, np.load, np.fromfile, io.open]
)
def test_a_hostile_file_is_refused_and_runs_nothing(
    tmp_path: Path, function: Callable[..., Any], protocol: int
) -> None:
    mark = tmp_path / "ran"
    argument: object = ["touch", str(mark)] if function is subprocess.check_call else f"touch {mark}"
    if function in (eval, exec):
        argument = f"open({str(mark)!r}, 'w').close()"
    write_cifar_set(tmp_path)
    hostile = pickle.dumps({b"data": Calls(function, argument), b"labels": []}, protocol)
    (tmp_path / "data_batch_3").write_bytes(hostile)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    line = str(caught.value)
    assert line.startswith("data.root: data_batch_3: wants a pickle of arrays, got a pickle that calls ")
    assert "\n" not in line and not mark.exists()


def test_the_hostile_call_above_would_have_run(tmp_path: Path) -> None:
    # Else the test above could not fail.
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {mark}")))
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        # A dotted name under a known one, which protocol 4 would walk along.
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x09f2py.main\x93.",
        b"cnumpy\nfromfile\n.",
        b"\x80\x02c_codecs\nlookup\n.",
        # A reference that only a program's own hook could resolve, and an entry of copyreg's registry.
        b"Pid\n.",
        b"\x80\x02\x82\x01.",
    ],
)
def test_nothing_but_the_known_names_is_found(content: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()


ROWS = np.zeros((20, 3072), np.uint8)
LABELS = [row % 10 for row in range(20)]


def dumped(rows: object = ROWS, labels: object = LABELS, **more: object) -> bytes:
    return pickle.dumps({b"data": rows, b"labels": labels} | more, protocol=2)


DAMAGED: list[tuple[bytes, str]] = [
    (b"", "wants a pickle of arrays, got EOFError"),
    (b"\x1f\x8b\x08\x00 a tar file", "wants a pickle of arrays, got "),
    (dumped()[:-500], "wants a pickle of arrays, got pickle data was truncated"),
    (dumped()[:40], "wants a pickle of arrays, got "),
    (b"\x80\x63" + dumped()[2:], "wants a pickle of arrays, got ValueError: unsupported pickle protocol"),
    (b"\x80\x02NR.", "wants a pickle of arrays, got "),
    (b"\x80\x02cnumpy\ndtype\nU\x03xyz\x85R.", "wants a pickle of arrays, got TypeError"),
    (pickle.dumps([1, 2]), "wants a dictionary, got a list"),
    (pickle.dumps({b"labels": LABELS}), "wants a key data, got "),
    (pickle.dumps({b"data": 1, b"fine_labels": LABELS}), r"wants a key labels, got \[.*fine_labels.*\]"),
    (dumped(rows=[1, 2]), "wants data of bytes, got list"),
    (dumped(rows=ROWS.astype(np.float32)), "wants data of bytes, got float32"),
    (dumped(rows=np.array([None])), "wants data of bytes, got object"),
    (dumped(rows=ROWS[:, :-1]), r"wants data of rows of 3072, got shape \(20, 3071\)"),
    (dumped(rows=ROWS.reshape(20, 3, 32, 32)), r"wants data of rows of 3072, got shape \(20, 3, 32, 32\)"),
    (old_pickle(ROWS[:0], []), r"wants data of rows of 3072, got shape \(0, 3072\)"),
    (dumped(labels=tuple(LABELS)), "wants labels as a list of whole numbers, got tuple"),
    (dumped(labels=[0.5] * 20), "wants labels as a list of whole numbers, got "),
    (dumped(labels=[True] * 20), "wants labels as a list of whole numbers, got "),
    (dumped(labels=LABELS[:-1]), "wants 20 labels, one an image, got 19"),
    (dumped(labels=[*LABELS[:-1], 10]), "wants labels from 0 to 9, got 0 to 10"),
    (dumped(labels=[*LABELS[:-1], -1]), "wants labels from 0 to 9, got -1 to 9"),
    (dumped(labels=[*LABELS[:-1], 2**70]), "wants labels from 0 to 9, got 0 to 1180591620717411303424"),
]


@pytest.mark.parametrize(("content", "said"), DAMAGED)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, said: str) -> None:
    write_cifar_set(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=rf"^data\.root: data_batch_2: {said}") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_too_few_is_one_line_that_names_it(tmp_path: Path) -> None:
    write_cifar_set(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(
        DataError, match=r"^data\.root: data_batch_4: wants the file beside the others, got none$"
    ):
        load(tmp_path)


def test_a_class_without_rows_is_one_line(tmp_path: Path) -> None:
    write_cifar_set(tmp_path)
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}").write_bytes(dumped(labels=[label % 9 for label in LABELS]))
    with pytest.raises(
        DataError, match=r"^data\.root: data_batch_1: wants rows of every class, got none of class 9$"
    ):
        load(tmp_path)
