"""A study's rounds, as its coordinator runs them: ask all, go on without whom the protocol lets be lost, learn, go on.

Undisturbed, a round is one exchange: model and keys to all, masked sums and the next keys from all. Where the protocol
seals sums, a second, small one opens them. A hospital that is lost ends its attempt; the round is attempted anew over
the others, with the keys at hand: where sums are sealed for nothing, for the attempt is never opened; else out of the
protocol's spare rounds. A sealed sum whose hospital is lost after sending it opens by the others' shares. A hospital
that comes back takes part again from the next attempt. Each step is in the journal before it is taken.

Where the protocol has groups, an attempt is one sum for each of them, over hospitals that are dealt anew. Whom an
officer quarantined is asked no more, from the next attempt on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from twinward.core.errors import Unavailable
from twinward.federation.aggregation.contribution import Contribution, Unmasking, masked_vector
from twinward.federation.aggregation.groups import deal_groups
from twinward.federation.aggregation.plausibility import fault_of, require_plausible
from twinward.federation.aggregation.sealing import SealedAttempt, quorum_of, require_seal
from twinward.federation.aggregation.secure_aggregation import (
    Masked,
    SignedRoundKey,
    model_context,
    open_sum,
    round_transcript,
)
from twinward.federation.detectors.detector import Learner, Parameters
from twinward.federation.errors import ContributionRefused, KeyRefused, RoundAborted
from twinward.federation.privacy.accountant import PrivacyPlan
from twinward.federation.privacy.dp_sum import Integers, decode
from twinward.federation.site import Site
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import Question, StudyJournal
from twinward.federation.suspicion.verdict import raise_quarantined

Answer = TypeVar("Answer")


class Rounds:
    """All rounds of one study.

    Args:
        study: the protocol.
        plan: its privacy.
        sites: its hospitals.
        journal: of this study; what stands in it goes on.
        dimension: of a sum.
    """

    def __init__(
        self, study: StudyProtocol, plan: PrivacyPlan, sites: Sequence[Site], journal: StudyJournal, dimension: int
    ) -> None:
        self._study = study
        self._plan = plan
        self._sites = {site.name: site for site in sites}
        self._journal = journal
        self._dimension = dimension
        self._attempt, self._learnt = 1, 0
        self._dealt = [members for _, members, _ in journal.group_sums()]
        self._keys: dict[str, SignedRoundKey | None] = {}
        self._lost: dict[str, str] = {}
        self._returning: dict[str, Future[SignedRoundKey | None]] = {}
        self._pool = ThreadPoolExecutor(2 * len(self._sites), thread_name_prefix="site")

    def run(self, learner: Learner, joined: Callable[[int], None], learnt: Callable[[int, int], None]) -> Parameters:
        """What is learnt from all rounds' sums.

        Args:
            learner: a fresh one.
            joined: told how many hospitals take part.
            learnt: told of each round, and of how many sums were paid for so far.

        Raises:
            RoundAborted: too many hospitals are lost, or no attempt is left. Begun again, the study goes on there.
            RoundRefused, KeyRefused, NotPaid, BadInput: a hospital refuses.
            ContributionRefused, SumImplausible: a hospital does not keep to the protocol.
            Quarantined: it cannot go on without those that an officer quarantined.
        """
        totals = self._journal.totals()
        self._learnt = len(totals)
        for total in totals:
            self._learn(learner, total)
        if len(totals) == self._study.rounds:
            return (
                learner.parameters
            )  # no hospital is asked any more: the last attempt may have been the protocol's last
        pending = self._journal.pending()
        self._attempt = self._journal.next_attempt() if pending is None else pending[0].attempt
        try:
            self._admit(name for name in self._sites if name not in self._quarantined())
            joined(len(self._keys))
            for number in range(len(totals) + 1, self._study.rounds + 1):
                self._learn(learner, self._round(number, learner.parameters))
                learnt(number, number if self._study.sealed else self._attempt - 1)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)  # who waits for a hospital waits no longer
        return learner.parameters

    def _learn(self, learner: Learner, total: Integers) -> None:
        if not self._study.repeats:  # else it is learnt from once all rounds are there
            learner.learn(decode(total, self._study.clip))

    def _round(self, number: int, parameters: Parameters) -> Integers:
        """One sum, in as many attempts as it takes."""
        while True:
            pending = self._journal.pending()
            question, answers = (None, None) if pending is None else pending
            if question is None or (answers is None and not self._may_answer(question)):
                question, answers = self._next_question(number, parameters), None
            if answers is None:
                answers = self._answers(question)
            if answers is None:
                continue
            total, groups = self._total(question, answers)
            self._journal.learn(question, total, groups)
            self._attempt, self._learnt = question.attempt + 1, number
            return total

    def _may_answer(self, question: Question) -> bool:
        """Whether all whom a question of before was for are here, with the keys that it names."""
        for key in question.keys:
            if key.hospital not in self._keys:
                return False
            own = self._keys[key.hospital]
            if own is not None and own.attempt == question.attempt and own != key:
                self._lose({key.hospital: f"{key.hospital} remembers nothing of attempt {question.attempt}"})
                return False
        return True

    def _next_question(self, number: int, parameters: Parameters) -> Question:
        """The next attempt, over all who are here and have a key for it. Written down before it is asked."""
        pending = self._journal.pending()
        if pending is not None:
            self._attempt = max(self._attempt, pending[0].attempt + 1)
        quarantined = self._quarantined()
        for name in quarantined:
            self._keys.pop(name, None)
            self._lost.pop(name, None)
        self._require_enough()
        if self._attempt > self._study.attempts:
            raise self._aborted(f"no attempt is left of the protocol's {self._study.attempts}")
        self._take_back()
        self._admit([name for name, key in self._keys.items() if key is None or key.attempt != self._attempt])
        keys = tuple(key for key in self._keys.values() if key is not None and key.attempt == self._attempt)
        if len(keys) < self._study.least_hospitals - len(quarantined):
            raise self._aborted(f"{len(keys)} hospitals have a key for attempt {self._attempt}")
        size = self._study.group_size
        groups = deal_groups([key.hospital for key in keys], size, self._dealt) if size else ()
        self._dealt += groups
        question = Question(number, self._attempt, parameters.astype("<f8").tobytes(), keys, groups)
        self._journal.ask(question)
        return question

    def _answers(self, question: Question) -> dict[str, Contribution] | None:
        """What all who take part send; None where one of them was lost."""
        numbers, parameters = (question.round_number, question.attempt), question.parameters
        sent = self._of_each(
            question.members, lambda site: site.contribute(*numbers, parameters, question.keys_for(site.name))
        )
        for name, one in sent.items():
            self._keys[name] = _next_key(name, one, question.attempt, self._study.attempts)
        if len(sent) < len(question.members):
            self._require_enough()
            if question.attempt >= self._study.attempts:
                raise self._aborted("no spare round is left to make up for it")
            self._attempt = question.attempt + 1
            return None
        return sent

    def _quarantined(self) -> frozenset[str]:
        """Whom an officer left out. Raises ``Quarantined`` where the study cannot go on without them."""
        found = self._journal.quarantined()
        left = len(self._sites.keys() - found)
        if found and not self._study.repeats:
            raise_quarantined(self._study, sorted(found), "it has no groups that could do without")
        if found and left < self._study.least_members:
            raise_quarantined(self._study, sorted(found), f"{left} others are too few for a sum")
        return found

    def _total(self, question: Question, sent: Mapping[str, Contribution]) -> tuple[Integers, Sequence[Integers]]:
        """The sum that an attempt opens to, and those of its groups.

        A group's sum that no patients add up to has no part in the whole; what it tells of its members is kept.
        """
        masked = {name: masked_vector(name, one, self._dimension) for name, one in sent.items()}
        if self._study.sealed:
            masked = self._unsealed(question, sent, masked)
        if question.groups:
            groups = [open_sum({name: masked[name] for name in group}, group) for group in question.groups]
            sizes = map(len, question.groups)
            sound = [
                one for one, size in zip(groups, sizes, strict=True) if not fault_of(self._study, self._plan, one, size)
            ]
            return sum(sound, np.zeros(self._dimension, np.int64)), groups
        total = open_sum(masked, question.members)
        require_plausible(self._study, self._plan, total)
        return total, ()

    def _unsealed(
        self, question: Question, sent: Mapping[str, Contribution], masked: Mapping[str, Masked]
    ) -> dict[str, Masked]:
        """The vectors without their seals: with each hospital's own seed, or that of a lost one from others' shares."""
        quorum = quorum_of(self._study)
        seals = {name: require_seal(name, one.seal, question.members, quorum) for name, one in sent.items()}
        attempt = SealedAttempt(self._transcript(question), seals, quorum)
        self._journal.collect(sent)
        here = [name for name in question.members if name in self._keys]
        agreed = self._of_each(here, lambda site: site.unmask(question.attempt, {}))
        for name, one in agreed.items():
            attempt.take_seed(name, one.seed)
        missing = [name for name in question.members if name not in agreed]
        if missing:
            dealt = {name: {lost: seals[lost].shares.get(name, b"") for lost in missing} for name in agreed}
            shares: Mapping[str, Unmasking] = self._of_each(
                agreed, lambda site: site.unmask(question.attempt, dealt[site.name])
            )
            for lost in missing:
                attempt.join(lost, {name: one.shares[lost] for name, one in shares.items() if lost in one.shares})
        return attempt.opened(masked)

    def _transcript(self, question: Question) -> bytes:
        context = model_context(question.parameters)
        return round_transcript(
            self._study.fingerprint(), question.round_number, question.attempt, question.keys, context
        )

    def _admit(self, names: Iterable[str]) -> None:
        """Let hospitals take part, with their keys for this attempt."""
        keys = self._of_each(list(names), lambda site: site.join(self._study, self._attempt))
        for name, key in keys.items():
            self._keys[name] = key if key is None else _own(name, key)
        self._require_enough()

    def _take_back(self) -> None:
        """Ask those who are lost, beside everything else, whether they are back; take in who is.

        Not where another loss could not be made up for.
        """
        spares_used = self._attempt - 1 - self._learnt
        if not self._study.sealed and spares_used >= self._study.spare_rounds:
            return
        for name in list(self._lost):
            future = self._returning.pop(name, None)
            if future is not None and not future.done():
                self._returning[name] = future
            elif future is not None and future.exception() is None:
                self._keys[name] = future.result()
                del self._lost[name]
            else:
                site = self._sites[name]
                self._returning[name] = self._pool.submit(site.join, self._study, self._attempt + 1)

    def _of_each(self, names: Iterable[str], ask: Callable[[Site], Answer]) -> dict[str, Answer]:
        """Ask all at once, wait for all. Who is unavailable is lost; what else is wrong is raised."""
        futures = {name: self._pool.submit(ask, self._sites[name]) for name in names}
        answers, lost = dict[str, Answer](), dict[str, str]()
        wrong: Exception | None = None
        for name, future in futures.items():
            try:
                answers[name] = future.result()
            except Unavailable as error:
                lost[name] = str(error)
            except Exception as error:  # noqa: BLE001 - raised below, once all have answered
                wrong = wrong or error
        self._lose(lost)
        if wrong is not None:
            raise wrong
        return answers

    def _lose(self, lost: Mapping[str, str]) -> None:
        for name, why in lost.items():
            self._keys.pop(name, None)
            self._lost[name] = why

    def _require_enough(self) -> None:
        """Raise ``RoundAborted`` where more are lost than the protocol lets be."""
        if len(self._lost) > self._study.dropouts:
            raise self._aborted(f"{self._study.least_hospitals} of {len(self._sites)} hospitals are needed")

    def _aborted(self, why: str) -> RoundAborted:
        told = "; ".join(self._lost[name] for name in sorted(self._lost)) or "no hospital is lost"
        return RoundAborted(f"{told}: {why}", hint="run the study again when they answer: it goes on where it was")


def _own(name: str, key: SignedRoundKey) -> SignedRoundKey:
    if key.hospital != name:
        raise KeyRefused(f"{name} gave a key in the name of {key.hospital}")
    return key


def _next_key(name: str, sent: Contribution, attempt: int, attempts: int) -> SignedRoundKey | None:
    """The key that came with an answer. Whether it is signed, every hospital checks."""
    if sent.next_key is None:
        if attempt < attempts:
            raise ContributionRefused(f"{name} sent no key for attempt {attempt + 1}", hint="its site lies")
        return None
    if sent.next_key.attempt != attempt + 1:
        raise KeyRefused(f"{name} sent a key for attempt {sent.next_key.attempt} where {attempt + 1} was due")
    return _own(name, sent.next_key)
