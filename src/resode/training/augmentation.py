"""Input of the network: normalised images, flipped and shifted or cropped at random in training.

The random numbers are drawn on the host (`draw`) and applied by the backend (`augment`): NumPy's counter-based Philox
generator gives the same numbers under every backend and for any update in any order, so nothing has to be saved to
resume, and `augment` stays a pure, compilable function.
"""

from functools import lru_cache

import numpy as np
from keras import ops

from resode.config.schema import AugmentationParams

# Philox streams: two draws with the same seed and counter must not share numbers.
ORDER, AUGMENTATION, VALIDATION = 0, 1, 2


def mean_image(images: np.ndarray) -> np.ndarray:
    """The mean of each pixel over a training set, (N, H, W, C) uint8 → (H, W, C) float32."""
    return images.mean(axis=0, dtype=np.float64).astype("float32")


def normalise(images, mean):
    """(images − mean) / 128, (N, H, W, C) uint8 → float32 in [−2, 2]. Source: the post's notebook."""
    return (ops.cast(images, "float32") - mean) / 128.0


@lru_cache(maxsize=1)
def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """The order of the images in `epoch` (from 0): a permutation of 0 … samples − 1, a function of its arguments."""
    chosen = generator(seed, ORDER, epoch).permutation(samples).astype("int32")
    chosen.flags.writeable = False
    return chosen


def draw(params: AugmentationParams, seed: int, update: int, batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The random numbers of one update (from 0), a function of the arguments.

    Args:
        size: height and width of the images, in pixels.

    Returns:
        flips (batch,) bool, true with probability 1/2 where flipping is on; shifts (batch, 2) float32, pixels down and
        right, uniform on ±`params.shift` × size, or on the whole numbers from −`params.crop` to `params.crop`.
    """
    uniform = generator(seed, AUGMENTATION, update).random((batch, 3), dtype="float32")
    flips = (uniform[:, 0] < 0.5) & params.horizontal_flip
    if params.crop:
        return flips, np.float32(np.floor(uniform[:, 1:].astype(float) * (2 * params.crop + 1)) - params.crop)
    return flips, (2 * uniform[:, 1:] - 1) * np.float32(params.shift * size)


def block(
    params: AugmentationParams, seed: int, update: int, length: int, batch: int, samples: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input of `length` updates from number `update` (from 0) on: as many as asked for or as the epoch has left.

    Args:
        samples: images in the training set; an epoch has ⌊samples / batch⌋ updates.
        size: see `draw`.

    Returns:
        indices of the images (updates, batch) int32; flips (updates, batch); shifts (updates, batch, 2).
    """
    per_epoch = samples // batch
    epoch, within = divmod(update, per_epoch)
    length = min(length, per_epoch - within)
    chosen = order(seed, epoch, samples)[within * batch : (within + length) * batch].reshape(length, batch)
    flips, shifts = zip(*(draw(params, seed, update + i, batch, size) for i in range(length)), strict=True)
    return chosen, np.stack(flips), np.stack(shifts)


def augment(images, flips, shifts, params: AugmentationParams):
    """Shift images, then flip them left to right.

    A pixel at (r, c) takes the value at (r − shift₀, c − shift₁), between pixels resampled, outside the image taken
    from the nearest edge pixel: `scipy.ndimage.shift(mode="nearest")` of order 1 (bilinear) or 0 (nearest).

    With `params.crop` shifts are whole numbers and what is outside is zero: a window of the image's own size, cut out of
    the image with so many zeros on every side (He et al. 2015, section 4.2). With `params.crop_edges` "reflect" it is the image
    mirrored at its edge pixels, `numpy.pad(mode="reflect")`, instead of zeros.

    Args:
        images: (N, H, W, C) float.
        flips: (N,) bool.
        shifts: (N, 2) float, pixels down and right; see `draw`.

    Returns:
        (N, H, W, C), dtype of `images`.
    """
    count, height, width, channels = images.shape
    rows = ops.arange(height, dtype="float32") - shifts[:, :1]
    columns = ops.arange(width, dtype="float32") - shifts[:, 1:]
    # Flipping the result left to right is reading its columns backwards.
    columns = ops.where(flips[:, None], ops.flip(columns, axis=1), columns)
    inside = ((rows >= 0) & (rows < height))[:, :, None, None] & ((columns >= 0) & (columns < width))[:, None, :, None]
    if params.crop_edges == "reflect":
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    rows, columns = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    pixels = ops.reshape(images, (count * height * width, channels))
    starts = ops.arange(count, dtype="int32")[:, None, None] * (height * width)

    def at(row, column):
        index = starts + ops.cast(row, "int32")[:, :, None] * width + ops.cast(column, "int32")[:, None, :]
        return ops.take(pixels, index, axis=0)

    if params.crop_edges == "reflect":
        return at(rows, columns)
    if params.crop:
        return ops.where(inside, at(rows, columns), 0)
    if params.interpolation == "nearest":
        return at(ops.floor(rows + 0.5), ops.floor(columns + 0.5))
    top, left = ops.floor(rows), ops.floor(columns)
    bottom, right = ops.minimum(top + 1, height - 1), ops.minimum(left + 1, width - 1)
    down = ops.cast(rows - top, images.dtype)[:, :, None, None]
    across = ops.cast(columns - left, images.dtype)[:, None, :, None]
    upper = at(top, left) * (1 - across) + at(top, right) * across
    lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
    return upper * (1 - down) + lower * down


def _reflected(places, size):
    """Places from −(size − 1) to 2 (size − 1) mirrored at 0 and at size − 1."""
    return size - 1 - ops.abs(size - 1 - ops.abs(places))


def generator(seed: int, stream: int, counter: int) -> np.random.Generator:
    """Random numbers of their own for each (seed, stream, counter), `stream` one of the constants above."""
    # The third word of the counter leaves 2^128 numbers to each (stream, counter) before streams could meet.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, counter, 0]))
