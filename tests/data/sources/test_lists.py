"""Lists of image files in their three forms, and every kind of line that is wrong."""

import os

import pytest

from lt_bench.data.sources.classes import settle
from lt_bench.data.sources.lists import leaves_root, numbered, read_names, read_rows
from lt_bench.errors import DataError

OUTSIDE = "is absolute or goes up; write the path below the data root"


def read(path, num_classes=3, train=None):
    """The rows of a list, the names of its classes where it has some, and its problems, beside a training list."""
    parts = {"train": read_rows(train or path, path.parent), "test": read_rows(path, path.parent)}
    found = settle(parts, num_classes)
    files, problems = numbered(parts["test"], found.numbers["test"])
    rows = list(zip(files.names, files.labels.tolist(), files.lines.tolist(), strict=True))
    problems = sorted([*found.problems["test"], *problems], key=lambda problem: problem.line)
    return rows, found.names if found.rule == "name" else None, problems


def test_text_lines_of_path_and_label(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a/1.jpg 0\nb/with space.jpg 2\n\n  c/3.jpg 1  \n")
    assert read(path) == ([("a/1.jpg", 0, 1), ("b/with space.jpg", 2, 2), ("c/3.jpg", 1, 4)], None, [])


def test_a_csv_file_with_numbers_or_names(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('path,label\na.jpg,2\n"b, c.jpg",0\n')
    assert read(path) == ([("a.jpg", 2, 2), ("b, c.jpg", 0, 3)], None, [])
    path.write_text("path,label\na.jpg,wolf\nb.jpg,2\nc.jpg,bear\n")
    rows = [("a.jpg", 2, 2), ("b.jpg", 0, 3), ("c.jpg", 1, 4)]
    assert read(path) == (rows, ["2", "bear", "wolf"], [])


def test_a_test_list_numbers_its_classes_as_the_training_list_does(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.jpg,wolf\nb.jpg,fox\nc.jpg,fox\nd.jpg,elk\n")
    (tmp_path / "train.csv").write_text("path,label\n1.jpg,wolf\n2.jpg,lynx\n3.jpg,bear\n")
    rows, classes, problems = read(path, train=tmp_path / "train.csv")
    assert rows == [("a.jpg", 2, 2)] and classes == ["bear", "lynx", "wolf"]
    assert [str(problem) for problem in problems] == [
        f"{path}:3: class 'fox' (2 images) is not among the 3 of the training list",
        f"{path}:5: class 'elk' (1 image) is not among the 3 of the training list",
    ]


def test_a_folder_of_classes_in_alphabetical_order(tmp_path):
    for name in ("train/b/2.JPEG", "train/b/1.png", "train/a/x/9.jpg", "train/a/notes.txt", "train/stray.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rows, classes, problems = read(tmp_path / "train")
    assert rows == [("train/a/x/9.jpg", 0, 0), ("train/b/1.png", 1, 0), ("train/b/2.JPEG", 1, 0)]
    assert (classes, problems) == (["a", "b"], [])
    _, _, problems = read(tmp_path / "train", num_classes=1)
    assert [str(problem) for problem in problems] == [
        f"{tmp_path / 'train'}: class 'b' (2 images) is number 2 of dataset.num_classes=1; set dataset.num_classes=2"
    ]


def test_every_wrong_line_is_named_at_once(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(
        "ok.jpg 0\nok.jpg 1\n../up.jpg 0\n/etc/passwd 0\nmany.jpg 3\nneg.jpg -1\nword\nx.jpg one\na/../b 0\n"
    )
    rows, _, problems = read(path)
    assert rows == [("ok.jpg", 0, 1)]
    assert [(problem.line, problem.what) for problem in problems] == [
        (2, "ok.jpg is named before, in line 1, with the label '0'"),
        (3, f"'../up.jpg' {OUTSIDE}"),
        (4, f"'/etc/passwd' {OUTSIDE}"),
        (5, "label '3' is not one of 0 .. 2"),
        (6, "label '-1' is not one of 0 .. 2"),
        (7, "'word' is no path and label"),
        (8, "label 'one' is not one of 0 .. 2"),
        (9, f"'a/../b' {OUTSIDE}"),
    ]


def test_a_csv_file_without_header_or_with_other_cells(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("a.jpg,0\n")
    what = "a CSV list begins with the line «path,label», not «a.jpg,0»"
    assert [str(problem) for problem in read(path)[2]] == [f"{path}:1: {what}"]
    path.write_text("path,label\na.jpg,0,0\nb.jpg,1\n")
    rows, _, problems = read(path)
    assert rows == [("b.jpg", 1, 3)] and str(problems[0]) == f"{path}:2: 3 cells, expected path,label"


def test_a_list_that_is_no_text_or_not_there(tmp_path):
    with pytest.raises(DataError, match="none.txt cannot be read as a list of images"):
        read(tmp_path / "none.txt")
    for data, said in (
        ("a.jpg 0\n".encode("utf-16"), r"list.txt is text in UTF-16, as its byte-order mark says; save it as UTF-8"),
        ("a.jpg 0\n".encode("utf-16-le"), r"list.txt:1: a NUL byte, so this is no text, .*; save it as UTF-8"),
        (b"a.jpg 0\nb\0.jpg 0\n", "list.txt:2: a NUL byte"),
    ):
        (tmp_path / "list.txt").write_bytes(data)
        with pytest.raises(DataError, match=said):
            read(tmp_path / "list.txt")


FORMS = {
    "Mac": lambda text: text.replace("\n", "\r"),
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "mark": lambda text: "\ufeff" + text,
    "marks of joined files": lambda text: "\ufeff" + text.replace("\n", "\n\ufeff", 1),
    "blank lines": lambda text: "\n  \n" + text.replace("\n", " \n\n"),
    "tabs": lambda text: text.replace(" ", "\t"),
    "comments": lambda text: "# made by hand 3\n" + text,
    "backslashes": lambda text: text.replace("/", "\\"),
    "spelt": lambda text: text.replace("a/", ".//a/./"),
}


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".csv", ".CSV"])
@pytest.mark.parametrize("form", FORMS)
def test_a_list_in_any_spelling_is_the_same_list(form, suffix, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.jpg", "2 é.jpg"):
        (tmp_path / "a" / name).touch()
    path, mark = tmp_path / f"list{suffix}", "," if "csv" in suffix.lower() else " "
    text = f"a/1.jpg{mark}0\na/2 é.jpg{mark}2\n"
    if mark == ",":
        text = text if form in ("tabs", "comments") else f"Path, label\n{text}"
        text = FORMS[form](text) if form not in ("tabs", "comments") else f"path,label\n{text}"
    else:
        text = FORMS[form](text).replace("2\té", "2 é")
    path.write_bytes(text.encode())
    rows, _, problems = read(path)
    assert problems == [] and [row[:2] for row in rows] == [("a/1.jpg", 0), ("a/2 é.jpg", 2)]
    said = read_rows(path, tmp_path).remarks
    assert said == ((f"{path}: \\ is read as / in 2 paths",) if form == "backslashes" else ())


def test_a_name_with_a_backslash_or_a_hash_is_a_name_where_a_file_has_it(tmp_path):
    for name in ("a\\1.jpg", "#2.jpg"):
        (tmp_path / name).touch()
    path = tmp_path / "list.txt"
    path.write_text("a\\1.jpg 0\n#2.jpg 0\n#3.jpg 0\nb\\1.jpg 0\n#2.jpg \n# 2.jpg\n")
    rows, _, problems = read(path)
    assert [row[:2] for row in rows] == [("a\\1.jpg", 0), ("#2.jpg", 0)]
    assert sorted(map(str, problems)) == [
        f"{path}:4: {'b' + chr(92) + '1.jpg'!r} is no file below the root, with \\ or with / for it",
        f"{path}:5: '#2.jpg' is no path and label",
    ]


def test_names_in_another_encoding_are_used_where_files_have_them_and_else_refused(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    path = tmp_path / "list.txt"
    path.write_bytes(b"caf\xe9.jpg 0\nth\xe9.jpg 1\n")
    rows, _, problems = read(path)
    assert [os.fsencode(row[0]) for row in rows] == [b"caf\xe9.jpg"]
    assert "'th\\udce9.jpg' is not written in UTF-8, and no file has this name; save the list as" in problems[0].what


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;label\na.jpg;0\n", "not «path;label»; separate cells by commas"),
        ("image,class\na.jpg,0\n", "begins with the line «path,label», not «image,class»"),
        ("path,label\n,0\n", "2: a line without a path or without a label"),
        ("path,label\na.jpg,\n", "2: a line without a path or without a label"),
        ('path,label\na.jpg,0\n"b.jpg,1\n', "3: no line of a CSV file"),
        ('path,label\n"a"b.jpg,0\n', "2: no line of a CSV file"),
        ("path,label\na.jpg,1\nb.jpg,+1\n", "the labels '1' and '+1' are one number and would be two classes"),
        ("path,label\na.jpg,1\nb.jpg,１\n", "the labels '1' and '１' are one number and would be two classes"),
    ],
)
def test_a_csv_file_that_would_be_read_as_something_else(text, said, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(text)
    try:
        words = "\n".join(str(problem) for problem in read(path)[2])
    except DataError as error:
        words = str(error)
    assert said in words and words.startswith(str(path))


@pytest.mark.parametrize("label", ["-1", "3", "+1", "１", "1.5", "1e0", "99999999999999999999", "NaN", "0x1"])
def test_what_is_no_class_number_of_a_text_list(label, tmp_path):
    (tmp_path / "list.txt").write_text(f"a.jpg 0\nb.jpg {label}\n", encoding="utf-8")
    (problem,) = read(tmp_path / "list.txt")[2]
    assert problem.what.startswith(f"label {label!r} is not one of 0 .. 2") and problem.line == 2
    assert label.isascii() or problem.what.endswith("the digits 0 to 9")


def test_names_of_classes_in_any_spelling(tmp_path):
    for text in ("\ufeffcat\r\n\r\n dog \r\n", "cat\rdog", "cat\n\n\ufeffdog\n"):
        (tmp_path / "names").write_text(text, newline="", encoding="utf-8")
        assert read_names(tmp_path / "names") == ["cat", "dog"]
    (tmp_path / "names").write_text("cat\u2028dog\n", encoding="utf-8")
    assert read_names(tmp_path / "names") == ["cat\u2028dog"]
    (tmp_path / "names").write_text("\n")
    with pytest.raises(DataError, match="names has no line with a name"):
        read_names(tmp_path / "names")


def test_a_folder_of_classes_outside_the_root(tmp_path):
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "1.jpg").touch()
    with pytest.raises(DataError, match="other cannot be read as a list of images .* set dataset.root to"):
        read_rows(tmp_path / "other", tmp_path / "root")
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError, match="set dataset.root to"):
        read_rows(tmp_path / "root" / ".." / "other", tmp_path / "root")


@pytest.mark.parametrize("name", ["/a", "..", "a/..", "../a", "a/../../b", "\\a", "..\\a", "C:\\a", "C:a", "a\0b"])
def test_paths_that_leave_the_root(name):
    assert leaves_root(name)


@pytest.mark.parametrize(
    "name", ["a", "a/b", "a..b/c..jpg", ".../a", "a b/c.jpg", "./a", "0:ant/1.jpg", "1: bee/2.jpg"]
)
def test_paths_that_stay(name):
    assert not leaves_root(name)


def test_the_checksum_is_of_paths_and_labels_in_order(tmp_path):
    texts = ("a.jpg 0\nb.jpg 1\n", "b.jpg 1\na.jpg 0\n", "a.jpg 0\nb.jpg 2\n", "path,label\na.jpg,0\nb.jpg,1\n")
    sums = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}{'.csv' if 'path' in text else '.txt'}"
        path.write_text(text)
        rows = read_rows(path, tmp_path)
        sums.append(numbered(rows, {"0": 0, "1": 1, "2": 2})[0].sha256())
    assert sums[0] == sums[3] and len(set(sums)) == 3


@pytest.mark.parametrize("folder", ["0:ant", "C:", "a: b", "b\\c"])
def test_a_folder_of_any_name_is_a_class(folder, tmp_path):
    """Nobody wrote its path, so that it leads nowhere else."""
    (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / folder / "1.jpg").touch()
    written = read_rows(tmp_path / "data", tmp_path / "data")
    files, problems = numbered(written, {folder: 0})
    classes = settle({"train": written}, None).names
    assert files.names == [f"{folder}/1.jpg"] and classes == [folder] and problems == []


def test_lines_of_path_and_name(tmp_path):
    """Where no label is a number, all are names; one number makes them typing errors."""
    path = tmp_path / "list.txt"
    path.write_text("a.jpg wolf\nb.jpg bear\nc.jpg wolf\n")
    rows = [("a.jpg", 1, 1), ("b.jpg", 0, 2), ("c.jpg", 1, 3)]
    assert read(path, None) == read(path, 2) == (rows, ["bear", "wolf"], [])
    path.write_text("a.jpg wolf\nb.jpg 0\nc.jpg 1\n")
    rows, classes, (problem,) = read(path, 2)
    assert rows == [("b.jpg", 0, 2), ("c.jpg", 1, 3)] and classes is None
    assert str(problem) == f"{path}:1: label 'wolf' is not one of 0 .. 1"


def test_blanks_before_a_quote_belong_to_no_name(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('path,label\n"a, b.jpg", "wolf"\nc.jpg, "bear, brown"\n')
    assert read(path, 2) == ([("a, b.jpg", 1, 2), ("c.jpg", 0, 3)], ["bear, brown", "wolf"], [])


def test_one_name_in_two_spellings_of_unicode(tmp_path):
    path, train = tmp_path / "list.csv", tmp_path / "train.csv"
    path.write_text("path,label\na.jpg,caf\u00e9\nb.jpg,cafe\u0301\n", encoding="utf-8")
    (problem,) = read(path, None)[2]
    assert problem.what.startswith(r"the labels 'caf\xe9' and 'cafe\u0301' are one name and would be two classes")
    path.write_text("path,label\na.jpg,cafe\u0301\nb.jpg,Bear\nc.jpg,fox\n", encoding="utf-8")
    train.write_text("path,label\n1.jpg,caf\u00e9\n2.jpg,bear\n", encoding="utf-8")
    coffee, bear, fox = (problem.what for problem in read(path, None, train)[2])
    assert coffee.endswith(r"; 'caf\xe9' is, and this is 'cafe\u0301'")
    assert bear.endswith("; 'bear' is, and this is 'Bear'") and fox.endswith("of the training list")
