"""The post's network: a convolutional stem, units that grow in channels, a linear classifier. The units are any block."""

from collections.abc import Collection
from functools import partial
from typing import Any

import keras
from keras import layers

from resode.config.schema import ARCHITECTURE, ModelParams
from resode.nn import hamiltonian_network, lm_resnet, resnet
from resode.nn.blocks import BLOCKS, INITIALIZERS, ChannelZeroPadding, ODEConv2D
from resode.ode.equations import ODES

STEM_KERNEL_SIZE = 7
# Parameters that are arguments of a unit, too.
_OF_A_UNIT = {
    "h", "unroll_length", "kernel_size", "activation", "integrator", "backward", "weights_in_time", "smoothness"
}  # fmt: skip
# Keras can be configured to put channels first; the Hamiltonian layers split the last axis.
CHANNELS_LAST = {"data_format": "channels_last"}


def build(
    params: ModelParams,
    classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    convolution: str | Collection[str] = "auto",
    penalize_units: bool = True,
) -> keras.Model:
    """Build the network, uncompiled; its initial weights follow from `keras.utils.set_random_seed`.

        stem    7×7 convolution to channels[0], batch normalization, ReLU
        units   one layer of BLOCKS[block] for each entry of channels, each of `unroll_length` steps of size h
        between 2×2 average pooling after the units in `pool_after`, zero channels where the next unit has more
        head    average over what is left of the image, softmax

    Source: S. Rome (2018), srome.github.io, and the notebook beside it. Other architectures are those of the papers, see `resnet`,
    `lm_resnet` and `hamiltonian_network`.

    Args:
        params: section `model` of params.yaml; `activation` is the units', the stem's is ReLU.
        classes: number of classes.
        input_shape: (height, width, colours) of an image.
        convolution: the way to compute the units' convolutions, see `blocks.ODEConv2D`; or the names of the units that compute
            them as products, the others directly (architecture units).
        penalize_units: whether the units' kernels have the l2 penalty that stem and head have; of architecture units alone.

    Returns:
        A model from images (batch, *input_shape) to class probabilities (batch, classes), float32.

    Example:
        >>> build(resode.config.parameters.load().model).count_params()
        3157914
    """
    if params.architecture != "units":
        family, depth, stochastic = ARCHITECTURE.fullmatch(params.architecture).groups()
        of_paper = {
            "resnet": resnet.build,
            "preresnet": partial(lm_resnet.build, multistep=False, stochastic=bool(stochastic)),
            "lm_resnet": partial(lm_resnet.build, multistep=True, stochastic=bool(stochastic)),
            "hamiltonian": partial(hamiltonian_network.build, convolution=convolution),
        }
        return of_paper[family](int(depth), l2=params.l2, classes=classes, input_shape=input_shape)
    image = keras.Input(input_shape, name="image")
    x = _stem(image, params)
    more = {"gamma": params.gamma} if ODES[params.block].antisymmetric else {}
    for unit, channels in enumerate(params.channels, start=1):
        x = _grow(x, channels, unit)
        x = BLOCKS[params.block](
            **params.model_dump(include=_OF_A_UNIT),
            kernel_initializer=INITIALIZERS[params.kernel_initializer],
            kernel_regularizer=_l2(params) if penalize_units else None,
            convolution=_way(convolution, name := f"unit{unit}"),
            name=name,
            **more,
        )(x)
        if unit in params.pool_after:
            x = layers.AveragePooling2D(2, **CHANNELS_LAST, name=f"unit{unit}_pool")(x)
    return keras.Model(image, _head(x, params, classes), name="resode")


def units(network: keras.Model) -> list[ODEConv2D]:
    """The layers of `network` that solve an ODE, from the input to the output."""
    return [layer for layer in network.layers if isinstance(layer, ODEConv2D)]


def winograd_units(network: keras.Model) -> list[str]:
    """The names of the units whose convolutions are matrix products, see `winograd`."""
    return [unit.name for unit in units(network) if unit.uses_winograd]


def _way(convolution: str | Collection[str], unit: str) -> str:
    if isinstance(convolution, str):
        return convolution
    return "winograd" if unit in convolution else "direct"


def _stem(x: Any, params: ModelParams) -> Any:
    margin = STEM_KERNEL_SIZE // 2
    x = layers.ZeroPadding2D(margin, **CHANNELS_LAST, name="stem_padding")(x)
    x = layers.Conv2D(
        params.channels[0],
        STEM_KERNEL_SIZE,
        padding="valid",
        kernel_initializer=INITIALIZERS[params.kernel_initializer],
        kernel_regularizer=_l2(params),
        **CHANNELS_LAST,
        name="stem_convolution",
    )(x)
    x = layers.BatchNormalization(name="stem_normalization")(x)
    return layers.Activation("relu", name="stem_activation")(x)


def _grow(x: Any, channels: int, unit: int) -> Any:
    factor = channels // x.shape[-1]
    return ChannelZeroPadding(factor, name=f"unit{unit}_channels")(x) if factor > 1 else x


def _head(x: Any, params: ModelParams, classes: int) -> Any:
    x = layers.AveragePooling2D(tuple(x.shape[1:3]), **CHANNELS_LAST, name="head_pool")(x)
    return resnet.classifier(layers.Flatten(**CHANNELS_LAST, name="head_flatten")(x), classes, params.l2)


def _l2(params: ModelParams) -> keras.regularizers.Regularizer:
    return keras.regularizers.L2(params.l2)
