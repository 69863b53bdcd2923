"""The text that a run prints when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lt_bench.config.stages import StageName
from lt_bench.data.remarks import listed
from lt_bench.data.splits.split import read_manifest
from lt_bench.evaluation.metrics import METRICS, headline
from lt_bench.evaluation.shots import RULES
from lt_bench.record.record import CHOSEN, SAME_IMAGES, STOPPED, RunRecord


def summary(record: RunRecord, folder: Path) -> str:
    """The record in a few lines: accuracies of many, medium and few in percent, cost, and the path of the record."""
    factor = "native counts" if record.imbalance_factor is None else f"imbalance {record.imbalance_factor:g}"
    head = f"{record.method_name} on {record.dataset}, {factor}, seed {record.seed}, split seed {record.split_seed}"
    if record.kind == StageName.ONE.kind:
        return f"{head}: stage one done in {_number(record, 'seconds')} s\n{folder / 'record.json'}"
    metrics = record.metrics
    shown = {METRICS[name].column: name for name in headline(metrics)}
    shown |= {"std": "group_std"} if record.is_probe else {}  # over the groups
    values = [metrics[name] for name in shown.values()]
    cells = ["–" if value is None else f"{100 * value:.1f}" for value in values]
    of_images = METRICS["ece"].task == METRICS[headline(metrics)[-1]].task
    images = f"{sum(metrics['train_counts'] or [])} training images; " if of_images else ""
    how = f"{images}{record.fidelity}, budget {record.budget}{_typed(record)}"
    rule = record.group_rule  # of a newer version, maybe
    described = RULES[rule].description if rule in RULES else rule
    ece = f"ECE {'–' if metrics['ece'] is None else format(metrics['ece'], '.3f')}, " if of_images else ""
    untested = filter(None, [_untested(record, folder)])
    lines = [
        f"{head}; stage two {record.stage_two_name}; {how}",
        "  " + "".join(f"{name:>8}" for name in shown),
        "  " + "".join(f"{cell:>8}" for cell in cells) + f"   % on {record.evaluated_on} ({described})",
        f"  stage one {_number(record, 'stage_one_seconds')} s at {_number(record, 'images_per_second', 0)} images/s, "
        f"stage two {_number(record, 'seconds')} s, {ece}epoch chosen: {record.selection}{_chosen(record)}",
        *(
            f"  no {record.evaluated_on} image of {names}: the accuracies are those of the other classes"
            for names in untested
        ),
        *(f"  {what}" for what in _of_uneven_classes(record)),
        *(f"  {what}" for what in record.environment.get(SAME_IMAGES, ())),
        f"  {folder / 'record.json'}",
    ]
    if record.budget == "smoke":
        lines.append("  budget smoke shows that everything runs: these numbers mean nothing")
    lines += [f"  {line}" for line in record.epochs.get("not_reached", [])]
    return "\n".join(lines)


def _number(record: RunRecord, key: str, digits: int = 1) -> str:
    """A part of the cost; a dash where a record of another version does not have it."""
    return f"{record.cost[key]:.{digits}f}" if key in record.cost else "–"


def _typed(record: RunRecord) -> str:
    """The epochs of the stages whose epochs were typed, beside those of the recipe."""
    found = ((stage, record.epochs.get(stage.training)) for stage in StageName)
    words = [
        f"{stage.value} {typed.get('epochs')} of {typed.get('recipe_epochs')} epochs" for stage, typed in found if typed
    ]
    return f" ({', '.join(words)})" if words else ""


def _chosen(record: RunRecord) -> str:
    """The epochs that were chosen, counted from 1, and after how many a stage was stopped."""
    chosen = (record.epochs.get(CHOSEN, {}).get(stage.training, {}) for stage in StageName)
    found = [
        f"{one['epoch'] + 1}" + (f", stopped after {one[STOPPED]}" if STOPPED in one else "")
        for one in chosen
        if "epoch" in one
    ]
    return f" (epoch {', '.join(found)})" if found else ""


def _of_uneven_classes(record: RunRecord) -> Iterator[str]:
    """What the accuracy over all images means where classes have unequally many, and one answer for all beats it."""
    counts = [count for count in record.metrics["test_counts"] or [] if count]
    top1, macro = record.metrics["top1"], record.metrics["macro"]
    if not counts or min(counts) == max(counts) or None in (top1, macro):
        return
    yield (
        f"all is over images, of which classes have {min(counts):,} to {max(counts):,}; the mean over classes (macro) "
        f"is {100 * macro:.1f}"
    )
    if top1 <= (largest := max(counts) / sum(counts)):
        yield f"the largest class as the answer to every image would be right for {100 * largest:.1f} %"


def _untested(record: RunRecord, folder: Path) -> str:
    """The classes that the metrics say nothing of, by the names in the run's split; empty where there are none."""
    missing = [label for label, count in enumerate(record.metrics["test_counts"] or []) if count == 0]
    found = read_manifest(folder / "split.json").get("classes")
    names = found if isinstance(found, list) else []
    return listed([str(names[label]) if label < len(names) else f"class {label}" for label in missing])
