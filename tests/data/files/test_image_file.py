"""Opening image files: only below the root, only whole images."""

import io
import os

import numpy as np
import pytest
from helpers.image_trees import picture
from PIL import Image

from lt_bench.data.files.image_file import OutsideRoot, decode, read_below, real_root
from lt_bench.data.files.rgb import BadImage


def encoded(image, kind="JPEG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_format_in_colour(kind, mode):
    image = picture(1, 1).convert(mode)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    found = decode(encoded(image, kind, **options), "x")
    assert found.mode == "RGB" and found.size == image.size
    difference = np.asarray(found, dtype=int) - np.asarray(image.convert("RGB"), dtype=int)
    assert np.abs(difference).mean() <= {"JPEG": 2, "GIF": 10}.get(kind, 0)  # GIF has 256 colours


def test_four_colours_are_converted():
    assert decode(encoded(picture(1, 1).convert("CMYK")), "x").mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_what_is_cut_off_is_no_image(kind):
    data = encoded(picture(0, 0).resize((60, 60)), kind)
    with pytest.raises(BadImage, match=r"a/b\.jpg is not a complete image"):
        decode(data[: len(data) * 2 // 3], "a/b.jpg")


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff", encoded(picture(0, 0), "ICO")])
def test_what_is_something_else_is_no_image(data):
    with pytest.raises(
        BadImage, match=r"^x is not a complete image \(neither JPEG, PNG, WEBP, BMP, TIFF, GIF nor PPM\)$"
    ):
        decode(data, "x")


def test_a_file_of_too_many_pixels_is_no_image(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadImage, match="exceeds limit"):
        decode(encoded(picture(0, 0)), "x")


def test_files_below_the_root_are_read_also_through_links_that_stay(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_bytes(b"one")
    os.symlink(tmp_path / "a", tmp_path / "b")
    root = real_root(tmp_path)
    assert read_below(root, "a/1") == read_below(root, "b/1") == b"one"
    os.symlink(tmp_path, tmp_path.parent / "link")
    assert read_below(real_root(tmp_path.parent / "link"), "a/1") == b"one"


def test_a_link_out_of_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    for place in (tmp_path, tmp_path / "root2"):
        (place / "secret").write_bytes(b"secret")
    os.symlink(tmp_path / "secret", tmp_path / "root" / "file")
    os.symlink(tmp_path, tmp_path / "root" / "folder")
    os.symlink(tmp_path / "root2", tmp_path / "root" / "beside")
    for name in ("file", "folder/secret", "beside/secret", "../secret"):
        with pytest.raises(OutsideRoot, match="outside the data root .*; dataset.follow_links=true reads it"):
            read_below(real_root(tmp_path / "root"), name)
    for name in ("file", "folder/secret", "beside/secret"):
        assert read_below(real_root(tmp_path / "root"), name, follow_links=True) == b"secret"


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadImage, match=r"no\.jpg cannot be read \(No such file"):
        read_below(real_root(tmp_path), "no.jpg")
    with pytest.raises(BadImage, match="folder cannot be read"):
        read_below(real_root(tmp_path), "folder")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded():
    few_bytes = encoded(Image.new("1", (9000, 9000)), "PNG")
    assert len(few_bytes) < 20_000
    with pytest.raises(BadImage, match=r"x has 9000 x 9000 pixels, more than 67,108,864"):
        decode(few_bytes, "x")


def test_a_pipe_or_a_device_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(BadImage, match="a.png cannot be read .no regular file"):
        read_below(real_root(tmp_path), "a.png")
