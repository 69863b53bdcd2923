"""Data sets as people have them: a folder or lists of small images with oddities in it, and what is to become of them.

Every odd thing says what it is to do: an image more in some class, nothing, or that the data set is refused.
"""

from __future__ import annotations

import csv
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
NAMES_IN_LISTS = (NAMES[0], NAMES[1], NAMES[3])


class Odd(NamedTuple):
    """A data set below a root: the overrides that name it, its classes in order, and the odd things in it.

    ``expected`` are its images by part and class; None where it is refused.
    """

    words: list[str]
    classes: list[str]
    things: list[str]
    expected: dict[str, Counter[str]] | None


class Site:
    """A data set that is being built: its root, its classes, the rows of its lists, and what is to become of it.

    An odd thing is put into ``part`` and ``label``.
    """

    def __init__(self, root: Path, names: tuple[str, ...], chance: random.Random) -> None:
        self.root, self.names, self.chance = root, names, chance
        self.rows: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
        self.words: list[str] = []
        self._number = 0
        for self.part, most in (("train", 3), ("test", 2)):
            for self.label in names:
                for _ in range(chance.randint(1, most)):
                    self.put(self.name(".png"), self.picture())
        self.move()

    def move(self) -> None:
        """Go to another part and class."""
        self.part, self.label = self.chance.choice(("train", "test")), self.chance.choice(self.names)

    def picture(self, mode: str = "RGB") -> Image.Image:
        """A picture that no other one is like."""
        values = np.random.RandomState(self.chance.randrange(2**31)).randint(0, 256, (18, 21, 3))
        return Image.fromarray(values.astype(np.uint8)).convert(mode)

    def name(self, suffix: str, stem: str | None = None) -> str:
        """A path below the root, in the present part and class."""
        self._number += 1
        return f"{self.part}/{self.label}/{stem or self._number}{suffix}"

    def write(self, name: str, content: Image.Image | bytes) -> Path:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content))
        return path

    def put(self, name: str, content: Image.Image | bytes | None = None) -> None:
        """An image of the present part and class, that is written here unless it is there already."""
        if content is not None:
            self.write(name, content)
        self.rows[self.part].append((name, self.label))

    def counts(self) -> dict[str, Counter[str]]:
        """Images by part and class."""
        return {part: Counter(label for _, label in rows) for part, rows in self.rows.items()}


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


def _image(suffix: str, make: Callable[[Site], bytes], stem: str | None = None) -> Callable[[Site], None]:
    return lambda site: site.put(site.name(suffix, stem), make(site))


def _as(kind: str, mode: str = "RGB") -> Callable[[Site], bytes]:
    return lambda site: encoded(site.picture(mode), kind)


def _several(kind: str) -> Callable[[Site], bytes]:
    return lambda site: encoded(site.picture(), kind, save_all=True, append_images=[site.picture()])


def _grey(kind: type[np.generic], factor: int = 1, file: str = "PNG") -> Callable[[Site], bytes]:
    return lambda site: deep(np.asarray(site.picture("L")).astype(kind) * kind(factor), file)  # type: ignore[call-arg]


def _translucent(site: Site) -> bytes:
    image = site.picture("RGBA")
    image.putalpha(site.picture("L"))
    return encoded(image)


def _link(site: Site) -> None:
    (site.root / (name := site.name(".png"))).symlink_to(site.write("store/linked.png", site.picture()))
    site.put(name)


def _hard_link(site: Site) -> None:
    os.link(site.write("store/hard.png", site.picture()), site.root / (name := site.name(".png")))
    site.put(name)


def _linked_class(site: Site) -> None:
    (site.root / "store").mkdir(exist_ok=True)
    (site.root / site.part / site.label).rename(site.root / "store" / "class")
    (site.root / site.part / site.label).symlink_to("../store/class")


def _link_out(site: Site) -> None:
    outside = site.write(f"../{site.root.name} outside.png", site.picture())
    (site.root / (name := site.name(".png"))).symlink_to(outside)
    site.put(name)


