"""Forks writers on command, each to be killed: one import of everything serves hundreds of them.

Commands on standard input, one a line: ``start SEED`` forks a writer and answers ``ready`` once it writes; ``kill``
ends it with SIGKILL and answers ``dead``. A writer appends a line for what is acknowledged, and only then.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.integration.postgres.fixtures import TENANT, House, build
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.vault.errors import VersionConflict
from twinward.vault.interfaces import Draft, Record
from twinward.vault.segments.compaction import Compactor
from twinward_ledger.errors import LogUnavailable

MARKER = "ZEBRA-PLAINTEXT-MARKER"


def content(name: str, version: int) -> bytes:
    """What a record says: it names itself, so that an exchanged one would show."""
    return f'{{"says":"{MARKER} {name}","version":{version}}}'.encode()


class Writer:
    """Writes rows, segments and updates, and compacts, in an order of its own until it dies."""

    def __init__(self, house: House, acknowledged: int, seed: int) -> None:
        self._house = house
        self._file = acknowledged
        self._chance = random.Random(seed)
        self._compactor = Compactor(house.store, house.keyring, house.clock, TENANT)

    def run(self) -> None:
        while True:
            try:
                self._one_twin()
            except (Unavailable, LogUnavailable, VersionConflict):
                time.sleep(0.05)  # the server crashed: what failed is given up

    def _one_twin(self) -> None:
        twin = self._house.twin()
        names = [f"{MARKER}/{twin}/{number}" for number in range(self._chance.choice((1, 20, 90)))]
        few = names[: self._chance.choice((1, 18))]
        self._write(twin, few, names[len(few) :])
        self._update(twin, self._chance.sample(names, min(3, len(names))), 2)
        if self._chance.random() < 0.7:
            others = self._house.store.twins()
            self._compactor.run([twin, self._chance.choice(others)], tidy=False)
        self._update(twin, [names[0], names[-1]] if len(names) > 1 else names, 3)

    def _write(self, twin: TwinId, rows: list[str], drafted: list[str]) -> None:
        permit = self._house.permit(twin, Action.WRITE)
        records = [
            Record(twin, "Observation", Category.LABS, content(name, 1), (name,), fingerprint=f"{name}#1")
            for name in rows
        ]
        drafts = [
            Draft(
                Category.LABS,
                ["Observation"] * len(drafted),
                [(name,) for name in drafted],
                [content(name, 1) for name in drafted],
                [f"{name}#1" for name in drafted],
            )
        ]
        self._house.vault.write_many([(permit, records)], [(permit, drafts)] if drafted else [])
        self._acknowledge([(name, 1) for name in rows + drafted])

    def _update(self, twin: TwinId, names: list[str], at_least: int) -> None:
        for name in names:
            kept = self._house.vault.locate_many([name])[name]
            version = kept.version + 1
            record = Record(
                twin,
                "Observation",
                Category.LABS,
                content(name, version),
                (name,),
                kept.record_id,
                fingerprint=f"{name}#{version}",
            )
            written = self._house.vault.write(self._house.permit(twin, Action.WRITE), [record])[0]
            assert written.version == version <= at_least
            self._acknowledge([(name, version)])

    def _acknowledge(self, written: list[tuple[str, int]]) -> None:
        # A line of its own, whatever a writer that was killed in the middle of its last one left.
        os.write(self._file, "".join(["\n", *(f"{name} {version}\n" for name, version in written)]).encode())


def child(keys: Path, places: list[str], output: Path, seed: int, told: int) -> None:
    acknowledged = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    house = build(keys, *places)
    os.write(told, b"r")
    Writer(house, acknowledged, seed).run()


def answer(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main(keys: Path, output: Path, *places: str) -> None:
    writer = 0
    for line in sys.stdin:
        command, _, seed = line.strip().partition(" ")
        if command == "start":
            reading, writing = os.pipe()
            writer = os.fork()
            if not writer:
                child(keys, list(places), output, int(seed), writing)
            os.close(writing)
            os.read(reading, 1)  # one byte, or nothing if it died
            os.close(reading)
            answer("ready")
        else:
            os.kill(writer, signal.SIGKILL)
            _, status = os.waitpid(writer, 0)
            answer("dead" if os.WIFSIGNALED(status) else "it ended by itself")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
