"""The papers' own networks: their numbers, their sizes, their training, and what is refused."""

import keras
import numpy as np
import pytest

from resode.base.errors import InputError
from resode.config import parameters
from resode.nn import hamiltonian_network, lm_resnet, model, resnet
from units import array, images

pytestmark = pytest.mark.jax("slow")

NETWORKS = ("preresnet20", "lm_resnet20", "lm_resnet20_stochastic", "hamiltonian38")


def built(architecture, classes=3, input_shape=(8, 8, 3)):
    return model.build(parameters.load({"model": {"architecture": architecture}}).model, classes, input_shape)


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    """A network whose weights are all random, so that none goes unnoticed."""
    found, random = built(request.param), np.random.default_rng(0)
    for weight in found.weights:
        if weight.name == "moving_variance":
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif len(weight.shape) == 4:
            weight.assign(random.normal(0, np.sqrt(1 / np.prod(weight.shape[:3])), weight.shape))
        elif weight.name != "seed_generator_state":
            weight.assign(random.normal(0.5, 0.3, weight.shape))
    return request.param, found


# --- the papers' equations in float64 with NumPy alone


class Forward:
    """The forward pass of a network at inference, from its weights by name."""

    def __init__(self, network):
        self.weights = {
            f"{layer.name}.{weight.name}": array(weight).astype("float64")
            for layer in network.layers
            for weight in layer.weights
        }

    def convolve(self, x, kernel, stride=1):
        size, (height, width) = len(kernel), x.shape[1:3]
        # TensorFlow's "same" padding: as many zeros as the last window needs, the odd one behind.
        need = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in (height, width)]
        x = np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in need), (0, 0)])
        out = np.zeros((len(x), -(-height // stride), -(-width // stride), kernel.shape[3]))
        for i, j in np.ndindex(size, size):
            out += x[:, i : i + height : stride, j : j + width : stride] @ kernel[i, j]
        return out

    def adjoint(self, x, kernel):
        return self.convolve(x, kernel[::-1, ::-1].swapaxes(2, 3))

    def activated(self, x, name):
        gamma, beta, mean, variance = (
            self.weights[f"{name}_normalization.{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return np.maximum((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0)

    def head(self, x):
        logits = self.activated(x, "head").mean(axis=(1, 2)) @ self.weights["head_softmax.kernel"]
        powers = np.exp(logits + self.weights["head_softmax.bias"])
        return powers / powers.sum(axis=1, keepdims=True)

    def resnet(self, x, depth, multistep):
        blocks = (depth - 2) // 6
        x, before = self.convolve(x, self.weights["stem_convolution.kernel"]), None
        for number in range(1, 3 * blocks + 1):
            stride = 2 if number in (blocks + 1, 2 * blocks + 1) else 1
            f = self.activated(x, f"block{number}_1")
            f = self.convolve(f, self.weights[f"block{number}_convolution1.kernel"], stride)
            f = self.convolve(self.activated(f, f"block{number}_2"), self.weights[f"block{number}_convolution2.kernel"])
            now = x
            if stride == 2:
                now = self.activated(x, f"block{number}_shortcut")
                now = self.convolve(now, self.weights[f"block{number}_shortcut_convolution.kernel"], 2)
            k = self.weights.get(f"block{number}_sum.k", 0.0)
            assert (k != 0) == (multistep and (number - 1) % blocks > 0)
            x = (1 - k) * now + (k * before if k else 0) + f
            before = now
        return self.head(x)

    def hamiltonian(self, x, depth):
        units = (depth - 2) // 12
        x = self.activated(self.convolve(x, self.weights["stem_convolution.kernel"]), "stem")
        for number in range(1, 3 * units + 1):
            K1, b1, K2, b2 = (self.weights[f"unit{number}.{name}"] for name in ("kernel1", "b1", "kernel2", "b2"))
            y, z = np.split(x, 2, axis=-1)
            y = y + 0.1 * self.adjoint(np.maximum(self.convolve(z, K1) + b1, 0), K1)
            z = z - 0.1 * self.adjoint(np.maximum(self.convolve(y, K2) + b2, 0), K2)
            for first, zeros in ((units + 1, 8), (2 * units + 1, 12)):
                if number == first:
                    y, z = (
                        np.pad(half.reshape(len(half), half.shape[1] // 2, 2, half.shape[2] // 2, 2, -1).mean((2, 4)),
                               [(0, 0)] * 3 + [(zeros, zeros)])
                        for half in (y, z)
                    )  # fmt: skip
            x = np.concatenate([y, z], axis=-1)
        return self.head(x)


def test_network_equals_its_equations(network):
    name, given = network
    x, forward = images(2, 8, 8, 3), Forward(given)
    lm = name.startswith("lm")
    expected = forward.hamiltonian(x, 38) if name == "hamiltonian38" else forward.resnet(x, 20, lm)
    assert expected.std(axis=0).max() > 1e-4
    np.testing.assert_allclose(array(given(x)), expected, rtol=1e-5, atol=1e-5)


# --- sizes


def trainable(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


@pytest.mark.parametrize(("depth", "theirs"), [(38, 189_978), (74, 429_690)])
def test_hamiltonian_network_has_the_authors_parameters(depth, theirs):
    """Counted from changebo/revnet-public: cifar_configs.py (filters 32, 32, 64, 112; 3 units a stage at commit 881ddfd, 6 at 689054c),
    resnet_model.py and hamiltonian_model.py at 881ddfd. It adds a bias to the input of each kernel but the first; the paper does not."""
    given, number = hamiltonian_network.build(depth), (depth - 2) // 12
    channels = [32] * (number + 1) + [64] * number + [112] * (number - 1)
    assert [unit.output.shape[-1] for unit in model.units(given)] == channels
    assert trainable(given) == theirs - (sum(channels) - 16)
    # A unit has two convolutions and their transposes; with stem and classifier they are the layers.
    assert 4 * len(channels) + 2 == depth


@pytest.mark.parametrize(("depth", "used"), [(20, 272_378), pytest.param(56, 855_674, marks=pytest.mark.slow)])
def test_resnets_have_the_authors_parameters(depth, used):
    """Counted from 2prime/LM-ResNet, MResNet.py with BasicBlock and 10 classes, without what its forward pass leaves unused: bn1,
    downsample1, and the k of the first block of each stage."""
    blocks = (depth - 2) // 6
    assert trainable(lm_resnet.build(depth, multistep=False, stochastic=False)) == used
    assert trainable(lm_resnet.build(depth, multistep=True, stochastic=True)) == used + 3 * (blocks - 1)
    stage = lambda first, c: 2 * first + 9 * first * c + 2 * c + 9 * c * c
    stages = sum(stage(first, c) + (blocks - 1) * stage(c, c) for first, c in ((16, 16), (16, 32), (32, 64)))
    shortcuts = (2 * 16 + 16 * 32) + (2 * 32 + 32 * 64)
    assert used == 9 * 3 * 16 + stages + shortcuts + 2 * 64 + 64 * 10 + 10


def test_k_starts_as_lu_et_als():
    found = [array(layer.k) for layer in built("lm_resnet56").layers if hasattr(layer, "k")]
    assert len(found) == 24 and len(set(map(float, found))) == 24
    assert min(found) >= -0.1 and max(found) <= 0 and np.ptp(found) > 0.05


# --- stochastic depth


def test_stochastic_depth_has_the_residuals_as_expectation():
    given = built("preresnet20_stochastic")
    survivals = [layer for layer in given.layers if isinstance(layer, lm_resnet.StochasticDepth)]
    # Linear from 0 at the first of 9 blocks, which has no layer for it, to 1 - p_L = 0.5 at the last.
    assert [layer.rate for layer in survivals] == pytest.approx([0.5 * block / 8 for block in range(1, 9)])
    # Checkpoints hold their draws by name, whatever else this process built.
    names = [{variable.path for variable in one.variables} for one in (given, built("preresnet20_stochastic"))]
    assert names[0] == names[1] and sum("seed" in name for name in names[0]) == 8
    last, x, draws = survivals[-1], images(4, 2, 2, 64), 400
    found = np.array([array(last(x, training=True)) for _ in range(draws)])
    dead = ~found.any(axis=(1, 2, 3, 4))
    # The whole batch lives or dies; 0.125 is five standard deviations.
    assert dead.mean() == pytest.approx(0.5, abs=0.125)
    np.testing.assert_allclose(found[~dead], np.broadcast_to(2 * x, found[~dead].shape), rtol=1e-6)
    np.testing.assert_allclose(found.mean(axis=0), x, atol=0.25 * np.abs(x).max())
    np.testing.assert_array_equal(array(last(x, training=False)), x)


# --- training, saving, the schema


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_training_step_changes_every_kernel(name):
    trained = built(name)
    trained.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    before = trained.get_weights()
    assert np.isfinite(trained.train_on_batch(images(4, 8, 8, 3), np.array([0, 1, 2, 0])))
    for weight, old in zip(trained.weights, before, strict=True):
        assert np.isfinite(array(weight)).all()
        # A block that was left out has L2 alone.
        assert (array(weight) != old).any() or weight.name != "kernel", weight.path


@pytest.mark.slow
def test_saved_network_predicts_the_same(network, tmp_path):
    _, saved = network
    x = images(2, 8, 8, 3)
    saved.save(tmp_path / "network.keras")
    np.testing.assert_array_equal(array(keras.saving.load_model(tmp_path / "network.keras")(x)), array(saved(x)))


@pytest.mark.parametrize(
    "name", ["preresnet21", "lm_resnet2", "resnet20_stochastic", "hamiltonian50", "resnet50", "preresnet9998"]
)
def test_other_depths_are_refused_with_what_there_is(name):
    said = f"model.architecture = '{name}': input should be units, resnet20, .*6 n \\+ 2"
    with pytest.raises(InputError, match=said):
        parameters.load({"model": {"architecture": name}})


@pytest.mark.parametrize(
    ("build", "argument", "words"),
    [
        (hamiltonian_network.build, 39, "depth must be 12 n . 2 with n of at least 1. Received: depth=39"),
        (resnet.build, 21, "depth=21"),
        (lm_resnet.StochasticDepth, 1.0, "rate must be at least 0 and below 1. Received: rate=1.0"),
    ],
)
def test_impossible_depths_and_rates_are_refused(build, argument, words):
    with pytest.raises(ValueError, match=words):
        build(argument)


@pytest.mark.parametrize(
    ("name", "value", "only"),
    [("backward", "recompute", "store"), ("backward", "reversible", "store"), ("weights_in_time", "free", "shared")],
)
def test_ways_that_the_papers_networks_have_not_are_refused(name, value, only):
    with pytest.raises(InputError, match=f"{name} {value} is for architecture units; hamiltonian38 takes {only}"):
        parameters.load({"model": {"architecture": "hamiltonian38", name: value}})
