"""Tables as text; after a wanted change, ``PYTHONPATH=tests python tests/report/test_tables.py`` writes them anew."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.samples import metrics, runs, sample

from lt_bench.record.record import RunRecord
from lt_bench.report.frame import frame
from lt_bench.report.paired import paired_table
from lt_bench.report.pivot import pivot_table
from lt_bench.report.sections import sections
from lt_bench.report.tables import Table, accuracy_table

EXPECTED = Path(__file__).parent / "expected"
CE = {"setting_id": "ce", "method": "ce", "method_name": "CE", "stage_one_id": None}
NO_STAGE_TWO = {"stage_two": "none", "stage_two_name": "–"}
EXPONENTIAL = {"method": "sbcl", "method.temperature_law": "exponential"}


def stored() -> list[RunRecord]:
    """Two seeds × two splits, one-run rows, variants of a method, a row chosen on test, an empty group, a smoke run."""
    smoke = sample(setting_id="smoke", budget="smoke", metrics=metrics(groups=(0.7, 0.3, None)))
    native = sample(setting_id="places", dataset="places_lt", imbalance_factor=None, imbalance_profile="native")
    return [
        *runs([(0.61, 0.31), (0.62, 0.30), (0.60, 0.34), (0.63, 0.33)], splits=2, **CE, **NO_STAGE_TWO),
        *runs([(0.66, 0.39), (0.64, 0.42), (0.65, 0.47), (0.71, 0.44)], splits=2),
        *runs([(0.67, 0.45), (0.66, 0.40)], setting_id="sbcl_exp", settings=EXPONENTIAL),
        sample(setting_id="bcl", method="bcl", method_name="BCL", **NO_STAGE_TWO, selection="best_test"),
        sample(setting_id="tau", method="a|b", method_name="A|B", stage_two="tau_norm", stage_two_name="τ-norm"),
        sample(kind="stage_one", setting_id="stage_one", metrics={}),
        smoke,
        native,
    ]


def tables(records: list[RunRecord]) -> list[Table]:
    parts = sections(frame(record for record in records if record.kind == "run"))
    compared = [paired_table(part, "CE / –") for part in parts]
    return [accuracy_table(part, more=["ece"]) for part in parts] + [table for table in compared if table]


def files(records: list[RunRecord]) -> dict[str, str]:
    made = tables(records)
    return {f"{t.name}.md": t.markdown() for t in made} | {f"{t.name}.csv": t.csv() for t in made}


def test_tables_are_the_stored_ones() -> None:
    expected = {path.name: path.read_text(encoding="utf-8") for path in EXPECTED.iterdir()}
    assert files(stored()) == expected


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_records_does_not_matter(seed: int) -> None:
    records = stored()
    random.Random(seed).shuffle(records)
    assert files(records) == files(stored())


def only(records: list[RunRecord], **options: Any) -> Table:
    (part,) = sections(frame(records))
    return accuracy_table(part, **options)


def labels(records: list[RunRecord]) -> list[str]:
    return only(records).values["label"].tolist()


def of_epochs(one: int, two: int | None = None, **changes: Any) -> RunRecord:
    settings = {"train.epochs": one, **({} if two is None else {"stage_two.train.epochs": two})}
    return sample(settings=settings, **changes)


def test_rows_that_took_other_epochs_are_marked_wherever_they_are_compared() -> None:
    records = [of_epochs(20, **CE, **NO_STAGE_TWO), of_epochs(15, 4)]
    (part,) = sections(frame(records))
    table, compared = accuracy_table(part), paired_table(part, "CE / –")
    assert table.cells["epochs"].tolist() == table.values["epochs"].tolist() == ["20", "15+4"]
    assert compared is not None and compared.cells["epochs"].tolist() == ["15+4"]
    assert "Difference to CE / – (epochs 20) in" in compared.caption[0]
    records = [of_epochs(20, **CE), of_epochs(15)]
    pivot = pivot_table(records, ["method"], "imbalance", "top1")
    assert pivot.cells["epochs"].tolist() == ["20", "15"]
    assert "epochs" not in pivot_table(records, ["method", "train.epochs"], "imbalance", "top1").cells


def test_calibration_of_scores_that_are_no_logits_is_said_to_mean_nothing() -> None:
    records = [sample(), sample(setting_id="ncm", stage_two="ncm", stage_two_name="NCM")]
    assert only(records, more=["nll"]).caption[-1].startswith("Scores of NCM are no logits of probabilities")
    assert "no logits" not in only(records).spoken() + only(records[:1], more=["ece"]).spoken()


def test_equal_epochs_stand_in_the_caption_alone() -> None:
    records = [of_epochs(20, 4, **CE), of_epochs(20, 4)]
    assert "epochs" not in only(records).cells and "epochs 20; epochs of stage two 4" in only(records).caption[0]
    assert "epochs" not in pivot_table(records, ["method"], "imbalance", "top1").cells


def test_mean_and_sample_deviation_by_hand() -> None:
    table = only(runs([(0.50, 0.1), (0.54, 0.3), (0.52, 0.2)]))
    row = table.values.iloc[0]
    assert row["top1_mean"] == pytest.approx(52.0) and row["top1_std"] == pytest.approx(2.0)
    assert table.cells.iloc[0].to_dict() == {
        "method / stage two": "SBCL / CB",
        "many": "75.0 ± 0.0",
        "medium": "52.0 ± 2.0",
        "few": "20.0 ± 10.0",
        "all": "52.0 ± 2.0",
        "± test": "13.7 / – / – / 15.8",  # of 10 images, all of the largest class
        "n": "3",
    }


def test_rows_follow_the_order_of_methods_and_stages_two() -> None:
    wanted = [
        ("CE", "–"),
        ("LDAM-DRW", "–"),
        ("SBCL", "–"),
        ("SBCL", "CB"),
        ("SBCL", "LDAM-DRW"),
        ("SBCL", "LWS"),
        ("ProCo", "–"),
        ("SimCLR+GH", "–"),
        ("SDCLR", "–"),
        ("Boosted CL", "–"),
    ]
    records = [sample(setting_id=f"{m}{s}", method_name=m, stage_two_name=s) for m, s in reversed(wanted)]
    assert labels(records) == [f"{method} / {stage}" for method, stage in wanted]


def test_a_record_brings_the_order_of_what_conf_does_not_know() -> None:
    wanted = [("CE", "–", 999), ("Mine", "–", 15), ("LDAM-DRW", "–", None), ("SBCL", "CB", 1), ("A", "–", None)]
    records = [sample(setting_id=m, method_name=m, stage_two_name=s, method_order=n) for m, s, n in reversed(wanted)]
    own_rule = sample(setting_id="rule", stage_two_name="My rule", stage_two_order=15, method_order=50)
    unknown = sample(setting_id="unknown", method_name="SBCL", stage_two_name="Another")
    found = labels([*records, own_rule, unknown, sample(setting_id="b", method_name="B", stage_two_name="–")])
    assert found[:3] == ["CE / –", "Mine / –", "LDAM-DRW / –"]  # conf/ knows best where CE stands
    assert found[3:] == ["SBCL / My rule", "SBCL / CB", "SBCL / Another", "A / –", "B / –"]


def test_further_metrics_have_the_unit_and_the_direction_of_the_table() -> None:
    values = [metrics() | {"worst_class": 0.1 * i, "nll": 1.25 + 0.5 * i} for i in (1, 2)]
    records = [sample(seed=i, metrics=one) for i, one in enumerate(values)]
    table = only(records, more=["nll", "worst_class", "few", "nll"])
    assert table.cells.columns.tolist()[1:] == ["many", "medium", "few", "all", "NLL", "worst class", "± test", "n"]
    assert table.cells.iloc[0]["NLL"] == "2.000 ± 0.354" and table.cells.iloc[0]["worst class"] == "15.0 ± 7.1"
    assert "NLL: nats, lower is better; worst class: %, higher is better" in table.caption[0]
    row = table.values.iloc[0]
    assert (row["nll_mean"], row["worst_class_mean"]) == (2.0, pytest.approx(15.0))
    partly = only([*records, sample(seed=2)], more=["nll"])
    assert partly.cells.iloc[0]["NLL"] == "–" and partly.cells.iloc[0]["all"] == "50.0 ± 0.0"
    assert "nll" not in " ".join(only(records).values.columns)


def test_settings_are_never_averaged_and_labels_name_what_differs() -> None:
    one = sample(setting_id="a", settings={"x": 1, "shared": 2})
    two = sample(setting_id="b", settings={"x": 2.5, "shared": 2, "y.z": "relu", "on": True})
    assert labels([one, two]) == ["SBCL / CB (on=true, x=2.5, y.z=relu)", "SBCL / CB (x=1)"]
    twin = sample(setting_id="c", settings={"x": 1, "shared": 2})
    assert labels([one, twin]) == ["SBCL / CB [setting a]", "SBCL / CB [setting c]"]
    default = sample(setting_id="d", settings={})
    assert labels([default, sample(setting_id="e", settings={"x": 3})]) == ["SBCL / CB", "SBCL / CB (x=3)"]


def test_rules_that_differ_get_a_column_and_others_a_place_in_the_caption() -> None:
    records = [sample(), sample(setting_id="b", fidelity="official", group_rule="count_100_20", method_name="BCL")]
    table = only(records)
    assert table.cells["fidelity"].tolist() == ["clean", "official"]
    assert table.cells["groups"].tolist() == ["thirds", "count_100_20"]
    assert "checkpoint: last" in table.caption[0] and "fidelity:" not in table.caption[0]


def test_two_fidelities_of_one_method_are_told_apart() -> None:
    assert labels([sample(), sample(setting_id="b", fidelity="official")]) == [
        "SBCL / CB (fidelity=clean)",
        "SBCL / CB (fidelity=official)",
    ]


def test_tables_are_split_by_what_several_records_differ_in() -> None:
    def names(*changes: dict[str, object]) -> list[str]:
        return [part.name for part in sections(frame([sample(setting_id=str(i), **c) for i, c in enumerate(changes)]))]

    assert names({}, {"imbalance_factor": 100}) == ["digits_lt_if20", "digits_lt_if100"]
    assert names({}, {"backbone": "resnet8"}) == ["digits_lt_if20_resnet8", "digits_lt_if20_tiny"]
    assert names({}, {"budget": "short"}) == ["digits_lt_if20", "digits_lt_if20_short"]
    assert names({}, {"imbalance_profile": "step"}) == ["digits_lt_if20_exponential", "digits_lt_if20_step"]
    assert names({"dataset": "my/own", "imbalance_factor": None}) == ["my-own_native"]


PROBE = {"setting_id": "probe", "stage_two": "linear_probe", "stage_two_name": "Linear"}
SHOTS = {"setting_id": "shots", "stage_two": "few_shot_probe", "stage_two_name": "100-shot"}


def test_probes_have_a_table_of_their_own_with_the_deviation_over_groups() -> None:
    probes = [sample(**PROBE, seed=i, metrics=metrics(groups=(0.9, 0.6, 0.3 + 0.3 * i))) for i in (0, 1)]
    supervised, probed = sections(frame([sample(), *probes]))
    assert (supervised.name, probed.name) == ("digits_lt_if20", "digits_lt_if20_probe")
    table = accuracy_table(probed, more=["ece"])
    assert table.cells.columns.tolist()[1:] == ["many", "medium", "few", "all", "std", "ECE", "± test", "n"]
    # sqrt(0.06) and sqrt(0.02): population deviations of 0.9, 0.6, 0.3 and of 0.9, 0.6, 0.6
    mean, spread = 100 * (0.06**0.5 + 0.02**0.5) / 2, 100 * (0.06**0.5 - 0.02**0.5) / 2**0.5
    assert table.cells["std"].tolist() == [f"{mean:.1f} ± {spread:.1f}"]
    assert table.values["group_std_mean"][0] == pytest.approx(mean)
    assert "std: population standard deviation over the three groups" in table.caption[0]
    plain = accuracy_table(supervised)
    assert "std" not in plain.cells and "over the three groups" not in plain.caption[0]
    assert not any("group_std" in column for column in plain.values)


def test_draws_of_the_shots_are_averaged_before_models_are() -> None:
    accuracies = {0: [0.40, 0.50, 0.60], 1: [0.70]}
    records = [
        sample(**SHOTS, seed=seed, run_id=f"{seed}-{draw}", metrics=metrics(top1), settings=settings)
        for seed, draws in accuracies.items()
        for draw, top1 in enumerate(draws)
        for settings in [{"stage_two.shot_seed": draw, "method": "x"}]
    ]
    table = only(records)
    row = table.values.iloc[0]
    assert (row["n"], row["top1_mean"]) == (2, pytest.approx(60.0)) and row["label"] == "SBCL / 100-shot"
    assert row["top1_std"] == pytest.approx(100 * 0.2 / 2**0.5)
    assert "draws of the shots on one model count as one run, with their mean" in table.caption[0]
    (part,) = sections(frame(records))
    assert [row.runs["draws"].tolist() for row in part.rows] == [[3, 1]]
    assert "draws" not in only(records[2:]).caption[0]
    known = replace(records[0], metrics=metrics() | {"nll": 1.0})
    assert only([known, *records[1:]], more=["nll"]).cells.iloc[0]["NLL"] == "–"  # one draw of three says nothing
    with pytest.raises(ValueError, match="several runs with the same seeds: 0-0, again"):
        sections(frame([*records, sample(**SHOTS, run_id="again", settings=records[0].settings)]))


def test_probes_stand_after_the_other_rules_and_differ_in_name() -> None:
    names = {"Linear": PROBE, "100-shot": SHOTS, "50-shot": {**SHOTS, "setting_id": "50", "stage_two_name": "50-shot"}}
    found = labels([sample(**values) for values in reversed(names.values())])
    assert found == ["SBCL / Linear", "SBCL / 100-shot", "SBCL / 50-shot"]


def test_equal_seeds_within_a_setting_are_refused() -> None:
    with pytest.raises(ValueError, match="setting sbcl_cb has several runs with the same seeds: one, two"):
        sections(frame([sample(run_id="one"), sample(run_id="two")]))


def test_frame_keeps_the_native_factor_empty_and_costs() -> None:
    rows = frame([sample(imbalance_factor=None), sample(seed=1)])
    assert rows["imbalance_factor"].tolist()[0] == 20.0 and pd.isna(rows["imbalance_factor"].tolist()[1])
    assert rows["seconds"].tolist() == [1.5, 1.5] and rows["settings"][0] == '{"method": "sbcl"}'
    assert frame([]).empty


if __name__ == "__main__":
    for name, text in files(stored()).items():
        (EXPECTED / name).write_text(text, encoding="utf-8")


def test_records_that_do_not_know_their_images_are_said_to_be_of_an_older_version() -> None:
    own = {"dataset.train_list": "train", "files.train": "0a"}
    known = {"dataset.train_list": "train", "dataset.content.train": "bytes:0a"}

    def captions(dataset: str, settings: dict[str, str]) -> str:
        return tables([sample(dataset=dataset, settings=settings), sample(**CE)])[-1].markdown()

    assert "of an older version, which knew images by their names and labels alone" in captions("mine", own)
    assert "older version" not in captions("mine", known) and "older version" not in captions("imagenet_lt", own)
