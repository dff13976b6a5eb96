"""Every block with every integrator: its numbers, its gradients, its errors, and the habits of a Keras layer."""

import keras
import numpy as np
import pytest

from resode.analysis import stability
from resode.base.errors import InputError
from resode.config import parameters
from resode.nn import blocks, model, resnet
from resode.ode import equations, integrators
from units import ALL, PAIRS, STEPS, H, adjoint, array, built, correlate, covering, gradients, images, loss, relu

pytestmark = pytest.mark.jax

# --- the formulas of the papers, in float64 with SciPy's convolutions, step by step


def rates(block, weights, activation):
    """The right-hand side of the whole state (y, z), (x,) or (v, x), as one function of it."""
    if block == "hamiltonian":
        K, b1, b2 = weights
        return lambda y, z: (activation(correlate(z, K) + b1), activation(-adjoint(y, K) + b2))
    if block == "one_bias_hamiltonian":
        K, b = weights
        return lambda y, z: (activation(correlate(z, K) + b), -activation(adjoint(y, K) + b))
    if block == "two_layer_hamiltonian":
        K1, b1, K2, b2 = weights
        return lambda y, z: (
            adjoint(activation(correlate(z, K1) + b1), K1), -adjoint(activation(correlate(y, K2) + b2), K2)
        )  # fmt: skip
    if block == "antisymmetric":
        K, b = weights
        return lambda x: (activation(correlate(x, K) - adjoint(x, K) - 1e-4 * x + b),)
    if block == "second_order":
        K, b = weights
        return lambda v, x: (-adjoint(activation(correlate(x, K) + b), K), v)
    assert block in ("residual", "linear_multistep"), f"give block {block} its formula here"
    K1, b1, K2, b2 = weights[:4]
    return lambda x: (correlate(activation(correlate(x, K1) + b1), K2) + b2,)


def add(x, h, dx):
    return tuple(a + h * b for a, b in zip(x, dx, strict=True))


def reference(block, integrator, x, weights_of_step, activation=np.tanh, h=H, steps=STEPS):
    """What the unit should return, by the method's formula; `weights_of_step(j)` are the weights of step j."""
    x = x.astype("float64")
    half = x.shape[-1] // 2
    halves = block in ("hamiltonian", "one_bias_hamiltonian", "two_layer_hamiltonian")
    state = (x[..., :half], x[..., half:]) if halves else (0 * x, x) if block == "second_order" else (x,)
    before = None
    for j in range(steps):
        weights = weights_of_step(j)
        F = rates(block, weights, activation)
        if block == "linear_multistep" and j:
            k, (now,), (old,) = weights[4], state, before
            new = ((1 - k) * now + k * old + h * F(now)[0],)
        elif integrator == "leapfrog":
            force, now = F(*state)[0], state[1]
            new = (state[0], now + h**2 / 2 * force if j == 0 else 2 * now - before[1] + h**2 * force)
        elif integrator == "midpoint" and j:
            new = add(before, 2 * h, F(*state))
        elif integrator == "symplectic_euler":
            y, z = state
            y = y + h * F(y, z)[0]
            new = (y, z + h * F(y, z)[1])
        elif integrator == "symplectic_euler_z_first":
            y, z = state
            z = z + h * F(y, z)[1]
            new = (y + h * F(y, z)[0], z)
        elif integrator == "verlet":
            y, z = state
            y = y + h / 2 * F(y, z)[0]
            z = z + h * F(y, z)[1]
            new = (y + h / 2 * F(y, z)[0], z)
        elif integrator == "rk4":
            k1 = F(*state)
            k2 = F(*add(state, h / 2, k1))
            k3 = F(*add(state, h / 2, k2))
            k4 = F(*add(state, h, k3))
            new = add(add(state, h / 6, add(k1, 1, k4)), h / 3, add(k2, 1, k3))
        else:
            new = add(state, h, F(*state))
        before, state = state, new
    return np.concatenate(state, axis=-1) if halves else state[-1]


# The formulas that `reference` has. What is added to INTEGRATORS has its order of accuracy tested, and here its gradients.
WRITTEN = ("euler", "symplectic_euler", "symplectic_euler_z_first", "verlet", "midpoint", "leapfrog", "rk4")


