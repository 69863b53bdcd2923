"""Images of every pixel format in RGB: as loaders of published data sets read them, or as a viewer shows them."""

import io
import struct
import zlib

import numpy as np
import pytest
from helpers.image_trees import picture
from helpers.odd_folders import deep, encoded, turned
from PIL import Image, ImageOps

from lt_bench.data.files.image_file import FORMATS, decode, opened
from lt_bench.data.files.rgb import PLAIN, SHOWN, TURNS, BadImage, dropped

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
ORIENTED = ImageOps.pad(Image.linear_gradient("L"), (24, 16)).convert("RGB")  # no two of its turns are alike


def shown(data):
    return np.asarray(decode(data, "x", SHOWN)).astype(int)


def plain(data):
    return np.asarray(decode(data, "x")).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_is_turned_as_its_tag_says_where_it_is_shown_alone(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(picture(1, 1), kind, exif=exif.tobytes(), **options)
    stored = plain(encoded(picture(1, 1), kind, **options))
    # where rows and columns of what is shown lie in what is stored, by the EXIF standard (tag 274)
    expected = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.swapaxes(0, 1),
        6: stored[::-1].swapaxes(0, 1), 7: stored[::-1, ::-1].swapaxes(0, 1), 8: stored[:, ::-1].swapaxes(0, 1),
    }  # fmt: skip
    np.testing.assert_array_equal(shown(data), expected[orientation])
    np.testing.assert_array_equal(plain(data), stored)
    assert dropped(opened(data, "x")) == ("an EXIF tag that turns nothing" if orientation > 1 else None)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_tiff_file_is_turned_once_by_either_rule(orientation):
    data = encoded(picture(1, 1), "TIFF", tiffinfo={274: orientation})
    expected = np.asarray(picture(1, 1) if orientation == 1 else picture(1, 1).transpose(TURNS[orientation]))
    np.testing.assert_array_equal(shown(data), expected)
    np.testing.assert_array_equal(plain(data), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"no EXIF at all", b""])
def test_tags_that_cannot_be_read_turn_nothing(exif):
    data = encoded(picture(1, 1), exif=exif)
    np.testing.assert_array_equal(shown(data), np.asarray(picture(1, 1)))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_tag_out_of_its_range_turns_nothing(orientation):
    assert shown(turned(ORIENTED, orientation)).shape == (16, 24, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_sixteen_bits_is_scaled_and_never_cut(kind):
    image = Image.fromarray(RAMP * 257)
    data = encoded(image.convert("I") if kind == "PPM" else image, kind)
    found = shown(data)
    assert found.shape == (16, 16, 3)
    np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, axis=2))
    with pytest.raises(BadImage, match=r"^x has grey of 16 bits, .* at 255; save it .*, or dataset.pixels=shown .*$"):
        plain(data)


