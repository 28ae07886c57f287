"""``make mutations``: would the tests notice? The security lines are changed, one at a time (Cosmic Ray's operators).

Each mutant is one change of one file (a comparison, a boolean, a number, a branch, an exception that is caught), and
the tests named for that file (``watched.py``) run on it until one fails. A mutant that no test fails on survives: it is
printed with its difference. What no test could notice stands in ``equivalent.toml``, with the reason, and is not run.
A sample is drawn from the files' own content, so the same code has the same mutants.

--seconds N     how long in all (default 240); what there was no time for is counted and said
--only PATTERN  files whose path contains PATTERN
--all           every mutant, not a sample
--json FILE     the figures and the survivors

It exits with 1 if the unmutated tests fail, or if so few of the mutants that ran were noticed that fewer than FLOOR of
all are, with 95 % confidence: which ones there is time for is chance, and two dozen of them say little.
Run by the Python of ``.venv-mutations``, which has Cosmic Ray; the tests run by ``.venv``'s (``nursery.py``).
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Final, Self

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.checks.mutations.watched import WATCHED

ROOT: Final = Path(__file__).resolve().parents[3]
FLOOR: Final = 0.75
"""Below what is aimed for (nine of ten): a file that was changed has another sample."""
EACH: Final = 8
"""Mutants drawn of one file."""
TIMEOUT_S: Final = 120
SLOWER: Final = 6
"""So many times as long as the unmutated tests may a mutant take, and some seconds: past that it loops."""
THEN_SOME_S: Final = 10

OPERATORS: Final = (
    *(f"ReplaceComparisonOperator_{change}" for change in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE")),
    *(f"ReplaceComparisonOperator_{change}" for change in ("GtE_Gt", "Is_IsNot", "IsNot_Is", "Lt_GtE", "Gt_LtE")),
    *(
        f"ReplaceBinaryOperator_{change}"
        for change in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "BitXor_BitOr")
    ),
    *("ReplaceUnaryOperator_Delete_Not", "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ExceptionReplacer", "NumberReplacer", "ZeroIterationForLoop"),
)


class TestsFail(Exception):
    """The tests fail without any mutant."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    operator: str
    line: int
    before: str
    after: str
    difference: str
    source: str


class Nursery:
    """A process that forks one for each run of the tests (``nursery.py``)."""

    def __init__(self) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [str(ROOT / ".venv/bin/python"), "-m", "tests.checks.mutations.nursery"],
            cwd=ROOT,
            env=os.environ | threads,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tests: str, timeout_s: float, mutant: Mutant | None = None) -> tuple[int | None, str]:
        """The exit code of the tests, none if they ran past the time, and what they printed."""
        assert self._process.stdin
        assert self._process.stdout
        asked: dict[str, object] = {"tests": tests.split(), "timeout_s": timeout_s}
        if mutant:
            asked |= {"path": mutant.path, "source": mutant.source}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["output"]

    def close(self) -> None:
        """The process ends with its input."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


class Nurseries:
    """As many as there are processors; each does one run at a time."""

    def __init__(self) -> None:
        self._all = [Nursery() for _ in range(os.cpu_count() or 1)]
        self._free: Queue[Nursery] = Queue()
        for one in self._all:
            self._free.put(one)
        self.size = len(self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._all:
            one.close()

    def run(self, tests: str, timeout_s: float, mutant: Mutant | None = None) -> tuple[int | None, str]:
        """A run by the next that is free."""
        one = self._free.get()
        try:
            return one.run(tests, timeout_s, mutant)
        finally:
            self._free.put(one)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, run, print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--only", default="")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    ends = time.monotonic() + chosen.seconds
    watched = {path: tests for path, tests in WATCHED.items() if chosen.only in path}
    mutants = [one for path in watched for one in drawn(path, None if chosen.all else EACH)]
    random.Random(len(mutants)).shuffle(mutants)  # so that what time does not reach is of all files alike
    with Nurseries() as nurseries, ThreadPoolExecutor(nurseries.size) as pool:
        took: dict[str, float] = {}
        turns = {tests: Lock() for tests in watched.values()}

        def as_it_is(tests: str) -> float:
            """How long the tests take on the code as it is: run once, when they are first wanted."""
            with turns[tests]:
                if tests not in took:
                    began = time.monotonic()
                    code, output = nurseries.run(tests, TIMEOUT_S)
                    if code != 0:
                        raise TestsFail(f"these fail on the code as it is: {tests}\n{output}")
                    took[tests] = time.monotonic() - began
                    say(f"{took[tests]:6.1f} s  {tests}")
            return took[tests]

        def noticed(mutant: Mutant) -> bool | None:
            if time.monotonic() > ends:
                return None
            tests = watched[mutant.path]
            found = nurseries.run(tests, SLOWER * as_it_is(tests) + THEN_SOME_S, mutant)[0] != 0
            if not found:
                say(f"survived: {mutant.path}:{mutant.line} ({mutant.operator})\n{mutant.difference}\n")
            return found

        try:
            results = list(pool.map(noticed, mutants))
        except TestsFail as failure:
            pool.shutdown(cancel_futures=True)
            say(str(failure))
            return 1
    return told(mutants, results, chosen.json)


def drawn(path: str, count: int | None) -> list[Mutant]:
    """So many mutants of a file, or all; at most two of one line; none that is known as equivalent."""
    source = (ROOT / path).read_text(encoding="utf-8")
    known = equivalents(path, source)
    found = places(source)
    random.Random(hashlib.sha256(source.encode()).digest()).shuffle(found)
    by_line: Counter[int] = Counter()
    kept: list[Mutant] = []
    for line, operator, occurrence in found:
        if count is not None and (len(kept) == count or by_line[line] == 2):
            continue
        one = mutated(path, source, operator, occurrence)
        if one and (one.before, one.after) not in known:
            kept.append(one)
            by_line[line] += 1
    return kept


def equivalents(path: str, source: str) -> set[tuple[str, str]]:
    """A file's changes that no test could notice: a line, and what becomes of it."""
    with (Path(__file__).parent / "equivalent.toml").open("rb") as file:
        listed = [one for one in tomllib.load(file)["mutant"] if one["path"] == path]
    lines = {line.strip() for line in source.splitlines()}
    for one in listed:
        if one["line"] not in lines:
            say(f"equivalent.toml: {path} has no such line any more: {one['line']}")
    return {(one["line"], becomes) for one in listed for becomes in one["becomes"]}


