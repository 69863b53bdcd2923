"""One number for a class in every part: numbers and names in folders, CSV files and lists, in every combination."""

import itertools
from pathlib import Path

import pytest

from lt_bench.config.compose import compose
from lt_bench.data.source import read_source
from lt_bench.errors import DataError
from lt_bench.preflight.validate import validate

NAMES = {
    "numbers": [str(label) for label in range(12)],
    "padded": [f"{label:03d}" for label in range(12)],
    "from 1": [str(label) for label in range(1, 13)],
    "words": ["owl", "cat", "dog", "eel", "fox", "gnu", "hen", "jay", "kid", "ant", "ram", "yak"],
}
FORMS = ("folder", "text", "csv", "csv_float", "csv_names")


def write(root, part, names, shift=0, folders=True):
    """``part`` in all forms, c + 1 images of class c; ``shift`` is the first number; without folders paths are flat."""
    rows = []
    for label, name in enumerate(names):
        (root / part / name).mkdir(parents=True)
        for number in range(label + 1):
            path = f"{part}/{name}/{label}_{number}.png"
            (root / path).touch()
            rows.append((path if folders else path.replace("/", "-"), label + shift, name))
    texts = {
        "text": "".join(f"{path} {label}\n" for path, label, _ in rows),
        "csv": "".join(f"{path},{label}\n" for path, label, _ in rows),
        "csv_float": "".join(f"{path},{label}.0\n" for path, label, _ in rows),
        "csv_names": "".join(f"{path},{name}\n" for path, _, name in rows),
    }
    for form, text in texts.items():
        head = "" if form == "text" else "path,label\n"
        (root / f"{part}_{form}{'.txt' if form == 'text' else '.csv'}").write_text(head + text)


def place(part, form):
    return part if form == "folder" else f"{part}_{form}{'.txt' if form == 'text' else '.csv'}"


def read(root, train, test, *words, num_classes=12):
    given = (f"dataset.train_list={place('train', train)}", f"dataset.test_list={place('test', test)}")
    root_word = f'dataset.root="{root}"'
    return read_source(
        validate(compose(["dataset=image_folder", root_word, f"dataset.num_classes={num_classes}", *given, *words]))
    )


def written_class(path):
    """The class that an image is of, as its file name says."""
    return int(Path(path).name.rpartition("-")[2].partition("_")[0])


def same_classes(lists):
    """Whether every image of a class has one number in both parts, and no other class has it."""
    pairs = {
        (written_class(name), label)
        for files in (lists.train, lists.test)
        for name, label in zip(files.names, files.labels.tolist(), strict=True)
    }
    return len(pairs) == len({written for written, _ in pairs}) == len({label for _, label in pairs})


@pytest.mark.parametrize("folders", [True, False], ids=["in folders", "flat"])
@pytest.mark.parametrize("names", NAMES)
def test_parts_in_any_two_forms_have_the_same_classes_or_are_refused(names, folders, tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES[names], folders=folders)
    accepted = set()
    for train, test in itertools.product(FORMS, FORMS):
        lists = read(tmp_path, train, test)
        if not lists.problems:
            accepted.add((train, test))
            assert same_classes(lists), (train, test)
            assert len(lists.train.names) == len(lists.test.names) == 78
    numbers, everything = {"text", "csv", "csv_float"}, set(itertools.product(FORMS, FORMS))
    sure = {(one, other) for one, other in everything if (one in numbers) == (other in numbers)}
    expected = everything if folders or names in ("numbers", "padded") else sure
    if names == "from 1":  # as numbers in a list, these are the numbers of other classes, or of none
        expected = {(one, other) for one, other in expected if "csv_names" not in (one, other)}
        expected |= {("folder", "csv_names")}
    assert accepted == expected


