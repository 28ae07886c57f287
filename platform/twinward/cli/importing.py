"""``twinward twin import``: patients' bundles and NDJSON, from files, folders, pipes and standard input."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.access.interfaces import AccessContext
from twinward.cli.import_report import ImportReport, reporting
from twinward.cli.opening import node_at
from twinward.cli.output_file import OutputFile
from twinward.cli.screen import HomeOption, JsonOption, progress
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Again, Purpose, TwinId

if TYPE_CHECKING:
    from rich.progress import Progress

    from twinward.fhir.bulk.inputs import Inputs
    from twinward.fhir.mapping.ids import Origin
    from twinward.node import Node


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
        from twinward.fhir.bulk.ndjson_import import NdjsonTally, import_ndjson
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
