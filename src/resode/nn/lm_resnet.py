"""Lu et al.'s linear multistep ResNet for CIFAR-10, and its base, the ResNet with pre-activation; both with stochastic depth or without.

Sources: Y. Lu et al. (2017), "Beyond Finite Layer Neural Networks: Bridging Deep Architectures and Numerical Differential Equations",
arXiv:1710.10121, and their code, which the layers, k and the death rates follow (2prime/LM-ResNet, MResNet.py); K. He et al. (2016),
"Identity Mappings in Deep Residual Networks", arXiv:1603.05027; G. Huang et al. (2016), "Deep Networks with Stochastic Depth",
arXiv:1603.09382.
"""

from typing import Any

import keras
from keras import layers

from resode.nn.resnet import CHANNELS, activated, blocks_of_a_stage, classifier, convolution
from resode.ode import integrators

# Probability with which the last block survives an update, p_L.
LAST_SURVIVAL = 0.5


def build(
    depth: int,
    multistep: bool,
    stochastic: bool,
    l2: float = 5e-5,
    classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
) -> keras.Model:
    """Build the network of `depth` layers, uncompiled; its initial weights follow from `keras.utils.set_random_seed`.

        stem      3×3 convolution to 16 channels
        stages    three of n blocks on 16, 32 and 64 channels, the first block of the second and third with stride 2
        F         K₂ ReLU(BN(K₁ ReLU(BN(x)))), K 3×3 convolutions without bias
        block     x_{n+1} = S x_n + F(x_n); S is the identity, and with stride 2 a 1×1 convolution of ReLU(BN(x))
        multistep x_{n+1} = (1 − k) x_n + k x_{n−1} + F(x_n) in all blocks but the first of a stage, with a k of its own in each, which
                  starts uniformly distributed on [−0.1, 0]. After a block with stride 2, x_{n−1} is what its S made.
        head      BN, ReLU, average over what is left of the image, softmax

    With stochastic depth, block i = 0, …, N − 1 has F = 0 in an update with probability (1 − p_L) i / (N − 1), one draw for the whole batch,
    and else F divided by the probability that it survives, so that its expectation is F. Moving averages of a batch
    normalization take part in every update, those of a block that is left out too.

    Differences: initial kernels have the variance 2 / fan_in, batch normalization adds 1e-3 to variances, and a convolution with stride 2
    pads with zeros at the right and at the bottom, all as Keras has it; the authors' PyTorch code has 2 / fan_out, 1e-5, and zeros on all sides.

    Args:
        depth: number of layers, 6 n + 2: 20, 32, 44, 56, …
        multistep: whether blocks remember the one before; without, it is the base.
        stochastic: whether blocks are left out at random in training.
        l2: factor of the penalty on every kernel, half the weight decay.
        classes: number of classes.
        input_shape: (height, width, colours) of an image.

    Returns:
        A model from images (batch, *input_shape) to class probabilities (batch, classes), float32.

    Raises:
        ValueError: no whole number of blocks makes `depth`.

    Example:
        >>> build(20, multistep=True, stochastic=False).count_params()
        273856
    """
    blocks = blocks_of_a_stage(depth)
    image = keras.Input(input_shape, name="image")
    x = convolution(image, CHANNELS[0], 3, 1, l2, "stem_convolution")
    before = None
    for block in range(3 * blocks):
        stage, within = divmod(block, blocks)
        name, stride = f"block{block + 1}", 2 if stage and not within else 1
        shortcut = x
        if stride > 1:
            shortcut = convolution(
                activated(x, f"{name}_shortcut"), CHANNELS[stage], 1, 2, l2, f"{name}_shortcut_convolution"
            )
        f = _residual(x, CHANNELS[stage], stride, l2, name)
        death_rate = (1 - LAST_SURVIVAL) * block / (3 * blocks - 1) if stochastic else 0.0
        if death_rate:
            f = StochasticDepth(death_rate, name=f"{name}_survival")(f)
        if multistep and within:
            x = LinearMultistepSum(name=f"{name}_sum")([before, shortcut, f])
        else:
            x = layers.Add(name=f"{name}_sum")([shortcut, f])
        before = shortcut
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="head_pool")(activated(x, "head"))
    name = f"{'lm_resnet' if multistep else 'preresnet'}{depth}{'_stochastic' if stochastic else ''}"
    return keras.Model(image, classifier(x, classes, l2), name=name)


@keras.saving.register_keras_serializable(package="resode")
class StochasticDepth(layers.Layer):
    """In training zero with probability `rate`, and else x / (1 − rate), one draw for the whole batch; otherwise x.

    Raises:
        ValueError: `rate` is not in [0, 1).
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1. Received: rate={rate}")
        self.rate = rate
        # Named, lest Keras number it, as it does Dropout's: checkpoints hold variables by name.
        self.seed_generator = keras.random.SeedGenerator(name=f"{self.name}_seed")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The block's part, or nothing of it."""
        if not training:
            return inputs
        return keras.random.dropout(inputs, self.rate, (1,) * len(inputs.shape), self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build an equal layer."""
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="resode")
class LinearMultistepSum(layers.Layer):
    """Step of Lu et al.'s: (x_{n−1}, x_n, F(x_n)) to (1 − k) x_n + k x_{n−1} + F(x_n), with a weight k. See `integrators`."""

    def build(self, input_shape: Any) -> None:
        self.k = self.add_weight(name="k", shape=(), initializer=keras.initializers.RandomUniform(-0.1, 0.0))

    def call(self, inputs: Any) -> Any:
        """The next state."""
        before, now, f = inputs
        return integrators.linear_multistep((before, now), (lambda _: f,), 1.0, keras.ops.cast(self.k, now.dtype))[1]


def _residual(x: Any, channels: int, stride: int, l2: float, name: str) -> Any:
    x = convolution(activated(x, f"{name}_1"), channels, 3, stride, l2, f"{name}_convolution1")
    return convolution(activated(x, f"{name}_2"), channels, 3, 1, l2, f"{name}_convolution2")
