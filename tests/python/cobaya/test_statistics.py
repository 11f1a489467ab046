# SPDX-License-Identifier: BSD-3-Clause
from types import SimpleNamespace

import pytest

from zelos.cobaya.statistics import Statistics, describe


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def box(parameter, value, lower=0.0, upper=1.0):
    return SimpleNamespace(reason="box", parameter=parameter, value=value, lower=lower, upper=upper)


HULL = SimpleNamespace(reason="hull", parameter="", value=1.2, lower=0, upper=1)


def test_reasons_name_the_parameter_and_the_side():
    assert describe(box("H0", -1)) == "H0 below its range"
    assert describe(box("H0", 2)) == "H0 above its range"
    assert describe(HULL) == "hull"
    assert (
        describe(SimpleNamespace(reason="error_bound", parameter="")) == "predicted error above the tolerance"
    )
    assert describe(SimpleNamespace(reason="fixed_parameter", parameter="mnu")) == "mnu: fixed parameter"


def test_report_counts_and_times():
    statistics = Statistics(seconds_per_run=5.0)
    for _ in range(663):
        statistics.add_emulated(0.001)
    assert statistics.seconds_saved == pytest.approx(663 * (5 - 0.001))
    assert "5.0 s a run of the real code, as measured in the training" in statistics.report()
    for _ in range(26):
        statistics.add_fallback(box("H0", 2), 8.0, True)
    statistics.add_fallback(HULL, 8.0, False)
    statistics.add_rejected(HULL)
    text = statistics.report()
    assert "691 points: 663 emulated, 27 by the fallback, 1 rejected (4.05 % outside)" in text
    assert "H0 above its range: 26, hull: 2" in text
    assert "fallback failed at 1 points" in text
    assert "(1.00 ms a point)" in text and "(8.0 s a point)" in text
    assert statistics.seconds_saved == pytest.approx(663 * (8 - 0.001))
    assert "measured here" in text


def test_nothing_is_claimed_that_is_not_known():
    statistics = Statistics()
    statistics.add_emulated(0.001)
    assert statistics.seconds_saved is None
    assert "saved" not in statistics.report()


def test_supplement_is_not_saved():
    statistics = Statistics(seconds_per_run=5.0)
    statistics.add_emulated(0.5, supplement=0.4)
    assert statistics.seconds_saved == pytest.approx(5 - 0.5)


def test_warns_when_the_fallback_takes_more_than_half_of_the_time():
    clock = Clock()
    statistics = Statistics(clock=clock)
    assert statistics.warning() is None
    statistics.now()
    warnings = []
    for i in range(64):
        clock.time += 5.0 if i % 2 else 0.1
        if i % 2:
            statistics.add_fallback(box("H0", 2), 5.0, True)
        else:
            statistics.add_emulated(0.1)
        if warning := statistics.warning():
            warnings.append((statistics.fallen_back, warning))
    assert [n for n, _ in warnings] == [6, 12, 24]
    assert "98 % of the time" in warnings[0][1] and "H0 above its range: 6" in warnings[0][1]


def test_does_not_warn_when_the_emulator_takes_the_time():
    clock = Clock()
    statistics = Statistics(clock=clock)
    statistics.now()
    clock.time = 1000.0
    for _ in range(20):
        statistics.add_fallback(HULL, 5.0, True)
    assert statistics.warning() is None
