"""Models kept here, held against the ledger: nothing scores with what was not registered."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinward.consortium.membership import refusals_told
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward_contracts.names import name_id

if TYPE_CHECKING:
    from twinward.federation.detectors.model_file import Model
    from twinward.node.node import Node
    from twinward_contracts.bindings.model_registry import Model as Entry

_MAX_BYTES: Final = 16 << 20
_STUDY_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def registered_models(node: Node) -> list[Entry]:
    """Every model on the ledger, newest first. Raises ``Conflict``, ``Unavailable``."""
    with refusals_told():
        registry = node.consortium.models
        return [registry.model(number) for number in range(registry.count(), 0, -1)]


def registered_card(node: Node, study: str) -> tuple[bytes, Entry]:
    """A card kept here, and its entry on the ledger. Raises ``BadInput``, ``NotFound``, and as ``_entry_of``."""
    path = _folder(node, study) / f"{study}.card.json"
    if not path.is_file():
        raise NotFound(f"there is no card of {study} here", hint="`twinward study models` lists what is registered")
    content = _read(path)
    return content, _entry_of(node, study, content)


def kept_model(node: Node, study: str, digest: bytes) -> Model:
    """A model kept here, held against what was registered. Raises ``NotFound``, ``Conflict``, ``BadInput``."""
    from twinward.federation.detectors.model_file import read_model

    path = _folder(node, study) / f"{study}.model"
    if not path.is_file():
        raise NotFound(f"there is no model of {study} here", hint="its card alone: `twinward study card`")
    content = _read(path)
    if not hmac.compare_digest(hashlib.sha256(content).digest(), digest):
        raise Conflict(f"{path.name} is not the model that was registered", hint="do not use it")
    return read_model(content)


def thresholds_of(card: bytes, model: Model, given: float | None) -> dict[str, float]:
    """By disease group, and by ``""`` of patients of none: the one that is given, or the card's.

    Raises ``BadInput``.
    """
    from twinward.federation.evaluation.group_figures import thresholds

    names = ["", *(one.name for one in model.study.disease_groups)]
    if given is not None:
        if not math.isfinite(given):
            raise BadInput("a threshold is a finite number")
        return dict.fromkeys(names, given)
    try:
        found = thresholds(json.loads(card))
        chosen = {name: found[name] for name in names}
        if not all(map(math.isfinite, chosen.values())):  # JSON as Python reads it has NaN
            raise ValueError
        return chosen
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise BadInput("this model's card has no threshold", hint="give --threshold") from None


def _folder(node: Node, study: str) -> Path:
    if not _STUDY_ID.fullmatch(study):
        raise BadInput("a study's id is lower-case letters, digits and dashes")
    return node.settings.home / "models"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise BadInput(f"{path.name} is longer than {_MAX_BYTES} bytes")
    return content


def _entry_of(node: Node, study: str, card: bytes) -> Entry:
    """The ledger's entry of a card kept here. Raises ``Conflict`` unless card and model are what was registered."""
    digest, model_path = hashlib.sha256(card).digest(), _folder(node, study) / f"{study}.model"
    named = {name_id(study), _protocol_of(card)}  # before reservations were, the ledger had the study's name
    for model in registered_models(node):
        if model.study_id in named and hmac.compare_digest(model.card_hash, digest):
            if model_path.is_file() and not _is_model(model, model_path):
                raise Conflict(f"{model_path.name} is not the model that was registered", hint="do not use it")
            return model
    raise Conflict("the ledger does not know this card: it was altered, or never registered", hint="do not rely on it")


def _protocol_of(card: bytes) -> bytes:
    """The fingerprint of the protocol that a card names, empty where it names none."""
    try:
        return bytes.fromhex(json.loads(card)["protocol_sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def _is_model(model: Entry, path: Path) -> bool:
    with path.open("rb") as file:
        return hmac.compare_digest(hashlib.file_digest(file, "sha256").digest(), model.model_hash)
