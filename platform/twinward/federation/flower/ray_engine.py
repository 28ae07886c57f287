"""Many simulated hospitals on Flower's simulation engine: Ray actors answer the product's own site messages.

``simulation.simulate`` has all sites in one process; here each message goes through a Flower grid to whichever actor is
free, so hospitals compute side by side on all cores. Sites, noise, masks and the coordinator are the same. What a
hospital must not forget lies in files of a folder that goes with the run, so any actor can answer for any hospital.

In an environment of its own (``make simulation``): flwr pins another Ray than similarity's cluster, and protobuf.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from twinward.core.clock import Clock
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.coordinator import Coordinator, Progress, TrainedStudy
from twinward.federation.errors import RoundAborted
from twinward.federation.evaluation.benchmark import Benchmark
from twinward.federation.local_ledger import LocalLedger
from twinward.federation.models import COHORT, ReservedPrivacy
from twinward.federation.privacy.accountant import cost_of
from twinward.federation.site import HospitalSite
from twinward.federation.site_messages import RemoteSite, answered
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol
from twinward_contracts.names import name_id

_ANSWER_S: Final = 600.0
_LOOK_EVERY_S: Final = 0.005
_PACE_S: Final = 0.001
_MOST_HELD: Final = 16
"""Hospitals whose stays an actor holds at once."""
_PART, _REQUEST, _ANSWER = "part", "request", "answer"


@dataclass(frozen=True)
class _Paid:
    """What a simulated hospital finds on its ledger: nobody's patients are behind it."""

    study: StudyProtocol

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """A live reservation of this very study."""
        hospitals = frozenset(name_id(name) for name in self.study.hospitals)
        return ReservedPrivacy(1, fingerprint, name_id(COHORT), hospitals, cost_of(self.study), live=True)


class _NodeSite(RemoteSite):
    """A hospital behind a node of the grid."""

    def __init__(self, name: str, grid: Grid, node: int, folder: Path) -> None:
        super().__init__(name)
        self._grid = grid
        self._node = node
        self._folder = folder

    def close(self) -> None:
        """Nothing is held here."""

    def _carried(self, message: bytes) -> bytes:
        wanted: dict[str, str | bytes] = {"hospital": self._name, "folder": str(self._folder), "data": message}
        answer = _asked(self._grid, self._node, wanted).get("data")
        if not isinstance(answer, bytes):
            raise RoundAborted(f"{self._name} dropped out: its simulated node did not answer")
        return answer


def simulate_on_ray(
    study: StudyProtocol,
    stays: Mapping[str, HeldStays],
    benchmark: Benchmark,
    clock: Clock,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> TrainedStudy:
    """Train over the protocol's hospitals, each a node of Flower's simulation engine. Raises as ``Coordinator.run``."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}
    found: list[TrainedStudy] = []
    failed: list[Exception] = []
    server = ServerApp()
    with tempfile.TemporaryDirectory(prefix="twinward-simulation-") as made:
        folder = Path(made)
        _lay_out(folder, study, stays)

        def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
            try:
                sites = [_NodeSite(name, grid, node, folder) for name, node in _nodes(grid, study).items()]
                ledger = LocalLedger()
                found.append(Coordinator(sites, ledger, ledger, clock, progress=progress).run(study, benchmark))
            except Exception as error:  # noqa: BLE001 - raised below, on the caller's thread
                failed.append(error)

        server.main()(main)
        run_simulation(server, client, len(study.hospitals), backend_config=_BACKEND)
    if failed:
        raise failed[0]
    return found[0]


_BACKEND: Final[Any] = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    "init_args": {"include_dashboard": False, "log_to_driver": False},
}


def _nodes(grid: Grid, study: StudyProtocol) -> dict[str, int]:
    """Which node is which hospital's: nodes are numbered, hospitals are in the protocol's order."""
    deadline = time.monotonic() + _ANSWER_S
    while len(nodes := list(grid.get_node_ids())) < len(study.hospitals):
        if time.monotonic() > deadline:
            raise RoundAborted("the simulated hospitals did not start")
        time.sleep(_LOOK_EVERY_S)
    return {study.hospitals[int(str(_asked(grid, node, {})[_PART]))]: node for node in nodes}


def _asked(grid: Grid, node: int, wanted: Mapping[str, str | bytes]) -> ConfigRecord:
    content = RecordDict({_REQUEST: ConfigRecord(dict(wanted))})
    sent = set(grid.push_messages([Message(content, dst_node_id=node, message_type="query")]))
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        for reply in grid.pull_messages(sent):
            record = reply.content.get(_ANSWER) if reply.has_content() else None
            if not isinstance(record, ConfigRecord):
                raise RoundAborted("a simulated hospital failed; its own output says why")
            return record
        time.sleep(_LOOK_EVERY_S)
    raise RoundAborted("a simulated hospital did not answer")


def _lay_out(folder: Path, study: StudyProtocol, stays: Mapping[str, HeldStays]) -> None:
    """Keys, stays and the protocol, where every actor finds them."""
    (folder / "study.json").write_bytes(study.canonical())
    for name in study.hospitals:
        np.save(folder / f"{name}.npy", stays[name].held)
        (folder / f"{name}.groups").write_bytes(msgspec.json.encode(stays[name].named))
        (folder / f"{name}.key").write_bytes(HospitalIdentity.generate(name).signing_key)


_held: OrderedDict[tuple[str, str], tuple[HospitalSite, StudyProtocol]] = OrderedDict()


def answer(message: Message, context: Context) -> Message:
    """What a simulated hospital answers, or which one of them this node is."""
    asked = message.content[_REQUEST]
    assert isinstance(asked, ConfigRecord)  # noqa: S101 - both sides are this file
    if "hospital" not in asked:
        said: dict[str, Any] = {_PART: str(context.node_config["partition-id"])}
    else:
        site, study = _site(Path(str(asked["folder"])), str(asked["hospital"]))
        raw = asked["data"]
        assert isinstance(raw, bytes)  # noqa: S101
        said = {"data": answered(site, raw, pace_s=_PACE_S, only=study)}
    return Message(RecordDict({_ANSWER: ConfigRecord(said)}), reply_to=message)


def _held_stays(folder: Path, name: str) -> HeldStays:
    groups = msgspec.json.decode((folder / f"{name}.groups").read_bytes(), type=tuple[str, ...] | None)
    return HeldStays(np.load(folder / f"{name}.npy"), groups)


def _site(folder: Path, name: str) -> tuple[HospitalSite, StudyProtocol]:
    """A hospital's site in this actor; what it promised, whichever actor answered, is in its memory's file."""
    key = (str(folder), name)
    if key not in _held:
        study = StudyProtocol.model_validate_json((folder / "study.json").read_bytes())
        keys = {one: (folder / f"{one}.key").read_bytes() for one in study.hospitals}
        roster = {one: HospitalIdentity(one, secret).public_key for one, secret in keys.items()}
        _held[key] = (
            HospitalSite(
                HospitalIdentity(name, keys[name]),
                roster,
                _held_stays(folder, name),
                reservations=_Paid(study),
                answered=AnsweredRounds(folder / f"{name}.db"),
            ),
            study,
        )
    _held.move_to_end(key)
    while len(_held) > _MOST_HELD:
        _held.popitem(last=False)[1][0].close()
    return _held[key]


client = ClientApp()
client.query()(answer)
