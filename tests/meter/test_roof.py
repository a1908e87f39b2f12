"""Roofs are those of the datasheet where there is one, and measured where there is none."""

from __future__ import annotations

import pytest
import torch

from bench.meter.roof import find_peak, last_level_cache_bytes, measure_bandwidth


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA H200", "bf16_pure", 989.4),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 PCIe", "fp16", 756.0),
        ("NVIDIA H100 NVL", "fp32", 60.0),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312.0),
        ("NVIDIA A100 80GB PCIe", "fp32", 19.5),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("NVIDIA L4", "bf16", 121.0),
        ("Tesla V100-SXM2-16GB", "fp16", 125.0),
    ],
)
def test_peaks_are_dense_ones_of_datasheets(name: str, precision: str, tera: float) -> None:
    assert find_peak("cuda", name, precision) == (pytest.approx(tera * 1e12), "datasheet")


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        # Another chip, a slice of one, a format that it lacks.
        ("NVIDIA L40", "fp32"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "fp32"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "fp32"),
        ("Tesla V100-SXM2-16GB", "bf16"),
    ],
)
def test_what_no_datasheet_tells_is_measured(name: str, precision: str) -> None:
    torch.set_num_threads(1)
    # Measured here, on the CPU: the name alone decides.
    peak, source = find_peak("cpu", name, precision)
    assert source == "measured" and 1e8 < peak < 1e14


def test_the_bandwidth_is_a_memorys() -> None:
    torch.set_num_threads(1)
    # A slow laptop has 3 GB/s on one core; a cache would give hundreds.
    assert 5e8 < measure_bandwidth("cpu") < 4e11
    assert measure_bandwidth("cpu") == measure_bandwidth("cpu")
    assert last_level_cache_bytes() >= 0


@pytest.mark.gpu
def test_a_gpus_bandwidth_is_above_any_cpus() -> None:
    assert 1e11 < measure_bandwidth("cuda") < 2e13
