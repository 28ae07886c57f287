"""The completeness map of this hospital's log: kept up with the log, its root logged, a patient's entry proven.

A publication happens before each checkpoint, in one transaction of the map: it takes in the rows that were logged
since the last one, then appends the new root to the log, then commits. A crash in between leaves a root in the log
and the map as it was; the next publication takes in the same rows, and finds the same map. Nothing of it lies on the
way of an access: the sealer remembers whom this process's rows are about, and for any other (another process's) the
entry's routing says it, which outlives the erasure of its event.

What is filed under nobody is in no patient's sub-log, so it is opened before the map says that all is there: an access
that names a patient who has a key stops the publication.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from twinward.audit.errors import NoSuchEvent
from twinward.audit.events.sealer import EventSealer
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import Clock
from twinward.core.vocabulary import TwinId
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive
from twinward_ledger import merkle
from twinward_ledger.completeness.interfaces import LoggedHead, MapStore
from twinward_ledger.completeness.map import MapHead, MapProof, key_commitment, subject_label
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.errors import LogCorrupt
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry

LABEL_KEY = b"twinward/completeness-label-key"
_CACHED_SUBJECTS = 1 << 16
_KIND_OFFSET = 1


@dataclass(frozen=True, slots=True)
class SubjectProof:
    """One patient's entry in the newest published map, and the key under which to look for it."""

    logged: LoggedHead
    label_key: bytes
    proof: MapProof


class Completeness:
    """Keeps one log's map.

    Args:
        log: the log.
        store: the map's storage.
        sealer: says whom an entry is about.
        keys: give the label key.
        clock: the time put on published roots.
    """

    def __init__(self, log: Log, store: MapStore, sealer: EventSealer, keys: EventKeys, clock: Clock) -> None:
        self._log = log
        self._store = store
        self._sealer = sealer
        self._keys = keys
        self._clock = clock
        self._named = lru_cache(maxsize=_CACHED_SUBJECTS)(self._name)

    def publish(self) -> LoggedHead | None:
        """Bring the map up to the log and log its root; None where there was nothing to take in.

        Raises:
            LogUnavailable: the map or the log could not be written.
            LogCorrupt: a row does not say whom it is about.
            LogTampered: a row that is about nobody names a patient, or is not what its leaf commits to.
        """
        with self._store.transaction() as view:
            last, size = view.head(), self._log.store.size()
            through = last.head.through if last else 0
            self._require_logged(last, size)
            leaves = list(self._log.store.leaves(through, size))
            if all(leaf[_KIND_OFFSET] == LeafKind.COMPLETENESS for leaf in leaves):
                return None
            tree, tags = MapTree(view), dict[bytes, bytes]()
            root = tree.extend(self._rows(through, leaves, tags))
            view.put_tags(tags)
            head = MapHead(size, root.total, root.hash, key_commitment(self._label_key()))
            leaf = head.leaf(self._clock.now_ms()).encode()
            logged = LoggedHead(head, self._log.append([Entry(leaf, head.encode())])[0])
            view.put_head(logged)
        self._sealer.forget(size)
        return logged

    def prove(self, twin: TwinId) -> SubjectProof:
        """One patient's entry in the newest published map. Raises ``NoSuchEvent`` before the first publication."""
        with self._store.transaction() as view:
            logged = view.head()
            if logged is None:
                raise NoSuchEvent("no completeness map is in the log yet", hint="`twinward audit checkpoint` makes one")
            key = self._label_key()
            label = subject_label(key, self._log.origin, twin)
            return SubjectProof(logged, key, MapTree(view).prove(label))

    def tags(self) -> Mapping[bytes, bytes]:
        """Every patient's tag and label, for fsck."""
        with self._store.transaction() as view:
            return view.tags()

    def require_sound(self) -> None:
        """Hold the map's storage against the root it logged last. Raises ``LogCorrupt``."""
        with self._store.transaction() as view:
            logged, tree = view.head(), MapTree(view)
            for root in (tree.root(), tree.rebuilt()):
                if logged is not None and (root.hash, root.total) != (logged.head.root, logged.head.total):
                    message = "the completeness map's storage is not what was logged; delete it, it is made again"
                    raise LogCorrupt(message, first_bad_index=logged.index)

    def close(self) -> None:
        """Give back the map's storage."""
        self._store.close()

    def label(self, twin: TwinId) -> bytes:
        """Where a patient stands in the map."""
        return self._named(twin)[0]

    def _require_logged(self, last: LoggedHead | None, size: int) -> None:
        """A map that is ahead of its log would go on from rows that are not there: the log was rolled back."""
        if last and (last.index >= size or self._log.store.entry(last.index).body != last.head.encode()):
            message = "the log does not hold the completeness map that was logged last: it was rolled back"
            raise LogCorrupt(message, first_bad_index=min(last.index, size))

    def _rows(
        self, start: int, leaves: Sequence[bytes], tags: dict[bytes, bytes]
    ) -> Iterator[tuple[bytes, int, bytes]]:
        """Label, index and leaf hash of every row about a patient; their tags' labels go into ``tags``."""
        for index, leaf in enumerate(leaves, start):
            if leaf[_KIND_OFFSET] == LeafKind.ACCESS:
                label, tag = self._named(self._sealer.remembered(index) or self._whose(index))
                tags[tag] = label
                yield label, index, merkle.leaf_hash(leaf)
            elif leaf[_KIND_OFFSET] == LeafKind.NODE:
                self._require_nobody(index)

    def _whose(self, index: int) -> TwinId:
        entry = self._log.store.entry(index)
        try:
            twin = self._sealer.subject(entry)
        except OpenError:
            twin = None
        if twin is None:
            raise LogCorrupt(f"row {index} does not say which patient it is about", first_bad_index=index)
        return twin

    def _require_nobody(self, index: int) -> None:
        """A row that is filed under nobody hides no patient's access. Raises ``LogTampered``."""
        entry = self._log.store.entry(index)
        twin, opening = self._sealer.open(index, entry)
        self._sealer.require_filed(index, entry, twin, opening)

    def _name(self, twin: TwinId) -> tuple[bytes, bytes]:
        return subject_label(self._label_key(), self._log.origin, twin), self._sealer.tag("twin", twin)

    def _label_key(self) -> bytes:
        return derive(self._keys.audit_key(None), LABEL_KEY, b"")
