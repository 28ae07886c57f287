"""Writes records until it is killed, and prints each one's id only once the vault has said that it is durable."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.vault.conftest import build
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category
from twinward.vault.interfaces import Record

MARKER = b"ZEBRA-PLAINTEXT-MARKER"


def main(folder: Path) -> None:
    house = build(folder, FixedClock())
    while True:
        twin = new_twin_id(house.clock.now_ms())
        house.vault.create_twin(house.permit(twin, Action.WRITE))
        for size in (1, 40, 3):
            batch = [
                Record(twin, "Observation", Category.LABS, MARKER + b"%d" % number, (f"{MARKER.decode()}/{number}",))
                for number in range(size)
            ]
            for record in house.write(*batch):
                sys.stdout.write(f"{twin} {record.record_id}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
