# SPDX-License-Identifier: BSD-3-Clause
"""Emulators that answer as one. The toy's formulas are the truth: base (B = 0, M = 0.1), b (B free, another
setting of it), m (M free, in three species), wide (as base, with a wider range of A)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy_driver

import zelos
from zelos.member import Member
from zelos.selection import check, select

EMULATORS = Path(__file__).parents[2] / "configs/emulators"
K, Z = 0.1, 0.5
ELL = np.arange(2.0, 101)
Atlas = dict[str, Path]


def truth(a: float, n: float, b: float = 0, m: float = 0.1, fluid: str = "", species: int = 1) -> float:
    factor, shift = toy_driver.extension(b, m, fluid, species)
    return float(toy_driver.power(a * factor, n + shift, K, Z))


def test_the_first_whose_region_holds_the_point_answers(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_wide"]], fallback="toy")
    points = {"A": np.array([1.5, 3.0, 0.7, 6.0, 2.0]), "n": np.full(5, 0.95)}
    assert atlas.answering(points) == ["toy_base", "toy_wide", "toy_wide", "", "toy_base"]
    got = atlas(points, K, Z)
    error = np.abs(got / [truth(a, 0.95) for a in points["A"]] - 1)
    assert np.all(error < [1e-4, 3e-2, 3e-2, 1e-4, 1e-4])
    assert got[3] == pytest.approx(truth(6.0, 0.95), rel=1e-13)
    base, wide = atlas.emulators
    assert got[0] == base({"A": 1.5, "n": 0.95}, K, Z) and got[1] == wide({"A": 3.0, "n": 0.95}, K, Z)
    assert got[4] != wide({"A": 2.0, "n": 0.95}, K, Z)
    assert atlas.statistics["emulators"] == {"toy_base": 2, "toy_wide": 2}
    assert (atlas.statistics["emulated"], atlas.statistics["fallback"]) == (4, 1)
    assert atlas.statistics["left"] == {"A": 1}


def test_the_same_point_has_the_same_answer_in_every_order(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_wide"], toy_atlas["toy_b"]])
    rng = np.random.default_rng(3)
    a, n = rng.uniform(0.5, 4, 40), rng.uniform(0.9, 1.0, 40)
    batch = atlas({"A": a, "n": n}, K, Z)
    for i in rng.permutation(40):
        assert atlas({"A": a[i], "n": n[i]}, K, Z) == batch[i]
        assert atlas({"n": n[i], "A": a[i]}, K, Z) == batch[i]


def test_a_model_with_more_parameters_answers_for_its_sub_model(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_b"], toy_atlas["toy_base"]])
    selection = atlas.selection(["A", "n"])
    assert selection.leader.member.name == "toy_base"
    assert [route.member.name for route in selection.routes] == ["toy_b", "toy_base"]
    assert any(
        "fluid: ppf in toy_b" in n or "ppf in toy_b; no difference at B = 0" in n for n in selection.notes
    )
    point = {"A": 1.5, "n": 0.95}
    assert atlas(point, K, Z) == atlas.emulators[0]({**point, "B": 0.0}, K, Z)
    assert atlas(point, K, Z) == pytest.approx(truth(1.5, 0.95), rel=1e-4)
    # what toy_b lacks, toy_base has
    spectra = atlas(point, ELL)
    np.testing.assert_allclose(spectra["tt"], toy_driver.spectrum("tt", 1.5, 0.96, ELL), rtol=1e-4)


def test_a_sub_model_answers_at_its_fixed_values_alone(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_b"]])
    at = {"A": 1.5, "n": 0.95}
    assert atlas.selection(["A", "n", "B"]).leader.member.name == "toy_b"
    assert atlas.answering({**at, "B": np.array([0.0, 0.3])}) == ["toy_base", "toy_b"]
    got = atlas({**at, "B": np.array([0.0, 0.3])}, K, Z)
    expected = [truth(1.5, 0.95), truth(1.5, 0.95, 0.3, fluid="ppf")]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_the_same_number_under_another_setting_is_not_the_same_physics(toy_atlas: Atlas) -> None:
    """0.1 in three species is not 0.1 in one: whoever leads, the other is never asked."""
    atlas = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_m"]])
    assert abs(truth(1.5, 0.95) / truth(1.5, 0.95, species=3) - 1) > 1e-2
    at = {"A": 1.5, "n": 0.95}
    assert atlas(at, K, Z) == pytest.approx(truth(1.5, 0.95), rel=1e-4)
    (note,) = atlas.selection(["A", "n"]).notes
    assert "toy_m is not asked" in note and "species" in note and "M = 0.1" in note
    masses = np.array([0.1, 0.3])
    assert atlas.answering({**at, "M": masses}) == ["toy_m", "toy_m"]
    got = atlas({**at, "M": masses}, K, Z)
    np.testing.assert_allclose(got, [truth(1.5, 0.95, m=m, species=3) for m in masses], rtol=1e-4)
    mixed = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_m"]], mix="any")
    assert mixed.answering({**at, "M": masses}) == ["toy_base", "toy_m"]
    assert any("asked all the same" in note for note in mixed.selection(["A", "n", "M"]).notes)


def test_what_nobody_gives_has_one_value_in_all_emulators(toy_atlas: Atlas) -> None:
    """toy_b_m leads where M is given, and is asked with B = 0; toy_other_b was trained at B = 0.3."""
    atlas = zelos.get_emulator([toy_atlas["toy_other_b"], toy_atlas["toy_b_m"]])
    at = {"A": 1.5, "n": 0.95, "M": 0.1}
    selection = atlas.selection(list(at))
    assert selection.leader.member.name == "toy_b_m" and selection.leader.set_to == (0.0,)
    assert abs(truth(1.5, 0.95, b=0.3) / truth(1.5, 0.95) - 1) > 1e-2
    assert atlas.answering(at) == "toy_b_m"
    assert atlas(at, K, Z) == pytest.approx(truth(1.5, 0.95), rel=1e-3)
    (note,) = selection.notes
    assert "toy_other_b is not asked" in note and "B: 0.3 in toy_other_b, 0.0 in this run" in note
    # Where B is given, each point says whether it is that of toy_other_b.
    b = np.array([0.3, 0.0])
    assert atlas.answering({**at, "B": b}) == ["toy_other_b", "toy_b_m"]
    np.testing.assert_allclose(atlas({**at, "B": b}, K, Z), [truth(1.5, 0.95, x) for x in b], rtol=1e-3)


def test_a_parameter_that_nobody_knows(toy_atlas: Atlas, toy_artifact: Path) -> None:
    atlas = zelos.get_emulator([toy_artifact], fallback="toy")
    assert any("knows 'B'" in note for note in atlas.selection(["A", "n", "B"]).notes)
    at = {"A": 1.5, "n": 0.95}
    assert atlas({**at, "B": 0.0}, K, Z) == atlas(at, K, Z)
    assert atlas.answering({**at, "B": 0.2}) == ""
    verdict = atlas.verdict({**at, "B": 0.2})
    assert not verdict and verdict.parameter == "B" and "does not know it" in str(verdict)
    with pytest.raises(zelos.FallbackError, match=r"'B' is 0\.2"):
        atlas({**at, "B": 0.2}, K, Z)
    with pytest.raises(zelos.ParameterError, match="'Q'"):
        atlas({**at, "Q": 0.2}, K, Z)
    with pytest.raises(zelos.OutsideRegion, match=r"'B' is 0\.2"):
        zelos.get_emulator([toy_artifact])({**at, "B": 0.2}, K, Z)


def test_what_the_leader_lacks_is_not_answered_with_the_settings_of_another(toy_atlas: Atlas) -> None:
    """toy_b leads and has no spectra; toy_base has them, but its code takes B as another fluid."""
    atlas = zelos.get_emulator([toy_atlas["toy_b"], toy_atlas["toy_base"]], fallback="toy")
    at = {"A": 1.5, "n": 0.95}
    assert atlas.selection(["A", "n", "B"]).leader.member.name == "toy_b"
    got = atlas({**at, "B": 0.0}, ELL)["tt"]
    np.testing.assert_allclose(got, toy_driver.spectrum("tt", 1.5, 0.96, ELL), rtol=1e-4)
    with pytest.raises(zelos.FallbackError, match=r"toy_b, whose settings .* does not have Cl\.tt"):
        atlas({**at, "B": 0.3}, ELL)
    with pytest.raises(zelos.FallbackError, match=r"does not have Cl\.tt"):
        atlas.evaluate({**at, "A": 6.0, "B": 0.0})
    alone = zelos.get_emulator([toy_atlas["toy_b"], toy_atlas["toy_base"]])
    with pytest.raises(zelos.OutsideRegion, match="'B'"):
        alone({**at, "B": 0.3}, ELL)


def test_other_settings_are_refused_and_named(toy_atlas: Atlas) -> None:
    pair = [toy_atlas["toy_base"], toy_atlas["toy_old"]]
    with pytest.raises(zelos.ArgumentError, match=r"tilt: \(not set\) in toy_base, 0.01 in toy_old"):
        zelos.get_emulator(pair)
    mixed = zelos.get_emulator(pair, mix="any")
    assert mixed.differences == ["tilt: (not set) in toy_base, 0.01 in toy_old"]
    with pytest.raises(zelos.ArgumentError, match="expected None or 'any'"):
        zelos.get_emulator(pair, mix="all")


def test_an_output_that_none_has_on_these_axes_is_refused(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_b"], toy_atlas["toy_base"]])
    with pytest.raises(zelos.ArgumentError, match=r"unknown output 'Cl\.pp'"):
        atlas.evaluate({"A": 1.5, "n": 0.95}, ["Cl.pp"])
    with pytest.raises(zelos.ArgumentError, match="ell"):
        atlas({"A": 1.5, "n": 0.95}, np.array([2.0, 500.0]))


def test_not_a_number_is_answered_by_nobody(toy_atlas: Atlas) -> None:
    atlas = zelos.get_emulator([toy_atlas["toy_base"], toy_atlas["toy_b"]], fallback="toy")
    for bad in (np.nan, np.inf):
        with pytest.raises(zelos.OutsideRegion):
            atlas({"A": bad, "n": 0.95}, K, Z)
    assert atlas.statistics["emulated"] == atlas.statistics["fallback"] == 0


def test_the_file_of_an_atlas(toy_atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_base.h5").symlink_to(toy_atlas["toy_base"])
    file = tmp_path / "toys.atlas"
    file.write_text("# two toys\nhub:toy_base\nhub:not_installed\n" + str(toy_atlas["toy_wide"]) + "\n")
    monkeypatch.setenv("ZELOS_PATH", str(tmp_path))
    for reference in ("atlas:hub:toys", f"atlas:{file}"):
        atlas = zelos.get_emulator(reference)
        assert atlas.name == "toy_base + toy_wide" and atlas.absent == ("hub:not_installed",)
        note = "hub:not_installed is not asked: the atlas names it, but it is not installed"
        assert atlas.selection(["A", "n"]).notes[0] == note
    with pytest.raises(zelos.FileError, match="did you mean 'atlas:hub:toys'"):
        zelos.get_emulator("atlas:hub:toy")
    file.write_text("hub:not_installed\n")
    with pytest.raises(zelos.FileError, match="none of its emulators is installed"):
        zelos.get_emulator("atlas:hub:toys")
    with pytest.raises(zelos.ArgumentError, match="at least one"):
        zelos.get_emulator([])


def test_what_the_leader_fixed_is_set_under_the_name_of_the_other() -> None:
    core = zelos.get_emulator("hub:CAMB_lcdm").core
    leader = SimpleNamespace(
        name="fixed_As",
        parameters=[p for p in core.parameters if p.name != "logA"],
        fixed=[*core.fixed, ("As", 2.1e-9)],
        solvable=core.solvable,
        info_json=core.info_json,
        query=lambda *_: None,
    )
    given = [p.name for p in leader.parameters]
    selection = select([Member(leader), Member(core)], given, mix=True)
    assert [route.member.name for route in selection.routes] == ["fixed_As", "CAMB_lcdm"]
    other = selection.routes[1]
    assert dict(zip(other.names[len(given) :], other.set_to, strict=True)) == (
        pytest.approx({"logA": np.log(21.0)}, rel=1e-12)
    )


def test_one_emulator_in_a_list_answers_as_by_itself() -> None:
    single, atlas = zelos.get_emulator("hub:CAMB_lcdm"), zelos.get_emulator("atlas:hub:CAMB")
    point = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.5, "tau": 0.055, "logA": 3.045, "ns": 0.966}
    for given in (point, {**point, "w": -1, "wa": 0.0, "mnu": 0.06, "Alens": 1.0}):
        for name, values in single(point).items():
            np.testing.assert_array_equal(atlas(given)[name], values)
    assert atlas.derived(point) == single.derived(point)


def test_the_log_says_what_the_mass_of_neutrinos_means() -> None:
    """In the emulator of (w, wa) it is one neutrino's, in that of mnu three share it."""
    members = [Member(emulator.core) for emulator in zelos.get_emulator("atlas:hub:CAMB").emulators]
    lcdm = ["ombh2", "omch2", "H0", "tau", "logA", "ns"]

    def of_mnu(names: list[str], **constants: float) -> list[str]:
        selection = select(members, [*lcdm, *names], constants)
        assert selection.leader.member.name == ("CAMB_w0wa" if "wa" in names else "CAMB_lcdm_mnu")
        return [note for note in selection.notes if note.startswith("mnu of this run")]

    said = (
        "mnu of this run is that of CAMB_w0wa, which holds it at 0.06, with num_massive_neutrinos = 1 "
        "(3 in CAMB_lcdm_mnu, which varies it)"
    )
    assert of_mnu(["mnu", "w", "wa"]) == [said]
    assert of_mnu(["mnu", "w", "wa"], mnu=0.1) == [said]
    assert of_mnu(["mnu", "w", "wa"], mnu=0.06) == of_mnu(["w", "wa"]) == of_mnu(["mnu"]) == []