@pytest.mark.parametrize(("block", "integrator"), [pair for pair in PAIRS if pair[1] in WRITTEN])
def test_unit_equals_its_formula(block, integrator):
    x = images(2, 6, 5, 4)
    layer = built(block, integrator=integrator)
    expected = reference(block, integrator, x, lambda j: layer.get_weights())
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-5, atol=1e-5)
    free = built(block, integrator=integrator, weights_in_time="free", activation="relu")
    weights = free.get_weights()

    def of_step(j):
        # Lu et al.'s k exists from the second step on.
        return [weight[max(j - 1, 0)] if weight.shape == (STEPS - 1,) else weight[j] for weight in weights]

    expected = reference(block, integrator, x, of_step, activation=relu)
    np.testing.assert_allclose(array(free(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("activation", "function"), [("relu", relu), ("tanh", np.tanh), (None, lambda x: x)])
@pytest.mark.parametrize(("h", "steps", "kernel_size"), [(0.15, 4, 3), (0.4, 1, 5), (0.05, 2, 1)])
def test_unit_equals_the_posts_update_equations(activation, function, h, steps, kernel_size):
    layer = built("hamiltonian", 6, (7, 5), h=h, unroll_length=steps, kernel_size=kernel_size, activation=activation)
    x = images(2, 7, 5, 6)
    expected = reference("hamiltonian", "euler", x, lambda j: layer.get_weights(), function, h, steps)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("activation", "least"), [("tanh", 0.05), ("relu", 0.3)])
def test_haber_and_ruthottos_step_is_not_the_posts(activation, least):
    """Four steps of Meganet's HamiltonianNN, and how far the post's ODE with equal weights is from them."""
    x = images(2, 6, 5, 4)
    given = {"unroll_length": 4, "activation": activation}
    theirs = built("one_bias_hamiltonian", integrator="symplectic_euler_z_first", **given)
    posts = built("hamiltonian", integrator="symplectic_euler", **given)
    K, b = theirs.get_weights()
    posts.set_weights([K, b, b])
    assert np.abs(array(posts(x)) - array(theirs(x))).max() > least


def test_antisymmetric_unit_takes_gamma():
    x = images(2, 6, 5, 4)
    layer, damped = built("antisymmetric", unroll_length=1), built("antisymmetric", unroll_length=1, gamma=0.5)
    K, b = layer.get_weights()
    expected = x + H * np.tanh(correlate(x, K) - adjoint(x, K) - 0.5 * x + b)
    np.testing.assert_allclose(array(damped(x)), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(array(layer(x)) - array(damped(x))).max() > 0.01


class TwoStep(keras.layers.Layer):
    """A step of linear multistep from x to 129/128 x with f = 0, then the mean of the squares in float32."""

    def build(self, shape):
        self.k = self.add_weight(name="k", shape=(), initializer="zeros")

    def call(self, x):
        k = keras.ops.cast(self.k, x.dtype)
        _, new = integrators.linear_multistep((x, x * 1.0078125), (lambda _: 0 * x,), 1.0, k)
        return keras.ops.mean(keras.ops.cast(new, "float32") ** 2, axis=-1)


def test_gradient_of_k_does_not_cancel_in_bfloat16():
    """The difference of two sums in bfloat16 is off by half here."""
    layer, x = TwoStep(dtype="mixed_bfloat16"), np.ones((1, 100), "float32")
    layer.build(x.shape)
    pattern = np.random.default_rng(7).normal(size=1)[0]
    (slope,) = gradients(layer, x)
    new = 1.0078125
    np.testing.assert_allclose(slope, pattern * np.cos(new**2) * 2 * new * (1 - new), rtol=0.02)


# --- gradients


@pytest.mark.parametrize(
    ("block", "integrator", "weights_in_time"),
    covering([(*pair, weights) for pair in PAIRS for weights in ("shared", "free")]),
)
def test_gradients_are_those_of_finite_differences(block, integrator, weights_in_time):
    layer, x = built(block, size=(4, 3), integrator=integrator, weights_in_time=weights_in_time), images(2, 4, 3, 4)
    found, start = gradients(layer, x), layer.get_weights()
    generator, epsilon = np.random.default_rng(3), 1e-2
    for number, weight in enumerate(start):
        direction = generator.normal(size=weight.shape).astype("float32")
        direction /= np.linalg.norm(direction)

        def at(t, number=number, direction=direction):
            moved = list(start)
            moved[number] = moved[number] + t * direction
            layer.set_weights(moved)
            return float(loss(layer, x))

        # Fourth order, so that a step large enough for float32 is small enough for the formula.
        slope = (8 * (at(epsilon) - at(-epsilon)) - at(2 * epsilon) + at(-2 * epsilon)) / (12 * epsilon)
        scale = max(1.0, float(np.linalg.norm(found[number])))
        assert float(np.vdot(found[number], direction)) == pytest.approx(slope, abs=2e-3 * scale), number


# --- weights


def test_free_weights_start_equal_and_cost_parameters():
    shared, free = (blocks.HamiltonianConv2D(unroll_length=5, weights_in_time=one) for one in ("shared", "free"))
    for layer in (shared, free):
        layer.build((None, 4, 4, 32))
    kernel = free.get_weights()[0]
    assert kernel.shape == (5, 3, 3, 16, 16) and free.count_params() == 5 * shared.count_params()
    assert (kernel == kernel[0]).all()
    assert kernel.std() == pytest.approx(0.8796 * np.sqrt(2 / (9 * 16)), rel=0.05)


def test_two_kernels_of_a_unit_start_differently():
    layer = blocks.TwoLayerHamiltonianConv2D()
    layer.build((None, 4, 4, 8))
    assert not np.array_equal(array(layer.kernel1), array(layer.kernel2))


def test_smoothness_is_haber_and_ruthottos_penalty():
    penalties = {"smoothness": 0.7, "kernel_regularizer": keras.regularizers.L2(0.1)}
    layer = built("two_layer_hamiltonian", weights_in_time="free", **penalties)
    layer(images(1, 6, 5, 4))
    # Kernels have L2 besides.
    expected = [
        0.7 / 2 * H * sum(np.sum(((one[j + 1] - one[j]) / H) ** 2) for j in range(STEPS - 1))
        + (0.1 * np.sum(one**2) if one.ndim == 5 else 0)
        for one in layer.get_weights()
    ]
    assert len(expected) == 4 and all(expected)
    assert [float(one) for one in layer.losses] == pytest.approx(expected, rel=1e-5)
    assert built("hamiltonian", smoothness=0.7).losses == []


def test_starts_of_leapfrog_are_as_far_apart_as_the_docstring_says():
    h, steps = 0.5, 4

    def end(before):
        now = 1.0
        for _ in range(steps):
            before, now = now, (2 - h**2) * now - before
        return now

    # From rest, where x_{-1} = x_1 = 1 - h^2 / 2.
    found = [f"{value:.3f}".replace("-", "−") for value in (end(1 - h**2 / 2), end(0.0), end(1.0), np.cos(h * steps))]
    said = "four steps of h = 0.5 give {}, {} and {} in this order; cos 2 = {}".format(*found)
    assert said in blocks.SecondOrderConv2D.__doc__


# --- errors


def test_docstrings_of_layers_and_integrators_have_the_equations_of_the_figures():
    assert list(blocks.BLOCKS) == list(equations.ODES)
    documented = [
        (ode, blocks.BLOCKS[name].__doc__ + (ode.right_hand_side.__doc__ or "")) for name, ode in equations.ODES.items()
    ]
    documented += [(one, one.method.__doc__) for one in integrators.INTEGRATORS.values()]
    for one, text in documented:
        lines = ["".join(line.split()) for line in one.equations]
        assert lines and all(line in "".join(text.split()) for line in lines), one


@pytest.mark.parametrize(("block", "integrator"), [pair for pair in ALL if pair not in PAIRS])
def test_pairs_without_sense_are_refused_with_a_reason(block, integrator):
    with pytest.raises(ValueError, match="halves|x'' = f|must be euler"):
        blocks.BLOCKS[block](integrator=integrator)
    with pytest.raises(InputError, match=f"^params.yaml: model: block {block}.*(halves|x'' = f|steps of its own)"):
        parameters.load({"model": {"block": block, "integrator": integrator}})


@pytest.mark.parametrize(
    ("block", "arguments", "message"),
    [
        ("hamiltonian", {"integrator": "simpson"}, "integrator must be one of euler, "),
        ("hamiltonian", {"weights_in_time": "none"}, "weights_in_time must be one of shared, free"),
        ("hamiltonian", {"smoothness": -1}, "smoothness must be a finite number of at least 0"),
        ("antisymmetric", {"gamma": float("nan")}, "gamma must be a finite number of at least 0"),
        ("linear_multistep", {"unroll_length": 1}, "unroll_length must be at least 2"),
    ],
)
def test_block_refuses_an_argument_and_names_it(block, arguments, message):
    with pytest.raises(ValueError, match=message):
        blocks.BLOCKS[block](**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": "hamiltonia"}, "model.block = 'hamiltonia': input should be 'hamiltonian', "),
        ({"integrator": "simpson"}, "model.integrator = 'simpson': input should be 'euler', "),
        ({"block": "linear_multistep", "unroll_length": 1}, "unroll_length of at least 2"),
        ({"gamma": -1.0}, "model.gamma = -1.0"),
    ],
)
def test_schema_refuses_a_model_and_names_the_key(change, message):
    with pytest.raises(InputError, match=message):
        parameters.load({"model": change})


def test_blocks_without_halves_take_an_odd_number_of_channels():
    assert parameters.load({"model": {"block": "antisymmetric", "channels": [5], "pool_after": []}})
    assert built("second_order", channels=3)(images(1, 6, 5, 3)).shape == (1, 6, 5, 3)
    for channels in (3, None):
        with pytest.raises(ValueError, match="channels of the input must be known and even"):
            blocks.HamiltonianConv2D().build((None, 8, 8, channels))


def test_a_new_block_is_an_equation_and_the_shapes_of_its_weights(monkeypatch):
    """CONTRIBUTING's way, with the block x' = −x + b."""

    def decay(ops, b):
        return (lambda x: b - x,)

    def shapes(kernel_size, channels):
        return {"b": (channels,)}

    class DecayConv2D(blocks.ODEConv2D):
        block = "decay"

    ode = equations.ODE(decay, ("x' = −x + b",), integrators.FIRST_ORDER, shapes, (0,))
    monkeypatch.setitem(equations.ODES, "decay", ode)
    image = keras.Input((8, 8, 2))
    new = keras.Model(image, DecayConv2D(h=0.5, unroll_length=3)(image))
    x = images(1, 8, 8, 2)
    np.testing.assert_allclose(new(x), 0.5**3 * x, rtol=1e-6)
    # No eigenvalue on the imaginary axis was declared, so that there is no verdict.
    (unit,) = stability.unit_table(new, x)
    assert unit.inside == {} and unit.step_amplification is None and unit.measured == pytest.approx(0.5**3, rel=1e-3)


# --- Keras' habits


def network(block, weights_in_time="shared"):
    small = {"channels": [4, 8], "pool_after": [1], "unroll_length": 2}
    chosen = parameters.load({"model": {"block": block, "weights_in_time": weights_in_time, **small}})
    return model.build(chosen.model, 3, (8, 8, 3))


@pytest.mark.jax("slow")
@pytest.mark.parametrize("block", blocks.BLOCKS)
def test_saved_network_predicts_the_same(block, tmp_path):
    saved, x = network(block, weights_in_time="free"), images(2, 8, 8, 3)
    saved.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(saved(x)))


