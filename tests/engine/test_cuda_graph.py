"""cuda_graph=true: the results are those of steps that are not recorded; on a CPU by the same way without a recording.

There a recording is the work with the numbers of epoch and step that it was made with, so that a method whose phases do
not say all that its step depends on has other results.
"""

import pytest
import torch
from helpers.chain import assert_identical, class_of, execute, killed_until_done, results, tiny
from helpers.engine_parts import Constant, Noisy, Vectors, one_process, stage, training
from helpers.sampling import methods_for, one_of_each_family

from lt_bench.contracts import Method, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.precision import Precision
from lt_bench.engine.recorded import RecordedStep, require_recordable
from lt_bench.errors import UsageError
from lt_bench.methods.ce import CE

DRAWING = ("kcl", "tsc", "kcl_moco", "tsc_moco", "gcl")  # positives or noise anew in every step
METHODS = [name for name in methods_for() if name not in DRAWING]
SMALL = ("train.batch_size=16", "stage_two=cb", "stage_two.train.batch_size=16", "budget.max_steps_per_epoch=4")
OPTIONS = {
    "averaged": ("train.ema_decay=0.9", "train.clip_norm=0.5", "train.head_lr_factor=2"),
    "adamw": ("optimizer=adamw", "train.microbatch=8"),
    "bf16": ("train.precision=bf16",),
}
CUDA = {"marks": [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]}
DEVICES = ["device=cpu", pytest.param("device=cuda", **CUDA)]


@pytest.fixture
def recordings(monkeypatch):
    """The classes whose steps were recorded."""
    seen, record = [], RecordedStep._record

    def watched(self, batch, epoch, step):
        seen.append(type(self.work.__self__.method).__name__)
        record(self, batch, epoch, step)

    monkeypatch.setattr(RecordedStep, "_record", watched)
    return seen


def assert_same_when_recorded(folder, recordings, method, *words):
    """A whole run with recorded steps has the results of one without."""
    words = (*SMALL, f"method={method}", "deterministic=true", *words)
    plain = results(*execute(tiny(folder / "plain", *words)))
    assert not recordings
    assert_identical(results(*execute(tiny(folder / "recorded", *words, "cuda_graph=true"))), plain)
    assert {class_of("method", method).__name__, "CrossEntropyOnFrozen"} == set(recordings)


@pytest.mark.parametrize("name", one_of_each_family(METHODS))
def test_a_run_of_every_method_ends_the_same(name, tmp_path, recordings):
    assert_same_when_recorded(tmp_path, recordings, name, "device=cpu")


@pytest.mark.parametrize("name", [pytest.param(name, **CUDA) for name in METHODS])
def test_a_run_of_every_method_ends_the_same_on_a_gpu(name, tmp_path, recordings):
    assert_same_when_recorded(tmp_path, recordings, name, "device=cuda")


@pytest.mark.parametrize("name", DRAWING)
def test_a_method_that_draws_in_every_step_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="every step of .* draws or reads something anew; set cuda_graph=false"):
        execute(tiny(tmp_path, *SMALL, f"method={name}", "cuda_graph=true", "device=cpu"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_a_run_with_other_options_ends_the_same(words, device, tmp_path, recordings):
    assert_same_when_recorded(tmp_path, recordings, "ce", *words, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_that_is_killed_ends_as_if_undisturbed(device, tmp_path, monkeypatch):
    words = (*SMALL, "method=paco", "cuda_graph=true", "deterministic=true", "checkpoint.every_steps=1", device)
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed", *words)))
    killed, outcome = killed_until_done(tiny(tmp_path / "killed", *words), monkeypatch, steps=6)
    assert killed
    assert_identical(results(*outcome), undisturbed)


def test_a_smaller_last_batch_is_not_recorded(tmp_path):
    sizes = []

    class Watched(CE):
        def forward(self, batch, epoch, step, context):
            sizes.append((len(batch.labels), step))
            return super().forward(batch, epoch, step, context)

    source = Noisy()  # of 26 images
    method = Watched(Vectors(), TrainInfo(source.labels, 3, 2), views=["plain"])
    where = stage(tmp_path)._replace(cuda_graph=True)
    Trainer(method, source, training(2, 6), Constant(0.1), one_process(source), where).fit()
    first, second = sizes[:5], sizes[5:]
    assert first == [(6, 0), (6, 1), (6, 2), (6, 3), (2, 4)]  # the fourth is the recording
    assert second == [(6, 3), (6, 3), (6, 3), (6, 3), (2, 4)]


class Restless(CE):
    """Its steps have no phase."""

    def phase(self, epoch):
        return None


REFUSED = {
    "2 processes": {"ranks": 2},
    "every step of Restless draws": {"method": Restless},
    "RMSprop may read": {"optimizer": torch.optim.RMSprop},
    "the scale of fp16": {"precision": "fp16"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_recorded_is_refused_with_the_reason(reason):
    given = {"method": CE, "optimizer": torch.optim.SGD, "precision": "float32", "ranks": 1, **REFUSED[reason]}
    method = given["method"](Vectors(), TrainInfo(torch.arange(6) % 3, 3, 2))
    optimizer = given["optimizer"](method.parameters(), lr=0.1)
    precision = Precision("float32", torch.device("cpu"))
    precision.name = given["precision"]
    with pytest.raises(UsageError, match=f"{reason}.*set cuda_graph=false"):
        require_recordable(method, training(2, 6), optimizer, precision, given["ranks"])


def test_a_method_of_ones_own_has_no_phase_unless_it_says_so():
    assert Method().phase(0) is None
