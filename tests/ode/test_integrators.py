"""Integrators: their order, energy, limits and volume, against closed forms that the package itself does not use."""

import dataclasses

import numpy as np
import pytest

from resode.ode import integrators, linear_stability, problems
from resode.ode.integrators import FIRST_ORDER, INTEGRATORS, PARTITIONED, SECOND_ORDER

# What books say of each: order of accuracy, largest stable h ω on the imaginary axis, symplectic or not. A new integrator
# needs a line here.
ORDER = {
    "euler": 1, "symplectic_euler": 1, "symplectic_euler_z_first": 1, "verlet": 2, "midpoint": 2, "leapfrog": 2, "rk4": 4
}  # fmt: skip
LIMIT = {
    "euler": 0, "symplectic_euler": 2, "symplectic_euler_z_first": 2, "verlet": 2, "midpoint": 1, "leapfrog": 2, "rk4": 8**0.5
}  # fmt: skip
SYMPLECTIC = ["symplectic_euler", "symplectic_euler_z_first", "verlet", "leapfrog"]


@pytest.fixture(scope="module")
def convergence():
    return problems.convergence()


@pytest.mark.parametrize("name", INTEGRATORS)
def test_order_of_accuracy(name, convergence):
    h, errors = convergence
    assert set(errors) == {problems.OSCILLATOR.name, problems.NETWORK.name}
    for methods in errors.values():
        assert problems.order(h, methods[name]) == pytest.approx(ORDER[name], abs=0.1)


def test_errors_are_against_the_exact_solution():
    # x'' = −x from rest at 1 is cos t.
    (error,) = problems.errors("verlet", problems.OSCILLATOR, [20])
    x, f = problems.OSCILLATOR.written_for("verlet")
    end = integrators.solve("verlet", x, f, problems.TIME / 20, 20)[-1][-1]
    assert error == pytest.approx(abs(end - np.cos(problems.TIME)), rel=1e-6)


@pytest.mark.parametrize("form", [SECOND_ORDER, FIRST_ORDER])
def test_oscillators_are_the_same_in_both_forms(form):
    x, f = problems.TANH_OSCILLATOR.forms[form]
    end = np.ravel(integrators.solve("rk4", x, f, 0.01, 100)[-1])
    end = end[::-1] if form == SECOND_ORDER else end
    exact = problems.flow(lambda s: [s[1], -np.tanh(s[0])], [1.0, 0.0], 1.0)[-1]
    np.testing.assert_allclose(end, exact, atol=1e-9)


@pytest.mark.parametrize("name", SYMPLECTIC)
@pytest.mark.parametrize("problem", [problems.OSCILLATOR, problems.TANH_OSCILLATOR], ids=["linear", "tanh"])
def test_symplectic_methods_keep_the_energy_bounded(name, problem):
    h = 0.15
    error = problems.energy_error(name, problem, h, 10_000)
    assert error[-1] < h ** ORDER[name]
    # Bounded: what 1,000 steps have reached, 10,000 hardly exceed.
    assert error[-1] < 1.01 * error[1000]


def test_explicit_eulers_energy_grows_as_its_formula_says():
    h, omega, steps = 0.01, 3.0, 10_000
    f = linear_stability.oscillator(PARTITIONED, omega)
    y, z = np.array(integrators.solve("euler", (1.0, 0.5), f, h, steps)).T
    expected = (1 + (h * omega) ** 2) ** np.arange(steps + 1)
    np.testing.assert_allclose((y**2 + z**2) / 1.25, expected, rtol=1e-10)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_paths_start_at_the_start_and_stay_on_the_circle(name):
    path = problems.path(name, problems.OSCILLATOR, 0.001, 1000)
    assert path.shape == (1001, 2)
    time = 0.001 * np.arange(1001)
    np.testing.assert_allclose(path, np.column_stack([np.cos(time), -np.sin(time)]), atol=2e-3)


# --- linear stability


@pytest.mark.parametrize("name", INTEGRATORS)
def test_limit_on_the_imaginary_axis(name):
    assert linear_stability.limit(name) == pytest.approx(LIMIT[name], abs=1e-4)


@pytest.mark.parametrize("h_omega", [0.1, 0.9, 1.5, 2.5])
def test_amplification_in_closed_form(h_omega):
    x = h_omega

    def two(trace, product):
        """Larger of the roots of r² − trace r + product."""
        return np.abs(np.roots([1, -trace, product])).max()

    expected = dict.fromkeys(SYMPLECTIC, two(2 - x**2, 1)) | {
        "euler": np.sqrt(1 + x**2),
        "midpoint": two(2j * x, -1),
        "rk4": abs(1 + 1j * x - x**2 / 2 - 1j * x**3 / 6 + x**4 / 24),
    }
    found = {name: linear_stability.amplification(name, x) for name in expected}
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_amplification_is_the_same_in_every_form(name, monkeypatch):
    method = INTEGRATORS[name]
    found = []
    for form in method.forms:
        monkeypatch.setitem(INTEGRATORS, name, dataclasses.replace(method, forms=(form,)))
        found.append(linear_stability.amplification(name, 0.7))
    assert found == pytest.approx([found[0]] * len(found), rel=1e-7)


