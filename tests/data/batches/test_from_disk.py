"""Large images: the same batches whatever the number of workers and processes, and what happens to broken files."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from helpers import image_trees
from helpers.command_line import wait_for

from lt_bench.config.compose import compose
from lt_bench.data.batches import from_disk as module
from lt_bench.data.batches.source import RankShare
from lt_bench.data.batches.worker import ignore_stop_signals
from lt_bench.data.files.image_file import decode
from lt_bench.data.load import load_data
from lt_bench.engine.interrupt import StopRequest
from lt_bench.errors import DataError
from lt_bench.preflight.validate import validate

VIEWS_OF_BCL = ("cls", "sim_wide", "sim_wide")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return image_trees.image_lists(tmp_path_factory.mktemp("tree"))


def load(root, *words):
    return load_data(validate(compose([*image_trees.overrides(root), *words])), torch.device("cpu"))


def generator(step=0):
    return torch.Generator().manual_seed(100 + step)


def epoch(source, views=VIEWS_OF_BCL, size=16, first=0, rank=0, ranks=1):
    order = torch.randperm(len(source.labels), generator=generator())
    share = size // ranks
    rows = slice(rank * share, (rank + 1) * share)
    shares = [RankShare(step, slice(step * size, (step + 1) * size), rows) for step in range(first, len(order) // size)]
    return list(source.batches(order, shares, views, generator))


def assert_equal(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
        assert torch.equal(one.labels, other.labels) and torch.equal(one.indices, other.indices)


def test_an_epoch_is_the_same_with_any_number_of_workers_and_from_any_step(tree):
    alone, two = load(tree).train, load(tree, "dataset.workers=2").train
    batches = epoch(alone)
    assert [tuple(view.shape) for view in batches[0].views] == [(16, 3, 16, 16)] * 3
    assert torch.equal(batches[0].labels, alone.labels[batches[0].indices])
    assert not torch.equal(batches[0].views[1], batches[0].views[2])
    assert_equal(batches, epoch(two))
    assert_equal(batches[3:], epoch(two, first=3))  # the same workers, once more
    assert_equal(batches, epoch(alone))


def test_images_that_are_reduced_as_they_are_decoded_are_the_same_from_any_step(tree):
    words = ("dataset.decoder=turbo", "dataset.image_size=6")
    alone, two = load(tree, *words).train, load(tree, *words, "dataset.workers=2").train
    batches, whole = epoch(alone, ("crop_flip",)), epoch(load(tree, words[1]).train, ("crop_flip",))
    differences = [(left.views[0] - right.views[0]).abs() for left, right in zip(batches, whole, strict=True)]
    assert 0 < torch.stack(differences).mean() < 0.1
    assert_equal(batches[2:], epoch(two, ("crop_flip",), first=2))


def test_ranks_share_the_images_of_one_process(tree):
    source = load(tree).train
    whole = epoch(source)
    halves = [epoch(load(tree).train, rank=rank, ranks=2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for number, view in enumerate(batch.views):
            torch.testing.assert_close(torch.cat([part.views[number] for part in parts]), view)
        assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)


def test_an_epoch_that_was_left_is_forgotten(tree):
    source = load(tree, "dataset.workers=2").train
    order = torch.arange(80)
    shares = [RankShare(step, slice(8 * step, 8 * step + 8), slice(0, 8)) for step in range(10)]
    next(iter(source.batches(order, shares, ("cls",), generator)))
    assert_equal(epoch(source), epoch(load(tree).train))


def test_chunks_come_in_order_and_do_not_depend_on_their_size_or_on_ranks(tree):
    source = load(tree).test
    indices = torch.arange(24)
    for view in ("plain", "sim_blur"):
        whole = torch.cat(list(source.chunks(view, indices, slice(None), 100, generator())))
        parts = [*source.chunks(view, indices, slice(0, 12), 5, generator())]
        assert [len(part) for part in parts] == [5, 5, 2]
        parts += [*source.chunks(view, indices, slice(12, 24), 7, generator())]
        torch.testing.assert_close(torch.cat(parts), whole)
    several = load(tree, "dataset.workers=2").test
    assert torch.equal(torch.cat(list(several.chunks("sim_blur", indices, slice(None), 5, generator()))), whole)


def test_the_plain_view_is_the_published_evaluation(tree):
    from torchvision import transforms

    data = load(tree, "dataset.image_size=14")
    dataset = validate(compose(image_trees.overrides(tree))).dataset
    evaluation = transforms.Compose(
        [
            transforms.Resize(16),
            transforms.CenterCrop(14),
            transforms.ToTensor(),
            transforms.Normalize(dataset.mean, dataset.std),
        ]
    )
    chunks = data.test.chunks("plain", torch.arange(24), slice(None), 24, generator())
    found = torch.cat(list(chunks))
    names = (tree / "lists" / "ImageNet_LT_test.txt").read_text().split()[::2]
    expected = torch.stack([evaluation(decode((tree / name).read_bytes(), name)) for name in names])
    level = 1.01 / 255 / min(dataset.std)  # resampling on bytes rounds as Pillow does, up to one level
    torch.testing.assert_close(found, expected, rtol=0, atol=level)
    assert (found - expected).abs().mean() < 0.1 * level


@pytest.fixture
def broken(tmp_path):
    """A tree in which the third image of class 2 is cut off."""
    root = image_trees.image_lists(tmp_path)
    path = root / "train/n0002/n0002_3.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_stops_the_run_with_its_name(broken, workers):
    source = load(broken, f"dataset.workers={workers}").train
    with pytest.raises(
        DataError, match=r"train/n0002/n0002_3\.JPEG is not a complete image.*dataset\.on_bad_image=skip"
    ):
        epoch(source)
    with pytest.raises(DataError, match="n0002_3"):
        list(source.chunks("plain", torch.arange(80), slice(None), 20, generator()))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_replaced_by_the_next_of_its_class_and_counted(broken, workers):
    source = load(broken, f"dataset.workers={workers}", "dataset.on_bad_image=skip").train
    bad = 24 + 17 + 3
    seen = torch.cat([batch.indices for batch in epoch(source)])
    assert bad not in seen and (seen == bad + 1).sum() == 2
    assert source.skipped.nonzero().tolist() == [[bad]]
    for batch in epoch(source):
        assert torch.equal(batch.labels, source.labels[batch.indices])


def test_a_class_without_a_readable_image_stops_the_run(broken):
    for path in (broken / "train" / "n0007").iterdir():
        path.write_bytes(b"")
    source = load(broken, "dataset.on_bad_image=skip").train
    with pytest.raises(DataError, match="no image of class 7 can be read; .* finds all such images$"):
        epoch(source)


def test_a_link_out_of_the_root_is_never_left_out(broken):
    """It is no broken image: whether it is read decides dataset.follow_links alone."""
    path = broken / "train/n0002/n0002_3.JPEG"
    outside = broken.parent / f"{broken.name} outside.JPEG"
    shutil.copyfile(broken / "train/n0002/n0002_4.JPEG", outside)
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(DataError, match="n0002_3.JPEG is a link to .*; dataset.follow_links=true reads it"):
        epoch(load(broken, "dataset.on_bad_image=skip").train)
    source = load(broken, "dataset.on_bad_image=skip", "dataset.follow_links=true").train
    assert len(epoch(source)) and not source.skipped.any()


def test_an_evaluation_never_skips(broken):
    (broken / "val/n0000/n0000_1004.JPEG").write_bytes(b"")
    test = load(broken, "dataset.on_bad_image=skip").test
    with pytest.raises(DataError, match="n0000_1004"):
        list(test.chunks("plain", torch.arange(24), slice(None), 24, generator()))


@pytest.mark.parametrize("sent", StopRequest.signals)
def test_workers_outlive_the_signals_that_ask_the_group_to_stop(tree, sent):
    source = load(tree, "dataset.workers=2").train
    order = torch.arange(80)
    shares = [RankShare(step, slice(8 * step, 8 * step + 8), slice(0, 8)) for step in range(10)]
    batches = source.batches(order, shares, ("cls",), generator)
    first = next(batches)
    workers = source._trainer._loader._iterator._workers
    for worker in workers:
        os.kill(worker.pid, sent)
    assert len([first, *batches]) == 10 and all(worker.is_alive() for worker in workers)
    source._trainer.close()
    wait_for(lambda: not any(worker.is_alive() for worker in workers))


@pytest.mark.parametrize("sent", StopRequest.signals)
def test_a_signal_to_a_worker_that_is_being_started_is_ignored(tree, sent, monkeypatch):
    def signalled(worker):
        os.kill(os.getpid(), sent)
        ignore_stop_signals(worker)

    monkeypatch.setattr(module, "ignore_stop_signals", signalled)
    assert len(epoch(load(tree, "dataset.workers=2").train)) == len(epoch(load(tree, "dataset.workers=0").train))
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("dies", [False, True])
def test_full_shared_memory_stops_the_run_with_what_to_do(tree, dies, monkeypatch):
    def full(tensor):
        if dies:  # of a write into a page that there is no memory for
            os.kill(os.getpid(), signal.SIGBUS)
        raise RuntimeError("in whatever words")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # which workers inherit
    with pytest.raises(DataError, match=r"/dev/shm.* is full: set dataset.workers=0 .*--shm-size"):
        epoch(load(tree, "dataset.workers=2").train)
    assert len(epoch(load(tree, "dataset.workers=0").train)) == 5


def test_a_worker_that_is_killed_stops_the_run_with_what_to_do(tree, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "share_memory_", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match=r"killed, perhaps for memory: set dataset.workers=0 .*launch.mem_gb"):
        epoch(load(tree, "dataset.workers=2").train)


def test_another_error_of_a_worker_is_not_taken_for_full_shared_memory(tree, monkeypatch):
    monkeypatch.setattr(module, "ignore_stop_signals", lambda worker: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        epoch(load(tree, "dataset.workers=1").train)


@pytest.mark.slow
def test_a_run_does_not_wait_for_shared_memory_that_there_is_not(tree, tmp_path):
    """In a mount namespace of its own whose /dev/shm is smaller than a batch."""
    small = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("a mount namespace needs unshare and the right to mount")
    words = [*image_trees.overrides(tree), "dataset.workers=2", "method=ce", "train.batch_size=40"]
    words += [
        "dataset.image_size=32",
        "train.epochs=1",
        "train.schedule.warm_epochs=0",
        "progress=false",
        f"output_dir={tmp_path / 'runs'}",
    ]
    command = [*small, sys.executable, "-m", "lt_bench", *words]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 1 and "shared memory (/dev/shm)" in found.stderr.splitlines()[-1]


def test_workers_go_home_with_their_source(tree):
    source = load(tree, "dataset.workers=2").train
    epoch(source)
    workers = source._trainer._loader._iterator._workers
    del source
    wait_for(lambda: not any(worker.is_alive() for worker in workers))
