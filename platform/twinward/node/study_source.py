"""A hospital's vault, as a study's site uses it from a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from twinward.access.interfaces import Principal
from twinward.core.config import ANSWERS_FILE, Settings
from twinward.core.errors import NotAtWork
from twinward.core.vocabulary import Action
from twinward.features.derivation import Measurement
from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import ICU, SignalSchema
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.disease_groups import DiseaseGroup, group_of
from twinward.fhir.mapping.coded_facts import facts_of
from twinward.fhir.mapping.records import measurements_of
from twinward.node.home import STUDY_READING_LOCK, home_of
from twinward.node.lifecycle import join_as_peer, open_node
from twinward.node.node import Node
from twinward.node.study_log_room import EventsOfSeveral, StudyLogRoom
from twinward.twins.read.cohorts import StayReader
from twinward.vault.interfaces import Record

_TREES: Final = msgspec.json.Decoder(float_hook=Decimal)

MEMORY_FILE: Final = ANSWERS_FILE


@dataclass
class VaultStays:
    """A hospital's stays, read in its own process from its own vault, each through its own permit.

    The node stays open as long as the process lives: whether a patient has withdrawn is asked before each round.

    Args:
        home: the home of the node that this machine serves.
        name: the hospital: that node's own, or a member of its embedded consortium.
        researcher: who trains. The account is that node's; a member of the consortium takes its word for it, and each
            time that the stays are asked for the account must still be good there.
    """

    home: Path
    name: str
    researcher: Principal
    _own: Node | None = field(default=None, repr=False)
    _node: Node | None = field(default=None, repr=False)
    _reader: StayReader | None = field(default=None, repr=False)
    _open: ExitStack = field(default_factory=ExitStack, repr=False)

    def stays(self, study: str, signals: SignalSchema) -> Stays:
        """The stays of every patient of this hospital whose consent allows research now."""
        node = self._opened()
        self._require_standing()
        if self._reader is None:
            known = self.researcher if node is self._own else replace(self.researcher, standing=None)
            self._reader = StayReader(node.twins, node.vault, node.access, known, measure=measured_in)
        with self._room(node) as room, room.reading("stays" if signals == ICU else "measurements", study) as logged:
            try:
                return self._reader.stays(study, signals)
            finally:
                logged.append(self._reader.decided)

    def groups(self, groups: Sequence[DiseaseGroup]) -> Sequence[str]:
        """Which of these each of them is in, by the Conditions on record that consent lets research read."""
        if self._reader is None:
            return []
        self._require_standing()
        with self._room(self._opened()) as room, room.reading("conditions", self._reader.study) as logged:
            try:
                return [group_of(facts, groups) for facts in self._reader.conditions(recorded_in)]
            finally:
                logged.append(self._reader.decided)

    def withdrawn(self) -> frozenset[int]:
        """Which of them have withdrawn since."""
        if self._reader is None:
            return frozenset()
        self._require_standing()
        return self._reader.withdrawn()

    @contextmanager
    def _room(self, node: Node) -> Iterator[StudyLogRoom]:
        """Lets the log not tell how many patients were read, nor up to which of them where one could not be."""
        assert self._own is not None  # noqa: S101 - it was opened with the other
        with closing(AnsweredRounds(memory_of(self._own.settings, self.name))) as memory:
            yield log_room(node, memory, memory_of(self._own.settings, self.name).with_name(STUDY_READING_LOCK))

    def _require_standing(self) -> None:
        """Raise ``NotAuthenticated`` where the researcher's account is good no longer."""
        if self._own is not None:
            self._own.accounts.require_standing(self.researcher)

    def _opened(self) -> Node:
        if self._node is None:
            node = self._open.enter_context(open_node(self.home))
            if node.restored is not None:
                raise NotAtWork("it answers no study")
            self._own = node
            if self.name != node.settings.tenant:
                node = join_as_peer(node, self.name)
                self._open.callback(node.close)
            self._node = node
        return self._node


def log_room(node: Node, memory: AnsweredRounds, lock: Path) -> StudyLogRoom:
    """By how much a hospital's log grows."""
    read = EventsOfSeveral(node.logged(Action.TRAIN), node.logged(Action.COUNT))
    return StudyLogRoom(node.audit, read, node.logged(Action.NOTE), memory, lock, node.clock)


def measured_in(record: Record) -> Iterator[Measurement]:
    """What a kept Observation says was measured; nothing where it cannot be read."""
    try:
        tree = _TREES.decode(record.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(tree, dict):
        yield from measurements_of(tree, "")


def recorded_in(record: Record) -> Iterator[Measurement]:
    """What a kept Condition says in codes; nothing where it cannot be read."""
    try:
        tree = _TREES.decode(record.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(tree, dict):
        yield from facts_of(tree, "")


def memory_of(settings: Settings, name: str) -> Path:
    """Where a hospital's site remembers what it answered."""
    return home_of(settings, name) / MEMORY_FILE
