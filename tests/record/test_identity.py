"""Identities: what decides a result is in them, and nothing else."""

import dataclasses
import shutil
from functools import cache

import pytest
from helpers import image_trees
from helpers.chain import method_for

from lt_bench.config.compose import compose, groups
from lt_bench.config.dataset import Dataset
from lt_bench.config.keys import affects_result, look_up
from lt_bench.config.schema import Config
from lt_bench.preflight.validate import validate
from lt_bench.record import identity as module
from lt_bench.record.identity import identity_values, run_id, setting_id, stage_one_id, unseeded
from lt_bench.record.record import PROBES

GROUP_RULES = look_up("dataset.group_rule").setting.choices


def config(*words):
    return validate(compose(words))


def identities(*words):
    settled = config(*words)
    return run_id(settled), setting_id(settled), stage_one_id(settled)


@cache
def usual():
    """The identities of the run that nothing is typed for."""
    return identities()


def test_identities_that_runs_on_disk_have():
    """Published recipes; a change here orphans every record of such a run, so it must be on purpose."""
    assert identities("dataset=cifar100_lt") == ("3bbe7bcfee7e", "3bbe7bcfee7e", "7ce54c2772f0")
    control = ("dataset=cifar10_lt", "method=ce", "stage_two=none", "imbalance=if50", "seed=3")
    assert identities(*control) == ("5487f106a16f", "28c83f5601f1", "9761e748c38f")


@pytest.mark.parametrize(
    "word",
    [
        "seed=0",
        "imbalance.factor=20",
        "imbalance.factor=20.0",
        "fidelity=clean",
        "budget=paper",
        "backbone=tiny",
        "stage_two=cb",
        "train.sampler=shuffle",
        "train.optimizer.name=sgd",
        "stage_two.train.optimizer.name=sgd",
        "method.beta=0.25",
        "method.base_temperature=0.07",
        "method.subclass_temperature=null",
        "method.views=[simclr,simclr]",
        "method.concentration_alpha=10",
        "backbone.input_pool=1",
        "stage_two.augment=true",
        "stage_two.train.drop_last=false",
        "train.precision=float32",
        "stage_two.train.microbatch=null",
        "tf32=null",
        "dataset.pool_per_class=null",
        "dataset.pixels=plain",
        "dataset.decoder=pillow",
        "train.schedule.decay_rate=0.1",
        "~method.temperature_law",
    ],
)
def test_a_default_that_is_typed_changes_nothing(word):
    assert identities(word) == usual()


@pytest.mark.parametrize(
    "word",
    [
        "output_dir=elsewhere",
        "data_dir=elsewhere",
        "dataset.root=elsewhere",
        "dataset.download=false",
        "dataset.title=X",
        "dataset.follow_links=true",
        "method.title=X",
        "stage_two.title=X",
        "method.order=3",
        "stage_two.order=3",
        "device=cpu",
        "deterministic=true",
        "compile=true",
        "progress=false",
        "launch.parallel_runs=2",
        "launch.threads_per_run=1",
        "threads=3",
        "checkpoint.every_epochs=1",
        "checkpoint.every_steps=5",
        "evaluation.batch_size=7",
        "sweep=[{seed:1}]",
        "recipe=sbcl_digits_lt",
    ],
)
def test_where_and_how_a_run_is_done_changes_nothing(word):
    assert identities(word) == usual()


@pytest.mark.parametrize(
    "word",
    [
        "seed=1",
        "split_seed=1",
        "imbalance=if10",
        "imbalance.factor=21",
        "imbalance.factor=null",
        "imbalance.profile=step",
        "fidelity=official",
        "budget=smoke",
        "budget.max_steps_per_epoch=3",
        "method=supcon",
        "method.beta=0.26",
        "method.views=[simclr_blur,simclr]",
        "method.subclass_temperature=0.2",
        "backbone=resnet8_cifar",
        "backbone.input_pool=2",
        "train.lr=0.123",
        "train.precision=bf16",
        "tf32=true",
        "train.optimizer.nesterov=true",
        "train.optimizer.name=adam",
        "train.schedule.lr=0.123",
        "dataset.crop_padding=2",
        "dataset.pool_per_class=50",
        "dataset.pixels=shown",
        "dataset.decoder=turbo",
        "dataset.validation_fraction=0.2",
    ],
)
def test_what_decides_the_encoder_changes_run_and_stage_one(word):
    run, _, stage_one = usual()
    other_run, _, other_stage_one = identities(word)
    assert other_run != run and other_stage_one != stage_one


