"""Browsers' sign-ins: kept in a store, so that they outlast a restart and are one in every process.

A session ends after ``lifetime_ms`` whatever is done with it, after ``idle_ms`` in which nothing is, when it is signed
out, and with its account's generation. Of its id a browser's cookie has the only copy.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import msgspec

from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.access.sign_in_store import Kept, Kind, SignInStore
from twinward.core.clock import Clock
from twinward.core.vocabulary import Role

SESSION_LIFETIME_MS: Final = 8 * 3600 * 1000
SESSION_IDLE_MS: Final = 30 * 60 * 1000
_NOTED_EVERY_MS: Final = 60_000
"""How much of the idle time may pass before a use is noted: not every page is a write."""
FRESH_MS: Final = 10 * 60 * 1000
BY_PROVIDER: Final = "the hospital's sign-in"
BY_PROVIDER_STRONG: Final = "the hospital's sign-in with two factors"
BY_PASSWORD: Final = "password"  # noqa: S105 - the word, not one


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a session: whose, by which generation of the account, how and from where it was begun.

    Attributes:
        csrf: the token that every form must carry back.
        authenticated_ms: when its owner last proved who they are.
        used_ms: when it was last used, to the minute.
        by: by what they did.
        origin: from where, in words for its owner.
        must_change: nothing may be done with it but to choose a new password.
    """

    account: str
    generation: int
    csrf: str
    begun_ms: int
    authenticated_ms: int
    used_ms: int
    by: str
    origin: str = ""
    must_change: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's sign-in, as it stands now.

    ``must_enrol``: nothing may be done with it but to set up a second factor. ``fresh``: its owner proved a short while
    ago who they are. ``roles``: the principal's own, and those that are lent to them. ``name`` says in lists which it
    is.
    """

    principal: Principal
    roles: frozenset[Role]
    csrf: str
    expires_at_ms: int
    must_change: bool
    must_enrol: bool
    fresh: bool
    name: str
    begun_ms: int
    authenticated_ms: int
    used_ms: int
    by: str
    origin: str


class Sessions:
    """The sessions in a store.

    Args:
        store: where they are.
        clock: the node's time.
        lifetime_ms: how long those last at most that are begun from now on.
        idle_ms: after how long without a use any of them ends.
        fresh_ms: for how long a proof of who somebody is is new enough for what matters most.
    """

    def __init__(
        self,
        store: SignInStore,
        clock: Clock,
        *,
        lifetime_ms: int = SESSION_LIFETIME_MS,
        idle_ms: int = SESSION_IDLE_MS,
        fresh_ms: int = FRESH_MS,
    ) -> None:
        self.fresh_ms = fresh_ms
        self.lifetime_ms = lifetime_ms
        self._store = store
        self._clock = clock
        self._idle_ms = idle_ms
        self._noted_every_ms = min(_NOTED_EVERY_MS, idle_ms // 10)

    def begin(
        self,
        account: str,
        generation: int,
        *,
        by: str = BY_PASSWORD,
        origin: str = "",
        must_change: bool = False,
        after: Session | None = None,
    ) -> str:
        """A new session's id. Of an account's sessions the oldest gives way where there are too many.

        ``after``: the one that it goes on from; it is no fresher than that, and lasts no longer.
        """
        now_ms = self._clock.now_ms()
        signed = Signed(
            account=account,
            generation=generation,
            csrf=secrets.token_urlsafe(16),
            begun_ms=after.begun_ms if after else now_ms,
            authenticated_ms=after.authenticated_ms if after else now_ms,
            used_ms=now_ms,
            by=by,
            origin=origin,
            must_change=must_change,
        )
        until_ms = after.expires_at_ms if after else now_ms + self.lifetime_ms
        return self._store.put(Kind.SESSION, account, msgspec.json.encode(signed), until_ms)

    def renew(self, session_id: str, by: str) -> str:
        """Another id for a session whose owner has just proved anew who they are; the one before is worthless.

        It lasts no longer than it would have. Raises ``SignInRefused``: it has ended.
        """
        kept, signed = self.find(session_id)
        now_ms = self._clock.now_ms()
        renewed = msgspec.structs.replace(
            signed, csrf=secrets.token_urlsafe(16), authenticated_ms=now_ms, used_ms=now_ms, by=by
        )
        value = msgspec.json.encode(renewed)
        return self._store.put(Kind.SESSION, signed.account, value, kept.expires_at_ms, instead_of=kept)

    def find(self, session_id: str) -> tuple[Kept, Signed]:
        """What an id stands for; it is used now. Raises ``SignInRefused`` if it is unknown or has ended."""
        kept = self._store.find(Kind.SESSION, session_id)
        if kept is None:
            raise SignInRefused
        signed = _signed(kept)
        now_ms = self._clock.now_ms()
        if now_ms - signed.used_ms >= self._idle_ms:
            self._store.delete([kept])
            raise SignInRefused
        if now_ms - signed.used_ms >= self._noted_every_ms:
            self._store.replace(kept, msgspec.json.encode(msgspec.structs.replace(signed, used_ms=now_ms)))
        return kept, signed

    def end(self, session_id: str) -> Signed | None:
        """End one; None where there was none."""
        kept = self._store.take(Kind.SESSION, session_id)
        return None if kept is None else _signed(kept)

    def of(self, account: str, generation: int) -> list[tuple[Kept, Signed]]:
        """An account's that are good, the newest first. Those of other generations are cleared away."""
        every = [(kept, _signed(kept)) for kept in self._store.of(Kind.SESSION, account)]
        good = [one for one in every if one[1].generation == generation and not self._is_idle(one[1])]
        if len(good) < len(every):
            self._store.delete(kept for kept, signed in every if (kept, signed) not in good)
        return sorted(good, key=lambda one: -one[1].begun_ms)

    def end_named(self, account: str, name: str) -> Signed | None:
        """End one of an account's by what it is called in lists; None where there is none."""
        for kept in self._store.of(Kind.SESSION, account):
            if kept.name == name and self._store.delete([kept]):
                return _signed(kept)
        return None

    def shown(
        self,
        kept: Kept,
        signed: Signed,
        principal: Principal,
        *,
        must_enrol: bool = False,
        roles: frozenset[Role] = frozenset(),
    ) -> Session:
        """One as it stands."""
        return Session(
            principal=principal,
            roles=roles | {principal.role},
            csrf=signed.csrf,
            expires_at_ms=kept.expires_at_ms,
            must_change=signed.must_change,
            must_enrol=must_enrol,
            fresh=0 <= self._clock.now_ms() - signed.authenticated_ms < self.fresh_ms,
            name=kept.name,
            begun_ms=signed.begun_ms,
            authenticated_ms=signed.authenticated_ms,
            used_ms=signed.used_ms,
            by=signed.by,
            origin=signed.origin,
        )

    def _is_idle(self, signed: Signed) -> bool:
        return self._clock.now_ms() - signed.used_ms >= self._idle_ms


def _signed(kept: Kept) -> Signed:
    """What the node itself wrote there, so that it is whole."""
    return msgspec.json.decode(kept.value, type=Signed)
