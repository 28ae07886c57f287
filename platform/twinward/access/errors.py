"""Errors of access control.

Refused
├── AccessDenied          policy or consent says no; ``log_index`` is where the refusal was logged
├── PermitInvalid         a permit that is forged, expired or does not cover what is asked
└── SignInRefused         wrong name, secret or token (also NotAuthenticated: one answer for all)
BadInput
├── ConsentInvalid        a consent that cannot be understood
└── PolicyInvalid         a policy set that does not parse or does not fit the schema
"""

from __future__ import annotations

from twinward.errors import BadInput, NotAuthenticated, Refused


class AccessDenied(Refused):
    """Policy or consent says no. The refusal itself is in the log at ``log_index``."""

    def __init__(self, reason: str, *, log_index: int) -> None:
        super().__init__(reason, hint="`twinward access check` explains which rule decided and what would change it")
        self.log_index = log_index


class PermitInvalid(Refused):
    """A permit that is forged, expired, or does not cover what is asked."""


class SignInRefused(NotAuthenticated):
    """The name, secret or token is not right. The message never says which."""

    def __init__(self) -> None:
        super().__init__(
            "sign-in refused", hint="check the name and the secret, or ask the node's operator for new ones"
        )


class ConsentInvalid(BadInput):
    """A consent that cannot be understood."""


class PolicyInvalid(BadInput):
    """A policy set that does not parse or does not fit the schema."""
