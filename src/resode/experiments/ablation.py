"""Ablations of a short training: variants of a run, trained on a part of its images and tested on the others.

ablation.yaml says what is tried. A trial is one variant trained with one seed; its checkpoint lies in .runs/ablation, see `trials`. The test
images are not looked at.
"""

import functools
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from resode.analysis.sweeps import DONE
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import duration, percent, table
from resode.config import parameters, schema
from resode.data import records
from resode.experiments import runs, trials
from resode.experiments.trials import Trial, Values
from resode.training import validation

FOLDER = paths.RESULTS / "ablation"
FILE = paths.ROOT / "ablation.yaml"
# The steps over the same time whose accuracy is told: of the integrator of training, and of the most exact one.
LENGTHS, EXACT = (2, 4, 8, 16), ("rk4", 4)
_MEASURED = ("updates", "train_accuracy", "validation_accuracy", "seconds")
# What decides neither images nor classes.
_Changes = dict[Annotated[str, Field(pattern=r"^(model|augmentation|training)\..*$")], Any]

_Label = Annotated[str, Field(pattern=r"^[^\n]{1,80}$")]


class Ablation(schema.Section):
    """The run that is varied, what all variants change, and what each changes besides."""

    like: schema.Name
    settings: schema.Settings
    seeds: Values[schema.Seed]
    variants: Annotated[dict[_Label, _Changes], Field(min_length=1)]


def planned(content: Ablation) -> dict[str, list[Trial]]:
    """The trials of each variant of `content` by its name, one a seed.

    Raises:
        InputError: see `trials.planned`; no such run; or no images are held out.
    """
    plan = trials.planned(FILE.name, runs.changes(content.like) | content.settings, content.variants, content.seeds)
    if not all(trial.params.data.validation_fraction for own in plan.values() for trial in own):
        raise InputError(f"{FILE.name}: data.validation_fraction = 0: variants are compared on validation images")
    return plan


def run(file: Path = FILE, checkpoints: Path = paths.RUNS / "ablation", folder: Path = FOLDER) -> Path:
    """Train every variant with every seed and write `folder`/trials.json, after each trial anew; return its path.

    A trial whose loss becomes infinite or undefined is recorded as diverged, and the others go on.

    Raises:
        InputError: see `parameters.read_as` and `planned`; what `loop.train` raises, but divergence.
    """
    content = parameters.read_as(file, Ablation)
    plan = planned(content)
    names = {trial: name for name, own in plan.items() for trial in own}
    chosen = trials.seed_by_seed(plan.values())
    dataset = records.load(paths.dataset(chosen[0].params.data.name))

    from resode.base import provenance

    made = {**provenance.made(), "data": dataset.provenance}
    watch, path, rows = trials.Watch(chosen), folder / "trials.json", []
    for trial in chosen:
        solve = functools.partial(_solved, trial=trial, dataset=dataset)
        trials.train_here(trial, dataset, checkpoints, watch, solve)
        row = watch.rows[trial]
        rows.append({"variant": names[trial], "seed": trial.params.seed, "status": row["status"]})
        rows[-1] |= {key: row[key] for key in (*_MEASURED, "h_omega", "steps") if key in row}
        files.write_json(path, {**made, **content.model_dump(), "rows": rows})
    return path


def _solved(results: Path, trial: Trial, dataset: records.Dataset) -> dict:
    """Of the network that a trial left in `results`: h ω of its units, and its accuracy on the validation images with other steps."""
    from resode.analysis import refinement, stability
    from resode.inference.trained import Network
    from resode.nn import model

    chosen, network = trial.params.model, Network(results)
    _, images, labels = validation.split(dataset, trial.params.data.validation_fraction, trial.params.seed)
    inputs, found = network.inputs(images), {}
    for integrator, length in _tried(chosen.integrator):
        tried = refinement.refined(network.keras, chosen, integrator, length)
        found[f"{integrator} {length}"] = refinement.correct(tried, inputs, labels) / len(labels)
    return {"h_omega": [chosen.h * stability.frequency(unit) for unit in model.units(network.keras)], "steps": found}


def text(folder: Path = FOLDER) -> str:
    """docs/fast.md: what was tried, as a section with a Markdown table; "" where nothing was. h ω and accuracies with other steps are of the
    first seed.
    """
    path = folder / "trials.json"
    if not path.is_file():
        return ""
    found = files.read_json(path)
    rows = []
    for name, changed in found["variants"].items():
        own = [row for row in found["rows"] if row["variant"] == name]
        if not own:
            continue
        done = [row for row in own if row["status"] == DONE]
        accuracies = [row["validation_accuracy"] for row in done]
        shown = percent(statistics.mean(accuracies)) if done else "diverged"
        shown += f" ± {100 * statistics.stdev(accuracies):.2f}" if len(done) > 1 else ""
        shown += f", {len(own) - len(done)} of {len(own)} diverged" if done and len(done) < len(own) else ""
        others = _with_other_steps(done[0]["steps"]) if done else ["—"] * (len(LENGTHS) + 1)
        h_omega = ", ".join(f"{one:.1f}" for one in done[0]["h_omega"]) if done else "—"
        minutes = duration(statistics.mean(row["seconds"] for row in done)) if done else "—"
        changes = "; ".join(f"{key}: {value}" for key, value in changed.items()) or "—"
        rows.append((name, changes, shown, minutes, h_omega, *others))
    header = ("Variant", "Changes", "Validation", "Time", "h ω by unit", *(f"n = {length}" for length in LENGTHS))
    common = "; ".join(f"{key}: {value}" for key, value in found["settings"].items())
    commit = f"{(found['commit'] or 'unknown')[:7]}{' with changes' if found['modified'] else ''}"
    return (
        "## What each part brings\n\n`resode ablate` trains variants of the recipe, narrower and shorter, on a part of the training images and tests"
        " them on the others; the test images are not looked at.\n\n"
        f"Run `{found['like']}` with {common}; seeds {', '.join(map(str, found['seeds']))}. Accuracy in per cent on the validation images after the last"
        " epoch, then with n steps of the same integrator over the same time, and with"
        f" {EXACT[0]} in {EXACT[1]} steps. {found['data']['title']}; {found['hardware']}, {found['backend']}, commit {commit}.\n\n"
        f"{table((*header, EXACT[0]), rows, 'lllll' + 'r' * (len(LENGTHS) + 1))}"
    )


def _with_other_steps(accuracies: Mapping[str, float]) -> list[str]:
    """The cells of `_solved`'s `accuracies`, in per cent. Of a network trained with the most exact integrator one accuracy stands in two cells."""
    own = next(iter(accuracies)).split()[0]
    return [f"{100 * accuracies[f'{integrator} {length}']:.1f}" for integrator, length in _tried(own)]


def _tried(integrator: str) -> list[tuple[str, int]]:
    """The pairs of an integrator and a number of steps whose accuracy is told of a network that was trained with `integrator`."""
    return [*((integrator, length) for length in LENGTHS), EXACT]
