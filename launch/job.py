"""``python -m lt_bench.launch.job FOLDER [MODULE ...]``: carry out the run that was submitted in a run folder.

It is carried out as submitted; of the user's own code only the modules that are named here are run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lt_bench.command import exit_status, printable
from lt_bench.data.content import looked_at_once
from lt_bench.record.folder import code_version
from lt_bench.run.execute import carry_out

from .search.planned import is_trial
from .submission import thaw


def main(folder: Path, trust: Sequence[str] = ()) -> int:
    """Carry out a submitted run; returns the exit status of ``python -m lt_bench``."""
    return exit_status(lambda: _carry_out(folder, trust))


@looked_at_once()
def _carry_out(folder: Path, trust: Sequence[str]) -> int:
    if is_trial(folder):
        from .search.trial import carry_out_trial  # needs Optuna

        return carry_out_trial(folder, trust)
    config, only_stage_one, code, _ = thaw(folder, trust)
    now = code_version()
    for key in sorted(code.keys() | now.keys()):
        if code.get(key) != now.get(key):
            was, is_now = code.get(key), now.get(key)
            said = f"lt_bench: warning: {key} was {was} at submission and is {is_now}; recorded"
            print(printable(said), file=sys.stderr)
    return carry_out(config, only_stage_one, code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