def places(source: str) -> list[tuple[int, str, int]]:
    """Where an operator has something to change: the line, the operator, and which of its places this is."""
    found = []
    counts: Counter[str] = Counter()
    operators = {name: get_operator(f"core/{name}")() for name in OPERATORS}
    for node in ast_nodes(get_ast(source)):
        for name, operator in operators.items():
            for (line, _), _ in operator.mutation_positions(node):
                found.append((line, name, counts[name]))
                counts[name] += 1
    return found


def mutated(path: str, source: str, operator: str, occurrence: int) -> Mutant | None:
    """A file with one place changed; none where the operator cannot, or what it changes is no behaviour."""
    try:
        changed = mutate_code(source, get_operator(f"core/{operator}")(), occurrence)
    except AttributeError:  # ExceptionReplacer knows no exception with a dot in its name
        return None
    before, after = source.splitlines(), (changed or source).splitlines()
    line = next((n for n, (old, new) in enumerate(zip(before, after, strict=False), 1) if old != new), 0)
    old, new = (lines[line - 1].strip() if line else "" for lines in (before, after))
    if not line or old.startswith(("@", "from ", "import ", '"""', "def ", "class ")):
        return None
    shown = [row for row in difflib.unified_diff(before, after, lineterm="", n=0) if row[:3] not in ("---", "+++")]
    return Mutant(path, operator, line, old, new, "\n".join(shown[1:]), "\n".join(after) + "\n")


def at_best(noticed: int, ran: int) -> float:
    """The upper end of Wilson's 95 % interval for a share (E. B. Wilson, JASA 22:209, 1927); 0 where nothing ran."""
    if not ran:
        return 0.0
    z2, share = 1.96**2, noticed / ran
    spread = (z2 * (share * (1 - share) / ran + z2 / (4 * ran * ran))) ** 0.5
    return (share + z2 / (2 * ran) + spread) / (1 + z2 / ran)


def told(mutants: Sequence[Mutant], results: Sequence[bool | None], file: Path | None) -> int:
    """Print the figures, and keep the survivors."""
    say(f"{'':58}{'noticed':>9}{'survived':>9}{'no time':>9}")
    for path in dict.fromkeys(sorted(one.path for one in mutants)):
        mine = [result for one, result in zip(mutants, results, strict=True) if one.path == path]
        say(f"{path:58}{mine.count(True):>9}{mine.count(False):>9}{mine.count(None):>9}")
    survivors = [one for one, result in zip(mutants, results, strict=True) if result is False]
    ran = sum(result is not None for result in results)
    share = (ran - len(survivors)) / ran if ran else 0.0
    best = at_best(ran - len(survivors), ran)
    said = f"{ran} mutants ran, {ran - len(survivors)} noticed ({share:.0%}; {best:.0%} at best, at least {FLOOR:.0%})"
    say(f"\n{said}, {len(survivors)} survived")
    if file:
        kept = [{name: value for name, value in asdict(one).items() if name != "source"} for one in survivors]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"ran": ran, "noticed": ran - len(survivors), "survivors": kept}, indent=1) + "\n")
    return 0 if best >= FLOOR else 1


def say(line: str) -> None:
    """A line, now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
