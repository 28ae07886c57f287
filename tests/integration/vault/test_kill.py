from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.vault.conftest import build
from tests.integration.vault.ingest_forever import MARKER
from tests.kills import kills
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import RecordId, TwinId

ROOT = Path(__file__).parents[3]
KILLS = kills(8, 20)


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged_and_leaves_no_plaintext(tmp_path: Path) -> None:
    chance = random.Random(2026)
    folder = tmp_path / "node"
    acknowledged: list[tuple[str, str]] = []
    for _ in range(KILLS):
        output = tmp_path / "acknowledged"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.vault.ingest_forever", str(folder)], stdout=file, cwd=ROOT
            )
            while output.stat().st_size == 0 and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.25))
            assert process.poll() is None, "the writer ended by itself"
            process.kill()
            process.wait()
        whole_lines = output.read_text().rpartition("\n")[0].splitlines()
        acknowledged += [(twin, record) for twin, record in map(str.split, whole_lines)]
        for path in folder.rglob("*"):
            assert path.is_dir() or MARKER not in path.read_bytes(), path
    house = build(folder, FixedClock())
    permits = {twin: house.permit(TwinId(twin)) for twin in {twin for twin, _ in acknowledged}}
    for twin, record_id in acknowledged:
        assert house.vault.read(permits[twin], RecordId(record_id)).content.startswith(MARKER)
    # No batch is half there: every twin's rows are those of whole batches of 1, 40 and 3.
    for twin in house.store.twins():
        assert len(list(house.store.of_twin(twin))) in (1, 41, 44)
    assert len(acknowledged) > KILLS
    house.vault.close()
