"""Region Rebalance: the authors' training step by step, its two forms, and on two processes."""

import pytest
import torch
from helpers.chain import resumed_in_its_last_epoch, tiny
from helpers.engine_parts import FixedBatches, Identity, Noisy, one_process, stage, training
from helpers.golden_vectors import golden
from helpers.two_processes import assert_one_training

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.loop import Trainer
from lt_bench.errors import SettingError
from lt_bench.methods.region_rebalance import RegionRebalance
from lt_bench.methods.segmentation_ce import SegmentationCE
from lt_bench.models.resnet import basic_resnet
from lt_bench.models.tiny import TinyEncoder
from lt_bench.record.identity import run_id

CLOSE = {"rtol": 1e-5, "atol": 2e-6}
NAMES = {"region_seg_bn.0": "branch.0", "region_conv_seg": "branch.2"}  # the authors' and ours
FORMS = {
    "one pass": {"train_branch": True},
    "frozen": {},
    "two passes": {"second_pass": True, "negatives": False},
    "by image": {"region_scope": "image", "train_branch": True, "region_resolution": "feature"},
    "in groups": {"second_pass": True, "region_group": 3, "region_resolution": "image", "negative_weight": 0.5},
}


class Maps(Identity):
    """Stands for an encoder: images are its maps."""

    def maps(self, images):
        return images


class Listed:
    """A rate for each step."""

    def __init__(self, rates):
        self.rates = rates

    def __call__(self, epoch, step, steps_per_epoch):
        return self.rates[epoch * steps_per_epoch + step]


def ours(case, beginning):
    """The authors' parameters and statistics under our names and in our shapes."""
    found = {}
    for key, value in case.items():
        if key.startswith(beginning):
            name = key.removeprefix(beginning).replace("__", ".")
            for theirs, own in NAMES.items():
                if name.startswith(theirs):
                    name, value = name.replace(theirs, own), value.flatten(1) if value.ndim == 4 else value
            found[f"classifier.{name}"] = value.double()
    return found


def test_four_steps_of_the_trainer_are_those_of_the_authors(tmp_path):
    case = golden("region_rebalance_step")
    steps, classes = int(case["steps"]), int(case["num_classes"])
    batches = [
        Batch((case[f"s{n}_features"].double(),), case[f"s{n}_mask"], torch.arange(len(case[f"s{n}_mask"])))
        for n in range(steps)
    ]
    info = TrainInfo(torch.zeros(0), classes, 1, counts=case["image_counts"])
    weights = {key: float(case[key]) for key in ("region_weight", "main_weight", "smooth")}
    how = {"channels": int(case["channels"]), "dropout": 0.0, "second_pass": True, **weights}
    method = RegionRebalance(Maps(int(case["in_channels"])), info, **how).double()
    method.prior = method.prior.double()
    missing, unexpected = method.load_state_dict(ours(case, "init__"), strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    first = method(batches[0], 0, 0, one_process(None))
    for name in ("pixel", "pixel_biased", "pixel_masked", "region_predicted", "region_true"):
        torch.testing.assert_close(first[f"loss_{name}"], case[f"s0_loss_{name}"], rtol=1e-6, atol=0)
    first["loss"].backward()
    for name, gradient in ours(case, "s0_grad__").items():
        torch.testing.assert_close(method.get_parameter(name).grad, gradient, **CLOSE)
    method.load_state_dict(ours(case, "init__"), strict=False)
    source = FixedBatches(batches, torch.zeros(steps * len(batches[0].labels)))
    values = training(1, len(batches[0].labels), momentum=float(case["momentum"]), name="sgd")
    values.optimizer["weight_decay"] = float(case["weight_decay"])
    rates = Listed([float(case[f"s{n}_lr"]) for n in range(steps)])
    Trainer(method, source, values, rates, one_process(source), stage(tmp_path)).fit()
    state = method.state_dict()
    for name, value in ours(case, "final__").items():
        torch.testing.assert_close(state[name], value, **CLOSE)
    logits = method.eval().classifier(case["eval_features"].double())
    torch.testing.assert_close(logits, case["eval_logits"].double(), **CLOSE)


def scenes(count=8, classes=4):
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, classes, (count, 8, 8), generator=generator).to(torch.uint8)
    masks[:, :2] = 255
    masks[1] = 255
    return torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64), masks


@pytest.mark.parametrize("form", FORMS)
def test_a_form_trains_what_it_says(form):
    images, masks = scenes()
    info = TrainInfo(torch.zeros(0), 4, 1, counts=torch.tensor([9, 5, 2, 1]))
    method = RegionRebalance(TinyEncoder(), info, channels=8, **FORMS[form]).double()
    terms = method(Batch((images,), masks, torch.arange(8)), 0, 0, one_process(None))
    terms["loss"].backward()
    branch = method.regions if method.regions is not None else method.classifier.branch
    trained = {parameter.grad is not None for parameter in branch.parameters()}
    assert trained == {form != "frozen"}
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())
    places = masks[:, ::4, ::4].flatten(1).tolist()  # maps are of 2 x 2
    # with a second pass pixels without a label are a region too; three groups have all classes each
    expected = {"by image": sum(len({*one} - {255}) for one in places), "two passes": 5, "in groups": 3 * 5}
    assert float(terms["regions"]) == expected.get(form, 4)


