"""A detector with heads: one for each disease group that pays, above a backbone of all patients.

For detectors that learn from one sum of moments m. What a patient of group g adds, of K heads and a share α of 4/5:

    (√α m, 0, …, √(1-α) h, …, 0)    [d + K h],   h some of the numbers of m, in the place of g

so a hospital's site sums its patients by group, and the consortium sums the hospitals' groups, in one masked, noisy
vector. The backbone is learnt from the first part. A head is learnt from its own part, which is few numbers, above what
the backbone says of all others: a mean level (``dp_var``), or a risk (``logistic``). Who is in no group that has a head
adds to the first part only.

**Groups cost no ε beside the backbone's.** |(√α m, √(1-α) h)|² = α|m|² + (1-α)|h|² ≤ |m|², and all of it is clipped at
C together: one patient changes the whole vector by C at most, so it is one Gaussian mechanism, charged as without
groups. Told apart: the backbone costs α of its 1/σ², the heads 1-α, and of all heads together that once. This is
parallel composition, and it needs two things: a patient is in one group at most, and which one depends on nobody else.
Adjacency adds or removes a patient together with their group. To move one from a group to another changes two heads, by
√(2 (1-α)) C: less than a patient added.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import Blocks, Detector, Learner, Parameters
from twinward.federation.detectors.logistic import OneSum
from twinward.federation.disease_groups import BACKBONE_SHARE, NO_GROUP

REST: Final = -1
"""In the place of a head's number: of those who have none."""


class WithHeads(Detector, Protocol):
    """A detector of moments, some of which make a head."""

    @property
    def head_at(self) -> NDArray[np.intp]:
        """Which of a patient's numbers."""
        ...

    def heads(self, parameters: Parameters, sums: NDArray[np.float64], spread: float) -> Sequence[Detector]:
        """What scores those in no group, then each group, by the sums ``[groups, len(head_at)]`` of its numbers.

        Noise in each of them has this spread.
        """
        ...


class GroupedDetector:
    """A backbone and its heads as a ``Detector``; by itself it scores as the backbone, all patients alike.

    Args:
        backbone: what all patients train; it knows the noise in its own share.
        groups: the names of those that have a head, in the order of their places.
        spread: standard deviation of the noise in each number of the released vector; 0 for one trained in the open.
    """

    def __init__(self, backbone: WithHeads, groups: Sequence[str], *, spread: float = 0.0) -> None:
        self._backbone, self._spread = backbone, spread
        self.groups = tuple(groups)
        self._head_at = backbone.head_at
        self.dimension = backbone.dimension + len(groups) * len(self._head_at)

    @property
    def head_size(self) -> int:
        """Numbers of one head."""
        return len(self._head_at)

    def untrained(self) -> Parameters:
        """No moments."""
        return np.zeros(self.dimension)

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:
        """Of patients of no group."""
        return self.contributions_of(parameters, blocks, np.full(len(blocks), REST))

    def contributions_of(
        self, parameters: Parameters, blocks: Blocks, heads: NDArray[np.intp]
    ) -> Iterator[NDArray[np.float32]]:
        """What each patient adds, in the place of their head (``heads_of``)."""
        start = 0
        for chunk in self._backbone.contributions(self._learnt(parameters), blocks):
            places = np.zeros((len(chunk), len(self.groups), len(self._head_at)), np.float32)
            own = heads[start : start + len(chunk)]
            among = np.flatnonzero(own != REST)
            places[among, own[among]] = chunk[np.ix_(among, self._head_at)]
            start += len(chunk)
            yield np.concatenate(
                [
                    np.float32(math.sqrt(BACKBONE_SHARE)) * chunk,
                    np.float32(math.sqrt(1 - BACKBONE_SHARE)) * places.reshape(len(chunk), -1),
                ],
                axis=1,
            )

    def heads_of(self, groups: Iterable[str]) -> NDArray[np.intp]:
        """Which head each patient has, by the name of their group; ``REST`` for none."""
        numbers = {name: number for number, name in enumerate(self.groups)}
        return np.array([numbers.get(name, REST) for name in groups], np.intp)

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The plain sum of patients of no group: for training in the open."""
        return self.summed_of(parameters, blocks, np.full(len(blocks), REST))

    def summed_of(self, parameters: Parameters, blocks: Blocks, heads: NDArray[np.intp]) -> NDArray[np.float64]:
        """The plain sum of patients with these heads: for training in the open."""
        chunks = self.contributions_of(parameters, blocks, heads)
        total: NDArray[np.float64] = np.sum(
            [np.zeros(self.dimension), *(chunk.sum(0, dtype=np.float64) for chunk in chunks)], axis=0
        )
        return total

    def learner(self) -> Learner:
        """A fresh start."""
        return OneSum(self.untrained())

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """As the backbone does."""
        return self._backbone.scores(self._learnt(parameters), blocks)

    def by_signal(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """As the backbone does."""
        return self._backbone.by_signal(self._learnt(parameters), blocks)

    def head(self, parameters: Parameters, group: str) -> tuple[Detector, Parameters]:
        """What scores the patients of a group, of no group, or of one without a head; and by which parameters."""
        learnt, share = self._learnt(parameters), math.sqrt(1 - BACKBONE_SHARE)
        sums = parameters[self._backbone.dimension :].reshape(len(self.groups), len(self._head_at)) / share
        heads = self._backbone.heads(learnt, sums, self._spread / share)
        return heads[1 + self.groups.index(group) if group in self.groups else 0], learnt

    def _learnt(self, parameters: Parameters) -> Parameters:
        """The backbone's parameters."""
        if parameters.shape != (self.dimension,):
            raise BadInput(f"a backbone with {len(self.groups)} heads has {self.dimension} sums")
        return parameters[: self._backbone.dimension] / math.sqrt(BACKBONE_SHARE)


def scores_of(
    detector: Detector, parameters: Parameters, blocks: Blocks, groups: Sequence[str] | None
) -> NDArray[np.float64]:
    """Scores ``[patients]``, each by the head of the patient's group where a detector has one."""
    found = np.empty(len(blocks))
    for among, one, learnt in _heads(detector, parameters, blocks, groups):
        found[among] = one.scores(learnt, blocks[among])
    return found


def parts_of(
    detector: Detector, parameters: Parameters, blocks: Blocks, groups: Sequence[str] | None
) -> NDArray[np.float64]:
    """What of each score is each signal's ``[patients, signals]``, by the same heads."""
    found = np.empty((len(blocks), blocks.shape[2]))
    for among, one, learnt in _heads(detector, parameters, blocks, groups):
        found[among] = one.by_signal(learnt, blocks[among])
    return found


def _heads(
    detector: Detector, parameters: Parameters, blocks: Blocks, groups: Sequence[str] | None
) -> Iterator[tuple[NDArray[np.bool_], Detector, Parameters]]:
    """Which patients are scored by what."""
    if groups is None or not isinstance(detector, GroupedDetector):
        yield np.ones(len(blocks), np.bool_), detector, parameters
        return
    if len(groups) != len(blocks):
        raise BadInput(f"{len(groups)} groups are named for {len(blocks)} patients")
    heads = detector.heads_of(groups)
    for number in np.unique(heads).tolist():
        name = NO_GROUP if number == REST else detector.groups[number]
        yield heads == number, *detector.head(parameters, name)
