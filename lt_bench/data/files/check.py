"""All problems of a data set of image files, found before a run fails on one."""

from __future__ import annotations

from functools import partial

from lt_bench.config.schema import Config
from lt_bench.data.files.parallel import in_parallel
from lt_bench.data.files.pixels import open_images
from lt_bench.data.files.readable import problem_of
from lt_bench.data.source import read_source
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import Problem
from lt_bench.errors import UsageError


def read_lists(config: Config) -> ImageLists:
    """The lists of a data set; raises UsageError for one that is not made of files, DataError as ``read`` does."""
    found = read_source(config)
    if not isinstance(found, ImageLists):
        raise UsageError(
            f"dataset={config.dataset.name} is verified whenever it is read; name a data set of image files"
        )
    return found


def find_problems(config: Config, lists: ImageLists, workers: int) -> list[Problem]:
    """The problems of the lists and of every image they name, sorted by list and line; shows its progress.

    Images are read where a run would read them: from their files, or from the packed copy.
    """
    problems = list(lists.problems)
    for part, files in lists.parts().items():
        examine = partial(problem_of, open_images(config, lists.root, files.names))
        verdicts = in_parallel(examine, range(len(files.names)), workers, f"checking {part}", config.progress)
        lines = files.lines.tolist()
        problems += [
            Problem(files.origin, line, what) for line, what in zip(lines, verdicts, strict=True) if what is not None
        ]
    return sorted(problems, key=lambda problem: (problem.origin, problem.line))
