"""The pipeline: whole views against torchvision, both ways of applying, sharding, determinism, no host reads."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torchvision.transforms.v2 import functional as oracle

from lt_bench.augment import pipeline as pipeline_module
from lt_bench.augment.blur import GaussianBlur
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, RandomResizedCrop
from lt_bench.augment.either import Either
from lt_bench.augment.pipeline import Pipeline, slice_params

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

RECIPES = {
    "evaluation": [],
    "crop and flip": [CropWithPadding(32, 4), HorizontalFlip(0.5)],
    "flip before crop": [HorizontalFlip(0.5), RandomResizedCrop(24)],
    "simclr": [
        RandomResizedCrop(32),
        HorizontalFlip(0.5),
        ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        Grayscale(0.2),
    ],
    "either": [
        RandomResizedCrop(32),
        HorizontalFlip(0.5),
        Either([ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)], [Grayscale(0.2), BoxBlur((0.1, 2.0), 0.5)]),
    ],
    "blurred": [
        RandomResizedCrop(32),
        ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        Grayscale(0.2),
        GaussianBlur(3, (0.1, 2.0), p=0.5),
        HorizontalFlip(0.5),
    ],
}
AUGMENTING = [name for name, ops in RECIPES.items() if ops]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, size=32, seed=0):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator(seed))


def pipeline(name):
    return Pipeline(RECIPES[name], MEAN, STD)


class HostReads(TorchDispatchMode):
    """Names of the operations that would make a GPU wait for the host."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        reads = {"_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "bincount", "equal", "is_nonzero"}
        to_host = name == "_to_copy" and (kwargs or {}).get("device") == torch.device("cpu")
        if name in reads or masked or to_host:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("branch_free", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_output_is_finite_float_channels_last(name, branch_free):
    found = pipeline(name)(random_images(20), generator(), branch_free=branch_free)
    assert found.dtype == torch.float32
    assert found.shape == (20, 3, *([24, 24] if name == "flip before crop" else [32, 32]))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.isfinite().all()


@pytest.mark.parametrize("branch_free", [False, True])
def test_evaluation_equals_torchvision(branch_free):
    images = random_images(300)
    expected = oracle.normalize(oracle.to_dtype(images, torch.float32, scale=True), list(MEAN), list(STD))
    found = pipeline("evaluation").apply(images, [], branch_free)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, check_stride=False)


def test_simclr_view_equals_torchvision_on_floats():
    images, ops = random_images(48), RECIPES["simclr"]
    params = pipeline("simclr").draw(48, generator(1))
    crop, flip, jitter, gray = params
    adjust = (oracle.adjust_brightness, oracle.adjust_contrast, oracle.adjust_saturation, oracle.adjust_hue)
    factors = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    boxes = torch.stack(ops[0].boxes(crop, 32, 32), 1).int().tolist()
    expected = []
    for row, image in enumerate(oracle.to_dtype(images, torch.float32, scale=True)):
        view = oracle.resized_crop(image, *boxes[row], [32, 32], antialias=True)
        view = oracle.hflip(view) if flip.applied[row] else view
        for number in jitter.order[row].tolist() if jitter.applied[row] else ():
            view = adjust[number](view, factors[number][row].item())
        view = oracle.rgb_to_grayscale(view, 3) if gray.applied[row] else view
        expected.append(oracle.normalize(view, list(MEAN), list(STD)))
    found = pipeline("simclr").apply(images, params)
    # 5e-6 in [0, 1] for the jitter, divided by the standard deviation
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=5e-6 / min(STD), check_stride=False)


@pytest.mark.parametrize("name", AUGMENTING)
def test_pipeline_is_its_operations_one_after_the_other(name):
    images, view = random_images(40), Pipeline(RECIPES[name], (0, 0, 0), (1, 1, 1))
    params = view.draw(40, generator(1))
    expected = images / 255
    for op, drawn in zip(view.ops, params, strict=True):
        expected = op.grouped(expected, drawn)
    torch.testing.assert_close(view.apply(images, params), expected, rtol=0, atol=1e-6, check_stride=False)


