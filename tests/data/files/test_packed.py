"""The packed copy: the pixels of the files in the same form, found damage, and never a half-written copy."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from filelock import FileLock
from helpers import image_trees
from helpers.chain import assert_identical, execute, results, tiny
from helpers.command_line import wait_for
from helpers.odd_folders import deep, encoded, turned

from lt_bench.config.compose import compose
from lt_bench.data.__main__ import main
from lt_bench.data.files.packed import IMAGES, INDEX, PackedImages, _fit
from lt_bench.data.files.packing_journal import Unfinished
from lt_bench.data.files.pixels import FileImages, open_images
from lt_bench.data.files.rgb import BadImage
from lt_bench.errors import DataError, UsageError
from lt_bench.preflight.validate import validate

FORMS = {"raw": ("dataset.short_side=20",), "jpeg": ("dataset.short_side=20", "dataset.jpeg_quality=90")}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "data").mkdir()
    return image_trees.image_lists(tmp_path / "data")


def prepare(tree, *words):
    packed = tree.parent / "packed"
    status = main(["prepare", *image_trees.overrides(tree), f"dataset.packed={packed}", "progress=false", *words])
    return status, packed


def names(tree, part="train"):
    return (tree / "lists" / f"ImageNet_LT_{part}.txt").read_text().split()[::2]


def opened(tree, *words):
    return open_images(validate(compose([*image_trees.overrides(tree), *words])), tree, names(tree))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_packed_copy_has_the_pixels_of_files_read_in_its_form(form, workers, tree, capsys):
    status, packed = prepare(tree, *FORMS[form], f"dataset.workers={workers}")
    assert status == 0
    assert capsys.readouterr().out.startswith(f"{packed}: 120 images, 0.00 GiB; train on it with dataset.packed=")
    files, copy = opened(tree, *FORMS[form]), opened(tree, *FORMS[form], f"dataset.packed={packed}")
    assert isinstance(files, FileImages) and isinstance(copy, PackedImages) and len(copy) == 80
    for position in range(80):
        np.testing.assert_array_equal(copy[position], files[position])
        assert min(copy[position].shape[:2]) == 20  # the pictures have 24 pixels at least


def test_an_image_in_two_lists_is_packed_once(tree, capsys):
    image_trees.write_list(tree / "lists" / "probe.txt", [(name, 0) for name in names(tree)[:5]])
    assert prepare(tree, *FORMS["raw"], "dataset.probe_list=probe.txt")[0] == 0
    assert ": 120 images, " in capsys.readouterr().out


def test_images_that_are_small_already_stay_as_they_are(tree):
    assert prepare(tree, "dataset.short_side=1000")[0] == 0
    copy = opened(tree, "dataset.short_side=1000", f"dataset.packed={tree.parent / 'packed'}")
    plain = opened(tree)
    np.testing.assert_array_equal(copy[7], plain[7])


def odd_images(tree):
    """Images of the list that the two rules for pixels read in another way."""
    values = np.linspace(0, 65535, 30 * 40).astype(np.uint16).reshape(30, 40)
    layer = image_trees.picture(0, 1).convert("RGBA")
    layer.putalpha(100)
    odd = {0: turned(image_trees.picture(0, 0), 6), 1: encoded(layer), 2: deep(values)}
    for position, content in odd.items():
        (tree / names(tree)[position]).write_bytes(content)
    return odd.keys()


@pytest.mark.parametrize("form", FORMS)
def test_a_packed_copy_has_the_pixels_that_are_shown(form, tree, capsys):
    odd_images(tree)
    words = (*FORMS[form], "dataset.pixels=shown")
    status, packed = prepare(tree, *words)
    assert status == 0 and "dataset.pixels=shown\n" in capsys.readouterr().out
    files, copy = opened(tree, *words), opened(tree, *words, f"dataset.packed={packed}")
    for position in range(8):
        np.testing.assert_array_equal(copy[position], files[position])
    assert (
        copy[0].shape[:2] == tuple(files[0].shape[:2]) and len({tuple(pixel) for pixel in copy[2].reshape(-1, 3)}) > 9
    )
    with pytest.raises(UsageError, match="another form .* dataset.pixels=plain; set .* dataset.pixels=shown"):
        opened(tree, *FORMS[form], f"dataset.packed={packed}")


def test_a_copy_that_does_not_name_its_rule_for_pixels_is_plain(tree, monkeypatch):
    from lt_bench.data.files import packed as module

    real = json.dumps

    def older(header):
        return real({key: value for key, value in header.items() if key != "pixels"})

    with monkeypatch.context() as patch:
        patch.setattr(module.json, "dumps", lambda value: older(value) if isinstance(value, dict) else real(value))
        _, packed = prepare(tree, *FORMS["raw"])
    words = (*FORMS["raw"], f"dataset.packed={packed}")
    assert opened(tree, *words).form.pixels == "plain"
    with pytest.raises(UsageError, match="dataset.pixels=shown; set .* dataset.pixels=plain"):
        opened(tree, *words, "dataset.pixels=shown")


def test_the_default_short_side_is_256(tree, capsys):
    status, packed = prepare(tree)
    assert status == 0 and "dataset.short_side=256 dataset.jpeg_quality=null" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"read with dataset.short_side=null .*; set dataset.short_side=256 "):
        opened(tree, f"dataset.packed={packed}")
    words = [*image_trees.overrides(tree), f"dataset.packed={packed}", "progress=false"]
    assert main(["check", *words]) == 2 and main(["check", *words, "dataset.short_side=256"]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_record_is_named(form, tree, capsys):
    _, packed = prepare(tree, *FORMS[form])
    with (packed / IMAGES).open("r+b") as stream:
        stream.seek(100)
        byte = stream.read(1)[0]
        stream.seek(100)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(BadImage, match=r"n0000_0\.JPEG is damaged in the packed copy .* \(CRC-32\)"):
        opened(tree, *FORMS[form], f"dataset.packed={packed}")[0]
    words = [*image_trees.overrides(tree), *FORMS[form], f"dataset.packed={packed}", "progress=false"]
    capsys.readouterr()
    assert main(["check", *words]) == 1
    assert (
        f"{tree / 'lists' / 'ImageNet_LT_train.txt'}:1: train/n0000/n0000_0.JPEG is damaged" in capsys.readouterr().out
    )


def test_a_changed_index_or_a_cut_file_is_refused(tree):
    _, packed = prepare(tree, *FORMS["raw"])
    words = (*FORMS["raw"], f"dataset.packed={packed}")
    whole = (packed / IMAGES).read_bytes()
    (packed / IMAGES).write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"has {len(whole) - 1} bytes, the index .* expects {len(whole)} .*prepare"):
        opened(tree, *words)
    (packed / IMAGES).write_bytes(whole)
    index = bytearray((packed / INDEX).read_bytes())
    index[-200] ^= 1
    (packed / INDEX).write_bytes(index)
    with pytest.raises(DataError, match="does not have the SHA-256 in index.sha256: damaged or changed"):
        opened(tree, *words)
    (packed / INDEX).unlink()
    with pytest.raises(DataError, match="is not a complete packed copy"):
        opened(tree, *words)


def test_broken_images_are_all_named_or_left_out(tree, capsys):
    for number in (2, 3):
        path = tree / f"train/n0002/n0002_{number}.JPEG"
        path.write_bytes(path.read_bytes()[:300])
    status, packed = prepare(tree)
    said = capsys.readouterr().err
    assert status == 1 and "n0002_2.JPEG is not a complete image" in said and "n0002_3.JPEG is not a complete" in said
    assert "dataset.on_bad_image=skip" in said and not packed.exists()
    status, packed = prepare(tree, "dataset.on_bad_image=skip")
    assert status == 0 and "118 images" in capsys.readouterr().out and entries(tree) == ["data", "packed"]
    copy = opened(tree, "dataset.short_side=256", f"dataset.packed={packed}")
    with pytest.raises(BadImage, match=r"n0002_2\.JPEG is not in the packed copy"):
        copy[names(tree).index("train/n0002/n0002_2.JPEG")]


def test_a_folder_that_is_there_is_not_overwritten(tree, capsys):
    assert prepare(tree)[0] == 0
    before = (tree.parent / "packed" / INDEX).read_bytes()
    assert prepare(tree, "dataset.short_side=30")[0] == 1
    assert "is there already" in capsys.readouterr().err
    assert (tree.parent / "packed" / INDEX).read_bytes() == before


def entries(tree):
    return sorted(entry.name for entry in tree.parent.iterdir())


def contents(packed):
    return {path.name: path.read_bytes() for path in packed.iterdir()}


@pytest.fixture
def interrupted(tree, monkeypatch):
    """A copy that was stopped at its 50th image, the names read until then, and what an undisturbed one is."""
    from lt_bench.data.files import packed as module

    _, whole = prepare(tree)
    expected = contents(whole)
    shutil.rmtree(whole)
    read, record = [], module._record

    def stopped(root, form, name):
        read.append(name)
        if len(read) == 50:
            raise KeyboardInterrupt
        return record(root, form, name)

    monkeypatch.setattr(module, "_record", stopped)
    assert prepare(tree)[0] == 130 and entries(tree) == [".packed.unfinished", "data"]
    return tree.parent / ".packed.unfinished", read, expected


def test_an_interrupted_copy_goes_on_and_ends_as_an_undisturbed_one(tree, interrupted):
    _, read, expected = interrupted
    assert expected.keys() == {"images.bin", "index.npz", "index.sha256"}
    status, packed = prepare(tree)
    assert status == 0 and contents(packed) == expected and entries(tree) == ["data", "packed"]
    assert len(read) == 121 and len(set(read)) == 120  # the image at the interruption was read twice


@pytest.mark.parametrize(
    ("file", "harm", "lost"),
    [
        ("images.bin", lambda data: data[:-10], 1),
        ("images.bin", lambda data: data + b"more", 0),
        ("images.bin", lambda data: bytes([data[0] ^ 1]) + data[1:], 49),
        ("journal.jsonl", lambda data: data[:-5], 1),
        ("journal.jsonl", lambda data: data[:-5] + b"\0\0\0\0\n", 1),
        ("journal.jsonl", lambda data: data + b"[1, 2]\n", 0),
        ("journal.jsonl", lambda data: b"", 49),
    ],
)
def test_what_is_not_whole_in_an_interrupted_copy_is_read_again(file, harm, lost, tree, interrupted):
    folder, read, expected = interrupted
    path = folder / file
    path.write_bytes(harm(path.read_bytes()))
    status, packed = prepare(tree)
    assert status == 0 and contents(packed) == expected
    assert len(read) == 121 + lost


def test_an_interrupted_copy_in_another_form_begins_anew(tree, interrupted):
    _, read, _ = interrupted
    status, packed = prepare(tree, "dataset.short_side=30")
    assert status == 0 and len(read) == 50 + 120
    assert opened(tree, "dataset.short_side=30", f"dataset.packed={packed}")[0].min() >= 0


def test_a_copy_is_written_by_one_process(tree, interrupted, capsys):
    folder, _, _ = interrupted
    with FileLock(folder / "lock"):
        assert prepare(tree)[0] == 1
    assert f"another process is writing {folder}" in capsys.readouterr().err
    assert prepare(tree)[0] == 0


def test_a_copy_needs_a_place_and_sound_lists(tree, capsys):
    assert main(["prepare", *image_trees.overrides(tree)]) == 2
    assert "dataset.packed=DIR" in capsys.readouterr().err
    (tree / "lists" / "ImageNet_LT_train.txt").write_text("../a 0\n")
    assert prepare(tree)[0] == 1


def test_a_copy_that_a_process_is_handed_maps_the_file_itself(tree):
    import pickle

    _, packed = prepare(tree, *FORMS["raw"])
    copy = opened(tree, *FORMS["raw"], f"dataset.packed={packed}")
    expected = copy[5]
    handed = pickle.dumps(copy)
    assert len(handed) < 20_000
    np.testing.assert_array_equal(pickle.loads(handed)[5], expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_run_on_a_packed_copy_is_the_run_on_its_files(form, tree, tmp_path):
    _, packed = prepare(tree, *FORMS[form])
    words = [*image_trees.overrides(tree), *FORMS[form], "method=ce", "stage_two=cb", "train.batch_size=16"]
    files = results(*execute(tiny(tmp_path / "files", *words)))
    copy = results(*execute(tiny(tmp_path / "copy", *words, f"dataset.packed={packed}", "dataset.workers=1")))
    assert_identical(copy, files)


def test_a_copy_in_another_form_is_wrong_usage(tree, tmp_path):
    _, packed = prepare(tree)
    words = [*image_trees.overrides(tree), "method=ce", f"dataset.packed={packed}"]
    with pytest.raises(UsageError, match="dataset.short_side=256"):
        execute(tiny(tmp_path / "runs", *words))


def test_a_terminated_copy_goes_on(tree):
    words = [*image_trees.overrides(tree), f"dataset.packed={tree.parent / 'packed'}"]
    script = "import sys, time\nimport lt_bench.data.files.packed as packed\nrecord = packed._record\n"
    script += "packed._record = lambda *words: (time.sleep(0.5), record(*words))[1]\n"
    script += "from lt_bench.data.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
    (tree.parent / "slow.py").write_text(script)
    command = [sys.executable, str(tree.parent / "slow.py"), "prepare", *words, "dataset.workers=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(tree.parent.glob(".packed.unfinished/images.bin")))
        process.terminate()
        assert process.wait() == 130 and "interrupted" in process.stderr.read()
    assert entries(tree) == [".packed.unfinished", "data", "slow.py"]
    assert prepare(tree)[0] == 0 and entries(tree) == ["data", "packed", "slow.py"]


def arrays_of(**changes):
    one = {
        "header": {"version": 2, "short_side": None, "jpeg_quality": None},
        "offsets": np.array([0, 6]),
        "sizes": np.array([[1, 2]], np.int32),
        "crc32": np.array([0], np.uint32),
        "names": ["a"],
    }
    return {**one, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"header": None},
        {"header": {"version": 2}},
        {"offsets": np.array([0, 7])},
        {"offsets": np.array([1, 7])},
        {"offsets": np.array(3)},
        {"offsets": np.array([0.0, 6.0])},
        {"sizes": np.array([1, 2])},
        {"crc32": np.array(["a"])},
        {"crc32": np.array([], np.uint32)},
        {"file_sizes": np.array([1, 2])},
        {"file_sha256": np.zeros((1, 3), np.uint8)},
    ],
)
def test_an_index_whose_parts_do_not_fit_is_none(changes):
    assert _fit(**arrays_of()) and not _fit(**arrays_of(**changes))


ENTRIES = ["[]", "3", "null", "\\udcff", "[" * 5000, '["a", 1, 1, 1, 1000000000000, "", 1]']
ENTRIES += ['["a", 1, 1, 1, -1, "", 1]', '["a", 1, 1, null, 0, "", 1]']


@pytest.mark.parametrize("line", ENTRIES)
def test_a_journal_is_read_up_to_what_is_no_entry(line, tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(f"purpose\n{line}\n".encode("utf-8", "surrogateescape"))
    with Unfinished(tmp_path, "images.bin", "purpose") as copy:
        assert copy.entries == []


@pytest.mark.parametrize("name", ["images.bin", "journal.jsonl"])
def test_a_copy_that_cannot_be_gone_on_with_says_so(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{tmp_path} cannot be gone on with .*; delete it"):
        Unfinished(tmp_path, "images.bin", "purpose")
