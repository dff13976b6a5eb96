"""The loss: the original's, on both backends."""

import keras
import numpy as np
import pytest

from resode.training.losses import cross_entropy, smoothed_cross_entropy

pytestmark = pytest.mark.jax

# Where the true class, the first, lies 40 below the winner, level with it, above it, and 40 above all others.
LOGITS = np.array([[0, 40, 0], [0, 0, -1], [2, 1, 0], [40, 0, 0]], "float32")
LABELS = np.zeros(4, "int32")


def keras2(logits):
    """Keras 2.1.6: -sum(target * log(clip(output / sum(output), 1e-7, 1 - 1e-7)))."""
    output = np.exp(logits - logits.max(axis=1, keepdims=True))
    output /= output.sum(axis=1, keepdims=True)
    return -np.log(np.clip(output, np.float32(1e-7), np.float32(1 - 1e-7)))[:, 0]


def network(loss=cross_entropy):
    """A softmax of a kernel that starts as the identity, compiled with the loss."""
    layer = keras.layers.Dense(3, "softmax", use_bias=False, kernel_initializer="identity")
    built = keras.Sequential([keras.Input((3,)), layer])
    built.compile(keras.optimizers.SGD(1.0), loss=loss, metrics=["accuracy"])
    return built


def test_loss_of_saturated_outputs_is_the_originals():
    expected = keras2(LOGITS.astype("float64"))
    assert 16.118 < expected[0] < 16.119 and expected[3] < 2e-7
    # In eager mode, where Keras on TensorFlow finds the logits, and in a compiled step, where it finds them in the graph.
    probabilities = keras.ops.softmax(keras.ops.convert_to_tensor(LOGITS))
    np.testing.assert_allclose(cross_entropy(LABELS, probabilities), expected, rtol=1e-5, atol=1e-7)
    for logits, loss in zip(LOGITS, expected, strict=True):
        found = network().evaluate(logits[None], LABELS[:1], verbose=0)[0]
        np.testing.assert_allclose(found, loss, rtol=1e-5, atol=1e-7)


def test_loss_of_a_batch_is_the_mean_over_its_own_labels():
    labels = np.array([1, 0, 2, 1], "int32")
    share = np.exp(LOGITS.astype("float64") - LOGITS.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    expected = -np.log(np.clip(share[np.arange(4), labels], 1e-7, 1 - 1e-7))
    assert len(set(expected.round(3))) == 4
    np.testing.assert_allclose(network().evaluate(LOGITS, labels, verbose=0)[0], expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(network().train_on_batch(LOGITS, labels)[0], expected.mean(), rtol=1e-5)


def test_where_the_loss_is_clipped_it_has_no_gradient():
    for logits, label, moves in ((LOGITS[0], 0, False), (LOGITS[2], 0, True), (LOGITS[3], 0, False)):
        trained = network()
        before = trained.get_weights()[0]
        trained.train_on_batch(logits[None], np.array([label]))
        gradient = before - trained.get_weights()[0]
        share = np.exp(logits) / np.exp(logits).sum()
        expected = np.outer(logits, share - np.eye(3)[label]) if moves else np.zeros((3, 3))
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def smoothed(logits, label):
    """Loss and gradient by the logits, from logarithms of shares that are never rounded to 0."""
    logits = logits.astype("float64")
    shares = 0.7 * np.eye(3)[label] + 0.3 / 3
    logarithms = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    return -(shares * logarithms).sum(), np.exp(logarithms) - shares


def test_smoothed_loss_and_its_gradient_are_those_of_shared_labels_where_the_other_is_clipped_too():
    for logits, label in zip(LOGITS, (0, 2, 1, 0), strict=True):
        loss, slope = smoothed(logits, label)
        trained = network(smoothed_cross_entropy(0.3))
        before = trained.get_weights()[0]
        np.testing.assert_allclose(trained.train_on_batch(logits[None], np.array([label]))[0], loss, rtol=1e-5)
        np.testing.assert_allclose(before - trained.get_weights()[0], np.outer(logits, slope), rtol=1e-4, atol=1e-5)


def test_smoothed_loss_and_its_gradient_are_finite_where_a_probability_is_zero():
    for distance in (95.0, 1000.0):
        trained = network(smoothed_cross_entropy(0.3))
        loss = trained.train_on_batch(np.float32([[0, distance, 0]]), np.array([0]))[0]
        assert 0 < loss < 87.4 and np.isfinite(trained.get_weights()[0]).all()
