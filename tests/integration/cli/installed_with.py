"""Runs commands as if only some of the extras were installed; a helper of ``test_extras``.

Arguments: the extras, one text with commas, and a folder. Commands stand on standard input, a JSON list a line; each is
answered with a line of JSON: exit code, standard error, and the name of an exception that nobody caught.

What is not installed is found in the metadata: every module of a distribution that ``twinward`` with those extras does
not lead to raises ``ModuleNotFoundError``, as if it were not there.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def distributions(name: str, extras: frozenset[str], found: set[str]) -> set[str]:
    """A distribution and all it needs, added to what was found."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, extras)]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(canonicalize_name(one[0]))
        try:
            needs = metadata.requires(one[0]) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in one[1] | {""}):
                waiting.append((need.name, frozenset(need.extras)))
    return found


class Absent:
    """An import hook: some modules are not there."""

    def __init__(self, modules: frozenset[str]) -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def absent(extras: frozenset[str]) -> frozenset[str]:
    """Top-level modules that are installed here and would not be."""
    there = distributions("twinward", extras, set())
    owners = metadata.packages_distributions()
    ours = {"tests", "twinward", "twinward_contracts", "twinward_crypto", "twinward_ledger"}
    return (
        frozenset(name for name, some in owners.items() if not {canonicalize_name(one) for one in some} & there) - ours
    )


def main(extras: str, folder: str) -> None:
    sys.meta_path.insert(0, Absent(absent(frozenset(extras.split(",")) - {""})))
    os.chdir(folder)
    from typer.testing import CliRunner

    from twinward.cli.main import app

    for line in sys.stdin:
        done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, json.loads(line), input="")
        defect = "" if done.exception is None or isinstance(done.exception, SystemExit) else repr(done.exception)
        print(json.dumps([done.exit_code, done.stderr, defect]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
