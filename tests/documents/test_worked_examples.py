"""The numbers and the techniques of the introductory articles on neural networks.

Every worked example to its printed digits, and one test for each technique. What the articles
compute by hand is computed by hand here too.
"""

import numpy as np
import pytest
from reference import one_hot
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits, make_circles
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, make_scorer, recall_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import MLPClassifier, MLPRegressor
from fastnn.core.threads import single_threaded_blas

# short fits are enough for what is shown
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BITS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)


def unit(weights, bias, activation):
    """One neuron g(w·x + b)."""
    net = fastnn.MLP((len(weights), 1), output=activation, dtype="float64")
    net.set_weights([np.reshape(weights, (-1, 1)), [bias]])
    return net


# ---- the worked examples ----


@pytest.mark.parametrize("age, chance", [(45, 0.6792), (42, 0.5)])
def test_age_neuron(age, chance):
    """w = 0.25, b = -10.5: sigmoid(0.75) is 0.6792 ("68 %"), at 42 exactly one half."""
    (found,), = unit([0.25], -10.5, "sigmoid").predict([[age]])
    assert round(found, 4) == chance
    if age == 42:
        assert found == 0.5


def driving_test():
    """Hidden relu units PARKING and ROAD of (age, male, lessons); output PASS."""
    net = fastnn.MLP((3, 2, 1), "relu", "sigmoid", dtype="float64")
    net.set_weights([[[3, 6], [-0.5, 0.5], [10, 4]], [-200, -200], [[0.01], [0.025]], [-3]])
    return net


@pytest.mark.parametrize("person, parking, road, percent", [
    ((20, 1, 10), 0, 0, 4.74),
    ((50, -1, 20), 150.5, 179.5, 95.22),  # female coded -1, as the printed numbers need
    ((50, 0, 20), 150.0, 180.0, 95.26),
])
def test_driving_test(person, parking, road, percent):
    hidden, output = driving_test().activations_of([person])
    assert hidden[0].tolist() == [parking, road]
    assert round(100 * output[0, 0], 2) == percent


@pytest.mark.parametrize("probability, printed", [(0.78, 0.2485), (0.35, 1.0498)])
def test_loss_of_a_probability(probability, printed):
    """-log p, natural logarithm, by every loss that contains it."""
    z = np.log(probability / (1 - probability))
    binary = unit([0], z, "sigmoid")
    assert round(binary.loss([[0]], [[1]]), 4) == printed
    classes = fastnn.MLP((1, 2), output="softmax", dtype="float64")
    classes.set_weights([[[0, 0]], np.log([probability, 1 - probability])])
    assert round(classes.loss([[0]], [0]), 4) == printed


def test_softmax_of_two_numbers():
    net = fastnn.MLP((1, 2), output="softmax", dtype="float64")
    net.set_weights([[[0, 0]], [-4, 5.2]])
    p = net.predict([[0.0]])[0]
    assert p.sum() == pytest.approx(1, abs=1e-15)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p, np.exp([-4, 5.2]) / np.exp([-4, 5.2]).sum(), rtol=1e-14)


def test_house_price_is_recovered():
    """An identity network without hidden layer finds 90.3·size + 1006.2·stories - 40.5·distance."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(50, 200, 300), rng.integers(1, 4, 300),
                         rng.uniform(0, 30, 300)])
    y = X @ [90.3, 1006.2, -40.5]
    center, spread = X.mean(axis=0), X.std(axis=0)
    model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, tol=1e-9, max_iter=5000,
                         random_state=0).fit((X - center) / spread, y)
    slopes = model.coefs_[0].ravel() / spread
    assert [round(slope, 1) for slope in slopes] == [90.3, 1006.2, -40.5]
    assert model.intercepts_[0][0] - slopes @ center == pytest.approx(0, abs=0.1)


def test_chain_rule():
    """d/dx A(B(C(x))) = A'(B(C(x))) · B'(C(x)) · C'(x), with A = exp, B = sigmoid, C = tanh."""
    net = fastnn.MLP((1, 1, 1, 1), ("tanh", "sigmoid"), "exp", dtype="float64")
    net.set_weights([[[1]], [0], [[1]], [0], [[1]], [0]])
    x = 0.3
    c = np.tanh(x)
    b = expit(c)
    a = np.exp(b)
    by_hand = [a, a * b * (1 - b), a * b * (1 - b) * (1 - c**2)]
    # a target of a - 1 makes the outer derivative of the squared error 1
    deltas = net.deltas([[x]], [[a - 1]], loss="squared_error")
    np.testing.assert_allclose(np.ravel(deltas)[::-1], by_hand, rtol=1e-13)


