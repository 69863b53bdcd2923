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
        package, published = self.conf.parent, self.conf.parent / "published"
        published.mkdir()
        links = {package / path.name: path for path in (ROOT / "lt_bench").iterdir() if path.name != published.name}
        links |= {published / path.name: path for path in (ROOT / "lt_bench" / "published").iterdir()}
        links |= {package / "launch": ROOT / "launch", published / "results": ROOT / "results" / "published"}
        for link, path in links.items():
            link.symlink_to(path)

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python in the working folder, where this installation is the one that is imported."""
        environment = {**os.environ, "PYTHONPATH": str(self._site)}
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``python -m lt_bench`` with these words."""
        return self.python("-m", "lt_bench", *words)
