# SPDX-License-Identifier: BSD-3-Clause
"""A process that holds one subject: ``worker.py SUBJECT OPTIONS_AS_JSON``.

It says in one line what it is and which cases it has, then answers each case that it reads with
(wall, processor) seconds per call, and each fact with what the subject's FACTS says.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import timing


def main() -> None:
    subject, options = sys.argv[1], json.loads(sys.argv[2])
    # What the measured code prints must not get into the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        module = importlib.import_module(f"subjects.{subject}")
        cases = module.cases(options)
    except ImportError as error:
        return say({"missing": f"not installed ({error.name or error})"})
    except Exception as error:
        return say({"missing": f"not measured: {type(error).__name__}: {error}"[:300]})
    say({"title": module.TITLE, "versions": module.versions(), "note": module.NOTE, "cases": list(cases)})
    for line in sys.stdin:
        request = json.loads(line)
        if "fact" in request:
            try:
                say(module.FACTS[request["fact"]](**request["arguments"]))
            except Exception as error:
                say({"failed": f"{type(error).__name__}: {error}"[:300]})
            continue
        call, divisor = cases[request["case"]]
        try:
            taken = timing.samples(call, request["seconds"])
            say({"samples": [(wall / divisor, processor / divisor) for wall, processor in taken]})
        except Exception as error:
            say({"failed": f"{type(error).__name__}: {error}"[:300]})
    return None


if __name__ == "__main__":
    main()
