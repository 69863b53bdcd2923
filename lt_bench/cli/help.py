"""The text of ``--help``, made from the comments at the head of the files in conf/."""

from __future__ import annotations

import re
import textwrap

from lt_bench.cli.commands import COMMANDS
from lt_bench.config.compose import about, groups
from lt_bench.config.conf import values_of

HEAD = """\
lt_bench: long-tailed visual recognition, one command per run

  python -m lt_bench                                        SBCL on scikit-learn's digits, nothing downloaded
  python -m lt_bench method=ce stage_two=cb                 another method, another stage-two rule
  python -m lt_bench dataset=cifar100_lt imbalance=if50     another data set and imbalance factor
  python -m lt_bench -m method=ce,sbcl seed=0,1,2           a sweep on this machine: six runs
  python -m lt_bench -m experiment=digits_demo              a whole table as one sweep
  python -m lt_bench -m method=ce,sbcl launch=slurm         a sweep as jobs of a SLURM cluster
  python -m lt_bench -m search=optuna 'search.space.train.lr=log(0.01,0.3)'    settings chosen on a validation part
  python -m lt_bench.report                                 the many/medium/few tables of all finished runs
  python -m lt_bench.data check dataset=imagenet_lt         everything that is wrong with a data set of image files

A finished run is not repeated, an interrupted one goes on where it stopped.
"""

COMMANDS_HEAD = "Commands (python -m lt_bench COMMAND; COMMAND --help says more)"

TAIL = """\
Single values (show all: python -m lt_bench --cfg job; with what a run would use: --cfg job --resolve)
  seed=0 split_seed=0               training; choice of the long-tailed images
  imbalance.factor=37               any factor; imbalance.profile=step for the step profile
  train.epochs=100 train.lr=0.1     stage one; stage_two.train.epochs=... for stage two; what else the recipe counts in
                                    epochs moves along, unless it is typed or budget.rescale=false
  method.temperature=0.2            any parameter of the method's class; likewise stage_two.*, backbone.*
  method._target_=my_module.Mine    a class of your own, in a file in the current folder; elsewhere: trust=[my_module]
  optimizer=adamw train.optimizer.weight_decay=0.05    an optimiser with values of its own instead of the recipe's;
                                    any class: train.optimizer._target_=torch.optim.Rprop;
                                    of stage two: stage_two.train.optimizer={name:adamw,weight_decay:0.05}
  recipe=none                       the method's own values instead of those chosen for the data set
                                    (large images for which a method has no recipe take its one for ImageNet-LT)
  dataset.validation_fraction=0.2 evaluation.split=validation    choose settings without the test set
  output_dir=runs data_dir=data     run folders <output_dir>/<run id>/; data sets
  device=auto|cpu|cuda              progress=false for silence
A value with spaces or any of =,:()[]{} is quoted twice: output_dir='"a,b"'. The later of two words for one key counts;
command line beats experiment beats recipe beats method beats data set.

Flags
  -m, --multirun     sweep over comma-separated values, range(a,b), glob(*); launch.parallel_runs=2 runs two at a time
  -c, --cfg job      print the config of a run and stop (--resolve checks it and fills in references)
  -cd, --config-dir DIR    choices of your own, as files DIR/method/NAME.yaml; lt_bench_conf/ in the current folder
                     is such a folder that need not be typed
  --dry-run          check the config, say which run it is and whether it is done, and stop
  --shell-completion install=bash|zsh|fish    for the command lt-bench:
                     eval "$(lt-bench --shell-completion install=bash)"
  --version, -h, --help
  --help KEY         what a key means, what it takes, its default, and where its present value comes from:
                     --help train.lr, --help train, --help method=sbcl, --help method.temperature dataset=cifar100_lt

Exit status: 0 done, 1 failed, 2 wrong usage or config, 130 interrupted (the same command goes on)
"""

AXES = ("dataset", "imbalance", "method", "backbone", "stage_two", "optimizer", "fidelity", "budget", "experiment")
_ADDRESS = re.compile(r" https://\S+")  # of a paper: there are many choices, and --help method=NAME shows it
HIDDEN = ("recipe", "quirks")  # picked by method and data set
SUGGESTED = {"imbalance": "data set", "backbone": "data set", "stage_two": "method", "optimizer": "method"}


def help_text() -> str:
    """What ``--help`` prints: examples, every group with its choices, single values, flags, exit statuses."""
    found = groups()
    names = [name for name in AXES if name in found] + sorted(set(found) - set(AXES) - set(HIDDEN))
    lines = [line for name in names for line in (f"{name}=   {_default(name)}", *_choices(name))]
    commands = (f"  {name:<18} {command.about}" for name, command in COMMANDS.items())
    return "\n".join([HEAD, COMMANDS_HEAD, *commands, "", "Groups and their choices", *lines, "", TAIL])


def _default(group: str) -> str:
    if group in SUGGESTED:
        return f"as the {SUGGESTED[group]} suggests"
    listed = values_of("config")["defaults"]
    return "default " + next(entry[group] for entry in listed if group in entry)


def _choices(group: str) -> list[str]:
    lines = []
    for choice in groups()[group]:
        first, *others = textwrap.wrap(_ADDRESS.sub("", about(group, choice)), 98, max_lines=2, placeholder=" …")
        lines += [f"  {choice:<18} {first}", *(f"{'':<21}{other}" for other in others)]
    return lines
