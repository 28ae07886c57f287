"""What a vendor was told is kept: groups for ever, handles for their epoch, and what does not parse fails closed."""

from __future__ import annotations

import pytest

from twinward.core.vocabulary import TwinId
from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.release.history import ReleaseHistory, begun_anew

ANN, BEN, CEM = TwinId("a"), TwinId("b"), TwinId("c")
GROUPS = frozenset({frozenset({ANN, BEN}), frozenset({CEM})})


class Kept:
    """Keeps the content in memory, and counts how often it was written."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content, self.written = content, 0

    def load(self) -> bytes | None:
        return self.content

    def save(self, content: bytes) -> None:
        self.content, self.written = content, self.written + 1


def test_what_is_written_is_read_by_the_next_process() -> None:
    kept = Kept()
    ReleaseHistory(7, kept).write("acme", GROUPS, frozenset({ANN, CEM}))
    again = ReleaseHistory(7, kept)
    assert again.told("acme") == GROUPS
    assert again.handed("acme") == {ANN, CEM}
    assert again.told("globex") == again.handed("globex") == again.closed("acme") == frozenset()


def test_groups_hold_in_later_epochs_and_handles_do_not() -> None:
    kept = Kept()
    ReleaseHistory(7, kept).write("acme", GROUPS, frozenset({ANN}))
    later = ReleaseHistory(8, kept)
    assert later.told("acme") == GROUPS
    assert later.handed("acme") == frozenset()
    later.write("globex", GROUPS, frozenset({BEN}))
    assert ReleaseHistory(8, kept).handed("globex") == {BEN}
    assert ReleaseHistory(9, kept).told("acme") == GROUPS


def test_only_what_is_new_is_written() -> None:
    kept = Kept()
    history = ReleaseHistory(7, kept)
    history.write("acme", GROUPS, frozenset({ANN}))
    history.write("acme", GROUPS, frozenset({ANN}))
    assert kept.written == 1
    history.write("acme", GROUPS, frozenset({BEN}))
    assert history.handed("acme") == {ANN, BEN}
    history.write("acme", frozenset(), frozenset({BEN}))
    assert (kept.written, history.told("acme")) == (3, frozenset())


def test_a_history_begun_anew_closes_whom_the_lost_one_may_have_told_of_and_stays_closed() -> None:
    kept = Kept(begun_anew({"acme": frozenset({ANN, BEN})}))
    history = ReleaseHistory(7, kept)
    assert history.closed("acme") == {ANN, BEN}
    assert history.closed("globex") == history.told("acme") == frozenset()
    history.write("globex", GROUPS)
    assert ReleaseHistory(8, kept).closed("acme") == {ANN, BEN}


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b'{"epoch": 1, "told": {"a": [1]}}', b'{"epoch": 1}'])
def test_what_does_not_parse_fails_closed(content: bytes) -> None:
    with pytest.raises(SecretsUnreadable):
        ReleaseHistory(1, Kept(content))