# ---- units and layers ----


def test_artificial_neuron():
    rng = np.random.default_rng(0)
    X, w, b = rng.normal(size=(20, 5)), rng.normal(size=5), 0.7
    np.testing.assert_allclose(unit(w, b, "sigmoid").predict(X)[:, 0], expit(X @ w + b),
                               rtol=1e-13)


def test_bias_keeps_the_output_alive_at_zero():
    assert unit([5, -3], 1.5, "relu").predict([[0, 0]]) == 1.5
    assert unit([5, -3], 0, "relu").predict([[0, 0]]) == 0


@pytest.mark.parametrize("weights, bias, X, truth", [
    ([1, 1], -2, BITS, [0, 0, 0, 1]), ([1, 1], -1, BITS, [0, 1, 1, 1]),
    ([-1], 0, [[0], [1]], [1, 0])], ids=["and", "or", "not"])
def test_threshold_unit(weights, bias, X, truth):
    """McCulloch & Pitts 1943: fires where w·x reaches the threshold -b."""
    assert unit(weights, bias, "step").predict(X).ravel().tolist() == truth


def test_xor_needs_a_second_layer_of_threshold_units():
    """or and not and."""
    net = fastnn.MLP((2, 2, 1), "step", "step", dtype="float64")
    net.set_weights([[[1, 1], [1, 1]], [-1, -2], [[1], [-1]], [-1]])
    assert net.predict(BITS).ravel().tolist() == [0, 1, 1, 0]


