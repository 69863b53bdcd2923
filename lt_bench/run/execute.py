"""One run: carried out, or found done, with its exit status and its output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_bench.command import DONE, printable
from lt_bench.config.schema import Config
from lt_bench.config.stages import StageName
from lt_bench.data.content import is_made_elsewhere, looked_at_once, of_source
from lt_bench.data.source import read_source
from lt_bench.data.splits.split import read_manifest
from lt_bench.errors import UsageError
from lt_bench.evaluation.features import FEATURES, without_features
from lt_bench.machine import OthersWork, odd_threads, wait_briefly
from lt_bench.processes import ignored, place
from lt_bench.record.curves import Follow
from lt_bench.record.edited import refuse_edited
from lt_bench.record.folder import RunFolder, finished
from lt_bench.record.identity import run_id, stage_one_id
from lt_bench.record.own_code import described
from lt_bench.record.record import PREDICTIONS, RunRecord
from lt_bench.record.verify import contradiction
from lt_bench.run.summary import summary
from lt_bench.trackers.following import follow_finished


@looked_at_once()
def carry_out(
    config: Config,
    only_stage_one: bool = False,
    submitted: Mapping[str, Any] | None = None,
    watch: Follow | None = None,
) -> int:
    """Carry out a run, or the rest of it, and print its result; returns the exit status.

    ``submitted`` is the version of the code at the time of its submission, where it was submitted to a queue. PyTorch
    is imported only for a run that is not done. ``watch`` is told every epoch that is trained.
    Raises what ``execute`` raises.
    """
    alone = place().world_size == 1  # several processes must decide together
    if alone and (done := finished(config.output_dir, stage_one_id(config) if only_stage_one else run_id(config))):
        _refuse_contradiction(*done)
        _same_data(config, done[1])
        _print(f"done before: {summary(*done)}")
        if config.evaluation.save_features and not only_stage_one and not (done[1] / FEATURES).exists():
            _print(f"lt_bench: {without_features(done[1])}")
        follow_finished(config, *done)
        return DONE
    _print(summary(*execute(config, only_stage_one, submitted, watch)))
    return DONE


@looked_at_once()
def execute(
    config: Config,
    only_stage_one: bool = False,
    submitted: Mapping[str, Any] | None = None,
    watch: Follow | None = None,
) -> tuple[RunRecord, Path]:
    """Carry out a run, or the rest of it; a finished run is only read.  Returns its record and its folder.

    ``only_stage_one`` stops before stage two, so that several stage-two rules find it done; ``submitted`` is the
    version of the code when the run was submitted, for the record. Another process may have started such a run
    meanwhile: all ranks wait for it, and then the run is done, or goes on here.
    Raises UsageError, DataError, CheckpointError, NonFiniteLoss, Interrupted, and OSError for what cannot be written.
    """
    for line in (*ignored(), *odd_threads()):
        print(f"lt_bench: note: {line}", file=sys.stderr)
    others = OthersWork()  # while torch is imported
    wait_briefly()
    from lt_bench.engine import distributed
    from lt_bench.engine.allocator import keep_freed_memory
    from lt_bench.engine.startup import leave_out_compiler
    from lt_bench.run.stages import Runner

    processes = distributed.start(config.device)
    if processes.device.type == "cpu":
        keep_freed_memory()
    if not config.compile:
        leave_out_compiler()
    refuse_edited(config)
    if processes.rank == 0 and (own := described(config)):
        print(printable(f"code of your own: {own}"), flush=True)
    identity = stage_one_id(config) if only_stage_one else run_id(config)
    wait = None if submitted is None else _print_waiting
    with RunFolder(config, identity, processes.rank == 0, wait) as folder:
        if done := distributed.agreed(finished, config.output_dir, identity):
            if folder.writes:
                _refuse_contradiction(*done)
            _same_data(config, folder.path)
            if folder.writes:
                print(f"lt_bench: run {identity} was done before", file=sys.stderr)
                follow_finished(config, *done)
            return done
        runner = Runner(config, processes, others, submitted, watch)
        try:
            with runner.followed(folder, only_stage_one) as trackers:
                record = runner.run_stage(folder, runner.stage_one if only_stage_one else runner.both_stages)
                trackers.finish()
        finally:
            runner.close()
        return record, folder.path


def _refuse_contradiction(record: RunRecord, folder: Path) -> None:
    """Raise UsageError where the record of a finished run says other numbers than the predictions beside it."""
    if record.kind != StageName.TWO.kind or not (folder / PREDICTIONS).exists():
        return
    try:
        wrong = contradiction(record, folder)
    except (OSError, ValueError) as error:
        said = f"lt_bench: run {record.run_id} is not compared with its predictions: {error}"
        print(printable(said), file=sys.stderr)
        return
    if wrong:
        raise UsageError(
            f"{folder / 'record.json'} contradicts the predictions beside it: {wrong}; delete {folder} to run anew"
        )


def _same_data(config: Config, folder: Path) -> None:
    """Raise UsageError where a function of one's own makes other data now than those of a finished run.

    Its run is known by the files below dataset.root, and the function may read others.
    """
    if not is_made_elsewhere(config):
        return
    stored = read_manifest(folder / "split.json").get("content")
    now = {part: str(known) for part, known in of_source(config, read_source(config)).items()}
    if stored is not None and stored != now:
        raise UsageError(
            f"{config.dataset._target_} makes other data than those of the finished run {folder}; delete it to "
            "run anew on the data that are there now, or choose another one with output_dir=DIR"
        )


def _print(text: str) -> None:
    if place().rank == 0:
        print(printable(text))


def _print_waiting(identity: str) -> None:
    print(f"lt_bench: waiting for another process that is working on run {identity}", file=sys.stderr)
