"""Whatever dies, writer or server: nothing acknowledged is lost, nothing is half there, no plaintext is on the disk."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.postgres.fixtures import build
from tests.integration.postgres.write_forever import MARKER
from tests.kills import kills
from tests.postgres import Postgres, running_postgres
from twinward.core.vocabulary import RecordId, TwinId
from twinward_ledger import merkle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WRITER_KILLS = kills(8, 15)
SERVER_CRASHES = kills(3, 6)
Places = tuple[str, str, str]


@pytest.fixture
def places(postgres: Postgres) -> Places:
    return postgres.database(), postgres.database(), postgres.database()


@contextmanager
def writer(keys: Path, places: Places, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.integration.postgres.write_forever", str(keys), *places]
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, cwd=ROOT) as process:
        try:
            yield process
            assert process.poll() is None, "the writer ended by itself"
        finally:
            process.kill()
            process.wait()


def await_growth(output: Path, process: subprocess.Popen[bytes], beyond: int = 0) -> None:
    deadline = time.monotonic() + 60
    while output.stat().st_size <= beyond and process.poll() is None:
        assert time.monotonic() < deadline, "the writer got nothing acknowledged"
        time.sleep(0.01)


def acknowledged(output: Path) -> list[list[str]]:
    return [line.split() for line in output.read_text().rpartition("\n")[0].splitlines()]


def require_everything(keys: Path, places: Places, told: list[list[str]]) -> None:
    house = build(keys, *places)
    permits = {twin: house.permit(TwinId(twin)) for twin in {line[0] for line in told}}
    leaves = list(house.log.leaves(0, house.log.size()))
    for twin, record_id, index in told:
        assert house.vault.read(permits[twin], RecordId(record_id)).content.startswith(MARKER)
        assert leaves[int(index)] == record_id.encode()
    # No batch is half there: every twin's rows are those of whole batches of 1, 40 and 3.
    for twin in house.store.twins():
        assert len(list(house.store.of_twin(twin))) in (1, 41, 44)
    assert house.log.root() == merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])
    house.close()


def require_no_plaintext(postgres: Postgres, keys: Path, places: Places) -> None:
    house = build(keys, *places)
    sealed = next(iter(house.store.of_twin(house.store.twins()[0]))).sealed[40:80]
    house.close()
    seen = False
    for path in postgres.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert MARKER not in content, path
            seen = seen or sealed in content
    assert seen, "the ciphertext must be found, or this search could not have found plaintext either"


def test_kill_9_of_the_writer_loses_nothing_acknowledged(tmp_path: Path, postgres: Postgres, places: Places) -> None:
    chance = random.Random(2026)
    keys, told = tmp_path / "keys", []
    for _ in range(WRITER_KILLS):
        output = tmp_path / "acknowledged"
        with writer(keys, places, output) as process:
            await_growth(output, process)
            time.sleep(chance.uniform(0, 0.25))
        told += acknowledged(output)
    assert len(told) > WRITER_KILLS
    require_everything(keys, places, told)
    require_no_plaintext(postgres, keys, places)


def test_a_crash_of_the_server_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(2027)
    keys, output = tmp_path / "keys", tmp_path / "acknowledged"
    with running_postgres() as server:  # its own: other tests keep theirs
        places = server.database(), server.database(), server.database()
        with writer(keys, places, output) as process:
            for crash in range(SERVER_CRASHES):
                await_growth(output, process, beyond=output.stat().st_size)  # it goes on by itself after each crash
                time.sleep(chance.uniform(0, 0.3))
                server.stop(signal.SIGQUIT if crash % 2 else signal.SIGKILL)
                server.start()
            await_growth(output, process, beyond=output.stat().st_size)
        told = acknowledged(output)
        assert len(told) > SERVER_CRASHES
        require_everything(keys, places, told)
        require_no_plaintext(server, keys, places)