def test_perceptron_rule_converges():
    """Rosenblatt 1958: one row at a time, w += (y - prediction) x, until no row is wrong."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    margin = X @ [2.0, -1.0, 0.5] + 0.3
    X, y = X[np.abs(margin) > 0.2], (margin > 0)[np.abs(margin) > 0.2].astype(float)
    net = fastnn.MLP((3, 1), output="step", dtype="float64", initializer="zeros", random_state=0)
    w, b = np.zeros(3), 0.0
    for x, target in zip(X, y, strict=True):  # the rule by hand, one pass over the rows
        error = target - (x @ w + b >= 0)
        w, b = w + error * x, b + error
    rule = fastnn.SGD(1.0, momentum=0)
    net.fit(X, y, loss="perceptron", optimizer=rule, batch_size=1, epochs=1, shuffle=False)
    np.testing.assert_allclose(net.weights[0][:, 0], w, rtol=1e-12)
    assert net.biases[0][0] == b

    def callback(epoch, net, history):
        if net.loss(X, y) == 0:
            raise fastnn.StopFit

    net.fit(X, y, loss="perceptron", optimizer=rule, batch_size=1, epochs=200, callback=callback)
    assert net.predict(X).ravel().tolist() == y.tolist()


@pytest.mark.parametrize("name, g, slope", [
    ("sigmoid", expit, lambda z: expit(z) * (1 - expit(z))),
    ("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    ("relu", lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    ("leaky_relu", lambda z: np.maximum(z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    ("identity", lambda z: z, np.ones_like)])
def test_activations_and_their_derivatives(name, g, slope):
    z = np.array([-3.0, -0.5, 0.25, 2.0])
    neuron = unit([1], 0, name)
    np.testing.assert_allclose(neuron.predict(z[:, None])[:, 0], g(z), rtol=1e-14)
    for value in z:
        delta, = neuron.deltas([[value]], [[g(value) - 1]], loss="squared_error")
        assert delta[0, 0] == pytest.approx(slope(value), rel=1e-13, abs=0)


def test_linear_layers_collapse_to_one():
    net = fastnn.MLP((6, 9, 4, 7, 2), "identity", dtype="float64", random_state=0)
    rng = np.random.default_rng(0)
    net.parameters[:] = rng.normal(size=net.parameters.size)
    w, b = np.eye(6), np.zeros(6)
    for layer_w, layer_b in zip(net.weights, net.biases, strict=True):
        w, b = w @ layer_w, b @ layer_w + layer_b
    X = rng.normal(size=(10, 6))
    np.testing.assert_allclose(net.predict(X), X @ w + b, rtol=1e-11, atol=1e-11)


def test_forward_propagation_by_hand():
    """A(A(x W_h) W_o), layer on layer."""
    net = fastnn.MLP((4, 5, 3, 2), "sigmoid", "sigmoid", dtype="float64", random_state=0)
    X = np.random.default_rng(0).normal(size=(7, 4))
    a = X
    for w, b in zip(net.weights, net.biases, strict=True):
        a = np.array([[1 / (1 + np.exp(-(sum(row[i] * w[i, j] for i in range(len(row))) + b[j])))
                       for j in range(len(b))] for row in a])
    np.testing.assert_allclose(net.predict(X), a, rtol=1e-13)


# ---- losses and learning ----


def test_losses_by_formula():
    """Means over the samples; the squared error is halved and averaged over outputs too."""
    rng = np.random.default_rng(0)
    X, z = np.eye(6), rng.normal(size=(6, 3))
    labels, real = rng.integers(0, 3, 6), rng.normal(size=(6, 3))
    several, counts = rng.integers(0, 2, (6, 3)), rng.poisson(2, (6, 3))

    def net(output):
        made = fastnn.MLP((6, 3), output=output, dtype="float64")
        made.set_weights([z, np.zeros(3)])
        return made

    assert net("identity").loss(X, real) == pytest.approx(
        ((z - real) ** 2).mean() / 2, rel=1e-13, abs=0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert net("softmax").loss(X, labels) == pytest.approx(
        -np.log(p[np.arange(6), labels]).mean(), rel=1e-13, abs=0)
    assert net("softmax").loss(X, one_hot(labels, 3)) == pytest.approx(
        -np.log(p[np.arange(6), labels]).mean(), rel=1e-13, abs=0)
    p = expit(z)
    assert net("sigmoid").loss(X, several) == pytest.approx(
        -(several * np.log(p) + (1 - several) * np.log(1 - p)).sum(axis=1).mean(), rel=1e-13, abs=0)
    deviance = np.exp(z) - counts * z + np.where(
        counts > 0, counts * np.log(np.maximum(counts, 1)) - counts, 0)
    assert net("exp").loss(X, counts) == pytest.approx(
        deviance.sum(axis=1).mean(), rel=1e-12, abs=0)


@pytest.mark.parametrize("batch_size", [1, 20, 100], ids=["stochastic", "mini-batch", "full batch"])
def test_gradient_descent(batch_size):
    """w -= rate · gradient, for each kind of batch, and the loss falls."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = X @ [[1.0], [-2.0], [0.5]] + 0.3
    net = fastnn.MLP((3, 1), dtype="float64", initializer="zeros")
    w, b = np.zeros((3, 1)), np.zeros(1)
    for start in range(0, 100, batch_size):
        rows = slice(start, start + batch_size)
        error = X[rows] @ w + b - y[rows]
        w, b = w - 0.1 * X[rows].T @ error / batch_size, b - 0.1 * error.mean(axis=0)
    plain = fastnn.SGD(0.1, momentum=0)
    net.fit(X, y, optimizer=plain, batch_size=batch_size, epochs=1, shuffle=False)
    np.testing.assert_allclose(net.weights[0], w, rtol=1e-12)
    np.testing.assert_allclose(net.biases[0], b, rtol=1e-12)
    net.fit(X, y, optimizer=plain, batch_size=batch_size, epochs=300)
    assert net.loss(X, y) < 1e-9