def test_without_a_weight_of_regions_it_is_fcn():
    images, masks = scenes()
    info, gradients = TrainInfo(torch.zeros(0), 4, 1, counts=torch.tensor([9, 5, 2, 1])), []
    for kind, how in ((RegionRebalance, {"region_weight": 0.0}), (SegmentationCE, {})):
        torch.manual_seed(0)
        method = kind(TinyEncoder(), info, channels=8, **how).double()
        method(Batch((images,), masks, torch.arange(8)), 0, 0, one_process(None))["loss"].backward()
        gradients.append(
            [parameter.grad for parameter in (*method.encoder.parameters(), method.classifier.conv_seg.weight)]
        )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_officially_pixels_are_counted_as_in_the_code_of_each_form():
    images, masks = scenes()
    info, found = TrainInfo(torch.zeros(0), 4, 1, counts=torch.tensor([9, 5, 2, 1])), {}
    for second_pass in (False, True):
        for means in (False, True, "official"):
            torch.manual_seed(0)
            how = {"channels": 8, "second_pass": second_pass, "ignored_in_mean": means}
            method = RegionRebalance(basic_resnet((1, 1, 1, 1)), info, auxiliary_channels=8, **how).double()
            batch = Batch((images.repeat(1, 1, 8, 8),), masks.repeat(1, 8, 8), torch.arange(8))
            terms = method(batch, 0, 0, one_process(None))
            found[second_pass, means] = [float(terms[f"loss_{name}"]) for name in ("pixel", "auxiliary")]
    labelled = float((masks != 255).double().mean())
    for second_pass in (False, True):
        assert found[second_pass, True] == pytest.approx([labelled * one for one in found[second_pass, False]])
    assert found[False, "official"] == found[False, True]
    assert found[True, "official"] == [found[True, False][0], found[True, True][1]]


@pytest.mark.parametrize(
    ("words", "ignored_in_mean", "group"),
    [
        (["method=region_rebalance"], "official", 4),
        (["method=region_rebalance", "method.region_group=8"], "official", 8),
        (["method=segmentation_ce"], True, None),
    ],
)
def test_what_is_official_is_what_the_authors_code_does(words, ignored_in_mean, group, tmp_path):
    method = tiny(tmp_path, *words, "dataset=digit_scenes", "fidelity=official").method
    assert method["ignored_in_mean"] == ignored_in_mean and method.get("region_group") == group


def test_later_settings_at_their_defaults_leave_runs_what_they_were(tmp_path):
    words = ("method=region_rebalance", "dataset=digit_scenes")
    usual = ["region_scope=batch", "region_group=null", "region_resolution=null", "negative_weight=1", "extra_prior=1"]
    plain = run_id(tiny(tmp_path, *words))
    assert run_id(tiny(tmp_path, *words, *(f"+method.{word}" for word in usual))) == plain
    assert run_id(tiny(tmp_path, *words, "method.region_scope=image")) != plain


TWICE = {"second_pass": True}


@pytest.mark.parametrize(
    "values",
    [
        {"region_weight": -1.0},
        {"main_weight": -1.0},
        {"smooth": 0.0},
        {"smooth": 1.5},
        {"region_scope": "process"},
        {"region_group": 1},
        {"region_group": 4, "region_scope": "image"},
        {"region_resolution": "mask"},
        {"negative_weight": 0.5},
        {"negative_weight": 0.0, **TWICE},
        {"negative_weight": 0.5, "negatives": False, **TWICE},
        {"extra_prior": 0.5},
        {"extra_prior": 0.0, **TWICE},
        {"extra_prior": 0.5, "prior": False, **TWICE},
        {"ignored_in_mean": "all"},
    ],
)
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(SettingError):
        RegionRebalance(TinyEncoder(), TrainInfo(torch.zeros(0), 2, 1, counts=torch.ones(2)), **values)


@pytest.mark.parametrize("second_pass", ["true", "false"])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(second_pass, tmp_path, monkeypatch):
    words = ("method=region_rebalance", "dataset=digit_scenes", "backbone=tiny", "train.epochs=2")
    resumed_in_its_last_epoch(monkeypatch, tmp_path, *words, f"method.second_pass={second_pass}")


class Training:
    """Two epochs of a form on scenes, with dropout; then its state."""

    def __init__(self, form):
        self.form = form

    def __call__(self, processes, folder):
        images, masks = scenes(count=14)
        config = tiny(folder, "method=region_rebalance", "dataset=digit_scenes", "train.batch_size=4")
        source = Noisy(images, masks)
        torch.manual_seed(0)
        info = TrainInfo(masks, 4, 3, counts=torch.tensor([9, 5, 2, 1]))
        method = RegionRebalance(TinyEncoder(), info, channels=8, **FORMS[self.form]).double()
        method.prior = method.prior.double()
        run = EngineContext(processes, 3, source)
        (own := folder / f"rank{processes.rank}").mkdir()
        config.train.epochs = 2
        Trainer(method, source, config.train, Listed([0.05] * 8), run, stage(own)).fit()  # the last batches are of two
        return method.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("form", [form for form in FORMS if form != "by image"])
def test_two_processes_are_one(form, tmp_path):
    assert_one_training(Training(form), tmp_path, 1e-9)
