"""Writes records and log entries until it is killed, and prints each only once it is acknowledged as durable.

An unavailable server is waited for: whatever failed is given up, and writing goes on with a new twin.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.integration.postgres.fixtures import House, build
from twinward.core.errors import Unavailable
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.log.store import Entry

MARKER = b"ZEBRA-PLAINTEXT-MARKER"


def write_one_twin(house: House) -> None:
    twin = house.twin()
    for size in (1, 40, 3):
        records = house.write(twin, *(MARKER + b"/%d" % number for number in range(size)))
        entries = [Entry(str(record.record_id).encode(), b"sealed", (bytes(16),)) for record in records]
        indices = house.log.append(entries)
        for record, index in zip(records, indices, strict=True):
            sys.stdout.write(f"{twin} {record.record_id} {index}\n")
        sys.stdout.flush()


def main(keys: Path, records: str, keyring: str, log: str) -> None:
    house = build(keys, records, keyring, log)
    while True:
        try:
            write_one_twin(house)
        except (Unavailable, LogUnavailable):
            time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
