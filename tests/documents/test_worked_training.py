"""What the introductory articles say of training, beyond the examples in test_worked_examples.py:
evolution, the ground that gradient descent walks on, the first weights, the optimizers by hand."""

import numpy as np
import pytest
from scipy.special import expit

import fastnn
from fastnn import MLPClassifier

AGES = np.arange(18, 71.0).reshape(-1, 1)
PASSES = (AGES >= 42).astype(float)


def test_evolution_solves_the_age_example():
    """After a hundred generations a neuron tells the ages: no gradient is asked for."""
    scaled = (AGES - 44) / 15
    for seed in range(3):
        net = fastnn.MLP((1, 1), output="sigmoid", dtype="float64", random_state=seed)
        history = net.fit(scaled, PASSES, epochs=100,
                          optimizer=fastnn.EvolutionStrategy(0.2, sigma=0.1))
        assert len(history.loss) == 100
        assert ((net.predict(scaled) > 0.5) == PASSES).all()
        border = 44 - 15 * net.biases[0][0] / net.weights[0][0, 0]
        assert 41 < border < 42
    model = MLPClassifier((), solver="es", learning_rate_init=0.2, max_iter=100, random_state=0)
    with pytest.warns(match="Maximum iterations"):
        model.fit(scaled, PASSES.ravel())
    assert model.score(scaled, PASSES.ravel()) == 1


def test_evolution_goes_on_from_the_articles_neuron():
    """w = 0.25, b = -10.5 at the ages as they are: a hundred generations make it surer."""
    net = fastnn.MLP((1, 1), output="sigmoid", dtype="float64", random_state=0)
    net.set_weights([[[0.25]], [-10.5]])
    first = net.loss(AGES, PASSES)
    net.fit(AGES, PASSES, epochs=100, optimizer=fastnn.EvolutionStrategy(0.01, sigma=0.002))
    assert net.loss(AGES, PASSES) < first
    assert net.predict([[45.0]])[0, 0] > 0.6792
    assert net.predict([[20.0]])[0, 0] < expit(0.25 * 20 - 10.5)


def test_loss_surface_over_two_weights():
    """The loss of a neuron with two weights is a bowl; each point of it is one evaluation."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = X @ [[1.0], [-2.0]]
    net = fastnn.MLP((2, 1), dtype="float64", random_state=0)
    axis = np.linspace(-3, 3, 13)
    surface = np.empty((13, 13))
    for i, first in enumerate(axis):
        for j, second in enumerate(axis):
            net.set_weights([[[first], [second]], [0.0]])
            surface[i, j] = net.loss(X, y)
    w = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1) - [1, -2]
    np.testing.assert_allclose(
        surface, 0.5 * np.einsum("ijk,kl,ijl->ij", w, X.T @ X / 60, w), rtol=1e-10, atol=1e-13)
    lowest = np.unravel_index(surface.argmin(), surface.shape)
    assert (axis[lowest[0]], axis[lowest[1]]) == (1, -2)


def test_trajectory_of_gradient_descent():
    """The way down, point by point, as a callback sees it and as the rule says."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = X @ [[1.0], [-2.0]]
    net = fastnn.MLP((2, 1), dtype="float64", random_state=0)
    w, b, path, wanted = net.weights[0].copy(), net.biases[0].copy(), [], []
    for _ in range(50):
        error = X @ w + b - y
        w, b = w - 0.2 * X.T @ error / 60, b - 0.2 * error.mean(axis=0)
        wanted.append([*w[:, 0], b[0]])

    def callback(epoch, net, history):
        path.append([*net.weights[0][:, 0], net.biases[0][0]])

    history = net.fit(X, y, optimizer=fastnn.SGD(0.2, momentum=0), batch_size=60, epochs=50,
                      callback=callback)
    np.testing.assert_allclose(path, wanted, rtol=1e-9, atol=1e-12)
    assert history.loss == sorted(history.loss, reverse=True)
    np.testing.assert_allclose(path[-1], [1, -2, 0], atol=1e-3)


@pytest.mark.parametrize("name, spread", [
    ("glorot_uniform", np.sqrt(2 / 500)), ("glorot_normal", np.sqrt(2 / 500)),
    ("he_uniform", np.sqrt(2 / 300)), ("he_normal", np.sqrt(2 / 300)), ("normal", 0.05)])
