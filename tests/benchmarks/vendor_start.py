"""What a vendor waits for before anything is asked: the SDK's import, and the command line's help."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target

_NOTHING = ("-c", "pass")
_IMPORT = ("-c", "import twinward.client")
_HELP = ("-c", "from twinward.cli.main import run; run()", "vendor", "--help")


def started(scale: Scale) -> list[Row]:
    """CPU of whole processes, the interpreter's start included; their files lie in memory."""
    times = scale.pick(9, 3)
    for arguments in (_IMPORT, _HELP):
        _cpu_s(arguments)
    measured = [{arguments: _cpu_s(arguments) for arguments in (_NOTHING, _IMPORT, _HELP)} for _ in range(times)]
    bare = Figure.of([one[_NOTHING] for one in measured], "s")
    return [
        Row(work, Figure.of([one[arguments] for one in measured], "s"), bare, "python -c pass", target=target)
        for work, arguments, target in (
            ("import twinward.client", _IMPORT, Target("≤ 0.4 s", "value", "most", 0.4)),
            ("twinward vendor --help", _HELP, Target("≤ 0.25 s", "value", "most", 0.25)),
        )
    ]


def _cpu_s(arguments: tuple[str, ...]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


BENCHMARKS = (
    Benchmark("similarity.start", "a process that imports the vendor SDK, one that shows its help; CPU", started),
)
