"""The hospital's code list: a file of its own in the home, or the one that comes with the product."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.features.codes import CodeList, cardiometabolic_codes, read_code_list
from twinward.features.facets import facets_of
from twinward.features.schema import CARDIOMETABOLIC, FeatureSchema

CODE_LIST_FILE: Final = "code-list.toml"
"""In a node's home, where the hospital counts by codes of its own."""
VALUE_SETS_FOLDER: Final = "value-sets"
"""Beside it: FHIR value sets that its entries name by their file."""
MAX_BYTES: Final = 4 << 20


def schema_of(settings: Settings) -> FeatureSchema:
    """The feature schema of a home, with its code list and facets. Raises ``BadInput`` where one of them is none."""
    sites = tuple((name, tuple(called)) for name, called in settings.facet_sites.items())
    more = {"codes": code_list_of(settings.home), "facets": facets_of(settings.facet_years, sites), "sites": sites}
    return CARDIOMETABOLIC.model_copy(update=more)


def code_list_of(home: Path) -> CodeList:
    """The code list of a home. Raises ``BadInput``."""
    path = home / CODE_LIST_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return cardiometabolic_codes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return read_code_list(content.decode(), partial(_value_set, home / VALUE_SETS_FOLDER))
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8") from None


def _value_set(folder: Path, name: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise BadInput(f"{folder / name} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"{folder / name} is larger than {MAX_BYTES >> 20} MiB")
    return content