@pytest.mark.parametrize(
    "name, more",
    [
        ("CAMB_w0wa", {"w": -0.9, "wa": 0.1}),
        ("CAMB_lcdm_nnu", {"nnu": 3.3}),
        ("CAMB_lcdm_mnu", {"mnu": 0.15}),
    ],
)
def test_derived_parameters_are_those_of_the_emulator_that_answers(name: str, more: dict[str, float]) -> None:
    """CAMB_lcdm has one more than the others."""
    single, atlas = zelos.get_emulator(f"hub:{name}"), zelos.get_emulator("atlas:hub:CAMB")
    lcdm = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.5, "tau": 0.055, "logA": 3.045, "ns": 0.966}
    point = {**lcdm, **more}
    assert atlas.answering(point) == name
    assert atlas.derived(point) == single.derived(point)
    assert atlas.statistics["emulators"][name] == 1
    assert set(atlas.labels()) == set(single.derived(point)) < set(atlas.derived(lcdm))
    assert atlas.evaluate(point, ["derived"])["derived"].tolist() == [
        single.derived(point)[label] for label in atlas.labels()
    ]
    if name != "CAMB_lcdm_mnu":
        both = {
            **lcdm,
            **{key: np.array([atlas.emulators[0].fixed[key], value]) for key, value in more.items()},
        }
        derived = atlas.derived(both)
        assert set(derived) == set(single.derived(point))
        for label, values in derived.items():
            assert values.tolist() == [atlas.derived(lcdm)[label], single.derived(point)[label]]
    with pytest.raises(zelos.OutsideRegion, match="H0"):
        atlas.derived({**point, "H0": 20})


