"""Narrative that would run, load or forge something when a person looks at it; and what care writes every day."""

from __future__ import annotations

import pytest

from twinward.fhir.validation.narrative import narrative_fault

NS = ' xmlns="http://www.w3.org/1999/xhtml"'

HOSTILE = {
    "script": "<div><script>alert(1)</script></div>",
    "script of another namespace": '<div xmlns:x="http://www.w3.org/2000/svg"><x:script>1</x:script></div>',
    "svg": '<div><svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>x</div>',
    "event attribute": '<div onclick="x()">x</div>',
    "event attribute in capitals": '<div onClick="x()">x</div>',
    "event attribute of an image": '<div><img src="#a" onerror="x()"/></div>',
    "doctype": '<!DOCTYPE div [<!ENTITY a "b">]><div>&a;</div>',
    "many laughs": '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><div>&b;</div>',
    "external entity": '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><div>&x;</div>',
    "declaration": '<?xml version="1.0"?><div>x</div>',
    "stylesheet instruction": '<?xml-stylesheet href="http://e.example/x.css"?><div>x</div>',
    "instruction inside": "<div><?php x ?>x</div>",
    "iframe": '<div><iframe src="http://e.example"/>x</div>',
    "object": '<div><object data="x"/>x</div>',
    "form": '<div><form action="http://e.example"><input name="x"/></form>x</div>',
    "style element": "<div><style>*{display:none}</style>x</div>",
    "head": "<div><head/>x</div>",
    "base": '<div><base href="http://e.example"/>x</div>',
    "link": '<div><link rel="stylesheet" href="http://e.example"/>x</div>',
    "meta": '<div><meta http-equiv="refresh" content="0"/>x</div>',
    "javascript link": '<div><a href="javascript:x()">x</a></div>',
    "javascript in capitals": '<div><a href="JaVaScRiPt:x()">x</a></div>',
    "javascript with a tab": '<div><a href="java&#9;script:x()">x</a></div>',
    "javascript after a blank": '<div><a href=" &#1;javascript:x()">x</a></div>'.replace("&#1;", "&#10;"),
    "javascript by entities": '<div><a href="&#106;avascript:x()">x</a></div>',
    "javascript by a named entity": '<div><a href="javascript&colon;x()">x</a></div>',
    "data link": '<div><a href="data:text/html,x">x</a></div>',
    "vbscript": '<div><a href="vbscript:x">x</a></div>',
    "file": '<div><a href="file:///etc/passwd">x</a></div>',
    "image from elsewhere": '<div><img src="http://e.example/seen.png"/></div>',
    "image from elsewhere, encrypted": '<div><img src="https://e.example/seen.png"/></div>',
    "image from elsewhere, by the same protocol": '<div><img src="//e.example/seen.png"/></div>',
    "image from elsewhere, by backslashes": '<div><img src="\\\\e.example/seen.png"/></div>',
    "image that is a page": '<div><img src="data:text/html,x"/></div>',
    "style that loads": '<div style="background:url(http://e.example)">x</div>',
    "style that loads, spaced": '<div style="background:URL (x)">x</div>',
    "style that loads, by other functions": '<div style="background:-webkit-cross-fade(x, y)">x</div>',
    "style that loads, by what browsers are to know": '<div style="background:src(x)">x</div>',
    "style that is escaped": '<div style="background:u\\72l(x)">x</div>',
    "style that computes": '<div style="width:expression(x)">x</div>',
    "xlink": '<div xmlns:xlink="http://www.w3.org/1999/xlink"><a xlink:href="x">x</a></div>',
    "another root": "<p>x</p>",
    "two roots": "<div>x</div><div>y</div>",
    "text before": "x<div>y</div>",
    "another namespace": '<div xmlns="http://e.example">x</div>',
    "not closed": "<div>x",
    "upper case": "<DIV>x</DIV>",
    "unquoted": "<div class=x>x</div>",
    "unknown entity": "<div>&nosuch;</div>",
    "text only": "x",
    "empty": "",
    "nothing said": "<div> \n</div>",
    "nothing but a comment": "<div><!-- x --></div>",
    "a surrogate": "<div>\ud800</div>",
}

ORDINARY = {
    "plain": f"<div{NS}>x</div>",
    "no namespace": "<div>x</div>",
    "prefix": '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:b>x</h:b></h:div>',
    "entities": f"<div{NS}>5&nbsp;&micro;g &lt; 6 &amp; &eacute; &#8211;</div>",
    "table": f'<div{NS}><table border="1" class="grid"><tbody><tr><td colspan="2">x</td></tr></tbody></table></div>',
    "links": f'<div{NS}><a href="https://hl7.org">x</a><a href="#y">y</a><a href="Patient/1">z</a><a name="y"/></div>',
    "image": f'<div{NS}><img src="#photo" alt="x"/><img src="data:image/png;base64,AA=="/></div>',
    "image only": f'<div{NS}><img src="Binary/1" alt=""/></div>',
    "style": f'<div{NS} style="color: red; margin-left: 2px">x</div>',
    "language": f'<div{NS} xml:lang="en" lang="en">x</div>',
    "comment": f"<div{NS}>x<!-- y --></div>",
    "any script": f"<div{NS}>日本語 العربية</div>",
}


@pytest.mark.parametrize("div", HOSTILE.values(), ids=HOSTILE)
def test_what_could_do_harm_is_refused_and_not_repeated(div: str) -> None:
    said = narrative_fault(div)
    assert said
    assert "e.example" not in said
    assert "alert" not in said


@pytest.mark.parametrize("div", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_narrative_is_taken(div: str) -> None:
    assert narrative_fault(div) == ""


def test_depth_costs_no_stack() -> None:
    assert narrative_fault("<div>" * 100_000) == "this is not well-formed XHTML"
