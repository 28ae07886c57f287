"""What pydantic finds is said by its kind, what our validators find in their words, and nothing of what was entered."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from twinward.core.field_faults import faults_of
from twinward.core.sentences import Sentence, sentence


class Entered(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ours: str = ""
    theirs: str = ""

    @field_validator("ours")
    @classmethod
    def _ours(cls, value: str) -> str:
        if value:
            raise ValueError(sentence("nothing stands here"))
        return value

    @field_validator("theirs")
    @classmethod
    def _theirs(cls, value: str) -> str:
        if value:
            raise ValueError(f"{value} is secret") if value != "bare" else ValueError
        return value


def found(**entered: object) -> str:
    with pytest.raises(ValidationError) as error:
        Entered.model_validate(entered)
    return faults_of(error.value)


def test_a_validators_own_sentence_is_said_and_can_be_said_again() -> None:
    said = found(ours="x")
    assert said == "ours: nothing stands here"
    assert isinstance(said, Sentence)
    assert isinstance(said.values["fault"], Sentence)


@pytest.mark.parametrize("entered", ["hunter2", "bare"])
def test_a_text_that_is_no_sentence_of_ours_is_not_told(entered: str) -> None:
    assert found(theirs=entered) == "theirs is not written as it must be"


def test_of_very_many_faults_some_are_told_and_the_rest_counted() -> None:
    said = found(**{f"field-{number}": 1 for number in range(5000)})
    assert said.startswith("field-0 is not a field of it; field-1 is")
    assert said.endswith("; and 4980 more")
    assert len(said) < 1000