@pytest.mark.camb
def test_what_is_said_to_be_immaterial_is_so_for_camb() -> None:
    camb = pytest.importorskip("camb")
    from zelos.fallback.camb.driver import Driver

    def spectrum(**settings: float | str) -> np.ndarray:
        params = camb.set_params(
            H0=67.5, ombh2=0.0224, omch2=0.12, tau=0.055, As=2.1e-9, ns=0.966, **settings
        )
        params.set_for_lmax(60, lens_potential_accuracy=0)
        params.DoLensing = params.WantTransfer = False
        spectra: np.ndarray = camb.get_results(params).get_unlensed_scalar_cls(60)[2:, 0]
        return spectra

    constant = spectrum(w=-1.0, wa=0.0, mnu=0.06)
    np.testing.assert_allclose(
        spectrum(w=-1.0, wa=0.0, mnu=0.06, dark_energy_model="ppf"), constant, rtol=1e-7
    )
    massless = spectrum(mnu=0.0, num_massive_neutrinos=1)
    np.testing.assert_allclose(spectrum(mnu=0.0, num_massive_neutrinos=3), massless, rtol=1e-7)
    # What is not, is seen.
    assert np.max(np.abs(spectrum(mnu=0.06, num_massive_neutrinos=3) / constant - 1)) > 1e-6
    assert set(Driver.immaterial) == {"dark_energy_model", "num_massive_neutrinos", "neutrino_hierarchy"}
    default = camb.CAMBparams()
    power = default.InitPower
    found = {
        "omk": default.omk,
        "w": default.DarkEnergy.w,
        "wa": default.DarkEnergy.wa,
        "Alens": default.Alens,
    }
    assert {**found, "nrun": power.nrun, "nrunrun": power.nrunrun} == Driver.neutral


