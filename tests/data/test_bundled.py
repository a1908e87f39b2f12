"""Files inside installed packages are found without importing those, and hold what they are read for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.data.bundled import find_bundled, read_digits
from bench.errors import DataError


def test_the_digits_are_those_that_scikit_learn_hands_out() -> None:
    # Two seconds, that every process of a test run would pay.
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    theirs = load_digits()
    assert np.array_equal(images, theirs.images) and np.array_equal(labels, theirs.target)


def test_finding_imports_nothing_of_the_package() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import bench.data.digits, bench.data.photo, sys; print('sklearn' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("package", ["sklearn", "no_such_package"])
def test_what_is_not_there_is_one_line(package: str) -> None:
    with pytest.raises(DataError, match=f"{package}: wants the package with a/b.csv"):
        find_bundled(package, "a", "b.csv")