def test_first_weights(name, spread):
    """Mean 0; variance 2 / (n_in + n_out) of Glorot & Bengio 2010, 2 / n_in of He et al. 2015."""
    net = fastnn.MLP((300, 200), initializer=name, random_state=0)
    w = net.weights[0].ravel()
    assert abs(w.mean()) < 4 * spread / np.sqrt(w.size)
    assert w.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * w.size))
    kurtosis = ((w - w.mean()) ** 4).mean() / w.var() ** 2
    assert kurtosis == pytest.approx(1.8 if "uniform" in name else 3, abs=0.1)
    assert (net.biases[0] == 0).all()


def test_a_scaler_inside_the_model_file(tmp_path):
    """Data normalisation that a service cannot forget."""
    center, spread = AGES.mean(axis=0), AGES.std(axis=0)
    net = fastnn.MLP((1, 1), output="sigmoid", random_state=0)
    net.fit((AGES - center) / spread, PASSES, optimizer=fastnn.Adam(0.3), epochs=300)
    net.save(tmp_path / "ages.safetensors", scaler=(center, spread))
    served = fastnn.load(tmp_path / "ages.safetensors")
    np.testing.assert_allclose(served.predict(AGES).reshape(-1, 1),
                               net.predict((AGES - center) / spread), rtol=1e-4, atol=1e-5)


def adadelta(g1, g2):
    """Zeiler 2012: no rate but that of the steps before."""
    v1 = 0.05 * g1**2
    d1 = -np.sqrt(1e-6) / np.sqrt(v1 + 1e-6) * g1
    v2, u1 = 0.95 * v1 + 0.05 * g2**2, 0.05 * d1**2
    return d1, -np.sqrt(u1 + 1e-6) / np.sqrt(v2 + 1e-6) * g2


def adamax(g1, g2):
    """Kingma & Ba 2015, section 7.1: the largest gradient in place of the root of squares."""
    u2 = max(0.999 * abs(g1), abs(g2))
    return -0.1 * np.sign(g1), -0.1 / (1 - 0.9**2) * (0.09 * g1 + 0.1 * g2) / u2


def nadam(g1, g2):
    """Dozat 2016, with a momentum that grows: 0.9 (1 - 0.96^(t / 250) / 2)."""
    mu1, mu2, mu3 = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in (1, 2, 3))
    m1, m2 = 0.1 * g1, 0.09 * g1 + 0.1 * g2
    v1, v2 = 0.001 * g1**2, 0.000999 * g1**2 + 0.001 * g2**2
    first = (mu2 * m1 / (1 - mu1 * mu2) + (1 - mu1) * g1 / (1 - mu1)) / np.sqrt(v1 / 0.001)
    second = (mu3 * m2 / (1 - mu1 * mu2 * mu3) + (1 - mu2) * g2 / (1 - mu1 * mu2)) / np.sqrt(
        v2 / (1 - 0.999**2))
    return -0.1 * first, -0.1 * second


@pytest.mark.parametrize("name, settings, update", [
    ("Nadam", {"learning_rate": 0.1}, nadam),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.95, "eps": 1e-6}, adadelta),
    ("AdaMax", {"learning_rate": 0.1}, adamax)])
def test_two_steps_by_hand(name, settings, update):
    """The loss (w - y)²/2 has the gradient w - y, so that each step can be followed on paper."""
    optimizer = getattr(fastnn, name)(**settings)
    net = fastnn.MLP((1, 1), dtype="float64")
    seen = [(2.0, 0.0)]
    for epochs in (1, 2):
        net.set_weights([[[2.0]], [0.0]])
        net.fit([[1.0]], [[-1.0]], optimizer=optimizer, epochs=epochs)
        seen.append((net.weights[0][0, 0], net.biases[0][0]))
    g1, g2 = seen[0][0] + 1, sum(seen[1]) + 1
    for before, after, step in zip(seen, seen[1:], update(g1, g2), strict=False):
        assert after[0] - before[0] == pytest.approx(step, rel=1e-5)
        assert after[1] - before[1] == pytest.approx(step, rel=1e-5)
