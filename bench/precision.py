"""The number formats of a run, set in one place so that "fp32" means the same on every device."""

from __future__ import annotations

import torch

from bench.spec import Precision


def apply(precision: Precision) -> None:
    """Set torch's process-wide number formats.

    Only the older switches are used: reading them after the newer `fp32_precision` ones were set raises, and
    compiled code reads the older ones (pytorch issue 166387).

    Args:
        precision: What the run asks for.
    """
    match precision.name:
        case "fp32":
            torch.set_float32_matmul_precision("highest")
            # cuDNN convolutions and RNNs default to TF32 even where matrix products do not.
            torch.backends.cudnn.allow_tf32 = False
    # Decayed momentum of dead units turns denormal and slows a CPU step several times over.
    torch.set_flush_denormal(True)
