"""Text features of class names from CLIP's text tower, by open_clip, for ``models.text_features``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lt_bench.errors import DataError, SettingError, UsageError
from lt_bench.files import write_atomic
from lt_bench.models.text_features import spoken

TEMPLATE = "a photo of a {}."
INSTALL = "pip install 'lt_bench[clip]'"


def token_ids(names: Sequence[str], model: str, template: str = TEMPLATE) -> torch.Tensor:
    """The tokens (C, 77) of a template with every name in it, underscores as spaces.

    Source: open_clip's tokenizer, whose ids are those of LIFT's authors.  Deviation: a text that is too long, which
    open_clip would cut, is a DataError that names it.
    """
    tokenizer = _open_clip().get_tokenizer(model)
    texts = [template.format(spoken(name)) for name in names]
    for text in texts:
        if len(tokenizer.encode(text)) + 2 > tokenizer.context_length:
            raise DataError(f"{text[:60]!r} has more tokens than the {tokenizer.context_length} that {model} reads")
    found: torch.Tensor = tokenizer(texts)
    return found


@torch.no_grad()
def write(
    path: Path, names: Sequence[str], weights: Path, model: str = "ViT-B-16-quickgelu", template: str = TEMPLATE
) -> None:
    """Write the text features of class names, in any order, and the projection of the image tower beside them.

    ``weights`` is a file of both towers in open_clip's form; ``model`` is open_clip's name: weights of OpenAI need one
    that ends in -quickgelu.
    Raises SettingError for a template without a place for the name and for a file that is not there.
    """
    if "{}" not in template:
        raise SettingError("template", "a sentence with {} for the name", template, TEMPLATE)
    if not weights.is_file():
        raise SettingError("weights", "a file of both towers of CLIP", str(weights), "FILE")
    towers: Any = _open_clip().create_model(model, pretrained=str(weights), precision="fp32").eval()
    features = [F.normalize(towers.encode_text(ids), dim=1) for ids in token_ids(names, model, template).split(64)]
    stream = io.BytesIO()
    np.savez(
        stream,
        names=np.array(list(names), dtype=np.str_),
        features=torch.cat(features).numpy(),
        projection=towers.visual.proj.numpy(),
        scale=towers.logit_scale.exp().numpy(),
        template=np.array(template),
        model=np.array(model),
        weights_sha256=np.array(hashlib.sha256(weights.read_bytes()).hexdigest()),
    )
    write_atomic(path, stream.getvalue())


def _open_clip() -> Any:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise UsageError(f"text features need the package open_clip; {INSTALL}") from error
    return open_clip
