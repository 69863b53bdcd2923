"""Any image network of timm, by its name, as an encoder."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError, UsageError
from lt_bench.models.inputs import EncoderInput

Interpolation = Literal["bilinear", "bicubic"]
INSTALL = "pip install 'lt_bench[timm]'"
OWN_INPUT = ("input_size", "mean", "std", "interpolation", "crop_share")
# What decides here, or would read files of weights as pickles, which may hold code.
SUPPLIED = frozenset(
    "pretrained pretrained_cfg pretrained_cfg_overlay checkpoint_path cache_dir num_classes in_chans img_size "
    "features_only scriptable exportable no_jit".split()
)


class TimmEncoder(nn.Module):
    """A network of timm without its classifier: images (B, 3, H, W), normalised, to features (B, feature_dim).

    ``model`` is a name of timm, such as ``convnext_tiny.fb_in22k``; what stands behind the dot tells which weights, and
    with them how images look: ``input_size``, ``mean``, ``std``, ``interpolation`` and ``crop_share`` are what that
    says unless they are given; the middle of images is cut out where others squash them. Images of another size are
    resized to ``input_size`` first. ``grad_checkpointing``
    computes activations twice to keep fewer; batch norms see each batch twice then. ``options`` are further
    parameters of ``timm.create_model``, such as ``drop_path_rate``.
    ``network`` is timm's own module, with random weights.
    Source: Wightman's PyTorch image models.  Deviation: none.
    Raises SettingError for what timm cannot build, UsageError where timm is not installed.
    """

    package: ClassVar[str] = "timm"

    def __init__(
        self,
        model: str,
        *,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        interpolation: Interpolation | None = None,
        crop_share: float | None = None,
        grad_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        own = dict(zip(OWN_INPUT, (input_size, mean, std, interpolation, crop_share), strict=True))
        self.input = self.wanted_input(model=model, **own)
        self.options = options
        if taken := sorted(SUPPLIED & options.keys()):
            raise SettingError(taken[0], "left out, as it is decided elsewhere", options[taken[0]])
        self.shape = {**_sized(model, self.input.size), **options}  # by which timm builds another network than usual
        self.network: nn.Module = _built(model, self.shape)
        self._pools: bool | None = None
        self.model = full_name(self.network.pretrained_cfg)  # type: ignore[arg-type]
        self.feature_dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)  # type: ignore[arg-type]
        if grad_checkpointing:
            self.set_grad_checkpointing()

    @staticmethod
    def wanted_input(model: str, **settings: Any) -> EncoderInput:
        """What the weights of a model were trained on, but for what ``settings`` give; nothing is built for that.

        Raises SettingError for an unknown model, and one of other images than squares of three colours.
        """
        known = pretrained_config(model)
        channels, height, width = known["input_size"]
        own = {name: settings.get(name) for name in OWN_INPUT}
        if channels != 3 or (height != width and own["input_size"] is None):
            rule = f"a model of square images of three colours ({model} has {channels} x {height} x {width})"
            raise SettingError("model", rule, model)
        if known["crop_mode"] not in ("center", "squash", "border"):
            raise SettingError("model", f"a model with crops that are known here (not {known['crop_mode']})", model)
        interpolation = own["interpolation"] or known["interpolation"]
        if interpolation not in ("bilinear", "bicubic"):
            raise SettingError("interpolation", "bilinear or bicubic", interpolation, "bicubic")
        size, share = own["input_size"] or height, own["crop_share"] or known["crop_pct"]
        if size < 1:
            raise SettingError("input_size", "at least 1", size, height)
        if not 0.1 <= share <= 1:
            raise SettingError("crop_share", "from 0.1 to 1", share, known["crop_pct"])
        mean, deviation = (_colours(name, own, known) for name in ("mean", "std"))
        short_side = math.floor(size / share)  # as timm has it
        notes = () if "quickgelu" in model else tuple(known.get("notes") or ())  # they advise to take that one
        return EncoderInput(size, mean, deviation, interpolation, size / short_side, notes)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep the activations at the borders of blocks alone, and compute the others twice.

        Raises SettingError for a network that cannot.
        """
        try:
            self.network.set_grad_checkpointing(enable)  # type: ignore[operator]
        except Exception as error:  # an assertion, or no such method
            rule = f"false for {self.model}, which cannot compute its blocks twice"
            raise SettingError("grad_checkpointing", rule, enable, "false") from error

    @property
    def maps(self) -> Callable[[Tensor], Tensor] | None:
        """What gives the last maps (B, D, H', W') of images; None for a network whose features are no mean of maps."""
        if self._pools is None:
            self._pools = self._has_maps()
        return self._maps if self._pools else None

    def _maps(self, images: Tensor) -> Tensor:
        maps: Tensor = self.network.forward_features(self.resized(images))  # type: ignore[operator]
        last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        return maps.permute(0, 3, 1, 2) if last else maps

    @torch.no_grad()
    def _has_maps(self) -> bool:
        """Whether features are the mean of what stands before the pool: seen on an image, as names do not tell."""
        training = self.training
        place = next(self.parameters()).device
        image = torch.linspace(-1, 1, 3 * self.input.size**2, device=place).sin().view(1, 3, self.input.size, -1)
        try:
            maps, features = self.eval()._maps(image), self(image)
        except Exception:  # what is no map cannot be turned as one
            return False
        finally:
            self.train(training)
        pooled = maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps
        return pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4, atol=1e-5)

    def settings(self) -> dict[str, Any]:
        """What builds it again, see ``models.kept``."""
        size, mean, std, interpolation, share, _ = self.input
        own = dict(zip(OWN_INPUT, (size, list(mean), list(std), interpolation, share), strict=True))
        return {"_target_": "lt_bench.models.timm_encoder.TimmEncoder", "model": self.model, **own, **self.options}

    def resized(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) at the size of the network, (B, 3, S, S)."""
        size = (self.input.size, self.input.size)
        if images.shape[-2:] == size:
            return images
        smaller = min(images.shape[-2:]) > self.input.size
        return F.interpolate(images, size, mode=self.input.interpolation, antialias=smaller)

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim)."""
        features: Tensor = self.network(self.resized(images))
        return features


