"""A name that is not known: the message says which was meant, or what there is instead."""

import re
import warnings

import numpy as np
import pytest

import fastnn
from fastnn.core import words

X = np.random.default_rng(0).normal(size=(30, 2))
Y = X.sum(axis=1)
LABELS = (Y > 0).astype(int)
NET = fastnn.MLP((2, 3, 1), random_state=0)


def refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("given, meant", [
    ("ReLU", "relu"), ("linear", "identity"), ("LeakyReLU", "leaky_relu"), ("Swish", "silu"),
    ("HardTanh", "hard_tanh"), ("TANH", "tanh"), ("heaviside", "step")])
def test_other_names_of_activations_are_taken(given, meant):
    assert fastnn.MLP((2, 3, 1), activation=given).activations == (meant,)
    assert fastnn.MLP((2, 3, 1), output=given).output == meant
    assert fastnn.Dense(3, given).activation == meant


@pytest.mark.parametrize("given, meant", [
    ("MAE", "absolute_error"), ("smooth_l1", "huber"), ("pinball", "quantile"),
    ("LogCosh", "log_cosh"), ("Squared_Error", "squared_error")])
def test_other_names_of_losses_are_taken(given, meant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NET.loss(X, Y, loss=given) == NET.loss(X, Y, loss=meant)
    classes = fastnn.MLP((2, 2), output="softmax", random_state=0)
    found = classes.loss(X, LABELS, loss="sparse_categorical_crossentropy")
    assert found == classes.loss(X, LABELS)


def test_other_names_of_optimizers_and_initializers_are_taken():
    histories = [fastnn.MLP((2, 3, 1), random_state=0).fit(X, Y, optimizer=name, epochs=2)
                 for name in ("AdamW", "adamw")]
    assert histories[0].loss == histories[1].loss
    assert fastnn.MLP((2, 1), initializer="xavier_uniform").initializer == "glorot_uniform"
    assert fastnn.MLP((2, 1), initializer="kaiming_normal").initializer == "he_normal"


@pytest.mark.parametrize("call, text", [
    (lambda: fastnn.MLP((2, 3, 1), "rellu"), "activation='rellu' must be one of: identity, "),
    (lambda: fastnn.MLP((2, 3, 1), "rellu"), "; did you mean 'relu'"),
    (lambda: fastnn.MLP((2, 3, 1), "softmax"), "softmax is for the output alone"),
    (lambda: fastnn.MLP((2, 1), output="sofmax"), "; did you mean 'softmax'?"),
    (lambda: fastnn.MLP((2, 1), initializer="he"), "; did you mean he_uniform or he_normal?"),
    (lambda: fastnn.MLP((2, 1), gemm="blass"), "; did you mean 'blas'?"),
    (lambda: NET.loss(X, Y, loss="hubr"), "; did you mean 'huber'?"),
    (lambda: NET.loss(X, Y, loss="log_loss"), "'cross_entropy' of output softmax"),
    (lambda: NET.fit(X, Y, optimizer="adamm"), "; did you mean 'adam'"),
    (lambda: NET.fit(X, Y, optimizer="lbfgs"), "L-BFGS is an object: optimizer=fastnn.LBFGS()"),
    (lambda: NET.fit(X, Y, validation_data=0.2), "validation_data=0.2 must be a pair (X, y): rows "
     "that the fit does not have"),
    (lambda: fastnn.MLP((2, 3, 1), dropout=50), "must be in [0, 1): a share, 0.5 for 50 %"),
    (lambda: NET.fit(X, Y, loss="bce"), "not 'identity'; with 'identity' go 'squared_error', "),
    (lambda: NET.fit(X, Y, callbacks=[fastnn.EarlyStopping("val_los")], validation_data=(X, Y)),
     "; did you mean 'val_loss'"),
])
def test_a_value_says_which_was_meant(call, text):
    refused(call, ValueError, text)


def test_metrics_and_curves_say_which_were_meant():
    pytest.importorskip("sklearn")
    refused(lambda: NET.fit(X, Y, validation_data=(X, Y), metrics=["mse"]), ValueError,
            "metric 'mse' is no scorer of scikit-learn; did you mean 'neg_mean_squared_error'?")
    history = fastnn.MLP((2, 1)).fit(X, Y, epochs=1)
    refused(lambda: history["val_loss"], KeyError, "where the fit has validation_data")
    refused(lambda: history["los"], KeyError, "; did you mean 'loss'?")
    refused(lambda: history.losss, AttributeError, "attribute 'losss'; did you mean 'loss'?")


IN_OPTIMIZER = "the optimizer has it: optimizer=fastnn.Adam(learning_rate=0.01)"


@pytest.mark.parametrize("call, text", [
    (lambda: fastnn.Adam(lr=0.1), "Adam() got an unexpected keyword argument 'lr'; did you mean "
     "'learning_rate'?"),
    (lambda: fastnn.Adam(betas=(0.9, 0.99)), "did you mean 'beta1'?"),
    (lambda: fastnn.AdamW(wd=0.1), "did you mean 'weight_decay'?"),
    (lambda: fastnn.SGD(0.1, nestrov=True), "did you mean 'nesterov'?"),
    (lambda: fastnn.EMA(fastnn.Adam(), decy=0.9), "did you mean 'decay'?"),
    (lambda: fastnn.EvolutionStrategy(populaton=4), "did you mean 'population'?"),
    (lambda: fastnn.LBFGS(max_iters=4), "did you mean 'max_iter'?"),
    (lambda: fastnn.losses.Huber(beta=1.0), "did you mean 'delta'?"),
    (lambda: fastnn.schedules.Cosine(lr=0.1), "did you mean 'learning_rate'?"),
    (lambda: fastnn.EarlyStopping(patiance=3), "did you mean 'patience'?"),
    (lambda: fastnn.EarlyStopping(restore_best_weights=True), "did you mean 'restore_best'?"),
    (lambda: fastnn.Dense(n_units=3), "Dense() got an unexpected keyword argument 'n_units'; did "
     "you mean 'units'?"),
    (lambda: fastnn.Dropout(p=0.5), "did you mean 'rate'?"),
    (lambda: fastnn.MLP((2, 1), activations="relu"), "did you mean 'activation'?"),
    (lambda: fastnn.MLP((2, 1), seed=1), "did you mean 'random_state'?"),
    (lambda: fastnn.MLP((2, 1), epochs=1), "training has it: net.fit(X, y, epochs=10)"),
    (lambda: fastnn.MLP(hidden_layer_sizes=(2, 1)), "sizes has all layers"),
    (lambda: fastnn.MLP.of([fastnn.Dense(2)], n_inn=3), "did you mean 'n_in'?"),
    (lambda: fastnn.load(filename="x"), "did you mean 'path'?"),
    (lambda: fastnn.fit_many([NET], X, Y, lr=1), IN_OPTIMIZER),
    (lambda: NET.fit(X, Y, lr=0.1), IN_OPTIMIZER),
    (lambda: NET.fit(X, Y, learning_rate=0.1), IN_OPTIMIZER),
    (lambda: NET.fit(X, Y, verbose=1), "progress=True shows how far the fit is"),
    (lambda: NET.fit(X, Y, validation_split=0.1), "validation_data=(X_val, y_val)"),
    (lambda: NET.fit(X, Y, early_stopping=True), "callbacks=[fastnn.EarlyStopping(patience=10)]"),
    (lambda: NET.fit(X, Y, callbak=print), "did you mean 'callback' or 'callbacks'?"),
    (lambda: NET.fit(X, Y, epohcs=3), "MLP.fit() got an unexpected keyword argument 'epohcs'; did "
     "you mean 'epochs'?"),
    (lambda: NET.fit(X, Y, zzz=3), "; there are: X, y, loss, optimizer, "),
    (lambda: NET.fit(X), "MLP.fit() missing 1 required positional argument: 'y'"),
    (lambda: NET.steps(lr=0.1), IN_OPTIMIZER),
    (lambda: fastnn.MLP((2, 1), device="cuda"), "fastnn computes on the CPU alone"),
    (lambda: NET.fit(X, Y, gpu=True), "fastnn computes on the CPU alone"),
    (lambda: NET.fit_batches(X, Y), "a source gives pairs (X, y); fit(X, y) takes arrays"),
    (lambda: fastnn.MLP((2, 1), "relu", "identity", None), "but 5 were given: sizes, activation, "
     "output may stand without a name, all others need it"),
    (lambda: fastnn.tables.read("t.csv", sep=";"), "did you mean 'separator'?"),
    (lambda: NET.fit(X, Y, loss=lambda y, z: (y - z) ** 2), "fastnn.losses.Custom(function, "),
    (lambda: NET.fit(X, Y, optimizer=0.01), "goes into one: fastnn.Adam(0.01)"),
    (lambda: NET.fit(X, Y, optimizer=fastnn.schedules.Cosine(0.1)), "fastnn.Adam(schedule)"),
    (lambda: fastnn.Adam(NET.parameters), "but it to net.fit(optimizer=...)"),
    (lambda: fastnn.Adam("0.1"), "or a function of the epoch"),
    (lambda: fastnn.Dense(4, 8), "activation=8 must be a string, such as 'relu': a layer is told"),
    (lambda: NET.save(X), "must be a path, such as path='folder/name'"),
    (lambda: fastnn.load(NET), "path=MLP((2, 3, 1), "),
    (lambda: fastnn.CSVLogger(3), "path=3 must be a path"),
    (lambda: fastnn.TensorBoard(3), "folder=3 must be a path"),
    (lambda: fastnn.Snapshots(3), "folder=3 must be a path"),
    (lambda: NET.save("x", scaler=object()), "of sklearn's StandardScaler, fitted, (scaler"),
])
def test_a_parameter_says_which_was_meant(call, text):
    refused(call, TypeError, text)


def test_an_error_from_within_a_call_stays_as_it_is():
    def callback(epoch, net, history):
        raise TypeError("f() got an unexpected keyword argument 'lr'")

    with pytest.raises(TypeError, match=r"^f\(\) got an unexpected keyword argument 'lr'$"):
        NET.fit(X, Y, callback=callback)


def test_networks_have_no_getattr():
    """It would make every attribute slower: 0.2 of the 0.9 microseconds of a small prediction."""
    assert not any("__getattr__" in vars(kind) or "__getattribute__" in vars(kind)
                   for kind in (*fastnn.MLP.__mro__[:-1], *fastnn.Predictor.__mro__[:-1]))


def test_arrays_of_a_network_are_not_replaced_in_silence():
    net = fastnn.MLP((2, 3, 1), random_state=0)
    with pytest.raises(TypeError, match=re.escape("net.weights[0][:] = W writes into")):
        net.weights[0] = np.zeros((2, 3))
    with pytest.raises(AttributeError, match=re.escape("net.set_weights([W0, b0, ...])")):
        net.biases = []
    net.weights[0][:] = 0
    assert not net.predict(X).any() and isinstance(net.weights, tuple)


def test_a_setting_of_an_optimizer_names_the_way():
    with pytest.raises(AttributeError, match="learning_rate of Adam cannot be set.*in a callback"):
        fastnn.Adam().learning_rate = 0.1


def test_optimizers_that_are_none():
    refused(lambda: NET.fit(X, Y, optimizer=fastnn.Adam), TypeError, "must be an Optimizer, an "
            "object: Adam()")

    class Own(fastnn.optimizers.Optimizer):
        name = "own"

    refused(lambda: NET.fit(X, Y, optimizer=Own()), ValueError, 'CONTRIBUTING.md, "A new optim')
    refused(lambda: NET.fit(X, Y, callbacks=fastnn.EarlyStopping("loss")), TypeError,
            "callbacks=[...]")
    refused(lambda: NET.fit(X, Y, checkpoint=True), TypeError, "checkpoint=True must be a path")


def test_aliases_name_what_there_is():
    """Else an alias would be taken for nothing, without a word."""
    from fastnn.core import _kernels
    from fastnn.network.initializers import INITIALIZERS
    from fastnn.training.losses import BY_NAME

    known = {"activation": _kernels.ACTIVATIONS, "loss": BY_NAME, "initializer": INITIALIZERS,
             "optimizer": ()}
    for kind, aliases in words.ALIASES.items():
        for alias, name in aliases.items():
            assert name in known[kind] and alias == words._folded(alias)


def test_nothing_of_this_is_imported_where_nothing_is_wrong(run_python):
    code = ("import sys, numpy, fastnn\n"
            "before = set(sys.modules)\n"
            "net = fastnn.MLP((2, 3, 1), 'tanh', random_state=0)\n"
            "net.predict(numpy.zeros((3, 2), 'f'))\n"
            "fastnn.load, fastnn.Predictor, fastnn.Adam(0.1)\n"
            "print(*{'fastnn.core.words', 'fastnn.core.cures', 'fastnn.core.types',\n"
            "        'fastnn.files.kinds', 'difflib', 'typing_extensions', 'numpy.typing'}\n"
            "      & set(sys.modules))")
    done = run_python(code)
    assert done.stdout.strip() == "", done.stdout + done.stderr


def test_an_optimizer_shows_what_has_been_chosen():
    assert repr(fastnn.SGD(0.1, momentum=0.8)) == "SGD(learning_rate=0.1, momentum=0.8)"
    assert repr(fastnn.Adam()) == "Adam(learning_rate=0.001)"
    assert repr(fastnn.EMA(fastnn.Adam(0.01))) == "EMA(optimizer=Adam(learning_rate=0.01))"
    for optimizer in (fastnn.Adam(0.1, eps_hat=True, layers={0: {"alpha": 1.0}}),
                      fastnn.Muon(adam=fastnn.AdamW()), fastnn.Lion()):
        assert eval(repr(optimizer), vars(fastnn)) == optimizer


def test_parameters_change_in_place():
    """``-=`` gives the vector itself to the setter, when the step has been made."""
    net = fastnn.MLP((2, 3, 1), random_state=0)
    before, (_, grad) = net.parameters.copy(), net.loss_and_grad(X, Y)
    net.parameters -= 0.5 * grad
    np.testing.assert_array_equal(net.parameters, before - 0.5 * grad)
    refused(lambda: setattr(net, "parameters", before), AttributeError,
            "net.parameters[:] = values writes into them")


def test_a_rate_that_is_the_name_of_a_schedule():
    refused(lambda: fastnn.Adam("cosine"), TypeError, "a schedule such as "
            "fastnn.schedules.Cosine(0.01), or a function of the epoch")


def test_metrics_need_validation_rows(run_python):
    for metrics in (["accuracy"], "accuracy", {"a": "accuracy"}):
        refused(lambda metrics=metrics: NET.fit(X, Y, metrics=metrics), ValueError,
                "are taken on validation data: give validation_data=(X, y)")
    done = run_python("import sys, fastnn\n"
                      "try: fastnn.MLP((1, 1)).fit([[1]], [[1]], metrics=['accuracy'])\n"
                      "except ValueError: print('sklearn' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_a_method_of_a_callback_that_is_misspelt():
    class Watch(fastnn.Callback):
        def on_epoch_ends(self, state):
            pass

        def on_server(self):
            pass

    with pytest.warns(fastnn.HintWarning) as told:
        NET.fit(X, Y, epochs=1, callbacks=[Watch()])
    assert [str(one.message) for one in told] == [
        "Watch has a method 'on_epoch_ends', which nothing calls; did you mean 'on_epoch_end'?"]


def test_what_is_no_network_is_named_by_the_range_test():
    pytest.importorskip("sklearn")
    refused(lambda: fastnn.find_learning_rate(fastnn.MLPClassifier(), X, LABELS), TypeError,
            "net=MLPClassifier must be a fastnn.MLP")


def test_a_log_in_no_folder():
    refused(lambda: NET.fit(X, Y, epochs=1, callbacks=[fastnn.CSVLogger("nowhere/log.csv")]),
            FileNotFoundError, "nowhere' to save 'log.csv' in")


def test_export_says_that_the_model_comes_first():
    refused(lambda: fastnn.export.c_header("net.h", NET), TypeError,
            "must be a path; the model comes first: fastnn.export.c_header(model, path)")
    refused(lambda: fastnn.export.onnx("net.onnx", NET), TypeError,
            "fastnn.export.onnx(model, path)")


@pytest.mark.parametrize("name, text", [
    ("Sequential", "fastnn.MLP.of(layers, n_in=...)"), ("Linear", "there is fastnn.Dense(units)"),
    ("load_model", "there is fastnn.load(path)"), ("Adamw", "'AdamW'"),
    ("to_onnx", "fastnn.export.onnx(model, path)"), ("read_csv", "fastnn.tables.read(path)"),
])
def test_names_of_the_package_elsewhere(name, text):
    refused(lambda: getattr(fastnn, name), AttributeError, text)


def test_names_that_are_said_to_be_there_are():
    said = " ".join(words.MODULE.values())
    for path in set(re.findall(r"fastnn((?:\.[A-Za-z]\w*)+)", said)):
        found = fastnn
        for part in path[1:].split("."):
            found = getattr(found, part)
    assert not any(words._folded(name) in words.MODULE for name in fastnn.__all__)
