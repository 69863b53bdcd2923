"""`python -m lt_bench.report eval`: metrics of finished runs from their predictions, as they are or changed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from lt_bench.command import as_called, printable
from lt_bench.errors import UsageError
from lt_bench.evaluation.adjustment import adjusted, choose_tau
from lt_bench.evaluation.ensembles import MEANS, ensemble
from lt_bench.evaluation.metrics import METRICS, evaluate, scalars
from lt_bench.evaluation.named import with_logits
from lt_bench.evaluation.predictions import LOGITS, Predictions, load_predictions
from lt_bench.record.record import PREDICTIONS, read_record
from lt_bench.record.sets import ALL
from lt_bench.record.verify import contradiction
from lt_bench.report.asked import metric_names
from lt_bench.report.by_class import confusion_table, curve_table
from lt_bench.report.output import add_format, write
from lt_bench.report.tables import shown_unit

COMMAND = "eval"
ONLY = "only these (every one that is a number); MODULE.NAME for one of your own"
MOST_TAU = 1000  # beyond it the prior alone decides, long before logits overflow
ABREAST = 6  # columns of a table, which fit into a hundred characters
EXAMPLES = """examples:
  python -m lt_bench.report eval runs/1a2b3c4d5e6f                                  every metric of a run
  python -m lt_bench.report eval RUN RUN RUN --ensemble probabilities               and of three runs together
  python -m lt_bench.report eval RUN --metric top1 few forward50 --tau chosen       with adjusted logits
  python -m lt_bench.report eval RUN --logits all                                   and of each of its experts
  python -m lt_bench.report eval RUN --per-class --confusion --out classes          class by class, and as CSV

exit status: 0 done, 1 predictions that cannot be used, 2 wrong usage
"""


def _tau(text: str) -> float | None:
    """A number, or None for the one that validation images choose."""
    try:
        tau = None if text == "chosen" else float(text)
    except ValueError:
        tau = math.nan
    if tau is None or abs(tau) <= MOST_TAU:
        return tau
    raise argparse.ArgumentTypeError(f"{text}: it takes numbers from -{MOST_TAU} to {MOST_TAU}, or chosen")


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(
        prog=as_called(f"python -m lt_bench.report {COMMAND}"),
        description="Metrics of finished runs from their stored predictions, without training.",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or predictions files")
    made.add_argument("--metric", nargs="+", action="extend", default=[], metavar="NAME", help=ONLY)
    made.add_argument(
        "--tau",
        type=_tau,
        default=0.0,
        metavar="τ",
        help="adjust the logits by the training prior with this strength; chosen: by the validation images of each run",
    )
    made.add_argument(
        "--logits",
        nargs="+",
        default=[LOGITS],
        metavar="NAME",
        help=f"these sets of logits of each run, such as expert0; {ALL}: every one; {LOGITS}: the one it evaluates",
    )
    made.add_argument("--ensemble", choices=MEANS, help="also the mean of all runs")
    made.add_argument("--per-class", action="store_true", help="and the accuracy of each class, from head to tail")
    made.add_argument("--confusion", action="store_true", help="and which classes are taken for which")
    made.add_argument("--out", type=Path, metavar="DIR", help="write the tables of both there; CSV has every cell")
    add_format(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Print the metrics; returns 0, raises UsageError or OSError for what cannot be used; wrong usage exits with 2."""
    arguments = parser().parse_args(argv)
    asked = metric_names(arguments.metric, parser())
    labels, found = map(list, zip(*_columns(arguments), strict=True))
    tasks = {None, *(one.task for one in found)}
    names = asked or [name for name in scalars() if METRICS[name].task in tasks]
    if arguments.tau != 0.0:
        changed = [_adjusted(label, one, arguments.tau) for label, one in zip(labels, found, strict=True)]
        labels, found = map(list, zip(*changed, strict=True))
    values = [evaluate(one, names) for one in found]
    for number, label in enumerate(labels, start=1):
        print(printable(f"{number}: {label}"))
    for start in range(0, len(values), ABREAST):
        part = values[start : start + ABREAST]
        rows = [
            [METRICS[name].column, METRICS[name].unit, *(_cell(name, one.get(name)) for one in part)] for name in names
        ]
        heads = ["metric", "unit", *map(str, range(start + 1, start + len(part) + 1))]
        print(f"\n{tabulate(rows, heads, disable_numparse=True, colalign=['left', 'left', *['right'] * len(part)])}")
    tables = [curve_table(labels, found)] if arguments.per_class else []
    if arguments.confusion:
        parts = enumerate(zip(labels, found, strict=True), start=1)
        tables += [confusion_table(place, label, one) for place, (label, one) in parts]
    if tables:
        print()
        write(tables, arguments.out, arguments.format)
    return 0


