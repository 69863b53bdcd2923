"""An installation of one's own: the modules of this one with a copy of conf/ that a test may add files to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Installation:
    """A folder ``site`` as a wheel makes it, and a folder ``work`` to run from, where modules of one's own stand."""

    def __init__(self, folder: Path) -> None:
        self.conf, self.work, self._site = folder / "site" / "lt_bench" / "conf", folder / "work", folder / "site"
        self.work.mkdir(parents=True)
        shutil.copytree(ROOT / "conf", self.conf)
        for path in (ROOT / "lt_bench").iterdir():
            (self.conf.parent / path.name).symlink_to(path)
        (self.conf.parent / "launch").symlink_to(ROOT / "launch")

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python in the working folder, where this installation is the one that is imported."""
        environment = {**os.environ, "PYTHONPATH": str(self._site)}
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``python -m lt_bench`` with these words."""
        return self.python("-m", "lt_bench", *words)
