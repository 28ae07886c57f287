"""A consent as somebody files it: understood whole or refused, and refused where it could never be in force.

A rule that is taken and never bites is worse than one that is refused: the patient believes in it. So everything that
can only be a slip is named: times in seconds, an end before its beginning or long gone, an account or a role that
nobody has, a key that is there twice. What is stored already was filed under looser rules and is read as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from twinward.access.consent import Provision
from twinward.access.errors import ConsentInvalid
from twinward.core import small_json
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Role

EARLIEST_MS = 946_684_800_000
"""2000-01-01: a smaller number is a time in seconds."""
LATEST_MS = 7_258_118_400_000
"""2200-01-01: a larger one is in microseconds."""
MOST_PROVISIONS = 200
HINT = "see `twinward twin consent --help` for an example"

ActorRole = Callable[[str], Role | None]
"""The role of an account; None where there is no such account."""

_PROVISIONS = TypeAdapter(tuple[Provision, ...])


def parse_provisions(raw: bytes) -> tuple[Provision, ...]:
    """Provisions from JSON (a list).

    Raises:
        ConsentInvalid: naming the field that is wrong.
    """
    try:
        tree = small_json.decode(raw)
    except BadInput as error:
        raise ConsentInvalid(
            sentence("a consent is a JSON list of provisions: {error}", error=str(error)), hint=error.hint
        ) from None
    if not isinstance(tree, list):
        raise ConsentInvalid("a consent is a JSON list of provisions", hint=HINT)
    try:
        provisions = _PROVISIONS.validate_python(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConsentInvalid(
            sentence("provisions.{where}: {fault}", where=where, fault=first["msg"]), hint=HINT
        ) from None
    for number, (provision, written) in enumerate(zip(provisions, tree, strict=True)):
        for name in ("roles", "actors", "categories", "purposes"):
            if provision.effect == "permit" and written.get(name) == []:
                hint = sentence("leave {name} out to permit all of them", name=name)
                raise ConsentInvalid(
                    sentence("provisions.{number}.{name}: an empty list permits nothing", number=number, name=name),
                    hint=hint,
                )
    require_sound(provisions)
    return provisions


def require_sound(provisions: Sequence[Provision]) -> None:
    """Raise ``ConsentInvalid`` for a provision that could never be in force, whoever the accounts are."""
    if len(provisions) > MOST_PROVISIONS:
        raise ConsentInvalid(
            sentence("a consent has {most} provisions at most", most=MOST_PROVISIONS), hint="say more with each"
        )
    for number, one in enumerate(provisions):
        times = {"valid_from_ms": one.valid_from_ms or None, "valid_until_ms": one.valid_until_ms}
        for name, at_ms in times.items():
            if at_ms is not None and not EARLIEST_MS <= at_ms < LATEST_MS:
                hint = "give milliseconds since 1970, e.g. 1767225600000 for the beginning of 2026"
                raise ConsentInvalid(
                    sentence("provisions.{number}.{name}: no time between 2000 and 2200", number=number, name=name),
                    hint=hint,
                )
        if one.valid_until_ms is not None and one.valid_until_ms <= one.valid_from_ms:
            hint = "the period goes from valid_from_ms to before valid_until_ms"
            raise ConsentInvalid(
                sentence("provisions.{number}.valid_until_ms: it ends before it begins", number=number), hint=hint
            )
        if "" in one.actors:
            raise ConsentInvalid(sentence("provisions.{number}.actors: a name is empty", number=number), hint=HINT)


def require_in_force(provisions: Sequence[Provision], at_ms: int, role_of: ActorRole | None) -> None:
    """Raise ``ConsentInvalid`` for a provision that is over, or names who can never ask.

    Args:
        provisions: as they are to be stored.
        at_ms: now.
        role_of: looks an account up; None looks at none.
    """
    require_sound(provisions)
    for number, one in enumerate(provisions):
        if one.valid_until_ms is not None and one.valid_until_ms <= at_ms:
            hint = "leave it out, or give a later valid_until_ms"
            raise ConsentInvalid(
                sentence("provisions.{number}: it ended at {at}", number=number, at=iso(one.valid_until_ms)), hint=hint
            )
        for problem, hint in () if role_of is None else _actors_amiss(one, role_of):
            raise ConsentInvalid(
                sentence("provisions.{number}.actors: {problem}", number=number, problem=problem), hint=hint
            )


def _actors_amiss(one: Provision, role_of: ActorRole) -> Iterator[tuple[str, str]]:
    for actor in one.actors:
        role = role_of(actor)
        if role is None:
            yield f"there is no account {actor[:64]!r}", "name accounts as they sign in; capitals count"
        elif one.roles and role not in one.roles:
            yield f"{actor!r} is a {role.value}, which roles leaves out", "leave roles out where accounts are named"
