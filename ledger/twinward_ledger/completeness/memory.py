"""The completeness map in memory: what fsck builds, and what tests hold the durable ones against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from twinward_ledger.completeness.interfaces import LoggedHead, MapView, Page
from twinward_ledger.completeness.map import Subject


@dataclass
class MemoryMap:
    """A map that is gone when the process ends."""

    _subjects: dict[bytes, Subject] = field(default_factory=dict)
    _members: defaultdict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    _pages: dict[int, Page] = field(default_factory=dict)
    _tags: dict[bytes, bytes] = field(default_factory=dict)
    _head: LoggedHead | None = None

    @contextmanager
    def transaction(self) -> Iterator[MapView]:
        """The map itself; nothing is undone if the block raises."""
        yield self

    def close(self) -> None:
        """Nothing to give back."""

    def head(self) -> LoggedHead | None:
        """The newest head."""
        return self._head

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        """Those of the labels that are in the map."""
        return {label: self._subjects[label] for label in labels if label in self._subjects}

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        """The patients under each prefix."""
        return {prefix: [self._subjects[label] for label in sorted(self._members[prefix])] for prefix in prefixes}

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        """The first patient in a range; looks at all of them."""
        return min((one for one in self._subjects.values() if low <= one.label <= high), key=_label_of, default=None)

    def every(self) -> list[Subject]:
        """All patients."""
        return [self._subjects[label] for label in sorted(self._subjects)]

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        """Those of the pages that are kept."""
        return {number: self._pages[number] for number in numbers if number in self._pages}

    def tags(self) -> Mapping[bytes, bytes]:
        """Every tag's label."""
        return self._tags

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Keep patients."""
        for one in subjects:
            self._subjects[one.label] = one
            self._members[one.label[:2]].add(one.label)

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        """Keep pages."""
        self._pages.update(pages)

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        """Keep tags."""
        self._tags.update(tags)

    def put_head(self, head: LoggedHead) -> None:
        """Keep the newest head."""
        self._head = head


def _label_of(subject: Subject) -> bytes:
    return subject.label