def test_too_high_a_learning_rate_diverges_with_a_warning():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    net = fastnn.MLP((3, 1), dtype="float64", random_state=0)
    with pytest.warns(fastnn.DivergenceWarning, match="learning rate"):
        net.fit(X, X.sum(axis=1), optimizer=fastnn.SGD(10.0), epochs=2000)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("optimizer, update", [
    (fastnn.SGD(0.1, momentum=0.9), lambda g1, g2: -0.1 * (g1 + (0.9 * g1 + g2))),
    (fastnn.SGD(0.1, momentum=0.9, nesterov=True),
     lambda g1, g2: -0.1 * ((1 + 0.9) * g1 + (0.9 * (0.9 * g1 + g2) + g2))),
    (fastnn.Adagrad(0.1, eps=1e-10), lambda g1, g2: -0.1 * (
        g1 / (abs(g1) + 1e-10) + g2 / (np.sqrt(g1**2 + g2**2) + 1e-10))),
    (fastnn.RMSprop(0.1, rho=0.9, eps=1e-8), lambda g1, g2: -0.1 * (
        g1 / (np.sqrt(0.1 * g1**2) + 1e-8)
        + g2 / (np.sqrt(0.09 * g1**2 + 0.1 * g2**2) + 1e-8))),
    (fastnn.Adam(0.1), lambda g1, g2: -0.1 * (
        g1 / (abs(g1) + 1e-8)
        + (0.09 * g1 + 0.1 * g2) / (1 - 0.9**2)
        / (np.sqrt((0.000999 * g1**2 + 0.001 * g2**2) / (1 - 0.999**2)) + 1e-8))),
], ids=["momentum", "nesterov", "adagrad", "rmsprop", "adam"])
def test_two_steps_of_each_optimizer_by_hand(optimizer, update):
    """The loss (w - y)²/2 has the gradient w - y, so that each step can be followed on paper."""
    net = fastnn.MLP((1, 1), dtype="float64")
    w, y = 2.0, -1.0
    net.set_weights([[[w]], [0.0]])
    net.fit([[1.0]], [[y]], optimizer=optimizer, epochs=1)
    moved = net.weights[0][0, 0]
    g1 = w - y
    g2 = moved + net.biases[0][0] - y  # weight and bias see the same gradient
    net.set_weights([[[w]], [0.0]])
    net.fit([[1.0]], [[y]], optimizer=optimizer, epochs=2)
    assert net.weights[0][0, 0] - w == pytest.approx(update(g1, g2), rel=1e-9)
    assert net.biases[0][0] == pytest.approx(update(g1, g2), rel=1e-9)


def test_backpropagation():
    """Gradients are slopes of the loss; the error terms of each layer by the rule on paper."""
    rng = np.random.default_rng(0)
    net = fastnn.MLP((3, 4, 2), "sigmoid", "sigmoid", dtype="float64", random_state=0)
    X, y = rng.normal(size=(6, 3)), rng.integers(0, 2, (6, 2))
    hidden, output = net.activations_of(X)
    delta_out = (output - y) / 6
    delta_hidden = delta_out @ net.weights[1].T * hidden * (1 - hidden)
    for got, wanted in zip(net.deltas(X, y), (delta_hidden, delta_out), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-16)
    _, grad = net.loss_and_grad(X, y)
    for at in range(net.parameters.size):
        middle, losses = net.parameters[at], []
        for step in (1e-4, -1e-4, 2e-4, -2e-4):
            net.parameters[at] = middle + step
            losses.append(net.loss(X, y))
        net.parameters[at] = middle
        slope = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / 12e-4
        assert grad[at] == pytest.approx(slope, rel=1e-6, abs=1e-11)


def test_random_initial_weights_are_normal():
    net = fastnn.MLP((300, 200), initializer="normal", random_state=0)
    w = net.weights[0].ravel() / 0.05
    assert abs(w.mean()) < 4 / np.sqrt(w.size)
    assert (np.abs(w) < 1).mean() == pytest.approx(0.6827, abs=4 * 0.47 / np.sqrt(w.size))
    assert (np.abs(w) < 2).mean() == pytest.approx(0.9545, abs=4 * 0.21 / np.sqrt(w.size))


