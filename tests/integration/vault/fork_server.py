"""Forks processes that rotate and shred, from one that has imported everything, so that killing one costs milliseconds.

Reads lines ``FOLDER JOB DELAY_S TWIN…``: forks a process that opens the house in the folder, does the job over and over
(``rotate``) or once (``shred``: the first twin whole, of the second the laboratory results), and is killed with SIGKILL
so many seconds after it is ready. Says ``killed``, or ``done`` where the job ended before.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.integration.vault.erasure_fixtures import ErasureHouse
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.keys import rotation

SMALL_BATCH = 4


def work(folder: Path, job: str, twins: list[TwinId], ready: int) -> None:
    """Open the house, say so, do the job."""
    rotation.FIRST_BATCH = rotation.LARGEST_BATCH = SMALL_BATCH  # many transactions, to die between and in
    house = ErasureHouse(folder)
    os.write(ready, b".")
    if job == "shred":
        house.erasures.erase([house.request(twins[0]), house.request(twins[1], [Category.LABS])])
        return
    while True:
        house.keyring.rotate()
        house.keyring.retire()


def main() -> None:
    """Serve rounds until the input ends."""
    for line in sys.stdin:
        folder, job, delay_s, *twins = line.split()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(Path(folder), job, [TwinId(one) for one in twins], writer)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        os.read(reader, 1)  # empty, had it died before it was ready
        os.close(reader)
        time.sleep(float(delay_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        said = "killed" if os.WIFSIGNALED(status) else "done" if status == 0 else f"failed: {status}"
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
