"""``python -m tests.checks.house``: the house in figures. How many files and rooms, how much they lean on each other.

A room is what stands directly in the package: a folder, or a loose file. An arrow is one room that imports from
another; a circle is a set of files that import each other in a loop. Imports under ``TYPE_CHECKING`` count: they are
read as well. It fails where a file or a function is longer than what reads well.

--walks     run five jobs on a real node, made for it, and print how many files and rooms of ``platform/twinward`` each
            one enters (a file is entered when one of its functions runs; what a server does by itself meanwhile is
            left out), with the files by room
--json FILE write the figures
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE_ROOTS: Final = ("platform", "ledger", "crypto", "contracts")
HOUSE: Final = "platform/twinward"
LONGEST_FILE: Final = 400
LONGEST_FUNCTION: Final = 60
IN_ONE_FILE: Final = {"ledger/twinward_ledger/standalone/twinward_verify.py"}
"""An auditor downloads and reads it by itself: in one file, on purpose."""
MOST: Final = {"read": 37, "create": 59, "import": 90, "query": 57}
"""What the walks came to (ADR 117): --walks fails where one is longer."""
TARGETS: Final = {"read": 20, "create": 35, "import": 60, "query": 35}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    large = too_large()
    for one in large:
        say(f"too large: {one}")
    figures: dict[str, Any] = {folder: counts(ROOT / folder) for folder in (HOUSE, "ledger", "crypto")}
    for folder, found in figures.items():
        say(f"{folder:20}" + "  ".join(f"{name} {value}" for name, value in found.items() if name != "circle files"))
        for one in found["circle files"]:
            say(f"{'':20}a circle: {' '.join(one)}")
    if options.walks:
        figures["walks"] = {}
        for name, files in walks():
            figures["walks"][name] = files
            print_walk(name, files)
            if len(files) > MOST.get(name, len(files)):
                large.append(name)
                say(f"longer than it was: {name}, {len(files)} files where {MOST[name]} did")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if large else 0


# what stands in the files


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def counts(folder: Path) -> dict[str, Any]:
    """Files, rooms, arrows, circles, lines and imports of one source root."""
    modules = {dotted(path): path for path in sorted(folder.rglob("*.py"))}
    sources = {name: path.read_text(encoding="utf-8") for name, path in modules.items()}
    edges: dict[str, set[str]] = {}
    statements = 0
    for name, path in modules.items():
        found, _ = told_in(path)
        statements += len(found)
        edges[name] = {target for node in found for target in imported(node, modules)} - {name}
    lines = {name: source.count("\n") for name, source in sources.items()}
    rooms = {name: name.split(".")[1] if "." in name else "" for name in modules}
    circles = [sorted(one) for one in loops(edges)]
    return {
        "files": len(modules),
        "folders": len({path.parent for path in modules.values()}),
        "rooms": len({room for room in rooms.values() if room}),
        "arrows": len({(rooms[a], rooms[b]) for a, targets in edges.items() for b in targets if rooms[a] != rooms[b]}),
        "circles": len(circles),
        "lines": sum(lines.values()),
        "median file": statistics.median([lines[name] for name in modules if modules[name].name != "__init__.py"]),
        "largest file": max(lines.values()),
        "imports per 100 lines": round(100 * statements / sum(lines.values()), 1),
        "circle files": circles,
    }


def too_large() -> list[str]:
    """Files and functions longer than ``LONGEST_FILE`` and ``LONGEST_FUNCTION``, each with its lines."""
    found = []
    for path in sorted(one for root in SOURCE_ROOTS for one in (ROOT / root).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if "node_modules" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > LONGEST_FILE and name not in IN_ONE_FILE:
            found.append(f"{name}: {source.count(chr(10))} lines")
        _, functions = told_in(path)
        found += [f"{name}: {one}, {lines} lines" for one, lines in functions if lines > LONGEST_FUNCTION]
    return found


@cache
def told_in(path: Path) -> tuple[tuple[ast.Import | ast.ImportFrom, ...], tuple[tuple[str, int], ...]]:
    """A file's imports, and its functions with how many lines each has, wherever in it they stand."""
    imports, functions = [], []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((node.name, (node.end_lineno or node.lineno) - node.lineno + 1))
    return tuple(imports), tuple(functions)


def dotted(path: Path) -> str:
    inside = path.relative_to(ROOT).parts[1:]
    return ".".join(inside).removesuffix(".py").removesuffix(".__init__")


