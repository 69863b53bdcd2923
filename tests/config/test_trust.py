"""What a config may let run: the package's components, a list of the libraries', and what the user names."""

import os
import subprocess
import sys

import pytest
from helpers.command_line import MODULE
from helpers.configs import refusal_to_plan as refusal
from helpers.installation import Installation

from lt_bench.config.compose import compose
from lt_bench.config.signatures import TargetError, defined_in
from lt_bench.config.trust import LIBRARIES, load, untrusted
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate

RAN = "raise RuntimeError('this file was run')\n"
METHOD = RAN + "class Mine:\n    provides_classifier = True\n    def __init__(self, encoder, info): ...\n"
SOURCE = RAN + "def read(root, train_list, test_list, num_classes): ...\n"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Modules on the import path that are not in the current folder; importing one of them is an error."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "someones.py").write_text(METHOD)
    (folder / "someones_data.py").write_text(SOURCE)
    (folder / "hidden.py").write_text(RAN + "from shutil import rmtree\nimport os\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset._target_=shutil.rmtree", "dataset.root=x"], "add trust=[shutil]"),
        (["-", "dataset._target_=shutil.rmtree", "dataset.root=x", "seed=1,2"], "add trust=[shutil]"),
        (["dataset=image_folder", "dataset._target_=shutil.rmtree", "dataset.num_classes=2"], "add trust=[shutil]"),
        (["method._target_=someones.Mine"], "method._target_=someones.Mine: someones is code that nobody has asked"),
        (["backbone._target_=subprocess.Popen", "backbone.args=[touch,x]"], "add trust=[subprocess]"),
        (["train.optimizer._target_=someones.Mine"], "train.optimizer._target_=someones.Mine: someones is code"),
        (["stage_two.train.optimizer={_target_:someones.Mine}"], "add trust=[someones]"),
        (["train.schedule._target_=someones.Mine"], "train.schedule._target_=someones.Mine"),
        (["stage_two._target_=someones.Mine", "stage_two.name=x"], "stage_two._target_=someones.Mine"),
        (["method=simclr", "method.harmonization={_target_:someones.Mine}"], "method.harmonization._target_=someones"),
        (["method.extra={_target_:someones.Mine}"], "method.extra._target_=someones.Mine"),
        (["train.optimizer._target_=torch.os.system"], "no module 'torch.os'"),
        (["train.optimizer._target_=torch.load"], "add trust=[torch]"),
        (["train.optimizer._target_=torch.optim.adam.Adam"], "add trust=[torch]"),
        (["method._target_=torch.hub.load"], "add trust=[torch]"),
        (["backbone._target_=torchvision.datasets.utils.download_url"], "add trust=[torchvision]"),
        (["train.schedule._target_=lt_bench.engine.schedules.math.exp"], "no module 'lt_bench.engine.schedules.math'"),
        (["backbone._target_=lt_bench.files.write_atomic", "backbone.path=x"], "no component of lt_bench"),
        (["backbone._target_=lt_bench.data.sources.common.fetch"], "no component of lt_bench"),
        (["backbone._target_=lt_bench.models.pretrained.load_file"], "lt_bench.models.pretrained.load_file"),
        (["dataset._target_=lt_bench.record.folder.code_version"], "no component of lt_bench"),
        (["method._target_=builtins.eval"], "no module 'builtins'"),
        (["method._target_=os.system"], "no module 'os'"),
        (["method._target_=hidden.os.system", "trust=[hidden]"], "no module 'hidden.os'"),
        (["method._target_=../someones.Mine"], "no module '../someones'"),
        (["trust=[../x]"], "trust: '../x' is no module"),
        (["trust=someones"], "trust=someones is of the wrong kind"),
        (["method=ce", "method._partial_=true"], "unknown key method._partial_"),
        (["method=ce", "method._args_=[1]"], "unknown key method._args_"),
        (["hydra.searchpath=[pkg://someones]"], "Hydra's own settings are not used"),
        (["hydra.callbacks.x._target_=someones.Mine"], "Hydra's own settings are not used"),
    ],
)
def test_what_nobody_has_asked_to_run_is_refused_and_not_run(words, said, elsewhere):
    (elsewhere.parent / "x").mkdir()
    assert said in refusal(*(word for word in words if word != "-"))
    assert (elsewhere.parent / "x").is_dir() and "someones" not in sys.modules


def test_a_module_that_is_named_is_trusted_and_still_not_run_by_a_plan(elsewhere):
    words = ["method=ce", "method._target_=someones.Mine"]
    words += [f"~method.{key}" for key in compose(["method=ce"]).method if key in ("views",)]
    (run,) = plan([*words, "trust=[someones]"])
    assert run.config.trust == ["someones"] and run.config.method["name"] == "Mine"


