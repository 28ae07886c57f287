"""What a patient is told of the templates that explain accesses to officers."""

from __future__ import annotations

from twinward.review.explanations import TEMPLATES
from twinward.review.relations import RELATIONS

OF_DUTY = {"own record", "the node itself", "record keeping", "consent", "data office"}


def test_every_template_of_care_has_words_for_the_patient() -> None:
    assert set(TEMPLATES) - OF_DUTY == set(RELATIONS)
