"""Hospitals in processes of their own: the same sums, real dropouts, and nothing executable on the wire."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.federation.kit import (
    HOSPITALS,
    IDENTITIES,
    ROSTER,
    AllPaid,
    MemoryBudget,
    MemoryRegistry,
    ask_all,
    join_all,
    site_of,
    vectors,
)
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput
from twinward.federation import site_messages
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey, open_sum
from twinward.federation.coordinator import Coordinator
from twinward.federation.errors import KeyRefused, RoundAborted, RoundRefused
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.site import HospitalSite
from twinward.federation.site_process import SiteProcess
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays, SimulatedStays
from twinward.federation.study import StudyProtocol

BENCHMARK = Benchmark("simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(200, 41), 42))


def study(name: str) -> StudyProtocol:
    return StudyProtocol.for_dp_var(name, HOSPITALS, expected_patients=300)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SiteProcess]]:
    folder = tmp_path_factory.mktemp("memories")
    made = [
        SiteProcess(
            IDENTITIES[name],
            ROSTER,
            SimulatedStays(100, seed=index),
            reservations=AllPaid(),
            memory=folder / f"{name}.db",
            pace_s=0.01,
            reply_timeout_s=60,
        )
        for index, name in enumerate(HOSPITALS)
    ]
    yield made
    for site in made:
        site.close()


def test_a_study_over_three_processes(processes: list[SiteProcess]) -> None:
    assert len({os.getpid(), *(site.process_id for site in processes)}) == 4
    budget, registry = MemoryBudget(), MemoryRegistry()
    trained = Coordinator(processes, budget, registry, FixedClock()).run(study("var-1"), BENCHMARK)
    assert budget.settled == {1: "committed"}
    assert len(registry.entries) == 1
    assert 0.5 < trained.comparison.private.auroc < 1
    # What a site refuses crosses the pipe as the error it was.
    assert processes[0].join(study("var-1")) is None
    with pytest.raises(RoundRefused, match="refuses attempt 2"):
        processes[0].contribute(1, 2, np.zeros(1225), [])
    with pytest.raises(RoundRefused, match="seals no answer"):
        processes[0].unmask(1, {})


def test_masks_cancel_across_processes(processes: list[SiteProcess]) -> None:
    zero, keys = np.zeros(1225), join_all(processes, study("var-2"))
    total = open_sum(vectors(ask_all(processes, zero, keys)), HOSPITALS)
    assert np.abs(total.astype(float)).max() < 2**45  # 300 patients of 2^24 and noise, far below 2^63
    with pytest.raises(RoundRefused):
        processes[0].contribute(1, 1, zero + 1, keys)


def test_a_killed_hospital_aborts_the_study(tmp_path: Path) -> None:
    killed = SiteProcess(
        IDENTITIES["south"],
        ROSTER,
        SimulatedStays(100, seed=2),
        reservations=AllPaid(),
        memory=tmp_path / "south.db",
        pace_s=0.01,
        reply_timeout_s=60,
    )
    try:

        class Killer(HospitalSite):
            def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
                assert killed.process_id is not None
                os.kill(killed.process_id, signal.SIGKILL)
                return super().join(study, attempt)

        held = HeldStays(simulate_stays(20, 1))
        here = [site_of("east", held), site_of("north", held)]
        here[0].__class__ = Killer
        budget, registry = MemoryBudget(), MemoryRegistry()
        with pytest.raises(RoundAborted, match="south dropped out"):
            Coordinator([*here, killed], budget, registry, FixedClock()).run(study("var-3"), BENCHMARK)
    finally:
        killed.close()
    assert budget.reserved
    assert not budget.settled
    assert not registry.entries


def test_what_is_no_message_is_refused_and_never_unpickled(processes: list[SiteProcess], tmp_path: object) -> None:
    trap = f"{tmp_path}/ran"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (trap, "w"))

    for content in (pickle.dumps(Trap()), b"", b"\x81\xa4type\xa5leave", os.urandom(100)):
        processes[0]._pipe.send_bytes(content)
        reply = site_messages.REPLIES.decode(processes[0]._pipe.recv_bytes())
        assert isinstance(reply, site_messages.Failed)
        assert reply.kind == "BadInput"
    assert not os.path.exists(trap)  # noqa: PTH110
    processes[0].join(study("var-4"))  # and it still serves


def test_errors_keep_their_type_across_the_pipe(processes: list[SiteProcess]) -> None:
    with pytest.raises(BadInput, match="64-bit floats"):
        processes[0]._ask(site_messages.Contribute(1, 1, b"odd", []), site_messages.Contributed)
    with pytest.raises(KeyRefused, match="not of the hospitals whose keys"):
        processes[0].join(StudyProtocol.for_dp_var("var-1", ("a", "b", "c")))


def test_stays_sent_at_the_start_do_not_show_in_the_coordinator() -> None:
    held = HeldStays(simulate_stays(2, 1))
    assert "array" not in repr(held)
