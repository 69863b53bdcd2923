"""Text features of class names: the authors' tokens, and what a small text tower gives."""

import json

import numpy as np
import pytest
import torch
from helpers.golden_vectors import FOLDER

from lt_bench.errors import DataError, SettingError
from lt_bench.models.clip_text import token_ids, write
from lt_bench.models.text_features import semantic_rows, text_features, text_rows
from lt_bench.stage_two.zero_shot import TextClassifier

pytestmark = pytest.mark.slow  # open_clip takes seconds to import
MODEL = "ViT-B-16-quickgelu"


def test_tokens_are_those_of_the_authors():
    pytest.importorskip("open_clip")
    data = np.load(FOLDER / "lift_tokens.npz")
    for template, key in (("a photo of a {}.", "tokens_default"), ("{}", "tokens_classname")):
        found = token_ids(data["names"].tolist(), MODEL, template)
        assert found[:, :24].tolist() == data[key].tolist() and not found[:, 24:].any()
    with pytest.raises(DataError, match="has more tokens than the 77"):
        token_ids(["very " * 80], MODEL)


def test_a_file_of_features_gives_the_rows_of_a_classifier(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    (tmp_path / "tiny_towers.json").write_text(
        json.dumps({"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text})
    )
    open_clip.add_model_config(tmp_path / "tiny_towers.json")
    towers = open_clip.create_model("tiny_towers").eval()
    torch.save(towers.state_dict(), tmp_path / "towers.pt")
    write(tmp_path / "text.npz", ["tiger shark", "ox"], tmp_path / "towers.pt", "tiny_towers")
    rows = text_rows(str(tmp_path / "text.npz"), ["ox", "tiger_shark"], 2, 64)
    with torch.no_grad():
        hidden = towers.encode_text(token_ids(["ox", "tiger_shark"], MODEL))
        torch.testing.assert_close(rows, semantic_rows(hidden, towers.visual.proj), rtol=1e-5, atol=1e-6)
        given = text_features(str(tmp_path / "text.npz"), ["ox", "tiger_shark"], 2, 64)
        images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        expected = towers.get_logits(images, token_ids(["ox", "tiger_shark"], MODEL))[0]
        towers.visual.proj = None
        found = TextClassifier.of(given, given.scale)(towers.visual(images))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(SettingError, match="weights is a file of both towers"):
        write(tmp_path / "x.npz", ["ox"], tmp_path / "nowhere.pt", "tiny_towers")
    with pytest.raises(SettingError, match="template is a sentence with"):
        write(tmp_path / "x.npz", ["ox"], tmp_path / "towers.pt", "tiny_towers", "a photo")
