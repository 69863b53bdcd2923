"""What a search is, before anything is drawn: its words, its folder, and what is refused."""

import subprocess
import sys

import pytest

from lt_bench.cli.main import main
from lt_bench.errors import UsageError
from lt_bench.launch.search.planned import plan_search

SPACE = "search.space.train.lr=log(0.01,0.3)"
WORDS = ("search=optuna", "method=ce", "dataset.validation_per_class=5", SPACE)


def refusal(*words):
    with pytest.raises(UsageError) as refused:
        plan_search(words)
    return str(refused.value)


def test_trials_are_evaluated_on_validation_images_and_the_last_command_is_not():
    search = plan_search([*WORDS, "seed=3"])
    assert search.config.evaluation.split == "validation" and search.config.evaluation.select == "best_validation"
    assert search.prunes and search.config.seed == 3
    last = search.final(["train.lr=0.1"])
    assert "-m method=ce dataset.validation_per_class=5 evaluation.select=best_validation train.lr=0.1" in last
    assert last.endswith("seed='range(5)'") and "seed=3" not in last and "evaluation.split" not in last


def test_more_trials_go_on_with_the_same_search_and_another_space_is_another():
    first = plan_search(WORDS)
    assert plan_search([*WORDS, "search.trials=50"]).identity == first.identity
    assert plan_search([*reversed(WORDS)]).identity == first.identity
    for word in ("search.seed=1", "train.batch_size=64", "split_seed=1", "search.space.train.batch_size=32,64"):
        assert plan_search([*WORDS, word]).identity != first.identity


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search=optuna", "method=ce", SPACE), "a validation part is asked for but there is none"),
        ((*WORDS, "search.metric=macr"), "no metric of a record (did you mean macro?)"),
        ((*WORDS, "search.metric=aurc"), "search.metric= takes top1"),
        ((*WORDS, "search.metric=train_counts"), "is no metric of a record"),
        ((*WORDS, "search.space.train.lrr=log(0.1,1)"), "unknown key train.lrr (did you mean lr?)"),
        ((*WORDS, "search.space.train.batch_size=0,32"), "in search.space.train.batch_size, of which 0 is one value"),
        ((*WORDS, "search.space.method=ce,xx"), "method is typed and searched"),
        ((*WORDS, "train.lr=0.1"), "train.lr is typed and searched"),
        ((*WORDS, "stage_two=cb,none"), "names 2; type one value of every key"),
        ((*WORDS, "evaluation.split=test"), "never looks at test images"),
        ((*WORDS, "evaluation.select=best_test"), "never looks at test images"),
        ((*WORDS, "stage_two=ncm"), "set evaluation.select=last"),
        ((*WORDS, "search.trials=0"), "search.trials= takes numbers from 1"),
        ((*WORDS, "search.trails=3"), "unknown key search.trails (did you mean trials?)"),
        ((*WORDS, "launch=slurm_two_nodes"), "set launch.nodes=1 launch.gpus_per_node=1"),
        (("search=tpe", *WORDS[1:]), "search= takes none, optuna"),
        (("search=none", *WORDS[1:]), "write search=optuna"),
        (("search=none", "method=ce", SPACE), "write search=optuna"),
        ((*WORDS, "search.space.train.lr=0.1,0.2"), "search.space.train.lr= is typed twice"),
        (
            (*WORDS, "search.space.+train.batch_size=8,16", "train.batch_size=8"),
            "train.batch_size is typed and searched",
        ),
        ((*WORDS, "search.space=3"), "a space is typed key by key"),
        ((*WORDS, "search.space={train.lr:[0.1,0.2]}"), "a space is typed key by key"),
        (WORDS[1:], "add search=optuna"),
        (WORDS[:-1], "a search needs a space"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_drawn(words, said):
    assert said in refusal(*words)


def test_without_optuna_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr("lt_bench.launch.search.planned.find_spec", lambda name: None)
    assert "pip install 'lt_bench[search]'" in refusal(*WORDS)


def test_nothing_is_stopped_where_no_epoch_has_a_score_or_less_is_better():
    for words in (
        ("search.metric=ece",),
        ("search.prune_after_trials=null",),
        ("stage_two=ncm", "evaluation.select=last"),
    ):
        assert not plan_search([*WORDS, *words]).prunes


def test_a_search_is_for_several_runs(capsys):
    for words in (WORDS, ("search=optuna",)):
        assert main([*words]) == 2 and "add -m" in capsys.readouterr().err


def test_a_plan_writes_nothing_and_imports_neither_pytorch_nor_optuna(tmp_path):
    code = (
        "import sys; from lt_bench.launch.__main__ import main; "
        f"status = main(['plan', *{WORDS!r}, 'output_dir={tmp_path}/runs']); "
        "sys.exit(status or ', '.join(name for name in ('torch', 'optuna') if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 of 30 trials done\n  train.lr: 0.01 to 0.3, evenly in its logarithm" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_file_of_ones_own_has_a_space_and_words_add_to_it(tmp_path, monkeypatch):
    (tmp_path / "lt_bench_conf" / "search").mkdir(parents=True)
    text = "# mine\ndefaults: [optuna]\ntrials: 7\nspace:\n  train.lr: log(0.01,0.3)\n  train.batch_size: 32,64\n"
    (tmp_path / "lt_bench_conf" / "search" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    words = (
        "search=mine",
        *WORDS[1:-1],
        "search.space.train.batch_size=16,32",
        "search.space.train.drop_last=true,false",
    )
    search = plan_search(words)
    assert search.search.trials == 7 and list(search.axes) == ["train.batch_size", "train.drop_last", "train.lr"]
    assert search.axes["train.batch_size"].values == ("16", "32")
    assert search.written({})["own_files"] == [str(tmp_path / "lt_bench_conf")]
