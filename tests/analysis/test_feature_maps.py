"""Feature maps: the states of the unit that the network itself computes."""

import keras
import numpy as np
import pytest

from resode.analysis import feature_maps
from resode.config import parameters
from resode.figures import results, style
from resode.nn import model

pytestmark = pytest.mark.jax("slow")


def network(**changes) -> keras.Model:
    keras.utils.set_random_seed(0)
    small = {"channels": [4, 8], "pool_after": [1], "unroll_length": 7, **changes}
    return model.build(parameters.load({"model": small}).model)


@pytest.mark.parametrize("block, shown", [("hamiltonian", [0, 1]), ("antisymmetric", [0, 1, 2, 3])])
def test_maps_begin_with_the_units_input_and_end_with_its_output(block, shown):
    made = network(block=block)
    image = np.random.default_rng(0).standard_normal((32, 32, 3)).astype("float32")
    maps = feature_maps.feature_maps(made, image)
    assert len(maps) == 5 and min(maps) == 0 and max(maps) == 7
    (unit, *_) = model.units(made)
    for step, tensor in ((0, unit.input), (7, unit.output)):
        expected = keras.Model(made.input, tensor).predict(image[None], verbose=0)[0][..., shown]
        np.testing.assert_allclose(maps[step], expected, atol=1e-4)
    assert style.png(results.feature_maps(np.zeros((32, 32, 3), np.uint8), maps))


def test_a_network_without_units_has_no_maps():
    assert feature_maps.feature_maps(network(architecture="resnet20"), np.zeros((32, 32, 3), "float32")) == {}