@pytest.mark.parametrize(
    "words",
    [
        ["stage_two=ldam_drw"],
        ["stage_two=linear_probe"],
        ["stage_two=linear_probe", "stage_two.train_split=train"],
        ["stage_two=linear_probe", "stage_two.train_view=crop_flip"],
        ["stage_two=linear_probe", "stage_two.train.optimizer.name=sgd"],
        ["stage_two=few_shot_probe", "stage_two.shots=50"],
        ["stage_two=few_shot_probe", "stage_two.shot_seed=3"],
        ["stage_two.train.lr=0.2"],
        ["stage_two.augment=false"],
        ["evaluation.select=best_test"],
        ["dataset.validation_per_class=20", "evaluation.split=validation"],
        ["dataset.validation_per_class=20", "evaluation.split=validation", "evaluation.select=best_validation"],
    ],
)
def test_stage_one_is_shared_by_what_comes_after_it(words):
    base = identities(*(word for word in words if word.startswith("dataset.")))
    changed = identities(*words)
    assert changed[0] != base[0] and changed[2] == base[2]


@pytest.mark.parametrize("dataset", groups()["dataset"])
def test_how_tables_group_the_classes_is_no_matter_of_the_encoder(dataset):
    words = (f"dataset={dataset}", "dataset.num_classes=10")  # which only the user of image_folder knows
    rules = [identities(*words, f"dataset.group_rule={rule}") for rule in GROUP_RULES]
    own = identities(*words)
    assert {below for _, _, below in rules} == {own[2]} and len({run for run, _, _ in rules}) == len(GROUP_RULES)
    assert own in rules


def test_a_data_set_without_a_file_has_the_usual_group_rule():
    named = [identities("dataset.name=mine", f"dataset.group_rule={rule}") for rule in GROUP_RULES]
    assert named[0][2] == named[1][2] and named[0][0] != named[1][0]


def test_draws_of_the_shots_are_runs_of_one_setting():
    probe = ("method=ce", "stage_two=few_shot_probe")
    draws = [identities(*probe, f"stage_two.shot_seed={seed}", "split_seed=1") for seed in range(3)]
    assert len({run for run, _, _ in draws}) == 3
    assert len({(setting, below) for _, setting, below in draws}) == 1
    assert identities(*probe, "stage_two.shots=50")[1] != draws[0][1]


@pytest.mark.parametrize("rule", groups()["stage_two"])
def test_a_probe_list_decides_probes_alone(rule):
    words = ("dataset=imagenet_lt", f"method={method_for(rule)}", f"stage_two={rule}")
    plain, listed, other = (
        identities(*words, *given) for given in ((), ("dataset.probe_list=a",), ("dataset.probe_list=b",))
    )
    assert (len({plain, listed, other}) == 3) == (rule in PROBES)
    assert (plain == listed == other) == (rule not in PROBES)
    assert plain[2] == listed[2] == other[2]


def test_a_folder_of_ones_own_is_known_by_its_images_and_labels(tmp_path):
    for name in "abc":
        image_trees.tree(tmp_path / name, "image_folder")
    (tmp_path / "c" / "train" / "n0000" / "n0000_7.JPEG").unlink()
    words = ("dataset=image_folder", "dataset.num_classes=8", "method=ce")

    def of(name, *more):
        return identities(*words, f"dataset.root={tmp_path / name}", *more)

    assert of("a") == of("b") and not set(of("a")) & set(of("c"))
    shutil.copytree(tmp_path / "b" / "test", tmp_path / "b" / "more")
    probe = ("stage_two=linear_probe", "dataset.probe_list=more")
    found, rule = of("b", *probe), of("b", "dataset.probe_list=more")
    (tmp_path / "b" / "more" / "n0000" / "n0000_1000.JPEG").rename(tmp_path / "b" / "more" / "n0000" / "other.JPEG")
    changed = of("b", *probe)
    assert not set(found[:2]) & set(changed[:2]) and found[2] == changed[2]
    assert rule == of("b", "dataset.probe_list=more") == of("a")


def test_published_lists_and_missing_ones_are_known_by_their_name(tmp_path):
    image_trees.image_lists(tmp_path / "a")
    words = ("dataset=imagenet_lt", "method=ce")
    assert identities(*words) == identities(*words, f"dataset.root={tmp_path / 'a'}", f"dataset.list_dir={tmp_path}")
    own = ("dataset=image_folder", "dataset.num_classes=8")
    assert identities(*own) == identities(*own, f"dataset.root={tmp_path / 'nowhere'}")


def test_stage_one_is_shared_by_all_rules_and_is_no_run():
    rules = [identities("method=ce", f"stage_two={rule}") for rule in ("none", "cb", "ldam_drw")]
    assert len({run for run, _, _ in rules}) == 3 and len({below for _, _, below in rules}) == 1
    assert rules[0][2] not in {run for run, _, _ in rules}


