"""Learning rates as functions of the position in a run alone, so that a resumed run needs no saved state.

``begins_at`` of a schedule is as that of a method (contracts.py): parameters that are epochs inside the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from lt_bench.errors import SettingError


def _check(lr: float, warm_epochs: int) -> None:
    if not lr > 0:
        raise SettingError("lr", "positive", lr, 0.1)
    if warm_epochs < 0:
        raise SettingError("warm_epochs", "0 or more", warm_epochs, 0)


def _finite(name: str, epochs: float, usual: float = 1.0) -> float:
    if not 0 <= epochs < math.inf:
        raise SettingError(name, "finite, 0 or more", epochs, usual)
    return epochs


def rate_factor(rule: str, batch_size: int, base_batch: int | None) -> float:
    """The factor of every rate: 1, the batch size over the base batch (linear), or its square root (sqrt).

    Source: Goyal et al., 2017 (linear); Krizhevsky, 2014 (sqrt).  Deviation: none.
    Raises SettingError for another rule, and for one without a base batch.
    """
    if rule == "none":
        return 1.0
    if rule not in ("linear", "sqrt"):
        raise SettingError("lr_scaling", "none, linear or sqrt", rule, "none")
    if not base_batch:
        raise SettingError("lr_base_batch", f"above 0 with lr_scaling={rule}", base_batch, 256)
    factor = batch_size / base_batch
    return factor if rule == "linear" else math.sqrt(factor)


def _half_cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


class SBCLCosine:
    """Cosine per epoch to lr * decay_rate^4, after a warm-up per step that starts at ``warmup_from``.

    The warm-up ends at the value, at its last epoch, of a cosine that falls to lr * decay_rate^3. A run of one epoch
    has no warm-up, because a small budget rounds both lengths up to one.
    Source: Hou et al., ICCV 2023, authors' code.  Deviation: the authors' ramp counts epochs from 1 in a loop that
    counts from 0; ``warmup_mode="official"`` keeps that: the rate starts below zero and ramps ``late_epochs`` longer,
    which is one epoch of theirs and less of one under a budget.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)

    def __init__(
        self,
        lr: float,
        epochs: int,
        decay_rate: float = 0.1,
        warm_epochs: int = 10,
        warmup_from: float = 0.01,
        warmup_mode: Literal["clean", "official"] = "clean",
        late_epochs: float = 1.0,
    ) -> None:
        _check(lr, warm_epochs)
        if warmup_mode not in ("clean", "official"):
            raise SettingError("warmup_mode", "clean or official", warmup_mode, "clean")
        if not 0 < decay_rate <= 1:
            raise SettingError("decay_rate", "above 0 and at most 1", decay_rate, 0.1)
        if epochs < 1 or (epochs > 1 and warm_epochs >= epochs):
            raise SettingError("epochs", f"at least 1 and above warm_epochs={warm_epochs}", epochs)
        self.lr = lr
        self.epochs = epochs
        self.decay_rate = decay_rate
        self.warm_epochs = warm_epochs if epochs > 1 else 0
        self.warmup_from = warmup_from
        self.late = _finite("late_epochs", late_epochs) if warmup_mode == "official" and self.warm_epochs > 0 else 0

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate at a step, both counted from 0."""
        if step + epoch * steps_per_epoch >= (self.warm_epochs + self.late) * steps_per_epoch:
            return self._cosine(epoch, decay_power=4)
        progress = (step + (epoch - self.late) * steps_per_epoch) / (self.warm_epochs * steps_per_epoch)
        return self.warmup_from + progress * (self._cosine(self.warm_epochs, decay_power=3) - self.warmup_from)

    def _cosine(self, epoch: int, decay_power: int) -> float:
        lowest = self.lr * self.decay_rate**decay_power
        return lowest + (self.lr - lowest) * _half_cosine(epoch / self.epochs)


class KCLCosine:
    """Cosine per epoch, counted from 1, to lr * decay_rate^3, after a warm-up per step that starts at ``warmup_from``.

    The warm-up ends at the cosine's value at its last epoch. A run of one or two epochs has no warm-up: the one epoch
    that a small budget makes of it would leave none at a rate worth training with.
    Source: Li et al., CVPR 2022 (TSC), authors' code for CIFAR.  Deviation: none.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)

    def __init__(
        self, lr: float, epochs: int, decay_rate: float = 0.1, warm_epochs: int = 10, warmup_from: float = 0.01
    ) -> None:
        _check(lr, warm_epochs)
        if not 0 < decay_rate <= 1:
            raise SettingError("decay_rate", "above 0 and at most 1", decay_rate, 0.1)
        if epochs < 1 or (epochs > 1 and warm_epochs >= epochs):
            raise SettingError("epochs", f"at least 1 and above warm_epochs={warm_epochs}", epochs)
        self.lr, self.lowest, self.warmup_from = lr, lr * decay_rate**3, warmup_from
        self.epochs = epochs
        self.warm_epochs = warm_epochs if epochs > 2 else 0

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate at a step, both counted from 0."""
        if epoch >= self.warm_epochs:
            return self._cosine(epoch + 1)
        progress = (epoch + step / steps_per_epoch) / self.warm_epochs
        return self.warmup_from + progress * (self._cosine(self.warm_epochs) - self.warmup_from)

    def _cosine(self, epoch: int) -> float:
        return self.lowest + (self.lr - self.lowest) * _half_cosine(epoch / self.epochs)


class Cosine:
    """Half a cosine per epoch from ``lr`` to 0, after a linear warm-up lr * (epoch + 1) / warm_epochs.

    ``span`` says which ends of the half cosine are epochs, of the n that follow the warm-up:
    from_peak, i / n: the first runs at ``lr``, none at 0 (SBCL with MoCo, cRT, LWS);
    to_zero, (i + 1) / n: the last runs at exactly 0 (SBCL's class-balanced stage two; also what cRT's published loop
    executes with a current PyTorch, where the scheduler is stepped before each epoch);
    open, (i + 1) / (n + 1): neither (BCL, PaCo, ProCo).
    It falls to ``lowest`` instead of 0, and each of its epochs has the rate of ``early_epochs`` later (authors' code of
    NCL: 1, so that none runs at ``lr``).
    Source: the authors' code of the methods named.  Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)
    _SPANS = {"from_peak": (0, 0), "to_zero": (1, 0), "open": (1, 1)}

    def __init__(
        self,
        lr: float,
        epochs: int,
        warm_epochs: int = 0,
        span: Literal["from_peak", "to_zero", "open"] = "from_peak",
        lowest: float = 0.0,
        early_epochs: float = 0.0,
    ) -> None:
        _check(lr, warm_epochs)
        if not 0 <= lowest <= lr:
            raise SettingError("lowest", f"from 0 to lr={lr:g}", lowest, 0)
        if span not in self._SPANS:
            raise SettingError("span", f"one of {', '.join(self._SPANS)}", span, "from_peak")
        if epochs < max(1, warm_epochs):
            raise SettingError("epochs", f"at least 1 and at least warm_epochs={warm_epochs}", epochs)
        self.lr = lr
        self.epochs = epochs
        self.warm_epochs = warm_epochs
        self.lowest, self.early = lowest, _finite("early_epochs", early_epochs, 0.0)
        self.offset, self.extra = self._SPANS[span]

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate of an epoch counted from 0, the same for all its steps."""
        if epoch < self.warm_epochs:
            return self.lr * (epoch + 1) / self.warm_epochs
        length = self.epochs - self.warm_epochs + self.extra
        position = min(epoch - self.warm_epochs + self.offset + self.early, length)
        return self.lowest + (self.lr - self.lowest) * _half_cosine(position / length)


class Steps:
    """``lr`` times ``gamma`` for every milestone reached, after a linear warm-up lr * (epoch + 1) / warm_epochs.

    The warm-up rises from the share ``warm_from`` of ``lr``, which no epoch has (ResLT: a third).
    ``milestones`` are the first epochs, counted from 0 and ascending, that run at the lower rate; equal ones, which
    a small budget makes, count twice. They come ``early_epochs`` before (authors' code of NCL: 1).
    Source: Cao et al., NeurIPS 2019, and Hou et al., ICCV 2023, authors' code.  Deviation: PaCo's authors' code ramps
    one epoch longer, to lr * (1 + 1 / warm_epochs); ``warm_mode="official"`` keeps that, with ``late_epochs`` in place
    of the one under a budget.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs", "milestones")

    def __init__(
        self,
        lr: float,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warm_epochs: int = 0,
        warm_mode: Literal["clean", "official"] = "clean",
        late_epochs: float = 1.0,
        warm_from: float = 0.0,
        early_epochs: float = 0.0,
    ) -> None:
        _check(lr, warm_epochs)
        if not 0 <= warm_from <= 1:
            raise SettingError("warm_from", "from 0 to 1", warm_from, 0.0)
        if warm_mode not in ("clean", "official"):
            raise SettingError("warm_mode", "clean or official", warm_mode, "clean")
        if not 0 < gamma <= 1:
            raise SettingError("gamma", "above 0 and at most 1", gamma, 0.1)
        if list(milestones) != sorted(milestones) or any(milestone < 1 for milestone in milestones):
            raise SettingError("milestones", "a list of epochs from 1 on in ascending order", list(milestones))
        self.lr = lr
        self.milestones = tuple(milestones)
        self.early = _finite("early_epochs", early_epochs, 0.0)
        self.warm_from = warm_from
        self.gamma = gamma
        self.warm_epochs = warm_epochs
        self.late = _finite("late_epochs", late_epochs) if warm_mode == "official" and warm_epochs > 0 else 0

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate of an epoch counted from 0, the same for all its steps."""
        reached = sum(epoch + self.early >= milestone for milestone in self.milestones)
        if epoch < self.warm_epochs or (epoch < self.warm_epochs + self.late and not reached):
            rate = self.lr * min(epoch + 1, self.warm_epochs + self.late) / self.warm_epochs
            return rate if not self.warm_from else self.warm_from * self.lr + (1 - self.warm_from) * rate
        return self.lr * self.gamma**reached


class WarmupCosine:
    """Half a cosine from ``lr`` to ``lowest`` in the last epoch or step, after a linear warm-up from 0.

    The rate is constant within an epoch (GH), or with ``per="step"`` follows every step (SDCLR, boosted contrastive
    learning). Both are functions of the epochs done when the present epoch or step will be over.
    Source: Zhou et al., NeurIPS 2023, and Zhou et al., ICML 2022, authors' code.  Deviation: a run of one epoch has no
    warm-up, because a small budget rounds both lengths up to one.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)

    def __init__(
        self,
        lr: float,
        epochs: int,
        warm_epochs: int = 10,
        lowest: float = 1e-6,
        per: Literal["epoch", "step"] = "epoch",
    ) -> None:
        _check(lr, warm_epochs)
        if not 0 <= lowest <= lr:
            raise SettingError("lowest", f"from 0 to lr={lr:g}", lowest, 0)
        if per not in ("epoch", "step"):
            raise SettingError("per", "epoch or step", per, "epoch")
        if epochs < 1 or (epochs > 1 and warm_epochs >= epochs):
            raise SettingError("epochs", f"at least 1 and above warm_epochs={warm_epochs}", epochs)
        self.lr, self.lowest, self.per = lr, lowest, per
        self.epochs = epochs
        self.warm_epochs = warm_epochs if epochs > 1 else 0

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate at a step, both counted from 0."""
        done = epoch + (1.0 if self.per == "epoch" else (step + 1) / steps_per_epoch)
        if done < self.warm_epochs:
            return self.lr * done / self.warm_epochs
        return self._after_warmup(done)

    def _after_warmup(self, done: float) -> float:
        return _fall(self.lr, self.lowest, self.warm_epochs, self.epochs, done)


class GHTwoStage(WarmupCosine):
    """``WarmupCosine`` in two parts: one cosine to ``switch_share`` of ``lr``, from ``switch_epoch`` on one from there.

    With ``second_share`` the second begins at this share of ``lr`` instead of where the first ends.
    Source: Zhou et al., NeurIPS 2023, authors' code, whose rates between the parts are called a and b: a share of 0.6
    on CIFAR, 0.2 on large images, for both.  Deviation: that of ``WarmupCosine``.
    Raises SettingError for values out of range.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs", "switch_epoch")

    def __init__(
        self,
        lr: float,
        epochs: int,
        switch_epoch: int,
        switch_share: float = 0.6,
        warm_epochs: int = 10,
        lowest: float = 1e-6,
        per: Literal["epoch", "step"] = "epoch",
        second_share: float | None = None,
    ) -> None:
        super().__init__(lr, epochs, warm_epochs, lowest, per)
        if not self.warm_epochs <= switch_epoch <= epochs:
            rule = f"from warm_epochs={warm_epochs} to epochs={epochs}"
            raise SettingError("switch_epoch", rule, switch_epoch, epochs)
        for name, share, usual in (("switch_share", switch_share, 0.6), ("second_share", second_share, "null")):
            if share is not None and not lowest / lr <= share <= 1:
                raise SettingError(name, f"at most 1 and no rate below lowest={lowest:g}", share, usual)
        self.switch_epoch, self.first_end = switch_epoch, switch_share * lr
        self.second_begin = self.first_end if second_share is None else second_share * lr

    def _after_warmup(self, done: float) -> float:
        if done < self.switch_epoch:
            return _fall(self.lr, self.first_end, self.warm_epochs, self.switch_epoch, done)
        return _fall(self.second_begin, self.lowest, self.switch_epoch, self.epochs, done)


def _fall(highest: float, lowest: float, begin: float, end: float, done: float) -> float:
    """Half a cosine between two moments of a run."""
    return lowest + (highest - lowest) * _half_cosine((done - begin) / max(end - begin, 1))


class Exponential:
    """``lr`` times the same factor every epoch, which would be at ``final_lr`` after the last of ``epochs``.

    The rate of epoch e, counted from 0, is lr * (final_lr / lr)^(e / epochs).
    Source: Zhou et al., NeurIPS 2023, and Zhou et al., ICML 2022, authors' code of the linear probe.  Deviation: none.
    Raises SettingError for values out of range.
    """

    def __init__(self, lr: float, epochs: int, final_lr: float) -> None:
        _check(lr, warm_epochs=0)
        if not 0 < final_lr <= lr:
            raise SettingError("final_lr", f"above 0 and at most lr={lr:g}", final_lr, f"{lr / 100:g}")
        if epochs < 1:
            raise SettingError("epochs", "at least 1", epochs)
        self.lr = lr
        self.epochs = epochs
        self.final_lr = final_lr

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate of an epoch counted from 0, the same for all its steps."""
        return self.lr * (self.final_lr / self.lr) ** (epoch / self.epochs)