def _columns(arguments: argparse.Namespace) -> list[tuple[str, Predictions]]:
    """Labels and predictions: every asked set of logits of every run, then the means of the runs for each of them."""
    read, all_sets = [_read(run) for run in arguments.runs], ALL in arguments.logits
    sets = [[*(one.logits_by_name or [LOGITS])] if all_sets else [*dict.fromkeys(arguments.logits)] for _, one in read]
    found = [_named(run, name) for run, names in zip(read, sets, strict=True) for name in names]
    shared = [name for name in sets[0] if all(name in names for names in sets)]
    for name in shared if arguments.ensemble else ():
        members = [_named(run, name)[1] for run in read]
        label = _label(f"mean of their {arguments.ensemble}", name)
        found.append((label, ensemble(members, arguments.ensemble)))
    return found


def _named(run: tuple[str, Predictions], name: str) -> tuple[str, Predictions]:
    """A run's label and predictions with one of its sets of logits as what is evaluated."""
    label, predictions = run
    if name == LOGITS:  # as it is, also where there are counts alone
        return run
    try:
        return _label(label, name), with_logits(predictions, name)
    except UsageError as error:
        raise UsageError(f"{label}: {error}") from error


def _label(label: str, name: str) -> str:
    return label if name == LOGITS else f"{label}, {name}"


def _read(run: Path) -> tuple[str, Predictions]:
    """A run's label and predictions; UsageError where there are none, or others than its record was made of."""
    file = run / PREDICTIONS if run.is_dir() else run
    if not file.exists():
        raise UsageError(f"{run}: there is no {PREDICTIONS}; name the folder of a finished run, not of a stage one")
    record = file.with_name("record.json")
    try:
        predictions = load_predictions(file)
        if not record.exists():
            return str(run), predictions
        known = read_record(record)
        wrong = contradiction(known, record.parent) if file.name == PREDICTIONS else None
    except ValueError as error:
        raise UsageError(str(error)) from error
    if wrong:
        raise UsageError(f"{record} contradicts the predictions beside it, which may be another run's: {wrong}")
    experts = known.settings.get("evaluation.experts")
    rule = known.stage_two_name if experts is None else f"{known.stage_two_name} / {experts}"
    what = f"{known.method_name} / {rule}, {known.dataset}, seed {known.seed}"
    return f"{what}, split seed {known.split_seed} ({known.run_id})", predictions


def _adjusted(label: str, predictions: Predictions, tau: float | None) -> tuple[str, Predictions]:
    if LOGITS not in predictions.logits_by_name:
        raise UsageError(f"{label}: its predictions are counts alone, without logits to adjust")
    if tau is None:
        if predictions.validation is None:
            raise UsageError(
                f"{label}: it has no predictions on validation images to choose τ by; give a number, --tau 1, or train "
                "it with dataset.validation_per_class=20"
            )
        tau = choose_tau(predictions.validation)
    return f"{label}, τ = {tau:g}", adjusted(predictions, tau)


def _cell(name: str, value: float | None) -> str:
    factor, form = shown_unit(name)
    return "–" if value is None else f"{value * factor:{form}}"