class FromSpec:
    """What a spec that ships says of its emulator."""

    def __init__(self, name: str) -> None:
        yaml = pytest.importorskip("yaml")
        spec = yaml.safe_load((EMULATORS / f"{name}.yaml").read_text())
        self.name, config = name, spec["config"]
        self.parameters = [SimpleNamespace(name=p) for p in spec["parameters"]]
        self.fixed = tuple(config["fixed"].items())
        self.solvable = (("thetastar", "H0"), ("cosmomc_theta", "H0"))
        settings = {**config["extra_args"], **config["fixed"]}
        self.provenance = {"code": "camb", "code_version": config["version"], "config": settings}

    def info_json(self) -> str:
        return json.dumps({"provenance": self.provenance})

    def query(self, names: list[str], _: object) -> None:
        given = {"H0" if name in ("thetastar", "cosmomc_theta") else name for name in names}
        if missing := {p.name for p in self.parameters} - given:
            raise zelos.ArgumentError(f"missing {missing}")
        if unknown := given - {p.name for p in self.parameters} - {name for name, _ in self.fixed}:
            raise zelos.ArgumentError(f"unknown {unknown}")


LCDM = ("ombh2", "omch2", "thetastar", "tau", "logA", "ns")


@pytest.mark.parametrize(
    "given, constants, leader, asked",
    [
        ((), {}, "CAMB_lcdm", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("mnu",), {"mnu": 0.06}, "CAMB_lcdm", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("mnu",), {}, "CAMB_lcdm_mnu", ["CAMB_lcdm_mnu"]),
        (("mnu",), {"mnu": 0.1}, "CAMB_lcdm_mnu", ["CAMB_lcdm_mnu"]),
        (("nnu",), {}, "CAMB_lcdm_nnu", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("nnu",), {"nnu": 3.5}, "CAMB_lcdm_nnu", ["CAMB_lcdm_nnu"]),
        (("w", "wa"), {}, "CAMB_w0wa", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("w",), {}, "CAMB_w0wa", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("w", "wa", "mnu"), {}, "CAMB_w0wa", ["CAMB_lcdm", "CAMB_lcdm_nnu", "CAMB_w0wa"]),
        (("omk",), {"omk": 0.1}, "CAMB_lcdm", ["CAMB_lcdm"]),
    ],
)
def test_the_emulators_that_ship(
    given: tuple[str, ...], constants: dict[str, float], leader: str, asked: list[str]
) -> None:
    names = ("CAMB_lcdm", "CAMB_lcdm_mnu", "CAMB_lcdm_nnu", "CAMB_w0wa")
    listed = (EMULATORS / "CAMB.atlas").read_text()
    assert [line[4:] for line in listed.splitlines() if line.startswith("hub:")][:4] == list(names)
    members = [Member(FromSpec(name)) for name in names]
    assert check(members, mix=False) == []
    selection = select(members, [*LCDM, *given], constants)
    assert selection.leader.member.name == leader
    assert [route.member.name for route in selection.routes] == asked
    for route in selection.routes:
        table = dict(zip(route.names[len(route.columns) :], route.set_to, strict=True))
        expected = {"nnu": 3.044, "w": -1.0, "wa": 0.0}
        assert all(expected[name] == value for name, value in table.items())
    notes = " ".join(selection.notes)
    for name in set(names) - set(asked):
        assert f"{name} is not asked" in notes
    if asked[-1] == "CAMB_w0wa" and "w" not in given:
        assert "dark_energy_model: (not set) in CAMB_lcdm, ppf in CAMB_w0wa; no difference at w = -1" in notes
    if leader == "CAMB_lcdm" and "omk" not in given:
        assert (
            "num_massive_neutrinos: 1 in CAMB_lcdm, 3 in CAMB_lcdm_mnu; a difference at mnu = 0.06" in notes
        )
