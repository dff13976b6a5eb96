"""The post's claim, from reference/, and the differences of a training's setting from it."""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from resode.base import paths
from resode.config import parameters, yaml

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"


def read_published(reference: Path = paths.REFERENCE) -> dict:
    """The published figures, their tolerances and the setting they hold for."""
    return yaml.read(reference / "published.yaml")


def read_published_curve(reference: Path = paths.REFERENCE) -> list[dict[str, float]]:
    """The published training curve, one row per epoch."""
    with (reference / "published_training_curve.csv").open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@dataclass(frozen=True)
class Distance:
    """Differences of a curve to the published one over all epochs that both have at the same learning rate, in points.

    Attributes:
        by_epoch: {epoch: difference}, of accuracies in percentage points.
    """

    by_epoch: dict[int, float]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.mean(self.by_epoch.values())

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, n − 1 in the denominator; None of a single epoch."""
        return statistics.stdev(self.by_epoch.values()) if len(self.by_epoch) > 1 else None

    @property
    def same_sign(self) -> int:
        """In how many epochs the difference has the sign of the mean."""
        return sum(one * self.mean > 0 for one in self.by_epoch.values())

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f", standard deviation {self.deviation:.2f}"
        side = "below" if self.mean < 0 else "above"
        return f"{self.same_sign} of {len(self.by_epoch)} epochs {side} it, on average by {abs(self.mean):.2f} points{spread}"


def distance(history: Sequence[Mapping], curve: Sequence[Mapping], figure: str) -> Distance | None:
    """Compare the accuracy `figure` of each epoch of `history` with the published `curve`; None without a common epoch.

    An epoch counts while all rates up to it are the published run's.
    """
    found = {}
    for mine, theirs in zip(history, curve, strict=False):
        if not math.isclose(mine["learning_rate"], theirs["learning_rate"], rel_tol=1e-4):
            break
        if figure in mine:
            found[int(theirs["epoch"])] = 100 * (mine[figure] - theirs[figure])
    return Distance(found) if found else None


def differences(params: Mapping, published: Mapping) -> dict[str, list[str]]:
    """List the differences of the run's parameters from the claim's: {section: ["h is 0.3 instead of 0.15", …]}.

    Args:
        params: sections of params.yaml; `data` only needs the name of the data set.
    """
    params = parameters.with_defaults(params)
    found = {
        section: [
            f"{key} is {shown(params.get(section, {}).get(key))} instead of {shown(claimed)}"
            for key, claimed in keys.items()
            if not _equal(params.get(section, {}).get(key), claimed)
        ]
        for section, keys in published["claim"].items()
    }
    drops = params.get("training", {}).get("reference_drops")
    if schedule(drops, published) is None:
        known = " or ".join(shown(known) for known in published["schedules"].values())
        found["training"].append(f"reference_drops is {shown(drops)} instead of {known}")
    # An epoch is shorter then, and what stands in the history is no test accuracy.
    if fraction := params.get("data", {}).get("validation_fraction"):
        found["training"].append(f"data.validation_fraction is {shown(fraction)} instead of 0")
    if levels := params.get("training", {}).get("unroll_schedule"):
        found["training"].append(f"unroll_schedule is {shown(levels)} instead of none")
    return {section: entries for section, entries in found.items() if entries}


def share(provenance: Mapping, published: Mapping) -> float | None:
    """The share of the claim's schedule that a run had, if its setting is otherwise the claim's, with drops in proportion; None for a
    run of another setting or on other data. Shifts may be resampled otherwise, see `shifts`.
    """
    training = provenance["params"]["training"]
    part = training["reference_iterations"] / published["claim"]["training"]["reference_iterations"]
    drops = [drop / part for drop in training["reference_drops"]]
    return part if _claimed_but_for_schedule(provenance, published, drops) else None


def shifts(provenance: Mapping, published: Mapping) -> str:
    """ "bilinear shifts" where a run resampled shifts otherwise than the published one; "" where it did not."""
    mine = provenance["params"]["augmentation"]["interpolation"]
    return "" if mine == published["claim"]["augmentation"]["interpolation"] else f"{mine} shifts"


def _claimed_but_for_schedule(provenance: Mapping, published: Mapping, drops: Sequence[float]) -> bool:
    """Return whether the setting would be the claim's with its number of iterations, `drops` and resampling of shifts."""
    training = provenance["params"]["training"] | {
        "reference_iterations": published["claim"]["training"]["reference_iterations"],
        "reference_drops": drops,
    }
    augmentation = provenance["params"]["augmentation"] | {
        "interpolation": published["claim"]["augmentation"]["interpolation"]
    }
    content = provenance["params"] | {"data": provenance["data"], "training": training, "augmentation": augmentation}
    return bool(provenance["data"]["published"]) and not differences(content, published)


def setting(provenance: Mapping, published: Mapping) -> str:
    """Describe in a sentence how a training relates to the claim."""
    other = f", but for {shifts(provenance, published)}" if shifts(provenance, published) else ""
    if (part := share(provenance, published)) == 1:
        return f"Data, network, regime and schedule are the post's{other}."
    if part:
        return f"Data, network and regime are the post's, with {worded(part)} of its schedule{other}."
    if not provenance["data"]["published"]:
        return "The data are not the published ones."
    changed = differences(provenance["params"] | {"data": provenance["data"]}, published)
    entries = [f"{section}.{entry}" for section, found in changed.items() for entry in found]
    return f"Another setting than the post's: {'; '.join(entries)}."


def worded(part: float) -> str:
    """A share in words: "1/8", "the whole"."""
    return "the whole" if part == 1 else str(Fraction(part).limit_denominator(1000))


def schedule(drops: Sequence[float] | None, published: Mapping) -> str | None:
    """The name of the claim's learning rate schedule that `drops` is, to within one epoch; None if it is none."""
    for name, known in published["schedules"].items():
        if drops is None or len(drops) != len(known):
            continue
        if all(abs(a - b) <= published["schedule_tolerance"] for a, b in zip(drops, known, strict=True)):
            return name
    return None


def _equal(value: object, claimed: object) -> bool:
    numbers = (int, float)
    if isinstance(value, numbers) and isinstance(claimed, numbers) and not isinstance(claimed, bool):
        return math.isclose(value, claimed, rel_tol=1e-9)
    return value == claimed


def shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def judge(value: float, published: float, tolerance: float) -> str:
    """ "reproduced" if `value` lies within `tolerance` of `published`, else "not reproduced"."""
    return REPRODUCED if abs(value - published) <= tolerance + 1e-12 else NOT_REPRODUCED
