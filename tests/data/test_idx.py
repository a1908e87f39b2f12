"""IDX files come back number for number, and a damaged one is a line that names it."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.idx import Idx, read_idx
from bench.data.root import read_file
from bench.errors import DataError, Unsupported
from tests.image_files import IDX_NAMES, IDX_SETTINGS, idx_bytes, write_idx_set

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def load(folder: Path | None, **changes: object) -> Idx:
    settings = IDX_SETTINGS | {"root": None if folder is None else str(folder)} | changes
    return Idx(**settings)  # type: ignore[arg-type]


def test_a_file_of_known_bytes_is_the_array_it_says(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(bytes.fromhex("00000803 00000002 00000001 00000003 000102 fdfeff"))
    array = read_idx(path, 3)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[0, 1, 2]], [[253, 254, 255]]]


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_every_row_is_on_its_side(tmp_path: Path, ending: str, layout: str) -> None:
    written = write_idx_set(tmp_path / layout, ending)
    data = load(tmp_path)
    assert (data.num_train_rows, data.num_val_rows) == (30, 10)
    assert (data.input_shape, data.num_outputs, data.item) == ((1, 3, 2), 10, "sample")
    got = {
        (image.numpy().tobytes(), int(label))
        for images, labels in ((data.train_inputs, data.train_targets), (data.val_inputs, data.val_targets))
        for image, label in zip(images, labels, strict=True)
    }
    images, labels = written["train_images"], written["train_labels"]
    assert got == {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
    assert data.val_targets.bincount().tolist() == [1] * 10


def test_a_whole_batch_is_the_pixels_normalised(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    data = load(tmp_path, mean=(0.25,), sd=(0.5,))
    inputs, labels = data.train_batch(0, 0, 30)
    assert isinstance(inputs, torch.Tensor) and inputs.dtype == torch.float32
    expected = (data.train_inputs.double() / 255 - 0.25) / 0.5
    torch.testing.assert_close(inputs.double(), expected, rtol=1e-6, atol=1e-6)
    assert labels.dtype == torch.int64 and torch.equal(labels, data.train_targets)


def test_the_test_rows_are_used_on_request_and_change_no_training(tmp_path: Path) -> None:
    written = write_idx_set(tmp_path)
    data, tested = load(tmp_path), load(tmp_path, evaluate_on="test")
    assert torch.equal(tested.val_inputs[:, 0], torch.from_numpy(written["test_images"]))
    assert torch.equal(tested.val_targets, torch.from_numpy(written["test_labels"]).long())
    assert torch.equal(tested.train_inputs, data.train_inputs)
    assert tested.sha256 == data.sha256


def test_packing_changes_no_hash_and_a_pixel_does(tmp_path: Path) -> None:
    plain, packed, other = (tmp_path / name for name in ("plain", "packed", "other"))
    write_idx_set(plain)
    write_idx_set(packed, ".gz")
    images = write_idx_set(other)["test_images"]
    images[3, 1, 1] += 1
    (other / IDX_NAMES["test_images"]).write_bytes(idx_bytes(images))
    assert load(plain).sha256 == load(packed).sha256 != load(other).sha256


def test_reconstruction_aims_at_the_pixels(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    data = load(tmp_path, task="reconstruction")
    assert data.num_outputs == 6
    for inputs, targets in (data.train_batch(0, 1, 8), *data.val_batches("report")):
        assert isinstance(inputs, torch.Tensor)
        assert targets.dtype == torch.float32 and targets.shape == (len(inputs), 6)
        torch.testing.assert_close(inputs.flatten(1), targets, rtol=1e-6, atol=1e-7)
        assert 0 <= targets.min() < 0.3 and 0.7 < targets.max() <= 1
    # Binary cross-entropy of an even guess, whatever the pixel.
    loss = data.loss(torch.zeros_like(targets), targets)
    assert loss.item() == pytest.approx(len(targets) * 0.693147, rel=1e-5)
    assert data.metrics(torch.zeros_like(targets), targets) == {}


def test_where_nothing_is_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(Unsupported, match=r"^not run: wants MNIST's four IDX files below data\.root= or "):
        load(None)


def overwrite(part: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / IDX_NAMES[part]).write_bytes(content)


def write(part: str, array: np.ndarray) -> Callable[[Path], object]:
    return overwrite(part, idx_bytes(array))


TEN = np.arange(20, dtype=np.uint8) % 10
FORTY = np.arange(40, dtype=np.uint8) % 10
IMAGES = np.zeros((40, 3, 2), np.uint8)
DAMAGED: list[tuple[str, Callable[[Path], object], str]] = [
    ("train_images", overwrite("train_images", b""), "wants an IDX header of 16 bytes, got 0 bytes in all"),
    ("train_images", overwrite("train_images", bytes(15)), "wants an IDX header of 16 bytes, got 15 bytes"),
    (
        "train_images",
        overwrite("train_images", b"<html>" + bytes(300)),
        "wants an IDX file, .*, got 0x3c68746d",
    ),
    (
        "train_images",
        overwrite("train_images", gzip.compress(idx_bytes(IMAGES), mtime=0)),
        "wants an IDX file, which starts with two zero bytes, got 0x1f8b",
    ),
    (
        "train_images",
        overwrite("train_images", b"\0\0\x0d\x03" + idx_bytes(IMAGES)[4:]),
        r"wants unsigned bytes \(IDX type 0x08\), got type 0x0d",
    ),
    ("train_images", write("train_images", FORTY.reshape(2, 20)), "wants 3 axes, got 2"),
    ("train_labels", write("train_labels", FORTY.reshape(40, 1, 1)), "wants 1 axes, got 3"),
    (
        "train_images",
        overwrite("train_images", idx_bytes(IMAGES)[:-1]),
        r"wants 240 values \(40 x 3 x 2\), got 239",
    ),
    ("train_images", overwrite("train_images", idx_bytes(IMAGES) + b"\0"), r"wants 240 values .*, got 241"),
    (
        "train_images",
        overwrite("train_images", b"\0\0\x08\x03" + struct.pack(">3I", *(3 * [2**32 - 1])) + bytes(9)),
        r"wants 79,228,162,458,924(,\d{3})+ values .*, got 9",
    ),
    ("train_images", write("train_images", IMAGES[:0]), "wants at least one value, got 0 x 3 x 2"),
    ("train_labels", write("train_labels", FORTY[:39]), "wants 40 labels, one an image, got 39"),
    ("train_labels", write("train_labels", FORTY + 1), "wants labels from 0 to 9, got 10"),
    ("train_labels", write("train_labels", FORTY // 2), "wants rows of every class, got none of class 5"),
    ("test_labels", write("test_labels", np.append(TEN, TEN)), "wants 20 labels, one an image, got 40"),
    ("test_labels", write("test_labels", TEN % 9), "wants rows of every class, got none of class 9"),
    (
        "test_images",
        write("test_images", np.zeros((20, 2, 3), np.uint8)),
        "wants images of 3 x 2 like the training set's, got 2 x 3",
    ),
    (
        "test_labels",
        lambda folder: (folder / IDX_NAMES["test_labels"]).unlink(),
        "wants the file beside the others",
    ),
    ("train_images", lambda folder: (folder / IDX_NAMES["train_images"]).unlink(), "wants the file beside"),
]


@pytest.mark.parametrize(("part", "damage", "said"), DAMAGED)
def test_a_damaged_file_is_one_line_that_names_it(
    tmp_path: Path, part: str, damage: Callable[[Path], object], said: str
) -> None:
    write_idx_set(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=rf"^data\.root: {IDX_NAMES[part]}: {said}") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("cut short", gzip.compress(idx_bytes(IMAGES), mtime=0)[:-9]), ("not packed", idx_bytes(IMAGES))],
)
def test_a_damaged_packed_file_is_one_line_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    write_idx_set(tmp_path, ".gz")
    path = tmp_path / (IDX_NAMES["train_images"] + ".gz")
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^data\.root: {path.name}: wants a whole gzip file, got .+$"):
        load(tmp_path)


def test_fashion_mnist_is_the_set_that_was_published() -> None:
    if not DEBIAN.is_dir():
        pytest.skip("wants the Debian package dataset-fashion-mnist")
    # Of the files as unpacked: the package packed them anew.
    known = {
        "train-images-idx3-ubyte": "c59f468a2f672dc8",
        "train-labels-idx1-ubyte": "bad3541b69d91243",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91e",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663",
    }
    for name, start in known.items():
        assert hashlib.sha256(read_file(DEBIAN / f"{name}.gz")).hexdigest().startswith(start)
    data = load(
        None, files="fashion_mnist", val_share=0.083333, mean=(0.286,), sd=(0.353,), evaluate_on="test"
    )
    # 500 of each class's 6,000 training images are held out, and not used here.
    assert data.train_targets.bincount().tolist() == [5500] * 10
    assert data.val_targets.bincount().tolist() == [1000] * 10
    pixels = data.train_inputs[:10_000].double() / 255
    assert pixels.mean().item() == pytest.approx(0.286, abs=0.003)
    assert pixels.std().item() == pytest.approx(0.353, abs=0.003)
