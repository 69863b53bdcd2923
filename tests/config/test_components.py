"""What a method is made of, from what records say of it."""

import pytest
from helpers.composed import composed

from lt_bench.config.components import made_of, part_of

CIFAR = "dataset=cifar100_lt"
VIT = f"{CIFAR} backbone=vit_small"


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (f"method=ce mixing=cmo {CIFAR}", {"method": "ce", "mixing": "cmo"}),
        (f"method=ce_drw mixing=remix method.mixing.alpha=0.3 {CIFAR}", {"method": "ce_drw", "mixing": "remix"}),
        (f"method=simclr_gh {CIFAR}", {"method": "simclr", "harmonization": "gh"}),
        (f"method=boosted_sdclr harmonization=gh {CIFAR}", {"method": "boosted_sdclr", "harmonization": "gh"}),
        (f"method=ce variant=strong {CIFAR}", {"method": "ce", "variant": "strong"}),
        (f"method=gcl {CIFAR}", {"method": "gcl"}),  # its mixing is its own
        (f"method=gcl mixing=none {CIFAR}", {"method": "gcl", "mixing": "none"}),
        (f"method=gcl mixing=cutmix {CIFAR}", {"method": "gcl", "mixing": "cutmix"}),
        (f"method=lift {VIT}", {"method": "lift"}),
        ("method=lift dataset=digits_lt backbone=vit_small", {"method": "lift"}),  # whose recipe has another kind
        (f"method=lift finetune=lora {VIT}", {"method": "lift", "finetune": "lora"}),
        (f"method=ce finetune=full {VIT}", {"method": "ce", "finetune": "full"}),
        (
            f"method=ce finetune=head_first mixing=mixup {VIT}",
            {"method": "ce", "mixing": "mixup", "finetune": "head_first"},
        ),
    ],
)
def test_what_was_typed_is_found_again(words: str, made: dict[str, str]) -> None:
    record = composed(words)
    assert made_of(record.method, record.method_name, record.dataset, record.settings) == made


def test_what_is_no_choice_is_called_by_its_class_and_nothing_is_needed_of_conf() -> None:
    own = {"method._target_": "my.CE", "method.mixing._target_": "my.Mixing"}
    assert made_of("ce_mine", "CE", "theirs", own) == {"method": "ce_mine", "mixing": "my.Mixing"}
    assert made_of("sbcl", "SBCL", "theirs", {"method": "sbcl"}) == {"method": "sbcl"}
    assert part_of(own, "mixing") == "my.Mixing" and part_of(own, "finetune") == "none"
