"""What is said to whoever asks for a page of other people's."""

from __future__ import annotations

from typing import Final

from twinward.console.viewer import message
from twinward.core.errors import Refused

_BACK: Final = message("go back to your own pages")


def for_officers() -> Refused:
    """A data officer's page."""
    return Refused(message("this page is for data officers"), hint=_BACK)


def for_patients() -> Refused:
    """A patient's page."""
    return Refused(message("this page is for patients"), hint=message("sign in with a patient's account"))


def for_clinicians() -> Refused:
    """A page of who looks after patients."""
    return Refused(message("this page is for clinicians"), hint=_BACK)


def for_operators() -> Refused:
    """A page of who runs the node."""
    return Refused(message("this page is for operators"), hint=_BACK)


def for_staff() -> Refused:
    """A page of either of these two."""
    return Refused(message("this page is for clinicians and operators"), hint=_BACK)


def for_hospital() -> Refused:
    """A page of everybody who works here."""
    return Refused(message("this page is for data officers, clinicians and operators"), hint=_BACK)


def for_others() -> Refused:
    """The console at all."""
    return Refused(
        message("the console is for data officers, clinicians, operators and patients"),
        hint=message("sign in with an account of one of these"),
    )
