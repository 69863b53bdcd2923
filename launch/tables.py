"""The texts that ``plan`` and ``status`` print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from lt_bench.config.stages import StageName
from lt_bench.config.yaml_text import parse_yaml
from lt_bench.evaluation.metrics import headline
from lt_bench.files import SMALL, read_json, read_text
from lt_bench.record.folder import finished
from lt_bench.record.verify import doubt

from .local.progress import progress_of
from .planning.estimate import expected_cost
from .planning.plan import PlannedRun
from .planning.run_groups import run_groups
from .states import DONE, RUNNING, State, states
from .submission import SUBMISSION, label
from .sweep import OPEN, all_remarks, counts, differences, stage_ones_done

LONGEST = 100  # characters of a message


def plan_text(runs: list[PlannedRun]) -> str:
    """A row per run with its state, then how many stage ones are shared and the cost of the open runs."""
    known = states({folder for run in runs for folder in (run.folder, run.stage_one_folder)})
    labels = differences(runs)
    rows = [(run.identity, known[run.folder].name, run.stage_one, labels[run.folder]) for run in runs]
    open_runs = [run for run in runs if known[run.folder].name in OPEN]
    lines = [tabulate(rows, ["run", "state", StageName.ONE.value, "what"], tablefmt="plain", disable_numparse=True)]
    lines += ["", counts(known[run.folder] for run in runs)]
    if open_runs:
        first = sum(group.stage_one_first for group in run_groups(open_runs, known))
        shared = f", stage ones that are shared and trained once: {first}" if first else ""
        cost = expected_cost(open_runs, stage_ones_done(open_runs, known))
        lines.append(f"to do: {len(open_runs)}{shared}; {cost}")
        lines += all_remarks(open_runs)
    return "\n".join(lines)


def status_text(found: Mapping[Path, State]) -> str:
    """A row per run with its state, job and progress; then the counts."""
    rows = [
        (folder.name, state.name, state.job or "", _what(folder), _progress(folder, state))
        for folder, state in found.items()
    ]
    table = tabulate(rows, ["run", "state", "job", "what", ""], tablefmt="plain", disable_numparse=True)
    return f"{table}\n\n{counts(found.values())}"


def _what(folder: Path) -> str:
    if (folder / SUBMISSION).exists():
        return _label(read_json(folder / SUBMISSION).get("config")) or f"{SUBMISSION} cannot be read"
    if done := finished(str(folder.parent), folder.name):
        record = done[0]
        return f"{record.method_name} / {record.stage_two_name}, {record.dataset}, seed {record.seed}"
    if not (folder / "status.json").exists():
        return ""
    try:
        config = parse_yaml(read_text(folder / "config.yaml", SMALL))
    except (OSError, ValueError):
        config = None
    return ", ".join(filter(None, [_label(config), "started by hand"]))


def _label(config: Any) -> str | None:
    """The title of a run from its config; None where this is not a config."""
    try:
        return label(config)
    except (KeyError, TypeError, ValueError):
        return None


def _progress(folder: Path, state: State) -> str:
    if state.name == RUNNING:
        return progress_of(folder) or state.detail
    if state.name == DONE and (done := finished(str(folder.parent), folder.name)):
        found, doubted = done[0].metrics[headline(done[0].metrics)[-1]], doubt(*done)
        shown = [f"{100 * found:.1f} %"] if found is not None else []
        return _shortened(", ".join([*shown, *filter(None, [doubted])]))
    return _shortened(state.detail)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
