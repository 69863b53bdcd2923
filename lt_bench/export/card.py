"""The model card: what a model was made from and how, how well it does, and where it should not be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lt_bench.config.evaluation import VIEWS
from lt_bench.evaluation.shots import GROUPS, RULES, shot_groups
from lt_bench.predict.predictor import Predictor
from lt_bench.record.record import ADAPTED, RunRecord
from lt_bench.report.escape import markdown

SHOWN = 20  # classes by name


def card(
    record: RunRecord, predictor: Predictor, code: Sequence[str], forms: Mapping[str, float], images: str = "images"
) -> str:
    """The card of a run as Markdown.

    ``code`` builds the network of another library that the weights load into, () for none; ``forms`` are the programs
    beside them, by file, each with the largest difference of its logits; ``images`` is what that network takes.
    """
    return "\n".join(
        [
            *head(record, predictor.transform.size, {"probabilities": predictor.about_probabilities}),
            *_numbers(record),
            *_use(predictor, code, forms, images),
            *_limits(record, predictor),
        ]
    )


def head(record: RunRecord, size: int, more: Mapping[str, str]) -> Iterator[str]:
    """The title and the table of what a model was made from and how, with ``more`` rows."""
    counts = record.metrics["train_counts"] or []
    tail = "its own counts"
    if record.imbalance_factor is not None:
        tail = f"imbalance factor {record.imbalance_factor:g} ({record.imbalance_profile})"
    yield from (f"# {markdown(record.method_name)} on {markdown(record.dataset)}", "")
    yield from ("| | |", "|---|---|")
    rows = {
        "data": f"{record.dataset}, {tail}, split seed {record.split_seed}",
        "training images": f"{sum(counts):,} of {len(counts):,} classes, {max(counts):,} to {min(counts):,} of a class"
        if counts
        else "unknown",
        "method": f"{record.method_name}, stage two {record.stage_two_name}, fidelity {record.fidelity}",
        "network": f"{record.backbone}, images of {size} pixels",
        "settings that are not defaults": ", ".join(f"{key}={value}" for key, value in record.settings.items())
        or "none",
        "length": f"budget {record.budget}, seed {record.seed}, epoch chosen: {record.selection}",
        "run": f"{record.run_id}, lt_bench {record.environment.get('lt_bench', 'unknown')}",
        **more,
    }
    for name, value in rows.items():
        yield f"| {name} | {markdown(value)} |"
    yield ""


def _numbers(record: RunRecord) -> Iterator[str]:
    metrics, rule = record.metrics, record.group_rule
    described = RULES[rule].description if rule in RULES else rule
    tested = sum(metrics["test_counts"] or [])
    yield from ("## How well", "")
    yield f"Top-1 accuracy in % on {tested:,} {markdown(record.evaluated_on)} images; groups: {markdown(described)}."
    yield from (
        "",
        "| many | medium | few | all | mean of classes | worst class | ECE |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    )
    names = ("many", "medium", "few", "top1", "macro", "worst_class")
    cells = [metrics.get(name) for name in names]
    ece = metrics.get("ece")
    shown = ["–" if cell is None else f"{100 * cell:.1f}" for cell in cells] + ["–" if ece is None else f"{ece:.3f}"]
    yield from (f"| {' | '.join(shown)} |", "", "The ECE is that of probabilities before any temperature.", "")


def _use(predictor: Predictor, code: Sequence[str], forms: Mapping[str, float], images: str) -> Iterator[str]:
    transform = predictor.transform
    yield from ("## How to use it", "")
    yield (
        "`labels.txt` has the classes in the order of the logits, `labels.json` their training images and groups too; "
        f"`preprocessing.json` how an image becomes what the network takes: short side {transform.short_side}, "
        f"middle {transform.size}, mean and standard deviation of each colour."
    )
    if transform.views != VIEWS[0]:
        mirrored = " of an image and of its mirror image" * (transform.views == "ten")
        yield (
            f"The numbers above are of the mean of the logits of {transform.views} crops of {transform.size} pixels, "
            f"the corners and the middle{mirrored}. What is here computes the logits of one crop; their mean over the "
            "crops is for whoever calls it."
        )
    if predictor.temperature is not None:
        yield f"Probabilities are softmax(logits / {predictor.temperature:.6g})."
    yield ""
    if code:
        load = [
            "import torch",
            "from safetensors.torch import load_file",
            *code,
            'model.load_state_dict(load_file("model.safetensors"))',
            f"logits = model.eval()({images})  # (B, 3, S, S), preprocessed",
        ]
        yield from ("```python", *load, "```", "")
    yield from programs(forms)


def programs(forms: Mapping[str, float]) -> Iterator[str]:
    """A line for each program, with how much its logits differ."""
    for file, difference in forms.items():
        yield f"- `{file}`: the network as a program; its logits differ by {difference:.1e} at most from the original's"
    yield ""


def _limits(record: RunRecord, predictor: Predictor) -> Iterator[str]:
    untested = [label for label, count in enumerate(record.metrics["test_counts"] or []) if count == 0]
    yield from ("## Limits", "")
    yield "- It knows these classes alone, and names one of them for every image, whatever is on it."
    yield from limits_of_classes(record, predictor.class_names, untested, "an image")
    if record.environment.get(ADAPTED.format(record.evaluated_on)):
        yield "- The weights of its experts were learnt on the images that the numbers are of, without their labels."
    if predictor.temperature is None:
        yield "- Its probabilities are not calibrated: larger is more likely, and no more than that."
    yield from limits_of_run(record)
    yield ""


def limits_of_classes(record: RunRecord, names: Sequence[str], untested: Sequence[int], want: str) -> Iterator[str]:
    """The classes that few images were for, and those that were never evaluated, for want of an image or a pixel."""
    counts = record.metrics["train_counts"] or []
    groups = shot_groups(np.array(counts), record.group_rule) if counts and record.group_rule in RULES else {}
    if GROUPS[-1] in groups:
        few = [names[label] for label in groups[GROUPS[-1]].tolist()]
        yield f"- Trained on few images, and to be trusted less: {listed(few)}."
    if untested:
        yield f"- Never evaluated, for want of {want}: {listed([names[label] for label in untested])}."


def limits_of_run(record: RunRecord) -> Iterator[str]:
    """What is said of any run: images that choices were made on, its length, its seed."""
    if record.evaluated_on != "test" or record.selection == "best_test":
        yield "- The numbers are of images that settings or epochs may have been chosen on."
    if record.budget != "paper":
        yield f"- Trained under budget {markdown(record.budget)}, and not for as long as the recipe says."
    yield "- One run of one seed: another one differs by what the tables of the benchmark show as their deviation."


def listed(names: Sequence[str]) -> str:
    """Some names of classes, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(markdown(name) for name in names[:SHOWN]) + more