def test_gradients_from_parallel_threads_are_gathered_alike():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(800, 64)), rng.integers(0, 10, 800)
    results = set()
    for n_threads in (1, 2, 3, 4):
        net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=n_threads)
        net.fit(X, y, epochs=2, batch_size=200)
        results.add(net.parameters.tobytes())
    assert net.plan(200).threads > 1
    assert len(results) == 1


# ---- generalisation ----


def test_dropout():
    """The kept units are scaled up, so that what a layer passes on stays the same on average."""
    from trainers import make_trainer

    units, rate, steps = 400, 0.3, 300
    X, y = np.ones((1, 1)), np.zeros((1, 1))
    trainer = make_trainer((1, units, 1), ("identity",), "identity", "squared_error",
                           dtype="float64", optimizer=fastnn.SGD(momentum=0), batch_size=1,
                           dropout=rate, seed=1)
    trainer.weights[0][:] = 1
    trainer.weights[1][:] = 1 / units
    trainer.set_data(X, y)
    with single_threaded_blas():
        # the prediction is the mean of the factors 0 and 1 / (1 - rate); its loss tells its size
        outputs = [np.sqrt(2 * trainer.run_epoch(learning_rate=0.0)) for _ in range(steps)]
        assert trainer.loss_and_grad() == pytest.approx(0.5, rel=1e-12, abs=0)  # without dropout: 1
    deviation = np.sqrt(rate / (1 - rate) / units)
    assert abs(np.mean(outputs) - 1) < 4 * deviation / np.sqrt(steps)
    assert np.std(outputs) == pytest.approx(deviation, rel=4 / np.sqrt(2 * steps))
    kept = np.array(outputs) * (1 - rate) * units
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-9)


def test_early_stopping_restores_the_best_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    train, held_out = slice(0, 400), slice(400, None)
    model = MLPClassifier((30,), early_stopping=True, n_iter_no_change=5, max_iter=500,
                          learning_rate_init=0.01, random_state=0)
    model.fit(X[train], y[train], validation_data=(X[held_out], y[held_out]))
    assert model.n_iter_ < 500
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(X[held_out], y[held_out]) == model.best_validation_score_


def test_normalisation_in_a_pipeline():
    """Columns of very different size are learnt once the pipeline scales them."""
    X, y = load_breast_cancer(return_X_y=True)
    X = X * 10.0 ** np.linspace(-4, 4, 30)
    train, test = slice(0, 400), slice(400, None)
    model = make_pipeline(StandardScaler(), MLPClassifier((30,), max_iter=60, random_state=0,
                                                          learning_rate_init=0.005))
    assert model.fit(X[train], y[train]).score(X[test], y[test]) > 0.95
    inner = model[-1].predict_proba(model[0].transform(X[test]))
    np.testing.assert_array_equal(model.predict_proba(X[test]), inner)


# ---- decisions ----


def noisy_classes():
    rng = np.random.default_rng(0)
    y = (rng.random(1500) < 0.15).astype(int)
    return rng.normal(size=(1500, 4)) + 0.9 * y[:, None], y


def test_binary_decision_by_an_adjustable_threshold():
    X, y = noisy_classes()
    model = MLPClassifier((10,), max_iter=60, random_state=0).fit(X, y)
    p = model.predict_proba(X)[:, 1]
    np.testing.assert_array_equal(model.predict(X), p > 0.5)
    for threshold in (0.1, 0.5, 0.9):
        moved = FixedThresholdClassifier(model, threshold=threshold).fit(X, y)
        np.testing.assert_array_equal(moved.predict(X), p >= threshold)


def test_multiclass_decision_by_argmax():
    X, y = load_digits(return_X_y=True)
    model = MLPClassifier((30,), max_iter=30, random_state=0).fit(X / 16, y)
    p = model.predict_proba(X / 16)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X / 16), p.argmax(axis=1))


def test_errors_of_the_first_and_second_kind():
    """A weight for the rare class trades false negatives for false positives."""
    X, y = noisy_classes()
    counts = []
    for weight in (1, 5, 20):
        model = MLPClassifier((10,), max_iter=60, random_state=0, class_weight={0: 1, 1: weight})
        (tn, fp), (fn, tp) = confusion_matrix(y, model.fit(X, y).predict(X))
        assert tn + fp + fn + tp == 1500
        assert tp + fn == y.sum()
        counts.append((fn, fp))
    missed, false_alarms = zip(*counts, strict=True)
    assert missed[0] > missed[1] > missed[2]
    assert false_alarms[0] < false_alarms[1] < false_alarms[2]