@pytest.mark.parametrize("name", AUGMENTING)
@pytest.mark.parametrize("size", [8, 32])
def test_branch_free_equals_grouped(name, size):
    images, view = random_images(200, size), Pipeline(RECIPES[name], (0, 0, 0), (1, 1, 1))
    if name == "crop and flip" and size == 8:
        view = Pipeline([CropWithPadding(8, 1), HorizontalFlip(0.5)], (0, 0, 0), (1, 1, 1))
    params = view.draw(200, generator(2))
    torch.testing.assert_close(view.apply(images, params, True), view.apply(images, params), rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", AUGMENTING)
def test_operations_do_not_write_to_their_input(name):
    images = random_images(16) / 255
    for op in RECIPES[name]:
        params = op.draw(16, generator(0))
        before = images.clone()
        op.grouped(images, params)
        op.branch_free(images, params)
        assert torch.equal(images, before)


def test_chunks_change_nothing(monkeypatch):
    images = random_images(150)
    whole = pipeline("blurred")(images, generator(3))
    monkeypatch.setattr(pipeline_module, "CHUNK_VALUES", 40 * 3 * 32 * 32)
    torch.testing.assert_close(pipeline("blurred")(images, generator(3)), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("branch_free", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_memory_format_of_the_images_changes_nothing(name, branch_free):
    images = random_images(20)
    by_plane = pipeline(name)(images, generator(3), branch_free=branch_free)
    by_pixel = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pipeline(name)(by_pixel, generator(3), branch_free=branch_free), by_plane)
    assert by_plane.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", RECIPES)
def test_shares_of_several_processes_equal_the_joined_batch(name):
    images = random_images(60)
    joined = pipeline(name)(images, generator(4))
    shares = [slice(0, 17), slice(17, 40), slice(40, 60)]
    parts = [pipeline(name)(images[rows], generator(4), rows=rows, total=60) for rows in shares]
    torch.testing.assert_close(torch.cat(parts), joined, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", AUGMENTING)
def test_a_seed_decides_everything_and_every_call_is_fresh(name):
    images = random_images(32)
    random = generator(5)
    first, second = pipeline(name)(images, random), pipeline(name)(images, random)
    assert torch.equal(pipeline(name)(images, generator(5)), first)
    assert not torch.equal(first, second)


def test_every_image_is_augmented_on_its_own():
    images = random_images(1).expand(64, -1, -1, -1)
    views = pipeline("simclr")(images, generator(6)).flatten(1)
    assert torch.cdist(views, views).fill_diagonal_(1).min() > 1e-2


def test_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    pipeline("blurred")(random_images(8), generator(0))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", RECIPES)
def test_branch_free_path_reads_nothing_on_the_host(name):
    view, images, random = pipeline(name), random_images(16), generator(0)
    with HostReads() as reads:
        view(images, random, branch_free=True)
    assert reads.found == []


def test_the_counter_sees_the_reads_of_the_grouped_path():
    with HostReads() as reads:
        pipeline("simclr")(random_images(16), generator(0))
    assert "nonzero" in reads.found


@pytest.mark.parametrize("name", RECIPES)
def test_branch_free_path_stays_on_the_device(name):
    # fake tensors carry a device and a shape but no data: a host read or a mix of devices raises
    params = pipeline(name).draw(16, generator(0))
    with FakeTensorMode():
        images = torch.empty(16, 3, 32, 32, dtype=torch.uint8, device="cuda")
        on_device = tree_map(lambda f: torch.empty(f.shape, dtype=f.dtype, device="cuda"), params)
        assert pipeline(name).apply(images, on_device, branch_free=True).device.type == "cuda"


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_branch_free_path_compiles_to_one_graph(name):
    view, images = pipeline(name), random_images(16)
    params = view.draw(16, generator(0))
    torch.compiler.reset()
    compiled = torch.compile(view.apply, backend="aot_eager", fullgraph=True)(images, params, True)
    assert compiled.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(compiled, view.apply(images, params, True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("branch_free", [False, True])
def test_an_empty_share_is_fine(branch_free):
    images = random_images(4)
    found = pipeline("blurred")(images[:0], generator(0), rows=slice(4, 4), total=4, branch_free=branch_free)
    assert found.shape == (0, 3, 32, 32)


def test_slice_params_takes_rows_of_every_field():
    params = pipeline("simclr").draw(10, generator(0))
    for whole, part in zip(params, slice_params(params, slice(2, 5)), strict=True):
        assert type(part) is type(whole)
        assert all(torch.equal(p, w[2:5]) for p, w in zip(part, whole, strict=True))


def test_bad_input_is_refused():
    view, params = pipeline("simclr"), pipeline("simclr").draw(4, generator(0))
    with pytest.raises(ValueError, match="uint8"):
        view.apply(torch.rand(4, 3, 32, 32), params)
    with pytest.raises(ValueError, match="three channels"):
        view.apply(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), params)
    with pytest.raises(ValueError, match="4 operations"):
        view.apply(random_images(4), params[:2])
    with pytest.raises(ValueError, match="on 3 images"):
        view.apply(random_images(3), params)
    with pytest.raises(ValueError, match="mean is a list of three numbers"):
        Pipeline([], (0.5,), (0.5,))
    with pytest.raises(ValueError, match="positive"):
        Pipeline([], (0.5, 0.5, 0.5), (0.2, 0.0, 0.2))


def test_large_images_without_branches_go_in_pieces(monkeypatch):
    images = torch.randint(0, 256, (7, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    view = Pipeline([ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), Grayscale(0.2)], (0.5,) * 3, (0.25,) * 3)
    params = view.draw(7, torch.Generator().manual_seed(0))
    whole = view.apply(images, params, branch_free=True)
    monkeypatch.setattr(pipeline_module, "BRANCH_FREE_VALUES", 3 * 3 * 12 * 12)
    pieces = view.apply(images, params, branch_free=True)
    assert torch.equal(pieces, whole) and pieces.is_contiguous(memory_format=torch.channels_last)
