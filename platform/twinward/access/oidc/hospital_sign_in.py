"""Signing in by the hospital's provider, as the settings have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinward.access.accounts import Accounts
from twinward.access.oidc.people import ProvidersPeople
from twinward.access.oidc.provider import Client, Provider
from twinward.access.oidc.relying_party import RelyingParty
from twinward.access.sign_in_store import SignInStore
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import Clock
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.secret_files import secret_in

CALLBACK: Final = "/console/sign-in/hospital/callback"


@dataclass(frozen=True, slots=True)
class HospitalSignIn:
    """The provider's client here, whose accounts its people's are, and the console's own address."""

    party: RelyingParty
    people: ProvidersPeople
    origin: str


def hospital_sign_in(
    settings: Settings, accounts: Accounts, store: SignInStore, keys: EventKeys, clock: Clock
) -> HospitalSignIn:
    """As settings that name an issuer have it.

    Raises:
        BadInput: the client's name is missing, or its secret cannot be read.
    """
    if not settings.oidc_client_id:
        raise BadInput("oidc_issuer is set and oidc_client_id is not", hint="what is this node called there?")
    file = settings.oidc_client_secret_file
    secret = "" if file is None else secret_in(file, "the secret of oidc_client_id")
    client = Client(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_also_at)
    origin = settings.passkey_origins[0]
    party = RelyingParty(
        Provider(client, clock),
        store,
        keys,
        clock,
        redirect_uri=f"{origin}{CALLBACK}",
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        strong_acr=settings.oidc_strong_acr,
    )
    people = ProvidersPeople(accounts, settings.oidc_roles, settings.oidc_unknown)
    return HospitalSignIn(party, people, origin)