def imported(node: ast.Import | ast.ImportFrom, modules: dict[str, Path]) -> Iterable[str]:
    """The modules of this source root that one statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
        return
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        if inner in modules:
            yield inner
        elif node.module in modules:
            yield node.module


def loops(edges: dict[str, set[str]]) -> list[set[str]]:
    """Strongly connected sets of more than one (Tarjan, SIAM J. Comput. 1:146, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in edges[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(set(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in index:
            visit(name)
    return found


# which files a job enters

_SPY: Final = """
import json, os, signal, sys, threading
entered, base, out = set(), sys.argv.pop(1), sys.argv.pop(1)
def spy(frame, event, _):
    code = frame.f_code
    if threading.current_thread().name.startswith("background "):  # node.background: nobody's request
        return
    if event == "call" and code.co_flags & 1 and code.co_name[0] != "<" and code.co_filename.startswith(base):
        entered.add(code.co_filename)
def tell(*_):
    loaded = [m.__file__ for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith(base)]
    with open(out + ".new", "w") as file:
        json.dump({"entered": sorted(entered), "loaded": sorted(loaded)}, file)
    os.replace(out + ".new", out)
    entered.clear()
signal.signal(signal.SIGUSR1, tell)
threading.setprofile(spy)
sys.setprofile(spy)
sys.argv[0] = "twinward"
try:
    import runpy
    runpy.run_module("twinward", run_name="__main__")
finally:
    tell()
"""
"""A command that notes in which files its functions run, and tells when asked and when it ends."""


class Watched:
    """``twinward …`` in a process of its own, watched."""

    def __init__(self, folder: Path, *arguments: str, wait: bool = True) -> None:
        self._told = folder / "entered.json"
        self._told.unlink(missing_ok=True)
        base = str(ROOT / HOUSE)
        command = [sys.executable, "-c", _SPY, base, str(self._told), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if wait:
            _, said = self._process.communicate(timeout=120)
            if self._process.returncode:
                raise SystemExit(f"twinward {' '.join(arguments)}: {said}")

    def told(self, what: str = "entered") -> list[str]:
        """Files of the house, relative to it, since it was last asked."""
        if self._process.poll() is None:
            self._told.unlink(missing_ok=True)
            self._process.send_signal(signal.SIGUSR1)
        while not self._told.exists():
            time.sleep(0.01)
        found: list[str] = json.loads(self._told.read_text())[what]
        return [str(Path(one).relative_to(ROOT / HOUSE)) for one in found]

    def end(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)


def walks() -> Iterable[tuple[str, list[str]]]:
    """Each job twice: the first warms what is built on first use, the second is counted."""
    from tests.integration.cli.conftest import make_hospital

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "home"
        for left in [key for key in os.environ if key.startswith("TWINWARD_")]:
            del os.environ[left]
        hospital = make_hospital(home)
        two = folder / "two.ndjson"
        two.write_text("".join(json.dumps(one) + "\n" for one in (_patient("p1"), _observation("o1", "p1"))))
        importing = Watched(folder, "twin", "import", str(two), "--home", str(home))
        yield "import", importing.told()
        yield "import, loaded", importing.told("loaded")
        yield "audit", Watched(folder, "audit", "verify", "--home", str(home)).told()
        token = _new_token(home, "dr-lee")
        port = _free_port()
        server = Watched(folder, "node", "serve", "--port", str(port), "--home", str(home), wait=False)
        try:
            yield from _served(server, f"http://127.0.0.1:{port}", token, hospital.vendor_token, folder)
        finally:
            server.end()


def _served(server: Watched, url: str, token: str, vendor: str, folder: Path) -> Iterable[tuple[str, list[str]]]:
    import httpx

    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        _await(client)

        def read() -> None:
            client.get("/fhir/Patient/p1").raise_for_status()

        def create() -> None:
            body = _observation(None, "p1")
            client.post("/fhir/Observation", json=body).raise_for_status()

        def query() -> None:
            environment = os.environ | {"TWINWARD_TOKEN": vendor, "HOME": str(folder)}
            asked = ("vendor", "query", url, "--mode", "gated", "--feature", "age=50", "--threshold", "1", "--yes")
            command = [sys.executable, "-m", "twinward", *asked]
            subprocess.run(command, env=environment, check=True, capture_output=True)

        jobs: tuple[tuple[str, Callable[[], None]], ...] = (("read", read), ("create", create), ("query", query))
        for name, job in jobs:
            job()
            time.sleep(0.5)
            server.told()
            job()
            yield name, server.told()


def print_walk(name: str, files: list[str]) -> None:
    rooms: dict[str, list[str]] = defaultdict(list)
    for one in files:
        rooms[str(Path(one).parent)].append(Path(one).stem)
    aim = f" (aim: {TARGETS[name]})" if name in TARGETS else ""
    say(f"\n{name}: {len(files)} files{aim}, {len(rooms)} rooms")
    if "loaded" not in name:
        for room, inside in sorted(rooms.items()):
            say(f"  {room:24}{len(inside):3}  {' '.join(sorted(inside))}")


def _patient(name: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1970-01-01"}


def _observation(name: str | None, patient: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-01-01T08:00:00Z",
        "valueQuantity": {"value": 6.1, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }
    return found | ({"id": name} if name else {})


def _new_token(home: Path, name: str) -> str:
    command = [sys.executable, "-m", "twinward", "account", "new-token", name, "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return str(found["token"])


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(client: Any) -> None:
    import httpx

    for _ in range(600):
        try:
            if client.get("/fhir/metadata").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the node does not answer")


if __name__ == "__main__":
    sys.exit(main())
