"""libjpeg-turbo gives what Pillow gives, or leaves a file to it; reduced images are near those that are cut whole."""

import io

import numpy as np
import pytest
from helpers.odd_folders import encoded, turned
from PIL import Image
from sklearn.datasets import load_sample_image

from lt_bench.augment.crop import RandomResizedCrop, ResizedCropParams
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import CentralCrops, RandomCrops
from lt_bench.data.files import decoders
from lt_bench.data.files.decoders import pillow, turbo, unreduced
from lt_bench.data.files.image_file import StoredForm
from lt_bench.data.files.pixels import FileImages
from lt_bench.data.files.rgb import PLAIN, SHOWN, BadImage
from lt_bench.errors import UsageError
from lt_bench.preflight import packages
from lt_bench.preflight.validate import validate

simplejpeg = pytest.importorskip("simplejpeg", reason="simplejpeg is not installed: pip install 'lt_bench[jpeg]'")
PHOTOGRAPH = Image.fromarray(load_sample_image("china.jpg"))  # 640 x 427
SMALL = PHOTOGRAPH.resize((101, 67))
# mean and root mean square, in levels, of what reduced and whole images differ by after a crop
MEAN, SQUARE = 5, 9


def read(decode, data, pixels=PLAIN):
    """The pixels of a file, or what is wrong with it."""
    try:
        return decode(data, "x", pixels, unreduced).pixels.astype(int)
    except BadImage as error:
        return str(error)


def jpeg(image, quality=90, **options):
    return encoded(image, "JPEG", quality=quality, **options)


def truncated(data, part):
    return data[: int(len(data) * part)]


FILES = {
    "4:2:0": jpeg(SMALL, subsampling=2),
    "4:2:2": jpeg(SMALL, quality=75, subsampling=1),
    "4:4:4": jpeg(SMALL, quality=100, subsampling=0),
    "progressive": jpeg(SMALL, progressive=True),
    "colours as they are": jpeg(SMALL, keep_rgb=True),
    "grey": jpeg(SMALL.convert("L")),
    "CMYK": jpeg(SMALL.convert("CMYK")),
    **{f"turned {number}": turned(SMALL, number) for number in (1, 3, 6, 9)},
    "MPO": encoded(SMALL, "MPO", save_all=True, append_images=[SMALL.rotate(180)]),
    "tags that are damaged": jpeg(SMALL, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "PNG": encoded(SMALL, "PNG"),
    "PNG of 16 bits": encoded(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257), "PNG"),
    "several pictures": encoded(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(180)]),
    "cut in the middle": truncated(jpeg(SMALL), 0.5),
    "cut in the header": truncated(jpeg(SMALL), 0.05),
    "without its end": jpeg(SMALL)[:-2],
    "more behind its end": jpeg(SMALL) + b"more",
    "no image": b"\xff\xd8\xff" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("pixels", [PLAIN, SHOWN])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_read_or_refused_as_pillow_does_it(kind, pixels):
    mine, theirs = read(turbo, FILES[kind], pixels), read(pillow, FILES[kind], pixels)
    assert type(mine) is type(theirs)
    if isinstance(mine, str):
        assert mine == theirs
    else:
        assert mine.shape == theirs.shape and np.abs(mine - theirs).max() <= 1


def test_a_damaged_file_is_refused_in_the_words_of_pillow_or_read_as_it_does_it():
    data, random, refused = jpeg(SMALL.resize((40, 30))), np.random.RandomState(0), 0
    for _ in range(150):
        harmed = bytearray(data)
        for place in random.randint(0, len(data), random.randint(1, 6)):
            harmed[place] = random.randint(256)
        mine, theirs = read(turbo, bytes(harmed)), read(pillow, bytes(harmed))
        assert type(mine) is type(theirs), bytes(harmed)
        if isinstance(mine, str):
            assert mine == theirs
            refused += 1
        else:
            assert mine.shape == theirs.shape and np.abs(mine - theirs).max() <= 1
    assert 0 < refused < 150


def test_ordinary_files_are_not_pillows(monkeypatch):
    monkeypatch.setattr(decoders, "pillow", None)  # which alone would give them
    for kind in ("4:2:0", "4:4:4", "progressive", "MPO", "turned 1", "more behind its end"):
        turbo(FILES[kind], "x", SHOWN, unreduced)
    turbo(FILES["turned 6"], "x", PLAIN, unreduced)
    for kind in ("grey", "CMYK", "PNG", "turned 6", "without its end"):
        with pytest.raises(TypeError):
            turbo(FILES[kind], "x", SHOWN, unreduced)


