"""Hospitals' daemons on real sockets: what they answer, to whom, and that they go on after they were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.federation.daemons import EAST, Daemons, protocol
from tests.integration.federation.kit import (
    HOSPITALS,
    IDENTITIES,
    ROSTER,
    MemoryBudget,
    MemoryRegistry,
)
from twinward.core.clock import FixedClock
from twinward.federation import site_envelope, site_messages
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.coordinator import Coordinator, Progress
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.errors import KeyRefused, NotApproved, NotAuthentic, RoundAborted
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.stays.simulated import simulate_stays

BENCHMARK = Benchmark("simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(60, 41), 42))


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    with ExitStack() as stack:
        made = Daemons(tmp_path)
        for name in HOSPITALS:
            stack.callback(lambda name=name: made.servers[name].close())
        stack.callback(lambda: [one.close() for one in made.channels])
        yield made


def asked(daemons: Daemons, name: str, message: bytes) -> site_messages.Reply:
    raw = daemons.channel(name).ask(message)
    return site_messages.REPLIES.decode(site_envelope.open_answer(raw, name, ROSTER[name], message))


def test_a_study_goes_on_while_each_daemon_is_killed_and_started_again(daemons: Daemons) -> None:
    study = protocol("killed-1")
    daemons.approve(study)

    def kill(progress: Progress) -> None:
        if progress.stage == "joining" or (progress.stage == "training" and progress.done < study.rounds):
            for name in HOSPITALS:
                daemons.restart(name)

    budget = MemoryBudget()
    model = Coordinator(daemons.sites(), budget, MemoryRegistry(), FixedClock(), progress=kill).train(study).model
    assert budget.settled == {1: "committed"}
    assert np.isfinite(model.parameters).all()
    assert np.abs(model.parameters - model.detector().untrained()).max() > 0
    assert sorted(daemons.opened) == sorted(HOSPITALS * 4)  # at first, after joining, after rounds 1 and 2


def test_nothing_is_answered_that_no_officer_approved_or_that_was_withdrawn(daemons: Daemons) -> None:
    study = protocol("approved-1")
    daemons.approve(study, "east", "north")
    east, north, south = daemons.sites()
    for site in (east, north):
        site.prepare(study)
    for refused in (lambda: south.prepare(study), lambda: south.join(study)):
        with pytest.raises(NotApproved, match="no officer of south"):
            refused()
    assert daemons.opened.count("south") == 0
    assert north.join(study) is not None
    daemons.approvals("north").withdraw(study.fingerprint())
    with pytest.raises(NotApproved, match="north took back"):
        north.join(study)
    with pytest.raises(NotApproved):  # here, before anybody is asked
        daemons.sites()[0].prepare(protocol("approved-2"))


def test_only_the_approved_coordinator_is_listened_to(daemons: Daemons) -> None:
    study = protocol("coordinated-1")
    daemons.approve(study)
    with pytest.raises(KeyRefused, match="east coordinates"):
        daemons.sites(IDENTITIES["north"])[1].join(study)
    body = bytes(site_messages.msgspec.msgpack.encode(site_messages.Join(study.canonical(), 1)))
    for forged in (
        site_envelope.request(IDENTITIES["south"], "north", study.fingerprint(), body),
        site_envelope.request(HospitalIdentity("east", bytes(32)), "north", study.fingerprint(), body),
        site_envelope.request(EAST, "south", study.fingerprint(), body),  # to another hospital
        b"",
        b"x" * 200,
    ):
        reply = asked(daemons, "north", forged)
        assert isinstance(reply, site_messages.Failed)
        assert reply.kind == "NotAuthentic"
    assert daemons.opened == []
    other = protocol("coordinated-2")
    daemons.approve(other)
    mixed = site_messages.msgspec.msgpack.encode(site_messages.Join(other.canonical(), 1))
    reply = asked(daemons, "north", site_envelope.request(EAST, "north", study.fingerprint(), mixed))
    assert isinstance(reply, site_messages.Failed)
    assert reply.kind == "NotAuthentic"


def test_signed_nonsense_is_refused_and_the_daemon_goes_on(daemons: Daemons) -> None:
    study = protocol("nonsense-1")
    daemons.approve(study)
    for body in (b"", b"\x81\xa4type\xa5leave", b"\xff" * 40):
        reply = asked(daemons, "north", site_envelope.request(EAST, "north", study.fingerprint(), body))
        assert isinstance(reply, site_messages.Failed)
        assert reply.kind == "BadInput"
    assert daemons.sites()[1].join(study) is not None


def test_an_answer_that_a_relay_altered_or_kept_from_before_is_not_believed(daemons: Daemons) -> None:
    study = protocol("relayed-1")
    daemons.approve(study)
    through = daemons.channel("north")

    class Relay:
        kept = b""
        lie = "none"

        def ask(self, message: bytes) -> bytes:
            answered = through.ask(message)
            if self.lie == "replay":
                return self.kept
            self.kept = answered
            return answered if self.lie == "none" else answered[:-1] + bytes([answered[-1] ^ 1])

        def close(self) -> None:
            pass

    relay = Relay()
    site = DaemonSite("north", relay, EAST, daemons.approvals("east"))
    site.prepare(study)
    for relay.lie in ("flip", "replay"):
        with pytest.raises(NotAuthentic, match="north did not sign"):
            site.prepare(study)


def test_what_is_being_asked_ends_when_the_coordinator_leaves(daemons: Daemons) -> None:
    study = protocol("left-1")
    daemons.approve(study)
    site = daemons.sites()[1]
    site.prepare(study)
    site.close()
    with pytest.raises(RoundAborted, match="north dropped out"):
        site.join(study)


def test_two_studies_are_held_at_once_and_a_third_takes_the_place_of_the_oldest(daemons: Daemons) -> None:
    studies = [protocol(f"several-{number}") for number in range(3)]
    for study in studies:
        daemons.approve(study)
    site = daemons.sites()[1]
    for study in (studies[0], studies[1], studies[0], studies[2], studies[0], studies[1]):
        assert site.join(study) is not None
    assert len(daemons.opened) == 4
