r"""The trained network with other steps: whether it has learnt an ODE, or the steps that it was trained with.

A unit of n steps of size h goes through the time T = n h. With as many weights it can be solved over the same time in n′ steps of
T / n′, and by another integrator. A network that has learnt the ODE keeps its accuracy with more and with better steps; one that
has learnt its steps does not.

Sources: K. Ott, P. Katiyar, P. Hennig and M. Tiemann (2021), "ResNet After All? Neural ODEs and Their Numerical Solution",
ICLR, arXiv:2007.15386; A. Queiruga, N. B. Erichson, D. Taylor and M. W. Mahoney (2020), "Continuous-in-Depth Neural Networks",
arXiv:2008.02389.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from resode.analysis.evaluation import counted
from resode.base import files
from resode.base.text import percent
from resode.config.schema import ModelParams
from resode.nn import model
from resode.ode.equations import ODES
from resode.ode.integrators import refusal
from resode.training import prolongation

FILE = "refinement.json"
# Steps as multiples of those of training, of the integrator of training and of others.
OWN = (1 / 4, 1 / 2, 3 / 4, 1, 5 / 4, 3 / 2, 2, 4)
OTHERS = {"euler": OWN, "symplectic_euler": (1 / 2, 1, 2), "midpoint": (1 / 2, 1, 2), "rk4": (1 / 4, 1 / 2, 1)}
# A network that loses no more with the finest steps counts as an ODE. The papers draw no line.
KEPT = 0.01
# Steps of rk4, as a multiple of training's, whose states stand for the solution; and images on which they are compared.
SOLUTION, IMAGES = 4, 32
_BATCH = 250


def reason(params: ModelParams) -> str | None:
    """Why the network of `params` cannot have other steps; None if it can."""
    if params.architecture != "units":
        return f"This network is a {params.architecture}: it has no units whose steps could be made finer."
    if params.weights_in_time == "free":
        return "Each step of this network's units has weights of its own, so that there are none for other steps."
    if ODES[params.block].own_steps:
        return f"Block {params.block} has steps of its own, which are no integrator's; its ODE is not solved otherwise."
    return None


def steps(params: ModelParams, unroll_schedule: Sequence[Sequence[float]] = ()) -> list[tuple[str, int]]:
    """The pairs of an integrator and a number of steps to try, those of training among them.

    Args:
        unroll_schedule: of section `training`; its unroll lengths are tried too.
    """
    n = params.unroll_length
    tried = {params.integrator: OWN} | {
        name: factors for name, factors in OTHERS.items() if not refusal(name, ODES[params.block].form)
    }
    tried[params.integrator] = OWN
    found = {(name, max(1, round(factor * n))) for name, factors in tried.items() for factor in factors}
    found |= {(params.integrator, int(length)) for length, _ in unroll_schedule}
    order = list(tried)
    return sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))


def refined(network: keras.Model, params: ModelParams, integrator: str, unroll_length: int) -> keras.Model:
    """`network`, built from `params`, with the same weights and solved by `integrator` in `unroll_length` steps over the same time.

    Raises:
        ValueError: the integrator does not solve this block's ODE.
    """
    solved = prolongation.coarser(params, unroll_length).model_copy(
        update={"integrator": integrator, "backward": "store"}
    )
    made = model.build(solved, network.output_shape[-1], tuple(network.input_shape[1:]))
    made.set_weights(network.get_weights())
    return made


def table(
    network: keras.Model,
    params: ModelParams,
    images: np.ndarray,
    labels: np.ndarray,
    unroll_schedule: Sequence[Sequence[float]] = (),
) -> list[dict[str, Any]]:
    """A row for each of `steps`: accuracy and its Wilson interval, cost, and the units' distances from the solution.

    `cost` is the number of convolutions in the units over that of the network as it was trained. `distance` of a unit is
    the median over some images of ‖output − solution‖ / ‖solution‖, in which the solution is the unit's output in the network that rk4
    solves in `SOLUTION` times the steps; so it includes what the units before it have added.

    Args:
        network: built from `params`.
        images: (N, H, W, C), as the network takes them.
        labels: (N,).
        unroll_schedule: see `steps`.
    """
    solution = _states(refined(network, params, "rk4", SOLUTION * params.unroll_length), images[:IMAGES])
    trained = _convolutions(network)
    rows = []
    for integrator, unroll_length in steps(params, unroll_schedule):
        tried = refined(network, params, integrator, unroll_length)
        states = _states(tried, images[:IMAGES])
        rows.append(
            {
                "integrator": integrator,
                "unroll_length": unroll_length,
                "h": params.h * params.unroll_length / unroll_length,
                "cost": _convolutions(tried) / trained,
                **counted(correct(tried, images, np.asarray(labels)), len(labels)),
                "distance": [_distance(state, exact) for state, exact in zip(states, solution, strict=True)],
            }
        )
    return rows


def _convolutions(network: keras.Model) -> int:
    return sum(unit.convolutions_of_a_pass() for unit in model.units(network))


def correct(network: keras.Model, images: np.ndarray, labels: np.ndarray) -> int:
    """The number of images (N, H, W, C) that are classified correctly; one whose probabilities are not finite, as after steps too large, is not."""
    # Without `predict`, which would compile each of the networks for a single pass.
    found = 0
    for start in range(0, len(labels), _BATCH):
        probabilities = ops.convert_to_numpy(network(images[start : start + _BATCH], training=False))
        right = probabilities.argmax(axis=1) == labels[start : start + _BATCH]
        found += int((right & np.isfinite(probabilities).all(axis=1)).sum())
    return found


def _states(network: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """The output of each unit, (N, …)."""
    probe = keras.Model(network.input, [unit.output for unit in model.units(network)])
    found = probe(images, training=False)
    return [ops.convert_to_numpy(state) for state in (found if isinstance(found, list) else [found])]


def _distance(state: np.ndarray, exact: np.ndarray) -> float | None:
    difference, size = (np.linalg.norm(x.reshape(len(x), -1).astype(float), axis=1) for x in (state - exact, exact))
    found = np.median(difference / np.where(size > 0, size, 1))
    return float(found) if np.isfinite(found) else None


# --- words and files


def accuracy_rows(rows: Sequence[Mapping], unroll_length: int) -> list[dict[str, str]]:
    """Accuracies in per cent over the number of steps, a row an integrator, for a table; the `unroll_length` of training is marked."""
    lengths = sorted({row["unroll_length"] for row in rows})
    found = []
    for integrator in dict.fromkeys(row["integrator"] for row in rows):
        own = {row["unroll_length"]: f"{100 * row['accuracy']:.2f}" for row in rows if row["integrator"] == integrator}
        cells = {f"{n} (training)" if n == unroll_length else str(n): own.get(n, "—") for n in lengths}
        found.append({"integrator": integrator.replace("_", " "), **cells})
    return found


def distance_rows(rows: Sequence[Mapping]) -> list[dict[str, str]]:
    """The distances of the units' outputs from the solution in per cent, a row a pair of integrator and steps, for a table."""
    return [
        {
            "integrator": row["integrator"].replace("_", " "),
            "n": str(row["unroll_length"]),
            **{
                f"unit {number}": "—" if distance is None else f"{100 * distance:.1f}"
                for number, distance in enumerate(row["distance"], start=1)
            },
        }
        for row in rows
    ]


