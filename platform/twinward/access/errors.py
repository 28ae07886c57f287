"""Errors of access control.

Refused
├── AccessDenied          policy or consent says no; ``log_index`` is where the refusal was logged
│   ├── TooManyEmergencies  more patients opened in emergencies than one clinician may within the window
│   └── EmergencyOver     what follows an emergency goes on after its time box has ended
├── NotARecord            derived data, asked for as a record
├── PermitInvalid         a permit that is forged, expired or does not cover what is asked
│   └── PermitWithdrawn   policy or consent says no since it was given
├── AccountDisabled       the account may not be used
├── ScopeTooNarrow        the token was not granted what is asked
├── WrongRole             the password was right, and the role has no business here
└── TooManyAttempts       the sign-in brake holds; wait, then try again (HTTP 429)
NotAuthenticated
└── SignInRefused         wrong name, secret or token: one answer for all
    ├── TokenRefused      a token that was good once: for the log, not for its bearer
    ├── SignInEnded       it was right, and is good no longer: disabled, revoked, expired, a new password
    ├── PasswordMustChange  right, but good for one thing only: to choose another
    ├── SecondFactorNeeded  right, and a code is asked for; ``waiting`` is what it goes on by
    ├── SecondFactorMissing  signed in, but good for one thing only: to set up a second factor
    ├── NotFresh          signed in, but too long ago for this: to be confirmed
    └── ProofNeeded       a token, and what is asked wants a fresh proof beside it
Conflict
├── LastOfficer           nobody could undo it
└── NothingToProve        there is no way to prove anew over the API who one is
BadInput
├── NoToken               a client gets no token; ``code`` is RFC 6749's word for it
├── ConsentInvalid        a consent that cannot be understood
└── PolicyInvalid         a policy set that does not parse or does not fit the schema
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotAuthenticated, Refused
from twinward.core.sentences import sentence


class AccessDenied(Refused):
    """Policy or consent says no. The refusal itself is in the log at ``log_index``."""

    def __init__(self, reason: str, *, log_index: int) -> None:
        super().__init__(reason, hint="`twinward access check` explains which rule decided and what would change it")
        self.log_index = log_index


class NotARecord(Refused):
    """Derived data was asked for as a record, by whomever: features leave as features, under decisions of their own."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="ask for the categories it was computed from; a twin's features have own routes")


class TooManyEmergencies(AccessDenied):
    """More patients opened in emergencies than one clinician may within the window. Logged as a refusal."""

    http_status = 429

    def __init__(self, reason: str, *, log_index: int) -> None:
        super().__init__(reason, log_index=log_index)
        self.hint = (
            "a colleague can open this patient; an officer raises the limit for a time with `twinward access allow`"
        )


class AnotherOfficers(Refused):
    """One officer wants into another's account. What takes two officers would take one, then."""

    def __init__(self, account: str, verb: str) -> None:
        super().__init__(
            "no officer gives another officer's account a password or a token",
            hint=sentence(
                "on the node's machine, without --as: twinward account {verb} {account}", verb=verb, account=account
            ),
        )


class EmergencyOver(AccessDenied):
    """An emergency's time box has ended, and with it what followed the twin within it. Logged as a refusal."""

    def __init__(self, reason: str, *, log_index: int) -> None:
        super().__init__(reason, log_index=log_index)
        self.hint = "ask anew, with a justification, if the emergency goes on"


class PermitInvalid(Refused):
    """A permit that is forged, expired, or does not cover what is asked."""


class PermitWithdrawn(PermitInvalid):
    """A permit that would not be given any more: a consent was withdrawn, or its time has come."""


class SignInRefused(NotAuthenticated):
    """The name, secret or token is not right. The message never says which."""

    def __init__(self) -> None:
        super().__init__(
            "sign-in refused", hint="check the name and the secret, or ask the node's operator for new ones"
        )


class SignInEnded(SignInRefused):
    """A sign-in that was good and is so no longer. Told only to whoever it belonged to."""

    def __init__(self, why: str) -> None:
        NotAuthenticated.__init__(
            self,
            sentence("this sign-in has ended: {why}", why=why),
            hint="sign in again, or ask a data officer of this node",
        )


class PasswordMustChange(SignInRefused):
    """The password was right, and another one has to be chosen before anything else."""

    def __init__(self) -> None:
        NotAuthenticated.__init__(self, "a new password has to be chosen first", hint="choose one, then go on")


class SecondFactorNeeded(SignInRefused):
    """The password was right, and is not enough. Not to be told apart from a session: it is none."""

    def __init__(self, waiting: str) -> None:
        NotAuthenticated.__init__(self, "a code is needed, too", hint="give the code of your authenticator app")
        self.waiting = waiting


class SecondFactorMissing(SignInRefused):
    """Who has this role needs a second factor, and has none yet."""

    def __init__(self) -> None:
        NotAuthenticated.__init__(self, "a second factor has to be set up first", hint="set it up, then go on")


class NotFresh(SignInRefused):
    """What is asked wants somebody who proved a short while ago who they are. ``then``: where to go on."""

    def __init__(self, then: str) -> None:
        NotAuthenticated.__init__(self, "this has to be confirmed", hint="prove anew who you are, then do it again")
        self.then = then


class ProofNeeded(SignInRefused):
    """A token is good, and what is asked wants a proof that is not older than ``max_age_s`` (RFC 9470)."""

    def __init__(self, max_age_s: int) -> None:
        NotAuthenticated.__init__(
            self,
            "this asks for a fresh proof of who you are",
            hint="POST /api/1/proofs with your password and code, and use the token that it gives",
        )
        self.max_age_s = max_age_s


class TokenRefused(SignInRefused):
    """A token that was good once: for the log. Its bearer is told no more than anybody."""

    def __init__(self, account: str, number: int, fault: str) -> None:
        super().__init__()
        self.account, self.number, self.fault = account, number, fault


class NothingToProve(Conflict):
    """Who asks has no way to prove anew who they are, over the API."""


class AccountDisabled(Refused):
    """The account is there and may not be used."""


class WrongRole(Refused):
    """The password was right, and the account's role has no business here."""

    def __init__(self) -> None:
        super().__init__("this account's role may not sign in here", hint="sign in with another account")


class TooManyAttempts(Refused):
    """Too many sign-ins failed; ``wait_s`` says for how long no more are looked at."""

    http_status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many attempts", hint=sentence("wait {wait_s} seconds, then try again", wait_s=wait_s))
        self.wait_s = wait_s


class LastOfficer(Conflict):
    """What is asked would leave nobody who can sign in and undo it."""


class NoToken(BadInput):
    """A client gets no token: ``code`` is one of RFC 6749, section 5.2, and the message what a client may be told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ScopeTooNarrow(Refused):
    """A token that was not granted what is asked. ``needed`` is the scope that would be."""

    def __init__(self, needed: str) -> None:
        super().__init__(
            "this token was granted reading only", hint=sentence("ask for one with the scope {needed}", needed=needed)
        )
        self.needed = needed


class ConsentInvalid(BadInput):
    """A consent that cannot be understood."""


class PolicyInvalid(BadInput):
    """A policy set that does not parse or does not fit the schema."""
