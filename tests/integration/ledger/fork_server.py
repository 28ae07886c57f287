"""Forks log writers from one process that has imported everything, so that killing one costs milliseconds.

Reads lines ``URI ACKNOWLEDGED ROUND DELAY_S``: forks a writer on the log at that URI, kills it with SIGKILL after so
many seconds, reaps it and says ``killed``. A writer says what was acknowledged, and only then, in the file named.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry, LogStore
from twinward_ledger.stores import open_store
from twinward_ledger.stores.postgres import PostgresLogStore
from twinward_ledger.stores.sqlite import SqliteLogStore

SIGNER = NoteSigner("killed.example/log", b"k" * 32)
WORKERS = 4
PREIMPORTED = (SqliteLogStore, PostgresLogStore)  # opened by URI, which would import them in every child


def group(round_: int, worker: int, turn: int) -> list[Entry]:
    """One append: a few entries that name their place in it."""
    count = 1 + random.Random(f"{round_}/{worker}/{turn}").randrange(5)
    leaves = [b"%d/%d/%d/%d of %d" % (round_, worker, turn, n, count) for n in range(count)]
    return [Entry(leaf, b"sealed " + leaf * 20, (b"worker%10d" % worker,)) for leaf in leaves]


def _work(log: Log, round_: int, worker: int, acknowledged: int) -> None:
    turn = 0
    while True:
        entries = group(round_, worker, turn)
        try:
            indices = log.append(entries)
            lines = [b"%d %s\n" % (index, entry.leaf) for index, entry in zip(indices, entries, strict=True)]
            os.write(acknowledged, b"".join(lines))
            if worker == 0 and turn % 8 == 7:
                log.checkpoint()
        except LogUnavailable:  # a server that died: its log is asked again when it is back
            time.sleep(0.01)
        turn += 1


def write_until_killed(uri: str, acknowledged: str, round_: int) -> None:
    """Open the log and append from several threads, for ever."""
    report = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    log = Log(_open(uri), SIGNER)
    for worker in range(1, WORKERS):
        threading.Thread(target=_work, args=(log, round_, worker, report), daemon=True).start()
    _work(log, round_, 0, report)


def _open(uri: str) -> LogStore:
    while True:
        try:
            return open_store(uri)
        except LogUnavailable:
            time.sleep(0.01)


def main() -> None:
    """Serve rounds until the input ends."""
    for line in sys.stdin:
        uri, acknowledged, round_, delay_s = line.split()
        child = os.fork()
        if child == 0:
            try:
                write_until_killed(uri, acknowledged, int(round_))
            finally:
                os._exit(1)
        time.sleep(float(delay_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write("killed\n" if os.WIFSIGNALED(status) else f"ended by itself: {status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
