"""Run folders as anybody may have left them, as status, plan, retry, logs and a run that is done look at them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from lt_bench.config.compose import compose
from lt_bench.data.splits.split import check_manifest
from lt_bench.errors import DataError, UsageError
from lt_bench.files import write_json
from lt_bench.launch.__main__ import COMMANDS, _parser
from lt_bench.launch.local.progress import progress_of
from lt_bench.launch.planning.identity_cache import cache_identities, cached_identities
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze, refuse_commands, thaw
from lt_bench.preflight.validate import validate
from lt_bench.record.edited import refuse_edited
from lt_bench.record.folder import RunFolder, finished
from lt_bench.record.identity import setting_id
from lt_bench.run.summary import summary
from tests.fuzz.contract import Reader
from tests.fuzz.folders import GONE, Content, as_json, contents, laid, quiet, read_folder
from tests.helpers.clocks import Clock
from tests.helpers.samples import sample

WORDS = ("budget=smoke", "method=ce", "seed=1")
MANIFEST = {"dataset": "digits_lt", "split_seed": 0, "class_counts": [3, 2], "train_images": 5, "lists_sha256": {}}


@cache
def _valid() -> tuple[str, dict[str, bytes]]:
    """A run that was submitted, and the files of its folder and of the sweep's, as if it was running and done."""
    (run,) = plan(WORDS)
    with tempfile.TemporaryDirectory() as folder, quiet():
        config = validate(compose([*WORDS, f"output_dir={folder}"]))
        own = freeze(Submission(config, False, {"lt_bench": "0"}, WORDS), run.identity)
        with RunFolder(config, run.identity) as opened:
            opened.status("failed", error="out of memory")
        cache_identities(folder, {WORDS: (run.identity, run.stage_one)}, [config])
        record = sample(
            run_id=run.identity,
            stage_one_id=run.stage_one,
            setting_id=setting_id(config),
            environment={"processes": 1, "same_images": ["1 image is in two parts"]},
        )
        write_json(own / "record.json", record.to_dict())
        write_json(own / "job.json", {"job": "12_3", "logs": folder, "run": run.stage_one})
        write_json(own / "split.json", MANIFEST)
        write_json(own / "own_code.json", {"versions": {"method": "1"}, "sources": {"a": "b"}, "but_for_code": "c"})
        (own / "metrics.jsonl").write_bytes(as_json({"stage": "stage one", "epoch": 3, "loss": 0.25}) + b"\n")
        (own / "log.txt").write_text("epoch 1\n", encoding="utf-8")
        (own / "heartbeat").touch()
        (own / "lock").unlink(missing_ok=True)
        return run.identity, read_folder(Path(folder))


@st.composite
def folders(draw: Callable[..., Any]) -> dict[str, Content]:
    """Changes to a few files of the folder of a sweep; often there is no record yet."""
    files: dict[str, Content] = draw(contents(_valid()[1], changes=3))
    if draw(st.booleans()):
        files.setdefault(f"{_valid()[0]}/record.json", GONE)
    return files


def read(files: dict[str, Content]) -> None:
    """Look at the runs of a folder in every way that starts none of them."""
    with laid({**_valid()[1], **files}) as folder, quiet(), pytest.MonkeyPatch.context() as patch:
        Clock().of_new_process(patch)  # signs of life are looked for, and nobody waits for them
        own = folder / _valid()[0]
        for command in (["status"], ["logs", own.name[:4]]):
            typed = _parser().parse_args([*command, "--runs", str(folder)])
            _in_its_own_words(lambda typed=typed: COMMANDS[typed.command](typed))
        _in_its_own_words(lambda: COMMANDS["plan"](_parser().parse_args(["plan", *WORDS, f"output_dir={folder}"])))
        _in_its_own_words(lambda: check_manifest(own / "split.json", MANIFEST))
        _in_its_own_words(lambda: _try_again(own))
        config = validate(compose([*WORDS, f"output_dir={folder}"]))
        _in_its_own_words(lambda: refuse_edited(config))
        _in_its_own_words(lambda: RunFolder(config, own.name).__enter__().__exit__(None, None, None))
        progress_of(own)
        cached_identities(str(folder))
        if done := finished(str(folder), own.name):
            summary(*done)


def _try_again(folder: Path) -> None:
    submission = thaw(folder)
    refuse_commands(submission.config.launch, folder, ())


def _in_its_own_words(work: Callable[[], object]) -> None:
    """Carry out what may refuse the folder, so that the next one looks at it, too."""
    with suppress(UsageError, DataError):
        work()


READERS = {"runs": Reader(st.deferred(folders), read, ())}