# Their gradients have tests of their own.
ONE_BLOCK = [pytest.param(block, marks=[] if block == "hamiltonian" else pytest.mark.slow) for block in blocks.BLOCKS]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("block", ONE_BLOCK)
def test_training_step_changes_every_weight(block, policy, precision):
    precision(policy)
    check_training_step(network(block, weights_in_time="free"))


def check_training_step(trained):
    trained.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    before = trained.get_weights()
    assert np.isfinite(trained.train_on_batch(images(4, 8, 8, 3), np.array([0, 1, 2, 0])))
    for name, old, new in zip([weight.path for weight in trained.weights], before, trained.get_weights(), strict=True):
        assert np.isfinite(new).all() and (new != old).any(), name


@pytest.mark.parametrize("block", blocks.BLOCKS)
def test_mixed_precision_computes_low_and_keeps_weights_high(block, precision):
    precision("mixed_bfloat16")
    layer, x = built(block, weights_in_time="free"), images(1, 6, 5, 4)
    result = layer(x)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    full = built(block, weights_in_time="free", dtype="float32")(x)
    np.testing.assert_allclose(array(keras.ops.cast(result, "float32")), array(full), atol=0.15)


# --- He et al.'s networks


@pytest.mark.parametrize(
    ("depth", "trainable"),
    [
        (20, 269_722),
        pytest.param(32, 464_154, marks=pytest.mark.slow),
        pytest.param(56, 853_018, marks=pytest.mark.slow),
    ],
)
@pytest.mark.jax("slow")
def test_resnet_has_the_published_number_of_parameters(depth, trainable):
    built_network = resnet.build(depth)
    assert sum(int(np.prod(weight.shape)) for weight in built_network.trainable_weights) == trainable
    convolutions = [layer for layer in built_network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) + 1 == depth


@pytest.mark.jax("slow")
def test_resnet_shortcut_takes_every_other_pixel_and_appends_zeros():
    layer = resnet.build(20, input_shape=(8, 8, 3)).get_layer
    shortcut = keras.Model(layer("block3_activation2").output, layer("block4_channels").output)
    x = images(1, 8, 8, 16)
    expected = np.concatenate([x[:, ::2, ::2], np.zeros((1, 4, 4, 16))], axis=-1)
    np.testing.assert_array_equal(array(shortcut(x)), expected)


@pytest.mark.slow
def test_resnet_is_one_line_and_trains():
    chosen = parameters.load({"model": {"architecture": "resnet20"}}).model
    built_network = model.build(chosen, 3, (8, 8, 3))
    assert built_network.name == "resnet20" and model.units(built_network) == []
    check_training_step(built_network)
