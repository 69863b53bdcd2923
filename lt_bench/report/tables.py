"""Tables: accuracy of every setting, mean and spread over its runs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from lt_bench.command import csv_cell
from lt_bench.data.published import is_published
from lt_bench.evaluation.metrics import FRACTION, HEADLINES, METRICS, headline
from lt_bench.evaluation.shots import RULES
from lt_bench.record.conditions import digest, shortened, word
from lt_bench.record.contributed import COUNTS, IN_FULL, NOTHING
from lt_bench.record.identity import CONTENT
from lt_bench.report.baselines import without_baselines
from lt_bench.report.escape import folded, markdown
from lt_bench.report.leaders import EXPLAINED, leaders
from lt_bench.report.sections import SHARED, Row, Section
from lt_bench.report.statistics import mean_and_spread, points_of
from lt_bench.report.study import study
from lt_bench.report.test_error import EXPLAINED as EXPLAINED_ERROR
from lt_bench.report.test_error import TEST_ERROR, is_small, test_error
from lt_bench.report.typed import beside_recipes

LABEL = "method / stage two"
ACCURACIES = HEADLINES["classification"]
MEASURED = (*ACCURACIES, "ece")  # in every CSV file
BALANCE = "group_std"  # in the tables of probes
SHARED_NAMES = dict(zip(SHARED, ("fidelity", "checkpoint", "groups"), strict=True))
OF_PIXELS = "Mean IoU of the classes of a group, which are grouped by the images that have them, and of all (mIoU)"
SMOKE = "Budget smoke: these numbers mean nothing, they only show that the runs work."
IMAGES_UNKNOWN = (
    "Some of these runs are of an older version, which knew images by their names and labels alone: whether they are "
    "the same images in all rows is not known."
)
CALIBRATION = {"ece", "adaptive_ece", "nll"}
UNCALIBRATED = {"ncm", "tau_norm"}  # rules whose scores are distances, and products that nothing scales
CHECKED = {
    IN_FULL: "the predictions that came with them",
    COUNTS: "the predictions that came with them, counted by class, which tell nothing of calibration and top-5",
    NOTHING: "nothing, because their predictions are too many to come with them",
}
BEST_TEST = "† The checkpoint was chosen on the test set itself: this flatters the row."


@dataclass(frozen=True)
class Table:
    """A table under its name: the paragraphs above it, the cells as text, and the unrounded values for CSV.

    ``bold`` are the columns of each row whose cells stand out; none for no row. ``figures`` are files beside the table,
    with what they show. ``notes`` stand below it, a line each. ``links`` are where the cells of a column lead, by
    its name; an empty one leads nowhere.
    """

    name: str
    caption: list[str]
    cells: pd.DataFrame
    values: pd.DataFrame
    bold: Sequence[set[str]] = ()
    figures: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def markdown(self, folder: Path | None = None, page: Path | None = None) -> str:
        """Caption, cells and figures as GitHub Markdown; for a page in a folder of its own, which both are named."""
        cells = self.marked(markdown, "**{}**")
        for name, links in self.links.items():
            led = zip(cells[name], links, strict=True)
            cells[name] = [f"[{text}]({quote(link, safe=':/?=')})" if link else text for text, link in led]
        align = ["left", *["right"] * (len(cells.columns) - 1)]
        body = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
        paragraphs = [f"**{markdown(text)}**" if text == SMOKE else markdown(text) for text in self.caption]
        way = "" if folder is None or page is None else f"{Path(os.path.relpath(folder, page)).as_posix()}/"
        shown = [f"![{markdown(what)}]({quote(way + file)})" for file, what in self.figures]
        below = ["\n".join(f"- {markdown(note)}" for note in self.notes)] * bool(self.notes)
        return "\n\n".join([*paragraphs, body, *below, *shown]) + "\n"

    def spoken(self) -> str:
        """The caption as one paragraph."""
        return " ".join(self.caption)

    def marked(self, escape: Callable[[str], str], form: str) -> pd.DataFrame:
        """The cells as they are escaped, and those that stand out in a form such as ``**{}**``."""
        cells = self.cells.map(escape)
        for column in set[str]().union(*self.bold):
            bold = (column in columns for columns in self.bold)
            cells[column] = [
                form.replace("{}", text) if one else text for one, text in zip(bold, cells[column], strict=True)
            ]
        return cells

    def csv(self) -> str:
        """The values as comma-separated text; percent and percentage points."""
        return self.values.map(csv_cell).to_csv(index=False, float_format="%.4f", lineterminator="\n")


def named_apart(tables: Sequence[Table]) -> list[Table]:
    """The tables under names that no file system takes for each other: where alike, with a digest of the caption.

    Labels of baselines may differ in what names of files do not show.
    """
    count = Counter(folded(table.name) for table in tables)
    suffixes = [f"_{digest(' '.join(table.caption))}" * (count[folded(table.name)] > 1) for table in tables]
    return [replace(table, name=table.name + suffix) for table, suffix in zip(tables, suffixes, strict=True)]


def number(value: float, form: str = ".1f") -> str:
    """A number for a cell; a dash stands for what is not known.

    A difference, whose form has a sign, is shown as 0 only where it is 0: a smaller one with its first digit.
    """
    if pd.isna(value):
        return "–"
    told = f"{value:{form}}"
    return f"{value:+.1g}" if form[0] == "+" and value and not float(told) else told


def marked(row: Row) -> str:
    """The row's label, with a dagger if its checkpoints were chosen on the test set, a double one if others ran it."""
    chosen = " †" * (row.fields["selection"] == "best_test")
    return f"{row.label}{chosen}{' ‡' * bool(contributors(row))}"


