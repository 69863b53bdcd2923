"""SHA-256 of files: kept while a file stays what it is, by several processes, and without a place to keep them."""

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident

import pytest

import lt_bench.data.files.digests as module
from lt_bench.data.files.digests import UNREADABLE, cache_folder, digests

LONG_AGO = -10 * module.SETTLED_NS


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The paths that are read, with a cache of its own, in which files count as settled at once."""
    found = []
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SETTLED_NS", LONG_AGO)
    monkeypatch.setattr(
        module, "digest_of", lambda path, real=module.digest_of: found.append(os.path.basename(path)) or real(path)
    )
    return found


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"image %d" % number)
    return folder


NAMES = [f"{number}.png" for number in range(5)]


def sums(root, names=NAMES):
    return [digest.sha256 for digest in digests(str(root), names, False)]


def test_every_file_is_read_once(root, read):
    expected = [hashlib.sha256(b"image %d" % number).hexdigest() for number in range(5)]
    assert sums(root) == expected and sorted(read) == NAMES
    assert sums(root) == expected and len(read) == 5
    assert [digest.size for digest in digests(str(root), NAMES[::-1], False)] == [7] * 5 and len(read) == 5


def test_changed_content_is_seen_whatever_its_size_and_time(root, read):
    before = sums(root)
    path = root / "2.png"
    status = path.stat()
    path.write_bytes(b"IMAGE 2")  # in place
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size and path.stat().st_mtime_ns == status.st_mtime_ns
    after = sums(root)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, True, True]
    assert read[5:] == ["2.png"]
    other = root / "other"
    other.write_bytes(b"Image 3")  # another file under the old name
    os.utime(other, ns=(status.st_atime_ns, (root / "3.png").stat().st_mtime_ns))
    other.replace(root / "3.png")
    assert sums(root)[3] == hashlib.sha256(b"Image 3").hexdigest()


def test_a_file_that_changed_just_now_is_not_taken_for_granted(root, read, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", 3600 * 10**9)
    assert sums(root) == sums(root) and len(read) == 10


def test_links_count_by_what_they_lead_to_and_what_is_no_file_has_none(root, read):
    (root / "link.png").symlink_to("1.png")
    (root / "nowhere.png").symlink_to("none.png")
    os.mkfifo(root / "pipe.png")
    names = ["1.png", "link.png", "nowhere.png", "pipe.png", "missing.png"]
    found = sums(root, names)
    assert found[0] == found[1] and found[2:] == [UNREADABLE] * 3
    (root / "1.png").write_bytes(b"another")
    assert sums(root, names)[1] == hashlib.sha256(b"another").hexdigest()


def test_names_that_are_no_text_or_hold_line_ends(root, read):
    names = [os.fsdecode(b"\xff.png"), "a\nb.png", "tab\t.png"]
    for name in names:
        (root / name).write_bytes(name.encode(errors="surrogateescape"))
    assert (
        sums(root, names)
        == sums(root, names)
        == [hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest() for name in names]
    )


@pytest.mark.parametrize("harm", [b"", b"\xff\0", b"lt_bench digests 1\nab\n\t\t\n", b"other 1\n"])
def test_a_damaged_cache_is_read_anew(harm, root, read):
    expected = sums(root)
    (cache,) = cache_folder().glob("*.txt")
    cache.write_bytes(harm)
    assert sums(root) == expected and len(read) == 10


def test_without_a_place_for_the_cache_files_are_read_every_time(root, read, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert sums(root) == sums(root) and len(read) == 10
    assert "set LT_BENCH_CACHE=DIR" in capsys.readouterr().err


def test_the_data_may_be_read_only(root, read):
    root.chmod(0o555)
    try:
        assert sums(root) == sums(root) and len(read) == 5 and len(list(root.iterdir())) == 5
    finally:
        root.chmod(0o755)


def test_a_slow_disk_is_read_by_several_threads(root, read, monkeypatch):
    expected, threads = sums(root), set()
    real = module.digest_of
    monkeypatch.setattr(module, "CHUNK", 1)
    monkeypatch.setattr(module, "digest_of", lambda path: threads.add(get_ident()) or time.sleep(0.03) or real(path))
    shutil.rmtree(cache_folder())
    assert sums(root) == expected and len(threads) > 2


def test_of_several_at_once_one_reads(root, read, monkeypatch):
    counted = module.digest_of
    monkeypatch.setattr(module, "digest_of", lambda path: time.sleep(0.02) or counted(path))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sums(root), range(4)))
    assert found == [found[0]] * 4 and len(read) == 5


def test_what_was_read_before_an_interruption_is_kept(root, read, monkeypatch):
    real = module.digest_of
    monkeypatch.setattr(module, "CHUNK", 1)
    monkeypatch.setattr(module, "THREADS", 1)

    def stopped(path):
        if path.endswith("3.png"):
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(module, "digest_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        sums(root)
    monkeypatch.setattr(module, "digest_of", real)
    sums(root)
    assert read.count("0.png") == read.count("1.png") == read.count("2.png") == 1


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.delenv("LT_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/lt_bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert str(cache_folder()).endswith("/.cache/lt_bench")
