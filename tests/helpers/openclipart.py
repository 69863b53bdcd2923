"""The rule by which the manifest of OpenClipart-LT was made of Debian's package openclipart-png.

Of every folder but ``special`` and ``unsorted``, which are no subjects: files in the order of their names, at most six
megapixels, that show anything. Files of one folder that show the same pixels count once, the first of them. Folders of
fewer than 25 images are left out. For each of five splits ten images of every class are drawn for test from those that
no other folder shows too.

    python -m tests.helpers.openclipart lt_bench/data/sources/openclipart.txt
"""

import hashlib
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from lt_bench.data.files.image_file import decode
from lt_bench.data.files.rgb import SHOWN, BadImage
from lt_bench.data.sources.openclipart import DIGITS, FOLDER, SPLITS, TEST_PER_CLASS

NO_SUBJECTS = ("special", "unsorted")
MOST_PIXELS, FEWEST = 6_000_000, 25
HEAD = "# OpenClipart-LT: first digits of each file's SHA-256, the splits that test on it (- none), its name"


def manifest(root=FOLDER):
    """The text of the manifest."""
    found = {}
    for folder in sorted(path for path in Path(root).iterdir() if path.is_dir() and path.name not in NO_SUBJECTS):
        shown = {}
        for name in sorted(f"{place}/{file}" for place, _, files in os.walk(folder) for file in files):
            content = Path(name).read_bytes()
            pixels = _pixels(content, name)
            if pixels is not None and pixels not in shown:
                shown[pixels] = os.path.relpath(name, root), hashlib.sha256(content).hexdigest()[:DIGITS]
        if len(shown) >= FEWEST:
            found[folder.name] = shown
    times = Counter(pixels for shown in found.values() for pixels in shown)
    tested = {}
    for split in range(SPLITS):
        random = np.random.RandomState(split)
        for shown in found.values():
            alone = [name for pixels, (name, _) in shown.items() if times[pixels] == 1]
            for position in random.permutation(len(alone))[:TEST_PER_CLASS]:
                tested[alone[position]] = tested.get(alone[position], "") + str(split)
    lines, folder = [HEAD], ""
    for shown in found.values():
        for name, digits in sorted(shown.values()):
            above, _, file = name.rpartition("/")
            lines += [f"{above}/"] if above != folder else []
            lines.append(f"{digits} {tested.get(name, '-')} {file}")
            folder = above
    return "\n".join([*lines, ""])


def _pixels(content, name):
    """What an image is known by, None for one that is left out."""
    try:
        image = decode(content, name, SHOWN)
    except BadImage:
        return None
    if image.width * image.height > MOST_PIXELS:
        return None
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manifest(), encoding="utf-8")
