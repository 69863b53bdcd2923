"""``python -m lt_bench.data``: check a data set of image files, or write a packed copy of it; never imports torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from lt_bench.compose import UsageError, compose
from lt_bench.config import Config
from lt_bench.data.check import default_workers, find_problems, read_lists
from lt_bench.data.sources.common import DataError
from lt_bench.data.sources.image_lists import describe
from lt_bench.preflight import settle

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
ABOUT = """\
check      read the lists and every image of a data set and print all that is wrong, with file and line
Words are those of a run: dataset=imagenet_lt dataset.root=DIR dataset.list_dir=DIR dataset.workers=8 progress=false
Exit status: 0 nothing is wrong, 1 something is, 2 wrong usage, 130 interrupted
"""


class _Flags(argparse.ArgumentParser):
    """Flags, whose mistakes are usage errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m lt_bench.data --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _Flags("python -m lt_bench.data", epilog=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check"])
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    try:
        flags = parser.parse_args(argv)
        config = settle(compose(flags.overrides))
        return _check(config)
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"lt_bench.data: {line}", file=sys.stderr)
        return USAGE
    except (DataError, OSError) as error:
        print(f"lt_bench.data: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("lt_bench.data: interrupted", file=sys.stderr)
        return INTERRUPTED


def _check(config: Config) -> int:
    lists = read_lists(config)
    problems = find_problems(lists, _workers(config), config.progress)
    for problem in problems:
        print(problem)
    for part, files in lists.parts().items():
        print(f"{part}: {describe(files, lists.num_classes)}, from {files.origin}")
    print(f"{len(problems):,} problem{'' if len(problems) == 1 else 's'} found in {config.dataset.title}")
    return FAILED if problems else DONE


def _workers(config: Config) -> int:
    workers = config.dataset.workers
    return default_workers() if workers is None else workers


if __name__ == "__main__":
    sys.exit(main())
