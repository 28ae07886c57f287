"""What became of an import: told in sentences or as JSON, and all that was refused kept in a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from rich.markup import escape

from twinward.cli.output_file import OutputFile
from twinward.cli.screen import err, say, show_json, tell
from twinward.core.errors import TwinwardError

if TYPE_CHECKING:
    from twinward.fhir.bulk.ndjson_import import NdjsonTally
    from twinward.fhir.bulk.refusals import Refusal
    from twinward.twins.models import Receipt

SHOWN_OF_A_REASON = 5
"""How many that were refused for one and the same reason are named one by one."""

MOST_REASONS = 1000
"""So many are told apart; what comes after them is counted together."""

_CHANGES = ("created", "updated", "unchanged")
_OTHERS = ("others",)


class ImportReport:
    """Counts what lands; names what is refused, while it happens.

    What is refused is written to ``file`` at once and not kept: an import may have more bad lines than memory. With
    ``as_json`` it is kept, to be shown at the end.
    """

    def __init__(self, source: str, *, as_json: bool, file: IO[bytes] | None = None) -> None:
        self.patients = 0
        self.new_twins = 0
        self.refused = 0
        self.changes = dict.fromkeys(_CHANGES, 0)
        self._source = source
        self._as_json = as_json
        self._file = file
        self._kept: list[dict[str, Any]] = []
        self._reasons: Counter[tuple[str, ...]] = Counter()
        self._named: list[Refusal] = []
        if file is not None:
            file.write(b'{"refused": [')

    def landed(self, receipts: Iterable[Receipt]) -> None:
        """A bundle was taken."""
        from twinward.twins.models import DIRECTORY

        for receipt in receipts:
            is_patient = all(one.reference != DIRECTORY for one in receipt.stored)
            self.patients += is_patient
            self.new_twins += receipt.created and is_patient
            for change in _CHANGES:
                self.changes[change] += sum(
                    one.change == change and one.reference != DIRECTORY for one in receipt.stored
                )

    def lines_landed(self, tally: NdjsonTally) -> None:
        """An import of NDJSON is through."""
        self.patients += tally.patients
        self.new_twins += tally.new_twins
        for change in _CHANGES:
            self.changes[change] += getattr(tally, change)

    def refuse(self, one: Refusal) -> None:
        """Name what was not taken."""
        shown = one.shown()
        if self._file is not None:
            self._file.write((b",\n  " if self.refused else b"\n  ") + json.dumps(shown).encode())
        self.refused += 1
        if self._as_json:
            self._kept.append(shown)
            return
        kind = one.kind if one.kind in self._reasons or len(self._reasons) < MOST_REASONS else _OTHERS
        self._reasons[kind] += 1
        if self._reasons[kind] <= SHOWN_OF_A_REASON:
            self._named.append(one)

    def end(self, failure: BaseException | None) -> None:
        """Write the end of the file: what landed, and whether all was gone through."""
        if self._file is not None:
            said = failure.outside()[0] if isinstance(failure, TwinwardError) else "it was interrupted"
            rest = self._counts() | {"complete": failure is None, "error": None if failure is None else said}
            self._file.write((b"\n" if self.refused else b"") + b"]," + json.dumps(rest)[1:].encode() + b"\n")

    def show(self) -> None:
        """Tell it."""
        if self._as_json:
            show_json(self._counts() | {"refused": self._kept})
            return
        changes = ", ".join(f"{number} {change}" for change, number in self.changes.items())
        counts = f"{self.patients} patients, {self.new_twins} of them new; records: {changes}; source: {self._source}"
        say(counts)
        for one in self._named:
            err.print(f"[red]refused[/] {escape(one.where)}: {escape(one.reason)}", soft_wrap=True)
        more = sum(number - SHOWN_OF_A_REASON for number in self._reasons.values() if number > SHOWN_OF_A_REASON)
        if more:
            tell(f"refused {more} more for the same reasons: --report FILE or --json names each")

    def _counts(self) -> dict[str, Any]:
        return {
            "patients": self.patients,
            "new_twins": self.new_twins,
            "records": self.changes,
            "source": self._source,
        }


@contextmanager
def reporting(source: str, to: OutputFile | None, *, as_json: bool) -> Iterator[ImportReport]:
    """A report while an import runs: its file is whole also where the import is not, and then says so.

    Raises:
        BadInput: the file cannot be written.
    """
    if to is None:
        yield ImportReport(source, as_json=as_json)
        return
    failure: BaseException | None = None
    with to.writing() as file:
        report = ImportReport(source, as_json=as_json, file=file)
        try:
            yield report
        except BaseException as error:  # noqa: BLE001 - raised again below, once the file says how far it came
            failure = error
        report.end(failure)
    if failure is not None:
        raise failure
