"""Data sets as people have them: a folder or lists of small images with oddities in it, and what is to become of them.

Every odd thing says what it is to do: an image more in some class, nothing, or that the data set is refused.
"""

from __future__ import annotations

import io
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

NO_TEXT = os.fsdecode(b"caf\xe9")
NAMES = (
    ("cat", "dog", "eel"),
    ("0", "1", "2"),
    ("2", "10", "9"),
    ("n01440764", "n01443537", "n01484850"),
    ("Größe", "two words", NO_TEXT),
)


class Odd(NamedTuple):
    """A data set below a root, the overrides that name it, and images by part and class; None where it is refused."""

    words: list[str]
    expected: dict[str, Counter[str]] | None
    things: list[str]


class Site:
    """A data set that is being built: its root, its classes, and what is expected of it."""

    def __init__(self, root: Path, names: tuple[str, ...], chance: random.Random) -> None:
        self.root, self.names, self.chance = root, names, chance
        self.part, self.label = chance.choice(("train", "test")), chance.choice(names)
        self.counts = {part: Counter[str]() for part in ("train", "test")}
        self.words: list[str] = []
        self.refused = False
        self._number = 0
        for part, most in (("train", 3), ("test", 2)):
            for name in names:
                for _ in range(chance.randint(1, most)):
                    self.add(self.name(".png", part, name), self.picture(), part, name)

    def picture(self, mode: str = "RGB") -> Image.Image:
        """A picture that no other one is like."""
        self._number += 1
        values = np.random.RandomState((self.chance.randrange(2**31), self._number)).randint(0, 256, (18, 21, 3))
        return Image.fromarray(values.astype(np.uint8)).convert(mode)

    def name(self, suffix: str, part: str | None = None, label: str | None = None) -> str:
        """A path below the root that is not taken."""
        self._number += 1
        return f"{part or self.part}/{label or self.label}/{self._number}{suffix}"

    def put(self, name: str, content: Image.Image | bytes, kind: str = "PNG", **options: Any) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, kind, **options))

    def add(self, name: str, content: Image.Image | bytes, part: str | None = None, label: str | None = None) -> None:
        """Write an image that counts."""
        self.put(name, content)
        self.counts[part or self.part][label or self.label] += 1


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG file with an EXIF tag for its orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=95, exif=exif.tobytes())


def deep(values: np.ndarray, kind: str = "PNG") -> bytes:
    """Grey of as many bits as its values have."""
    return encoded(Image.fromarray(values), kind)


def _used(suffix: str, make: Callable[[Site], bytes]) -> Callable[[Site], None]:
    return lambda site: site.add(site.name(suffix), make(site))


def _as(kind: str, mode: str = "RGB") -> Callable[[Site], bytes]:
    return lambda site: encoded(site.picture(mode), kind)


def _grey16(site: Site) -> bytes:
    return deep(np.asarray(site.picture("L")).astype(np.uint16) * 257)


def _translucent(site: Site) -> bytes:
    image = site.picture("RGBA")
    image.putalpha(site.picture("L"))
    return encoded(image)


def _palette(site: Site) -> bytes:
    return encoded(site.picture().quantize(16), transparency=3)


def _nested(site: Site) -> None:
    site.add(site.name(".jpg").replace("/", "/", 1).rpartition("/")[0] + "/deeper/down/1.png", site.picture())


def _inner_link(site: Site) -> None:
    site.put("store/linked.png", site.picture())
    (site.root / site.name(".png")).symlink_to(site.root / "store" / "linked.png")
    site.counts[site.part][site.label] += 1


def _linked_class(site: Site) -> None:
    site.put("store/class", b"")
    (site.root / "store" / "class").unlink()
    (site.root / site.part / site.label).rename(site.root / "store" / "class")
    (site.root / site.part / site.label).symlink_to("../store/class")


def _hard_link(site: Site) -> None:
    site.put("store/hard.png", site.picture())
    os.link(site.root / "store" / "hard.png", site.root / site.name(".png"))
    site.counts[site.part][site.label] += 1


def _outer_link(site: Site, follow: bool) -> None:
    outside = site.root.parent / f"{site.root.name} outside.png"
    outside.write_bytes(encoded(site.picture()))
    (site.root / site.name(".png")).symlink_to(outside)
    site.counts[site.part][site.label] += 1
    if follow:
        site.words.append("dataset.follow_links=true")
    elif "dataset.follow_links=true" not in site.words:
        site.words.append("dataset.follow_links=false")


def _strange_name(stem: str) -> Callable[[Site], None]:
    return lambda site: site.add(f"{site.part}/{site.label}/{stem}.png", site.picture())


def _hidden(name: str) -> Callable[[Site], None]:
    def hide(site: Site) -> None:
        inside = site.chance.choice((f"{site.part}/{site.label}", site.part))
        site.put(f"{inside}/{name}", site.picture())

    return hide


def _beside(name: str) -> Callable[[Site], None]:
    return lambda site: site.put(f"{site.part}/{site.label}/{name}", b"text")


def _circle(target: str) -> Callable[[Site], None]:
    return lambda site: (site.root / site.part / site.label / "circle").symlink_to(target)


