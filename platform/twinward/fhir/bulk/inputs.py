"""What an import was given, sorted by how it is read: bundles, NDJSON, and streams that say so themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twinward.core.errors import BadInput
from twinward.fhir.bulk import importer, ndjson
from twinward.fhir.bulk.streams import STANDARD_INPUT

_HINT = "give FHIR R4 bundles (.json), NDJSON (.ndjson), also .gz, folders of them, a pipe, or - for standard input"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files and streams of an import.

    Attributes:
        bundles: files named as JSON, in the order given, a folder's by name.
        lines: files named as NDJSON, patients' first.
        streams: everything else, in the order given: what they hold is seen when they are read.
    """

    bundles: tuple[Path, ...]
    lines: tuple[Path, ...]
    streams: tuple[Path, ...]


def find_inputs(paths: Iterable[Path]) -> Inputs:
    """Sort what was given; nothing is opened.

    Raises:
        BadInput: a path that does not exist, a stream named twice, or nothing to import at all.
    """
    paths = list(paths)
    bundles: list[Path] = []
    streams: list[Path] = []
    for path in paths:
        if path != STANDARD_INPUT and path.is_dir():
            bundles += sorted(one for one in path.iterdir() if _is_named(one, importer.SUFFIXES))
        elif path != STANDARD_INPUT and not path.exists():
            raise BadInput(f"{path} does not exist", hint=_HINT)
        elif _is_named(path, importer.SUFFIXES):
            bundles.append(path)
        elif not _is_named(path, ndjson.SUFFIXES):
            streams.append(path)
    lines = ndjson.find_ndjson(paths)
    if len(set(streams)) < len(streams):
        raise BadInput("a stream can be read only once", hint="name each pipe, and -, once")
    if not (bundles or lines or streams):
        raise BadInput("nothing to import", hint=_HINT)
    return Inputs(tuple(bundles), tuple(lines), tuple(streams))


def _is_named(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether it is a file whose name says what it holds; a pipe is none, whatever it is called."""
    return path.name.endswith(suffixes) and path.is_file()