def contributors(row: Row) -> str:
    """The names of those who contributed runs of a row, as the CSV has them; empty where nobody did."""
    return " ".join(sorted({str(name) for name in {*row.runs["contributed"].tolist()} if not pd.isna(name)}))


def contributions(rows: Iterable[Row]) -> list[str]:
    """What a reader must know of contributed runs: who ran them where, and by what their figures were checked."""
    parts = [row.runs for row in rows if row.runs["contributed"].notna().any()]
    if not parts:
        return []
    runs = pd.concat(parts)
    runs = runs[runs["contributed"].notna()]
    lines = []
    for (name, checked), part in runs.groupby(["contributed", "checked"]):
        devices = ", ".join(sorted(map(word, part["device"].dropna().unique())))
        count = f"{len(part)} run{'s' * (len(part) > 1)}"
        lines.append(f"{count} by {word(name)} on {devices}, checked by {CHECKED.get(checked, word(checked))}")
    return [f"‡ Contributed, and not run by us: {'; '.join(lines)}."] * bool(lines)


def origin(section: Section, row: Row) -> dict[str, str]:
    """For CSV, who contributed runs of a row; nothing in a section without contributions."""
    return {"contributed": contributors(row)} if section.contributed else {}


def leading(section: Section, row: Row) -> dict[str, str]:
    """The first cells of a row: its label, and the rules and epochs in which the section's rows differ."""
    return {LABEL: marked(row)} | {SHARED_NAMES.get(key, key): word(row.fields[key]) for key in section.differing()}


def rules(section: Section) -> list[str]:
    """The rules that all rows of the section share, in words, and how several draws of the shots count."""
    fields, differing = section.rows[0].fields, section.differing()
    words = {key: fields[key] for key in reversed(SHARED) if key not in differing}
    if words.get("group_rule") in RULES:
        words["group_rule"] += f" ({RULES[words['group_rule']].description})"
    several = max(int(row.runs["draws"].max()) for row in section.rows) > 1
    draws = ["draws of the shots on one model count as one run, with their mean"] * several
    return [*draws, *(f"{SHARED_NAMES[key]}: {word(text)}" for key, text in words.items())]


def footnotes(section: Section) -> list[str]:
    """What a reader must know before believing the numbers."""
    flattered = any(row.fields["selection"] == "best_test" for row in section.rows)
    unknown = any(_images_unknown(section.fields["dataset"], row.fields["settings"]) for row in section.rows)
    notes = [SMOKE] * (section.fields["budget"] == "smoke") + [BEST_TEST] * flattered + [IMAGES_UNKNOWN] * unknown
    return [*notes, *contributions(section.rows), *(text for text in [beside_recipes(section)] if text)]


def _images_unknown(dataset: str, settings: str) -> bool:
    """Whether a run on images of one's own is from before their content belonged to its identity."""
    keys = json.loads(settings).keys()
    own = "dataset.train_list" in keys and not is_published(dataset)
    return own and not any(key.startswith(f"{CONTENT}.") for key in keys)


def title(section: Section) -> str:
    """Which runs a table is about, in words, so that it is not taken for one of another study."""
    fields = section.fields
    native = fields["imbalance"] == "native"
    imbalance = f"imbalance factor {fields['imbalance_factor']:g} ({word(fields['imbalance_profile'])})"
    where = f"{word(fields['dataset'])}, {'native imbalance' if native else imbalance}"
    words = [f"backbone {word(fields['backbone'])}", f"budget {word(fields['budget'])}"]
    words.append(f"{fields['evaluated_on']} split")
    told = ", ".join([where, *words, *section.conditions])
    return ". ".join([told, *filter(None, [study(section)])]) + "."