def _link_out_followed(site: Site) -> None:
    _link_out(site)
    site.words.append("dataset.follow_links=true")


def _hidden(name: str) -> Callable[[Site], Any]:
    return lambda site: site.write(
        f"{site.chance.choice((f'{site.part}/{site.label}', site.part))}/{name}", site.picture()
    )


def _beside(name: str) -> Callable[[Site], Any]:
    return lambda site: site.write(f"{site.part}/{site.label}/{name}", b"text")


def _untested(site: Site) -> None:
    for path in (site.root / "test" / site.label).iterdir():
        path.unlink()
    site.rows["test"] = [(name, label) for name, label in site.rows["test"] if label != site.label]


def _listed_again(site: Site) -> None:
    site.rows[site.part].append(site.chance.choice(site.rows[site.part]))


def _in_hidden_folder(site: Site) -> None:
    site.put(site.name(".png").replace(site.part, f"{site.part}/.hidden", 1), site.picture())


Thing = Callable[[Site], Any]
USED: dict[str, Thing] = {  # each an image more, but for the linked class
    **{f"JPEG as {end}": _image(end, _as("JPEG")) for end in (".JPG", ".jfif", ".jpe", ".jpeg", ".png", ".webp")},
    "TIFF": _image(".tif", _as("TIFF")),
    "TIFF in four colours": _image(".TIFF", _as("TIFF", "CMYK")),
    "GIF": _image(".gif", _as("GIF")),
    "PPM": _image(".ppm", _as("PPM")),
    "PGM": _image(".pgm", _as("PPM", "L")),
    "WEBP": _image(".webp", _as("WEBP")),
    "BMP": _image(".bmp", _as("BMP")),
    "one bit": _image(".png", _as("PNG", "1")),
    "four colours": _image(".jpg", _as("JPEG", "CMYK")),
    "16 bits": _image(".png", _grey(np.uint16, 257)),
    "translucent": _image(".png", _translucent),
    "palette": _image(".png", lambda site: encoded(site.picture().quantize(16), transparency=3)),
    "turned": _image(".jpg", lambda site: turned(site.picture(), 6)),
    "nested": _image(".png", _as("PNG"), "deeper/down/1"),
    "link": _link,
    "linked class": _linked_class,
    "hard link": _hard_link,
    "link out, followed": _link_out_followed,
    "blanks and quotes": _image(".png", _as("PNG"), " a 'b\" "),
    "backslash": _image(".png", _as("PNG"), "a\\b"),
    "long name": _image(".png", _as("PNG"), "x" * 240),
}
NOTHING: dict[str, Thing] = {
    **{
        name: _hidden(name)
        for name in (".ipynb_checkpoints/1.png", "@eaDir/1.png", "__MACOSX/1.png", ".git/1.png", "._1.jpg", "Thumbs.db")
    },
    **{name: _beside(name) for name in ("notes.txt", "1.xml", "1.png.dvc", "README")},
    "circle up": lambda site: (site.root / site.part / site.label / "circle").symlink_to(".."),
    "circle": lambda site: (site.root / site.part / site.label / "circle").symlink_to("."),
    "circle as a class": lambda site: (site.root / site.part / "loop").symlink_to("."),
    "empty folder": lambda site: (site.root / site.part / site.label / "empty.jpg").mkdir(),
    "untested": _untested,
}
BROKEN: dict[str, Thing] = {
    "cut off": _image(".png", lambda site: encoded(site.picture())[:-90]),
    "no bytes": _image(".jpg", lambda site: b""),
    "text": _image(".jpg", lambda site: b"<html>"),
    **{f"several in {kind}": _image(".png", _several(kind)) for kind in ("GIF", "PNG", "WEBP", "TIFF")},
    "floats": _image(".tif", _grey(np.float32, file="TIFF")),
    "32 bits": _image(".tif", _grey(np.int32, file="TIFF")),
    "transparent": _image(".png", lambda site: encoded(Image.new("RGBA", (20, 20)))),
    "link out": _link_out,
}
IN_FOLDERS: dict[str, Thing] = {
    "no text": _image(".png", _as("PNG"), NO_TEXT),
    **NOTHING,
}
REFUSED_FOLDERS: dict[str, Thing] = {
    "heic": _image(".heic", lambda site: b"whatever"),
    "no suffix": _image("", _as("JPEG")),
    "an editor's copy": _image(".jpg~", _as("JPEG")),
    "link to nowhere": lambda site: (site.root / site.name(".png")).symlink_to("nowhere.png"),
    "empty class": lambda site: (site.root / "train" / "another").mkdir(),
    "unknown class": lambda site: site.write("test/unknown/1.png", site.picture()),
    "pipe": lambda site: os.mkfifo(site.root / site.name(".png")),
}
IN_LISTS: dict[str, Thing] = {"in a hidden folder": _in_hidden_folder}
REFUSED_LISTS: dict[str, Thing] = {
    "named twice": _listed_again,
    "missing": lambda site: site.put("train/missing.png"),
    "above the root": lambda site: site.put("../above.png"),
    "another label": lambda site: site.rows["test"].append((site.rows["test"][0][0] + "?", "another")),
}
LAST = ("linked class", "untested")  # these move or take away what others wrote
FOLDERS = [*USED, *IN_FOLDERS, *BROKEN, *REFUSED_FOLDERS]
LISTS = [*USED, *IN_LISTS, *BROKEN, *REFUSED_LISTS]
THINGS = {**USED, **IN_FOLDERS, **IN_LISTS, **BROKEN, **REFUSED_FOLDERS, **REFUSED_LISTS}
HARMLESS = {*USED, *IN_FOLDERS, *IN_LISTS}