def test_threshold_tuned_by_scikit_learn():
    X, y = noisy_classes()
    model = MLPClassifier((10,), max_iter=40, random_state=0)
    tuned = TunedThresholdClassifierCV(model, scoring=make_scorer(recall_score), cv=3,
                                       random_state=0).fit(X, y)
    assert tuned.best_threshold_ < 0.5
    assert recall_score(y, tuned.predict(X)) > recall_score(y, model.fit(X, y).predict(X))


# ---- tasks ----


def test_regression_with_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 2))
    Y = np.column_stack([np.sin(3 * X[:, 0]), X[:, 0] * X[:, 1], X.sum(axis=1)])
    model = MLPRegressor(hidden_layer_sizes=(40,), activation="tanh", solver="lbfgs", alpha=1e-5,
                         max_iter=500, random_state=0).fit(X[:400], Y[:400])
    assert model.predict(X[400:]).shape == (200, 3)
    assert model.score(X[400:], Y[400:]) > 0.99


def test_several_labels():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 2))
    Y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X.sum(axis=1) > 0]).astype(int)
    model = MLPClassifier((20,), solver="lbfgs", max_iter=300, random_state=0)
    model.fit(X[:400], Y[:400])
    predicted = model.predict(X[400:])
    assert predicted.shape == (200, 3)
    assert (predicted == Y[400:]).mean() > 0.97


def test_autoencoder():
    """Data of three dimensions in eight come back through a bottleneck of three units."""
    rng = np.random.default_rng(0)
    code = rng.normal(size=(500, 3))
    X = code @ rng.normal(size=(3, 8))
    net = fastnn.MLP((8, 3, 8), "identity", dtype="float64", random_state=0)
    net.fit(X, X, optimizer=fastnn.Adam(0.02), epochs=150, batch_size=50)
    net.fit(X, X, optimizer=fastnn.Adam(0.001), epochs=50, batch_size=50)
    bottleneck, restored = net.activations_of(X)
    assert bottleneck.shape == (500, 3)
    assert ((restored - X) ** 2).mean() < 1e-4 * X.var()
    # two units are one too few
    narrow = fastnn.MLP((8, 2, 8), "identity", dtype="float64", random_state=0)
    narrow.fit(X, X, optimizer=fastnn.Adam(0.02), epochs=150, batch_size=50)
    assert ((narrow.predict(X) - X) ** 2).mean() > 0.01 * X.var()


def xor():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (800, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def circles():
    return make_circles(800, noise=0.08, factor=0.4, random_state=0)


@pytest.mark.parametrize("problem", [xor, circles])
def test_hidden_layer_bends_the_boundary(problem):
    X, y = problem()
    train, test = slice(0, 500), slice(500, None)
    bent = MLPClassifier((16,), activation="tanh", solver="lbfgs", max_iter=500, random_state=0)
    assert bent.fit(X[train], y[train]).score(X[test], y[test]) > 0.95
    straight = MLPClassifier((), solver="lbfgs", max_iter=500, random_state=0)
    assert 0.4 < straight.fit(X[train], y[train]).score(X[test], y[test]) < 0.6


def test_hidden_activations_are_a_new_feature_space():
    """In it a straight line does what it could not do in the inputs."""
    X, y = circles()
    net = fastnn.MLP((2, 16, 1), "tanh", "sigmoid", dtype="float64", random_state=0)
    net.fit(X, y, optimizer=fastnn.Adam(0.02), epochs=100, batch_size=50)
    hidden, output = net.activations_of(X)
    np.testing.assert_allclose(hidden, np.tanh(X @ net.weights[0] + net.biases[0]), rtol=1e-12,
                               atol=1e-14)
    np.testing.assert_array_equal(output, net.predict(X))
    assert LogisticRegression().fit(hidden, y).score(hidden, y) > 0.97
    assert LogisticRegression().fit(X, y).score(X, y) < 0.6
