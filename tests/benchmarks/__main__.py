"""All benchmarks, one after the other: `python -m tests.benchmarks --write results/speed.json`.

Every script runs in a process of its own, so that one that fails costs the others nothing. `--only NAME` renews some
entries of a file that was written on this machine with these versions; what another machine measured, and this one
cannot, stays. `--page` writes the table of docs/speed.md from the results file and measures nothing. `--add NAME FILE`
takes over into the file of `--write` what a script has written on another machine by its own `--write FILE`, with that
machine's name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from lt_bench.files import write_json
from lt_bench.launch.local.fork_server import follow_parent
from lt_bench.record.folder import code_version, environment

from .table import PAGE, RESULTS, update

SCRIPTS = {path.stem.removeprefix("bench_"): path for path in sorted(Path(__file__).parent.glob("bench_*.py"))}
LEFT_OUT: dict[str, Any] = {"error": "left out", "rows": []}


def main(words: Sequence[str] | None = None) -> int:
    """Run the scripts and store what they found; 1 when one failed, sides disagree or a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SCRIPTS, metavar="NAME", help=f"renew some of {', '.join(SCRIPTS)}"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes that take seconds, at which no goal is judged")
    parser.add_argument("--write", type=Path, metavar="FILE", help="store machine, versions and all comparisons")
    parser.add_argument(
        "--page", action="store_true", help=f"write the table of docs/{PAGE.name} from results/{RESULTS.name}"
    )
    parser.add_argument(
        "--add", nargs=2, metavar=("NAME", "FILE"), help="take over what a script wrote on another machine"
    )
    arguments = parser.parse_args(words)
    if arguments.page:
        update(PAGE, RESULTS)
        return 0
    if arguments.add:
        if arguments.add[0] not in SCRIPTS or not arguments.write:
            parser.error(f"--add NAME FILE needs --write FILE, and a name of {', '.join(SCRIPTS)}")
        add(arguments.write, SCRIPTS[arguments.add[0]].stem, Path(arguments.add[1]))
        return 0
    scripts = {name: path for name, path in SCRIPTS.items() if name in (arguments.only or SCRIPTS)}
    place, measured = described(arguments.tiny)
    known = known_of(arguments.write)
    if arguments.only and known:
        if differing := [key for key, value in place.items() if known.get(key) != value]:
            parser.error(f"{arguments.write} differs in {', '.join(differing)}: write another file, or all of this one")
    earlier = {path.stem: known.get("scripts", {}).get(path.stem, LEFT_OUT) for path in SCRIPTS.values()}
    elsewhere = {name: one for name, one in earlier.items() if "elsewhere" in one}
    found = earlier if arguments.only else dict.fromkeys(earlier, LEFT_OUT) | elsewhere
    failed = []
    for number, path in enumerate(scripts.values(), start=1):
        print(f"\n[{number}/{len(scripts)}] {path.name}", flush=True)
        one = {**measured, **carry_out(path, arguments.tiny)}
        print(f"\n[{number}/{len(scripts)}] {path.name}: {summary(one)}", flush=True)
        failed += [path.name] if one["status"] else []
        # what this machine cannot measure (a step on a GPU) stays as another one measured it
        found[path.stem] = one if any("reason" not in row for row in one["rows"]) else elsewhere.get(path.stem, one)
        if arguments.write:
            write_json(arguments.write, {**place, "scripts": found})
    print(f"\nfailed, with a goal missed or with sides that differ: {', '.join(failed) or 'none'}")
    return int(bool(failed))


def known_of(results: Path | None) -> dict[str, Any]:
    """What a results file says, empty where there is none."""
    return json.loads(results.read_text(encoding="utf-8")) if results and results.exists() else {}


def add(results: Path, name: str, found: Path) -> None:
    """Put what a script wrote elsewhere, at the code of this checkout, into a results file."""
    known = json.loads(results.read_text(encoding="utf-8"))
    code = code_version()
    measured = {"date": datetime.fromtimestamp(found.stat().st_mtime, timezone.utc).date().isoformat()}
    measured |= {"commit": code["git_commit"], "changed": code["git_dirty"]}
    elsewhere = json.loads(found.read_text(encoding="utf-8"))
    known["scripts"][name] = {**measured, "seconds": None, "status": 0, **elsewhere, "elsewhere": True}
    write_json(results, known)


def carry_out(script: Path, tiny: bool) -> dict[str, Any]:
    """What a script wrote, with its seconds and exit status; where it wrote nothing, an error that says so."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "found.json"
        command = [sys.executable, str(script), "--write", str(target), *(["--tiny"] if tiny else [])]
        start = time.perf_counter()
        # a session of its own: Ctrl-C reaches this process alone, which asks the script to end
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=follow_parent)
        try:
            process.wait()
        finally:
            process.terminate()
            status = process.wait()
        spent = {"seconds": round(time.perf_counter() - start, 1), "status": status}
        try:
            return {**spent, **json.loads(target.read_text(encoding="utf-8"))}
        except FileNotFoundError:
            return {**spent, "error": f"it wrote nothing and ended with status {status}", "rows": []}


def summary(found: dict[str, Any]) -> str:
    """One line on what a script has found."""
    missing = [row["reason"] for row in found["rows"] if "reason" in row]
    said = f"{len(found['rows']) - len(missing)} comparisons in {found['seconds']:.0f} s"
    said += f", {len(missing)} not measured" if missing else ""
    return said + (f"; {found['error']}" if found["error"] else "")


def described(tiny: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What must be equal for all scripts of a file: size, machine, versions; and when and of what a script is run."""
    code = code_version()
    versions = {name: value for name, value in environment().items() if name not in code}
    for package in filter(None, map(re.compile(r'([\w.-]+).*extra == "benchmarks"').match, requires("lt_bench") or [])):
        try:
            versions[package[1]] = version(package[1])
        except PackageNotFoundError:
            versions[package[1]] = None
    machine = {"processor": processor(), "cores": os.cpu_count()}
    measured = {"date": datetime.now(timezone.utc).date().isoformat(), "commit": code["git_commit"]}
    return {"tiny": tiny, "machine": machine, "versions": versions}, {**measured, "changed": code["git_dirty"]}


def processor() -> str:
    """The processor's name, where the system says it, or else its kind."""
    try:
        known = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        known = None
    return known[1] if known else platform.processor() or platform.machine()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # scripts and their folders end with this process
    sys.exit(main())
