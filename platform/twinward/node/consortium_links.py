"""What links a node with its consortium: the chain and its contracts, and the witnesses that its log asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from twinward.consortium.identity import Identity
from twinward.consortium.membership import Consortium, WitnessCard, founder_of
from twinward.core.clock import Clock
from twinward.core.config import CONSORTIUM_FILE, POLICY_FILE, Settings, origin_of
from twinward.core.errors import BadInput
from twinward.core.private_files import write_private
from twinward.core.secret_files import secret_in
from twinward.node.home import home_of
from twinward.node.member_keys import identity_of
from twinward.node.restored_home import RestingChain, RestingKeys
from twinward_ledger.chains import open_chain
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import MalformedPolicy
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.formats.policy import MAX_POLICY_BYTES, Group, PolicyWitness, QuorumPolicy
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness.interfaces import WitnessPeer
from twinward_ledger.witness.witness import Witness

if TYPE_CHECKING:
    from twinward_ledger.witness.client import HttpWitness


@dataclass(frozen=True)
class ConsortiumLinks:
    """What surrounds a hospital: its consortium's contracts, the witnesses its log asks, and what a quorum of them is.

    ``policy`` None is any ``quorum`` (of the settings) of the witnesses. Links that are ``shared`` are another node's,
    which closes them.
    """

    consortium: Consortium
    witnesses: tuple[WitnessPeer, ...]
    policy: QuorumPolicy | None = None
    shared: bool = False

    def close(self) -> None:
        """Give back the chain, and the files of witnesses that are in this process."""
        if self.shared:
            return
        self.consortium.chain.close()
        for witness in self.witnesses:
            if isinstance(witness, Witness):
                witness.close()


def found_links(
    settings: Settings, identities: Mapping[str, Identity], clock: Clock, cards: Sequence[WitnessCard]
) -> ConsortiumLinks:
    """Found a consortium: of the witnesses whose cards these are, else of those that are embedded.

    Args:
        settings: the founding node's.
        identities: the keys of each member on this machine.
        clock: the node's.
        cards: the witnesses that will be asked over HTTP.
    """
    chain = _chain_of(settings, clock)
    keys = {name: one.witness_keys() for name, one in identities.items()}
    founders = [one.founder() for one in cards]
    founders += [founder_of(name, keys[name]) for name in _embedded(settings)]
    consortium = Consortium.found(
        chain,
        settings.home / CONSORTIUM_FILE,
        founders,
        settings.quorum,
        review_s=settings.break_glass_review_s,
        keys=keys,
    )
    return _links(settings, identities, consortium, clock)


def join_links(settings: Settings, identity: Identity, clock: Clock, *, at_rest: bool) -> ConsortiumLinks:
    """The consortium that a node's home names, with the members whose keys are there.

    Args:
        settings: the node's.
        identity: its own keys.
        clock: the node's.
        at_rest: for a restored home that is not at work: no key is made or destroyed, nothing is sent to the chain.

    Raises:
        KeysNotOwn: a member's keys are gone.
        BadInput: the consortium's file or its quorum policy is wrong, or this is another chain.
        ChainError: the chain does not answer.
    """
    identities = {name: identity_of(settings, name) for name in _embedded(settings) if name != settings.tenant}
    chain = _chain_of(settings, clock)
    if at_rest:
        identities = {name: replace(one, provider=RestingKeys(one.provider)) for name, one in identities.items()}
        chain = RestingChain(chain)
    identities[settings.tenant] = identity
    keys = {name: one.witness_keys() for name, one in identities.items()}
    return _links(settings, identities, Consortium.join(chain, settings.home / CONSORTIUM_FILE, keys), clock)


def peer_links(settings: Settings, identity: Identity, of: ConsortiumLinks) -> ConsortiumLinks:
    """The same consortium as another member on this machine sees it. Its owner closes it."""
    policy, witnesses = _asked(settings, identity, of.witnesses)
    return ConsortiumLinks(of.consortium, witnesses, policy, shared=True)


def with_witnesses(settings: Settings, cards: Sequence[WitnessCard]) -> Settings:
    """Settings under which these witnesses are asked; writes their quorum policy: any ``quorum`` of them.

    Raises:
        BadInput: they cannot reach it, or one is named twice.
    """
    path = settings.home / POLICY_FILE
    log = VerifierKey.parse(settings.log_key)
    witnesses = tuple(PolicyWitness(one.name, VerifierKey.parse(one.key), one.url.rstrip("/")) for one in cards)
    names = tuple(one.name for one in witnesses)
    if not 1 <= settings.quorum <= len(set(names)) == len(names):
        hint = "give each card once, and a --quorum of at most their number"
        raise BadInput(f"a quorum of {settings.quorum} cannot be reached by these witnesses", hint=hint)
    policy = QuorumPolicy(((log, ""),), witnesses, (Group("consortium", settings.quorum, names),), "consortium")
    head = f"# Which witnesses must have co-signed {settings.origin} (c2sp.org/tlog-policy). Yours to edit.\n"
    write_private(path, head.encode() + policy.encode())
    return settings.model_copy(update={"witnesses": names, "quorum_policy": Path(POLICY_FILE)})


def _links(
    settings: Settings, identities: Mapping[str, Identity], consortium: Consortium, clock: Clock
) -> ConsortiumLinks:
    logs = [identity.log_key(origin_of(name)) for name, identity in identities.items()]
    embedded = [_witness_of(settings, name, identities[name], logs, consortium, clock) for name in _embedded(settings)]
    policy, witnesses = _asked(settings, identities[settings.tenant], embedded)
    return ConsortiumLinks(consortium, witnesses, policy)


def _embedded(settings: Settings) -> tuple[str, ...]:
    """The members whose witnesses sign in this process."""
    return settings.witnesses if settings.quorum_policy is None else ()


def _asked(
    settings: Settings, identity: Identity, embedded: Sequence[WitnessPeer]
) -> tuple[QuorumPolicy | None, tuple[WitnessPeer, ...]]:
    """The witnesses a log asks: those of its quorum policy over HTTP, else the embedded ones."""
    policy = _policy_of(settings)
    if policy is None:
        return None, tuple(embedded)
    return policy, _witnesses_at(policy, identity.log_key(settings.origin), settings.witness_timeout_s)


def _chain_of(settings: Settings, clock: Clock) -> ChainClient:
    return open_chain(
        settings.chain_uri,
        chain_id=settings.chain_id,
        key=_chain_key_of(settings),
        now_s=lambda: clock.now_ms() // 1000,
    )


def _witness_of(
    settings: Settings,
    name: str,
    identity: Identity,
    logs: Sequence[VerifierKey],
    consortium: Consortium,
    clock: Clock,
) -> Witness:
    """A member's witness, with what it has co-signed."""
    return Witness(
        identity.witness_keys(),
        logs,
        WitnessState(home_of(settings, name) / "witness.db"),
        clock,
        chain_id=consortium.addresses.chain_id,
        contract=bytes.fromhex(consortium.addresses.access_anchor.removeprefix("0x")),
    )


