"""Chang et al.'s Hamiltonian network for CIFAR-10, of 38 or 74 layers with 0.19 or 0.43 million parameters.

Sources: B. Chang et al. (2017), "Reversible Architectures for Arbitrarily Deep Residual Neural Networks", arXiv:1709.03698, and the authors'
code, whose layers these are (changebo/revnet-public: hamiltonian_model.py, resnet_model.py and hamiltonian-38 of cifar_configs.py at
commit 881ddfd; hamiltonian-74 of cifar_configs.py at 689054c).
"""

from typing import Any

import keras
from keras import layers, ops

from resode.nn import resnet
from resode.nn.blocks import INITIALIZERS, TwoLayerHamiltonianConv2D

CHANNELS = (32, 64, 112)
STEP = 0.1


def build(
    depth: int,
    l2: float = 1e-4,
    classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    convolution: str = "auto",
) -> keras.Model:
    """Build the network of `depth` layers, uncompiled; its initial weights follow from `keras.utils.set_random_seed`.

        stem    3×3 convolution to 32 channels, batch normalization, ReLU
        units   three stages of n, each unit one step of y⁺ = y + h K₁ᵀσ(K₁ z + b₁), z⁺ = z − h K₂ᵀσ(K₂ y⁺ + b₂) with h = 0.1, σ = ReLU
                and weights of its own
        between after the first unit of the second and of the third stage 2×2 average pooling, and zero channels on both sides of those of
                y and of z, to 64 and to 112 in all: so n + 1 units have 32 channels, n have 64 and n − 1 have 112
        head    batch normalization, ReLU, average over what is left of the image, softmax

    Differences: the authors' code also adds a bias to the input of every K but the first one; their paper does not, and neither does this.
    A later version of it penalizes differences of neighbouring kernels, which this does not. Initial kernels have the variance 2 / fan_in,
    the stem's too, where the code has 2 / fan_out.

    Args:
        depth: number of layers, 12 n + 2: 38, 74, …
        l2: factor of the penalty on every kernel, half the weight decay.
        classes: number of classes.
        input_shape: (height, width, colours) of an image.
        convolution: the way to compute the units' convolutions, see `blocks.ODEConv2D`.

    Returns:
        A model from images (batch, *input_shape) to class probabilities (batch, classes), float32.

    Raises:
        ValueError: no whole number n makes `depth`.

    Example:
        >>> build(74).count_params()
        428826
    """
    number, rest = divmod(depth - 2, 12)
    if rest or number < 1:
        raise ValueError(f"depth must be 12 n + 2 with n of at least 1. Received: depth={depth}")
    image = keras.Input(input_shape, name="image")
    initializer = INITIALIZERS["keras2_he_normal"]
    x = resnet.convolution(image, CHANNELS[0], 3, 1, l2, "stem_convolution", initializer)
    x = resnet.activated(x, "stem")
    for unit in range(3 * number):
        x = TwoLayerHamiltonianConv2D(
            h=STEP,
            unroll_length=1,
            integrator="symplectic_euler",
            kernel_regularizer=keras.regularizers.L2(l2),
            convolution=convolution,
            name=f"unit{unit + 1}",
        )(x)
        stage, within = divmod(unit, number)
        if stage and not within:
            x = layers.AveragePooling2D(2, data_format="channels_last", name=f"unit{unit + 1}_pool")(x)
            x = _grown(x, CHANNELS[stage])
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="head_pool")(resnet.activated(x, "head"))
    return keras.Model(image, resnet.classifier(x, classes, l2), name=f"hamiltonian{depth}")


def _grown(x: Any, channels: int) -> Any:
    """`x` with as many zero channels before those of y, and those of z, as after them."""
    margin = (channels - x.shape[-1]) // 4
    halves = (ops.pad(half, [[0, 0]] * 3 + [[margin, margin]]) for half in ops.split(x, 2, axis=-1))
    return ops.concatenate(list(halves), axis=-1)
