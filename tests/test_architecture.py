"""The structure: one direction of imports, no torch in the front end, every golden file used, sizes and packaging."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lt_bench.config.recipes import short_for

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "lt_bench").rglob("*.py")), *sorted((ROOT / "launch").rglob("*.py"))]
# The rooms, highest first: a room imports only from rooms that stand after it, so there is no circle of rooms.
ROOMS = """
cli launch export run report trackers predict figures engine record data published preflight stage_two methods augment
losses evaluation machine processes config geometry models contracts locks liveness command terminal errors files
""".split()

# Every golden file of the capabilities that are here; each must be read by a test.
GOLDEN = """
split_counts split_select split_cifar_ranks
sbcl_supcon sbcl_simclr sbcl_ccl sbcl_rank sbcl_step sbcl_numclusters sbcl_kmeans sbcl_balanced_kmeans
sbcl_cluster_update sbcl_resnet32 sbcl_lr sbcl_moco_rank sbcl_moco_ccl sbcl_moco_kcl sbcl_moco_step
ldam_margins ldam_drw_weights ldam_loss ldam_step ldam_lr
cb_sampler cb_weights cb_lr cb_shot_acc cb_lws cb_tau_norm cb_ncm
bcl_logitadjust bcl_balscl bcl_step bcl_paco_backbones lr_schedules
paco_loss_lt paco_loss_full paco_loss_extreme paco_step
gpaco_loss gpaco_step gpaco_multitask_lt gpaco_multitask_balanced
proco_bessel proco_loss_a proco_loss_b proco_loss_c
simclr_nt_xent focal_nt_xent simclr_view_batching gh_backbones gh_probe gh_groups
simclr_lr_per_iteration gh_target gh_sinkhorn gh_loss gh_prior_cifar gh_prior_imagenet gh_schedules
gh_step_simclr gh_step_focal gh_step_simclr_gh gh_step_focal_gh
sdclr_masks sdclr_dual_bn gh_step_sdclr gh_step_sdclr_gh boosted_cl_backbones
boosted_cl_memory boosted_cl_strength boosted_cl_randaugment
tsc_kcl tsc_kcl_original tsc_batch_loss tsc_cifar_loss tsc_loss tsc_assignment tsc_targets tsc_step tsc_lr tsc_networks
reslt_class_rank reslt_loss_cifar reslt_loss_ranked reslt_lr reslt_networks
reslt_step_cifar reslt_step_imagenet_block_first reslt_step_imagenet_pool_first reslt_step_inat
experts_agnostic_evaluation experts_test_distributions experts_networks experts_lr
experts_balpoe_loss experts_step_balpoe experts_sade_loss experts_step_sade
experts_ride_loss experts_ride_distill experts_step_ride experts_sade_aggregation experts_ride_router
experts_ncl_loss experts_nclplus_loss experts_ncl_networks experts_step_ncl experts_step_ncl_moco
mixing_boxes mixing_mixes mixing_step_cmo_balanced_softmax mixing_step_cmo_ce_drw mixing_step_remix_drw
mixing_step_mislas_stage1 mixing_step_mislas_stage2 mixing_step_mislas_stage2_frozen
mixing_step_gcl_stage1 mixing_step_gcl_stage2 mixing_step_glmc
mixing_calibration mixing_class_vectors mixing_losses mixing_lr mixing_networks mixing_weight_balancing
mixing_step_ce_drw mixing_step_class_balanced mixing_step_focal_supervised mixing_step_lade mixing_step_vs
finetune_configs
lift_modules lift_counts liftplus_counts lift_vit_base lift_vit_options_a lift_vit_options_b lift_vit_options_c
liftplus_vit lift_float32 liftplus_start lift_classifier lift_loss lift_lr lift_step lift_step_accumulate lift_tokens
liftplus_augmentation lift_test_views liftplus_test_views finetune_groups finetune_step
region_rebalance_losses region_rebalance_head region_rebalance_step region_rebalance_training_only
region_rebalance_networks region_rebalance_metrics region_rebalance_lr region_rebalance_frequencies
region_rebalance_digit_scenes
""".split()


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("lt_bench", *parts) if parts[0] == "launch" else parts).removesuffix(".__init__")


def imports(path):
    """Full names of everything that a module imports, also inside functions."""
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join(filter(None, [*above, node.module, alias.name])) for alias in node.names)


def room_of(name):
    """The room of a module of ours; None for other packages and for the package itself: its version, what is public."""
    top, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    return {"__main__": "cli", "__version__": None}.get(room, room or None) if top == "lt_bench" else None


def test_there_is_one_ordered_list_of_rooms():
    assert sorted({room for path in SOURCES if (room := room_of(module_of(path)))}) == sorted(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_room_imports_only_from_rooms_below_it(path):
    own = room_of(module_of(path))
    for name in imports(path):
        if (other := room_of(name)) not in (None, own):
            assert own is None or ROOMS.index(other) > ROOMS.index(own), f"{path} imports {name}"


def test_launch_imports_its_own_modules_relatively():
    """Its package name is mapped, which mypy cannot follow: an absolute import would be Any."""
    for path in (ROOT / "launch").rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^ *(from|import) lt_bench\.launch", text, re.MULTILINE), path


WRONG_CALLS = ("plan(123, nonsense=True)", "states(5)", "Task(3)", "group.trains()")


@pytest.mark.slow
def test_wrong_calls_across_launch_are_refused_by_mypy(tmp_path):
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    module = tmp_path / "launch" / "sweep.py"
    lines = [
        "from .slurm.task import Task",
        "def planted(group: RunGroup) -> None:",
        *(f"    {x}" for x in WRONG_CALLS),
    ]
    module.write_text("\n".join([module.read_text(), *lines]))
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "launch"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    last = len(module.read_text().splitlines())
    wrong = {f"launch/sweep.py:{line}" for line in range(last - len(WRONG_CALLS) + 1, last + 1)}
    assert {line.partition(": error:")[0] for line in found.stdout.splitlines() if ": error:" in line} == wrong, found


FRONT_END = (
    ["report", "report.__main__", "report.page.command",
     "figures.__main__", "config.compose", "config.annotations", "preflight.validate",
     "preflight.combinations",
     "trackers.__main__", "trackers.following", "trackers.tensorboard", "trackers.wandb", "trackers.mlflow",
     "record.identity", "cli.help", "cli.main", "cli.commands", "cli.guidance", "cli.new", "run.summary", "run.execute",
     "__main__", "command",
     "terminal", "processes", "machine",
     "launch.__main__", "launch.planning.plan", "launch.sweep", "launch.tables", "launch.slurm.arrays", "launch.job",
     "launch.slurm.task", "record.folder", "record.record", "evaluation.predictions",
     "published.entries", "published.missing", "published.reproduces",
     "augment.views", "data.splits.split", "data.__main__", "data.files.check", "data.files.packed",
     "data.sources.cifar", "data.sources.fashion_mnist", "engine.schedules"]
)  # fmt: skip
IMPORTS = f"""
import importlib, sys
for name in {FRONT_END}:
    importlib.import_module(f"lt_bench.{{name}}")
    if "torch" in sys.modules:
        sys.exit(f"lt_bench.{{name}} imports torch")
