"""The shape of a run's config: one dataclass per group, and the resolvers that conf/ uses."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from lt_bench.config import epochs, factors, held_out
from lt_bench.config.dataset import Dataset
from lt_bench.config.evaluation import Evaluation
from lt_bench.config.own_code import OwnCode
from lt_bench.config.settings import MOST_EPOCH_SCALE, MOST_SEED, setting
from lt_bench.config.stages import StageName

# the networks that torchvision has published weights for
TORCHVISION = ("resnet18", "resnet50", "resnet101", "resnet152", "resnext50_32x4d")
PUBLISHED = ("torchvision", "timm")  # words for published weights, in place of a file
MOST_THREADS = 1024  # more than any process has cores; ten times as many are hours of waiting for each other


@dataclass
class Target:
    """A node that names a class; the parameters of the class stand beside these keys."""

    _target_: str = setting(MISSING, help="the class or function, as module.Name")


@dataclass
class Named(Target):
    """What stands beside the parameters of a method or a stage-two rule."""

    name: str = setting(MISSING, help="its name, as in records and file names")
    title: str = setting(MISSING, affects_result=False, help="its name in tables")
    order: int | None = setting(
        None, affects_result=False, help="rows of tables stand by it, then by title; null: after those that have one"
    )


@dataclass
class OfMethod(Named):
    """What stands beside the parameters of a method."""

    finetune: dict[str, Any] | None = setting(
        None, beside=Target, help="which part of the encoder is trained, and what the classifier starts from; null: all"
    )


@dataclass
class Backbone(Target):
    """What stands beside the parameters of a backbone."""

    name: str = setting(MISSING, help="its name, as in records and file names")
    input_pool: int = setting(1, least=1, help="images are averaged over squares of this many pixels first")
    pretrained: str | None = setting(
        None, help="a file of weights to start from, or torchvision or timm, which publish them; null: random ones"
    )
    weights_prefix: str | None = setting(
        None,
        help="what stands before the names of the encoder's tensors in a file of weights of several networks, such as "
        "teacher.backbone; null: whatever does, and not what belongs to a network that follows another",
    )
    weights_partial: bool = setting(
        False, help="whether a file of weights may lack tensors of the encoder or have others, which is said then"
    )
    trainable_convolutions: list[str] | None = setting(
        None, help="convolutions that are trained, all others keep the weights they start from; null: all are trained"
    )


@dataclass
class Imbalance:
    """The long tail."""

    factor: float | None = setting(100.0, least=1, help="largest class / smallest class; null: all images are kept")
    profile: str = setting(
        "exponential",
        choices=("exponential", "step"),
        help="sizes of the classes between: each a constant factor smaller, or half the classes large and half small",
    )


@dataclass
class Training:
    """How a stage is trained."""

    epochs: int = setting(
        MISSING, least=1, help="passes over the images; the recipe's other epochs move with typed ones"
    )
    batch_size: int = setting(MISSING, least=1, help="images of one step, over all processes")
    lr: float = setting(MISSING, above=0, help="learning rate that the schedule starts from, before lr_scaling")
    drop_last: bool = setting(False, help="whether the last batch of an epoch is left out where it is not full")
    sampler: str = setting(
        "shuffle",
        choices=("shuffle", "class_aware", "class_aware_cut", "balanced"),
        help="an epoch has all images once, or all classes equally often (class_aware_cut: in as many steps; balanced: "
        "drawn with replacement, in as many)",
    )
    precision: str = setting(
        "float32",
        choices=("float32", "bf16", "fp16", "auto"),
        help="number format of forward and backward passes; auto: bf16 or else fp16 on a GPU, float32 on a CPU",
    )
    microbatch: int | None = setting(
        None,
        least=1,
        help="images, over all processes, of one forward and backward pass, which adds its gradients to the others' of "
        "the batch; batch norm sees one pass at a time; null: the whole batch",
    )
    microbatch_anyway: bool = setting(
        False, help="whether the loss of a whole batch, which has another value on its parts, may be taken in passes"
    )
    microbatch_weights: str = setting(
        "images",
        choices=("images", "full"),
        help="what a micro-batch counts: its images, or as much as in a full batch, also in the smaller last one, as "
        "LIFT's authors have it",
    )
    lr_scaling: str = setting(
        "none",
        choices=("none", "linear", "sqrt"),
        help="multiplies every rate by batch_size / lr_base_batch, or by its square root",
    )
    lr_base_batch: int | None = setting(None, least=1, help="the batch size that lr is meant for, for lr_scaling")
    decay_bias_and_norm: bool = setting(
        True, help="whether weight decay acts on parameters of one dimension too: biases and gains of norms"
    )
    layer_decay: float | None = setting(
        None,
        least=0,
        most=1,
        above=0,
        help="the rate of the encoder's last block is that of the step times this, of each block before it times this "
        "again; null: one rate",
    )
    head_lr_factor: float = setting(1.0, above=0, help="multiplies the rate of all that is not the encoder")
    clip_norm: float | None = setting(
        None, above=0, help="largest norm of all gradients together, which are scaled to it before a step; null: any"
    )
    ema_decay: float | None = setting(
        None,
        least=0,
        most=1,
        help="decay of a moving average of the weights, which is then what is evaluated; null: no average",
    )
    optimizer: dict[str, Any] = setting({}, beside=Target, help="how gradients become steps")
    schedule: dict[str, Any] = setting({}, beside=Target, help="the learning rate of every step")
    patience: int | None = setting(
        None,
        least=1,
        help="a stage whose best epoch is chosen by validation images ends after so many epochs without a better one; "
        "null: it never ends early",
    )
    recipe_epochs: int | None = setting(
        None, least=1, affects_result=False, help="epochs of the recipe where others are typed; null: none are"
    )


@dataclass
class StageTwo(Named):
    """The rule that fits a classifier on the frozen encoder.

    In files and on the command line the parameters of its class stand beside the other keys; in a checked config they
    are ``options``.
    """

    train: Training | None = setting(None, help="how its classifier is trained; rules of a closed form have none")
    options: dict[str, Any] = setting({}, help="the parameters of its class")

    def parameters(self) -> dict[str, Any]:
        """The class and its parameters, as any other node that names a class has them."""
        return {"_target_": self._target_, **self.options}


@dataclass
class Budget:
    """How long, never what."""

    name: str = setting("paper", help="its name; custom where values differ from the file of this name")
    epoch_scale: float = setting(
        1.0, above=0, most=MOST_EPOCH_SCALE, help="multiplies all numbers of epochs of a recipe"
    )
    max_steps_per_epoch: int | None = setting(None, least=1, help="an epoch ends after so many steps; null: never")
    rescale: bool = setting(
        True, affects_result=False, help="whether a recipe's epochs move with epochs that are typed"
    )
    moved: list[str] = setting([], affects_result=False, help="the keys that moved with typed epochs: not to be typed")

    @property
    def in_records(self) -> str:
        """What records call it: custom too where typed epochs moved what a recipe counts in epochs."""
        return "custom" if self.moved and self.max_steps_per_epoch is None else self.name


@dataclass
class Checkpoint:
    """How often a run can be resumed from."""

    every_epochs: int | None = setting(10, least=1, help="epochs from one checkpoint to the next; null: at the end")
    every_steps: int | None = setting(None, least=1, help="steps from one checkpoint to the next; null: none inside")


@dataclass
class Launch:
    """How runs are carried out: processes on this machine, or jobs of a SLURM cluster."""

    executor: str = setting("local", choices=("local", "slurm"), help="processes on this machine, or jobs of SLURM")
    parallel_runs: int = setting(1, least=1, help="runs at a time on this machine")
    threads_per_run: int | None = setting(
        None, least=1, most=MOST_THREADS, help="CPU threads of a run; null: each run's own choice"
    )
    runs_per_gpu: int = setting(1, least=1, help="runs that share a job and its GPU")
    nodes: int = setting(1, least=1, help="nodes of a job; above 1: one run in a process per GPU")
    gpus_per_node: int = setting(1, least=0, help="GPUs on each node of a job; above 1: one run in a process per GPU")
    cpus_per_task: int = setting(4, least=1, help="CPU cores of one process, which runs on one GPU share")
    mem_gb: float | None = setting(None, above=0, help="memory of a node in GB; null: the cluster's own choice")
    time_min: int = setting(1440, least=1, help="minutes of a job; a run that needs longer is continued in another one")
    partition: str | None = setting(None, help="the partition of the cluster; null: its own choice")
    account: str | None = setting(None, help="the account that is charged; null: the cluster's own choice")
    qos: str | None = setting(None, help="the quality of service; null: the cluster's own choice")
    constraint: str | None = setting(None, help="features that nodes must have, such as a100; null: none")
    array_parallelism: int = setting(256, least=1, help="jobs of an array that may run at once")
    signal_delay_s: int = setting(
        120, least=1, help="seconds before the end of its time at which a job is told to write checkpoints"
    )
    max_requeues: int = setting(1000, least=0, help="how often one job may be continued")
    sbatch: list[str] = setting([], help='further options as sbatch has them, such as "--exclude=node7"')
    setup: list[str] = setting([], help='shell commands that each job starts with, such as "module load cuda"')


@dataclass
class Search:
    """A search for settings on the validation part; the space is typed as ``search.space.KEY=VALUES``."""

    name: str = setting("none", choices=("none", "optuna"), help="optuna, or none where settings are given")
    trials: int = setting(30, least=1, help="runs of the search, those that were stopped included")
    seed: int = setting(0, least=0, most=MOST_SEED, help="seed of the choice of settings")
    metric: str = setting("macro", help="what is best: a metric on the validation part, as records have it")
    random_trials: int = setting(10, least=1, help="trials that are drawn before others follow from their scores")
    prune_after_trials: int | None = setting(
        5, least=1, help="trials before one may be stopped that scores below the median of others; null: none is"
    )
    prune_after_epochs: int | None = setting(
        None, least=0, help="epochs of a trial before it may be stopped; null: a quarter of them"
    )
    space: dict[str, Any] = setting({}, help="values to choose from by dotted key: a,b, range, interval or log")


@dataclass
class Config:
    """One run."""

    dataset: Dataset = setting(Dataset, help="the data set and how its images are augmented")
    imbalance: Imbalance = setting(Imbalance, help="the long tail that is cut from it")
    method: dict[str, Any] = setting({}, beside=OfMethod, help="the method of stage one")
    backbone: dict[str, Any] = setting({}, beside=Backbone, help="the encoder, from images to features")
    stage_two: StageTwo = setting(StageTwo, help="the rule that fits a classifier on the frozen encoder")
    train: Training = setting(Training, help="how stage one is trained")
    evaluation: Evaluation = setting(Evaluation, help="what is evaluated")
    fidelity: str = setting(
        "clean", choices=("clean", "official"), help="whether defects of the authors' code are mended or kept"
    )
    budget: Budget = setting(Budget, help="how long runs are, compared with their recipe")
    checkpoint: Checkpoint = setting(Checkpoint, affects_result=False, help="how often a run can be resumed from")
    launch: Launch = setting(Launch, affects_result=False, help="how runs are carried out")
    tracker: dict[str, Any] = setting(
        {},
        of_nodes=True,
        affects_result=False,
        help="where runs are shown: trackers by name, each a class and its settings",
    )
    experiment: dict[str, Any] = setting({}, affects_result=False, help="a file of runs that belong together")
    recipe: dict[str, Any] = setting({}, affects_result=False, help="the values for a method on a data set")
    sweep: list[dict[str, Any]] = setting(
        [], affects_result=False, help="grids of an experiment, each from keys to their values as they are typed"
    )
    search: Search = setting(Search, affects_result=False, help="a search for settings, for -m")
    own_code: OwnCode = setting(OwnCode, help="the version of the user's own code that a run is known by")
    trust: list[str] = setting([], affects_result=False, help="modules of one's own that a _target_ may name")
    seed: int = setting(
        0, least=0, most=MOST_SEED, help="seed of the training: initial weights, order and augmentation of the images"
    )
    split_seed: int = setting(0, least=0, most=MOST_SEED, help="seed of the choice of the long-tailed images")
    device: str = setting(
        "auto", choices=("auto", "cpu", "cuda"), affects_result=False, help="where a run is computed; auto: on a GPU"
    )
    threads: int | None = setting(
        None,
        least=1,
        most=MOST_THREADS,
        affects_result=False,
        help="CPU threads of a process; null: OMP_NUM_THREADS, or else by the size of the network and what is free",
    )
    tf32: bool | None = setting(
        None, help="whether float32 products on a GPU may be rounded to TF32; null: as PyTorch does"
    )
    deterministic: bool = setting(
        False, affects_result=False, help="whether a GPU computes the same bits every time, which is slower"
    )
    compile: bool = setting(False, affects_result=False, help="whether encoders are compiled by torch.compile")
    cuda_graph: bool = setting(
        False, affects_result=False, help="whether a GPU replays whole training steps that were recorded once"
    )
    progress: bool = setting(True, affects_result=False, help="whether a bar shows how far a run is")
    output_dir: str = setting("runs", affects_result=False, help="the folder of all run folders")
    data_dir: str = setting("data", affects_result=False, help="the folder of all data sets")


def wants_validation(config: Config) -> bool:
    """Whether a validation part is evaluated on or chooses the epoch."""
    return bool({"validation", "best_validation"} & {config.evaluation.split, config.evaluation.select})


def chooses_epoch(config: Config, training: str) -> bool:
    """Whether the best epoch is chosen in a stage, by the key of its training: the one that trains the classifier."""
    of_stage_one = config.stage_two.name == "none"
    return config.evaluation.select != "last" and (training == StageName.ONE.training) == of_stage_one


def node(config: Config, key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = config
    for part in key.split("."):
        if isinstance(value, StageTwo) and part in value.options:
            value = value.options
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def plain(config: Config) -> dict[str, Any]:
    """A config as nested dictionaries of plain values, laid out as it is typed and as files in run folders have it."""
    values = asdict(config)
    rule = values["stage_two"]
    rule |= rule.pop("options")
    if rule["train"] is None:
        del rule["train"]
    return values


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The single values of a nested dictionary under their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


@cache
def schema() -> DictConfig:
    """The schema as OmegaConf checks values with it; the stage-two node takes the parameters of a class as well.

    One object for all, which merging copies.
    """
    config = OmegaConf.structured(Config)
    assert isinstance(config, DictConfig)
    OmegaConf.set_struct(config.stage_two, False)
    del config.stage_two["options"]
    return config


@cache
def register() -> None:
    """Make the schema and the resolvers of ``epochs``, ``factors`` and ``held_out`` known to Hydra and OmegaConf.

    Hydra would import every module of a package ``hydra_plugins``, also from the current folder: there is none for it.
    """
    sys.modules.setdefault("hydra_plugins", None)  # type: ignore[arg-type]  # Python: an import of it fails
    ConfigStore.instance().store(name="lt_bench_schema", node=schema())
    epochs.register()
    factors.register()
    held_out.register()
