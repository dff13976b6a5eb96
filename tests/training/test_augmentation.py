"""Normalisation, order and augmentation."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from resode.config.schema import AugmentationParams
from resode.training import augmentation

pytestmark = pytest.mark.jax

BOTH = AugmentationParams(horizontal_flip=True, shift=0.1, interpolation="bilinear", crop=0)
CROP = AugmentationParams(horizontal_flip=True, shift=0.0, interpolation="bilinear", crop=4)
# Seed 0, update 0, batch 2, 32 pixels; order of epoch 0 with 8 samples.
GOLDEN_FLIPS = [False, False]
GOLDEN_SHIFTS = [[2.0054657459259033, -1.2967747449874878], [-2.762988328933716, 1.0985538959503174]]
GOLDEN_ORDER = [5, 0, 6, 1, 7, 2, 4, 3]


def compiled(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


REFLECT = CROP.model_copy(update={"crop_edges": "reflect"})


@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 1), ("nearest", 0)])
def test_augment_equals_scipy_on_random_shifts(interpolation, order):
    random = np.random.default_rng(0)
    images = random.normal(size=(40, 9, 12, 3)).astype("float32")
    shifts = random.uniform(-5, 5, size=(40, 2)).astype("float32")
    flips = random.random(40) < 0.5
    chosen = BOTH.model_copy(update={"interpolation": interpolation})
    found = compiled(lambda *numbers: augmentation.augment(*numbers, chosen))(images, flips, shifts)
    for image, flip, shift, mine in zip(images, flips, shifts, keras.ops.convert_to_numpy(found), strict=True):
        expected = scipy.ndimage.shift(image, (*shift, 0), order=order, mode="nearest")
        np.testing.assert_allclose(mine, expected[:, ::-1] if flip else expected, atol=1e-5)


@pytest.mark.parametrize(
    ("crop", "padding"), [(CROP, {}), (REFLECT, {"mode": "reflect"})], ids=["zeros", "reflected edges"]
)
def test_a_crop_is_a_window_of_the_padded_image(crop, padding):
    images = np.random.default_rng(0).normal(size=(60, 9, 12, 3)).astype("float32")
    flips, shifts = augmentation.draw(CROP, 0, 0, 60, 9)
    found = compiled(lambda *numbers: augmentation.augment(*numbers, crop))(images, flips, shifts)
    for image, flip, shift, mine in zip(images, flips, shifts, keras.ops.convert_to_numpy(found), strict=True):
        row, column = (4 - shift).astype(int)
        window = np.pad(image, [(4, 4), (4, 4), (0, 0)], **padding)[row : row + 9, column : column + 12]
        np.testing.assert_array_equal(mine, window[:, ::-1] if flip else window)


def test_the_widest_crop_reflects_the_image_once():
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    padded = np.pad(images[0], [(31, 31), (31, 31), (0, 0)], mode="reflect")
    for shift, corner in (((31.0, -31.0), (0, 62)), ((-31.0, 31.0), (62, 0))):
        found = augmentation.augment(images, np.zeros(1, bool), np.float32([shift]), REFLECT)
        expected = padded[corner[0] : corner[0] + 32, corner[1] : corner[1] + 32]
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(found)[0], expected)


def test_windows_are_drawn_uniformly():
    flips, shifts = augmentation.draw(CROP, 0, 0, 20_000, 32)
    assert abs(flips.mean() - 0.5) < 0.02
    for one in shifts.T:
        values, counts = np.unique(one, return_counts=True)
        assert values.tolist() == list(range(-4, 5)) and scipy.stats.chisquare(counts).pvalue > 0.01
    np.testing.assert_array_equal(flips, augmentation.draw(BOTH, 0, 0, 20_000, 32)[0])


def test_draws_are_a_function_of_seed_and_update():
    flips, shifts = augmentation.draw(BOTH, 1, 7, 32, 32)
    again = augmentation.draw(BOTH, 1, 7, 32, 32)
    np.testing.assert_array_equal(flips, again[0])
    np.testing.assert_array_equal(shifts, again[1])
    for seed, update in ((1, 8), (2, 7)):
        assert (augmentation.draw(BOTH, seed, update, 32, 32)[1] != shifts).all()


def test_draws_are_the_same_numbers_on_every_backend_and_machine():
    flips, shifts = augmentation.draw(BOTH, 0, 0, 2, 32)
    np.testing.assert_array_equal(flips, GOLDEN_FLIPS)
    np.testing.assert_array_equal(shifts, np.array(GOLDEN_SHIFTS, "float32"))
    np.testing.assert_array_equal(augmentation.order(0, 0, 8), GOLDEN_ORDER)


def test_distribution_of_draws():
    flips, shifts = augmentation.draw(BOTH, 0, 0, 20_000, 32)
    assert abs(flips.mean() - 0.5) < 0.02
    assert scipy.stats.kstest(shifts.ravel(), scipy.stats.uniform(-3.2, 6.4).cdf).pvalue > 0.01
    assert not augmentation.draw(BOTH.model_copy(update={"horizontal_flip": False}), 0, 0, 100, 32)[0].any()
    assert not augmentation.draw(BOTH.model_copy(update={"shift": 0.0}), 0, 0, 100, 32)[1].any()


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    first = augmentation.order(0, 0, 1000)
    np.testing.assert_array_equal(np.sort(first), np.arange(1000))
    np.testing.assert_array_equal(first, augmentation.order(0, 0, 1000))
    assert (first != augmentation.order(0, 1, 1000)).any() and (first != augmentation.order(1, 0, 1000)).any()


def test_a_block_is_a_piece_of_its_own_epochs_order():
    # 81 images: 10 updates of 8 an epoch; update 13 is the fourth of the second.
    samples, flips, shifts = augmentation.block(BOTH, 3, 13, 4, 8, 81, 32)
    np.testing.assert_array_equal(samples, augmentation.order(3, 1, 81)[24:56].reshape(4, 8))
    for update in range(4):
        for mine, drawn in zip((flips, shifts), augmentation.draw(BOTH, 3, 13 + update, 8, 32), strict=True):
            np.testing.assert_array_equal(mine[update], drawn)


def test_normalisation():
    images = np.random.default_rng(0).integers(0, 256, size=(5, 4, 4, 3), dtype=np.uint8)
    mean = augmentation.mean_image(images)
    np.testing.assert_allclose(mean, images.astype(float).mean(0), atol=1e-4)
    found = keras.ops.convert_to_numpy(augmentation.normalise(images, mean))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (images - images.astype(float).mean(0)) / 128, atol=1e-6)