"""


def test_the_front_end_and_the_report_never_import_torch():
    done = subprocess.run([sys.executable, "-c", IMPORTS], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_never_imports_what_it_does_not_need(tmp_path):
    """PyTorch's compiler alone takes a second and 150 MiB, scikit-learn for one data file longer than many a run."""
    unwanted = ["torchvision", "torch._dynamo", "sympy", "sklearn", "scipy.stats", "pandas", "matplotlib"]
    code = (
        "import sys; from lt_bench.__main__ import main; "
        f"status = main(['budget=smoke', 'progress=false', 'device=cpu', 'output_dir={tmp_path}']); "
        f"sys.exit(status or ', '.join(name for name in {unwanted} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_golden_file_is_here_and_read_by_a_test():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    here = {path.stem for path in (ROOT / "tests" / "golden").glob("*.npz")}
    assert set(GOLDEN) <= here
    unread = [name for name in sorted(here) if not re.search(rf"\b{name}(\.npz)?\b|\b{name}\b", tests)]
    assert unread == []


KEY = re.compile(r"\b(method|train|stage_two|dataset|backbone|imbalance)\.[a-z_]+")


@pytest.mark.parametrize("room", ["losses", "models", "geometry", "augment", "methods", "stage_two"])
def test_parts_name_their_parameters_and_no_keys_of_a_config(room):
    """Their callers know the keys (``errors.keyed``), so that a part can be used elsewhere and under another key."""
    for path in (ROOT / "lt_bench" / room).rglob("*.py"):
        raised = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
        texts = [text.value for node in raised for text in ast.walk(node) if isinstance(text, ast.Constant)]
        assert not [text for text in texts if isinstance(text, str) and KEY.search(text)], path


# Where a ValueError becomes an error with an owner, because what raises it is known: a parser of a user's own words,
# or a format of files. Anywhere else it would hide a defect.
MENDED = {
    "lt_bench.config.conf": "YAML, on a file of conf/",
    "lt_bench.config.compose": "Hydra's parser of an override, and values of another kind",
    "lt_bench.config.signatures": "Python's parser, on a module that a config names",
    "lt_bench.data.files.image_file": "Pillow, on a file",
    "lt_bench.data.files.packed": "the index of a packed copy",
    "lt_bench.data.sources.cifar": "the parts of an archive",
    "lt_bench.data.sources.fashion_mnist": "an idx file",
    "lt_bench.data.sources.lists": "a list of images",
    "lt_bench.data.splits.split": "a stored manifest that is no JSON",
    "lt_bench.data.transform": "the name of a file",
    "lt_bench.engine.checkpoint": "the archive of a checkpoint, for which zipfile and PyTorch raise anything",
    "lt_bench.engine.loop": "the state in a checkpoint",
    "lt_bench.report.evaluate": "stored predictions and the record beside them",
    "lt_bench.report.sides": "stored predictions",
    "lt_bench.export.__main__": "the record of a run",
    "lt_bench.export.programs": "PyTorch's exporters, for which they raise anything",
    "lt_bench.predict.__main__": "a list that is no text",
    "lt_bench.models.kept": "the head of a file of a predictor, and networks that do not fit it",
    "lt_bench.models.timm_encoder": "timm, for what it cannot build or does not have",
    "lt_bench.predict.predictor": "the values in the head of a file of a predictor",
    "lt_bench.models.text_features": "a file of text features",
    "lt_bench.models.pretrained": "a file of weights, for which PyTorch raises anything",
}
OWNED = {"UsageError", "SettingError", "DataError", "CheckpointError", "TargetError", "BadImage"}


def caught(handler):
    """Names of what a handler catches."""
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"Exception"}


