"""Typed faces of the contracts, one class each, over anything that can call and transact.

A binding holds no state but its address. What a contract refuses comes out as the client raises it
(``TransactionReverted`` in the ledger), with the custom error's name and arguments.
"""

from twinward_contracts.bindings.access_anchor import AccessAnchor, Anchored, Head, cosigned_message
from twinward_contracts.bindings.break_glass import BreakGlass, Declaration
from twinward_contracts.bindings.budget_ledger import BudgetLedger, PrivacyAccount, Reservation, ReservationState
from twinward_contracts.bindings.changes import Call, Change, ChangeState
from twinward_contracts.bindings.model_registry import Model, ModelRegistry
from twinward_contracts.bindings.outbreak_alert import OutbreakAlert, OutbreakState, OutbreakStatement
from twinward_contracts.bindings.resource_exchange import (
    Listing,
    ListingKind,
    PromiseTerms,
    ResourceExchange,
    Terms,
    Transfer,
    TransferState,
)
from twinward_contracts.bindings.signatures import HospitalSignature, QuorumSignature, Sign, nobody
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.bindings.witness_set import Witness, WitnessSet
from twinward_contracts.names import name_id

__all__ = [
    "AccessAnchor",
    "Anchored",
    "BreakGlass",
    "BudgetLedger",
    "Call",
    "Change",
    "ChangeState",
    "Declaration",
    "Head",
    "HospitalSignature",
    "Listing",
    "ListingKind",
    "Model",
    "ModelRegistry",
    "OutbreakAlert",
    "OutbreakState",
    "OutbreakStatement",
    "PrivacyAccount",
    "PromiseTerms",
    "QuorumSignature",
    "Reservation",
    "ReservationState",
    "ResourceExchange",
    "Sign",
    "Terms",
    "TransactionReceipt",
    "Transactor",
    "Transfer",
    "TransferState",
    "Witness",
    "WitnessSet",
    "cosigned_message",
    "name_id",
    "nobody",
]
