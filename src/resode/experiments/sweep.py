"""Choosing h and the unroll length on validation images: a grid of trainings, their table, and the best of them.

sweep.yaml says what is tried. A trial is the training of one pair (h, unroll length) with one seed; trials differ in nothing
else. Two engines run them, Ray (`sweep_ray`) and this process (`trials.Here`), and leave the same table,
results/sweep/NAME/trials.csv, byte for byte: what an engine ran on stands beside it, in NAME/ENGINE.json.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resode.analysis.sweeps import FAILED, FOLDER, TABLE
from resode.base import files, paths
from resode.base.errors import InputError
from resode.base.text import csv_table, quoted
from resode.config import parameters, schema
from resode.experiments.trials import Trial, Values, Watch, seed_by_seed
from resode.experiments.trials import planned as planned_trials
from resode.ode.equations import ODES
from resode.training import checkpoint

FILE = paths.ROOT / "sweep.yaml"
_MEASURED = ("updates", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
_GRID = ("model.h", "model.unroll_length", "seed")


class Sweep(schema.Section):
    """A grid, and what its trials change in params.yaml besides."""

    settings: schema.Settings
    h: Values[schema.StepSize]
    unroll_length: Values[schema.Steps]
    seeds: Values[schema.Seed]


def read(name: str, file: Path = FILE) -> Sweep:
    """The sweep `name` of sweep.yaml.

    Raises:
        InputError: the file is missing, is not YAML or holds something else, or there is no such sweep.
    """
    sweeps = parameters.read_as(file, dict[schema.Name, Sweep])
    if name not in sweeps:
        raise InputError(f"{file.name} has no sweep {quoted(repr(name))}; it has {quoted(', '.join(sweeps))}")
    return sweeps[name]


def planned(name: str, file: Path = FILE) -> list[Trial]:
    """Every trial of the sweep `name`, seed by seed, so that what is stopped early has whole seeds.

    Raises:
        InputError: see `read`; or a trial that params.yaml does not accept, or no images are held out.
    """
    chosen, where = read(name, file), f"{file.name}, {name}"
    grid = {
        f"h = {h}, unroll length {length}": {"model.h": h, "model.unroll_length": length}
        for h, length in itertools.product(chosen.h, chosen.unroll_length)
    }
    found = seed_by_seed(planned_trials(where, chosen.settings, grid, chosen.seeds).values())
    if not found[0].params.data.validation_fraction:
        raise InputError(f"{where}: data.validation_fraction = 0: a sweep chooses on validation images")
    return found


def run(name: str, engine: Any, file: Path = FILE, folder: Path = FOLDER) -> Path:
    """Run every trial of the sweep `name` and write the table; return its path.

    A trial that diverges is recorded as diverged, one that fails as failed, and the sweep goes on.

    Args:
        engine: an object with a `name` and a method `run(trials, watch)`.

    Raises:
        InputError: a wrong sweep or one that is running, before any trial starts; trials that failed, when the table is
            written.
    """
    trials = planned(name, file)
    watch = Watch(trials)
    with checkpoint.locked(paths.RUNS / "sweeps" / name):
        engine.run(trials, watch)
    table = _table(trials, watch)
    path = folder / name / TABLE
    files.write_text(path, table)
    found = watch.provenance or {}
    files.write_json(
        folder / name / f"{engine.name}.json",
        {
            "engine": engine.name,
            **{
                key: value
                for key, value in found.items()
                if key not in ("params", "updates", "wall_seconds", "resumes", "pieces")
            },
            **read(name, file).model_dump(),
            "omega": _frequency(trials[0], watch.provenance),
            "params": trials[0].params.model_dump(include={"data", "model", "augmentation", "training"}),
            "trials": len(trials),
            "sha256": hashlib.sha256(table.encode()).hexdigest(),
        },
    )
    failed = [f"{trial.label}: {row['reason']}" for trial, row in watch.rows.items() if row["status"] == FAILED]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(trials)} trials failed, the first with {failed[0]}; mend that and run the same command again"
        )
    return path


def _table(trials: Sequence[Trial], watch: Watch) -> str:
    columns, rows = ("status", *_MEASURED), []
    points = {trial: [trial.settings[key] for key in _GRID] for trial in trials}
    for trial, (h, unroll_length, seed) in sorted(points.items(), key=lambda item: item[1]):
        measured = {key: watch.rows[trial].get(key, "") for key in columns}
        rows.append({"h": f"{h:g}", "unroll_length": unroll_length, "seed": seed, **measured})
    return csv_table(rows)


def _frequency(trial: Trial, made: Mapping | None) -> float | None:
    """ω of the fresh network with a trial's seed, which depends on neither h nor unroll length, where weights are shared.

    None where the eigenvalues may lie anywhere, or no trial was done and the number of classes is not known.
    """
    if made is None:
        return None
    import keras

    from resode.analysis import stability
    from resode.nn import model

    chosen = trial.params
    keras.utils.set_random_seed(chosen.seed)
    units = model.units(model.build(chosen.model, len(made["class_names"])))
    judged = bool(units) and ODES[chosen.model.block].oscillates
    return max(stability.frequency(unit) for unit in units) if judged else None
