"""The submission of a run: written into its folder when it is submitted, read by the process that carries it out."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.dataset import Dataset
from lt_bench.config.schema import Config, Launch, plain, schema
from lt_bench.config.stages import StageName
from lt_bench.config.trust import SETUP
from lt_bench.errors import UsageError
from lt_bench.files import read_json, write_json
from lt_bench.liveness import BEAT_S, this_process
from lt_bench.machine import share_of_cores
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import own_group_rule, run_id, stage_one_id

SUBMISSION, JOB, HEARTBEAT, LOG = "submission.json", "job.json", "heartbeat", "log.txt"


class Submission(NamedTuple):
    """A run as submitted: validated config, whether only its stage one is wanted, version of the code, overrides."""

    config: Config
    only_stage_one: bool
    code: dict[str, Any]
    overrides: tuple[str, ...]


def freeze(submission: Submission, identity: str) -> Path:
    """Write a submission into its run folder, which is returned; later edits of conf/ do not change the run.

    Paths become absolute, so that the run may start in any working directory; the number of processes that read images
    is set to the run's share of the cores. Raises UsageError where the folder cannot be written.
    """
    config = submission.config
    folder = Path(config.output_dir).expanduser().absolute() / identity
    data, backbone = config.dataset, dict(config.backbone)
    dataset: Dataset = replace(
        data,
        root=_absolute(data.root),
        list_dir=_absolute(data.list_dir),
        packed=_absolute(data.packed),
        split_dir=_absolute(data.split_dir),
        own_group_rule=own_group_rule(data),
        workers=share_of_cores(config.launch) if data.workers is None else data.workers,
    )
    if backbone.get("pretrained") != "torchvision" and "pretrained" in backbone:
        backbone["pretrained"] = _absolute(backbone["pretrained"])
    trackers = {
        name: {**node, "folder": _absolute(node["folder"])} if "folder" in node else node
        for name, node in config.tracker.items()
    }
    data_dir = str(Path(config.data_dir).expanduser().absolute())
    frozen = replace(
        config,
        output_dir=str(folder.parent),
        data_dir=data_dir,
        dataset=dataset,
        backbone=backbone,
        tracker=trackers,
        sweep=[],
    )
    written = {**submission._asdict(), "config": plain(frozen), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    try:
        for name in (JOB, HEARTBEAT, "trace.txt"):  # of an earlier attempt
            (folder / name).unlink(missing_ok=True)
        write_json(folder / SUBMISSION, written)
        stage = StageName.ONE if submission.only_stage_one else StageName.TWO
        write_json(folder / "status.json", {"state": "submitted", "kind": stage.kind, "time": written["time"]})
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write into {folder} ({reason}); choose another folder with output_dir=DIR") from error
    return folder


def give_sign(folder: Path) -> None:
    """Renew the sign of life of a run that runs or waits; it names the process that will carry the run out."""
    path = folder / HEARTBEAT
    try:
        os.utime(path)
    except FileNotFoundError:
        path.write_text(json.dumps(this_process()), encoding="utf-8")


@contextmanager
def signs_meanwhile(folders: Collection[Path]) -> Iterator[None]:
    """A block in which the runs in some folders, to which more may be added, keep their signs of life."""
    ended = Event()

    def renew() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not ended.wait(BEAT_S):
            for folder in [*folders]:
                with suppress(OSError):
                    give_sign(folder)

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def more_memory(folder: Path) -> str:
    """What to set where the job of a run was killed for memory: twice what it had, where that is known."""
    had = _launch(folder).get("mem_gb")
    if isinstance(had, (int, float)):
        return f"set launch.mem_gb={2 * had:g} (it had {had:g})"
    return "set launch.mem_gb=GB, above what the cluster gives where it is not set"


def is_for_cluster(folder: Path) -> bool:
    """Whether a run was submitted to a cluster; one that a sweep inside an allocation carries out was not."""
    return _launch(folder).get("executor") == "slurm"


def _launch(folder: Path) -> dict[str, Any]:
    """The settings by which a run was submitted, as they are written; empty where they cannot be read."""
    config = read_json(folder / SUBMISSION).get("config")
    launch = config.get("launch") if isinstance(config, dict) else None
    return launch if isinstance(launch, dict) else {}


def own_threads(launch: Launch) -> dict[str, str]:
    """The environment by which a run computes with the threads that are asked for; empty where it is to choose."""
    return {} if launch.threads_per_run is None else {"OMP_NUM_THREADS": str(launch.threads_per_run)}


def _absolute(path: str | None) -> str | None:
    return str(Path(path).expanduser().absolute()) if path else path


def thaw(folder: Path, trust: Sequence[str] = ()) -> Submission:
    """The submission of a run folder; raises UsageError where there is none or the code has changed its meaning.

    What it is trusted with is said by the caller and not by its file, which may be anybody's; it is carried out in the
    folder that it lies in.
    """
    values = read_json(folder / SUBMISSION)
    if not values:
        raise UsageError(f"{folder} holds no {SUBMISSION} that can be read: submit the sweep again")
    try:
        here = {"trust": list(trust), "output_dir": str(folder.absolute().parent)}
        if not isinstance(values["config"], dict):
            raise TypeError("its config is no object")
        merged = OmegaConf.merge(schema(), values["config"], here)
        config = validate(merged, frozen=True)  # type: ignore[arg-type]
        only_stage_one, code = values["only_stage_one"], values["code"]
        overrides = tuple(map(str, values["overrides"] if "overrides" in values else values["words"]))  # the older name
    except (KeyError, TypeError, OmegaConfBaseException) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{folder / SUBMISSION} is of another version ({reason}); submit the sweep again") from error
    identity = stage_one_id(config) if only_stage_one else run_id(config)
    if identity != folder.name:
        raise UsageError(
            f"with the code and the data as they are now, {folder / SUBMISSION} means run {identity}; submit the sweep "
            "again"
        )
    return Submission(config, only_stage_one, code, overrides)


def refuse_commands(launch: Launch, folder: Path, trust: Collection[str]) -> None:
    """Raise UsageError where a submission, which may be anybody's, has commands for a cluster that nobody asked for."""
    commands = [*launch.setup, *launch.sbatch] if launch.executor == "slurm" else []
    if commands and SETUP not in trust:
        raise UsageError(
            f"{folder} was submitted with commands and options for the cluster, {commands}; to run them add "
            f"trust=[{SETUP}], or type the words of the sweep"
        )


def job_logs(folder: Path) -> list[Path]:
    """Submitit's log files of the cluster's job of a run folder: they say why a job ended before any run started."""
    values = read_json(folder / JOB)
    job, logs = values.get("job"), values.get("logs")
    if not isinstance(job, str) or not isinstance(logs, str) or not re.fullmatch(r"\w+", job):
        return []
    try:
        return sorted(Path(logs).glob(f"{job}_*_log.out"))
    except OSError:  # no folder that can be read
        return []


def label(config: Mapping[str, Any]) -> str:
    """A short title of a run, from its config as plain values."""
    method, rule, imbalance = config["method"]["title"], config["stage_two"]["title"], config["imbalance"]
    factor = "native" if imbalance["factor"] is None else f"IF {imbalance['factor']:g}"
    seeds = f"seed {config['seed']}" + (f", split seed {config['split_seed']}" if config["split_seed"] else "")
    return f"{method} / {rule}, {config['dataset']['name']} {factor}, {seeds}"
