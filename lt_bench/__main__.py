"""``python -m lt_bench``: one run, or a sweep with ``-m``.  Nothing here imports torch before the config is settled."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lt_bench import __version__

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
HYDRA_FLAGS = ("--cfg", "-c", "--package", "-p", "--resolve", "--info", "-i", "--shell-completion", "-sc")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    from lt_bench.compose import UsageError

    try:
        return _dispatch(words)
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"lt_bench: {line}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _dispatch(words: list[str]) -> int:
    from lt_bench.compose import UsageError

    if "-h" in words or "--help" in words:
        from lt_bench.help import help_text

        print(help_text())
        return DONE
    if "--version" in words:
        print(__version__)
        return DONE
    if any(word in HYDRA_FLAGS for word in words):
        return _hydra(words)
    flags = [word for word in words if word.startswith("-")]
    overrides = [word for word in words if not word.startswith("-")]
    unknown = [flag for flag in flags if flag not in ("-m", "--multirun", "--dry-run", "--only-stage-one")]
    if unknown:
        raise UsageError(f"unknown flag {unknown[0]}; see python -m lt_bench --help")
    if "-m" in flags or "--multirun" in flags:
        from lt_bench.launch.local import run_sweep

        return run_sweep(overrides, dry_run="--dry-run" in flags)
    return _one_run(overrides, dry_run="--dry-run" in flags, only_stage_one="--only-stage-one" in flags)


def _one_run(overrides: list[str], dry_run: bool, only_stage_one: bool) -> int:
    from lt_bench.compose import compose
    from lt_bench.preflight import settle

    config = settle(compose(overrides))
    from lt_bench.launch.plan import describe
    from lt_bench.record.folder import finished
    from lt_bench.run_id import run_id, stage_one_id
    from lt_bench.summary import summary

    if dry_run:
        print(describe(config))
        return DONE
    if done := finished(config.output_dir, stage_one_id(config) if only_stage_one else run_id(config)):
        print(f"done before: {summary(*done)}")
        return DONE
    from lt_bench.data.sources.common import DataError
    from lt_bench.engine.checkpoint import CheckpointError
    from lt_bench.engine.interrupt import Interrupted
    from lt_bench.engine.metrics import NonFiniteLoss
    from lt_bench.run import execute

    try:
        record, folder = execute(config, only_stage_one)
    except (DataError, NonFiniteLoss, CheckpointError) as error:
        print(f"lt_bench: {error}", file=sys.stderr)
        return FAILED
    except Interrupted as error:
        print(f"lt_bench: stopped by {error}; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    if os.environ.get("RANK", "0") == "0":
        print(summary(record, folder))
    return DONE


def _hydra(words: list[str]) -> int:
    """Flags that show a config or complete a command line: Hydra's own, on our config."""
    import hydra
    from omegaconf import DictConfig

    from lt_bench.compose import compose, opened
    from lt_bench.config import register

    register()
    overrides = [word for word in words if "=" in word and not word.startswith(("install=", "query=", "uninstall="))]
    compose(overrides)  # a mistake is explained in our words
    sys.argv = [sys.argv[0], *[opened(word) if word in overrides else word for word in words]]

    @hydra.main(version_base="1.3", config_path="pkg://lt_bench.conf", config_name="config")
    def show(config: DictConfig) -> None:
        """Never reached with these flags."""

    show()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