def test_choosing_the_epoch_of_stage_one_is_a_stage_one_of_its_own():
    """Without a stage two, the best epoch is chosen while the encoder is trained."""
    last = identities("method=ce", "stage_two=none")
    best = identities("method=ce", "stage_two=none", "evaluation.select=best_test")
    validation = ("method=ce", "stage_two=none", "dataset.validation_per_class=20", "evaluation.select=best_validation")
    assert len({last[2], best[2], identities(*validation)[2]}) == 3
    assert identities("method=ce", "stage_two=cb", "evaluation.select=best_test")[2] == last[2]


def test_numbers_that_are_equal_are_the_same():
    assert identities("train.lr=1") == identities("train.lr=1.0")
    assert identities("method.temperature=1") == identities("method.temperature=1.0")
    assert identities("method.subclass_temperature=1") == identities("method.subclass_temperature=1.0")
    assert identities("dataset.color_jitter=[1,1,1,0]") == identities("dataset.color_jitter=[1.0,1.0,1.0,0.0]")
    assert identities("train.lr=1e-1") == identities("train.lr=0.1") != identities("train.lr=0.11")


def test_the_order_of_words_says_nothing():
    words = ["method=ce", "seed=1", "train.lr=0.3", "stage_two=cb"]
    assert identities(*words) == identities(*words[::-1])


def test_seeds_are_not_in_the_setting():
    settings = {identities(*words)[1] for words in ([], ["seed=1"], ["split_seed=4"], ["seed=2", "split_seed=3"])}
    assert len(settings) == 1 and identities("method.beta=0.3")[1] not in settings
    official = {identities("fidelity=official", f"split_seed={seed}")[1] for seed in (0, 1)}
    assert len(official) == 1  # the seed of the authors' k-means follows the split seed


def test_a_parameter_that_follows_the_split_seed_is_no_setting_and_any_other_is():
    following, own = (config("fidelity=official", "split_seed=3", *words) for words in ((), ("method.kmeans_seed=7",)))
    assert "method.kmeans_seed" not in unseeded(following)
    assert unseeded(own)["method.kmeans_seed"] == 7
    assert not {"seed", "split_seed"} & unseeded(config("seed=1", "split_seed=2")).keys()


def test_decides():
    keys = ("train.lr", "seed", "dataset.name", "launch.parallel_runs", "launch", "output_dir", "dataset.root")
    assert [affects_result(key) for key in keys] == [True, True, True, False, False, False, False]


def test_what_decides_is_what_differs_from_the_defaults():
    found = identity_values(config("seed=1", "train.lr=0.123"))
    assert found["seed"] == 1 and found["train.lr"] == 0.123 and found["method.name"] == "sbcl"
    assert list(found) == sorted(found)
    assert not {"split_seed", "device", "output_dir", "train.schedule.lr", "train.drop_last", "method.beta"} & set(
        found
    )


@dataclasses.dataclass
class WiderDataset(Dataset):
    novelty: str = "none"


@dataclasses.dataclass
class Wider(Config):
    dataset: WiderDataset = dataclasses.field(default_factory=WiderDataset)
    novelty: float = 0.5


def test_a_new_key_of_the_schema_leaves_old_identities_alone(monkeypatch):
    old = config()
    values = {item.name: getattr(old, item.name) for item in dataclasses.fields(old)}
    new = Wider(**(values | {"dataset": WiderDataset(**vars(old.dataset))}))
    monkeypatch.setattr(module, "Config", Wider)
    assert (run_id(new), stage_one_id(new)) == (run_id(old), stage_one_id(old))
    for changed in (dataclasses.replace(new, novelty=0.6), dataclasses.replace(new)):
        if changed.novelty == new.novelty:
            changed.dataset.novelty = "some"
        assert run_id(changed) != run_id(old)


CODE = "own_code.stage_one"  # the sources of these two classes differ, and count


def test_a_new_parameter_of_a_class_leaves_old_identities_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for name, parameters in (("old_form", ""), ("new_form", ", *, novelty: float = 1")):
        (tmp_path / f"{name}.py").write_text(f"class Mine:\n    def __init__(self, encoder, info{parameters}): ...\n")
        words = ("method=ce", "stage_two=cb", f"method._target_={name}.Mine", f"trust=[{name}]")
        values = identity_values(config(*words))
        found.append({key: value for key, value in values.items() if key not in ("method._target_", CODE)})
    assert found[0] == found[1]
    typed = identity_values(config(*words, "method.novelty=1"))
    assert "method.novelty" not in typed