def test_a_value_error_becomes_an_error_with_an_owner_only_where_its_source_is_known():
    found = set()
    for path in SOURCES:
        for handler in ast.walk(ast.parse(path.read_text())):
            if isinstance(handler, ast.ExceptHandler) and caught(handler) & {"ValueError", "Exception"}:
                raised = [node.exc for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc]
                names = {node.id for error in raised for node in ast.walk(error) if isinstance(node, ast.Name)}
                if names & OWNED or "data_error" in names:
                    found.add(module_of(path))
    assert sorted(found) == sorted(MENDED)


def test_no_code_matches_the_text_of_an_error():
    """Texts of other libraries change; ours are for people."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(
                isinstance(sign, (ast.In, ast.NotIn, ast.Eq)) for sign in node.ops
            ):
                shown = [ast.unparse(side) for side in (node.left, *node.comparators)]
                assert not [text for text in shown if re.fullmatch(r"str\(\w*err\w*\)|error\.args\[0\]", text)], path


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lt_bench").rglob("__init__.py")}
    found |= {
        f"lt_bench.{'.'.join(path.parent.relative_to(ROOT).parts)}" for path in (ROOT / "launch").rglob("__init__.py")
    }
    assert listed == found | {"lt_bench.conf", "lt_bench.published.results"}


def test_modules_and_functions_stay_small():
    lengths = []
    for path in SOURCES:
        text = path.read_text()
        lengths.append(len(text.splitlines()))
        assert lengths[-1] <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno + 1 <= 60, f"{path}: {node.name}"
    assert sorted(lengths)[len(lengths) // 2] <= 120


@pytest.mark.parametrize("method", sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")))
def test_a_method_is_found_by_its_name(method):
    meant = short_for(method)  # a short name for a method with a component, whose files and tests serve all
    plain = meant.get("method", method)
    assert bool(meant) == method.endswith("_gh")
    text = (ROOT / "conf" / "method" / f"{plain}.yaml").read_text()
    own_class = bool(re.search(r"^  _target_: lt_bench\.methods\.", text, re.MULTILINE))  # not that of a component
    for name in {plain, *meant.keys() - {"method"}}:  # a file of values alone has the class of the method that it is on
        assert (ROOT / "lt_bench" / "methods" / f"{name}.py").exists() == (own_class or name != plain)
        assert (ROOT / "tests" / "methods" / f"test_{name}.py").exists()


CLOCKS = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns")


def clock_readings(tree):
    """Assertions that compare what a clock on the wall says: calls of one, and names that were given one's reading."""
    read = {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(map(is_clock, ast.walk(node.value)))
        for target in node.targets
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            parts = [*ast.walk(node.test)]
            if any(is_clock(part) or isinstance(part, ast.Name) and part.id in read for part in parts):
                yield ast.unparse(node)


def is_clock(node):
    name = node.func if isinstance(node, ast.Call) else None
    if isinstance(name, ast.Attribute):
        return name.attr in CLOCKS and ast.unparse(name.value) == "time"
    return isinstance(name, ast.Name) and name.id in CLOCKS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("start = time.monotonic()\nassert time.monotonic() - start < 5", True),
        ("start = time.perf_counter()\nseconds = time.perf_counter() - start\nassert seconds < 5", True),
        ("elapsed = perf_counter() - start\nassert elapsed < 5", True),
        ("seconds = cpu_seconds(command)\nassert seconds < 5", False),
        ("assert time.process_time() < 5", False),
    ],
)
def test_judgements_by_the_clock_are_found(text, found):
    assert bool([*clock_readings(ast.parse(text))]) == found


def test_no_test_judges_by_the_clock():
    """Other work on the machine would decide. CPU time or a ratio does; a wait has a generous end in wait_for."""
    found = {path: [*clock_readings(ast.parse(path.read_text()))] for path in (ROOT / "tests").rglob("test_*.py")}
    assert {path: asserts for path, asserts in found.items() if asserts} == {}


@pytest.mark.parametrize("rule", sorted(path.stem for path in (ROOT / "conf" / "stage_two").glob("*.yaml")))
def test_a_stage_two_rule_is_found_by_its_name(rule):
    assert (ROOT / "lt_bench" / "stage_two" / f"{rule}.py").exists()
    assert (ROOT / "tests" / "stage_two" / f"test_{rule}.py").exists()


def test_no_unsafe_loading_and_no_evaluation_of_text():
    for path in SOURCES:
        text = path.read_text()
        for call in ("eval(", "exec(", "shell=True", "os.system", "weights_only=False", "allow_pickle=True"):
            assert not re.search(rf"(?<![\w.]){re.escape(call)}", text), f"{path}: {call}"
        if "torch.load(" in text:
            assert "weights_only=True" in text, path
