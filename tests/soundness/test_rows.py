"""What is wrong with rows is found, each planted fault by its own line, and sound data is left in peace."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench import build
from bench.data.arrays import Arrays
from bench.errors import DataError
from bench.soundness import admit as admitting
from bench.soundness.admit import admit, refuse
from bench.soundness.rows import examine
from tests.composing import compose_study

NUM_TRAIN, NUM_VAL, NUM_CLASSES = 200, 60, 4


def make(change: Callable[[Arrays], None] = lambda _: None) -> Arrays:
    """Return sound features of four classes, changed in place."""
    generator = torch.Generator().manual_seed(0)
    num = NUM_TRAIN + NUM_VAL
    inputs = torch.randn(num, 6, generator=generator)
    labels = torch.arange(num) % NUM_CLASSES
    data = Arrays(
        task="classification",
        item="sample",
        input_kind="features",
        num_outputs=NUM_CLASSES,
        sha256="",
        train=(inputs[:NUM_TRAIN], labels[:NUM_TRAIN]),
        val=(inputs[NUM_TRAIN:], labels[NUM_TRAIN:]),
    )
    change(data)
    return data


def test_sound_rows_are_left_in_peace() -> None:
    assert examine(make(), is_thorough=True) == []


def nan_in_one_place(data: Arrays) -> None:
    data.train_inputs[117, 3] = float("nan")


def infinity_in_validation(data: Arrays) -> None:
    data.val_inputs[5, 0] = float("inf")


def label_out_of_range(data: Arrays) -> None:
    data.train_targets[9] = NUM_CLASSES


def labels_as_floats(data: Arrays) -> None:
    data.train_targets = data.train_targets.float()


def no_length(data: Arrays) -> None:
    data.train_inputs, data.val_inputs = data.train_inputs[:, :0], data.val_inputs[:, :0]
    data.input_shape = (0,)


def another_shape(data: Arrays) -> None:
    data.input_shape = (7,)


def whole_numbers(data: Arrays) -> None:
    data.train_inputs = data.train_inputs.long()


def one_label(data: Arrays) -> None:
    data.train_targets[:] = 2


def all_alike(data: Arrays) -> None:
    data.train_inputs[:] = 0.5


def a_target_too_few(data: Arrays) -> None:
    data.train_targets = data.train_targets[:150]


def nothing_held_out(data: Arrays) -> None:
    data.num_val_rows = 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (nan_in_one_place, "1 rows of the training inputs hold NaN or infinity, first row 117"),
        (infinity_in_validation, "1 rows of the validation inputs hold NaN or infinity, first row 5"),
        (label_out_of_range, "training labels go from 0 to 4"),
        (labels_as_floats, "training labels are float32"),
        (no_length, "a training input holds nothing"),
        (another_shape, "has the shape (6,), not (7,)"),
        (whole_numbers, "training inputs are int64"),
        (one_label, "all training labels are the same"),
        (all_alike, "all training inputs are the same"),
        (a_target_too_few, "200 training inputs for 150 targets"),
        (nothing_held_out, "1 validation rows, wants at least 2"),
    ],
)
def test_what_nothing_can_be_trained_on_is_an_error(fault: Callable[[Arrays], None], said: str) -> None:
    found = examine(make(fault), is_thorough=True)
    assert found[0].severity == "error" and any(said in str(one) for one in found), found
    with pytest.raises(DataError, match="data planted: "):
        refuse("planted", found)


def leak(data: Arrays) -> None:
    data.val_inputs[:6] = data.train_inputs[:6]


def float64(data: Arrays) -> None:
    data.train_inputs = data.train_inputs.double()


def not_scaled(data: Arrays) -> None:
    data.train_inputs *= 1e4


def an_empty_row(data: Arrays) -> None:
    data.train_inputs[33] = 0


def an_absent_class(data: Arrays) -> None:
    data.train_targets[data.train_targets == 3] = 0


def mislabelled_twins(data: Arrays) -> None:
    data.train_inputs[1:8] = data.train_inputs[11:18]
    data.train_targets[1:8] = (data.train_targets[11:18] + 1) % NUM_CLASSES


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (leak, "6 of 60 validation inputs (10.0%) are training inputs as well"),
        (float64, "training inputs are float64"),
        (not_scaled, "inputs reach "),
        (an_empty_row, "1 training inputs hold one value only"),
        (an_absent_class, "1 of 4 classes have no training row"),
        (mislabelled_twins, "7 training inputs stand there with several labels"),
    ],
)
def test_what_is_doubtful_is_a_warning(fault: Callable[[Arrays], None], said: str) -> None:
    found = examine(make(fault), is_thorough=True)
    assert [one.severity for one in found if said in str(one)] == ["warning"], found
    assert "error" not in {one.severity for one in found}
    refuse("planted", found)


def test_twins_by_chance_are_a_note_with_their_count() -> None:
    def repeat(data: Arrays) -> None:
        # As chance would have it: training repeats itself as often as validation repeats training.
        data.train_inputs[100:] = data.train_inputs[:100]
        data.train_targets[100:] = data.train_targets[:100]
        data.val_inputs[:20] = data.train_inputs[:20]

    found = examine(make(repeat), is_thorough=True)
    assert {one.severity for one in found} == {"note"}
    assert any("20 of 60 validation inputs" in one.text for one in found)
    assert any("100 of 200 training inputs" in one.text for one in found)


@pytest.mark.parametrize(
    "workload", ["digits_mlp", "digits_denoiser", "gaussian_mlp", "photo_mlp", "quadratic", "sympy_gpt"]
)
def test_what_we_ship_has_no_fault(workload: str) -> None:
    data = build.load_data(compose_study(workload=workload).data, "cpu")
    assert examine(data, is_thorough=True) == []


def test_a_data_set_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admitting, "_admitted", set())
    spec = compose_study(workload="digits_mlp").data
    data = make(leak)
    (line,) = admit(spec, data)
    assert line.startswith("data digits: warning: 6 of 60 validation inputs")
    assert admit(spec, data) == []
