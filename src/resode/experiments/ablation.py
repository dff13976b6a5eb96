"""What each part of a short training brings: variants of a run, trained on a part of its images and tested on the others.

ablation.yaml says what is tried. A trial is one variant trained with one seed; its checkpoint lies in .runs/ablation, see `trials`. The test
images are not looked at.
"""

import statistics
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from resode.analysis.sweeps import DONE
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import duration, percent, quoted, table
from resode.config import parameters, schema, yaml
from resode.data import records
from resode.experiments import runs
from resode.experiments.trials import Trial, Values, Watch, train_here
from resode.training import validation

FOLDER = paths.RESULTS / "ablation"
FILE = paths.ROOT / "ablation.yaml"
# The steps over the same time whose accuracy is told: of the integrator of training, and of the most exact one.
LENGTHS, EXACT = (2, 4, 8, 16), ("rk4", 4)
_MEASURED = ("updates", "train_accuracy", "validation_accuracy", "seconds")
# What decides neither images nor classes.
_Changes = dict[Annotated[str, Field(pattern=r"^(model|augmentation|training)\..*$")], Any]


class Ablation(schema.Section):
    """The run that is varied, what all variants change, and what each changes besides."""

    like: schema.Name
    settings: schema.Settings
    seeds: Values[schema.Seed]
    variants: Annotated[dict[str, _Changes], Field(min_length=1, max_length=100)]


def planned(file: Path = FILE) -> dict[str, list[Trial]]:
    """The trials of each variant by its name, one a seed.

    Raises:
        InputError: the file is missing, is not YAML or holds something else; no such run; parameters that are refused, that hold out no
            images, or that another variant has too.
    """
    content = parameters.validate(yaml.read(file), file.name, kind=Ablation)
    common, plan, seen = runs.changes(content.like) | content.settings, {}, {}
    for name, changed in content.variants.items():
        where = f"{file.name}, {quoted(name)}"
        for seed in content.seeds:
            settings = common | changed | {"seed": seed}
            params = parameters.validate(parameters.changed(settings, where))
            if not params.data.validation_fraction:
                raise InputError(f"{where}: data.validation_fraction = 0: variants are compared on validation images")
            if (other := seen.setdefault(params.model_dump_json(), name)) != name:
                raise InputError(f"{where} trains what {quoted(other)} trains; delete one")
            plan.setdefault(name, []).append(Trial(f"{name}, seed {seed}", settings, params))
    return plan


def run(file: Path = FILE, checkpoints: Path = paths.RUNS / "ablation", folder: Path = FOLDER) -> Path:
    """Train every variant with every seed and write `folder`/trials.json, after each trial anew; return its path.

    A trial whose loss becomes infinite or undefined is recorded as diverged, and the others go on.

    Raises:
        InputError: see `planned`; what `loop.train` raises, but divergence.
    """
    plan = planned(file)
    trials = {
        trial: name for one_seed in zip(*plan.values(), strict=True) for name, trial in zip(plan, one_seed, strict=True)
    }
    dataset = records.load(paths.dataset(next(iter(trials)).params.data.name))

    from resode.base import provenance

    content = parameters.validate(yaml.read(file), file.name, kind=Ablation).model_dump()
    made = {
        "hardware": provenance.hardware(),
        **provenance.software(),
        **provenance.commit(),
        "data": dataset.provenance,
    }
    watch, path, rows = Watch(list(trials)), folder / "trials.json", []
    for trial, name in trials.items():
        train_here(trial, dataset, checkpoints, watch, lambda results, trial=trial: _solved(results, trial, dataset))
        row = watch.rows[trial]
        rows.append({"variant": name, "seed": trial.params.seed, "status": row["status"]})
        rows[-1] |= {key: row[key] for key in (*_MEASURED, "h_omega", "steps") if key in row}
        files.write_json(path, {**made, **content, "rows": rows})
    return path


def _solved(results: Path, trial: Trial, dataset: records.Dataset) -> dict:
    """Of the network that a trial left in `results`: h ω of its units, and its accuracy on the validation images with other steps."""
    from resode.analysis import refinement, stability
    from resode.inference.trained import Network
    from resode.nn import model

    chosen, network = trial.params.model, Network(results)
    _, images, labels = validation.split(dataset, trial.params.data.validation_fraction, trial.params.seed)
    inputs, found = network.inputs(images), {}
    for integrator, length in (*((chosen.integrator, length) for length in LENGTHS), EXACT):
        tried = refinement.refined(network.keras, chosen, integrator, length)
        found[f"{integrator} {length}"] = refinement.correct(tried, inputs, labels) / len(labels)
    return {"h_omega": [chosen.h * stability.frequency(unit) for unit in model.units(network.keras)], "steps": found}


def text(folder: Path = FOLDER) -> str:
    """docs/fast.md: what was tried, as a Markdown table; h ω and accuracies with other steps are of the first seed."""
    path = folder / "trials.json"
    if not path.is_file():
        return "Not tried yet: `resode ablate`."
    found = files.read_json(path)
    rows = []
    for name, changed in found["variants"].items():
        trials = [row for row in found["rows"] if row["variant"] == name]
        if not trials:
            continue
        done = [row for row in trials if row["status"] == DONE]
        accuracies = [row["validation_accuracy"] for row in done]
        shown = percent(statistics.mean(accuracies)) if done else "diverged"
        shown += f" ± {100 * statistics.stdev(accuracies):.2f}" if len(done) > 1 else ""
        shown += f", {len(trials) - len(done)} of {len(trials)} diverged" if done and len(done) < len(trials) else ""
        others = [f"{100 * one:.1f}" for one in done[0]["steps"].values()] if done else ["—"] * (len(LENGTHS) + 1)
        h_omega = ", ".join(f"{one:.1f}" for one in done[0]["h_omega"]) if done else "—"
        minutes = duration(statistics.mean(row["seconds"] for row in done)) if done else "—"
        changes = "; ".join(f"{key}: {value}" for key, value in changed.items()) or "—"
        rows.append((name, changes, shown, minutes, h_omega, *others))
    header = ("Variant", "Changes", "Validation", "Time", "h ω by unit", *(f"n = {length}" for length in LENGTHS))
    common = "; ".join(f"{key}: {value}" for key, value in found["settings"].items())
    commit = f"{(found['commit'] or 'unknown')[:7]}{' with changes' if found['modified'] else ''}"
    return (
        f"Run `{found['like']}` with {common}; seeds {', '.join(map(str, found['seeds']))}. Accuracy in per cent on the validation images after the last"
        " epoch, then with other numbers of steps over the same time, and with"
        f" {EXACT[0]} in {EXACT[1]} steps. {found['data']['title']}; {found['hardware']}, {found['backend']}, commit {commit}.\n\n"
        f"{table((*header, EXACT[0]), rows, 'lllll' + 'r' * (len(LENGTHS) + 1))}"
    )
