"""The structure: one direction of imports, no torch in the front end, every golden file used, sizes and packaging."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "lt_bench").rglob("*.py")), *sorted((ROOT / "launch").rglob("*.py"))]
LOW = ("losses", "models", "data", "augment", "geometry")
HIGH = ("engine", "methods", "stage_two", "launch", "report", "run")

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
""".split()


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", LOW)
def test_the_lower_rooms_import_nothing_of_the_higher(room):
    for path in (ROOT / "lt_bench" / room).rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(tuple(f"lt_bench.{high}" for high in HIGH)), f"{path} imports {name}"


@pytest.mark.parametrize(
    "module",
    ["report", "report.__main__", "compose", "preflight", "annotations", "limits", "run_id", "help", "summary",
     "__main__", "launch.plan", "launch.local", "record.folder", "record.record", "evaluation.predictions",
     "data.views", "data.split", "data.__main__", "data.check", "data.packed",
     "data.sources.cifar", "data.sources.fashion_mnist", "engine.schedules"],
)  # fmt: skip
def test_the_front_end_and_the_report_never_import_torch(module):
    code = f"import sys, lt_bench.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_on_images_that_are_there_never_imports_torchvision(tmp_path):
    code = (
        "import sys; from lt_bench.__main__ import main; "
        f"status = main(['budget=smoke', 'progress=false', 'output_dir={tmp_path}']); "
        "sys.exit(status or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_every_golden_file_is_here_and_read_by_a_test():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    here = {path.stem for path in (ROOT / "tests" / "golden").glob("*.npz")}
    assert set(GOLDEN) <= here
    unread = [name for name in sorted(here) if not re.search(rf"\b{name}(\.npz)?\b|\b{name}\b", tests)]
    assert unread == []


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lt_bench").rglob("__init__.py")}
    assert listed == found | {"lt_bench.conf", "lt_bench.launch"}


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
    plain = method.removesuffix("_gh")
    if plain != method:  # the same class with a component, whose file and tests serve all
        text = (ROOT / "conf" / "method" / f"{method}.yaml").read_text()
        assert re.search(rf"defaults:\n  - {plain}\n  - component/harmonization\n", text) and "_target_" not in text
    for name in {plain, "harmonization"} if plain != method else {plain}:
        assert (ROOT / "lt_bench" / "methods" / f"{name}.py").exists()
        assert (ROOT / "tests" / "methods" / f"test_{name}.py").exists()


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
