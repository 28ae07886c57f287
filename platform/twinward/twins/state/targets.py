"""Care targets: what clinicians want a feature to become. Each is a sealed record of the category it is measured in.

A target is a JSON object of the clinician's own making, e.g. ``{"value": {"low": 6.0, "high": 7.0}}``. Changing one is
a new version, deleting one too, so earlier targets stay in the twin's history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, TwinId
from twinward.twins import references as names
from twinward.twins.errors import VersionMismatch
from twinward.twins.state.states import JsonObject, Outline, TwinStates, category_of
from twinward.vault.errors import VersionConflict
from twinward.vault.interfaces import Record, RecordVault

TARGET_TYPE = "CareTarget"
MAX_BYTES = 16 * 1024
MAX_DEPTH = 8

Change = Callable[[JsonObject | None], JsonObject | None]
"""From the present target to the new one; None is no target."""
Guard = Callable[[Outline], None]
"""Called with the twin as it is before anything is changed; raises to stop it."""


class Targets:
    """Writes care targets. Every change is decided first: to write, and to read what it is based on.

    Args:
        vault: where they are sealed.
        access: what decides.
        states: how a twin stands.
        writing: the turn of whoever changes twins.
    """

    def __init__(self, vault: RecordVault, access: AccessControl, states: TwinStates, writing: Turn) -> None:
        self._vault = vault
        self._access = access
        self._states = states
        self._writing = writing

    def change(
        self,
        context: AccessContext,
        twin: TwinId,
        changes: Mapping[str, Change],
        *,
        guard: Guard | None = None,
        based_on_present: bool = True,
    ) -> Outline:
        """Change the targets of some features, all or none in one durable step; returns the twin as it is then.

        Args:
            context: who, and why.
            twin: whose.
            changes: per feature, what becomes of its target.
            guard: a condition on the present state, e.g. its revision. What it raises is logged.
            based_on_present: whether the present targets are opened for the changes; else they are given None.

        Raises:
            AccessDenied: these categories may not be written, or read where a change is based on what is there.
            TwinNotFound, TwinShredded: there is no such twin.
            VersionMismatch: somebody else changed one of them meanwhile.
            BadInput: a feature there is not, or a target beyond the bounds.
        """
        unknown = [name for name in changes if name not in self._states.units]
        if unknown:
            raise BadInput("a feature that the schema does not have", hint=f"one of {', '.join(self._states.units)}")
        wanted = frozenset(map(category_of, changes))
        detail = (("targets", str(len(changes))),)
        request = context.request(Action.WRITE, twin, wanted, detail=detail)
        self._access.require(request)  # logs the refusal and raises, before anything is told of the twin
        # In one turn: what the guard saw stays so until it is written, and two first targets make no two records.
        with self._writing:
            self._vault.record_types(twin)
            outline = self._states.outline(twin)
            self._require(guard, outline, request)
            present = self._present(context, outline, list(changes)) if based_on_present else {}
            decided = {name: change(present.get(name)) for name, change in changes.items()}
            records = self._records(outline, decided)
            if not records:
                self._note(request, "same-content")
                return outline
            try:
                self._vault.write(self._access.decide(request), records)
            except VersionConflict as error:
                raise VersionMismatch(str(error), hint="read it again, then decide") from None
            return self._states.outline(twin)

    def _require(self, guard: Guard | None, outline: Outline, request: AccessRequest) -> None:
        """Ask the guard. What it refuses tells what is there, so that is decided and logged first."""
        try:
            if guard is not None:
                guard(outline)
        except (Conflict, NotFound) as refusal:
            self._note(request, "nothing-kept" if isinstance(refusal, NotFound) else "other-version")
            raise

    def _note(self, request: AccessRequest, answer: str) -> None:
        """Log what a change was answered that changed nothing, as ``RecordSearch.note`` does for records."""
        self._access.decide(replace(request, detail=(*request.detail, ("answered", answer))))

    def is_set(self, outline: Outline, feature: str) -> bool:
        """Whether a feature has a target now. Opens nothing."""
        reference = names.target_of(outline.twin, feature)
        deleted = names.deleted(reference, category_of(feature))
        return feature in outline.versions and not self._vault.twins_of([deleted])

    def _present(self, context: AccessContext, outline: Outline, features: list[str]) -> dict[str, JsonObject | None]:
        return {
            name: self._states.read_feature(context, outline, name, measured=False).desired
            for name in features
            if name in outline.versions
        }

    def _records(self, outline: Outline, decided: Mapping[str, JsonObject | None]) -> list[Record]:
        """The versions to be written; a target that is not there is not deleted again."""
        records = []
        for name, target in decided.items():
            reference, category = names.target_of(outline.twin, name), category_of(name)
            content = names.DELETED if target is None else encode(target)
            head = outline.versions.get(name)
            if head is None and target is None:
                continue
            if head is not None and self._vault.twins_of([names.as_content(reference, category, content)]):
                continue  # this very target is there already
            references = names.references_of(reference, category, content)
            record = Record(outline.twin, TARGET_TYPE, category, content, references, alone=True)
            records.append(record if head is None else replace(record, record_id=head.record_id, version=head.version))
        return records


def encode(target: JsonObject) -> bytes:
    """A target's bytes; equal targets give equal bytes. Raises ``BadInput`` beyond the bounds."""
    if _depth(target) > MAX_DEPTH:
        raise BadInput(f"a care target nests {MAX_DEPTH} levels at most")
    try:
        content = json.dumps(
            target, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except ValueError:  # UnicodeEncodeError is one: half a surrogate pair
        raise BadInput("a care target holds what is no JSON: NaN, Infinity, or half a surrogate pair") from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"a care target has {MAX_BYTES} bytes at most")
    return content


def merge_patch(target: object, patch: object) -> object:
    """RFC 7396: the patch's members replace the target's, null removes one, anything but an object replaces all."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0
