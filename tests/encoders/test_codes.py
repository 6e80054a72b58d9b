"""Look-up codes are the dense encoding: networks on them, and what is wrong with them."""

import pickle

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import Dense, Embed, LayerNorm, Residual
from fastnn.core.codes import Codes
from fastnn.encoders import Categories, Encoder, Numbers


def table(n_rows=150, seed=0):
    """Columns: numbers with missing ones, mostly zero, few values; strings; whole numbers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    x[::17] = np.nan
    mostly = np.where(rng.random(n_rows) < 0.8, 0, rng.exponential(size=n_rows))
    few = rng.integers(0, 4, n_rows).astype(float)
    words = np.array(["red", "green", None, "blue"], object)[rng.integers(0, 4, n_rows)]
    whole = rng.integers(0, 30, n_rows)
    return [x, mostly, few, words, whole]


KINDS = [Numbers(20), Numbers(30), Numbers(8), Categories(), Categories(most=10)]


def made(dtype="float64", n_rows=150):
    encoder = Encoder(KINDS).fit(table())
    X = table(n_rows, seed=1)
    return encoder, encoder.transform(X, dtype), encoder.to_dense(X, dtype)


def net(n_in, dtype="float64", sizes=(160, 3), **settings):
    return fastnn.MLP((n_in, *sizes), "tanh", "softmax", dtype=dtype, random_state=0, **settings)


def labels(n_rows=150):
    return np.random.default_rng(2).integers(0, 3, n_rows)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@each("settings", [{}, {"sizes": (3,)}, {"sizes": (20, 3)}, {"norm": "layer"}, {"gemm": "blas"},
                   {"sizes": (40, 520, 3)}, {"sizes": (520, 3)}])
def test_values_and_gradients_are_those_of_the_dense_encoding(settings):
    encoder, codes, dense = made()
    own = net(encoder.n_inputs, **settings)
    y = labels()
    close(own.predict(codes), own.predict(dense))
    close(own.predict(codes[:1]), own.predict(dense[:1]))
    close(own.loss(codes, y), own.loss(dense, y))
    for a, b in zip(own.loss_and_grad(codes, y), own.loss_and_grad(dense, y), strict=True):
        close(a, b)
    for a, b in zip(own.activations_of(codes), own.activations_of(dense), strict=True):
        close(a, b)
    for a, b in zip(own.deltas(codes, y), own.deltas(dense, y), strict=True):
        close(a, b)


@each("fit", [{}, {"optimizer": fastnn.SGD(0.1, momentum=0.0)}, {"optimizer": fastnn.Adagrad()},
              {"optimizer": fastnn.Adam(), "alpha": 0.1}, {"clip_norm": 0.1, "max_norm": 1.0},
              {"sample_weight": np.linspace(0, 1, 150)}, {"validation": True}])
def test_fits_are_those_of_the_dense_encoding(fit):
    encoder, codes, dense = made()
    nets = []
    for X in (codes, dense):
        more = {name: value for name, value in fit.items() if name != "validation"}
        if "validation" in fit:
            more["validation_data"] = (X[:40], labels()[:40])
        nets.append(net(encoder.n_inputs, dropout=0.2))
        nets[-1].fit(X, labels(), epochs=3, batch_size=40, **more)
    close(nets[0].parameters, nets[1].parameters, 1e-11)
    close(nets[0].history.loss, nets[1].history.loss)


@each("optimizer", [fastnn.SGD(0.1), fastnn.SGD(0.1, momentum=0.0), fastnn.Adam(0.01)])
@each("layers", [[Dense(3)], [Dense(160, "relu"), Dense(3)], [Dense(3000, "relu"), Dense(3)],
                 [Embed(9, [1]), Dense(3)], [Embed(3000, [1]), Dense(3)]])
def test_updates_in_one_pass_are_those_of_the_whole_gradient(layers, optimizer, dtype):
    """Clipping, even where nothing is as long, has the gradient of all rows made; in seven
    rows of data most inputs have no entry. The wide ones are gone through in one pass."""
    encoder, codes, _ = made(dtype)
    if isinstance(layers[0], Embed):
        layers = [Embed(layers[0].units, encoder.counts), *layers[1:]]
    found = set()
    for more in ({}, {"clip_norm": 1e6}):
        own = fastnn.MLP.of(layers, n_in=encoder.n_inputs, output="softmax", dtype=dtype,
                            random_state=0)
        own.fit(codes, labels(), epochs=2, batch_size=7, optimizer=optimizer, alpha=1e-3, **more)
        found.add(own.parameters.tobytes())
    assert len(found) == 1


def test_same_bytes_for_any_number_of_threads(dtype):
    encoder, codes, _ = made(dtype, 1500)
    found = set()
    for threads in (1, 2, 3, 8):
        own = net(encoder.n_inputs, dtype, n_threads=threads)
        own.fit(codes, labels(1500), epochs=2, batch_size=300)
        found.add(own.parameters.tobytes() + own.predict(codes).tobytes())
    assert len(found) == 1
    whole = own.predict(codes)
    for r in range(0, 1500, 101):
        assert own.predict(codes[r:r + 1]).tobytes() == whole[r].tobytes()


@each("optimizer", [fastnn.SGD(0.1), fastnn.Adam(0.01), fastnn.EMA(fastnn.Adam(0.01), 0.9)])
@each("sizes", [(160, 3), (20, 3)])
def test_single_steps_take_codes(optimizer, sizes):
    """From the first step on, or after arrays: the state of the optimizer goes on."""
    encoder, codes, dense = made()
    own, twin = (net(encoder.n_inputs, sizes=sizes) for _ in range(2))
    mine, others = own.steps(optimizer), twin.steps(optimizer)
    for at in range(0, 150, 30):
        rows, y = slice(at, at + 30), labels()[at:at + 30]
        close(mine((dense if at == 0 else codes)[rows], y), others(dense[rows], y), 1e-10)
    close(own.parameters, twin.parameters, 1e-10)
    assert mine.step == 5
    for _ in range(2):
        with pytest.raises(ValueError, match="codes of one encoder in all batches, or in none"):
            mine(dense[:30], labels()[:30])
    mine(codes[:3], labels()[:3])


@each("optimizer", [fastnn.SGD(0.1), fastnn.Adam(0.01), fastnn.EMA(fastnn.Adam(0.01), 0.9)])
def test_columns_of_codes_that_appear_later(optimizer):
    """Steps go on with the codes of an encoder of more columns, as with its dense encoding."""
    rng = np.random.default_rng(3)
    first, later = Encoder(KINDS).fit(table()), [rng.normal(size=150), table()[3]]
    second = Encoder([*KINDS, Numbers(6), Categories()]).fit([*table(), *later])
    nets = [net(first.n_inputs), net(first.n_inputs)]
    steps = [one.steps(optimizer, batch_size=50) for one in nets]
    both = [(encoder.transform(columns, "float64"), encoder.to_dense(columns))
            for encoder, columns in ((first, table()), (second, [*table(), *later]))]
    for one in nets:
        assert one.sizes[0] == first.n_inputs
    for number, (codes, dense) in enumerate(both):
        for i in range(0, 150, 50):
            y = labels()[i:i + 50]
            close(steps[0](codes[i:i + 50], y), steps[1](dense[i:i + 50], y))
        if number == 0:
            before = nets[0].predict(codes)
            for one in nets:
                one.grow(n_in=second.n_inputs)
            close(nets[0].predict(both[1][0]), before)
    close(nets[0].parameters, nets[1].parameters)


def test_codes_become_dense_by_their_encoder():
    encoder, codes, dense = made()
    assert (encoder.to_dense(codes) == codes.toarray()).all()
    assert encoder.to_dense(codes, "float32").dtype == np.float32
    close(encoder.to_dense(codes), dense)
    with pytest.raises(ValueError, match="this encoder have"):
        Encoder([Numbers()]).fit([np.arange(9.0)]).to_dense(codes)


def test_single_steps_say_why_they_cannot_take_codes():
    encoder, codes, dense = made()
    normed = fastnn.MLP.of([LayerNorm(), Dense(3)], n_in=encoder.n_inputs, output="softmax",
                           dtype="float64", random_state=0)
    steps = normed.steps(fastnn.SGD(0.1))
    with pytest.raises(ValueError, match=r"only Dense layers can read.*to_dense"):
        steps(codes, labels())
    first = steps(dense, labels())
    assert steps(dense, labels()) < first
    with pytest.raises(ValueError, match="mixup=0.2 cannot be had with codes"):
        net(encoder.n_inputs).steps(mixup=0.2)(codes, labels())


def test_parameters_set_by_the_user_are_used_at_once():
    encoder, codes, dense = made()
    own = net(encoder.n_inputs)
    own.predict(codes)
    own.weights[0][:] *= 2
    close(own.predict(codes), own.predict(dense))


def test_checkpoints(tmp_path):
    encoder, codes, _ = made()
    whole, parts = net(encoder.n_inputs), net(encoder.n_inputs)
    whole.fit(codes, labels(), epochs=4)
    parts.fit(codes, labels(), epochs=2, checkpoint=tmp_path / "c")
    parts.fit(codes, labels(), epochs=4, checkpoint=tmp_path / "c")
    assert whole.parameters.tobytes() == parts.parameters.tobytes()


def test_rows_of_codes():
    _, codes, dense = made()
    for rows in (slice(3, 90, 7), np.array([5, 5, 0, 149]), np.arange(150) % 3 == 0, slice(0, 0)):
        close(codes[rows].toarray(), dense[rows])
    assert len(codes) == 150 and codes.shape == dense.shape
    assert "150 rows" in repr(codes)


# ---- bad input ----

def changed(name, value):
    codes = made()[1]
    parts = {part: getattr(codes, part).copy() for part in ("data", "indices", "indptr", "adds")}
    parts[name] = value(parts[name])
    return Codes(**parts)


def put(at, value):
    def change(array):
        array[at] = value
        return array
    return change


@each("name, change, message", [
    ("indices", put(7, -1), "X.indices must hold values in 0"),
    ("indices", put(7, 10**6), "X.indices must hold values in 0"),
    ("indices", lambda a: a.astype(float), "X.indices must be"),
    ("indptr", put(0, 1), "X.indptr"),
    ("indptr", put(5, 10**6), "X.indptr"),
    ("data", lambda a: a[:5], "data has 5 entries, indices"),
    ("data", lambda a: a.tolist(), "data must be a one-dimensional array"),
    ("data", lambda a: a[:, np.newaxis], "data must be a one-dimensional array"),
    ("indices", lambda _: None, "indices must be a one-dimensional array"),
    ("indptr", lambda a: a[:0], "indptr 0"),
    ("indptr", np.array_repr, "indptr must be a one-dimensional array"),
    ("adds", put(0, 1), "X.adds"),
    ("adds", put(3, 7), "X.adds"),
    ("adds", lambda a: a.astype(int), "X.adds"),
])
def test_codes_outside_their_table_are_named(name, change, message):
    own = net(made()[0].n_inputs)
    for action in (own.predict, lambda X: own.fit(X, labels()), lambda X: own.loss(X, labels())):
        with pytest.raises(ValueError, match=message):
            action(changed(name, change))


def test_rows_of_codes_that_do_not_fit():
    """A million million entries were asked for, of which there are a thousand."""
    for value in (10**12, -1):
        codes = changed("indptr", put(-1, value))
        for action in (codes.toarray, lambda codes=codes: codes[149]):
            with pytest.raises(ValueError, match="indptr must begin with 0, never fall"):
                action()
    with pytest.raises(IndexError, match=r"rows has shape \(1, 2\)"):
        made()[1][[[0, 1]]]


@each("name, change, message", [
    ("indices", put(5, -1), "codes.indices must hold values in 0"),
    ("indices", put(5, 10**6), "codes.indices must hold values in 0"),
    ("indices", lambda a: a.astype(float), "codes.indices must be"),
    ("indptr", lambda a: np.append(a, a[-1] + 1), "indptr must begin with 0, never fall"),
    ("adds", put(3, 7), "codes.adds must be zeros and ones"),
    ("adds", lambda a: a[:0], "codes.adds must be zeros and ones|codes.indices must hold"),
    ("data", lambda a: a.astype(complex), "codes has dtype complex128, must be numeric"),
])
def test_what_is_no_code_is_not_made_dense(name, change, message):
    """A negative place was counted from the last input on, and half of a complex number was left
    out with a warning."""
    encoder, _, _ = made()
    actions = [lambda codes: codes.toarray()]
    if name == "data":
        actions.append(lambda codes: codes.astype("float64"))
    if name != "adds":
        actions.append(encoder.to_dense)
    for action in actions:
        with pytest.raises((TypeError, ValueError), match=message):
            action(changed(name, change))


@each("name", ["data", "indices", "indptr", "adds"])
def test_codes_hide_no_values(name):
    with pytest.raises(ValueError, match=f"^{name} is a masked array that hides values"):
        changed(name, lambda a: np.ma.array(a, mask=np.arange(len(a)) == 1))
    codes = changed("indices", np.ma.array)
    codes.indices[3] = np.ma.masked
    for action in (net(codes.shape[1]).predict, Codes.toarray):
        with pytest.raises(ValueError, match="indices is a masked array that hides values"):
            action(codes)


def test_arrays_of_codes_stay_theirs():
    """What had been put in the place of one, or deleted, was found missing by what read them."""
    _, codes, dense = made()
    for name in ("data", "indices", "indptr", "adds", "shape"):
        for action in (lambda name=name: setattr(codes, name, None),
                       lambda name=name: delattr(codes, name)):
            with pytest.raises(AttributeError, match=name):
                action()
    again = pickle.loads(pickle.dumps(codes))
    np.testing.assert_array_equal(again.toarray(), codes.toarray())
    close(codes.toarray(), dense)


def test_what_cannot_read_codes_says_so():
    encoder, codes, _ = made()
    n_in = encoder.n_inputs
    for layers in ([LayerNorm(), Dense(3)], [Residual([Dense(5), Dense(n_in)]), Dense(3)]):
        own = fastnn.MLP.of(layers, n_in=n_in, output="softmax", random_state=0)
        for action in (own.predict, lambda X, own=own: own.fit(X, labels())):
            with pytest.raises(ValueError, match=r"only Dense layers can read.*to_dense"):
                action(codes)
    own = net(n_in)
    for name, value in (("input_noise", 0.1), ("input_dropout", 0.1), ("mixup", 0.2)):
        with pytest.raises(ValueError, match=f"{name}={value} cannot be had with codes"):
            own.fit(codes, labels(), **{name: value})
    with pytest.raises(ValueError, match=rf"must be \(n_samples, {n_in + 1}\)"):
        net(n_in + 1).predict(codes)
    other = Encoder(Categories(most=n_in - 2)).fit([np.arange(1000)])
    with pytest.raises(ValueError, match="codes of one encoder"):
        own.fit_batches([(codes, labels()),
                         (other.transform([np.arange(150)], "float64"), labels())])


def test_derivatives_are_those_of_the_dense_encoding():
    encoder, codes, dense = made(n_rows=20)
    own, y, rng = net(encoder.n_inputs, sizes=(8, 3)), labels(20), np.random.default_rng(3)
    v = rng.normal(size=own.parameters.shape)
    np.testing.assert_array_equal(own.jacobian(codes), own.jacobian(dense))
    U = rng.normal(size=(20, 3))
    np.testing.assert_array_equal(own.vjp(codes, U), own.vjp(dense, U))
    np.testing.assert_allclose(own.input_gradient(codes, y), own.input_gradient(dense, y),
                               atol=1e-14)
    np.testing.assert_array_equal(own.hvp(codes, y, v), own.hvp(dense, y, v))


def test_who_wants_an_array_is_told_the_way():
    codes = made(n_rows=20)[1]
    model = fastnn.MLPClassifier((4,), max_iter=2)
    for take in (lambda: np.asarray(codes), lambda: model.fit(codes, labels(20))):
        with pytest.raises(TypeError, match=r"give the encoder's to_dense\(X\)"):
            take()
