"""What a PDF of fpdf2 says, read back from its pages by the fonts' own ToUnicode maps."""

from __future__ import annotations

import re
import zlib

_SHOWN = re.compile(rb"/(F\d+) [\d.]+ Tf|\(((?:\\.|[^\\)])*)\)|\b(ET)\b", re.DOTALL)
_ESCAPED = {b"r": b"\r", b"n": b"\n"}


def text_of(pdf: bytes) -> str:
    """Each text that was drawn, a line each, in the order of the file."""
    objects = dict(re.findall(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL))
    maps = {
        name: _map_of(objects[re.search(rb"/ToUnicode (\d+) 0 R", objects[number])[1]])  # type: ignore[index]
        for fonts in re.findall(rb"/Font <<(.*?)>>", pdf, re.DOTALL)
        for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", fonts)
    }
    pages = (_stream(one) for one in objects.values() if b"stream\n" in one)
    return "".join(_said(page, maps) for page in pages if re.search(rb"\bBT /F\d", page))


def _said(page: bytes, maps: dict[bytes, dict[int, str]]) -> str:
    font, said = maps[b"F1"], []
    for name, literal, end in _SHOWN.findall(page):
        if name:
            font = maps[name]
        elif end:
            said.append("\n")
        else:
            raw = re.sub(rb"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), literal, flags=re.DOTALL)
            said += [font[int.from_bytes(raw[at : at + 2])] for at in range(0, len(raw), 2)]
    return "".join(said)


def _map_of(written: bytes) -> dict[int, str]:
    pairs = re.findall(rb"<([0-9A-F]{4})> <([0-9A-F]+)>\n", _stream(written))
    return {int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be", "replace") for glyph, text in pairs}


def _stream(written: bytes) -> bytes:
    found = re.search(rb"stream\n(.*)\nendstream", written, re.DOTALL)
    assert found
    try:
        return zlib.decompress(found[1])
    except zlib.error:
        return found[1]
