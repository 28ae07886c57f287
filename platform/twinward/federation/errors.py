"""What can go wrong in federated training.

TwinwardError
├── BadInput
│   ├── StudyInvalid        a protocol that cannot be run as written; says which field and what would do
│   ├── ModelFileInvalid    bytes that are not a model file of ours
│   └── NothingToTrainOn    a hospital has no stay that this study may use
├── Conflict
│   └── RoundRefused        a site was asked for a round it already answered, or one the protocol does not have
├── Refused
│   ├── BudgetExhausted     the hospitals' privacy budget does not pay for this study
│   └── KeyRefused          a round key that its hospital did not sign, or a key set that is not the roster
└── Unavailable
    └── RoundAborted        a hospital dropped out; its share of noise and masks is missing, so nothing was opened
"""

from __future__ import annotations

from twinward.errors import BadInput, Conflict, Refused, Unavailable


class StudyInvalid(BadInput):
    """A study protocol that cannot be run as written."""


class ModelFileInvalid(BadInput):
    """Bytes that are not a model file of ours."""


class NothingToTrainOn(BadInput):
    """A hospital has no stay that this study may use."""


class RoundRefused(Conflict):
    """A site was asked to answer twice, out of order, or beyond the protocol: masks and noise are one-time."""


class BudgetExhausted(Refused):
    """The hospitals' privacy budget does not pay for this study. Nothing was spent."""


class KeyRefused(Refused):
    """A round key that its hospital did not sign, or a key set that is not the study's roster."""


class RoundAborted(Unavailable):
    """A hospital dropped out of a round. No sum was opened; what was reserved stays reserved."""
