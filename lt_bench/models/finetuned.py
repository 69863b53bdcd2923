"""An encoder of which only a part is trained: which parts, what stays in evaluation mode, what need not be kept."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.adapted import MODULES, Blocks, attach, chosen, require_blocks, transformer_in, usual_size
from lt_bench.models.adapters import Form
from lt_bench.models.maps import spatial_maps

Kind = Literal[
    "full",
    "blocks",
    "head",
    "adaptformer",
    "adapter",
    "lora",
    "vpt_shallow",
    "vpt_deep",
    "bitfit",
    "layernorm",
    "ssf",
    "arbitrary",
]
Part = Literal["all", "attention", "mlp"]
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
DIGEST = "frozen_sha256"


class FineTuned(nn.Module):
    """``encoder``, changed in place so that only what ``kind`` says is trained: (B, 3, H, W) -> (B, feature_dim).

    ``full`` trains all, ``head`` nothing of it, ``blocks`` all of the blocks, ``bitfit`` their biases, ``layernorm``
    their norms; further kinds are modules in the blocks, see ``models.adapted``. ``blocks`` narrows this to the last k,
    or to [i, j]; with ``ignore_blocks`` not so for ``bitfit`` and ``layernorm``, as in the authors' code. In networks
    that are no plain vision transformers, ``bitfit`` and ``layernorm`` are for the whole network.
    But for ``full`` the encoder stays in evaluation mode, except norms whose gain is trained by ``layernorm``;
    ``batch_norm="eval"`` lets batch norms of ``full`` keep their statistics.
    ``unchanged`` names tensors of the state that no training changes; ``frozen_sha256`` is their checksum, so that
    their values need not be kept.
    Source: Shi et al., ICML 2024 (LIFT), authors' code.  Deviation: ``blocks`` is honoured by all kinds.
    Raises SettingError for what this network cannot have.
    """

    frozen_sha256: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        kind: Kind,
        size: float | None = None,
        blocks: int | list[int] | None = None,
        *,
        num_classes: int | None = None,
        form: Form = "lift",
        part: Part = "all",
        mask_seed: int = 0,
        ignore_blocks: bool = False,
        batch_norm: Literal["train", "eval"] = "train",
    ) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise SettingError("kind", f"one of {', '.join(get_args(Kind))}", kind, "full")
        self.feature_dim: int = encoder.feature_dim  # type: ignore[assignment]
        self.kind, self.batch_norm = kind, batch_norm
        if kind in MODULES:
            transformer = require_blocks(encoder, kind)
            if size is None and num_classes is not None:
                size = usual_size(kind, num_classes, len(transformer.blocks), transformer.embed_dim, form, part)
            if size is None and kind != "ssf":
                raise SettingError("size", "given where the number of classes is not", size, 8)
        elif size is not None:
            raise SettingError("size", f"null for {kind}, which has no modules", size, "null")
        self.given: dict[str, Any] = {
            "kind": kind,
            "size": size,
            "blocks": blocks if blocks is None or isinstance(blocks, int) else [*blocks],
            "form": form,
            "part": part,
            "mask_seed": mask_seed,
            "ignore_blocks": ignore_blocks,
            "batch_norm": batch_norm,
        }
        self.encoder = encoder
        self.norms: list[nn.Module] = []
        if kind != "full":
            if kind in MODULES:
                size = 1 if size is None else size
                trained = attach(encoder, kind, size, blocks, form=form, part=part, seed=mask_seed)
            else:
                trained = self._own(None if ignore_blocks and kind in ("bitfit", "layernorm") else blocks)
            encoder.requires_grad_(False)
            for parameter in trained:
                parameter.requires_grad_(True)
        elif blocks is not None:
            raise SettingError("blocks", "null where all is trained; kind=blocks trains some", blocks, "null")
        self.unchanged = frozenset(self._unchanged())
        self.register_buffer(DIGEST, self._digest())

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        return {"_target_": "lt_bench.models.finetuned.FineTuned", "encoder": self.encoder, **self.given}

    def merged(self) -> nn.Module:
        """The encoder itself where its tensors are those that it had; else this module, which has more."""
        return self if self.kind in MODULES else self.encoder

    def train(self, mode: bool = True) -> FineTuned:
        """Training mode for what is trained alone."""
        super().train(mode)
        if self.kind != "full":
            self.encoder.eval()
        for norm in self.norms:
            norm.train(mode)
        for part in self.encoder.modules() if self.batch_norm == "eval" else ():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return self

    def maps(self, images: Tensor) -> Tensor:
        """The encoder's maps before its pool, of an encoder that has them."""
        return spatial_maps(self.encoder, images)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, feature_dim)."""
        features: Tensor = self.encoder(images)
        return features

    def _own(self, blocks: Blocks) -> list[nn.Parameter]:
        """Parameters of the network itself that are trained."""
        if self.kind == "head":
            return []
        transformer: Any = (
            require_blocks(self.encoder, self.kind) if self.kind == "blocks" else transformer_in(self.encoder)
        )
        if transformer is None:
            if blocks is not None:
                raise SettingError("blocks", "null for a network that is no plain vision transformer", blocks, "null")
            places: list[nn.Module] = [self.encoder]
        else:
            places = [transformer.blocks[number] for number in chosen(blocks, len(transformer.blocks))]
        if self.kind == "layernorm":
            self.norms = [part for place in places for part in place.modules() if isinstance(part, NORMS)]
            trained = [parameter for norm in self.norms for parameter in norm.parameters(recurse=False)]
        else:
            named = [pair for place in places for pair in place.named_parameters()]
            trained = [one for name, one in named if self.kind == "blocks" or name.rpartition(".")[2] == "bias"]
        if not trained:
            what = "norms with gains" if self.kind == "layernorm" else "biases"
            raise SettingError("kind", f"another one for a network without {what}", self.kind, "full")
        return trained

    def _unchanged(self) -> list[str]:
        if self.kind == "full":
            return []
        trained = {id(parameter) for parameter in self.parameters() if parameter.requires_grad}
        trained |= {id(buffer) for norm in self.norms for buffer in norm.buffers()}
        return [name for name, tensor in self.state_dict(keep_vars=True).items() if id(tensor) not in trained]

    def _digest(self) -> Tensor:
        """SHA-256 of names and values of the unchanged tensors, (32,) uint8; 0 where they have no values yet."""
        state, digest = self.state_dict(), hashlib.sha256()
        for name in sorted(self.unchanged):
            if state[name].is_meta:
                return torch.zeros(32, dtype=torch.uint8)
            digest.update(name.encode())
            digest.update(state[name].cpu().contiguous().flatten().view(torch.uint8).numpy())
        return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
