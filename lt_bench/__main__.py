"""``python -m lt_bench``: one run, or a sweep with ``-m``.  Nothing here imports torch before the config is settled."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from lt_bench import __version__
from lt_bench.exit_codes import DONE, FAILED, INTERRUPTED, USAGE

if TYPE_CHECKING:
    from lt_bench.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _dispatch(words))


def exit_status(work: Callable[[], int]) -> int:
    """What ``work`` returns, or the status that its error stands for; says on stderr what to do about it."""
    from lt_bench.compose import UsageError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a termination is an interruption like Ctrl-C
    try:
        return work()
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"lt_bench: {line}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("lt_bench: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _dispatch(words: list[str]) -> int:
    if "--shell-completion" in words or "-sc" in words:
        return _complete(words)
    flags = _Flags.parser().parse_intermixed_args(words)
    if flags.help:
        from lt_bench.help import help_text

        print(help_text())
        return DONE
    if flags.version:
        print(__version__)
        return DONE
    if flags.cfg:
        return _show(flags.overrides, flags.resolve)
    if flags.multirun:
        from lt_bench.launch.sweep import run_sweep

        return run_sweep(flags.overrides, flags.dry_run)
    return _one_run(flags.overrides, flags.dry_run)


class _Flags(argparse.ArgumentParser):
    """Flags, whose mistakes are usage errors like those of overrides."""

    @classmethod
    def parser(cls) -> _Flags:
        """All flags."""
        parser = cls(add_help=False, allow_abbrev=False)
        parser.add_argument("overrides", nargs="*")
        parser.add_argument("-c", "--cfg", choices=["job"])
        for names in (["-h", "--help"], ["-m", "--multirun"], ["--version"], ["--resolve"], ["--dry-run"]):
            parser.add_argument(*names, action="store_true")
        return parser

    def error(self, message: str) -> NoReturn:
        from lt_bench.compose import OWN_CHOICES, UsageError

        hint = f"; {OWN_CHOICES}" if "--config-" in message or "-cd" in message or "-cn" in message else ""
        raise UsageError(f"{message}; see python -m lt_bench --help{hint}")


def _show(overrides: list[str], resolve: bool) -> int:
    from omegaconf import OmegaConf

    from lt_bench.compose import compose
    from lt_bench.preflight import settle

    config = compose(overrides)
    print(OmegaConf.to_yaml(OmegaConf.create(asdict(settle(config))) if resolve else config), end="")
    return DONE


def _one_run(overrides: list[str], dry_run: bool) -> int:
    from lt_bench.compose import UsageError, compose
    from lt_bench.launch.plan import describe
    from lt_bench.preflight import settle

    config = settle(compose(overrides))
    if config.sweep:
        raise UsageError("this experiment is a sweep of several runs; add -m")
    if config.launch.executor != "local":
        raise UsageError("a cluster takes its runs as a sweep, even one run; add -m")
    if dry_run:
        print(describe(config))
        return DONE
    return carry_out(config)


def carry_out(config: Config, only_stage_one: bool = False, submitted: Mapping[str, Any] | None = None) -> int:
    """Do a run, or what is left of it, and print its result; returns the exit status.

    ``submitted`` is the version of the code at the time of its submission, where it was submitted to a queue.
    Raises UsageError, KeyboardInterrupt.
    """
    from lt_bench.record.folder import finished
    from lt_bench.run_id import run_id, stage_one_id
    from lt_bench.summary import summary

    alone = os.environ.get("WORLD_SIZE", "1") == "1"  # several processes have to find it done together
    if alone and (done := finished(config.output_dir, stage_one_id(config) if only_stage_one else run_id(config))):
        _say(f"done before: {summary(*done)}")
        return DONE
    from lt_bench.data.sources.common import DataError
    from lt_bench.engine.checkpoint import CheckpointError
    from lt_bench.engine.interrupt import Interrupted
    from lt_bench.engine.metrics import NonFiniteLoss
    from lt_bench.run import execute

    try:
        record, folder = execute(config, only_stage_one, submitted)
    except (DataError, NonFiniteLoss, CheckpointError, OSError) as error:
        print(f"lt_bench: {error}", file=sys.stderr)
        return FAILED
    except Interrupted as error:
        print(f"lt_bench: stopped by {error}; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    _say(summary(record, folder))
    return DONE


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(text)


def _complete(words: list[str]) -> int:
    """Install or answer shell completion: Hydra's own, on our groups and keys, for the command lt-bench."""
    from lt_bench.compose import UsageError
    from lt_bench.config import register

    asked = re.fullmatch(r"(-sc|--shell-completion) ((un)?install|(query))=(bash|zsh|fish)", " ".join(words))
    if not asked or (asked[4] and "COMP_LINE" not in os.environ):
        raise UsageError("completion is installed with --shell-completion install=bash (or zsh, fish)")
    import hydra
    from omegaconf import DictConfig

    register()
    sys.argv = ["lt-bench", *words]

    @hydra.main(version_base="1.3", config_path="pkg://lt_bench.conf", config_name="config")
    def complete(config: DictConfig) -> None:
        """Never reached: with these flags Hydra answers the shell and returns."""

    complete()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
