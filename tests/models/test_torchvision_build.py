"""A torchvision that was built for another PyTorch."""

import sys

import pytest

from lt_bench.errors import UsageError
from lt_bench.models.resnet import resnet18


def test_builds_of_torchvision_and_pytorch_that_do_not_belong_together_are_told(monkeypatch):
    """As importing torchvision ends where its operators are of another PyTorch."""

    class Fails:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Fails(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"^torch \d.* and torchvision \d.*::nms.*pip install -U torch torchvision$"):
        resnet18()
