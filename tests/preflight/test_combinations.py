"""Values out of range, and values that cannot go together."""

import pytest
from helpers import configs

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.preflight.sbatch import SBATCH_KEYS, SBATCH_OURS, _sbatch_option
from lt_bench.preflight.validate import validate


def refusal(*words):
    return configs.refusal(*words).splitlines()[0]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("imbalance.factor=0.5", "imbalance.factor= takes numbers from 1"),
        ("imbalance.factor=nan", "imbalance.factor= takes numbers from 1"),
        ("imbalance.factor=inf", "imbalance.factor= takes numbers from 1"),
        ("imbalance.profile=linear", "imbalance.profile= takes exponential, step"),
        ("seed=-1", "seed=-1: seed= takes numbers from 0"),
        ("split_seed=-1", "split_seed= takes numbers from 0"),
        ("device=gpu", "device=gpu: device= takes auto, cpu, cuda"),
        ("train.epochs=0", "train.epochs= takes numbers from 1"),
        ("train.epochs=1e308", "train.epochs= takes a whole number"),
        (f"train.epochs={10**30}", "train.epochs= takes numbers from 1 to 1e+09"),
        (f"stage_two.train.epochs={10**10}", "stage_two.train.epochs= takes numbers from 1 to 1e+09"),
        (f"budget.max_steps_per_epoch={10**10}", "budget.max_steps_per_epoch= takes numbers from 1 to 1e+09"),
        (f"checkpoint.every_steps={2**63}", "checkpoint.every_steps= takes numbers from 1 to 1e+09"),
        (f"train.batch_size={2**64}", "train.batch_size= takes numbers from 1 to 1e+09"),
        ("train.lr=0", "train.lr= takes numbers above 0"),
        ("train.lr=-0.1", "train.lr= takes numbers above 0"),
        ("train.lr=nan", "train.lr= takes finite numbers"),
        ("train.optimizer.momentum=1.5", "train.optimizer.momentum= takes numbers from 0 to 1"),
        ("train.optimizer.name=lars", "train.optimizer.name= takes adagrad, adam, adamw, nadam, radam, rmsprop, sgd"),
        ("stage_two.train.optimizer.name=lars", "stage_two.train.optimizer.name= takes adagrad, adam, adamw"),
        ("stage_two.train.optimizer.name=adma", "stage_two.train.optimizer.name=adma (did you mean adam"),
        ("train.optimizer={name:adam,betas:[0.9,2]}", "train.optimizer.betas= takes numbers from 0 to 1"),
        ("train.layer_decay=0", "train.layer_decay= takes numbers above 0"),
        ("train.layer_decay=1.1", "train.layer_decay= takes numbers from 0 to 1"),
        ("train.head_lr_factor=0", "train.head_lr_factor= takes numbers above 0"),
        ("train.clip_norm=0", "train.clip_norm= takes numbers above 0"),
        ("stage_two.train.clip_norm=-1", "stage_two.train.clip_norm= takes numbers above 0"),
        ("train.ema_decay=-0.1", "train.ema_decay= takes numbers from 0 to 1"),
        ("train.sampler=x", "train.sampler= takes shuffle, class_aware, class_aware_cut, balanced"),
        ("train.precision=half", "train.precision= takes float32, bf16, fp16, auto"),
        ("train.lr_scaling=log", "train.lr_scaling= takes none, linear, sqrt"),
        (
            "train.lr_scaling=sqrt",
            "train.lr_scaling needs the batch size of the unscaled rate; set train.lr_base_batch",
        ),
        ("stage_two.train.lr_scaling=linear", "stage_two.train.lr_scaling needs the batch size"),
        ("threads=0", "threads= takes numbers from 1 to 1024"),
        ("threads=9999", "threads= takes numbers from 1 to 1024"),
        ("launch.threads_per_run=9999", "launch.threads_per_run= takes numbers from 1 to 1024"),
        ("train.microbatch=0", "train.microbatch= takes numbers from 1"),
        ("train.lr_base_batch=0", "train.lr_base_batch= takes numbers from 1"),
        ("stage_two.train.batch_size=0", "stage_two.train.batch_size= takes numbers from 1"),
        ("stage_two.train.lr=0", "stage_two.train.lr= takes numbers above 0"),
        ("stage_two.train.sampler=x", "stage_two.train.sampler= takes shuffle, class_aware"),
        ("stage_two.scale=inf", "stage_two.scale= takes finite numbers"),
        ("budget.epoch_scale=0", "budget.epoch_scale= takes numbers above 0"),
        ("budget.max_steps_per_epoch=0", "budget.max_steps_per_epoch= takes numbers from 1"),
        ("checkpoint.every_steps=0", "checkpoint.every_steps= takes numbers from 1"),
        ("launch.parallel_runs=0", "launch.parallel_runs= takes numbers from 1"),
        ("launch.executor=pbs", "launch.executor= takes local, slurm"),
        ("launch.mem_gb=0", "launch.mem_gb= takes numbers above 0"),
        ("launch.nodes=2", "launch.nodes is for a cluster; add launch=slurm, or leave it out"),
        ("dataset.num_classes=1", "dataset.num_classes= takes numbers from 2"),
        ("dataset.image_size=0", "dataset.image_size= takes numbers from 4"),
        ("dataset.mean=[0,0]", "dataset.mean= takes a list of 3 numbers"),
        ("dataset.std=[1,1,0]", "dataset.std= takes numbers above 0"),
        ("dataset.crop_scale=[0.5,2]", "dataset.crop_scale= takes numbers from 0 to 1"),
        ("dataset.validation_fraction=-0.1", "dataset.validation_fraction= takes numbers from 0 to 1"),
        ("evaluation.split=train", "evaluation.split= takes test, validation"),
        ("evaluation.select=best", "evaluation.select= takes last, best_validation, best_test"),
        ("method.views=[simclr,blurred]", "unknown view 'blurred'; method.views= takes a list of plain, crop_flip"),
    ],
)
def test_out_of_range(word, said):
    words = ["stage_two=ldam_drw"] if word.startswith("stage_two.scale") else []
    assert said in refusal(*words, word)


