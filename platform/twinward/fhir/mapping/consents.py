"""A patient's consent as a FHIR R4 Consent, in and out: the same rules, or a refusal that names what is too much.

What a Consent says is taken whole or not at all. An element that would narrow a rule and is not understood would make
the rule broader, so it is refused by name. HL7's own rules hold: the root provision has no type, nested ones have one.
In a twin's consent a no wins over a yes whatever their order, and so exceptions to a rule cannot be nested deeper.

======================  =============================================================================================
here                    in a Consent's ``provision.provision``
======================  =============================================================================================
effect                  ``type``
valid from, until       ``period.start``, ``period.end`` (instants, with an offset)
purposes                ``purpose``, codings of v3 ActReason
categories              ``class``, codings of ``urn:twinward:category``
roles, actors           ``actor.reference.identifier``, of ``urn:twinward:role`` or ``urn:twinward:principal``
======================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from twinward.access.consent import Consent, Provision
from twinward.access.consent_entry import require_sound
from twinward.access.errors import ConsentInvalid
from twinward.core.clock import iso
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.fhir.validation.validator import validate

ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CATEGORY: Final = "urn:twinward:category"
ROLE: Final = "urn:twinward:role"
PRINCIPAL: Final = "urn:twinward:principal"
TWIN: Final = "urn:twinward:twin"
_SCOPE: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_KIND: Final = ("http://loinc.org", "59284-0")
_RECIPIENT: Final = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
_RULE: Final = ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN")
_TAKEN: Final = frozenset({"type", "period", "actor", "purpose", "class", "id"})
_HINT: Final = "see the page FHIR, Consents"


def provisions_of(resource: Mapping[str, Any], twin: TwinId) -> tuple[Provision, ...]:
    """The rules that a FHIR Consent says.

    Args:
        resource: parsed JSON.
        twin: whose consent it is to be; a Consent that names another twin is refused.

    Raises:
        InvalidResource: it breaks R4's rules; the first faults are named.
        ConsentInvalid: it is no Consent, is not active, is another twin's, or says what cannot be kept.
    """
    if resource.get("resourceType") != "Consent":
        raise ConsentInvalid("this is no FHIR Consent", hint=_HINT)
    validate(dict(resource))
    if "modifierExtension" in resource or "implicitRules" in resource:
        raise ConsentInvalid("it says that it means something else than it says (modifierExtension, implicitRules)")
    if resource.get("status") != "active":
        raise ConsentInvalid("only a Consent whose status is active is set", hint="a consent is changed by a newer one")
    named = (resource.get("patient") or {}).get("identifier") or {}
    if named.get("system") == TWIN and named.get("value") != twin:
        raise ConsentInvalid("this Consent is another twin's", hint="name the twin that its patient.identifier names")
    root = resource.get("provision") or {}
    if beside := sorted(root.keys() - {"provision", "id"}):
        raise ConsentInvalid(f"provision.{beside[0]}: the root has nested provisions and nothing else", hint=_HINT)
    found = tuple(_provision(one, f"provision.provision[{at}]") for at, one in enumerate(root.get("provision", ())))
    require_sound(found)
    return found


def consent_resource(consent: Consent, twin: TwinId, at_ms: int) -> dict[str, Any]:
    """A version of a twin's consent as a FHIR R4 Consent, which ``provisions_of`` reads back as it is."""
    nested = [_nested(one) for one in consent.provisions]
    return {
        "resourceType": "Consent",
        "meta": {"versionId": str(consent.version)},
        "status": "active",
        "scope": _concept(_SCOPE),
        "category": [_concept(_KIND)],
        "patient": {"identifier": {"system": TWIN, "value": twin}},
        "dateTime": iso(at_ms),
        "policyRule": _concept(_RULE),
        **({"provision": {"provision": nested}} if nested else {}),
    }


def _provision(written: Mapping[str, Any], where: str) -> Provision:
    if beside := sorted(written.keys() - _TAKEN):
        hint = "what narrows a rule and is not understood would be a broader rule: say it without"
        raise ConsentInvalid(f"{where}.{beside[0]}: this cannot be kept", hint=hint)
    period = written.get("period") or {}
    roles: list[Role] = []
    actors: list[str] = []
    for at, one in enumerate(written.get("actor", ())):
        system, value = _identified(one, f"{where}.actor[{at}]")
        if system == ROLE:
            roles.append(_word(Role, value, f"{where}.actor[{at}]"))
        else:
            actors.append(value)
    return Provision(
        effect="permit" if _type(written, where) == "permit" else "deny",
        roles=tuple(roles),
        actors=tuple(actors),
        categories=tuple(_coded(Category, CATEGORY, written.get("class", ()), f"{where}.class")),
        purposes=tuple(_coded(Purpose, ACT_REASON, written.get("purpose", ()), f"{where}.purpose")),
        valid_from_ms=_instant(period["start"], f"{where}.period.start") if "start" in period else 0,
        valid_until_ms=_instant(period["end"], f"{where}.period.end") if "end" in period else None,
    )


def _type(written: Mapping[str, Any], where: str) -> str:
    if "type" not in written:
        raise ConsentInvalid(f"{where}.type: a nested provision permits or denies", hint=_HINT)
    return str(written["type"])


def _identified(actor: Mapping[str, Any], where: str) -> tuple[str, str]:
    identifier = (actor.get("reference") or {}).get("identifier") or {}
    system, value = identifier.get("system"), identifier.get("value")
    if system not in (ROLE, PRINCIPAL) or not isinstance(value, str):
        hint = f'"reference": {{"identifier": {{"system": "{PRINCIPAL}", "value": "dr-lee"}}}}, or {ROLE}'
        raise ConsentInvalid(f"{where}: nobody is known by this", hint=hint)
    return system, value


def _coded(words: type[Any], system: str, codings: Sequence[Mapping[str, Any]], where: str) -> list[Any]:
    found = []
    for at, one in enumerate(codings):
        if one.get("system") != system:
            raise ConsentInvalid(f"{where}[{at}]: codes are of {system}", hint=_HINT)
        found.append(_word(words, one.get("code"), f"{where}[{at}]"))
    return found


def _word(words: type[Any], code: object, where: str) -> Any:
    try:
        return words(code)
    except ValueError:
        known = ", ".join(one.value for one in words)
        raise ConsentInvalid(f"{where}: no such code here", hint=f"known are {known}") from None


def _instant(text: str, where: str) -> int:
    """Milliseconds; a day or a time without an offset says no instant."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConsentInvalid(f"{where}: an instant with its offset", hint="write 2026-05-01T00:00:00+02:00")
    return round(at.timestamp() * 1000)


def _nested(one: Provision) -> dict[str, Any]:
    named = [(ROLE, role.value) for role in one.roles] + [(PRINCIPAL, actor) for actor in one.actors]
    period = {"start": iso(one.valid_from_ms)} if one.valid_from_ms else {}
    if one.valid_until_ms is not None:
        period["end"] = iso(one.valid_until_ms)
    said: dict[str, Any] = {
        "period": period,
        "actor": [
            {"role": _concept(_RECIPIENT), "reference": {"identifier": {"system": system, "value": value}}}
            for system, value in named
        ],
        "purpose": [{"system": ACT_REASON, "code": purpose.value} for purpose in one.purposes],
        "class": [{"system": CATEGORY, "code": category.value} for category in one.categories],
    }
    return {"type": one.effect, **{name: value for name, value in said.items() if value}}


def _concept(coding: tuple[str, str]) -> dict[str, Any]:
    return {"coding": [{"system": coding[0], "code": coding[1]}]}