def test_files_in_the_current_folder_are_trusted_where_they_are_named(elsewhere, monkeypatch):
    (elsewhere.parent / "here.py").write_text(METHOD)
    monkeypatch.syspath_prepend(elsewhere.parent)
    config = validate(compose(["method=ce", "method._target_=here.Mine"]))
    assert config.trust == ["here"]
    monkeypatch.chdir("/")
    assert "add trust=[here]" in refusal("method=ce", "method._target_=here.Mine")


def test_a_source_of_ones_own_is_not_called_for_the_identity_of_a_folder(elsewhere):
    words = ["dataset=image_folder", "dataset.num_classes=2", "dataset.root=data", "method=ce", "stage_two=none"]
    words += ["dataset._target_=someones_data.read", "trust=[someones_data]"]
    ids = []
    for image in ("one", "other"):
        for place in ("train/a", "train/b", "test/a", "test/b"):
            os.makedirs(f"data/{place}", exist_ok=True)
            open(f"data/{place}/{place[:2]}_{image}.png", "w").close()
        (run,) = plan(words)
        ids.append(run.identity)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:${oc.env:HOME}}", "${oc.${fidelity}:HOME}"])
@pytest.mark.parametrize("key", ["method.title", "dataset.name", "method.softness.inner", "launch.setup"])
def test_environment_variables_reach_no_config(key, value):
    word = f"{key}=['{value}']" if key == "launch.setup" else f"{key}='{value}'"
    with pytest.raises(UsageError, match="refers to its own keys|interpolation"):
        validate(compose([word, "launch=slurm"]))


def test_an_escaped_reference_is_none_that_a_job_fills_in():
    with pytest.raises(UsageError, match="refers to its own keys"):
        validate(compose(["method.title='\\${oc.env:HOME}'"]))


def test_what_trusted_libraries_hold_is_there():
    there = {name for name in LIBRARIES if not name.startswith("timm.")}
    assert all(defined_in(name).startswith(("torch.", "torchvision.")) for name in sorted(there)[::7])
    assert len(there) > 40


def test_one_import_and_one_attribute_are_all_that_loading_does():
    assert load("lt_bench.engine.schedules.Cosine").__name__ == "Cosine"
    with pytest.raises(ModuleNotFoundError):
        load("lt_bench.engine.schedules.math.exp")
    with pytest.raises(TargetError):
        defined_in("lt_bench.engine.schedules.math")


PLUGIN = "open('run.txt', 'w').close()\n"


def test_plugins_of_hydra_in_the_current_folder_are_not_imported(tmp_path):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "theirs.py").write_text(PLUGIN)
    (tmp_path / "searched.py").write_text(PLUGIN)
    planned = subprocess.run([*MODULE, "--dry-run"], cwd=tmp_path, capture_output=True, text=True)
    line = "lt-bench hydra.searchpath=[pkg://searched] method=ldam"
    completing = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked = [*MODULE, "-sc", "query=bash"]
    shown = subprocess.run(asked, cwd=tmp_path, env=completing, capture_output=True, text=True)
    assert planned.returncode == 0 and "method=ldam_drw" in shown.stdout, (planned, shown)
    assert not (tmp_path / "run.txt").exists()


def test_files_of_conf_name_files_of_the_current_folder_alone_and_trust_nobody(tmp_path):
    made = Installation(tmp_path)
    text = "# @package _global_\n# theirs\ndefaults:\n  - ce\nmethod: {name: theirs, title: Theirs, _target_: TARGET}\n"
    (made.conf / "method" / "theirs.yaml").write_text(text.replace("TARGET", "shutil.rmtree"))
    (made.conf / "experiment" / "trusting.yaml").write_text("# @package _global_\n# trusts\ntrust: [shutil]\n")
    bomb = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]" for n in range(12))
    (made.conf / "experiment" / "bomb.yaml").write_text(f"# @package _global_\n# much\n{bomb}\n")
    for word, said in (
        ("method=theirs", "add trust=[shutil]"),
        ("experiment=trusting", "stands in no file"),
        ("experiment=bomb", "repeats parts of it"),
    ):
        refused = made.call("--dry-run", word)
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained_cfg.file", "pretrained_cfg_overlay.url"])
def test_what_a_library_would_unpickle_is_refused(key):
    values = {"backbone._target_": "timm.create_model", "backbone.model_name": "resnet18"}
    assert list(untrusted(values, [])) == []
    (said,) = untrusted({**values, f"backbone.{key}": "weights.pth"}, [])
    assert "would run the code in such a file" in said and "backbone.pretrained=FILE" in said