def test_growth_over_several_steps():
    assert linear_stability.growth("euler", PARTITIONED, 0.5, 4) == pytest.approx(1.25**2)
    assert linear_stability.growth("euler", FIRST_ORDER, 0.5, 4) == pytest.approx(1.25**2)
    # From rest an oscillation swings no farther than where it starts.
    assert linear_stability.growth("leapfrog", SECOND_ORDER, 1.9, 7) == pytest.approx(1)
    # Symplectic Euler keeps y² + z² + h ω y z: ellipses, which stretch a circle by √((2 + h ω) / (2 − h ω)) however many the steps.
    found = [linear_stability.growth("symplectic_euler", PARTITIONED, 1.0, steps) for steps in (10, 1000)]
    assert min(found) > 1 and max(found) <= 3**0.5


def test_regions_in_the_complex_plane():
    assert {"euler", "rk4"} <= set(linear_stability.one_step_regions())
    assert not {"symplectic_euler", "verlet", "midpoint", "leapfrog"} & set(linear_stability.one_step_regions())
    points = np.array([0, -1, -2, -1 + 1j, 0.5j, -2.785])
    np.testing.assert_allclose(linear_stability.region("euler", points), np.abs(1 + points))
    assert linear_stability.region("rk4", points)[-1] == pytest.approx(1, abs=1e-3)


def test_new_integrators_appear_by_themselves(monkeypatch):
    def heun(x, f, h):
        """Heun's method, of order 2; on the imaginary axis it is stable nowhere."""
        half = integrators.euler(x, f, h)
        again = integrators.euler(half, f, h)
        return tuple((a + b) / 2 for a, b in zip(x, again, strict=True))

    monkeypatch.setitem(INTEGRATORS, "heun", integrators.Integrator(heun, (), reversible=False, forms=(FIRST_ORDER,)))
    row = linear_stability.limit_rows()[-1]
    assert {"integrator": "heun", r"largest stable $h \omega$": "0"}.items() <= row.items()
    h, errors = problems.convergence()
    assert problems.order(h, errors[problems.NETWORK.name]["heun"]) == pytest.approx(2, abs=0.1)
    assert problems.convergence_rows(h, errors)[-1]["integrator"] == "heun"
    assert problems.path("heun", problems.OSCILLATOR, 0.1, 5).shape == (6, 2)
    linear_stability.limit.cache_clear()


# --- structure


def test_symplectic_euler_preserves_volume_and_explicit_euler_does_not():
    (y, z), f = problems.NETWORK.forms[PARTITIONED]
    start, epsilon = np.concatenate([y, z]), 1e-5

    def determinant(name):
        def step(s):
            return np.concatenate(INTEGRATORS[name].step(tuple(np.split(s, 2)), f, 0.5))

        offsets = epsilon * np.eye(len(start))
        columns = [(step(start + d) - step(start - d)) / (2 * epsilon) for d in offsets]
        return np.linalg.det(np.column_stack(columns))

    assert determinant("symplectic_euler") == pytest.approx(1, abs=1e-8)
    assert determinant("verlet") == pytest.approx(1, abs=1e-8)
    assert abs(determinant("euler") - 1) > 0.05


@pytest.mark.parametrize("name", [name for name, method in INTEGRATORS.items() if method.reversible])
def test_reversible_methods_go_back(name):
    x, f = problems.NETWORK.written_for(name)
    states = integrators.solve(name, x, f, 0.3, 20)
    state = states[-1]
    for _ in range(19):
        state = INTEGRATORS[name].step_back(state, f, 0.3)
    np.testing.assert_allclose(state, states[1], atol=1e-12)


def test_what_is_not_refused_is_solved():
    for name, method in INTEGRATORS.items():
        for form in (PARTITIONED, FIRST_ORDER, SECOND_ORDER):
            assert (integrators.refusal(name, form) is None) is (form in method.forms)
            if form in method.forms:
                x, f = problems.NETWORK.forms[form]
                assert len(integrators.solve(name, x, f, 0.1, 3)) == 4


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        ("euler", 2, (4, 4)),
        ("symplectic_euler", 2, (4, 4)),
        ("verlet", 2, (8, 4)),
        ("midpoint", 2, (4, 4)),
        ("leapfrog", 2, (4, 0)),
        ("rk4", 1, (16,)),
    ],
)
def test_evaluations_of_four_steps(name, parts, expected):
    assert integrators.evaluations(name, parts, 4) == expected


# --- portraits


def test_portraits_have_the_eigenvalues_they_are_named_after():
    values = {portrait.title: portrait.eigenvalues for portrait in problems.PORTRAITS}
    for name, expected in {"positive": 2, "negative": -2, "zero": 0}.items():
        np.testing.assert_allclose(values[name], expected)
    np.testing.assert_allclose(sorted(values["imaginary"], key=np.imag), [-1j, 1j], atol=1e-15)
    np.testing.assert_allclose(problems.PORTRAITS[0].rate(np.array([0.1, 0.2])), np.tanh([-0.2, 0.4]))
