"""One trial of a search: its setting is drawn, and carried out as an ordinary run, unless it falls behind others."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.command import DONE
from lt_bench.config.own_files import own_files
from lt_bench.config.schema import Search
from lt_bench.errors import Interrupted, NonFiniteLoss, UsageError
from lt_bench.files import read_json, write_json
from lt_bench.record.curves import CURVES, SCORE, read_curves
from lt_bench.record.folder import finished
from lt_bench.run.execute import carry_out

from ..planning.plan import PlannedRun, plan
from ..submission import Submission, freeze, thaw
from .planned import SEARCH, TRIAL, epochs_of, trial_of
from .study import ask, axes_of, falls_behind, note, open_study, tell

COMPLETE, STOPPED, DIVERGED = "complete", "stopped", "diverged"


def carry_out_trial(folder: Path, trust: Sequence[str] = ()) -> int:
    """Carry out a trial, or the rest of it; returns the exit status, and raises what its run raises."""
    written = read_json(folder.parent / SEARCH)
    try:
        own, code = written["own_files"], written["code"]
        search = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Search), written["search"]))
        axes, words, prunes = axes_of(written["axes"]), list(map(str, written["words"])), bool(written["prunes"])
    except (KeyError, TypeError, OmegaConfBaseException) as error:
        raise UsageError(f"{folder.parent / SEARCH} is of another version ({error}); start the search again") from error
    assert isinstance(search, Search)
    with own_files(own[0] if own else None):
        study = open_study(folder.parent, search, prunes, int(folder.name.rpartition("-")[2]))
        known = trial_of(folder)
        if "words" not in known:
            number, drawn = ask(study, axes)
            known = {"number": number, "words": drawn}
            write_json(folder / TRIAL, known)
        (run,) = plan([*words, *known["words"], *([f"trust=[{','.join(trust)}]"] if trust else [])])
        known["run"] = run.identity
        write_json(folder / TRIAL, known)
        judge = Judge(study, known["number"], epochs_of(run.config))
        state = _outcome(run, trust, code, judge)
    score = None
    if state == COMPLETE and (done := finished(run.output_dir, run.identity)):
        score = done[0].metrics.get(search.metric)
        for row in _scored(run):  # of a run that was done before, other trials are compared with it too
            note(study, known["number"], row["epoch"], row[SCORE])
    tell(study, known["number"], score)
    write_json(folder / TRIAL, {**known, "state": state, "score": score, "epochs": len(_scored(run))})
    print(f"trial {folder.name}: {state}" + ("" if score is None else f", {search.metric} {score:.4f}"))
    return DONE


def _outcome(run: PlannedRun, trust: Sequence[str], code: Mapping[str, Any], judge: Judge) -> str:
    if not run.done:
        freeze(Submission(run.config, False, dict(code), run.overrides), run.identity)
    config = thaw(run.folder, trust).config if not run.done else run.config
    try:
        carry_out(config, False, code, judge)
    except Interrupted:
        if judge.stops:
            return STOPPED
        raise
    except NonFiniteLoss as error:
        print(f"lt_bench: note: {error}")
        return DIVERGED
    return COMPLETE


def _scored(run: PlannedRun) -> list[Mapping[str, Any]]:
    """The epochs of a run that have a score, of the stage that trains its classifier."""
    folders = (run.stage_one_folder, run.folder)
    return [row for folder in folders for row in read_curves(folder / CURVES) if SCORE in row]


class Judge:
    """Told every epoch of a run, lets the run end at the epoch after which it falls behind the others.

    As a signal would: the run writes a checkpoint, on several processes too, and can be gone on with.
    """

    def __init__(self, study: Any, number: int, epochs: int) -> None:
        self.study, self.number, self.epochs, self.stops = study, number, epochs, False

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Take note of an epoch as it stands in the curves."""
        if SCORE not in row:
            return
        note(self.study, self.number, row["epoch"], row[SCORE])
        if row["epoch"] + 1 < self.epochs and falls_behind(self.study, self.number):
            self.stops = True
            os.kill(os.getpid(), signal.SIGTERM)
