"""The published recipes for large images, against the tables they come from, and one step of each of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers import image_trees
from helpers.chain import execute, tiny
from helpers.golden_vectors import FOLDER
from helpers.sampling import each_value_once

from lt_bench.config.compose import compose, groups
from lt_bench.config.signatures import parameters
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import expand
from lt_bench.methods.harmonization import Harmonization
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

# the self-supervised methods of GH's table, with their views; each without and with harmonization
SELF_SUPERVISED = {
    **{name: ["ssl_wide_blur"] * 2 for name in ("simclr", "focal", "sdclr")},
    "boosted_cl": ["ssl_wide_blur_boosted"] * 2,
}
SELF_SUPERVISED |= {f"{name}_gh": views for name, views in SELF_SUPERVISED.items()}
NOT_OFFICIAL = (*SELF_SUPERVISED, "boosted_sdclr")  # on large images
LARGE_VIEWS = {"crop_flip", "cls", "clsstack", "sim_always", "sim_wide", "sim_blur", "jitter"}
LARGE_VIEWS |= {"ssl_wide_blur", "ssl_wide_blur_boosted", "lift", "lift_plus"}
LARGE = ["imagenet_lt", "places_lt", "inat18", "imagenet"]
LIFTS = ("lift", "lift_plus")
TABLE = [(name, dataset) for name in SELF_SUPERVISED for dataset in ("imagenet_lt", "places_lt")]

# epochs, batch, rate, weight decay, warm-up, views: BCL's, PaCo's, GPaCo's, ProCo's and GH's tables of recipes; the
# controls have BCL's (ImageNet-LT, iNaturalist) and PaCo's (Places-LT), SupCon and SBCL those of SBCL's MoCo form, and
# KCL and TSC of theirs
CONTROLS = (
    *("ce", "balanced_softmax", "ldam_drw", "ce_drw", "class_balanced", "focal_supervised", "logit_adjustment", "vs"),
    "lade",
)
EXPERTS = ("balpoe", "ride", "sade")  # those of their authors, and SADE's on Places-LT
ONE_COSINE = {"supcon": 400, "sbcl": 400, "kcl": 200, "tsc": 400}  # epochs
TWO_BRANCH = ["cls", "sim_wide", "sim_wide"]
RECIPES = {
    ("bcl", "imagenet_lt"): (90, 256, 0.1, 5e-4, 0, TWO_BRANCH),
    ("bcl", "inat18"): (100, 256, 0.2, 1e-4, 0, TWO_BRANCH),
    ("proco", "imagenet_lt"): (90, 256, 0.1, 5e-4, 0, TWO_BRANCH),
    ("proco", "inat18"): (90, 256, 0.2, 1e-4, 0, TWO_BRANCH),
    ("paco", "imagenet_lt"): (400, 128, 0.02, 5e-4, 10, ["cls", "sim_always"]),
    ("paco", "inat18"): (400, 128, 0.02, 1e-4, 10, ["cls", "sim_always"]),
    ("paco", "places_lt"): (30, 128, 0.02, 5e-4, 5, ["sim_always", "sim_always"]),
    ("paco", "imagenet"): (400, 256, 0.04, 1e-4, 10, ["cls", "sim_always"]),
    ("gpaco", "imagenet_lt"): (400, 128, 0.04, 5e-4, 10, ["cls", "clsstack"]),
    ("gpaco", "inat18"): (400, 128, 0.04, 1e-4, 10, ["cls", "sim_always"]),
    ("gpaco", "places_lt"): (30, 128, 0.02, 5e-4, 5, ["sim_always", "sim_always"]),
    ("gpaco", "imagenet"): (400, 512, 0.08, 1e-4, 10, ["cls", "clsstack"]),
    ("gpaco_multitask", "imagenet_lt"): (400, 128, 0.06, 5e-4, 10, ["cls", "clsstack"]),
    ("reslt", "imagenet_lt"): (180, 256, 0.1, 5e-4, 5, ["jitter"]),
    ("reslt", "inat18"): (200, 256, 0.1, 1e-4, 0, None),
    ("balpoe", "imagenet_lt"): (180, 64, 0.025, 5e-4, 0, ["jitter"]),
    ("balpoe", "inat18"): (100, 512, 0.2, 2e-4, 0, ["crop_flip"]),
    ("ride", "imagenet_lt"): (100, 256, 0.1, 2e-4, 5, ["jitter"]),
    ("ride", "inat18"): (100, 512, 0.2, 2e-4, 5, ["crop_flip"]),
    ("sade", "imagenet_lt"): (180, 64, 0.025, 5e-4, 0, ["jitter"]),
    ("sade", "inat18"): (100, 512, 0.2, 2e-4, 5, ["crop_flip"]),
    ("ncl", "imagenet_lt"): (200, 256, 0.2, 2e-4, 0, ["cls"]),
    ("ncl", "inat18"): (400, 512, 0.2, 2e-4, 0, ["cls"]),
    ("ncl", "places_lt"): (30, 256, 0.02, 2e-4, 5, ["sim_always"]),
    ("ncl_plus", "imagenet_lt"): (200, 256, 0.2, 2e-4, 0, ["cls"] * 4),
    ("ncl_moco", "imagenet_lt"): (200, 256, 0.2, 2e-4, 0, ["cls", "sim_always"]),
    ("ncl_moco", "inat18"): (400, 512, 0.2, 2e-4, 0, ["cls", "sim_always"]),
    ("ncl_moco", "places_lt"): (30, 256, 0.02, 2e-4, 5, ["sim_always"] * 2),
    **{(name, "places_lt"): (30, 128, 0.001, 4e-4, 0, ["jitter"]) for name in EXPERTS},
    **{(name, "imagenet_lt"): (90, 256, 0.1, 5e-4, 0, None) for name in CONTROLS},
    **{(name, "inat18"): (100, 256, 0.2, 1e-4, 0, None) for name in CONTROLS},
    **{(name, "places_lt"): (30, 128, 0.02, 5e-4, 5, None) for name in CONTROLS},
    **{("lift", dataset): (10, 128, 0.01, 5e-4, 0, ["lift"]) for dataset in ("imagenet_lt", "places_lt")},
    ("lift", "inat18"): (20, 128, 0.01, 5e-4, 0, ["lift"]),
    **{("lift_plus", dataset): (5, 128, 0.02, 5e-4, 0, ["lift_plus"]) for dataset in ("imagenet_lt", "places_lt")},
    ("lift_plus", "inat18"): (15, 128, 0.02, 5e-4, 0, ["lift_plus"]),
    ("gcl", "imagenet_lt"): (90, 256, 0.1, 5e-4, 0, None),
    ("gcl", "inat18"): (100, 256, 0.2, 1e-4, 0, None),
    ("gcl", "places_lt"): (90, 512, 0.2, 5e-4, 5, None),
    ("glmc", "imagenet_lt"): (135, 120, 0.1, 2e-4, 10, ["sim_always"] * 2),
    ("glmc", "inat18"): (120, 128, 0.1, 1e-4, 10, ["sim_always"] * 2),
    ("glmc", "places_lt"): (30, 128, 0.02, 5e-4, 5, ["sim_always"] * 2),
    ("mislas", "imagenet_lt"): (180, 256, 0.1, 5e-4, 0, ["jitter"]),
    ("mislas", "inat18"): (200, 256, 0.1, 1e-4, 0, ["jitter"]),
    ("mislas", "places_lt"): (90, 256, 0.1, 5e-4, 0, ["jitter"]),
    **{(name, "imagenet_lt"): (epochs, 256, 0.1, 1e-4, 0, ["sim_blur"] * 2) for name, epochs in ONE_COSINE.items()},
    ("boosted_sdclr", "imagenet_lt"): (500, 256, 0.5, 1e-4, 10, SELF_SUPERVISED["boosted_cl"]),
    **{pair: (500, 256, 0.5, 1e-4, 10, SELF_SUPERVISED[pair[0]]) for pair in TABLE},
}
METHOD_VALUES = {
    ("bcl", "imagenet_lt"): {"temperature": 0.07, "alpha": 1.0, "beta": 0.35, "projection_dim": 1024},
    ("paco", "imagenet_lt"): {"temperature": 0.2, "alpha": 0.05, "queue_size": 8192, "projection_dim": 128},
    ("paco", "imagenet"): {"temperature": 0.2, "alpha": 0.05, "prior": False},
    ("gpaco", "imagenet_lt"): {"temperature": 0.2, "alpha": 0.045, "queue_size": 8192, "projection_dim": 128},
    ("gpaco", "places_lt"): {"temperature": 0.2, "alpha": 0.02},
    ("gpaco", "imagenet"): {"prior": False, "smooth": 0.1},
    ("gpaco_multitask", "imagenet_lt"): {"alpha": 0.5, "temperature": 0.2},
    ("reslt", "imagenet_lt"): {"branch_weight": 0.99, "shares": [0.825, 0.22], "norm_exponent": 0.7},
    ("balpoe", "imagenet_lt"): {"tau_min": 0.0, "tau_max": 2.5},
    ("balpoe", "inat18"): {"tau_min": -1.0, "tau_max": 3.0},
    ("ride", "imagenet_lt"): {"diversity_factor": -0.2, "reweight_factor": 0.02, "drw_start_epoch": 80},
    ("ride", "inat18"): {"diversity_factor": -0.2, "reweight_factor": 0.015, "drw_start_epoch": 80},
    **{("sade", name): {"tau": 1.0} for name in ("inat18", "places_lt")},
    ("reslt", "inat18"): {"branch_weight": 0.85, "shares": [0.8106], "block": "block_first"},
    ("glmc", "imagenet_lt"): {"partner_exponent": 0.2, "weight_exponent": 1.0, "consistency": 10.0},
    ("supcon", "imagenet_lt"): {"temperature": 0.07, "base_temperature": 0.07, "projection_dim": 128},
    ("sbcl", "imagenet_lt"): {"temperature": 0.07, "beta": 0.2, "warm_epochs": 200, "update_interval": 5},
    **{(name, "imagenet_lt"): {"temperature": 0.07, "positives": 6} for name in ("kcl", "tsc")},
    ("boosted_sdclr", "imagenet_lt"): {"prune_percent": 0.1, "loss_momentum": 0.97, "temperature": 0.2},
    **{
        (method, name): {"drw_start_epoch": epoch}
        for method in ("ldam_drw", "ce_drw")
        for name, epoch in (("inat18", 80), ("places_lt", 24))
    },
    **{pair: {"temperature": 0.2, "view_batching": "separate", "projection_dim": 128} for pair in TABLE},
}
for name, dataset in TABLE:
    own = {"focal": {"gamma": 2.0}, "sdclr": {"prune_percent": 0.1}, "boosted_cl": {"loss_momentum": 0.97}}
    METHOD_VALUES[name, dataset] |= own.get(name.removesuffix("_gh"), {})

# their rates in lr_schedules, GH's in gh_schedules, ResLT's in reslt_lr; iNaturalist's are those of ImageNet-LT, and
# CE's are BCL's
RATES = {
    **{("bcl", "imagenet_lt"): "bcl_imagenet_90", ("bcl", "inat18"): "bcl_inat_100"},
    **{("proco", "imagenet_lt"): "proco_imagenet_90", ("proco", "inat18"): "proco_inat_90"},
    **{("paco", name): "paco_lt_400_lr002" for name in ("imagenet_lt", "inat18")},
    **{("gpaco", name): "gpaco_lt_400_lr004" for name in ("imagenet_lt", "inat18")},
    **{(name, "places_lt"): f"{name}_places_30" for name in ("paco", "gpaco")},
    **{(name, "imagenet"): f"{name}_full_400" for name in ("paco", "gpaco")},
    ("gpaco_multitask", "imagenet_lt"): "gpaco_lt_400_lr006",
    **{("reslt", "imagenet_lt"): "imagenet_180_lr01", ("reslt", "inat18"): "inat_200"},
    **{(name, "imagenet_lt"): "bcl_imagenet_90" for name in (*CONTROLS, "gcl")},
    **{(name, "inat18"): "bcl_inat_100" for name in (*CONTROLS, "gcl")},
    **{(name, "places_lt"): "paco_places_30" for name in CONTROLS},
    ("boosted_sdclr", "imagenet_lt"): "large_baseline",
    **{pair: "large_gh" if pair[0].endswith("_gh") else "large_baseline" for pair in TABLE},
}


def test_every_recipe_is_here():
    files = {recipe for recipe in groups()["recipe"] if recipe.endswith(tuple(f"_{name}" for name in LARGE))}
    # the values of forms with a queue stand in tests/methods/test_NAME_moco.py
    queued = {f"{name}_moco_{dataset}" for name in ("kcl", "tsc") for dataset in ("imagenet_lt", "inat18")}
    assert files == {"sbcl_moco_imagenet_lt", *queued, *("_".join(pair) for pair in RECIPES)}
    own = (*LIFTS, "mislas", "glmc", "ncl", "ncl_moco", "ncl_plus", *EXPERTS)  # rates of their own files
    elsewhere = {pair for pair in RECIPES if pair[0] in own} | {("gcl", "places_lt")}
    assert RATES.keys() == RECIPES.keys() - elsewhere - {(name, "imagenet_lt") for name in ONE_COSINE}


ALL = groups()["recipe"]
PUBLISHED = [name for name in groups()["method"] if {f"{name}_cifar100_lt", f"{name}_imagenet_lt"} & set(ALL)]


def test_every_method_has_a_recipe_on_imagenet_lt():
    assert {f"{method}_imagenet_lt" for method in PUBLISHED} <= set(ALL) and len(PUBLISHED) >= 20


@pytest.mark.parametrize(("method", "dataset"), each_value_once(itertools.product(PUBLISHED, LARGE)))
def test_large_images_without_a_recipe_take_that_of_imagenet_lt(method, dataset):
    """So no method trains large images with the views, epochs and batches of CIFAR."""
    words = [f"dataset={dataset}", f"method={method}"]
    composed = compose(words)
    if f"{method}_{dataset}" not in ALL:
        assert composed == compose([*words, f"recipe={method}_imagenet_lt"])
    found = validate(composed)
    views = found.method.get("views") or ["crop_flip"]  # the default of CE and what builds on it
    assert set(views) <= LARGE_VIEWS and found.method.get("cluster_view") is None
    assert (found.dataset.image_size, found.dataset.crop_padding) == (224, None)
    assert found.backbone["name"] == ("resnet152" if dataset == "places_lt" else "resnet50")


def test_a_folder_of_images_takes_imagenet_lts_recipes_unless_told_otherwise():
    words = ["dataset=image_folder", "dataset.num_classes=12", "method=bcl"]
    assert validate(compose(words)).train.epochs == 90
    assert validate(compose([*words, "recipe=bcl_inat18"])).train.epochs == 100
    assert validate(compose([*words, "recipe=none"])).train.epochs == 200
    assert compose(["dataset=cifar10_lt", "method=bcl", "recipe=none"]).train.epochs == 200


@pytest.mark.parametrize("method", ONE_COSINE)
def test_one_cosine_from_the_full_rate(method):
    train = config(method, "imagenet_lt").train
    schedule = build(train.schedule, "train.schedule")
    epochs = ONE_COSINE[method]
    expected = [0.05 * (1 + np.cos(np.pi * epoch / epochs)) for epoch in range(epochs)]
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(epochs)], expected, rtol=1e-12)


def config(method, dataset, *words):
    return validate(compose([f"method={method}", f"dataset={dataset}", *words]))


@pytest.mark.parametrize(("method", "dataset"), each_value_once(RECIPES))
def test_values_of_the_published_tables(method, dataset):
    found = config(method, dataset)
    train, views = found.train, found.method.get("views")
    values = (train.epochs, train.batch_size, train.lr, train.optimizer["weight_decay"])
    assert (*values, train.schedule["warm_epochs"], views) == RECIPES[method, dataset]
    assert train.optimizer["momentum"] == 0.9
    assert train.drop_last == method.startswith(("paco", "gpaco", "proco", "reslt", "ncl", *ONE_COSINE))
    defaults = {name: parameter.default for name, parameter in parameters(found.method["_target_"]).items()}
    for key, value in METHOD_VALUES.get((method, dataset), {}).items():
        assert {**defaults, **found.method}[key] == value


FIDELITIES = [(*pair, fidelity) for fidelity in ("clean", "official") for pair in RATES]


@pytest.mark.parametrize(("method", "dataset", "fidelity"), each_value_once(FIDELITIES))
def test_rates_are_the_published_ones(method, dataset, fidelity):
    if f"{method}_official" not in groups()["quirks"] or method in NOT_OFFICIAL:
        fidelity = "clean"
    train = config(method, dataset, f"fidelity={fidelity}").train
    schedule = build(train.schedule, "train.schedule")
    file = "reslt_lr.npz" if method == "reslt" else "lr_schedules.npz"
    expected = np.load(FOLDER / ("gh_schedules.npz" if method in NOT_OFFICIAL else file))[RATES[method, dataset]]
    rtol = 2e-5 if method == "reslt" else 1e-6  # ResLT's authors have seven digits of pi
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(train.epochs)], expected, rtol=rtol)


@pytest.mark.parametrize(("method", "dataset"), [pair for pair in TABLE if pair[0].endswith("_gh")])
def test_harmonization_is_that_of_large_images(method, dataset):
    found = config(method, dataset)
    data, values = np.load(FOLDER / "gh_schedules.npz"), found.method["harmonization"]
    assert (found.dataset.group_rule, values["memory_start"], values["prior_floor"]) == ("count_100_20", 10, 100)
    assert (values["target_dim"], values["temperature"], values["epsilon"]) == (100, 0.1, 0.05)
    settings = build(values, "method.harmonization")
    component, later = Harmonization(settings, 1, 128), Harmonization(replace(settings, prior_lead=1), 1, 128)
    epochs = range(found.train.epochs)
    weights, momenta = ([part(epoch) for epoch in epochs] for part in (component.weight, component.momentum))
    np.testing.assert_allclose(weights, data["large_gh_weight"], rtol=1e-6)
    np.testing.assert_allclose(momenta, data["large_score_beta"], rtol=1e-6)
    assert [epoch + 1 for epoch in epochs if component.renews_prior(epoch)] == [400, 420, 440, 460, 480, 500]
    published = data["large_prior_refresh_epochs"].tolist()
    assert [epoch + 1 for epoch in epochs if later.renews_prior(epoch)] == published


def test_places_starts_from_torchvisions_weights_and_trains_one_bottleneck():
    for method in ("paco", "gpaco", *CONTROLS):
        backbone = config(method, "places_lt").backbone
        assert (backbone["name"], backbone["pretrained"]) == ("resnet152", "torchvision")
        assert backbone["trainable_convolutions"] == ["layer4.2"]


def test_another_schedule_keeps_what_it_takes_and_nothing_else_of_the_former_one():
    schedule = config("bcl", "imagenet_lt").train.schedule
    assert {"milestones", "gamma"}.isdisjoint(schedule) and schedule["span"] == "open"
    typed = config(
        "ce", "digits_lt", "train.schedule._target_=lt_bench.engine.schedules.WarmupCosine", "train.schedule.epochs=300"
    )
    assert typed.train.schedule.keys() == {"_target_", "lr", "epochs", "warm_epochs"}
    for words in (["train.schedule.span=open"], ["train.schedule.milestones=[3]", "train.schedule.span=open"]):
        with pytest.raises(UsageError, match=r"unknown key train.schedule.(span|milestones).*WarmupCosine takes"):
            config("ce", "digits_lt", *words, "train.schedule._target_=lt_bench.engine.schedules.WarmupCosine")
    probe = "stage_two.train.schedule"
    steps = config(
        "simclr", "digits_lt", f"{probe}._target_=lt_bench.engine.schedules.Steps", f"{probe}.milestones=[9,19]"
    )
    assert steps.stage_two.train.schedule.keys() == {"_target_", "lr", "milestones"}
    former = config(
        "simclr",
        "digits_lt",
        f"{probe}._target_=lt_bench.engine.schedules.Steps",
        f"{probe}.milestones=[9,19]",
        f"~{probe}.final_lr",
    )
    assert former == steps  # what is gone already may be taken away


def test_a_null_and_an_unknown_key_are_refused():
    with pytest.raises(UsageError, match="unknown key method.smooting"):
        validate(compose(["method.smooting=null"]))
    with pytest.raises(UsageError, match="unknown key train.schedule.gama"):
        validate(compose(["method=ce", "train.schedule.gama=0.2"]))
    with pytest.raises(UsageError, match="unknown key train.schedule.gama"):
        validate(compose(["method=ce", "train.schedule.gama=null"]))
    with pytest.raises(UsageError, match="train.schedule.milestones=null is of the wrong kind"):
        validate(compose(["method=ce", "train.schedule.milestones=null"]))


@pytest.mark.parametrize("method", ["ce", "ce_drw", "ldam_drw", "balanced_softmax"])
def test_the_strong_recipe_is_that_of_cmos_authors(method):
    found = config(method, "imagenet_lt", "variant=strong")
    train = found.train
    assert (train.epochs, train.batch_size, train.lr, train.optimizer["weight_decay"]) == (400, 128, 0.02, 5e-4)
    assert found.method["views"] == ["cls_or_sim_always"] and found.method["title"].endswith(" (strong)")
    assert found.method.get("drw_start_epoch") == (320 if method.endswith("drw") else None)
    schedule = build(train.schedule, "train.schedule")
    expected = np.load(FOLDER / "lr_schedules.npz")["paco_lt_400_lr002"]  # ten epochs of warm-up too
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(400)], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["imagenet", "imagenet_lt", "inat18", "places_lt", "gh_imagenet"])
def test_experiments_are_the_recipes(name):
    for words in expand([f"experiment={name}"]):
        found = validate(compose(words))
        assert (found.method["name"], found.dataset.name) in RECIPES
        assert found.evaluation.split == ("validation" if name == "places_lt" else "test")


def test_the_table_of_gh_is_probed_on_a_hundred_images_of_each_class():
    table = [validate(compose(words)) for words in expand(["experiment=gh_imagenet"])]
    assert sorted((found.method["name"], found.dataset.name) for found in table) == sorted(TABLE)
    for found in table:
        rule = found.stage_two
        assert (rule.name, rule.options["shots"], rule.options["train_view"]) == ("few_shot_probe", 100, "crop_flip")
        assert found.backbone["name"] == "resnet50" and rule.options["train_split"] == "balanced"


def test_crt_and_lws_have_the_published_values():
    rates, table = np.load(FOLDER / "cb_lr.npz"), {}
    for words in expand(["experiment=crt_large"]):
        found = validate(compose(words))
        train = found.stage_two.train
        name = {"imagenet_lt": "imagenet", "places_lt": "places", "inat18": "inat"}[found.dataset.name]
        rule = {"cb": "crt", "lws": "lws"}[found.stage_two.name]
        table[name, rule] = (train.batch_size, train.epochs, train.lr, train.optimizer["weight_decay"])
        assert (train.sampler, train.drop_last, found.method["name"]) == ("class_aware_cut", True, "ce")
        schedule = build(train.schedule, "stage_two.train.schedule")
        expected = rates[f"{name}_{rule}_intended_per_epoch"]
        np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(train.epochs)], expected, rtol=1e-6)
    assert table == {
        ("imagenet", "crt"): (512, 10, 0.2, 5e-4),
        ("imagenet", "lws"): (512, 5, 0.2, 5e-4),
        ("places", "crt"): (256, 10, 0.1, 5e-4),
        ("inat", "crt"): (512, 30, 0.2, 1e-4),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("method", "dataset"), RECIPES)
def test_every_recipe_trains_on_small_files(method, dataset, tmp_path):
    root = image_trees.tree(tmp_path / "data", dataset)
    words = [*image_trees.overrides(root, dataset), f"method={method}", "train.batch_size=16"]
    words.append("budget.max_steps_per_epoch=1")
    if method.startswith(("paco", "gpaco", "ncl_moco")):
        words.append("method.queue_size=64")
    if method in LIFTS:  # modules are for transformers, and images here have few pixels
        words += ["finetune=full", "evaluation.expand=2"]
    if method not in NOT_OFFICIAL:  # these have ten epochs, eight of them before harmonization
        words += ["train.epochs=2", "train.schedule.warm_epochs=0"]
    record, _ = execute(tiny(tmp_path / "runs", *words))
    assert sum(record.metrics["train_counts"]) == sum(image_trees.COUNTS)
