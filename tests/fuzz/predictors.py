"""Saved predictors as anybody may send one: the head of the file, its tensors, and the record beside it changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from lt_bench.data.transform import Transform
from lt_bench.errors import DataError, UsageError
from lt_bench.models.kept import ABOUT
from lt_bench.models.tiny import TinyEncoder
from lt_bench.predict.predictor import Predictor, load
from lt_bench.record.record import PREDICTOR, RECORD
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, as_json, content, laid
from tests.fuzz.odd import damaged, replaced, values

START = 8  # bytes of a file that hold the length of its head
TARGETS = """
os.system shutil.rmtree lt_bench.files.write_atomic lt_bench.models.kept.keep lt_bench.models.heads.linear
lt_bench.models.resnet.resnet50 lt_bench.models.heads.NormalizedLinear lt_bench.models.tiny.TinyEncoder torch.optim.SGD
torch.nn.Linear torchvision.models.resnet18 lt_bench.losses.ldam no.such.thing lt_bench.methods.ce.CE x . __main__.x
""".split()


@cache
def _valid() -> tuple[dict[str, Any], bytes]:
    """The head of a file of a predictor of four classes, and the bytes of its tensors."""
    torch.manual_seed(0)
    transform = Transform(8, 1.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    node = {"_target_": "lt_bench.models.tiny.TinyEncoder"}
    networks = TinyEncoder(), nn.Linear(TinyEncoder.feature_dim, 4)
    made = Predictor(
        encoder=networks[0],
        classifier=networks[1],
        transform=transform,
        class_names=tuple("abcd"),
        temperature=1.5,
        calibrated_on=9,
        run_id="0123",
        batch_size=5,
        node=node,
    )
    with tempfile.TemporaryDirectory() as folder:
        whole = made.save(folder).read_bytes()
    end = START + int.from_bytes(whole[:START], "little")
    return json.loads(whole[START:end]), whole[end:]


def _file(head: bytes, tensors: bytes) -> bytes:
    return len(head).to_bytes(START, "little") + head + tensors


@st.composite
def files(draw: Callable[..., Any]) -> bytes:
    """A file whose description, list of tensors or bytes were changed, the former two with lengths that fit."""
    head, tensors = _valid()
    about = json.loads(head["__metadata__"][ABOUT])
    what = draw(st.sampled_from(["about", "about", "targets", "head", "bytes"]))
    if what == "about":
        about = draw(replaced(about))
    elif what == "targets":
        node = {"_target_": draw(st.sampled_from(TARGETS)), **draw(st.dictionaries(PARAMETERS, values, max_size=2))}
        about[draw(st.sampled_from(["encoder", "classifier", "backbone"]))] = node
    head = {**head, "__metadata__": {ABOUT: json.dumps(about)}}
    if what == "head":
        head = draw(replaced(head))
    beginning = _file(as_json(head), b"")
    return (draw(damaged(st.just(beginning))) if what == "bytes" else beginning) + tensors


PARAMETERS = st.sampled_from(["in_features", "out_features", "bias", "encoder", "classifier", "num_classes", "x", ""])


@st.composite
def folders(draw: Callable[..., Any]) -> dict[str, Content]:
    """A file of a predictor, or something else of its name, and often a record beside it."""
    own = draw(files())
    found: dict[str, Content] = {PREDICTOR: draw(content(own)) if draw(st.integers(0, 9)) == 0 else own}
    if draw(st.integers(0, 4)) == 0:
        found[RECORD] = draw(content(as_json({"run_id": "0123"})))
    return found


def read(folder: dict[str, Content]) -> None:
    """Load a predictor; what is loaded tells an image among its classes."""
    with laid(folder) as place:
        try:
            found = load(place)
        except DataError as error:
            assert "\n" not in str(error), str(error)
            raise
    size, classes = found.transform.size, len(found.class_names)
    assert found.probabilities(torch.zeros(2, 3, size, size)).shape == (2, classes)
    assert isinstance(found.about_probabilities, str) and found.batch_size > 0


READERS = {"predictors": Reader(st.deferred(folders), read, (UsageError, DataError))}
