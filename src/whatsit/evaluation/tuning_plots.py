"""Plots of a search: trials, keys that mattered, values that did well."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.evaluation.drawing import GREY, PALETTE, figure_of, png, say_instead
from whatsit.files import write_bytes

MAX_KEYS = 9  # axes of parallel coordinates
_BACK = "#C9CED6"

Trial = Mapping[str, Any]  # number, state, loss (None where it was not done), values


def draw_tuning(folder: Path, trials: Sequence[Trial], best: int, importance: Mapping[str, float]) -> None:
    """Write `tuning-history.png`, `tuning-importance.png` and `tuning-parallel.png`."""
    write_bytes(folder / "tuning-history.png", draw_history(trials, best))
    write_bytes(folder / "tuning-importance.png", draw_importance(importance))
    write_bytes(folder / "tuning-parallel.png", draw_parallel(trials, best, importance))


def draw_history(trials: Sequence[Trial], best: int) -> bytes:
    """Draw the validation loss of each trial, and the lowest so far."""
    done = [trial for trial in trials if trial["loss"] is not None]
    with figure_of(7.6, 3.4) as (figure, axes):
        numbers = [trial["number"] + 1 for trial in done]
        losses = [float(trial["loss"]) for trial in done]
        axes.plot(numbers, losses, "o", color=PALETTE[0], markersize=4, label="a trial")
        axes.step(numbers, np.minimum.accumulate(losses), where="post", color=PALETTE[1], label="lowest so far")
        chosen = next(trial for trial in done if trial["number"] == best)
        axes.plot([best + 1], [chosen["loss"]], "o", color=PALETTE[1], markersize=9, fillstyle="none", label="chosen")
        low, high = min(losses), float(np.quantile(losses, 0.9))
        if max(losses) > low + 3 * max(high - low, 1e-9):  # a failed trial must not flatten the others
            axes.set_ylim(low - 0.1 * (high - low), low + 1.6 * max(high - low, 1e-9))
        others = [trial["number"] + 1 for trial in trials if trial["loss"] is None]
        if others:
            tops = [axes.get_ylim()[1]] * len(others)
            axes.plot(others, tops, "x", color=GREY, markersize=5, label="stopped early", clip_on=False)
        axes.set(title="Trials", xlabel="trial", ylabel="validation loss (nats)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return png(figure)


def draw_importance(importance: Mapping[str, float]) -> bytes:
    """Draw how much of the differences each key accounts for."""
    names = list(importance)[:12][::-1]
    with figure_of(7.6, 1.1 + 0.32 * max(len(names), 2)) as (figure, axes):
        if not names:
            say_instead(axes, "too few trials to say which settings mattered")
            return png(figure)
        shares = [importance[name] for name in names]
        axes.barh(names, shares, color=PALETTE[0], height=0.7)
        for place, share in enumerate(shares):
            axes.text(share, place, f" {share:.0%}" if share >= 0.005 else " <1%", va="center")
        axes.set(title="What mattered", xlabel="share of the differences between good trials and others")
        axes.set_xlim(0, 1.15 * max(shares))
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        return png(figure)


def draw_parallel(trials: Sequence[Trial], best: int, importance: Mapping[str, float]) -> bytes:
    """Draw a line a trial through its values, dark where its loss is low."""
    done = sorted((trial for trial in trials if trial["loss"] is not None), key=lambda trial: -float(trial["loss"]))
    varied = [key for key in done[0]["values"] if len({str(trial["values"].get(key)) for trial in done}) > 1]
    keys = sorted(varied, key=lambda key: -importance.get(key, 0.0))[:MAX_KEYS]
    with figure_of(max(5.0, 1.5 * len(keys) + 1.6), 4.2) as (figure, axes):
        axes.axis("off")
        if not keys:
            say_instead(axes, "all trials had the same settings")
            return png(figure)
        scales = [_Scale([trial["values"].get(key) for trial in done]) for key in keys]
        for rank, trial in enumerate(done):
            heights = [scale.height(trial["values"].get(key)) for scale, key in zip(scales, keys, strict=True)]
            good = (rank + 1) / len(done)
            colour = PALETTE[0] if good > 0.8 else _BACK
            axes.plot(range(len(keys)), heights, color=colour, linewidth=1.2, alpha=0.35 + 0.5 * good)
            if trial["number"] == best:
                axes.plot(range(len(keys)), heights, color=PALETTE[1], linewidth=2.6, zorder=5)
        for place, (key, scale) in enumerate(zip(keys, scales, strict=True)):
            axes.axvline(place, 0.06, 0.94, color=GREY, linewidth=1, zorder=0)
            axes.text(place, 1.1, textwrap.fill(key.replace("_", " "), 11), ha="center", va="bottom", fontsize=10)
            for height, label in scale.ticks():
                axes.text(place + 0.04, height, label, fontsize=9, va="center", zorder=6,
                          bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6})  # fmt: skip
        axes.set(xlim=(-0.2, len(keys) - 0.4), ylim=(-0.1, 1.3))
        axes.plot([], [], color=PALETTE[1], linewidth=2.6, label="chosen")
        axes.plot([], [], color=PALETTE[0], label="best fifth")
        axes.plot([], [], color=_BACK, label="others")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=3)
        axes.set_title("Which values did well together")
        return png(figure)


class _Scale:
    """Heights, 0 to 1, of one key's values: on a linear or log scale, or as steps."""

    def __init__(self, values: Sequence[Any]) -> None:
        different = sorted({value for value in values if value is not None}, key=_order)
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in different)
        self._numbers = numbers and len(different) > 5
        self._log = self._numbers and different[0] > 0 and different[-1] / different[0] > 20
        self._steps = [str(value) for value in different]
        self._low, self._high = (self._at(different[0]), self._at(different[-1])) if self._numbers else (0.0, 1.0)

    def _at(self, value: float) -> float:
        return math.log(value) if self._log else float(value)

    def height(self, value: Any) -> float:
        """Return the height of a value."""
        if self._numbers:
            return (self._at(value) - self._low) / max(self._high - self._low, 1e-12)
        return self._steps.index(str(value)) / max(len(self._steps) - 1, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return heights with their labels."""
        if not self._numbers:
            return [(self.height(step), step.strip("(),").replace("'", "") or "its own") for step in self._steps]
        values = {share: self._low + share * (self._high - self._low) for share in (0.0, 0.5, 1.0)}
        return [(share, f"{math.exp(value) if self._log else value:.2g}") for share, value in values.items()]


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))
