# SPDX-License-Identifier: BSD-3-Clause
"""A likelihood of one number, the height of the first peak: 5740 +- sigma muK^2."""

from typing import Any


def setup(options: Any) -> float:
    return float(options.get_double("module_options", "sigma", 50.0))


def execute(block: Any, sigma: float) -> int:
    first_peak = block["cmb_cl", "tt"][220 - 2]
    block["likelihoods", "peak_like"] = -0.5 * ((first_peak - 5740) / sigma) ** 2
    return 0
