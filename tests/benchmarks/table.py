"""The table of docs/speed.md, from a results file of ``python -m tests.benchmarks --write``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lt_bench.files import write_atomic

from .harness import shown

ROOT = Path(__file__).parents[2]
PAGE, RESULTS = ROOT / "docs" / "speed.md", ROOT / "results" / "speed.json"
OPEN, CLOSE = "<!-- speed -->", "<!-- /speed -->"
PART = re.compile(f"{OPEN}.*?{CLOSE}", re.DOTALL)
HEAD = "| what | takes here | takes elsewhere | tests/benchmarks |\n|---|---|---|---|"
EXTRAS = {"s": "", "CPU s": "", "B": "memory ", "operations": ""}  # what is said before a ratio


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with the table of these results between its markers; ValueError where it has none."""
    if not PART.search(page):
        raise ValueError(f"no place for the table of speed: write {OPEN} and {CLOSE} where it should stand")
    return PART.sub(lambda _: f"{OPEN}\n\n{table(results)}\n\n{CLOSE}", page)


def update(page: Path, results: Path) -> None:
    """Fill a page in place from a results file; ValueError where that is of tiny sizes, whose ratios say nothing."""
    found = json.loads(results.read_text(encoding="utf-8"))
    if found["tiny"]:
        raise ValueError(f"{results} is of tiny sizes: write one with python -m tests.benchmarks --write {results}")
    write_atomic(page, filled(page.read_text(encoding="utf-8"), found))


def table(results: dict[str, Any]) -> str:
    """A sentence on the machine, and a line for every ``row`` of the comparisons, in the order of the scripts."""
    lines = [HEAD]
    for name, script in results["scripts"].items():
        rows: dict[str, list[dict[str, Any]]] = {}
        for one in script["rows"]:
            rows.setdefault(one["row"], []).append(one)
        rows.pop("", None)
        lines += [f"| {row} | {_ours(found)} | {_theirs(found)} | `{name}.py` |" for row, found in rows.items()]
        if script["error"]:
            part = "the rest of " if script["rows"] else ""
            lines.append(f"| {part}`{name}.py` | not measured | {script['error']} | `{name}.py` |")
    return f"{_when(results)}\n\n" + "\n".join(lines)


def _when(results: dict[str, Any]) -> str:
    """The machine and the versions, and when each script was run."""
    runs: dict[str, list[str]] = {}
    for name, one in results["scripts"].items():
        if "commit" in one:
            changed = " with changes" if one["changed"] else ""
            where = f" on {one['machine']}" if one.get("elsewhere") else ""
            run = f"{one['date']} at commit {(one['commit'] or 'unknown')[:7]}{changed}{where}"
            runs.setdefault(run, []).append(f"`{name}.py`")
    first, *others = sorted(runs, key=lambda run: -len(runs[run])) or ["never"]
    said = [first, *(f"{', '.join(runs[run])} {run}" for run in others)]
    machine, versions = results["machine"], results["versions"]
    return (
        f"Measured {'; '.join(said)}; {machine['cores']} cores of {machine['processor']}, "
        f"Python {versions['python']}, torch {versions['torch']}."
    )


def _ours(found: list[dict[str, Any]]) -> str:
    """What our side takes, once for each unit."""
    values = {one["unit"]: shown(one["ours"]["median"], one["unit"]) for one in found if "ours" in one}
    return ", ".join(values.values()) or "not measured"


def _theirs(found: list[dict[str, Any]]) -> str:
    """What every baseline takes, as multiples of ours, with the goal where it is missed."""
    sides: dict[str, list[str]] = {}
    for one in found:
        if "reason" in one:
            sides.setdefault(one["baseline"], []).append("not measured")
        elif one["baseline"]:
            name = one["baseline"]["name"] + (f" ({one['note']})" if one["note"] else "")
            ratio = one["baseline"]["median"] / one["ours"]["median"]
            missed = f" (goal {one['goal']:.3g}×)" if one["goal"] and ratio < one["goal"] else ""
            sides.setdefault(name, []).append(f"{EXTRAS[one['unit']]}{_rounded(ratio)}×{missed}")
    return "; ".join(f"{name} {', '.join(ratios)}" for name, ratios in sides.items()) or "–"


def _rounded(ratio: float) -> str:
    """As many digits as a ratio has from one run to the next."""
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"
