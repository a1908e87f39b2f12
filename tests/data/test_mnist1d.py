"""Signals drawn here have the published set's distribution; the published ones are the authors' own."""

from __future__ import annotations

import hashlib
import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.mnist1d import Mnist1d, generate
from bench.errors import Unsupported

# Measured on the published 5,000 rows: the distribution that rows drawn here must have.
QUANTILES = {0.01: -2.784, 0.1: -1.173, 0.25: -0.547, 0.5: 0.014, 0.75: 0.567, 0.9: 1.144, 0.99: 2.758}
AUTOCORRELATION = {1: 0.793, 2: 0.481, 4: 0.181, 8: -0.015, 16: -0.133}
CLASS_MEANS = (0.471, -0.097, 0.035, 0.333, -0.127, 0.0, -0.383, 0.168, -0.253, -0.146)
CLASS_SDS = (1.196, 0.873, 0.835, 1.009, 0.881, 0.838, 1.191, 0.877, 1.0, 0.899)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return generate(np.random.Generator(np.random.PCG64(1)))


def make(source: str = "generated", **changes: object) -> Mnist1d:
    settings: dict[str, object] = {"val_share": 0.2, "split_seed": 0, "evaluate_on": "val"}
    return Mnist1d(source=source, **(settings | changes))  # type: ignore[arg-type]


def test_sides_and_classes_are_even() -> None:
    data = make()
    assert (data.num_train_rows, data.num_val_rows, data.input_shape) == (3200, 800, (40,))
    assert data.train_targets.bincount().tolist() == [320] * 10
    assert data.val_targets.bincount().tolist() == [80] * 10
    tested = make(evaluate_on="test")
    assert tested.val_targets.bincount().tolist() == [100] * 10
    assert torch.equal(tested.train_inputs, data.train_inputs)
    assert make(split_seed=1).sha256 == tested.sha256 == data.sha256


def test_no_row_is_on_two_sides() -> None:
    data, tested = make(), make(evaluate_on="test")
    rows = torch.cat([data.train_inputs, data.val_inputs, tested.val_inputs])
    assert len(torch.unique(rows, dim=0)) == 5000


def test_numbers_are_exact_in_float32_and_the_same_each_time() -> None:
    one, other = make(), make()
    assert torch.equal(one.train_inputs, other.train_inputs)
    scaled = one.train_inputs.double() * 1024
    assert torch.equal(scaled, scaled.round())


def test_its_moments_are_the_published_ones(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    signals, labels = drawn
    assert signals.mean() == pytest.approx(0, abs=1e-4) and signals.std() == pytest.approx(1, abs=1e-4)
    for share, value in QUANTILES.items():
        assert np.quantile(signals, share) == pytest.approx(value, abs=0.05)
    centred = signals - signals.mean(axis=1, keepdims=True)
    for lag, value in AUTOCORRELATION.items():
        product = (centred[:, :-lag] * centred[:, lag:]).mean() / (centred**2).mean()
        assert product == pytest.approx(value, abs=0.015)
    for label in range(10):
        rows = signals[labels == label]
        assert rows.mean() == pytest.approx(CLASS_MEANS[label], abs=0.04)
        assert rows.std() == pytest.approx(CLASS_SDS[label], abs=0.04)


def test_it_is_as_hard_as_the_published_set(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    # Two seconds, that every process of a test run would pay.
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    signals, labels = drawn
    train, test = slice(0, 4000), slice(4000, None)
    # Published: logistic regression 32 %; the nearest neighbour has 56.7 % of the published rows.
    linear = LogisticRegression(max_iter=300).fit(signals[train], labels[train])
    assert linear.score(signals[test], labels[test]) == pytest.approx(0.32, abs=0.05)
    nearest = KNeighborsClassifier(1).fit(signals[train], labels[train])
    assert nearest.score(signals[test], labels[test]) == pytest.approx(0.567, abs=0.05)


def test_drawing_leaves_global_streams_alone() -> None:
    before = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    make()
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1] and torch.equal(torch.get_rng_state(), before[2])


def test_without_the_package_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    # What Python does where a module is not to be found.
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    line = r"^not run: wants the package mnist1d \(pip install bench\[data\]\)"
    with pytest.raises(Unsupported, match=line):
        make("published")


def test_the_published_rows_are_the_authors_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("mnist1d") is None or importlib.util.find_spec("requests") is None:
        pytest.skip("wants the package mnist1d (pip install bench[data])")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    before = np.random.get_state()[1].copy(), random.getstate()
    data = make("published")
    assert np.array_equal(np.random.get_state()[1], before[0]) and random.getstate() == before[1]
    assert data.num_train_rows + data.num_val_rows == 4000
    with np.load(tmp_path / "mnist1d_published.npz", allow_pickle=False) as file:
        rounded = np.round(file["signals"][:4000], 4)
    assert hashlib.sha256(rounded.tobytes()).hexdigest().startswith("f91cbef436fe6389")
    # From the cache: the package is not asked again.
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    again = make("published")
    assert again.sha256 == data.sha256 and torch.equal(again.train_inputs, data.train_inputs)
