"""Files in, imports out: streaming, one file at a time, and a bad file never stops the good ones."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twinward.errors import BadInput
from twinward.fhir.bundle import read_bundle
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import gather_directory, patient_imports
from twinward.fhir.strict_json import IMPORT_LIMITS, Limits
from twinward.fhir.validate import Depth
from twinward.twins.models import PatientImport

SUFFIXES = (".json", ".json.gz")


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that could not be imported, and why. Nothing of it was used."""

    path: Path
    error: BadInput


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files to import: each path itself, or what a folder holds (not its subfolders), sorted by name.

    Raises:
        BadInput: a path that does not exist, or nothing to import at all.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and one.name.endswith(SUFFIXES))
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"{path} does not exist", hint="give FHIR R4 bundles (.json, .json.gz) or a folder of them")
    if not found:
        raise BadInput("nothing to import", hint="give FHIR R4 bundles (.json, .json.gz) or a folder of them")
    return found


def import_bundles(
    paths: Iterable[Path],
    *,
    depth: Depth = "structure",
    limits: Limits = IMPORT_LIMITS,
    on_bad_file: Callable[[BadFile], None] | None = None,
) -> Iterator[PatientImport]:
    """The imports of every file, in order of name, then what they share. Memory: one file at a time.

    Args:
        paths: files or folders.
        depth: how deeply resources are validated.
        limits: what one file may cost, after unpacking.
        on_bad_file: told of each file that is refused; without it the first bad file raises.

    Raises:
        BadInput: nothing to import, or a bad file and nobody to tell.
    """
    files = find_files(paths)
    return gather_directory(_imports_of(files, depth, limits, on_bad_file))


def _imports_of(
    files: Iterable[Path], depth: Depth, limits: Limits, on_bad_file: Callable[[BadFile], None] | None
) -> Iterator[PatientImport]:
    for path in files:
        try:
            bundle = read_bundle(read_file(path, limits), limits=limits, depth=depth)
            imports = patient_imports(bundle, source=path.name)
        except BadInput as error:
            if on_bad_file is None:
                raise
            on_bad_file(BadFile(path, error))
            continue
        yield from imports


def read_file(path: Path, limits: Limits = IMPORT_LIMITS) -> bytes:
    """A file's bytes, gunzipped if its name ends in ``.gz``; never more than ``limits.size_bytes``.

    Raises:
        InvalidResource: unreadable, not gzip, or too long (a small file may unpack to a huge one).
    """
    try:
        with path.open("rb") as file:
            packed = file.read(limits.size_bytes + 1)
    except OSError as error:
        raise InvalidResource(Issue("exception", "", f"cannot read the file: {error.strerror}")) from error
    data = _gunzip(packed, limits.size_bytes) if path.name.endswith(".gz") else packed
    if len(data) > limits.size_bytes:
        raise InvalidResource(Issue("too-long", "", f"more than {limits.size_bytes} bytes"), hint="split the file")
    return data


def _gunzip(packed: bytes, most: int) -> bytes:
    """Unpack at most ``most + 1`` bytes: a bomb is noticed, not unpacked."""
    unpacked = bytearray()
    rest = packed
    try:
        while rest and len(unpacked) <= most:
            stream = zlib.decompressobj(wbits=31)
            unpacked += stream.decompress(rest, most + 1 - len(unpacked))
            if not stream.eof and len(unpacked) <= most:
                raise InvalidResource(Issue("structure", "", "the gzip file ends too early"))
            rest = stream.unused_data  # gzip files may be concatenated
    except zlib.error:
        raise InvalidResource(Issue("structure", "", "not a gzip file")) from None
    return bytes(unpacked)
