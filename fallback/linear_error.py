# SPDX-License-Identifier: BSD-3-Clause
"""What linear interpolation leaves out, told from second differences of what is interpolated.

Between nodes a and b a line is off by f''/2 (x - a)(b - x), to leading order: half the second derivative
times what is called the reach here. In several parameters the terms of the axes are added in quadrature,
since their signs are not known better than the curvatures are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def second_difference(nodes: Iterable[float]) -> tuple[float, float, float]:
    """The weights of three nodes' values in half the second derivative of the parabola through them."""
    a, b, c = (float(x) for x in nodes)
    return 1 / ((a - b) * (a - c)), 1 / ((b - a) * (b - c)), 1 / ((c - a) * (c - b))


def error_of_lines(axes: Iterable[tuple[float, Sequence[Array]]]) -> Any:
    """One standard deviation of each value: of each axis the reach and the curvatures (half second
    derivatives) that are known near the point, of which the largest counts. Infinite where an axis with a
    reach has none."""
    squares: Any = 0.0
    for reach, curvatures in axes:
        if reach == 0:
            continue
        largest = np.max(np.abs(curvatures), axis=0) if len(curvatures) else np.inf
        squares = squares + (reach * largest) ** 2
    return np.sqrt(squares)