def test_epochs_that_are_never_counted_are_refused_in_one_line():
    (line,) = configs.refusal("method=sbcl", f"train.epochs={10**300}").splitlines()
    assert line.endswith(": train.epochs= takes numbers from 1 to 1e+09")


@pytest.mark.parametrize(
    "word",
    [
        "imbalance.factor=1",
        "imbalance.factor=1e4",
        "seed=0",
        "train.optimizer.momentum=0",
        "dataset.crop_scale=[1,1]",
        "checkpoint.every_epochs=null",
        "launch.threads_per_run=null",
        "dataset.pool_per_class=1",
        "evaluation.batch_size=1",
        "checkpoint.every_steps=1000000000",
    ],
)
def test_the_edge_of_a_range_is_in_it(word):
    validate(compose([word]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["stage_two=none"],
            "stage_two=none needs a classifier and method=sbcl trains none; set stage_two= to one of cb",
        ),
        (["method=supcon", "stage_two=none"], "method=supcon trains none"),
        (
            ["method=ce", "fidelity=official"],
            "fidelity=official is the same as clean for method=ce; set fidelity=clean",
        ),
        (
            ["method=simclr", "dataset=imagenet_lt", "fidelity=official"],
            "fidelity=official is what the authors' code of method=simclr does on CIFAR, and dataset=imagenet_lt is of",
        ),
        (
            ["method=tsc", "dataset=imagenet_lt", "fidelity=official"],
            "fidelity=official is what the authors' code of method=tsc does on CIFAR, and dataset=imagenet_lt is of "
            "large images; set fidelity=clean, and single values as method.KEY=VALUE, or method=tsc_moco, which "
            "has its own",
        ),
        (
            ["method=sbcl", "dataset=imagenet_lt", "fidelity=official"],
            "fidelity=official: what the authors' code of method=sbcl does with train.schedule.warmup_mode, "
            "train.schedule.late_epochs is not for Cosine, which dataset=imagenet_lt has here; set fidelity=clean, or "
            "method=sbcl_moco, which has its own",
        ),
        (
            ["method=supcon", "dataset=inat18", "fidelity=official"],
            "is not for Cosine, which dataset=inat18 has here; set fidelity=clean",
        ),
        (["imbalance=native", "imbalance.profile=step"], "imbalance.profile=step shapes nothing without a factor"),
        (
            ["evaluation.split=validation"],
            "a validation part is asked for but there is none; set dataset.validation_per",
        ),
        (["evaluation.select=best_validation"], "a validation part is asked for but there is none"),
        (["dataset.validation_fraction=0.2", "dataset.validation_per_class=3"], "exclude each other"),
        (["dataset.validation_fraction=1"], "leaves nothing to train on; set it below 1"),
        (
            ["method=simclr", "method.views=[ssl,boosted]"],
            "method.views: the view boosted needs a strength for every image, and nothing gives one here; boosted "
            "views are for method=boosted_cl, and the same without RandAugment is the view ssl",
        ),
        (
            ["method=simclr", "dataset=imagenet_lt", "method.views=[ssl_wide_blur_boosted,ssl_wide_blur]"],
            "and the same without RandAugment is the view ssl_wide_blur",
        ),
        (
            ["method=boosted_cl", "dataset=places_lt", "method.views=[ssl_wide_blur,ssl_wide_blur]"],
            "boosts no view of these; set method.views=[ssl_wide_blur_boosted,ssl_wide_blur_boosted]",
        ),
        (["method.cluster_view=boosted_twice"], "method.cluster_view: the view boosted_twice needs a strength"),
        (["dataset.split_dir=lists"], "split_seed=0: dataset.split_dir has the splits split1, split2, ...; set split"),
        (
            ["dataset.split_dir=a", "split_seed=1", "dataset.pool_per_class=9"],
            "dataset.pool_per_class and dataset.split",
        ),
        (["backbone.input_pool=3"], "does not fit images of 8 pixels; backbone.input_pool= takes 1, 2"),
        (["backbone.input_pool=4"], "does not fit images of 8 pixels"),
        (["train.optimizer={name:adam,nesterov:true}"], "unknown key train.optimizer.nesterov; torch.optim.Adam takes"),
        (["stage_two.train.optimizer={name:adam,momentum:1}"], "set stage_two.train.optimizer.betas=[0.9,0.999]"),
        (["train.optimizer={nesterov:true,momentum:0}"], "and there is none; set train.optimizer.momentum=0.9"),
        (
            ["train.optimizer._target_=torch.optim.LBFGS"],
            "train.optimizer._target_=torch.optim.LBFGS evaluates the loss several times a step; set train.opt",
        ),
        (["stage_two.train.optimizer._target_=torch.optim.Muon"], "torch.optim.Muon takes matrices alone"),
        (["train.ema_decay=1"], "keeps the first weights for ever; set train.ema_decay=0.999"),
        (["stage_two.train.ema_decay=1"], "for ever; set stage_two.train.ema_decay=0.999"),
        (["stage_two.train.layer_decay=0.5"], "stage_two.train.layer_decay: stage two trains a head on a frozen"),
        (["stage_two.train.head_lr_factor=2"], "stage_two.train.head_lr_factor: stage two trains a head on a frozen"),
        (["train.schedule.epochs=0"], "train.schedule.epochs=0 is less than the 150 epochs that it is for"),
        (
            ["train.epochs=20", "train.schedule.epochs=20", "train.schedule.warm_epochs=-1"],
            "train.schedule: warm_epochs is 0 or more, not -1; set single values as train.schedule.KEY=VALUE",
        ),
        (["method=ce", "train.schedule.milestones=[9,3]"], "train.schedule: milestones is a list of epochs from 1 on"),
    ],
)
def test_impossible_together(words, said):
    assert said in refusal(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["method=ce", "stage_two=none", "evaluation.select=best_test"],
        ["dataset.validation_per_class=20", "evaluation.split=validation", "evaluation.select=best_validation"],
        ["dataset.validation_fraction=0.2", "evaluation.select=best_validation"],
        ["dataset.split_dir=lists", "split_seed=1", "evaluation.split=validation"],
        ["method=boosted_cl", "method.views=[boosted_twice,ssl]"],
        ["fidelity=official"],
        ["imbalance.profile=step"],
        ["backbone.input_pool=2"],
        ["dataset=cifar100_lt", "backbone.input_pool=8"],
    ],
)
def test_possible_together(words):
    validate(compose(words))