def test_levels_between_those_of_eight_bits_are_rounded():
    values = np.array([[0, 128, 129, 385, 386, 32767, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    assert shown(deep(values))[0, :, 0].tolist() == [0, 0, 1, 1, 2, 127, 128, 254, 255, 255]


@pytest.mark.parametrize(
    ("values", "kind"), [(RAMP.astype(np.int32), "TIFF"), (RAMP.astype(np.float32), "TIFF")], ids=["32 bits", "floats"]
)
@pytest.mark.parametrize("pixels", [PLAIN, SHOWN])
def test_numbers_without_black_and_white_are_refused(values, kind, pixels):
    with pytest.raises(BadImage, match="^x has values whose black and white nobody can tell .*; save it with 8 or 16"):
        decode(deep(values, kind), "x", pixels)


def test_sixteen_bits_from_white_to_black_are_refused():
    with pytest.raises(BadImage, match="grey of 12 bits, or of 16 bits from white to black"):
        shown(encoded(Image.fromarray(RAMP * 257), "TIFF", tiffinfo={262: 0}))


def translucent(mode):
    image = picture(1, 1).convert("RGBA" if mode == "P" else mode)
    alpha = np.linspace(0, 255, image.width * image.height).astype(np.uint8).reshape(image.height, image.width)
    image.putalpha(Image.fromarray(alpha))
    return image, alpha[..., None] / 255


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_shows_white(kind, mode):
    image, alpha = translucent(mode)
    data = encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    colours = np.asarray(image.convert("RGB")).astype(float)
    assert np.abs(shown(data) - (alpha * colours + (1 - alpha) * 255)).max() <= 1
    np.testing.assert_array_equal(plain(data), colours)  # as loaders of published data sets read it
    assert dropped(opened(data, "x")) == "transparency, which is dropped"


def test_one_colour_of_a_palette_or_of_all_may_be_transparent():
    image = picture(1, 1).quantize(8)
    found, clear = shown(encoded(image, transparency=3)), np.asarray(image) == 3
    assert clear.any() and (found[clear] == 255).all()
    np.testing.assert_array_equal(found[~clear], np.asarray(image.convert("RGB"))[~clear])
    colours = Image.new("RGB", (4, 4), (1, 2, 3))
    colours.putpixel((0, 0), (9, 9, 9))
    assert shown(encoded(colours, transparency=(1, 2, 3)))[0, :2].tolist() == [[9, 9, 9], [255, 255, 255]]


def test_a_layer_that_hides_nothing_changes_nothing():
    data = encoded(picture(1, 1).convert("RGBA"))
    np.testing.assert_array_equal(shown(data), plain(data))
    assert dropped(opened(data, "x")) is None


def ramp_of(bits, clear):
    """A PNG file, by its standard: one row of all greys of so many bits, one of which is transparent."""
    levels = 2**bits
    row = "".join(f"{level:0{bits}b}" for level in range(levels)).ljust(8, "0")
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", levels, 1, bits, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", clear),
        b"IDAT": zlib.compress(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big")),
        b"IEND": b"",
    }
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_one_grey_of_few_bits_may_be_transparent(bits):
    levels = 2**bits
    for clear in {0, 1, levels // 2, levels - 1}:
        data = ramp_of(bits, clear)
        expected = np.arange(levels) * 255 // (levels - 1)
        np.testing.assert_array_equal(plain(data)[0, :, 1], expected)
        expected[clear] = 255
        np.testing.assert_array_equal(shown(data)[0, :, 1], expected)


def test_what_is_transparent_everywhere_or_in_sixteen_bits_is_refused():
    with pytest.raises(BadImage, match="^x is transparent everywhere"):
        shown(encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0))))
    with pytest.raises(BadImage, match="^x has grey of 16 bits with a transparent value"):
        shown(encoded(Image.fromarray(RAMP), transparency=7))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_none_is_taken_unasked(kind):
    data = encoded(picture(1, 1), kind, save_all=True, append_images=[picture(2, 2).resize(picture(1, 1).size)])
    with pytest.raises(BadImage, match="^x has several pictures; .* dataset.pixels=plain takes the first"):
        shown(data)
    assert plain(data).shape == (picture(1, 1).height, picture(1, 1).width, 3)
    assert dropped(opened(data, "x")) == "several pictures, of which the first is read"


def test_the_photograph_of_an_mpo_file_is_taken():
    data = encoded(picture(1, 1), "MPO", save_all=True, append_images=[picture(2, 2)], quality=95)
    assert opened(data, "x").format == "MPO"
    np.testing.assert_array_equal(shown(data), plain(data))
    assert np.abs(shown(data) - np.asarray(picture(1, 1))).mean() < 2 and dropped(opened(data, "x")) is None


def test_four_colours_are_those_of_their_file_inverted_or_not():
    """Adobe's JPEG files hold inverted values, which Pillow turns around; a TIFF file holds them as they are."""
    image = picture(1, 1).convert("CMYK")
    for data in (encoded(image, "JPEG", quality=100, subsampling=0), encoded(image, "TIFF")):
        assert np.abs(shown(data) - np.asarray(picture(1, 1))).mean() < 2
        np.testing.assert_array_equal(shown(data), plain(data))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_what_needs_no_rule_is_the_same_by_both(mode):
    for kind in {"1": ("PNG", "BMP", "GIF")}.get(mode, ("PNG", "BMP", "GIF", "TIFF")):
        data = encoded(picture(1, 1).convert(mode), kind)
        np.testing.assert_array_equal(shown(data), plain(data))
        np.testing.assert_array_equal(plain(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", FORMATS)
def test_whatever_is_damaged_is_named(kind):
    """Nothing but BadImage comes out of a decoder, at whatever byte a file is damaged."""
    data = encoded(picture(0, 0).resize((24, 24)), kind)
    random = np.random.RandomState(0)
    for _ in range(40):
        harmed = bytearray(data)
        for place in random.randint(0, len(data), random.randint(1, 6)):
            harmed[place] = random.randint(256)
        try:
            decode(bytes(harmed), "x", SHOWN)
        except BadImage as error:
            assert str(error).startswith("x ")
