"""What the policy engine finds wrong with a text, as sentences that can be said in a reader's language.

Cedar says it in English and knows no other. What officers meet who write a rule has a sentence of its own here;
anything else is told in Cedar's own words, and said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from twinward.core.sentences import joined, sentence

_MOST_SHOWN: Final = 3
_MOST_CHARS: Final = 200
"""Of the engine's own words: they may quote a text of any length."""
_OF_A_RULE: Final = re.compile(r"for policy `policy(\d+)`[,:] (.*)", re.DOTALL)

SHAPES: Final = {
    r"unexpected end of input": "it ends in the middle of a rule; a rule ends with ;",
    r"unexpected token `(?P<token>.*)`": "{token} is not expected where it stands",
    r"invalid token": "it holds a character that belongs nowhere, or a quotation that does not end",
    r"invalid policy effect: (?P<word>\w+)": "a rule begins with permit or forbid, not with {word}",
    r"invalid policy condition: (?P<word>\w+)": "a condition begins with when or unless, not with {word}",
    r"invalid variable: (?P<word>\w+)": "there are principal, action, resource and context, but no {word}",
    r"`(?P<word>\w+)` is not a valid (?:function|method)": "there is no function {word}",
    r"'=' is not a valid operator in Cedar": "values are compared by ==, not by =",
    r"duplicate annotation: (?P<name>@\w+)": "a rule has two {name}",
    r"the input `(?P<text>.*)` is not a valid escape": "{text} stands for no character",
    r"integer parse error: .*": "a number is too large",
    r"found the variable `.*` where the variable `(?P<word>\w+)` must be used": "{word} has to stand in its place",
    r"entity `Network::\"(?P<name>[^\"]*)\"` is of an enumerated .*": "the settings name no network {name}",
    r"the types String and Network are not compatible": 'a network is written Network::"…", and has no other value',
    r"attribute `(?P<name>\w+)` in context for .* not found": "no request has {name}",
    r"attribute `(?P<name>\w+)` on entity type `(?P<kind>\w+)` not found": "no {kind} has {name}",
    r"the types (?P<one>\w+) and (?P<other>\w+) are not compatible": "{one} is compared with {other}",
    r"unexpected type: expected (?P<one>\w+) but saw (?P<other>\w+)": "{other} stands where {one} is expected",
    r'unrecognized action `Action::"(?P<name>[^"]*)"`': "there is no action {name}",
    r"unrecognized entity type `(?P<kind>[\w:]+)`": "there is nothing called {kind}",
    r"unable to find an applicable action given the policy scope constraints": "it fits no request",
    r"empty set literals are forbidden in policies": "a list with nothing in it says nothing",
    r"a rule has too many conditions in a row": "a rule has too many conditions in a row",
}
"""How Cedar 4 says what it finds -> the sentence that is said for it; what a group matches is its value."""


def fault(said: str) -> str:
    """One finding of the engine's, as it wrote it."""
    for shape, template in SHAPES.items():
        found = re.fullmatch(shape, said, re.DOTALL)
        if found is not None:
            return sentence(template, **{name: text[:_MOST_CHARS] for name, text in found.groupdict().items()})
    return sentence("the policy engine says: {said}", said=said[:_MOST_CHARS])


def faults(found: Sequence[str], names: Sequence[str]) -> str:
    """The first few that validation found, each once and with its rule's name; ``names`` in the rules' order."""
    told: dict[str, str] = {}
    for one in found:
        said = one.partition("] ")[2] or one
        rule = _OF_A_RULE.fullmatch(said)
        if rule is None or int(rule[1]) >= len(names):
            one_said = fault(said)
        else:
            one_said = sentence("rule {name}: {fault}", name=names[int(rule[1])], fault=fault(rule[2]))
        told.setdefault(str(one_said), one_said)
    return joined(list(told.values())[:_MOST_SHOWN])
