# SPDX-License-Identifier: BSD-3-Clause
"""A likelihood of one number, the height of the first peak: 5740 +- 50 muK^2."""

from typing import Any


def setup(options: Any) -> None:
    return None


def execute(block: Any, config: None) -> int:
    first_peak = block["cmb_cl", "tt"][220 - 2]
    block["likelihoods", "peak_like"] = -0.5 * ((first_peak - 5740) / 50) ** 2
    return 0
