r"""Two-dimensional classification problems, as a test of usefulness: can a unit's ODE untangle points that no line separates?

A classifier is one unit of `blocks.BLOCKS` on points, that is on images of one pixel:

    point (1, 1, 2) → zero channels to `channels` → unit with kernels 1×1 and σ = tanh, weights of each step its own → softmax

Source: E. Haber and L. Ruthotto (2017), "Stable Architectures for Deep Neural Networks", arXiv:1705.03341, section 6.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from keras import layers, ops

from resode.base import files
from resode.config.schema import ToysParams
from resode.nn.blocks import BLOCKS, ChannelZeroPadding
from resode.ode import equations, integrators
from resode.training.losses import cross_entropy

NOISE = 0.02
# The peaks' domain [−3, 3]² is scaled to [−1.2, 1.2]², into the pictures.
SCALE = 1.2 / 3
# The pictures: half the edge of the square that is drawn, and points along it.
EDGE, SIDE = 1.35, 181
# Each stable block with an integrator that is stable on the imaginary axis; then the post's pair and two without such theory.
STABLE = {
    "hamiltonian": "symplectic_euler",
    "one_bias_hamiltonian": "symplectic_euler_z_first",
    "two_layer_hamiltonian": "symplectic_euler",
    "antisymmetric": "midpoint",
    "second_order": "leapfrog",
}
OTHERS = {"hamiltonian": "euler", "residual": "euler", "linear_multistep": "euler"}
PAIRS = (*STABLE.items(), *OTHERS.items())


@dataclass(frozen=True)
class Points:
    """Points of the plane, float32 (N, 2), and the class of each, int32 (N,)."""

    x: np.ndarray
    label: np.ndarray


def spirals(count: int, random: np.random.Generator) -> Points:
    """Two spirals wound into each other, ⌊count / 2⌋ points or one more of each class.

    r (cos 4πr, sin 4πr) and (r + 0.2)(cos 4πr, sin 4πr), r uniform on [0, 1], with normally distributed noise.
    """
    label = _halves(count)
    r = random.uniform(size=count)
    radius, angle = r + 0.2 * label, 4 * np.pi * r
    return _noisy(radius * np.cos(angle), radius * np.sin(angle), label, random)


def ellipses(count: int, random: np.random.Generator) -> Points:
    """An ellipse and a ring of the same shape around it, ⌊count / 2⌋ points or one more of each class.

    (ρ cos θ, 0.6 ρ sin θ), θ uniform, the area uniformly covered, with ρ on [0, 0.5] and on [0.7, 1], and noise.
    """
    label = _halves(count)
    inner, outer = np.where(label, 0.7, 0.0), np.where(label, 1.0, 0.5)
    radius = np.sqrt(random.uniform(inner**2, outer**2))
    angle = random.uniform(0, 2 * np.pi, size=count)
    return _noisy(radius * np.cos(angle), 0.6 * radius * np.sin(angle), label, random)


def peaks(count: int, random: np.random.Generator) -> Points:
    """Five classes, of equally many points or one more: the range of a function with three hills and three hollows, in equal parts.

    f(u, v) = 3 (1 − u)² exp(−u² − (v + 1)²) − 10 (u/5 − u³ − v⁵) exp(−u² − v²) − exp(−(u + 1)² − v²) / 3 on [−3, 3]², which
    MATLAB calls peaks; class k where f lies in the kth fifth of its range. Points are uniform on each class.
    """
    side = np.linspace(-3, 3, 256)
    grid = _peaks(*np.meshgrid(side, side))
    bounds = np.linspace(grid.min(), grid.max(), 6)[1:-1]
    label = np.arange(count, dtype="int32") % 5
    found = np.empty((count, 2))
    for k in range(5):
        missing = np.flatnonzero(label == k)
        while len(missing):
            # The smallest class has 2.8 % of the area.
            drawn = random.uniform(-3, 3, (200 * len(missing), 2))
            drawn = drawn[np.digitize(_peaks(*drawn.T), bounds) == k][: len(missing)]
            found[missing[: len(drawn)]] = drawn
            missing = missing[len(drawn) :]
    return Points((SCALE * found).astype("float32"), label)


def _peaks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    hills = 3 * (1 - u) ** 2 * np.exp(-(u**2) - (v + 1) ** 2) - np.exp(-((u + 1) ** 2) - v**2) / 3
    return hills - 10 * (u / 5 - u**3 - v**5) * np.exp(-(u**2) - v**2)


PROBLEMS: dict[str, Callable[[int, np.random.Generator], Points]] = {
    "spirals": spirals,
    "ellipses": ellipses,
    "peaks": peaks,
}


def problem(name: str, count: int, seed: int) -> tuple[Points, Points]:
    """`count` training and `count` test points of PROBLEMS[name]; they follow from `seed`."""
    train, test = (PROBLEMS[name](count, np.random.default_rng([seed, part])) for part in range(2))
    return train, test


def _halves(count: int) -> np.ndarray:
    return np.arange(count, dtype="int32") % 2


def _noisy(x: np.ndarray, y: np.ndarray, label: np.ndarray, random: np.random.Generator) -> Points:
    points = np.stack([x, y], axis=1)
    return Points((points + NOISE * random.standard_normal(points.shape)).astype("float32"), label)


def build(block: str, integrator: str, params: ToysParams, classes: int) -> keras.Model:
    """The classifier from points (batch, 2) to probabilities (batch, classes), uncompiled."""
    point = keras.Input((2,), name="point")
    x = layers.Reshape((1, 1, 2), name="pixel")(point)
    x = ChannelZeroPadding(params.channels // 2, name="channels")(x)
    x = BLOCKS[block](
        h=params.h,
        unroll_length=params.unroll_length,
        kernel_size=1,
        activation="tanh",
        integrator=integrator,
        weights_in_time="free",
        name="unit",
    )(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(
        point, layers.Dense(classes, activation="softmax", name="softmax")(x), name=f"{block}_{integrator}"
    )


def train(block: str, integrator: str, points: Points, params: ToysParams, seed: int) -> keras.Model:
    """A classifier after `updates` updates by Adam, each from all `points`; equal arguments give equal weights on one machine.

    The next call that asks for the same network trains it anew.
    """
    network, weights = _compiled(block, integrator, params, int(points.label.max()) + 1, seed)
    network.set_weights(weights)
    # As Adam begins.
    for variable in network.optimizer.variables:
        variable.assign(ops.zeros(variable.shape, variable.dtype))
    # For so small a network `fit` would spend twenty times as long on an epoch's bookkeeping as on its only update.
    for _ in range(params.updates):
        network.train_on_batch(points.x, points.label)
    return network


# XLA compiles a network for longer than it learns: those of one problem are there for the next with as many classes.
@functools.lru_cache(len(PAIRS))
def _compiled(block: str, integrator: str, params: ToysParams, classes: int, seed: int) -> tuple[keras.Model, list]:
    """A classifier ready for training, and its initial weights."""
    keras.utils.set_random_seed(seed)
    network = build(block, integrator, params, classes)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(params.learning_rate, params.updates)),
        cross_entropy,
        jit_compile=True,
    )
    return network, network.get_weights()


# --- one unit over time, for the story

# The time over which the unit of `flow` is solved, and the numbers of steps in which that is done; it is trained with TRAINED_STEPS.
TIME, STEPS, TRAINED_STEPS = 4.0, (1, 2, 4, 8, 16, 32, 64), 16
# At most so many moments of a path are kept besides its start.
MOMENTS = 16


@dataclass(frozen=True)
class Flow:
    """Spirals on their way through one trained unit with weights shared by all steps, in a plane of its 16 channels.

    Attributes:
        points: the test points, (N, 2), and
        label: the class of each, (N,).
        neighbours: two points that lie close together and are of different classes.
        paths: {integrator: {number of steps: (moments, N, 2)}}: first coordinate above 0 where the classifier says class 1.
        accuracy: the classifier's on these states, {integrator: {number of steps: (moments,)}}.
        apart: distance of the neighbours in all channels over that at the start, likewise.
    """

    points: np.ndarray
    label: np.ndarray
    neighbours: tuple[int, int]
    paths: dict[str, dict[int, np.ndarray]]
    accuracy: dict[str, dict[int, np.ndarray]]
    apart: dict[str, dict[int, np.ndarray]]


def flow(seed: int, count: int = 1000, shown: int = 120, channels: int = 16, updates: int = 600) -> Flow:
    """Train a Hamiltonian unit with symplectic Euler on spirals, and solve its ODE in other steps, by explicit Euler too."""
    keras.utils.set_random_seed(seed)
    points, unseen = problem("spirals", count, seed)
    point = keras.Input((2,))
    x = ChannelZeroPadding(channels // 2)(layers.Reshape((1, 1, 2))(point))
    h = TIME / TRAINED_STEPS
    unit = BLOCKS["hamiltonian"](
        h=h, unroll_length=TRAINED_STEPS, kernel_size=1, activation="tanh", integrator="symplectic_euler"
    )
    head = layers.Dense(2, activation="softmax")
    network = keras.Model(point, head(layers.Flatten()(unit(x))))
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, updates)), cross_entropy, jit_compile=True
    )
    for _ in range(updates):
        network.train_on_batch(points.x, points.label)
    kernel, b1, b2 = (ops.convert_to_numpy(weight).astype(float) for weight in unit.weights)
    dense = SimpleNamespace(activation=np.tanh, convolve=lambda x, K: x @ K, convolve_transposed=lambda x, K: x @ K.T)
    f = equations.hamiltonian(dense, kernel[0, 0], b1, b2)
    start = np.pad(unseen.x[:shown].astype(float), [(0, 0), (0, channels - 2)])
    states = {
        name: {
            steps: np.stack(
                [
                    np.concatenate(state, axis=-1)
                    for state in integrators.solve(name, tuple(np.split(start, 2, axis=-1)), f, TIME / steps, steps)
                ]
            )[:: max(1, steps // MOMENTS)]
            for steps in STEPS
        }
        for name in ("euler", "symplectic_euler")
    }
    weights, bias = (ops.convert_to_numpy(weight).astype(float) for weight in head.weights)
    across, offset = weights[:, 1] - weights[:, 0], bias[1] - bias[0]
    end = states["symplectic_euler"][TRAINED_STEPS][-1]
    rest = end - np.outer(end @ across, across) / (across @ across)
    along = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)[2][0]
    norm, label = np.linalg.norm(across), unseen.label[:shown]
    far = np.linalg.norm(start[:, None] - start, axis=-1) + 9.0 * (label[:, None] == label)
    first, second = (int(one) for one in np.unravel_index(far.argmin(), far.shape))

    def each(look: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
        return {name: {steps: look(one) for steps, one in found.items()} for name, found in states.items()}

    return Flow(
        unseen.x[:shown],
        label,
        (first, second),
        each(lambda x: np.stack([(x @ across + offset) / norm, x @ along], axis=-1)),
        each(lambda x: ((x @ across + offset > 0) == label).mean(axis=-1)),
        each(lambda x: np.linalg.norm(x[:, first] - x[:, second], axis=-1) / far[first, second]),
    )


def probabilities(network: keras.Model, x: np.ndarray) -> np.ndarray:
    """Probabilities of the classes at the points x, (…, 2) to (…, classes)."""
    found = ops.convert_to_numpy(network(ops.convert_to_tensor(x.reshape(-1, 2))))
    return found.reshape(*x.shape[:-1], -1)


def wrong(network: keras.Model, points: Points) -> np.ndarray:
    """Indices of the `points` that `network` puts into another class."""
    return np.flatnonzero(probabilities(network, points.x).argmax(axis=-1) != points.label)


def plane() -> np.ndarray:
    """A square grid of points around every problem, float32 (SIDE, SIDE, 2), rows from below."""
    side = np.linspace(-EDGE, EDGE, SIDE, dtype="float32")
    return np.stack(np.meshgrid(side, side), axis=-1)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier: how well it does; and for the pictures the indices of the test points that it gets wrong, and its
    probabilities on `plane()`, (SIDE, SIDE, classes)."""

    problem: str
    block: str
    integrator: str
    parameters: int
    train_accuracy: float
    test_accuracy: float
    wrong: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)

    @property
    def row(self) -> dict:
        """All but the pictures' part."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.repr}


def classifier(name: str, block: str, integrator: str, params: ToysParams, seed: int) -> Classifier:
    """Train one classifier on PROBLEMS[name] and look at it."""
    points, unseen = problem(name, params.points, seed)
    network = train(block, integrator, points, params, seed)
    accuracies = (round(1 - len(wrong(network, some)) / len(some.x), 6) for some in (points, unseen))
    picture = wrong(network, unseen), probabilities(network, plane())
    return Classifier(name, block, integrator, network.count_params(), *accuracies, *picture)


def table(outcomes: Sequence[Classifier]) -> list[dict]:
    """A row a pair of block and integrator, with its test accuracy on each problem in per cent."""
    rows: dict[tuple[str, str], dict] = {}
    for one in outcomes:
        start = {"block": one.block, "integrator": one.integrator, "parameters": one.parameters}
        row = rows.setdefault((one.block, one.integrator), start)
        row[f"{one.problem}, %"] = f"{100 * one.test_accuracy:.1f}"
    return list(rows.values())


def write(folder: Path, outcomes: Sequence[Classifier]) -> None:
    """Write `toys.json`, a row a classifier, to `folder`."""
    files.write_json(Path(folder) / "toys.json", [one.row for one in outcomes])