def verdict(rows: Sequence[Mapping], integrator: str, unroll_length: int, classes: int) -> str:
    """Say whether a network trained with these steps of `integrator` is an ODE, by `KEPT`: with its most steps and with those of rk4.

    One that guesses among `classes` loses nothing with any steps, and has no verdict.
    """

    def most(name: str) -> Mapping:
        return max((row for row in rows if row["integrator"] == name), key=lambda row: row["unroll_length"])

    trained = next(row for row in rows if (row["integrator"], row["unroll_length"]) == (integrator, unroll_length))
    if trained["low"] <= 1 / classes:
        return (
            f"As trained ({_shown(trained)}), {percent(trained['accuracy'])} of the test images are classified correctly, which may be a guess"
            f" among {classes} classes: it has learnt nothing that other steps could keep."
        )
    finer = [most(name) for name in dict.fromkeys((integrator, "rk4"))]
    # Rounding must not decide about a loss of just one point.
    kept = [trained["accuracy"] - row["accuracy"] <= KEPT + 1e-9 for row in finer]
    if all(kept):
        outcome = "**So it is an ODE** in this sense: finer steps lose at most"
    elif any(kept):
        outcome = "**So it is not quite an ODE** in this sense: some finer steps lose at most"
    else:
        outcome = "**So it is no ODE** in this sense, but has learnt its steps, their error included: finer ones lose more than"
    others = ", others more" if any(kept) and not all(kept) else ""
    changes = " and ".join(f"{percent(row['accuracy'])} ({_shown(row)})" for row in finer)
    return (
        f"As trained ({_shown(trained)}), {percent(trained['accuracy'])} of the test images are classified correctly; with finer steps"
        f" {changes}. {outcome} {100 * KEPT:g} point{others}."
    )


def _shown(row: Mapping) -> str:
    return f"{row['integrator'].replace('_', ' ')}, n = {row['unroll_length']}"


def write(
    folder: Path, rows: Sequence[Mapping], params: ModelParams, classes: int, training: str | None, title: str | None
) -> None:
    """Write `refinement.json` to `folder`: name of the `training`, its data and number of classes, its integrator and steps, `table`'s rows."""
    setting = {name: getattr(params, name) for name in ("integrator", "unroll_length", "h")}
    files.write_json(
        Path(folder) / FILE, {"training": training, "data": title, "classes": classes, **setting, "rows": list(rows)}
    )
