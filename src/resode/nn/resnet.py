"""He et al.'s residual networks for CIFAR-10, the baseline: 20, 32 or 56 layers with 0.27, 0.46 or 0.85 million parameters."""

from typing import Any

import keras
from keras import layers

from resode.nn.blocks import ChannelZeroPadding

CHANNELS = (16, 32, 64)


def build(
    depth: int, l2: float = 5e-5, classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3)
) -> keras.Model:
    """Build ResNet-`depth`, uncompiled; its initial weights follow from `keras.utils.set_random_seed`.

        stem    3×3 convolution to 16 channels, batch normalization, ReLU
        stages  three of n blocks on 16, 32 and 64 channels, the first block of the second and third with stride 2
        block   x⁺ = ReLU(S x + BN(K₂ ReLU(BN(K₁ x)))), K 3×3 convolutions without bias; S is the identity, and with stride 2
                every other pixel and zero channels appended (their option A, which has no parameters)
        head    average over what is left of the image, softmax

    The layers are the paper's, and so are the initial kernels (normal, standard deviation √(2 / fan_in), here truncated at two
    deviations). Keras' own are the batch normalization's ε = 1e-3 and momentum 0.99 and the dense layer's initial weights (Glorot's);
    images are divided by 128, as the post's are. Its training is the run `resnet20` of runs.yaml: weight decay 1e-4, which is l2 = 5e-5 since the gradient of l2 K² is 2 l2 K;
    batch 128 for 64,000 iterations, here whole epochs; 4 zeros on every side and random crops. L2 is on kernels alone.

    Source: K. He et al. (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2.

    Args:
        depth: number of layers, 6 n + 2: 20, 32, 44, 56, …
        l2: factor of the penalty on every kernel, half the weight decay.
        classes: number of classes.
        input_shape: (height, width, colours) of an image.

    Returns:
        A model from images (batch, *input_shape) to class probabilities (batch, classes), float32.

    Raises:
        ValueError: no whole number of blocks makes `depth`.

    Example:
        >>> build(20).count_params()
        271098
    """
    blocks = blocks_of_a_stage(depth)
    image = keras.Input(input_shape, name="image")
    x = _convolution(image, CHANNELS[0], 1, l2, "stem")
    x = layers.Activation("relu", name="stem_activation")(x)
    for block in range(3 * blocks):
        stage, within = divmod(block, blocks)
        x = _block(x, CHANNELS[stage], 2 if stage and not within else 1, l2, f"block{block + 1}")
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="head_pool")(x)
    return keras.Model(image, classifier(x, classes, l2), name=f"resnet{depth}")


def blocks_of_a_stage(depth: int) -> int:
    """The number n of blocks in each of three stages that make 6 n + 2 layers.

    Raises:
        ValueError: no whole number of blocks makes `depth`.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth must be 6 n + 2 with n of at least 1. Received: depth={depth}")
    return blocks


def classifier(x: Any, classes: int, l2: float) -> Any:
    """Class probabilities of the features x, (batch, n)."""
    # They stay in float32 under mixed precision: the loss takes their logarithm.
    return layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=keras.regularizers.L2(l2),
        dtype="float32",
        name="head_softmax",
    )(x)


def _block(x: Any, channels: int, stride: int, l2: float, name: str) -> Any:
    shortcut = x
    if stride > 1:
        # One pixel of each 2 × 2.
        shortcut = layers.AveragePooling2D(1, stride, data_format="channels_last", name=f"{name}_subsampling")(x)
        shortcut = ChannelZeroPadding(channels // x.shape[-1], name=f"{name}_channels")(shortcut)
    x = _convolution(x, channels, stride, l2, name, 1)
    x = layers.Activation("relu", name=f"{name}_activation1")(x)
    x = _convolution(x, channels, 1, l2, name, 2)
    x = layers.Add(name=f"{name}_sum")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_activation2")(x)


def _convolution(x: Any, channels: int, stride: int, l2: float, name: str, number: int | str = "") -> Any:
    x = convolution(x, channels, 3, stride, l2, f"{name}_convolution{number}")
    return layers.BatchNormalization(name=f"{name}_normalization{number}")(x)


def convolution(
    x: Any, channels: int, size: int, stride: int, l2: float, name: str, initializer: Any = "he_normal"
) -> Any:
    """A convolution without bias that pads with zeros."""
    return layers.Conv2D(
        channels,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        kernel_regularizer=keras.regularizers.L2(l2),
        data_format="channels_last",
        name=name,
    )(x)


def activated(x: Any, name: str) -> Any:
    """ReLU(BN(x))."""
    x = layers.BatchNormalization(name=f"{name}_normalization")(x)
    return layers.Activation("relu", name=f"{name}_activation")(x)
