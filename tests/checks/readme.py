"""Pages against reality: what pages name (`make` targets, commands, options, files) must exist.

Run as ``python -m tests.checks.readme``; prints what does not hold and exits with 1.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import click

from tests.command_line import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "GLOSSARY.md", "CHANGELOG.md", "platform/THREAT_MODEL.md"),
    *("crypto/SPEC.md", "ledger/SPEC.md", "deploy/README.md"),
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "platform/docs").glob("**/*.md"))),
)
OF_LONG_ROWS = {"crypto/SPEC.md", "ledger/SPEC.md"}
"""Their rows are byte formats: they are looked up, not read."""
LONGEST_ROW = 160
LONG_BEGINNING = 60
# Where a page's short path of a module (`api/http/guard.py`) may begin.
PLACES = (ROOT, *(ROOT / root for root in ("platform", "ledger", "crypto", "contracts")), *ROOT.glob("*/twinward*/"))


def problems(text: str, folder: Path) -> list[str]:
    """What a document promises and the project does not keep."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    found = [
        f"make {name}: no such target"
        for name in re.findall(r"\bmake ([a-z][a-z-]*)\b", _code(text))
        if name not in targets
    ]
    for line in re.findall(
        r"(?:^|[\s/`(])twinward ((?:[a-z-]+ ?)*(?:--?[^`\n#|)]*)?)", _code(text), flags=re.MULTILINE
    ):
        found += _command_problems(line.split())
    for line in re.findall(r"^twinward [^\n]*$", "\n".join(_blocks(text)), flags=re.MULTILINE):
        found += _incomplete(line)
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in target and not (folder / target).exists():
            found.append(f"link {target}: no such file")
    for path in re.findall(r"`((?:tests|platform|ledger|contracts|crypto|deploy)/[\w./-]+)`", text):
        if not _is_there(path):
            found.append(f"path {path}: no such file or folder")
    for path in re.findall(r"`([a-z_]\w*(?:/\w+)+\.py)`", text):
        if not _is_there(path):
            found.append(f"module {path}: no such file in any package")
    for name in re.findall(r"`(twinward(?:_[a-z]+)?(?:\.[a-z_]+)+)`", text):
        if not name.endswith((".toml", ".py")) and not _stands(name):
            found.append(f"module {name}: no such module, nor a name in one")
    for path, name in re.findall(r"`(tests/[\w./-]+\.py)::(\w+)`", text):
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8"):
            found.append(f"test {path}::{name}: no such test")
    found += [f"said twice: {line[:60]} …" for line in _said_twice(text)]
    return found + [f"line of {len(line)} characters, at most 120: {line[:60]} …" for line in _wide(text)]


def _said_twice(text: str) -> list[str]:
    """Items of lists that begin with the same whole line: two changes of one list, taken together, leave both."""
    begun = Counter(re.findall(rf"^- (.{{{LONG_BEGINNING},}})$", text, flags=re.MULTILINE))
    return [line for line, count in begun.items() if count > 1]


def _wide(text: str) -> list[str]:
    """Lines too wide to read: not rows of tables, code, or a test's name that stands on its own."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    apart = re.compile(r" *\||    |  `tests/\S+`\S?$")
    return [line for line in prose.splitlines() if len(line) > 120 and not apart.match(line)]


def wide_rows(text: str) -> list[str]:
    """Rows of tables too wide to read; a link counts as the words that are shown of it."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    lengths = [len(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", line)) for line in rows]
    return [
        f"row of {length} characters, at most {LONGEST_ROW} (a list reads better): {line[:60]} …"
        for line, length in zip(rows, lengths, strict=True)
        if length > LONGEST_ROW
    ]


def _is_there(path: str) -> bool:
    """A file or folder, from the root or from a package; of a file that is to be made, called NAME, its folder."""
    path = path.rpartition("/")[0] if "NAME" in path else path
    return any((place / path).exists() for place in PLACES)


def _stands(dotted: str) -> bool:
    """Whether a module is there, or its parent says the last word of the name."""
    parent, _, last = dotted.rpartition(".")
    for name, word in ((dotted, ""), (parent, last)):
        for root in PLACES:
            for file in (root / f"{name.replace('.', '/')}.py", root / name.replace(".", "/") / "__init__.py"):
                if file.exists() and re.search(rf"\b{word}\b", file.read_text(encoding="utf-8")):
                    return True
    return False


def _code(text: str) -> str:
    """Only what stands in code spans and blocks: prose may say what it likes."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join(_blocks(text) + spans)


def _blocks(text: str) -> list[str]:
    """What stands in blocks, a command that goes on behind a backslash in one line."""
    found = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    return [re.sub(r" *\\\n *", " ", one) for one in found]


def _command_problems(words: list[str]) -> list[str]:
    command: click.Command = PROGRAM
    shown = ["twinward"]
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0)
        if name in ("…", "..."):
            return []
        if name not in command.commands:
            return [f"{' '.join(shown)} {name}: no such command"]
        command = command.commands[name]
        shown.append(name)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options = [word.split("=")[0] for word in words if word.startswith("-") and len(word) > 1]
    return [f"{' '.join(shown)} {option}: no such option" for option in options if option not in known]


def _incomplete(line: str) -> list[str]:
    """What a line of a block lacks, typed as it stands: options that the command does not do without."""
    words = shlex.split(line, comments=True)[1:]
    if "…" in words or "|" in words or "--help" in words:
        return []
    command: click.Command = PROGRAM
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    needed = [one for one in command.params if one.required and isinstance(one, click.Option)]
    lacking = [one.opts[0] for one in needed if not set(one.opts) & {word.split("=")[0] for word in words}]
    return [f"{line}: lacks {', '.join(lacking)}"] if lacking else []


def main() -> int:
    """Check every document; return the exit code."""
    broken = 0
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        for line in [*problems(text, path.parent), *([] if name in OF_LONG_ROWS else wide_rows(text))]:
            sys.stderr.write(f"{name}: {line}\n")
            broken += 1
    sys.stdout.write(f"{len(DOCUMENTS)} documents checked against the command line and the tree: {broken} problems\n")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
