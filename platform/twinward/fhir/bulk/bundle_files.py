"""Bundles in files: one file at a time, each taken whole or not at all, and a bad one never stops the good ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock, SystemClock
from twinward.core.errors import BadInput
from twinward.fhir.bulk.inputs import find_files, read_file
from twinward.fhir.bulk.refusals import BadFile
from twinward.fhir.json.strict_json import IMPORT_LIMITS, Limits
from twinward.fhir.mapping.ids import Origin, OriginNames
from twinward.fhir.mapping.records import gather_directory, patient_imports
from twinward.fhir.mapping.references import read_bundle
from twinward.twins.errors import AlreadyImported, BelongsToAnother, TwinNotFound
from twinward.twins.models import PatientImport, Receipt
from twinward.twins.service import Twins

_NOWHERE = Origin()
_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class BundleFile:
    """What one file brings: a bundle, or a resource alone.

    Attributes:
        path: of the file.
        imports: one for each patient, and one for the directory, if it has any.
        places: where each record stood in it, by reference: ``Bundle.entry[3].resource``.
    """

    path: Path
    imports: tuple[PatientImport, ...] = field(repr=False)
    places: Mapping[str, str] = field(repr=False)

    def into(self, twins: Twins, context: AccessContext) -> list[Receipt]:
        """Take all of it in, or nothing, in one durable step; a receipt for each import. Raises as ``Twins.ingest``."""
        return twins.ingest_together(context, self.imports) if self.imports else []

    def place_of(self, error: Exception) -> str:
        """Where that stood for which ``into`` raised; empty where it does not tell."""
        if isinstance(error, AlreadyImported | BelongsToAnother):
            return self.places.get(error.reference, "")
        if isinstance(error, TwinNotFound):
            theirs = next((one for one in self.imports if one.reference == error.reference), None)
            return f"{self.places.get(theirs.records[0].reference, '')}.subject" if theirs else ""
        return ""


def import_bundles(
    paths: Iterable[Path],
    *,
    limits: Limits = IMPORT_LIMITS,
    origin: Origin = _NOWHERE,
    clock: Clock = _CLOCK,
    on_bad_file: Callable[[BadFile], None] | None = None,
) -> Iterator[PatientImport]:
    """The imports of every file, in order of name, then what they share. Memory: one file at a time.

    Args:
        paths: files or folders.
        limits: what one file may cost, after unpacking.
        origin: where they come from; each file is known by its SHA-256 where nobody said.
        clock: for new ids.
        on_bad_file: told of each file that is refused; without it the first bad file raises.

    Raises:
        BadInput: nothing to import, or a bad file and nobody to tell.
    """
    files = find_files(paths)
    return gather_directory(_imports_of(files, limits, origin, clock, on_bad_file))


def _imports_of(
    files: Iterable[Path],
    limits: Limits,
    origin: Origin,
    clock: Clock,
    on_bad_file: Callable[[BadFile], None] | None,
) -> Iterator[PatientImport]:
    for path in files:
        try:
            imports = bundle_of(path, read_file(path, limits), limits=limits, origin=origin, clock=clock).imports
        except BadInput as error:
            if on_bad_file is None:
                raise
            on_bad_file(BadFile(path, error))
            continue
        yield from imports


def bundle_of(
    path: Path, data: bytes, *, limits: Limits = IMPORT_LIMITS, origin: Origin = _NOWHERE, clock: Clock = _CLOCK
) -> BundleFile:
    """A file's bytes as what they bring. Raises ``InvalidResource``: the first problem is named."""
    bundle = read_bundle(data, OriginNames(origin.of(data), clock), limits=limits).bundle
    imports = patient_imports(bundle, source=path.name)
    return BundleFile(path, tuple(imports), {entry.reference: entry.path for entry in bundle.entries})
