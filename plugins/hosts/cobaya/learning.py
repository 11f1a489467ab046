# SPDX-License-Identifier: BSD-3-Clause
"""``learn``: the emulator that a run learns from its fallback."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cobaya.log import LoggedError

from .. import learning
from ..errors import Error
from ..member import Member

_OPTIONS = ("folder", "spec", "first")


def _options(learn: Any, log: Any) -> dict[str, Any]:
    """Empty if nothing is to be learnt."""
    if learn in (None, False):
        return {}
    options = {} if learn is True else learn
    if not isinstance(options, Mapping) or not set(options) <= {*_OPTIONS}:
        raise LoggedError(log, "'learn' is true or {%s}, not %r.", ", ".join(_OPTIONS), learn)
    return {name: options.get(name) for name in _OPTIONS}


def identity_of_spec(learn: Any, log: Any) -> str | None:
    """What stands for the emulator's id, if there is none to begin with: it is another one after each
    training."""
    spec = _options(learn, log).get("spec")
    if not spec:
        return None
    try:
        return f"learn:{hashlib.sha256(Path(spec).read_bytes()).hexdigest()}"
    except OSError as error:
        raise LoggedError(log, "'learn': can't read the spec '%s': %s", spec, error.strerror) from error


class Learnt:
    """What is learnt in this run, and which version is in use. Throws LoggedError.

    learn, cache: options of the theory. reference: the emulator's, for the name of the folder.
    """

    def __init__(self, learn: Any, cache: str | None, reference: Any, log: Any) -> None:
        options = _options(learn, log)
        self._log = log
        self.spec: str | None = options["spec"]
        self.member: Member | None = None
        reference = reference if isinstance(reference, (str, Path)) else reference[0]
        name = Path(self.spec or str(reference).rpartition(":")[2]).name
        folder = options["folder"] or f"{name.removesuffix('.gz').rpartition('.')[0] or name}.learn"
        self._learning = learning.Learning(folder, cache, options["first"])
        self._begun = False

    @property
    def cache(self) -> str:
        return str(self._learning.answers)

    def begin(self) -> str:
        """Begins without an emulator; the path of one that knows the names and settings of the spec."""
        assert self.spec is not None
        folder = self._learning.folder
        if not (folder / "unlearnt.h5").is_file():
            self._log.info("There is nothing to begin with: a few runs of the code make %s.", folder)
        try:
            path = self._learning.begin(self.spec)
        except Error as error:
            raise LoggedError(self._log, "'learn': %s", error) from error
        self._start()
        return str(path)

    def begin_beside(self, core: Any) -> None:
        """Begins beside the emulator that leads the run."""
        if self._begun:
            return
        try:
            self._learning.begin_beside(core)
        except Error as error:
            raise LoggedError(self._log, "'learn': %s", error) from error
        self._start()

    def _start(self) -> None:
        self._begun = True
        self._log.info("What the real code answers is learnt in %s.", self._learning.folder)
        self.answered()  # a run before this one may have left answers

    def look(self) -> bool:
        """Takes up a new version, if there is one, and says whether."""
        if not self._learning.changed():
            return False
        try:
            core = self._learning.open()
        except Error as error:
            self._log.warning("The new version of the learnt emulator is not used: %s", error)
            return False
        if core is None:
            return False
        self.member = Member(core)
        self._log.info("Emulator %s %s, learnt in this run, answers where it may.", core.name, core.version)
        return True

    def answered(self) -> None:
        """To be called when the real code has answered."""
        try:
            attempt = self._learning.answered()
        except Error as error:
            self._log.warning("Learning: %s", error)
            return
        if attempt is not None:
            used = "used" if attempt.accepted else "not used"
            self._log.info(
                "What was learnt from %d answers is %s: %s.", attempt.answers, used, attempt.reason
            )

    def close(self) -> None:
        self._learning.close()