@pytest.mark.parametrize("forms", [("folder", "text"), ("text", "folder"), ("text", "csv")])
def test_one_image_in_another_folder_does_not_hide_another_order(forms, tmp_path):
    names = [*sorted(NAMES["numbers"])[6:], *sorted(NAMES["numbers"])[:6]]  # another order than that of the numbers
    for part in ("train", "test"):
        write(tmp_path, part, names)
        path = tmp_path / place(part, "text")
        path.write_text(path.read_text().replace(f"{part}/8/", f"{part}/7/", 1))
        (tmp_path / place(part, "csv")).write_text(
            "path,label\n" + "".join(f"{part}/{name}/{n}.png,{name}\n" for name in names for n in range(4))
        )
    lists = read(tmp_path, *forms)
    assert len(lists.problems) >= 6 and "dataset.classes=FILE" in str(lists.problems[0])
    assert f"label '{names.index('5')}' is that of" in " ".join(map(str, lists.problems)) or forms[1] == "csv"
    if forms[0] == "folder":
        (tmp_path / "order.txt").write_text("\n".join(names))
        assert read(tmp_path, *forms, "dataset.classes=order.txt").problems == []
        (tmp_path / "order.txt").write_text("\n".join(names[::-1]))
        assert len(read(tmp_path, *forms, "dataset.classes=order.txt").problems) >= 6


@pytest.mark.parametrize("forms", [("folder", "text"), ("text", "folder"), ("text", "csv")])
def test_labels_that_are_wrong_in_part_and_folders_that_are_no_classes_are_taken(forms, tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["numbers"])
        paths = [tmp_path / place(part, form) for form in ("text", "csv")]
        for path, mark in zip(paths, " ,", strict=True):
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if f"{mark}11\n" in line]  # the largest class in the folders of all
            wrong = [line.replace(f"{part}/11/", f"{part}/{number}/x") for number, line in enumerate(kept)]
            path.write_text("".join(line for line in lines if line not in kept) + "".join(wrong))
    assert read(tmp_path, *forms).problems == []
    for part in ("train", "test"):
        for form, head, mark in (("text", "", " "), ("csv", "path,label\n", ",")):
            rows = [f"{part}/{n % 5}/{label}_{n}.png{mark}{label}\n" for label in range(12) for n in range(10)]
            (tmp_path / place(part, form)).write_text(head + "".join(rows))
    assert read(tmp_path, *forms).problems == []


@pytest.mark.parametrize(("train", "test"), [("folder", "text"), ("text", "folder"), ("csv", "csv_names")])
def test_a_class_that_one_part_lacks_shifts_no_other(train, test, tmp_path):
    for names in NAMES:
        root = tmp_path / names
        write(root, "train", NAMES[names])
        write(root, "test", NAMES[names])
        for missing in (0, 5, 11):
            kept = root / f"without {missing}"
            write(kept, "train", NAMES[names])
            (kept / "test").mkdir()
            for form in FORMS[1:]:
                lines = (root / place("test", form)).read_text().splitlines(keepends=True)
                text = "".join(line for line in lines if f"/{missing}_" not in line)
                (kept / place("test", form)).write_text(text)
            for label, name in enumerate(NAMES[names]):
                if label != missing:
                    (root / "test" / name).rename(kept / "test" / name)
            lists = read(kept, train, test)
            if names == "from 1" and test == "csv_names":
                assert lists.problems  # the numbers of other classes
            else:
                assert lists.problems == [] and same_classes(lists)
                (told,) = lists.without_images(lists.test)
                assert NAMES[names][missing] in told
            for label, name in enumerate(NAMES[names]):
                if label != missing:
                    (kept / "test" / name).rename(root / "test" / name)