def _untested(site: Site) -> None:
    for path in (site.root / "test" / site.label).iterdir():
        path.unlink()
    del site.counts["test"][site.label]


def _wrong(suffix: str, make: Callable[[Site], bytes]) -> Callable[[Site], None]:
    return lambda site: site.put(site.name(suffix), make(site))


def _several(kind: str) -> Callable[[Site], bytes]:
    return lambda site: encoded(site.picture(), kind, save_all=True, append_images=[site.picture()])


def _empty_class(site: Site) -> None:
    (site.root / "train" / "another").mkdir()


def _unknown_class(site: Site) -> None:
    site.put("test/unknown/1.png", site.picture())


def _dangling(site: Site) -> None:
    (site.root / site.name(".png")).symlink_to("nowhere.png")


def _pipe(site: Site) -> None:
    os.mkfifo(site.root / site.name(".png"))


USED: dict[str, Callable[[Site], None]] = {
    **{f"JPEG{suffix}": _used(suffix, _as("JPEG")) for suffix in (".JPG", ".jfif", ".jpe", ".jpeg", ".png", ".webp")},
    "tif": _used(".tif", _as("TIFF")),
    "TIFF": _used(".TIFF", _as("TIFF", "CMYK")),
    "gif": _used(".gif", _as("GIF")),
    "ppm": _used(".ppm", _as("PPM")),
    "pgm": _used(".pgm", _as("PPM", "L")),
    "webp": _used(".webp", _as("WEBP")),
    "bmp": _used(".bmp", _as("BMP")),
    "one bit": _used(".png", _as("PNG", "1")),
    "four colours": _used(".jpg", _as("JPEG", "CMYK")),
    "grey of 16 bits": _used(".png", _grey16),
    "translucent": _used(".png", _translucent),
    "palette": _used(".png", _palette),
    "turned": _used(".jpg", lambda site: turned(site.picture(), 6)),
    "nested": _nested,
    "link": _inner_link,
    "linked class": _linked_class,
    "hard link": _hard_link,
    "link out, followed": lambda site: _outer_link(site, follow=True),
    "no text": _strange_name(NO_TEXT),
    "blanks and quotes": _strange_name(" a 'b\" "),
    "backslash": _strange_name("a\\b"),
    "long name": _strange_name("x" * 240),
}
NOTHING: dict[str, Callable[[Site], None]] = {
    **{
        name: _hidden(name)
        for name in (".ipynb_checkpoints/1.png", "@eaDir/1.png", "__MACOSX/1.png", ".git/1.png", "._1.jpg", "Thumbs.db")
    },
    **{name: _beside(name) for name in ("notes.txt", "1.xml", "1.png.dvc", "README")},
    "up": _circle(".."),
    "itself": _circle("."),
    "empty folder": lambda site: (site.root / site.part / site.label / "empty.jpg").mkdir(),
    "untested": _untested,
}
REFUSED: dict[str, Callable[[Site], None]] = {
    "cut off": _wrong(".png", lambda site: encoded(site.picture())[:-90]),
    "no bytes": _wrong(".jpg", lambda site: b""),
    "text": _wrong(".jpg", lambda site: b"<html>"),
    **{f"several in {kind}": _wrong(".png", _several(kind)) for kind in ("GIF", "PNG", "WEBP", "TIFF")},
    "floats": _wrong(".tif", lambda site: deep(np.asarray(site.picture("L")).astype(np.float32), "TIFF")),
    "32 bits": _wrong(".tif", lambda site: deep(np.asarray(site.picture("L")).astype(np.int32), "TIFF")),
    "transparent": _wrong(".png", lambda site: encoded(Image.new("RGBA", (20, 20)))),
    "heic": _wrong(".heic", lambda site: b"whatever"),
    "no suffix": _wrong("", _as("JPEG")),
    "a copy of an editor": _wrong(".jpg~", _as("JPEG")),
    "link to nowhere": _dangling,
    "link out": lambda site: _outer_link(site, follow=False),
    "empty class": _empty_class,
    "unknown class": _unknown_class,
    "pipe": _pipe,
}
THINGS = {**USED, **NOTHING, **REFUSED}


def build(root: Path, number: int) -> Odd:
    """The data set with a number: the odd thing of that number, and up to two others beside it, in folders or lists."""
    chance = random.Random(number)
    site = Site(root, NAMES[number % len(NAMES)], chance)
    every, harmless = list(THINGS), [*USED, *NOTHING]
    things = [every[number % len(every)], *chance.sample(harmless, chance.randint(0, 2))]
    things = sorted(dict.fromkeys(things), key=lambda thing: thing in ("linked class", "untested"))  # these move files
    for thing in things:
        site.part, site.label = chance.choice(("train", "test")), chance.choice(site.names)
        THINGS[thing](site)
    refused = any(thing in REFUSED for thing in things) and "dataset.follow_links=true" not in site.words
    refused |= any(thing in REFUSED and thing != "link out" for thing in things)
    words = ["dataset=image_folder", f"dataset.num_classes={len(site.names)}", *dict.fromkeys(site.words)]
    if {"dataset.follow_links=true", "dataset.follow_links=false"} <= {*words}:
        words.remove("dataset.follow_links=false")
    return Odd(words, None if refused else site.counts, things)