@pytest.mark.parametrize(("allowed", "factor"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (9, 8), (100, 8)])
def test_an_image_is_reduced_by_a_power_of_two_up_to_what_is_allowed(allowed, factor):
    found = turbo(FILES["4:2:0"], "x", PLAIN, lambda height, width: allowed)
    assert found.full == (67, 101)
    assert found.pixels.shape == (-(-67 // factor), -(-101 // factor), 3)


def crops(box, size, height, width):
    """The crop of one image by one box, (top, left, height, width)."""
    top, left, tall, wide = box
    places = [side / (spare + 1) + 1e-6 for side, spare in ((top, height - tall), (left, width - wide))]
    drawn = (np.full((1, 10), value, np.float32) for value in (tall * wide / (height * width), wide / tall))
    params = (*drawn, *(np.array([place], np.float32) for place in places))
    operation = RandomResizedCrop(size, ratio=(0.1, 10))
    return RandomCrops(operation, ResizedCropParams(*params), np.array([False]))


@pytest.mark.parametrize(
    ("box", "size", "factor"),
    [
        ((0, 0, 427, 640), 106, 2),
        ((0, 0, 427, 640), 107, 1),
        ((13, 77, 301, 399), 64, 2),
        ((101, 5, 290, 333), 48, 2),
        ((7, 200, 411, 437), 32, 4),
        ((0, 0, 427, 640), 25, 8),
        ((50, 60, 200, 90), 25, 1),
    ],
)
def test_a_crop_of_a_reduced_image_is_near_that_of_the_whole(box, size, factor):
    data, cut = jpeg(PHOTOGRAPH), crops(box, size, 427, 640)
    assert cut.box(0, 427, 640) == box
    whole = pillow(data, "x", PLAIN, unreduced)
    found = turbo(data, "x", PLAIN, lambda height, width: cut.reduction(0, height, width))
    assert found.pixels.shape[0] == -(-427 // factor)
    difference = (cut.cut(found.pixels, 0, found.full).int() - cut.cut(whole.pixels, 0, whole.full).int()).float()
    assert difference.abs().mean() <= (MEAN if factor > 1 else 0.1)
    assert difference.square().mean().sqrt() <= (SQUARE if factor > 1 else 1)
    assert (factor == 1) or difference.abs().max() > 0


def test_what_is_evaluated_is_never_reduced():
    assert CentralCrops(4, 0.875).reduction(0, 4000, 4000) == 1


def test_the_form_of_images_is_made_by_pillow_and_its_jpeg_files_are_decoded_as_asked(tmp_path, monkeypatch):
    PHOTOGRAPH.save(tmp_path / "x.jpg", quality=90)
    asked = []
    monkeypatch.setitem(decoders.DECODERS, "turbo", lambda *given: asked.append(given) or pillow(*given))
    for form, times in ((StoredForm(64), 0), (StoredForm(64, 80), 1), (StoredForm(None, 80), 1), (StoredForm(), 1)):
        theirs, mine = (FileImages(tmp_path, ["x.jpg"], form, decoder=name) for name in ("pillow", "turbo"))
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert len(asked) == times and mine.reading != theirs.reading
        asked.clear()


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(packages, "module_file", lambda name: None)
    monkeypatch.setattr(decoders, "module_file", lambda name: None)
    message = r"^dataset.decoder=turbo: its package simplejpeg is not installed; pip install 'lt_bench\[jpeg\]', or set"
    with pytest.raises(UsageError, match=message):
        validate(compose(["dataset=imagenet_lt", "dataset.decoder=turbo"]))
    with pytest.raises(UsageError, match=message):
        decoders.decoder_named("turbo")
    validate(compose(["dataset=imagenet_lt"]))


def test_pillow_reads_what_was_encoded():
    """That the files of this test are what their names say."""
    modes = {"grey": "L", "CMYK": "CMYK", "MPO": "RGB", "4:2:0": "RGB"}
    assert {kind: Image.open(io.BytesIO(FILES[kind])).mode for kind in modes} == modes
