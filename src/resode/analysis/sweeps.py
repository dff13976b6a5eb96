"""Outcome of a sweep: its table of trials by pairs (h, unroll length), and the best of them. See `sweep` for how it is run."""

import csv
import hashlib
import io
import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path

from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import percent, rows_table
from resode.ode import linear_stability
from resode.ode.equations import ODES

FOLDER = paths.RESULTS / "sweep"
TABLE = "trials.csv"
DONE, DIVERGED, FAILED = "done", "diverged", "failed"


@dataclass(frozen=True)
class Pair:
    """A pair (h, unroll length) over its seeds.

    Attributes:
        accuracies: validation accuracy of each trial that is done.
        diverged: trials that diverged.
        trials: all of them.
        h_omega: h ω, with ω the largest frequency of a fresh network's units; None without a verdict (see `stability`).
        growth: the most that a unit's steps stretch an oscillation with this h ω; None without a verdict.
    """

    h: float
    unroll_length: int
    accuracies: tuple[float, ...]
    diverged: int
    trials: int
    h_omega: float | None
    growth: float | None

    @property
    def mean(self) -> float | None:
        """Mean validation accuracy; None if a trial diverged: what diverges with some seeds is not to be chosen."""
        return statistics.mean(self.accuracies) if self.accuracies and not self.diverged else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds (n − 1)."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Outcome:
    """Outcome of a sweep.

    Attributes:
        pairs: by h, then by unroll length.
        limit: the largest h at which the integrator keeps oscillations with the frequency ω bounded: 0 if it never does,
            inf if always; None without a verdict.
        about: the contents of the engines' files, {engine: {…}}.
    """

    name: str
    pairs: list[Pair]
    limit: float | None
    about: dict[str, dict]

    @property
    def setting(self) -> dict:
        """The content of one engine's file; the engines' settings are the same."""
        return next(iter(self.about.values()))

    @property
    def best(self) -> Pair | None:
        """The pair with the highest mean validation accuracy; of equals the one with fewer steps, then the smaller h."""
        known = [pair for pair in self.pairs if pair.mean is not None]
        return min(known, key=lambda pair: (-pair.mean, pair.unroll_length, pair.h), default=None)


def names(folder: Path = FOLDER) -> list[str]:
    """The sweeps that have results."""
    return sorted(path.parent.name for path in folder.glob(f"*/{TABLE}"))


def outcome(name: str, folder: Path = FOLDER) -> Outcome:
    """Read the outcome of the sweep `name` from its files.

    Raises:
        InputError: they are missing, or are of different sweeps.
    """
    path = folder / name / TABLE
    try:
        text = files.read_text(path)
    except InputError as error:
        raise InputError(f"{error}; run: resode sweep {name}") from error
    about = {file.stem: files.read_json(file) for file in sorted(path.parent.glob("*.json"))}
    digest = hashlib.sha256(text.encode()).hexdigest()
    # An engine's file of an earlier, other sweep says nothing about this table.
    about = {engine: one for engine, one in about.items() if one["sha256"] == digest}
    if not about:
        raise InputError(f"{path} is of another sweep than the files beside it; run: resode sweep {name}")
    setting = next(iter(about.values()))
    omega, chosen = setting["omega"], setting["params"]["model"]
    integrator = chosen["integrator"]
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: (float(row["h"]), int(row["unroll_length"])))
    pairs = [
        _pair(float(h), int(steps), list(group), omega, integrator, ODES[chosen["block"]].form)
        for (h, steps), group in itertools.groupby(rows, key=lambda row: (row["h"], row["unroll_length"]))
    ]
    limit = None if omega is None else linear_stability.limit(integrator) / omega
    return Outcome(name, pairs, limit, about)


def _pair(h: float, steps: int, rows: list[dict], omega: float | None, integrator: str, form: str) -> Pair:
    return Pair(
        h=h,
        unroll_length=steps,
        accuracies=tuple(float(row["validation_accuracy"]) for row in rows if row["status"] == DONE),
        diverged=sum(row["status"] == DIVERGED for row in rows),
        trials=len(rows),
        h_omega=None if omega is None else h * omega,
        growth=None if omega is None else linear_stability.growth(integrator, form, h * omega, steps),
    )


