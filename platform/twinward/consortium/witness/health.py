"""Which witness is down, behind, lying: what an operator and an officer are told."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.core.sentences import Moment, sentence
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.stores.witness_memory import ALARMING, Standing
from twinward_ledger.witness.cosigning import NOT_FOLLOWING


@dataclass(frozen=True, slots=True)
class WitnessHealth:
    """One witness.

    Attributes:
        name, key: its cosigner key's name, and the key.
        standing: what it did when it was last asked.
        size: the largest size it cosigned.
        behind: entries that are signed and not cosigned by it.
        since_ms: since when it stands like that; 0 if it was never asked.
        reason: what was wrong; empty where nothing is.
    """

    name: str
    key: str
    standing: Standing
    size: int
    behind: int
    since_ms: int
    reason: str
    new_key: str = ""
    """The log's key that it does not know yet; empty where that is not what is wrong."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.standing is Standing.GOOD and not self.behind

    @property
    def alarming(self) -> bool:
        """Whether it, or the log, broke a promise."""
        return self.standing in ALARMING

    @property
    def sentence(self) -> str:
        """How it is, in one line."""
        if self.good:
            return sentence("{name} has co-signed everything", name=self.name)
        since = sentence(" since {since}", since=Moment(self.since_ms)) if self.since_ms else ""
        what = (
            sentence("is behind")
            if self.standing is Standing.GOOD
            else sentence("is {standing}{since}", standing=self.standing.value, since=since)
        )
        if self.standing is Standing.REFUSES:
            what = sentence("refuses{since}", since=since)
        if self.standing is Standing.SPLIT_VIEW:
            what = sentence("was shown a split view{since}", since=since)
        lag = sentence("; {behind} events lack its signature", behind=self.behind) if self.behind else ""
        told = sentence('; there: twinward witness add-log "{new_key}"', new_key=self.new_key) if self.new_key else ""
        why = f": {self.reason}" if self.reason else ""
        return sentence("{name} {what}{why}{lag}{told}", name=self.name, what=what, why=why, lag=lag, told=told)


def health_of(anchorer: Anchorer) -> list[WitnessHealth]:
    """Every witness of a log, in the order they are asked. Raises ``LedgerError`` if the log does not answer."""
    latest = anchorer.log.latest()
    signed = latest[0].size if latest else 0
    on_it = {key for key, _ in anchorer.policy.cosigned(latest[1])} if latest else set()
    rows = []
    for key, known in anchorer.cosigning.records().items():
        size = max(known.size, signed if key in on_it else 0)
        standing = Standing.GOOD if known.standing is Standing.UNKNOWN and key in on_it else known.standing
        behind = max(0, signed - size)
        lost = standing is Standing.REFUSES and known.reason.startswith(NOT_FOLLOWING)
        new_key = str(anchorer.log.key) if lost else ""
        rows.append(WitnessHealth(key.name, str(key), standing, size, behind, known.since_ms, known.reason, new_key))
    return rows
