"""Gradients without stored states: the same as with them, for every integrator that can run backwards."""

import re

import numpy as np
import pytest
from keras import ops

from resode.base.errors import InputError
from resode.config import parameters
from resode.nn import blocks, reversible
from resode.ode import integrators
from units import PAIRS, array, built, covering, gradients, images

pytestmark = pytest.mark.jax

REVERSIBLE = [pair for pair in PAIRS if integrators.INTEGRATORS[pair[1]].reversible]


WAYS = [(*pair, "reversible") for pair in REVERSIBLE] + [
    ("hamiltonian", one, "recompute") for one in ("euler", "midpoint")
]


@pytest.mark.parametrize(
    ("block", "integrator", "backward", "weights_in_time"),
    covering([(*way, weights) for way in WAYS for weights in ("shared", "free")]),
)
def test_gradients_without_stored_states_are_the_stored_ones(block, integrator, backward, weights_in_time):
    x = images(2, 4, 3, 4)
    # Five steps are recomputed in runs of three and of two.
    for steps in (1, 5):
        how = {"integrator": integrator, "weights_in_time": weights_in_time, "unroll_length": steps, "h": 0.1}
        stored, back = (built(block, size=(4, 3), backward=way, **how) for way in ("store", backward))
        np.testing.assert_allclose(array(back(x)), array(stored(x)), rtol=1e-6, atol=1e-6)
        for mine, theirs in zip(gradients(back, x), gradients(stored, x), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def steps_and_state(block, integrator, steps, **arguments):
    """The reversible steps of a unit on random weights, with the state that they start from."""
    layer, x = (
        built(block, integrator=integrator, unroll_length=steps, backward="reversible", **arguments),
        images(2, 6, 5, 4),
    )
    state = layer.initial_state(x)
    if integrators.INTEGRATORS[integrator].start:
        state = layer.advance(state, 0, layer.weights_of_step(0))
    weights = [list(layer.weights_of_step(0).values())]
    return layer.reversible_steps(steps), tuple(state), weights


@pytest.mark.parametrize(("block", "integrator"), covering(REVERSIBLE))
def test_steps_run_backwards(block, integrator):
    steps, state, weights = steps_and_state(block, integrator, 16, h=0.1)
    end = steps.forward(state, weights)
    assert float(reversible.drift(end, state)) > 0.1
    no_gradients = lambda f, x, w, c: (f(x, w), ops.zeros_like(x), [ops.zeros_like(one) for one in w])
    *_, start = steps.backward(end, weights, end, no_gradients)
    assert float(reversible.drift(start, state)) < 1e-5


def test_drift_is_printed_on_request(monkeypatch, capfd):
    monkeypatch.setenv(reversible.DRIFT, "1")
    layer = built("hamiltonian", integrator="verlet", backward="reversible", name="unit7")
    gradients(layer, images(2, 6, 5, 4))
    said = "".join(capfd.readouterr())
    found = re.search(r"unit7 reconstruction error ([\d.e+-]+)", said)
    assert found and 0 <= float(found[1]) < 1e-5


@pytest.mark.parametrize("integrator", ["euler", "rk4"])
def test_what_has_no_inverse_is_refused_with_a_reason(integrator):
    reason = f"backward reversible: a step of {integrator} has no inverse in closed form; use recompute, or integrator symplectic_euler"
    with pytest.raises(ValueError, match=reason):
        blocks.HamiltonianConv2D(integrator=integrator, backward="reversible")
    with pytest.raises(InputError, match=f"params.yaml: model: {reason}"):
        parameters.load({"model": {"integrator": integrator, "backward": "reversible"}})
