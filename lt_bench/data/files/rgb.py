"""What an image of any pixel format is in RGB, by one of two rules.

    plain   Pillow's ``convert("RGB")``, as loaders of published data sets do it: transparency is dropped, EXIF turns
            nothing, of several pictures the first is taken
    shown   as a viewer shows it: turned by its EXIF tag, grey of 16 bits scaled to 8, transparency on white; a file of
            several pictures is refused

Both refuse what no rule gives a meaning, such as numbers of 32 bits; plain also refuses grey of 16 bits, which
``convert`` would cut at 255. A TIFF file is turned by its own tag as it is decoded, and of the pictures in an MPO file
the first is the photograph.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

PLAIN, SHOWN = "plain", "shown"
EIGHT_BITS = ("RGB", "L", "1", "P", "CMYK", "YCbCr", "LA", "La", "PA", "RGBA", "RGBa", "RGBX")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
WHITE = (255, 255, 255, 255)
# what may hold the EXIF tag of an image: few images have any
EXIF = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS, WHITE_IS, SIGN = 258, 262, 339  # tags of TIFF


class BadImage(ValueError):
    """A file that cannot be used; the message says why."""


def to_rgb(image: Image.Image, name: str, pixels: str) -> Image.Image:
    """A decoded image in RGB; raises BadImage, which names it, for what the rule ``pixels`` has no meaning for."""
    if image.mode == "RGB" and (pixels == PLAIN or not _is_marked(image)):
        return image
    if doubt := _doubt(image):
        raise BadImage(f"{name} has {doubt}; save it with 8 or 16 bits for each colour")
    if pixels == PLAIN:
        if image.mode not in EIGHT_BITS:
            raise BadImage(
                f"{name} has grey of 16 bits, which a plain conversion cuts at 255; save it with 8 bits, or "
                "dataset.pixels=shown scales it"
            )
        return _without_alpha(image)
    if _has_several(image):
        raise BadImage(
            f"{name} has several pictures; save the one that is meant alone, or dataset.pixels=plain takes the first"
        )
    way = turn(image)
    if image.mode not in EIGHT_BITS:
        image = _scaled(image, name)
    elif _is_transparent(image):
        image = _on_white(image, name)
    else:
        image = image.convert("RGB")
    return image if way is None else image.transpose(way)


def dropped(image: Image.Image) -> str | None:
    """What the plain rule drops of an image that the other one would show; None where both give the same."""
    if _has_several(image):
        return "several pictures, of which the first is read"
    if turn(image) is not None:
        return "an EXIF tag that turns nothing"
    if _is_transparent(image) and _rgba(image).getchannel("A").getextrema() != (255, 255):
        return "transparency, which is dropped"
    return None


def _is_marked(image: Image.Image) -> bool:
    """Whether anything beside its pixels may change what an RGB image shows."""
    return _has_several(image) or _is_transparent(image) or any(key in image.info for key in EXIF)


def _has_several(image: Image.Image) -> bool:
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _is_transparent(image: Image.Image) -> bool:
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    return image.mode in TRANSPARENT or "transparency" in image.info or palette.endswith("A")


def _doubt(image: Image.Image) -> str | None:
    """Why nobody can say what the values of an image mean, if so."""
    tags = getattr(image, "tag_v2", {})
    signed = any(kind != 1 for kind in np.atleast_1d(tags.get(SIGN, 1)).tolist())
    if image.mode in SIXTEEN_BITS:
        other = bool(tags) and (tags.get(BITS) != (16,) or tags.get(WHITE_IS) != 1)
        return "grey of 12 bits, or of 16 bits from white to black" if other else None
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return None  # grey of 16 bits
    if image.mode not in EIGHT_BITS or signed:
        return f"values whose black and white nobody can tell (signed, or Pillow's mode {image.mode})"
    return None


def turn(image: Image.Image) -> Image.Transpose | None:
    """How an image is turned by its EXIF tag; one that cannot be read turns nothing, as in viewers."""
    if image.format == "TIFF" or not any(key in image.info for key in EXIF):
        return None
    try:
        return TURNS.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # what Pillow raises for damaged tags is not listed anywhere
        return None


def _scaled(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits in 8: 65,535 is 255."""
    if "transparency" in image.info:
        raise BadImage(f"{name} has grey of 16 bits with a transparent value; save it with 8 bits")
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image, name: str) -> Image.Image:
    layer = _rgba(image)
    if layer.getchannel("A").getextrema() == (0, 0):
        raise BadImage(f"{name} is transparent everywhere; save it without transparency")
    return Image.alpha_composite(Image.new("RGBA", layer.size, WHITE), layer).convert("RGB")


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _without_alpha(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGB")
