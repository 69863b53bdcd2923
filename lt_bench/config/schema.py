"""The shape of a run's config: one dataclass per group, and the resolvers that conf/ uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

FIDELITIES = ("clean", "official")
PROFILES = ("exponential", "step")
GROUP_RULES = ("count_100_20", "thirds")
SAMPLERS = ("shuffle", "class_aware", "class_aware_cut")
SPLITS = ("test", "validation")
BAD_IMAGE = ("stop", "skip")
SELECTIONS = ("last", "best_validation", "best_test")
# the networks that torchvision has published weights for
TORCHVISION = ("resnet18", "resnet50", "resnet101", "resnet152", "resnext50_32x4d")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bf16", "fp16", "auto")
LR_SCALINGS = ("none", "linear", "sqrt")
EXECUTORS = ("local", "slurm")


@dataclass
class Dataset:
    """A data set, how its images are augmented, and how its classes are grouped in tables.

    ``split_dir`` holds lists of images that replace the selection by class counts; ``split_seed`` chooses among them.
    A null ``crop_padding`` makes the view ``crop_flip`` cut random resized crops; RandAugment does so many operations
    with such a magnitude. Stage ones are known by ``own_group_rule`` whatever the tables group by (null: the one in the
    data set's file). ``list_dir`` and what follows is for data sets of image files: names of the lists
    (``probe_list``: the images that a linear probe is fitted on, null for those of the training list), what the
    published lists count, the form in which images are stored (short side and JPEG quality; null: as they are), a
    packed copy of them in this form, processes that read images (null: one per core), and what to do about an image
    that cannot be read.
    """

    name: str = MISSING
    title: str = MISSING
    _target_: str = MISSING
    root: str | None = None
    download: bool = True
    num_classes: int = MISSING
    image_size: int = MISSING
    mean: list[float] = MISSING
    std: list[float] = MISSING
    horizontal_flip: bool = True
    crop_padding: int | None = 4
    crop_scale: list[float] = field(default_factory=lambda: [0.2, 1.0])
    color_jitter: list[float] = field(default_factory=lambda: [0.4, 0.4, 0.4, 0.1])
    color_jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    randaugment_operations: int = 2
    randaugment_magnitude: float = 10.0
    group_rule: str = "count_100_20"
    own_group_rule: str | None = None
    pool_per_class: int | None = None
    validation_fraction: float = 0.0
    validation_per_class: int = 0
    split_dir: str | None = None
    list_dir: str | None = None
    train_list: str | None = None
    validation_list: str | None = None
    test_list: str | None = None
    probe_list: str | None = None
    train_images: int | None = None
    validation_images: int | None = None
    test_images: int | None = None
    class_sizes: list[int] | None = None
    short_side: int | None = None
    jpeg_quality: int | None = None
    packed: str | None = None
    workers: int | None = None
    on_bad_image: str = "stop"


@dataclass
class Imbalance:
    """The long tail: largest class / smallest class, and the profile between them; factor null keeps all images."""

    factor: float | None = 100.0
    profile: str = "exponential"


@dataclass
class Training:
    """How a stage is trained: the schedule gives the learning rate of every step.

    ``lr_scaling`` multiplies every rate by the batch size over ``lr_base_batch``, or by its square root. ``microbatch``
    is the number of images, over all processes, of one forward and backward pass: a batch of more is taken in several
    passes whose gradients are added up. It is refused for losses of the whole batch unless ``microbatch_anyway``; batch
    norm sees one pass at a time.

    ``optimizer`` names a class and its values (config/optimizers.py). ``decay_bias_and_norm`` false: no weight decay on
    parameters of one dimension, which are biases and gains of norms. The rate of the encoder's last block is
    ``layer_decay`` times that of the step, of each block before it as many times that again; all that is not the
    encoder has the rate times ``head_lr_factor``. ``clip_norm`` bounds the norm of all gradients together, before
    every step. With ``ema_decay`` a moving average of the weights is what is evaluated and handed to stage two.
    """

    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    drop_last: bool = False
    sampler: str = "shuffle"
    precision: str = "float32"
    microbatch: int | None = None
    microbatch_anyway: bool = False
    lr_scaling: str = "none"
    lr_base_batch: int | None = None
    decay_bias_and_norm: bool = True
    layer_decay: float | None = None  # above 0, to 1
    head_lr_factor: float = 1.0  # above 0
    clip_norm: float | None = None  # above 0
    ema_decay: float | None = None  # from 0, below 1
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)


@dataclass
class Named:
    """What stands beside the parameters of a method or a stage-two rule: its name here and in tables.

    Rows of tables stand by ``order``, then by ``title``; without an order they come last.
    """

    name: str = MISSING
    title: str = MISSING
    order: int | None = None


@dataclass
class Backbone:
    """What stands beside the parameters of a backbone.

    Images are averaged over squares of ``input_pool`` pixels. ``pretrained`` is a file of weights, or torchvision;
    with ``trainable_convolutions`` all other convolutions keep the weights they start from (null: all are trained).
    """

    name: str = MISSING
    input_pool: int = 1
    pretrained: str | None = None
    trainable_convolutions: list[str] | None = None


@dataclass
class Evaluation:
    """What is evaluated: the split, the rule that chooses the epoch, images per forward pass."""

    split: str = "test"
    select: str = "last"
    batch_size: int = 500


@dataclass
class Budget:
    """How long, never what."""

    name: str = "paper"
    epoch_scale: float = 1.0
    max_steps_per_epoch: int | None = None


@dataclass
class Checkpoint:
    """How often a run can be resumed from; null switches one interval off."""

    every_epochs: int | None = 10
    every_steps: int | None = None


@dataclass
class Launch:
    """How runs are carried out: processes on this machine, or jobs of a SLURM cluster.

    ``runs_per_gpu`` runs share a job; a job with several GPUs or nodes trains one run in a process per GPU.
    ``sbatch`` holds further options as sbatch has them, such as "--exclude=node7"; ``setup`` are the user's own shell
    commands that each job starts with. ``signal_delay_s`` before its time is over a job is told to write checkpoints;
    ``max_requeues`` bounds how often a job may be continued.
    """

    executor: str = "local"
    parallel_runs: int = 1
    threads_per_run: int | None = None
    runs_per_gpu: int = 1
    nodes: int = 1
    gpus_per_node: int = 1
    cpus_per_task: int = 4
    mem_gb: float | None = None
    time_min: int = 1440
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_parallelism: int = 256
    signal_delay_s: int = 120
    max_requeues: int = 1000
    sbatch: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)


@dataclass
class Config:
    """One run."""

    dataset: Dataset = field(default_factory=Dataset)
    imbalance: Imbalance = field(default_factory=Imbalance)
    method: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    stage_two: dict[str, Any] = field(default_factory=dict)
    train: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    fidelity: str = "clean"
    budget: Budget = field(default_factory=Budget)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    launch: Launch = field(default_factory=Launch)
    experiment: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    sweep: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0
    split_seed: int = 0
    device: str = "auto"
    tf32: bool | None = None
    deterministic: bool = False
    compile: bool = False
    progress: bool = True
    output_dir: str = "runs"
    data_dir: str = "data"


# The allowed words of plain keys; groups and classes are checked by what there is.
CHOICES: dict[str, tuple[str, ...]] = {
    "dataset.group_rule": GROUP_RULES,
    "dataset.on_bad_image": BAD_IMAGE,
    "imbalance.profile": PROFILES,
    "train.sampler": SAMPLERS,
    "evaluation.split": SPLITS,
    "evaluation.select": SELECTIONS,
    "fidelity": FIDELITIES,
    "device": DEVICES,
    "train.precision": PRECISIONS,
    "train.lr_scaling": LR_SCALINGS,
    "launch.executor": EXECUTORS,
}


def wants_validation(config: Config) -> bool:
    """Whether a validation part is evaluated on or chooses the epoch."""
    return bool({"validation", "best_validation"} & {config.evaluation.split, config.evaluation.select})


def node(config: Config, key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The single values of a nested dictionary under their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def scaled_epochs(count: float, *, _root_: DictConfig) -> int:
    """A recipe's count of epochs under the budget: max(1, round(count * epoch_scale))."""
    return max(1, round(count * _root_.budget.epoch_scale))


@cache
def register() -> None:
    """Make the schema and the resolver ``${epochs:N}`` known to Hydra and OmegaConf."""
    ConfigStore.instance().store(name="lt_bench_schema", node=Config)
    OmegaConf.register_new_resolver("epochs", scaled_epochs, replace=True)
