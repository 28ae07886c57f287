"""What can go wrong in federated training.

TwinwardError
├── BadInput
│   ├── InvitationInvalid   no study key, invitation or approval, or one that was altered
│   ├── DataInvalid         a researcher's own file that cannot be a study's stays; says which row and column
│   ├── StudyInvalid        a protocol that cannot be run as written; says which field and what would do
│   └── ModelFileInvalid    bytes that are not a model file of ours
├── Conflict
│   └── RoundRefused        a site was asked for a round it already answered, or one the protocol does not have
├── Refused
│   ├── NotApproved         no officer of the hospital approved this protocol
│   ├── NotAuthentic        a message that the study's coordinator, or the hospital asked, did not sign
│   ├── BudgetExhausted     the hospitals' privacy budget does not pay for this study
│   ├── NotPaid             a hospital finds no live reservation on the ledger for what it is asked
│   ├── NotWorthwhile       a study whose noise would drown what its patients tell
│   ├── PoisonSuspected     a study's groups make a hospital suspect, and no officer looked at it yet
│   ├── Quarantined         a study cannot go on, or make a model, without the hospitals that an officer left out
│   ├── SumImplausible      a released sum that cannot come from patients and the protocol's noise
│   ├── KeyRefused          a round key that its hospital did not sign, or a key set that is not the roster
│   └── ContributionRefused what a hospital sent is not what the protocol asked of it; says whose
└── Unavailable
    ├── SiteUnreachable     no daemon of a hospital answers where it should
    ├── StaysUnreadable     a hospital cannot read its stays; why is for its own log
    └── RoundAborted        a hospital dropped out; its share of noise and masks is missing, so nothing was opened
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, Refused, Unavailable


class InvitationInvalid(BadInput):
    """No study key, invitation or approval, or one that was altered; says which."""


class StudyInvalid(BadInput):
    """A study protocol that cannot be run as written."""


class DataInvalid(BadInput):
    """A researcher's own data that cannot be a study's stays. It says which row and column, never a value."""


class ModelFileInvalid(BadInput):
    """Bytes that are not a model file of ours."""


class RoundRefused(Conflict):
    """A site was asked to answer twice, out of order, or beyond the protocol: masks and noise are one-time."""


class BudgetExhausted(Refused):
    """The hospitals' privacy budget does not pay for this study. Nothing was spent."""


class NotApproved(Refused):
    """No officer of this hospital approved this very protocol, so its site does not take part."""


class NotAuthentic(Refused):
    """A message that was not signed by whom it had to be: the study's coordinator, or the hospital that was asked."""


class NotPaid(Refused):
    """A hospital finds no live reservation on the ledger that pays for what it is asked. Nothing was answered."""


class NotWorthwhile(Refused):
    """A study whose noise would drown what its patients tell: it would cost their privacy and learn nothing."""


class PoisonSuspected(Refused):
    """A hospital is suspect of ruining a study's sums, and no officer looked at it yet. No model is made meanwhile."""


class Quarantined(Refused):
    """A study cannot go on, or make a model, without hospitals that an officer quarantined."""


class SumImplausible(Refused):
    """A released sum that no patients under the protocol's noise add up to. It is charged; no model is made of it."""


class KeyRefused(Refused):
    """A round key that its hospital did not sign, or a key set that is not the study's roster."""


class ContributionRefused(Refused):
    """What a hospital sent cannot have come of the protocol: of a broken length, or not what it committed itself to."""


class SiteUnreachable(Unavailable):
    """No daemon of a hospital answers where it should. It was asked nothing."""


class StaysUnreadable(Unavailable):
    """A hospital cannot read its stays. Why is for its own log only: an error's words could tell of a patient."""


class RoundAborted(Unavailable):
    """A hospital dropped out of a round. No sum was opened; what was reserved stays reserved."""