def rows(found: Outcome) -> list[dict[str, str]]:
    """A row a pair, for a table."""
    return [
        {
            "$h$": f"{pair.h:g}",
            "unroll length": str(pair.unroll_length),
            "validation accuracy": _accuracy(pair),
            r"$h\omega$": "—" if pair.h_omega is None else f"{pair.h_omega:.3f}",
            "growth over a unit": "—" if pair.growth is None else f"{pair.growth:.3g}",
        }
        for pair in found.pairs
    ]


def _accuracy(pair: Pair) -> str:
    shown = percent(statistics.mean(pair.accuracies)) if pair.accuracies else ""
    shown += f" ± {100 * pair.spread:.2f}" if pair.spread is not None else ""
    diverged = f"{pair.diverged} of {pair.trials} diverged" if pair.diverged else ""
    return ", ".join(filter(None, (shown, diverged))) or FAILED


def summary(found: Outcome) -> str:
    """Summarise the trials and name the best pair, in a few sentences, as Markdown."""
    about, best = found.setting, found.best
    by = " and ".join(found.about)
    if "data" not in about:
        return f"{about['trials']} trials by {by}, none of which trained to its end."
    equal = ", which gave the same table byte for byte" if len(found.about) > 1 else ""
    text = (
        f"**{about['data']['title']}**: {about['trials']} trials by {by}{equal}; {about['hardware']}, {about['backend']}, "
        f"{about['precision']}, commit {(about['commit'] or 'unknown')[:7]}{' with changes' if about['modified'] else ''}. "
        f"Accuracy on a fraction of {about['params']['data']['validation_fraction']:g} of the training images, held out, after the last "
        f"epoch, mean ± standard deviation over {len(about['seeds'])} seeds.\n\n"
    )
    if best is None:
        return text + "No pair trained with every seed."
    rivals = [
        pair
        for pair in found.pairs
        if pair is not best
        and pair.mean is not None
        and best.mean - pair.mean <= max(best.spread or 0, pair.spread or 0)
    ]
    text += f"Best: **$h = {best.h:g}$, unroll length {best.unroll_length}**, {_accuracy(best)}."
    if rivals:
        others = "; ".join(f"$h = {pair.h:g}$, unroll length {pair.unroll_length}" for pair in rivals)
        text += f" Within one standard deviation of it, so no worse as far as {len(about['seeds'])} seeds can tell: {others}."
    return text


def limit_text(found: Outcome) -> str:
    """Relate the grid to the integrator's limit of stability, in a sentence, as Markdown."""
    integrator = found.setting["params"]["model"]["integrator"]
    if found.limit is None:
        return "The eigenvalues of this block may lie anywhere, so there is no limit of stability to draw."
    if found.limit == 0:
        return f"No $h$ keeps oscillations bounded under {integrator}; what each pair makes of them is their growth over a unit."
    if found.limit == float("inf"):
        return f"{integrator} keeps oscillations bounded at every $h$ of the grid."
    return f"{integrator} keeps the oscillations of a fresh network bounded up to $h = {found.limit:.3g}$, the dashed line."


# Of the figure.
CAPTION = (
    "In each cell the mean validation accuracy over the seeds and its standard deviation, in per cent, and after × the growth: by how much a unit's"
    " steps stretch the oscillation that they stretch most. Its $\\omega$ is the largest frequency of a fresh network's units; where nothing is known"
    " of it there is no growth. Framed: the highest mean."
)


def tables(folder: Path = FOLDER) -> str:
    """docs/choosing.md: every sweep's summary, table and figure, as Markdown."""
    found = [outcome(name, folder) for name in names(folder)]
    return (
        "\n\n".join(
            f"{summary(one)} {limit_text(one)}\n\n{rows_table(rows(one))}"
            f"\n\n![validation accuracy over h and unroll length](results/readme/sweep_{one.name}.png)\n\n*{CAPTION}*"
            for one in found
        )
        or "Not swept yet: `make sweep`."
    )
