"""The layers: their numbers, their errors, and the habits of a Keras layer."""

import keras
import numpy as np
import pytest
import scipy.stats

from resode.base import paths
from resode.nn.blocks import BLOCKS, INITIALIZERS, ChannelZeroPadding, HamiltonianConv2D
from units import array, built, images

pytestmark = pytest.mark.jax


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 7])
def test_transposed_convolution_is_the_exact_adjoint(kernel_size):
    layer = built("hamiltonian", 6, (7, 5), kernel_size=kernel_size)
    y, z = images(2, 7, 5, 3, seed=2), images(2, 7, 5, 3, seed=3)
    left = np.vdot(array(layer.convolve(z, layer.kernel)).astype("float64"), y)
    right = np.vdot(z, array(layer.convolve_transposed(y, layer.kernel)).astype("float64"))
    assert left == pytest.approx(right, rel=1e-5, abs=1e-5)
    assert abs(left) > 0.1


def test_unrolled_steps_share_one_kernel_and_its_penalty_counts_once():
    short, long = (
        built("hamiltonian", 6, (7, 5), unroll_length=1),
        built("hamiltonian", 6, (7, 5), unroll_length=5, kernel_regularizer=keras.regularizers.L2(0.1)),
    )
    assert short.count_params() == long.count_params() == 9 * 3 * 3 + 6
    long(images(1, 7, 5, 6))
    assert [float(loss) for loss in long.losses] == pytest.approx([0.1 * np.sum(long.get_weights()[0] ** 2)])


@pytest.mark.parametrize("name", ["keras2_he_normal", "he_normal"])
@pytest.mark.jax("slow")
def test_biases_start_at_zero_and_the_kernel_as_the_initializer_has_it(name):
    keras.utils.set_random_seed(0)
    layer = HamiltonianConv2D(kernel_initializer=INITIALIZERS[name])
    layer.build((None, 4, 4, 512))
    kernel, b1, b2 = layer.get_weights()
    assert not b1.any() and not b2.any()
    # Keras 2.1.6: scale = 2 / fan_in, truncated_normal(0, stddev=√scale), which drops what is beyond two deviations. Keras 3
    # makes the deviation larger, so that √scale is left of it.
    deviation = np.sqrt(2 / (9 * 256))
    if name == "he_normal":
        deviation /= scipy.stats.truncnorm.std(-2, 2)
    expected = scipy.stats.truncnorm(-2, 2, scale=deviation)
    assert kernel.mean() == pytest.approx(0, abs=4 * expected.std() / np.sqrt(kernel.size))
    assert kernel.std() == pytest.approx(expected.std(), rel=0.005)
    assert 1.99 * deviation < np.abs(kernel).max() <= 2.00001 * deviation
    assert scipy.stats.kstest(kernel.ravel(), expected.cdf).pvalue > 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("h", 0), ("h", float("nan")), ("h", float("inf")), ("h", "0.1"), ("h", True), ("unroll_length", 0), ("unroll_length", 2.5),
        ("unroll_length", True), ("kernel_size", 0), ("strides", 2), ("padding", "valid"), ("padding", 0),
    ],
)  # fmt: skip
def test_layer_refuses_an_argument_and_names_it(name, value):
    layer = ChannelZeroPadding if value == 0 and name == "padding" else HamiltonianConv2D
    with pytest.raises(ValueError, match=f"^{name} must be"):
        layer(**{name: value})


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_channel_padding_appends_zeros(padding):
    x = images(2, 4, 3, 6)
    padded = array(ChannelZeroPadding(padding=padding)(x))
    assert padded.shape == ChannelZeroPadding(padding=padding).compute_output_shape(x.shape)
    np.testing.assert_array_equal(padded[..., :6], x)
    assert not padded[..., 6:].any()


OTHER = {"h": 0.2, "unroll_length": 2, "kernel_size": 5, "weights_in_time": "free", "smoothness": 0.1}


@pytest.mark.jax("slow")
@pytest.mark.parametrize(
    "layer",
    [
        *(block(**OTHER, kernel_initializer="glorot_uniform") for block in BLOCKS.values()),
        HamiltonianConv2D(kernel_regularizer=keras.regularizers.L2(0.01), activation=None),
        BLOCKS["antisymmetric"](gamma=0.25),
        ChannelZeroPadding(padding=3),
    ],
)
def test_layer_survives_its_configuration(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).get_config() == config


@pytest.mark.jax("slow")
@pytest.mark.parametrize("page", ["README.md", "docs/layer.md"])
def test_examples_run(page):
    text = (paths.ROOT / page).read_text(encoding="utf-8")
    example = {}
    for block in text.split("```python\n")[1:]:
        exec(block.split("```")[0], example)
    assert example["network"].output_shape == (None, 10)
    assert example["network"](images(2, 32, 32, 3)).shape == (2, 10)