def _policy_of(settings: Settings) -> QuorumPolicy | None:
    """The quorum policy that the settings name. Raises ``BadInput`` naming the line that is wrong."""
    if settings.quorum_policy is None:
        return None
    path = settings.home / settings.quorum_policy
    try:
        with path.open("rb") as file:
            policy = QuorumPolicy.parse(file.read(MAX_POLICY_BYTES + 1))
    except (OSError, MalformedPolicy) as error:
        raise BadInput(f"{path} is no quorum policy: {error}", hint="see c2sp.org/tlog-policy") from None
    if not any(one.url for one in policy.witnesses):
        raise BadInput(f"{path} names no witness's URL", hint="write it behind the witness's key")
    return policy


def _witnesses_at(policy: QuorumPolicy, log: VerifierKey, timeout_s: float) -> tuple[HttpWitness, ...]:
    """The witnesses of a policy that have a URL, as one log asks them. Raises ``BadInput`` if they are no quorum."""
    from twinward_ledger.witness.client import HttpWitness  # httpx: not where all witnesses sign in this process

    if policy.logs and log not in {key for key, _ in policy.logs}:
        raise BadInput(f"the quorum policy lists other logs than {log}", hint="add a log line with this key")
    asked = [one for one in policy.witnesses if one.url]
    if not policy.satisfied_by([one.key for one in asked]):
        raise BadInput("the witnesses with a URL are no quorum of the policy", hint="write the others' URLs, too")
    return tuple(HttpWitness(one.key, one.url, log, timeout_s=timeout_s) for one in asked)


def _chain_key_of(settings: Settings) -> bytes | None:
    """The secret key of the hospital's chain account. Raises ``BadInput``: it cannot be had from its file."""
    if settings.chain_key_file is None:
        return None
    text = secret_in(settings.chain_key_file, "the chain account's key")
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise BadInput(f"{settings.chain_key_file} does not hold a key in hexadecimal") from None