def test_a_name_among_numbers_is_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["numbers"])
    path = tmp_path / "test_csv.csv"
    path.write_text(path.read_text().replace(",7\n", ",x\n"))
    problems = [str(problem) for problem in read(tmp_path, "csv", "csv").problems]
    assert len(problems) == 1 and "class 'x' (8 images) is none of the numbers in" in problems[0]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["words"])
    (tmp_path / "order.txt").write_text("\n".join(NAMES["words"]))
    for path in [*tmp_path.glob("*.csv"), *tmp_path.glob("*.txt")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for form in FORMS[1:]:
        lists = read(tmp_path, form, "folder", "dataset.classes=order.txt")
        assert lists.problems == [] and same_classes(lists) and lists.classes == NAMES["words"]
        assert all((tmp_path / name).exists() for name in lists.train.names)


def test_numbers_beside_names_need_an_order_that_is_written_down(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["words"], folders=False)
    (problem,) = read(tmp_path, "folder", "text").problems
    assert "its labels are numbers, the classes of" in problem.what and "dataset.classes=FILE" in problem.what
    (tmp_path / "order.txt").write_text("\n".join(NAMES["words"]) + "\n\n")
    for train, test in itertools.product(FORMS, FORMS):
        lists = read(tmp_path, train, test, "dataset.classes=order.txt")
        assert lists.problems == [] and same_classes(lists)
        assert (lists.classes, lists.class_rule) == (NAMES["words"], "dataset.classes")
    (tmp_path / "order.txt").write_text("\n".join(NAMES["words"][:11]))
    assert "11 names, and dataset.num_classes=12" in [
        problem.what for problem in read(tmp_path, "text", "folder", "dataset.classes=order.txt").problems
    ]
    (tmp_path / "order.txt").write_text("cat\ncat\n")
    with pytest.raises(DataError, match="names 'cat' twice"):
        read(tmp_path, "text", "folder", "dataset.classes=order.txt")
    with pytest.raises(DataError, match=r"dataset\.classes=.*none\.txt cannot be read"):
        read(tmp_path, "text", "folder", "dataset.classes=none.txt")


def test_an_order_that_contradicts_the_folders_in_the_paths_is_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["words"])
    lists = read(tmp_path, "folder", "text", "dataset.classes=alphabetical")
    assert "label '0' is 'ant' by dataset.classes, and its images lie in 'owl'" in [one.what for one in lists.problems]
    assert read(tmp_path, "folder", "csv_names", "dataset.classes=alphabetical").problems == []


def test_numbers_beyond_an_order_that_is_too_short_are_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["words"])
    (tmp_path / "order.txt").write_text("owl\ncat\nyak\n")  # yak, whose number in the lists is 11, at place 2
    problems = [str(one) for one in read(tmp_path, "text", "text", "dataset.classes=order.txt").problems]
    assert "3 names, and dataset.num_classes=12" in " ".join(problems)


def test_names_are_numbered_by_the_alphabet_and_numbers_by_their_size(tmp_path):
    for names in ("words", "from 1"):
        for part in ("train", "test"):
            write(tmp_path / names, part, NAMES[names])
    words = read(tmp_path / "words", "folder", "folder")
    assert (words.classes, words.class_rule) == (sorted(NAMES["words"]), "name")
    assert read(tmp_path / "from 1", "folder", "folder").classes == NAMES["from 1"]


def test_a_training_class_without_images_is_said_by_name(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, NAMES["words"])
    path = tmp_path / "train_text.txt"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "/fox/" not in line))
    (tmp_path / "order.txt").write_text("\n".join(NAMES["words"]))
    problems = [problem.what for problem in read(tmp_path, "text", "text", "dataset.classes=order.txt").problems]
    assert problems == ["class 4 (fox) has no image (dataset.num_classes=12)"]


@pytest.mark.parametrize("num_classes", [3, "null"])
@pytest.mark.parametrize("others", [["0", "2"], ["2", "7"]], ids=["from 0", "with gaps"])
def test_two_folders_of_one_number_are_refused(others, num_classes, tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, [*others, "1", "01"])
    problems = [str(problem) for problem in read(tmp_path, "folder", "folder", num_classes=num_classes).problems]
    assert problems == [f"{tmp_path / part}: the folders '01' and '1' are one class" for part in ("train", "test")]


def test_classes_whose_names_differ_in_little_are_said(tmp_path):
    for part in ("train", "test"):
        write(tmp_path, part, ["Cat", "cat ", "dog", "3", "03", "3a"])
    lists = read(tmp_path, "folder", "folder", num_classes=6)
    assert lists.problems == [] and len(lists.remarks) == 2
    assert "train: 2 classes whose names differ in little: 'Cat', 'cat '; where they are one" in lists.remarks[1]
    assert "'03', '3'" in lists.remarks[0]
