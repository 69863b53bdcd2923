"""Lists of splits as people have them: other digits, encodings, line ends, suffixes and damaged arrays."""

import numpy as np
import pytest
from helpers.split_lists import lists, read, said, write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("１\n2", "expected one position per line, found '１' in line 1"),
        ("1_0\n2", "expected one position per line, found '1_0' in line 1"),
        ("1.0\n2", "expected one position per line, found '1.0' in line 1"),
        ("\n\x0b3", "expected one position per line, found '\\x0b3' in line 2"),
    ],
)
def test_only_plain_digits_are_positions(content, words, tmp_path):
    write(tmp_path, lists())
    (tmp_path / "validation.txt").write_text(content, encoding="utf-8")
    assert f"validation.txt: {words}" in said(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1\n2\n".encode("utf-16"), "is text in UTF-16, as its byte-order mark says; save it as UTF-8"),
        (b"1\n\0", "validation.txt:2: a NUL byte"),
        (b"1\n\xff", "found '\\udcff' in line 2"),
    ],
)
def test_what_is_no_text_is_said_with_its_line(content, words, tmp_path):
    write(tmp_path, lists())
    (tmp_path / "validation.txt").write_bytes(content)
    assert words in said(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'<i8'", b"((((("),
        (b"'<i8'", b"[[[[["),
        (b"(", b"(" * 2000),
        (b"'descr'", b"descr"),
        (b"(80,)", b"(-1,)"),
        (b"\x93NUMPY", b"\x93numpy"),
    ],
)
def test_a_damaged_array_is_named_whatever_its_header_says(old, new, tmp_path):
    write(tmp_path, lists(), binary=("split1/train",))
    path = tmp_path / "split1" / "train.npy"
    content = path.read_bytes()
    path.write_bytes(content.replace(old, new, 1) if old in content else content[:40])
    assert f"{path}: " in said(tmp_path)


def test_no_list_is_left_out_without_a_word(tmp_path):
    """Its suffix in capitals, a link to nothing, a folder in its place: without it the split would be another."""
    found = lists()
    write(tmp_path, found)
    expected = read(tmp_path)
    (tmp_path / "validation.txt").rename(tmp_path / "validation.TXT")
    (tmp_path / "split1" / "train.txt").rename(tmp_path / "split1" / "Train.Txt")
    assert read(tmp_path).validation.tolist() == expected.validation.tolist() == sorted(found["validation"].tolist())
    (tmp_path / "validation.TXT").unlink()
    (tmp_path / "validation.txt").symlink_to("nowhere")
    assert "validation.txt" in said(tmp_path) and "No such file" in said(tmp_path)
    (tmp_path / "validation.txt").unlink()
    (tmp_path / "validation.txt").mkdir()
    assert f"{tmp_path / 'validation.txt'}: " in said(tmp_path)


def test_two_files_for_one_list_are_refused(tmp_path):
    write(tmp_path, lists())
    np.save(tmp_path / "split1" / "train.npy", np.arange(70))
    assert "train.npy and train.txt are two lists for one purpose; keep one of them" in said(tmp_path)


def test_lists_with_marks_and_other_line_ends_are_the_same(tmp_path):
    write(tmp_path, lists())
    expected, path = read(tmp_path), tmp_path / "split1" / "train.txt"
    for text in (
        "\ufeff" + path.read_text(),
        path.read_text().replace("\n", "\r\n"),
        path.read_text().replace("\n", " \r"),
    ):
        path.write_bytes(text.encode())
        assert read(tmp_path).train.tolist() == expected.train.tolist()