def things_of(number: int) -> tuple[str, list[str]]:
    """The form of the data set with a number, and the odd things in it: one after another, and up to two harmless ones.

    Two of three are folders, the others lists: «path label» lines or CSV files.
    """
    form, chance = ("folder", "folder", ("csv", "text")[number // 3 % 2])[number % 3], random.Random(number)
    every = FOLDERS if form == "folder" else LISTS
    first = every[(number // 3 * 2 + number % 3 if form == "folder" else number // 3) % len(every)]
    others = chance.sample([name for name in every if name in HARMLESS], chance.randint(0, 2))
    return form, sorted(dict.fromkeys((first, *others)), key=lambda thing: thing in LAST)


def build(root: Path, number: int) -> Odd:
    """Write the data set with a number."""
    (form, things), chance = things_of(number), random.Random(number)
    site = Site(root, NAMES[number % len(NAMES)] if form == "folder" else chance.choice(NAMES_IN_LISTS), chance)
    for thing in things:
        THINGS[thing](site)
        site.move()
    classes = sorted(site.names, key=lambda name: (int(name) if name.isdigit() else 0, name))
    if form != "folder":
        for part, rows in site.rows.items():
            site.words.append(f"dataset.{part}_list={write_list(root, part, rows, classes, form, chance)}")
    followed = "link out, followed" in things
    fine = all(thing in HARMLESS or (thing == "link out" and followed) for thing in things)
    words = ["dataset=image_folder", f"dataset.num_classes={len(classes)}", *site.words]
    return Odd(words, classes, things, site.counts() if fine else None)


def write_list(
    root: Path, part: str, rows: list[tuple[str, str]], classes: list[str], form: str, chance: random.Random
) -> str:
    """Write a list of names or numbers of classes as some programs do, and return its name."""
    text = io.StringIO(newline="")
    if form == "csv":
        csv.writer(text, lineterminator="\n").writerows([("path", "label"), *rows])
    else:
        numbers = {name: str(number) for number, name in enumerate(classes)}
        text.write("".join(f"{name} {numbers.get(label, label)}\n" for name, label in rows))
    ends, mark, blank = chance.choice(("\n", "\r\n")), chance.choice(("", "\ufeff")), chance.choice(("", "\n\n"))
    name = f"{part}.{'csv' if form == 'csv' else 'txt'}"
    (root / name).write_bytes((mark + text.getvalue().replace("\n", ends) + blank).encode())
    return name
