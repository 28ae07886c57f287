"""Kills -9 during ingest on each backend (200 in `make kills`): nothing acknowledged is lost,
nothing is orphaned, nothing is readable.

The writers write rows, segments and updates and compact, all at once; the moments of the kills are random. What they
were killed on is then read back whole: through the vault, and by counting what stands in the tables.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.durability.orphans import require_no_orphans, segments_and_rows
from tests.integration.durability.writer import MARKER, content
from tests.integration.postgres.fixtures import House, build
from tests.kills import kills
from tests.postgres import Postgres, running_postgres
from twinward.core.vocabulary import TwinId

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
KILLS = kills(40, 200)
SERVER_CRASHES = 5
LONGEST_S = 0.12
ACKNOWLEDGED = re.compile(rf"({MARKER}/[0-9a-f-]{{36}}/[0-9]+) ([0-9])")


class ForkServer:
    """Writers to be killed, out of one process that has imported everything."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def fork_server(keys: Path, output: Path, places: tuple[str, str, str]) -> Iterator[ForkServer]:
    command = [sys.executable, "-m", "tests.integration.durability.writer", str(keys), str(output), *places]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def kill_many(
    tmp_path: Path, places: tuple[str, str, str], seed: int, between: Callable[[int, ForkServer], None]
) -> dict[str, int]:
    """Kill ``KILLS`` writers; return the newest version acknowledged of each record."""
    chance = random.Random(seed)
    keys, output = tmp_path / "keys", tmp_path / "acknowledged"
    build(keys, *places).close()
    with fork_server(keys, output, places) as writers:
        for number in range(KILLS):
            assert writers.ask(f"start {seed + number}") == "ready"
            time.sleep(chance.uniform(0, LONGEST_S))
            between(number, writers)
            assert writers.ask("kill") == "dead"
    told: dict[str, int] = {}
    for line in output.read_text().rpartition("\n")[0].splitlines():
        if whole := ACKNOWLEDGED.fullmatch(line):
            told[whole[1]] = max(int(whole[2]), told.get(whole[1], 0))
    return told


def require_everything(house: House, told: dict[str, int]) -> None:
    """Whatever was acknowledged opens; whatever is there is whole, found by its name and chained."""
    twins = house.store.twins()
    seen: dict[str, int] = {}
    updated = []
    for twin in twins:
        permit = house.permit(twin)
        records = house.vault.read_twin(permit)  # raises if a row has no key, or does not open
        kept = house.vault.locate_many([record.references[0] for record in records])
        for record in records:
            (name,) = record.references
            assert record.content == content(name, record.version)
            assert (kept[name].twin, kept[name].record_id, kept[name].version) == (
                twin,
                record.record_id,
                record.version,
            )
            seen[name] = record.version
            if record.version > 1:
                updated.append((permit, record))
        # No batch is half there: a twin has all the records it was first written with.
        assert len(records) in (1, 20, 90)
    for permit, record in updated[::7]:
        assert record.record_id is not None
        versions = house.vault.read_history(permit, record.record_id)
        assert [one.version for one in versions] == list(range(1, record.version + 1))
    lost = {name for name, version in told.items() if seen.get(name, 0) < version}
    assert not lost, f"{len(lost)} acknowledged records are lost"
    require_no_orphans(house.store)
    segments, rows = segments_and_rows(house.store)
    assert segments > KILLS // 10  # or this test would not have tested them
    assert rows > 20


def require_no_plaintext(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path


def test_sqlite(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    places = (f"sqlite:{folder}/records.db", f"sqlite:{folder}/keyring.db", f"sqlite:{folder}/log.db")

    def look(number: int, writers: ForkServer) -> None:
        if number % 20 == 0:
            require_no_plaintext(folder)

    told = kill_many(tmp_path, places, 2026, look)
    require_no_plaintext(folder)  # the write-ahead log as the last killed writer left it
    house = build(tmp_path / "keys", *places)
    require_everything(house, told)
    sealed = next(iter(house.store.of_twin(TwinId(next(iter(told)).split("/")[1]))))
    seen = (sealed.segment if hasattr(sealed, "segment") else sealed).sealed[40:80]
    house.close()
    assert any(seen in path.read_bytes() for path in folder.iterdir()), "a search that cannot find ciphertext"
    assert len(told) > KILLS


def test_postgres(tmp_path: Path) -> None:
    crash_at = {int(number) for number in range(KILLS // (SERVER_CRASHES + 1), KILLS, KILLS // SERVER_CRASHES)}
    with running_postgres() as server:  # its own: other tests keep theirs
        places = (server.database(), server.database(), server.database())

        def crash(number: int, writers: ForkServer) -> None:
            if number in crash_at:
                server.stop(signal.SIGQUIT if number % 2 else signal.SIGKILL)
                server.start()
                time.sleep(0.3)  # the writer notices, and goes on

        told = kill_many(tmp_path, places, 2027, crash)
        house = build(tmp_path / "keys", *places)
        require_everything(house, told)
        house.close()
        _require_nothing_readable(server)
        assert len(told) > KILLS


def _require_nothing_readable(server: Postgres) -> None:
    server.stop()  # every page is written before the search
    require_no_plaintext(server.folder)
    server.start()
