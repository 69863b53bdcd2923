"""What some files are known by: all their bytes, or their names, sizes and the bytes of a sample of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lt_bench.config.schema import Config
from lt_bench.data.files.digests import UNREADABLE, Digest, digests, stamp_of
from lt_bench.errors import DataError

MANY, SAMPLE = 250_000, 4096
DIGITS = 16  # of a digest that stands in records


class Named(NamedTuple):
    """Files of one part: their paths below the root, and a word that each counts with, such as its label."""

    names: Sequence[str]
    words: Sequence[object]


class KnownFiles(NamedTuple):
    """The rule, the digest of every part by it, and the files that were read, by their paths below a root.

    ``found`` are the digests that the parts are known by: of these files, or of those that a packed copy was made of.
    """

    rule: str
    parts: dict[str, str]
    root: str
    read: dict[str, Digest]
    found: dict[str, Digest]

    def untouched(self) -> bool:
        """Whether all files that were read are as they were."""
        return all(stamp_of(f"{self.root}/{name}") == digest.stamp for name, digest in self.read.items())


def known_files(config: Config, root: Path, parts: Mapping[str, Named]) -> KnownFiles:
    """Some parts of a data set by the bytes of their files, or of those that a packed copy was made of.

    Raises DataError for a packed copy that cannot be used, or that was made of others than the files that lie there.
    """
    rule = config.dataset.content_rule
    if rule == "auto":
        rule = "bytes" if sum(len(named.names) for named in parts.values()) <= MANY else "sample"
    every = {part: 1 if rule == "bytes" else max(1, -(-len(named.names) // SAMPLE)) for part, named in parts.items()}
    read = [name for part, named in parts.items() for name in named.names[:: every[part]]]
    below, shown = os.path.realpath(root), config.progress and os.environ.get("RANK", "0") == "0"
    if config.dataset.packed is None:
        made_of, there = None, read
    else:
        made_of = _packed(config, root, [name for named in parts.values() for name in named.names])
        there = [name for name in read if os.path.exists(f"{below}/{name}")]
    now = dict(zip(there, digests(below, there, shown), strict=True))
    if made_of is not None:
        _require_same(config, below, now, made_of)
    found, known = now if made_of is None else made_of, dict[str, str]()
    for part, (names, words) in parts.items():
        if rule == "bytes":
            rows = (f"{word} {found[name].sha256}" for name, word in zip(names, words, strict=True))
        else:
            sizes = (_size(f"{below}/{name}") if made_of is None else made_of[name].size for name in names)
            rows = (f"{word} {size} {name}" for name, word, size in zip(names, words, sizes, strict=True))
        sampled = [] if rule == "bytes" else [found[name].sha256 for name in names[:: every[part]]]
        known[part] = digest_of_rows([*rows, *sampled])
    return KnownFiles(rule, known, below, now, found)


def digest_of_rows(rows: Iterable[str]) -> str:
    """A digest of lines of text, which may hold names that are no text."""
    text = "".join(f"{row}\n" for row in rows)
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]


def _packed(config: Config, root: Path, names: list[str]) -> dict[str, Digest]:
    """The digests of the files that a packed copy was made of, by name."""
    from lt_bench.data.files.packed import PackedImages  # with a decoder of images, which few commands need
    from lt_bench.data.files.pixels import open_images

    images = open_images(config, root, names)
    assert isinstance(images, PackedImages)
    return dict(zip(names, images.made_of(), strict=True))


def _require_same(config: Config, root: str, now: Mapping[str, Digest], made_of: Mapping[str, Digest]) -> None:
    others = [name for name, digest in now.items() if made_of[name].sha256 not in (digest.sha256, UNREADABLE)]
    if others:
        raise DataError(
            f"{len(others)} of {len(now)} images are others than in the packed copy {config.dataset.packed}, the first "
            f"{others[0]} in {root}: write the copy anew with python -m lt_bench.data prepare, or read the files with "
            "dataset.packed=null"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