@pytest.mark.parametrize(("value", "refused"), [("False", True), ("1 > 0", False), ("True", False)])
def test_a_classifier_that_cannot_be_known_is_taken_to_be_there(value, refused, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"a_method_{refused}_{len(value)}"
    (tmp_path / f"{name}.py").write_text(f"class Mine:\n    provides_classifier = {value}\n")
    words = ["method=ce", "stage_two=none", f"method._target_={name}.Mine", f"trust=[{name}]"]
    if refused:
        assert "needs a classifier" in refusal(*words)
    else:
        validate(compose(words))


@pytest.mark.parametrize("rule", ["lws", "tau_norm"])
def test_rules_for_linear_classifiers_refuse_a_normalised_one(rule):
    with pytest.raises(UsageError, match="needs a linear classifier.*set stage_two=cb"):
        validate(compose(["method=ldam_drw", f"stage_two={rule}"]))


@pytest.mark.parametrize("method", ["bcl", "proco"])
def test_a_method_with_a_cosine_classifier_has_no_linear_one(method):
    validate(compose([f"method={method}", "stage_two=lws"]))
    assert "needs a linear classifier" in refusal(f"method={method}", "method.classifier=cosine", "stage_two=lws")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("launch.partition='a\nrm -rf x'", "launch.partition= takes one line of text"),
        ("launch.account=''", "launch.account= takes one line of text"),
        ("launch.sbatch=[exclusive]", "launch.sbatch: 'exclusive' is no option of sbatch"),
        ("launch.sbatch=['--comment=a\nrm']", "is no option of sbatch; write it as"),
        ("launch.sbatch=['--time=3']", "'--time=3' has a key of its own; set launch.time_min="),
        ("launch.sbatch=['--array=1']", "'--array=1' has a key of its own; set launch.array_parallelism="),
        ("launch.sbatch=['--exclusive','--no-requeue']", "set launch.max_requeues="),
        ("launch.sbatch=['--tim=3']", "is the beginning of --time, which has a key of its own; set launch.time_min="),
        ("launch.sbatch=['--gpus=3']", "'--gpus=3' has a key of its own; set launch.gpus_per_node="),
        ("launch.sbatch=['--mem-per=3']", "beginning of --mem-per-cpu or --mem-per-gpu, which has a key of its own"),
        ("launch.sbatch=['--p=x']", "--partition or --parsable, which has a key of its own; set launch.partition="),
        ("launch.sbatch=['--a=x']", "set launch.account= or launch.array_parallelism="),
        ("launch.sbatch=['--outp=x']", "--outp is the beginning of --output, which is what arrays of runs"),
        ("launch.sbatch=['--output=x']", "--output is what arrays of runs are made and followed with; leave it out"),
        ("launch.nodes=2 launch.runs_per_gpu=2", "launch.runs_per_gpu above 1 shares one GPU"),
        ("launch.gpus_per_node=2 launch.runs_per_gpu=2", "launch.runs_per_gpu above 1 shares one GPU"),
        ("launch.time_min=2", "launch.signal_delay_s must be below the whole time of a job"),
        ("launch.gpus_per_node=-1", "launch.gpus_per_node= takes numbers from 0"),
        (
            "launch.partion=x",
            "unknown key launch.partion (did you mean partition?); keys of launch: executor, parallel",
        ),
    ],
)
def test_requests_to_a_cluster(word, said):
    words = word.split(" ") if "\n" not in word else [word]
    assert said in refusal("launch=slurm", *words)


@pytest.mark.parametrize("option", ["--exclude=n1", "--time-min=5", "--nodelist=n1", "--comment=x", "--no-kill"])
def test_other_options_of_sbatch_are_passed_on(option):
    assert validate(compose(["launch=slurm", f'launch.sbatch=["{option}"]'])).launch.sbatch == [option]


@pytest.mark.parametrize("name", [*SBATCH_KEYS, *SBATCH_OURS])
def test_no_beginning_of_an_option_that_is_ours_is_passed_on(name):
    for end in range(1, len(name) + 1):
        assert _sbatch_option(f"--{name[:end]}=1")
