"""The command ``run``: one run, or a sweep.  PyTorch is imported only after the config is validated."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from lt_bench import __version__
from lt_bench.command import DONE, as_called, exit_status, printable
from lt_bench.config.own_files import OWN_CHOICES, add_option, own_files

if TYPE_CHECKING:
    from lt_bench.config.schema import Config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int:
    if "--shell-completion" in arguments or "-sc" in arguments:
        from lt_bench.cli.completion import complete

        return complete(arguments)
    flags = _Flags.parser().parse_intermixed_args(arguments)
    with own_files(flags.config_dir):
        return _chosen(flags)


def _chosen(flags: argparse.Namespace) -> int:
    if flags.help is not None:
        return _help(flags.help, flags.overrides)
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
    """The flags; a wrong one is a usage error like a wrong override."""

    @classmethod
    def parser(cls) -> _Flags:
        """All flags."""
        parser = cls(add_help=False, allow_abbrev=False)
        parser.add_argument("overrides", nargs="*")
        parser.add_argument("-c", "--cfg", choices=["job"])
        parser.add_argument("-h", "--help", nargs="?", const="")
        for names in (["-m", "--multirun"], ["--version"], ["--resolve"], ["--dry-run"]):
            parser.add_argument(*names, action="store_true")
        add_option(parser)
        return parser

    def error(self, message: str) -> NoReturn:
        from lt_bench.errors import UsageError

        hint = f"; {OWN_CHOICES}" if "--config-" in message or "-cd" in message or "-cn" in message else ""
        hint = "; Weights & Biases is tracker=wandb, see docs/trackers.md" if "--wandb" in message else hint
        raise UsageError(f"{message}; see python -m lt_bench --help{hint}")


def _help(asked: str, overrides: list[str]) -> int:
    if asked:
        from lt_bench.cli.explain import explain

        print(as_called(explain(asked, overrides)))
    else:
        from lt_bench.cli.help import help_text

        print(as_called(help_text()))
    return DONE


def _show(overrides: list[str], resolve: bool) -> int:
    from omegaconf import OmegaConf

    from lt_bench.config.compose import compose
    from lt_bench.config.schema import plain
    from lt_bench.preflight.epochs import remarks
    from lt_bench.preflight.validate import validate

    config = compose(overrides)
    if resolve:
        checked = validate(config)
        for line in remarks(checked):
            print(f"lt_bench: {line}", file=sys.stderr)
        config = OmegaConf.create(plain(checked))
    print(OmegaConf.to_yaml(config), end="")
    return DONE


def _one_run(overrides: list[str], dry_run: bool) -> int:
    from lt_bench.config.compose import compose
    from lt_bench.errors import UsageError
    from lt_bench.preflight.validate import validate

    if any(word.startswith(("search=", "search.")) for word in overrides):
        raise UsageError("a search is of several runs; add -m")
    config = validate(compose(overrides))
    if config.sweep:
        raise UsageError("this experiment is a sweep of several runs; add -m")
    if config.launch.executor != "local":
        raise UsageError("runs on a cluster are submitted as a sweep, even one run; add -m")
    if dry_run:
        from lt_bench.launch.planning.plan import describe
        from lt_bench.preflight.epochs import remarks

        print(*(describe(config), *remarks(config)), sep="\n")
        return DONE
    return _carried_out(config, overrides)


def _carried_out(config: Config, overrides: list[str]) -> int:
    """Carry out a run; with ``progress`` it says before what it will do, and afterwards what to type next."""
    from lt_bench.cli.guidance import greeting, next_steps
    from lt_bench.data.content import looked_at_once
    from lt_bench.processes import place
    from lt_bench.run.execute import carry_out

    told = config.progress and place().rank == 0
    with looked_at_once():
        for line in greeting(config, overrides) if told else ():
            print(printable(f"lt_bench: {line}"), file=sys.stderr)
        status = carry_out(config)
        for line in next_steps(config, overrides) if told and status == DONE else ():
            print(printable(as_called(f"lt_bench: {line}")), file=sys.stderr)
    return status
