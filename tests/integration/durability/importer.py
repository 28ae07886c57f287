"""Forks imports on command, each to be killed: one import of every module serves all of them.

Commands on standard input, one a line: ``start HOME FILE ACKNOWLEDGED`` forks an import and answers ``ready`` once it
begins; ``kill`` ends it with SIGKILL and answers ``dead``, or ``through`` if it came to its end before. An import
appends to ``ACKNOWLEDGED`` how many lines are durable, and only then; one of a bundle (``.json``) how many entries.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.integration.durability.writer import answer
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose
from twinward.fhir.bulk import bundle_files, ndjson_import
from twinward.node import SYSTEM, open_node

LINES_AT_ONCE = 40
"""So small that a file of some hundred lines is many batches, each with a kill's chance of its own."""

PAUSE_S = 0.005
"""After each acknowledgement, so that who waits for the n-th sees it before an import of known lines is through."""


def refuse(bad: ndjson_import.BadLine) -> None:
    raise bad.error


def child(home: Path, file: Path, output: Path, told: int) -> None:
    ndjson_import.BATCH_LINES = LINES_AT_ONCE
    acknowledged = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open_node(home) as node:
        os.write(told, b"r")

        def acknowledge(tally: ndjson_import.NdjsonTally) -> None:
            os.write(acknowledged, b"%d\n" % tally.lines)
            time.sleep(PAUSE_S)

        if file.suffix == ".json":
            bundle = bundle_files.bundle_of(file, bundle_files.read_file(file))
            bundle.into(node.twins, AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT))
            os.write(acknowledged, b"%d\n" % len(bundle.places))
            os._exit(0)
        bulk = node.twins.bulk_import(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT))
        ndjson_import.import_ndjson([file], bulk, on_bad_line=refuse, progress=acknowledge)
        os._exit(0)  # closing takes longer than what a kill is wanted in


def main() -> None:
    importing = 0
    for line in sys.stdin:
        command, *places = line.split()
        if command == "start":
            reading, writing = os.pipe()
            importing = os.fork()
            if not importing:
                child(Path(places[0]), Path(places[1]), Path(places[2]), writing)
            os.close(writing)
            os.read(reading, 1)  # one byte, or nothing if it died
            os.close(reading)
            answer("ready")
        else:
            os.kill(importing, signal.SIGKILL)  # a child that ended is still there to be waited for
            _, status = os.waitpid(importing, 0)
            through = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            answer("dead" if os.WIFSIGNALED(status) else "through" if through else "it failed")


if __name__ == "__main__":
    main()
