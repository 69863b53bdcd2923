"""Views that are lists of operations: what they mean, what is wrong with one, and that names mean the same."""

import pytest
import torch

from lt_bench.augment import described
from lt_bench.augment.described import OPERATIONS, spelled_out, written
from lt_bench.augment.pipeline import Boost
from lt_bench.augment.views import VIEWS, build_view
from lt_bench.config.compose import compose
from lt_bench.config.trust import load
from lt_bench.errors import SettingError, UsageError
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import run_id

IMAGES = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
BOOST = Boost(torch.linspace(0, 1, 6), torch.linspace(0, 0.9, 6))
CE = ("dataset=cifar10_lt", "method=ce", "stage_two=none")


def config(*words):
    return validate(compose([*CE, *words]))


def pixels(view, dataset):
    return build_view(view, dataset)(IMAGES, torch.Generator().manual_seed(5), boost=BOOST)


@pytest.mark.parametrize("padding", ["4", "null"])
@pytest.mark.parametrize("flip", ["true", "false"])
def test_a_named_view_and_its_description_give_the_same_pixels(padding, flip):
    dataset = config(f"dataset.crop_padding={padding}", f"dataset.horizontal_flip={flip}").dataset
    for name in VIEWS:
        operations = [{operation: values} if values else operation for operation, values in
                      spelled_out(name, dataset, VIEWS)]  # fmt: skip
        assert all(next(iter(one)) in OPERATIONS for one in operations if isinstance(one, dict))
        torch.testing.assert_close(pixels(operations, dataset), pixels(name, dataset), rtol=0, atol=0)


def test_a_view_is_described_on_the_command_line_and_in_one_form_belongs_to_the_identity():
    one = config("method.views=[[crop_flip,{cutout:{length:16}}]]")
    two = config("method.views=[{crop_flip:{},cutout:{length:16}}]")
    assert one.method["views"] == two.method["views"] == [["crop_flip", {"cutout": {"length": 16}}]]
    assert run_id(one) == run_id(two) != run_id(config()) != run_id(config("method.views=[[crop_flip,cutout]]"))
    torch.testing.assert_close(
        pixels(one.method["views"][0], one.dataset), pixels(["crop_flip", "cutout"], one.dataset), rtol=0, atol=0
    )
    assert written(one.method["views"][0]) == "[crop_flip,{cutout:{length:16}}]"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("[crop_flp]", "(did you mean crop_flip?)"),
        ("[cutout]", "cutout is an operation, and a view is a list of them, such as method.views=[[cutout]]"),
        ("[[crop_flip,cutot]]", "unknown operation 'cutot' (did you mean cutout?)"),
        ("[[{cutout:{lenght:3}}]]", "cutout has no parameter 'lenght' (did you mean length?); it takes length"),
        ("[[{cutout:{length:0}}]]", "cutout.length=0: it is numbers from 1"),
        ("[[{cutout:{length:a}}]]", 'cutout.length="a": it is a whole number'),
        ("[[{cutout:3}]]", "cutout takes its parameters as {cutout: {NAME: VALUE}}, not 3"),
        ("[[{flip:false}]]", "flip takes its parameters as {flip: {NAME: VALUE}}, not False"),
        ("[[{crop_flip:0}]]", "crop_flip takes its parameters as"),
        ("[[{cutout:[]}]]", "cutout takes its parameters as"),
        ("[[{padded_crop:{padding:33}}]]", "padded_crop.padding=33: it is at most the 32 pixels of an image"),
        ("[[{box_blur:{sigma:[1,1e9]}}]]", "box_blur.sigma=[1, 1000000000.0]: it is at most the 32 pixels of an image"),
        ("[[{color_jitter:{contrast:1e39}}]]", "color_jitter.contrast=1e+39: it is numbers from 0 to 100"),
        ("[[{randaugment:{n:1000000}}]]", "randaugment.n=1000000: it is numbers from 1 to 100"),
        ("[[{resized_crop:{size:8}}]]", "resized_crop has no parameter 'size'"),
        ("[[{resized_crop:{scale:[0.9,0.1]}}]]", "the smaller number comes first"),
        ("[[{gaussian_blur:{kernel_size:4}}]]", "gaussian_blur.kernel_size=4: it is odd"),
        ("[[{boosted_randaugment:{max_strength:5}}]]", "boosted_randaugment.max_strength=5: it is at least floor=10"),
        ("[[{simclr:{p:1}}]]", "simclr has no parameters of its own"),
        ("[[{either:{first:[cutout]}}]]", "either takes two lists of operations"),
        ("[[either]]", "either takes two lists of operations"),
        ("[[{either:{first:[cutot],second:[]}}]]", "unknown operation 'cutot' (did you mean cutout?)"),
        ("[[{either:{first:[crop_flip],second:[]}}]]", "either chooses between none of crop"),
        ("[[boosted_randaugment]]", "needs a strength for every image"),
        ("[3]", "method.views"),
        ("crop_flip", "method.views"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_description_is_said_before_anything_runs(typed, told):
    with pytest.raises(UsageError) as error:
        config(f"method.views={typed}")
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", OPERATIONS)
def test_ranges_are_those_of_the_classes(name):
    """At the ends of a range an operation can be made; beyond them its class refuses it too."""
    dataset, (target, usual, ranges) = config().dataset, OPERATIONS[name]
    given = {**usual(dataset), **({"size": 32} if name.endswith("_crop") else {})}
    given |= {"floor": 0} if name == described.BOOSTED else {}
    for key, setting in ranges.items():
        for end, step in ((setting.least, -1), (setting.most, 1)):
            if abs(end) != float("inf"):
                at, beyond = ([0.5, one] if setting.length else one for one in (end, end + step))
                with_end = {**given, key: type(given.get(key, 1.0))(at)}
                load(target)(**with_end)
                with pytest.raises(SettingError):
                    load(target)(**{**with_end, key: beyond})
        if setting.length:
            for wrong in ([0.0, 1.0], [0.9, 0.1]):
                with pytest.raises(SettingError):
                    load(target)(**{**given, key: wrong})


def test_either_is_described_by_its_ways():
    ways = "first:[randaugment],second:[{cutout:{length:3}}]"
    settled = config(f"method.views=[[crop_flip,{{either:{{{ways}}}}}]]")
    (view,) = settled.method["views"]
    assert view == ["crop_flip", {"either": {"first": ["randaugment"], "second": [{"cutout": {"length": 3}}]}}]
    *_, either = build_view(view, settled.dataset).ops
    assert [type(op).__name__ for op in (*either.first, *either.second)] == ["RandAugment", "Cutout"]


def test_every_operation_names_its_parameters():
    for name, (_, usual, ranges) in OPERATIONS.items():
        known = described._parameters(name)
        assert {*usual(config().dataset), *ranges} <= known.keys()
