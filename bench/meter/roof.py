"""What this device can do at most: bytes moved a second, and floating-point operations a second."""

from __future__ import annotations

import functools
import os
import re
import statistics
from collections.abc import Callable
from typing import Literal

import torch

from bench.meter.time import time_block

PeakSource = Literal["datasheet", "measured"]

# A tensor of the bandwidth test on a CPU: well above most last-level caches, and twice any larger one.
_FEWEST_BYTES = 64 * 2**20
_MOST_BYTES = 2 * 2**30
# Dense matrix products, in 10^12 operations a second, without structured sparsity; fp32 is that of the CUDA
# cores. bf16 and fp16 accumulate in fp32. Precisions a device lacks are absent.
# Sources: NVIDIA H200 and H100 tensor core GPU datasheets and the Hopper architecture white paper (2022);
# A100 datasheet (2021); Ada architecture white paper (2022), appendix A, for the RTX 4090; L4 datasheet
# (2023); V100 datasheet (2020). Their figures "with sparsity" are halved here.
_SXM_HOPPER = {"fp32": 67.0, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4}
_NVL_HOPPER = {"fp32": 60.0, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5}
_PEAKS: tuple[tuple[str, dict[str, float]], ...] = (
    (r"NVIDIA H[12]00 NVL", _NVL_HOPPER),
    (r"NVIDIA H100 PCIe", {"fp32": 51.0, "tf32": 378.0, "bf16": 756.0, "fp16": 756.0}),
    (r"NVIDIA H100( 80GB HBM3| SXM5.*)|NVIDIA H200( SXM.*)?", _SXM_HOPPER),
    (r"NVIDIA A100[- ].*", {"fp32": 19.5, "tf32": 156.0, "bf16": 312.0, "fp16": 312.0}),
    (r"NVIDIA GeForce RTX 4090", {"fp32": 82.6, "tf32": 82.6, "bf16": 165.2, "fp16": 165.2}),
    (r"NVIDIA L4", {"fp32": 30.3, "tf32": 60.0, "bf16": 121.0, "fp16": 121.0}),
    (r"Tesla V100-SXM[23]-.*", {"fp32": 15.7, "fp16": 125.0}),
    (r"Tesla V100-PCIE-.*", {"fp32": 14.0, "fp16": 112.0}),
    (r"Tesla V100S-PCIE-.*", {"fp32": 16.4, "fp16": 130.0}),
)


def find_peak(device: str, device_name: str, precision: str) -> tuple[float, PeakSource]:
    """Return the most floating-point operations a second of matrix products in a precision.

    Args:
        device: Device type.
        device_name: As torch names it; a slice of a GPU (MIG) is not in any datasheet.
        precision: A name of `bench.spec.Precision`; torch is set to it where the peak has to be measured.

    Returns:
        From the vendor's datasheet, else as measured on one large product.
    """
    key = "bf16" if precision == "bf16_pure" else precision
    for pattern, peaks in _PEAKS:
        if key in peaks and re.fullmatch(pattern, device_name):
            return peaks[key] * 1e12, "datasheet"
    return _measure_products(device, key, torch.get_num_threads()), "measured"


def measure_bandwidth(device: str) -> float:
    """Return the bytes a second that adding one long tensor to another in place moves, once a process.

    Two are read and one is written, as most of an optimizer's step is. A copy would be slower on a CPU, which
    reads the lines that it writes.

    Args:
        device: Device type.
    """
    return _measure_adding(device, torch.get_num_threads())


@functools.cache
def _measure_adding(device: str, num_threads: int) -> float:
    num = _roof_bytes(device) // 4
    summed, added = torch.zeros(num, device=device), torch.ones(num, device=device)
    return 3 * 4 * num / _typical_s(lambda: summed.add_(added), device, num_calls=9)


@functools.cache
def _measure_products(device: str, precision: str, num_threads: int) -> float:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    size, most = (2048, 8192) if device == "cuda" else (128, 2048)
    while True:
        left = torch.randn(size, size, device=device).to(dtype)
        right = torch.randn(size, size, device=device).to(dtype)
        product_s = _typical_s(functools.partial(torch.matmul, left, right), device, num_calls=5)
        # Long enough that starting it is nothing.
        if product_s > 4e-3 or size == most:
            return 2 * size**3 / product_s
        size *= 2


def _typical_s(call: Callable[[], object], device: str, num_calls: int) -> float:
    """Return the median seconds of a call, after one that is not timed."""
    call()
    return statistics.median(time_block(lambda _: call(), range(num_calls), device)())


def _roof_bytes(device: str) -> int:
    if device == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info()
        return min(_MOST_BYTES, free_bytes // 4) // 4 * 4
    return max(_FEWEST_BYTES, 2 * last_level_cache_bytes())


def last_level_cache_bytes() -> int:
    """Return the size of the CPU's last cache, 0 where the system does not say."""
    for name in ("SC_LEVEL4_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE"):
        if name in os.sysconf_names and (size := os.sysconf(name)) > 0:
            return size
    return 0
