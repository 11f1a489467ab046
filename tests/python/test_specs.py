# SPDX-License-Identifier: BSD-3-Clause
"""The specs of CAMB in configs/emulators: those of what ships, and those that are there to be built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zelos.build.plan import make_plan

FOLDER = Path(__file__).parents[2] / "configs" / "emulators"
SPECS = sorted(FOLDER.glob("CAMB_*.yaml"))
#: What each varies beyond LCDM, or what else it is for, under the driver's names.
TO_BE_BUILT = {
    "CAMB_lcdm_omk": {"omk"},
    "CAMB_lcdm_Alens": {"Alens"},
    "CAMB_w0wa_omk_mnu_nnu": {"w", "wa", "omk", "mnu", "nnu"},
    "CAMB_lcdm_highl": set(),
}
LCDM = {"ombh2", "omch2", "H0", "tau", "logA", "ns"}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_it_can_be_built(path: Path) -> None:
    plan = make_plan(str(path), [])
    assert plan.name == path.stem
    assert plan.data["accuracy"], "no accuracy targets"
    points = plan.design("training").points(64)
    assert points.shape == (64, len(plan.names))
    assert np.isfinite(points).all()


@pytest.mark.camb
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_camb_takes_its_settings(path: Path) -> None:
    pytest.importorskip("camb")
    plan = make_plan(str(path), [])
    driver = plan.make_driver()
    for point in plan.design("training").points(4):
        assert "class: <CAMBparams>" in driver.settings(dict(zip(plan.names, point.tolist(), strict=True)))


@pytest.mark.parametrize("name", TO_BE_BUILT)
def test_what_is_there_to_be_built(name: str) -> None:
    plan = make_plan(str(FOLDER / f"{name}.yaml"), [])
    assert set(plan.names) == LCDM | TO_BE_BUILT[name]
    assert not (FOLDER / f"{name}.h5").exists()
    assert f"hub:{name}\n" not in (FOLDER / "CAMB.atlas").read_text()
    last = {output.axes["ell"][-1] for output in plan.outputs if "ell" in output.axes}
    assert last == {9500.0 if name == "CAMB_lcdm_highl" else 4400.0}


def test_the_list_of_specs_is_complete() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.glob("*.yaml"):
        assert f"`{path.stem}`" in text, path.stem
        ships = path.with_suffix(".h5").exists()
        row = next(line for line in text.splitlines() if line.startswith(f"| `{path.stem}`"))
        assert ("ships" in row) == ships, row
        assert ships or ("to be built" in row and "CPU hours" in row), row
