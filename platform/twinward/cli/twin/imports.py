"""``twinward twin import``: patients' bundles and NDJSON, from files, folders, pipes and standard input."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from twinward.access.interfaces import AccessContext
from twinward.cli.context import node_at
from twinward.cli.output import HomeOption, JsonOption, OutputFile, err, progress, say, show_json, tell
from twinward.core.errors import BadInput, Conflict, NotFound, TwinwardError
from twinward.core.vocabulary import Again, Purpose, TwinId

if TYPE_CHECKING:
    from rich.progress import Progress

    from twinward.fhir.bulk.inputs import Inputs
    from twinward.fhir.bulk.ndjson_import import NdjsonTally
    from twinward.fhir.bulk.refusals import Refusal
    from twinward.fhir.mapping.ids import Origin
    from twinward.node import Node
    from twinward.twins.models import Receipt


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="FHIR R4 bundles (.json), bulk NDJSON (.ndjson), also .gz; folders of them; pipes; '-' reads either."
        ),
    ],
    source: Annotated[str, typer.Option(help="What they come from: ids and fullUrls are its own, in every file.")] = "",
    again: Annotated[Again | None, typer.Option(help="What becomes of what was imported before.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="A JSON file to be: what landed, and all that was refused. '-' prints it.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal patients' bundles and NDJSON. What is bad is named and left out; the rest lands.

    A bundle is taken whole or not at all, NDJSON line by line. POST creates; a PUT, or an id without a request, names
    what it is. The same again is refused until --again says: skip leaves what is kept, update writes a new version
    where it differs, new makes another. Without --source a file is known by its SHA-256. Killed at any point, the same
    import with --again skip goes on.

    What is refused is named by file, line (NDJSON) or entry (bundle) and path, never by what it holds.

    Exit codes: 0 all landed, 2 some were refused (or nothing to import), 3 no node in the home, 4 the report is there
    already.

    Example: twinward twin import ./bundles Patient.ndjson Observation.ndjson.gz --source ehr-north --again skip
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.fhir.bulk.inputs import find_inputs
        from twinward.fhir.mapping.ids import Origin

        origin, inputs = Origin(source, again), find_inputs(paths)
        to = None if report is None else OutputFile(report, as_json=as_json, option="--report")
        with reporting(source or "each file by its SHA-256", to, as_json=as_json) as said, progress() as bars:
            import_into(node, inputs, origin, said, bars)
        if to is None or not to.is_printed:
            said.show()
        if said.refused:
            raise typer.Exit(2)


def import_into(node: Node, inputs: Inputs, origin: Origin, report: ImportReport, bars: Progress) -> None:
    """Take in all there is; what is refused is in the report. Raises what ends an import before its last line."""
    _Import(node, origin, report, bars).all_of(inputs)


@dataclass
class _Import:
    """One import under way."""

    node: Node
    origin: Origin
    report: ImportReport
    bars: Progress
    touched: set[TwinId] = field(default_factory=set)

    def all_of(self, inputs: Inputs) -> None:
        """Bundles first: lines may say more of their patients."""
        if inputs.bundles:
            self._bundles(inputs.bundles)
        if inputs.lines or inputs.streams:
            self._lines((*inputs.lines, *inputs.streams))
        self.node.compactor.run(sorted(self.touched), tidy=False)

    def _bundles(self, files: tuple[Path, ...]) -> None:
        from twinward.fhir.bulk.inputs import read_file
        from twinward.fhir.bulk.refusals import Refusal

        task = self.bars.add_task("sealing", total=len(files))
        for path in files:
            try:
                self._document(path, read_file(path))
            except BadInput as error:
                self.report.refuse(Refusal(path, error))
            self.bars.advance(task)

    def _document(self, path: Path, data: bytes) -> None:
        """Take in a bundle, or a resource alone, whole or not at all. Raises ``BadInput`` if it cannot be read."""
        from twinward.fhir.bulk.bundle_files import bundle_of
        from twinward.fhir.bulk.refusals import Refusal
        from twinward.node import SYSTEM

        bundle = bundle_of(path, data, origin=self.origin, clock=self.node.clock)
        try:
            receipts = bundle.into(self.node.twins, AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT))
        except (BadInput, Conflict, NotFound) as error:
            self.report.refuse(Refusal(path, error, place=bundle.place_of(error)))
            return
        self.report.landed(receipts)
        self.touched |= {one.twin for one in receipts if one.count("unchanged") < len(one.stored)}

    def _lines(self, paths: tuple[Path, ...]) -> None:
        from twinward.fhir.bulk.ndjson_import import import_ndjson
        from twinward.fhir.bulk.refusals import BadLine, Refusal
        from twinward.node import SYSTEM

        task = self.bars.add_task("sealing lines", total=None)

        def refuse(bad: BadLine) -> None:
            self.report.refuse(Refusal(bad.path, bad.error, bad.number or None, bad.place))

        def show(so_far: NdjsonTally) -> None:
            self.bars.update(task, completed=so_far.lines)

        bulk = self.node.twins.bulk_import(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT))
        done = import_ndjson(
            paths, bulk, origin=self.origin, on_bad_line=refuse, on_document=self._document, progress=show
        )
        self.bars.update(task, completed=done.lines, total=done.lines)
        self.report.lines_landed(done)


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