def _count(runs: pd.DataFrame) -> str:
    total, seeds, splits = _counts(runs)
    return f"{total} ({seeds} × {splits})" if min(seeds, splits) > 1 else str(total)


def _counts(runs: pd.DataFrame) -> tuple[int, int, int]:
    """How many runs, seeds and split seeds there are."""
    return len(runs), len({*runs["seed"].tolist()}), len({*runs["split_seed"].tolist()})


def shown_unit(name: str) -> tuple[float, str]:
    """The factor on a metric's values in tables, and the form of a number in a cell."""
    return (100.0, ".1f") if METRICS[name].unit == FRACTION else (1.0, ".3f")


def main_metrics(section: Section) -> tuple[str, ...]:
    """What a table shows of its task: many, medium, few and the accuracy of all images, or mIoU of all pixels."""
    return headline({"miou": section.rows[0].runs["miou"].iat[0]})


def accuracy_table(section: Section, more: Sequence[str] = ()) -> Table:
    """Accuracy in percent per setting, in segmentation IoU: many, medium, few, all, and ``more`` metrics by name.

    Tables of probes also have the standard deviation over the three groups, in percentage points.
    A cell is mean ± sample standard deviation (ddof 1) over the setting's runs; unknown numbers are dashes.
    """
    main = main_metrics(section)
    shown = list(dict.fromkeys([*main, *([BALANCE] if section.fields["probe"] else []), *more]))
    measured = list(dict.fromkeys([*(MEASURED if main == ACCURACIES else ()), *shown]))
    factors = [shown_unit(name)[0] for name in measured]
    cells, values, small = [], [], is_small(section)
    for row in section.rows:
        points = points_of(row.runs, measured) * factors
        mean, std = (dict(zip(measured, map(float, part), strict=True)) for part in mean_and_spread(points))
        texts = {METRICS[name].column: cell(mean[name], std[name], shown_unit(name)[1]) for name in shown}
        texts |= {TEST_ERROR: _test_errors(row)} if small else {}
        cells.append({**leading(section, row), **texts, "n": _count(row.runs)})
        spread = {f"{key}_{name}": part[key] for key in measured for name, part in (("mean", mean), ("std", std))}
        counts = dict(zip(("n", "seeds", "splits"), _counts(row.runs), strict=True))
        values.append(
            {
                "label": row.key,
                **row.fields,
                "split": section.fields["evaluated_on"],
                **origin(section, row),
                **counts,
                **spread,
                "runs": " ".join(row.runs["run_ids"]),
            }
        )
    bold = [{METRICS[name].column for name in names} for names in leaders(section, shown)]
    caption = [f"{title(section)} {_explain(section, shown, any(bold))}", *footnotes(section)]
    caption += _uncalibrated(section, shown)
    notes = without_baselines(section)
    return Table(section.name, caption, pd.DataFrame(cells), pd.DataFrame(values), bold, notes=notes)


def _uncalibrated(section: Section, shown: Sequence[str]) -> list[str]:
    """A line on rows whose scores are no probabilities, where the table shows calibration."""
    names = {str(row.fields["stage_two_name"]): row.runs["stage_two"].iat[0] in UNCALIBRATED for row in section.rows}
    told = " and ".join(sorted(shortened(name) for name, one in names.items() if one))
    line = f"Scores of {told} are no logits of probabilities: their calibration and likelihood mean nothing."
    return [line] * bool(told and CALIBRATION & {*shown})


def _test_errors(row: Row) -> str:
    """What the test images leave open of each accuracy of a row, in its unit."""
    return " / ".join(number(shown_unit(name)[0] * test_error(row.runs, name)) for name in ACCURACIES)


def cell(mean: float, std: float, form: str) -> str:
    """Mean and spread as printed; a dash where the mean is not known."""
    return "–" if pd.isna(mean) else f"{mean:{form}} ± {number(std, form)}"


def _explain(section: Section, shown: Sequence[str], bold: bool) -> str:
    """The sentence on units, spread and rules."""
    of_images = "Top-1 accuracy and expected calibration error" if "ece" in shown else "Top-1 accuracy"
    what = OF_PIXELS if "miou" in shown else of_images
    grid = " (seeds × split seeds)" if any("×" in _count(row.runs) for row in section.rows) else ""
    spread = f"{what} in %, mean ± sample standard deviation over n runs{grid}"
    balance = ["std: population standard deviation over the three groups"] * (BALANCE in shown)
    error = [EXPLAINED_ERROR] * is_small(section)
    others = [METRICS[name] for name in shown if name not in (*MEASURED, BALANCE, "miou")]
    units = [f"{one.column}: {one.unit}, {one.better} is better" for one in others]
    return f"{'; '.join([spread, *error, *balance, *units, *[EXPLAINED] * bold, *rules(section)])}."