def full_name(config: Mapping[str, Any]) -> str:
    """A model's name with the tag of its weights, where there is one."""
    tag = config.get("tag")
    return f"{config['architecture']}.{tag}" if tag else str(config["architecture"])


def pretrained_config(model: str) -> dict[str, Any]:
    """What timm knows of the weights of a model, by timm's names; SettingError for a model that it does not have."""
    timm = installed()
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"{model.partition('.')[0][:9]}*")[:5])
        raise SettingError("model", "a model of timm" + f", such as {near}" * bool(near), model)
    try:
        config = timm.get_pretrained_cfg(model) or timm.models.PretrainedCfg(architecture=model)
    except RuntimeError as error:  # a tag that it does not have
        tags = timm.list_models(f"{model.partition('.')[0]}.*", pretrained=True)
        rule = f"a model of timm with weights that it knows ({', '.join(tags) or 'none of this one'})"
        raise SettingError("model", rule, model) from error
    found: dict[str, Any] = config.to_dict()
    return found


def installed() -> Any:
    """The module timm; UsageError with what to install where it is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm's on its own parts
            import timm
            import timm.data
    except ModuleNotFoundError as error:
        raise UsageError(f"networks of timm need its package; {INSTALL}") from error
    return timm


def _sized(model: str, size: int) -> dict[str, int]:
    """What tells timm the size of images, where a network has one and that is another."""
    known = pretrained_config(model)
    fixed = known.get("fixed_input_size") and tuple(known["input_size"][1:]) != (size, size)
    return {"img_size": size} if fixed else {}


def _built(model: str, shape: Mapping[str, Any]) -> nn.Module:
    """timm's network with random weights and without a classifier."""
    try:
        network: nn.Module = installed().create_model(model, pretrained=False, num_classes=0, **shape)
    except Exception as error:  # what networks raise for what they cannot be is not listed anywhere
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        given = ", ".join(f"{name}={value}" for name, value in shape.items())
        raise SettingError(
            "model", f"a model of timm that can be built{' with ' * bool(given)}{given} ({said})", model
        ) from error
    return network


def _colours(name: str, own: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[float, float, float]:
    values = own[name] or known[name]
    if len(values) != 3 or (name == "std" and min(values) <= 0):
        rule = "a list of three numbers" + " above 0" * (name == "std")
        raise SettingError(name, rule, list(values), list(known[name]))
    red, green, blue = map(float, values)
    return red, green, blue
