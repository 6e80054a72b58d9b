"""`NetworkSpec`: what its layers accept, that it is frozen, plain values, and the operations it
comes down to."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
from layer_networks import networks
from trainers import make_trainer

import fastnn
from fastnn import (
    GLU,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    Heads,
    LayerNorm,
    NetworkSpec,
    PReLU,
    Repeat,
    Residual,
    Scale,
)
from fastnn.network.lowering import INPUT, Op, lower, slots
from fastnn.network.parameters import ParameterLayout
from fastnn.network.spec import LAYERS, MAX_DEPTH

# ---- arguments ----


def nested(levels):
    layers = [Dense(3)]
    for _ in range(levels):
        layers = [Residual(layers)]
    return layers


REFUSED = [  # what is made, the error, and what its message says: name and value, rule, remedy
    (lambda: Dense(0), ValueError, "units=0 must be >= 1"),
    (lambda: Dense(-3), ValueError, "units=-3 must be >= 1"),
    (lambda: Dense(2.5), TypeError, "units=2.5 must be an integer"),
    (lambda: Dense("3"), TypeError, "units='3' must be an integer"),
    (lambda: Dense(True), TypeError, "units=True must be an integer"),
    (lambda: Dense(None), TypeError, "units=None must be an integer"),
    (lambda: Dense(2**31), ValueError, "units=2147483648 is beyond the 32-bit dimensions of BLAS"),
    (lambda: Dense(3, "rleu"), ValueError, "activation='rleu' must be one of: .*relu"),
    (lambda: Dense(3, "softmax"), ValueError, "activation='softmax' must be one of: "),
    (lambda: Dense(3, None), TypeError, "activation=None must be a string, one of: "),
    (lambda: Activation("tahn"), ValueError, "name='tahn' must be one of: .*tanh"),
    (lambda: Activation(3), TypeError, "name=3 must be a string, one of: "),
    (lambda: LayerNorm(0), ValueError, "eps=0.0 must be finite and > 0"),
    (lambda: LayerNorm(-1e-5), ValueError, "eps=-1e-05 must be finite and > 0"),
    (lambda: LayerNorm(float("nan")), ValueError, "eps=nan must be finite and > 0"),
    (lambda: LayerNorm(float("inf")), ValueError, "eps=inf must be finite and > 0"),
    (lambda: LayerNorm("1e-5"), TypeError, "eps='1e-5' must be a"),
    (lambda: LayerNorm(None), TypeError, "eps=None must be a"),
    (lambda: Dropout(1), ValueError, r"rate=1.0 must be in \[0, 1\)"),
    (lambda: Dropout(-0.1), ValueError, r"rate=-0.1 must be in \[0, 1\)"),
    (lambda: Dropout(float("nan")), ValueError, r"rate=nan must be in \[0, 1\)"),
    (lambda: Dropout("half"), TypeError, "rate='half' must be a"),
    (lambda: Residual([]), ValueError, "layers of Residual must hold at least one layer"),
    (lambda: Residual(Dense(3)), TypeError,
     r"layers of Residual must be a sequence of layers, such as \[fastnn.Dense\(10\)\]"),
    (lambda: Residual([Dense(3), 4]), TypeError,
     r"layers of Residual\[1\] is of type int, must be one of: Dense, Activation"),
    (lambda: Residual("ab"), TypeError, r"layers of Residual\[0\] is of type str"),
    (lambda: nested(MAX_DEPTH + 1), ValueError, f"deeper in each other than {MAX_DEPTH}"),
    (lambda: NetworkSpec(0, [Dense(2)]), ValueError, "n_in=0 must be >= 1"),
    (lambda: NetworkSpec("3", [Dense(2)]), TypeError, "n_in='3' must be an integer"),
    (lambda: NetworkSpec(3, []), ValueError, "layers must hold at least one layer"),
    (lambda: NetworkSpec(3, None), TypeError, "layers must be a sequence of layers, such as"),
    (lambda: NetworkSpec(3, [Dense]), TypeError, r"layers\[0\] is of type type, must be one of: "),
    (lambda: NetworkSpec(3, [LayerNorm(), Residual([Dropout(0.1)])]), ValueError,
     "layers must hold a Dense layer"),
    (lambda: NetworkSpec(3, [Residual([Dense(4)]), Dense(2)]), ValueError,
     "a Residual of 3 inputs has 4 outputs, must have 3"),
    (lambda: NetworkSpec(3, [Dense(4), Residual([Residual([Dense(4), Dense(5)])])]), ValueError,
     "a Residual of 4 inputs has 5 outputs, must have 4"),
    (lambda: NetworkSpec(3, [Dense(2)], "softmin"), ValueError, "output='softmin' must be one of"),
    (lambda: NetworkSpec(3, [Dense(2)], dtype="float16"), ValueError,
     "dtype='float16' must be float32 or float64"),
    (lambda: NetworkSpec(3, [Dense(2**31 - 1)] * 40), ValueError, "more than any memory holds"),
    (lambda: NetworkSpec.chain((3,)), ValueError, r"sizes=\(3,\) must have at least two entries"),
    (lambda: NetworkSpec.chain((3, 4, 2), norm="group"), ValueError,
     "norm='group' must be None, 'layer' or 'batch'"),
    (lambda: NetworkSpec.chain((3, 4, 2), residual="yes"), TypeError, "residual='yes' must be"),
    (lambda: NetworkSpec.chain((3, 4, 2), dropout=1), ValueError,
     r"dropout=1.0 must be in \[0, 1\)"),
    (lambda: NetworkSpec.chain((3, 4, 2), ["relu"] * 2), ValueError,
     "activation=.* has 2 entries, must have 1: one per hidden layer"),
]


def test_wrong_arguments_are_refused_by_name():
    for make, error, message in REFUSED:
        with pytest.raises(error, match=message):
            make()


def test_arguments_are_kept_as_plain_values():
    assert Dense(np.int64(3), "logistic") == Dense(3, "sigmoid")
    assert type(Dense(np.int64(3)).units) is int
    assert type(Dropout(np.float32(0.5)).rate) is float
    assert type(LayerNorm(1).eps) is float
    spec = NetworkSpec(np.int32(3), iter([Dense(2)]), dtype=np.float64)
    assert spec == NetworkSpec(3, (Dense(2),), "identity", "float64")
    assert type(spec.n_in) is int and type(spec.dtype) is str and type(spec.layers) is tuple
    assert Residual([Dense(3)]).layers == (Dense(3),)
    deepest = NetworkSpec(3, nested(MAX_DEPTH))
    assert NetworkSpec.from_plain(json.loads(json.dumps(deepest.to_plain()))) == deepest


# ---- frozen ----


def test_nothing_of_a_description_can_be_set():
    layers = [Embed(2, (1, 2)), GLU(), Repeat(2), Dense(3), Activation("relu"), LayerNorm(),
              BatchNorm(), Scale(), PReLU(), Dropout(0.1), Residual([Dense(3)]), Heads(3, 2)]
    assert {type(layer) for layer in layers} == set(LAYERS.values())
    spec = NetworkSpec(3, layers)
    for described in (*layers, spec):
        for field in described.__slots__:
            before = getattr(described, field)
            with pytest.raises(AttributeError):
                setattr(described, field, before)
            with pytest.raises(AttributeError):
                delattr(described, field)
            assert getattr(described, field) == before
        with pytest.raises(AttributeError):
            described.more = 1
    for name in ("sizes", "n_out", "activations", "dropout", "n_parameters", "is_chain", "needs"):
        with pytest.raises(AttributeError):
            setattr(spec, name, ())


def test_nothing_that_describes_a_network_can_be_set(dtype):
    net = fastnn.MLP((3, 5, 2), dropout=0.2, dtype=dtype, random_state=0)
    trainer = make_trainer((3, 5, 2), "relu", "identity", "squared_error", dtype=dtype,
                           optimizer=None, batch_size=4)
    X = np.ones((4, 3), dtype)
    before = net.predict(X)
    for holder, names in [
            (net, ("dropout", "sizes", "activations", "output", "dtype", "spec", "n_parameters",
                   "parameters", "weights", "biases")),
            (trainer, ("spec", "layout", "plan", "parameters", "dtype", "weights", "biases",
                       "loss", "step"))]:
        for name in names:
            # net.parameters -= step assigns the array that it has
            for value in ((), getattr(holder, name))[:1 if name == "parameters" else 2]:
                with pytest.raises(AttributeError):
                    setattr(holder, name, value)
    np.testing.assert_array_equal(net.predict(X), before)
    net.fit(X, X[:, :2], epochs=1)


# ---- plain values ----


def described():
    return [spec for _, spec, _, _ in networks(28, dropout=0.25)] + [
        NetworkSpec.chain((4, 3), dtype="float32"), NetworkSpec.chain((4, 5, 5, 3), "gelu",
                                                                      dropout=(0.1, 0))]


def test_round_trips():
    specs = described()
    for spec in specs:
        plain = json.loads(json.dumps(spec.to_plain()))
        for same in (NetworkSpec.from_plain(plain), pickle.loads(pickle.dumps(spec)),
                     copy.deepcopy(spec), eval(repr(spec))):
            assert same == spec and hash(same) == hash(spec)
            assert same.to_plain() == spec.to_plain()
        assert pickle.loads(pickle.dumps(ParameterLayout(spec))).blocks == (
            ParameterLayout(spec).blocks)
    assert len(set(specs)) == len(specs)
    for one, other in itertools.combinations(specs, 2):
        assert one != other


def test_another_setting_is_another_description():
    spec = NetworkSpec(3, [Dense(3, "relu"), Residual([LayerNorm(), Dropout(0.1)]), Dense(2)])
    others = [
        NetworkSpec(3, [Dense(3, "tanh"), *spec.layers[1:]]),
        NetworkSpec(3, [spec.layers[0], Residual([LayerNorm(1e-6), Dropout(0.1)]), Dense(2)]),
        NetworkSpec(3, [spec.layers[0], Residual([LayerNorm(), Dropout(0.2)]), Dense(2)]),
        NetworkSpec(3, [spec.layers[0], LayerNorm(), Dropout(0.1), Dense(2)]),
        NetworkSpec(4, spec.layers), NetworkSpec(3, spec.layers, "exp"),
        NetworkSpec(3, spec.layers, dtype="float64"),
    ]
    assert len({spec, *others}) == 1 + len(others)


def test_plain_values_that_describe_nothing_are_refused():
    good = NetworkSpec(3, [Dense(3), Residual([LayerNorm()]), Dense(2)]).to_plain()
    bad = [None, [], {}, {**good, "more": 1}, {**good, "layers": ()}, {**good, "layers": {}},
           {key: good[key] for key in ("n_in", "layers", "output")},
           {**good, "layers": [*good["layers"], {"kind": "teleport"}]},
           {**good, "layers": [*good["layers"], {"kind": None}]},
           {**good, "layers": [*good["layers"], {"kind": "dropout"}]},
           {**good, "layers": [*good["layers"], {"kind": "dropout", "rate": 0.1, "more": 1}]},
           {**good, "layers": [*good["layers"], {"kind": "residual", "layers": [3]}]},
           {**good, "layers": [*good["layers"], {"kind": ["dropout"], "rate": 0.1}]}]
    for plain in bad:
        with pytest.raises((KeyError, TypeError, ValueError)):
            NetworkSpec.from_plain(plain)


# ---- what it says ----


def test_chains_are_what_sizes_activations_and_dropout_say():
    chain = NetworkSpec.chain
    for spec in (chain((3, 2)), chain((3, 4, 2)), chain((3, 4, 5, 2), ("tanh", "gelu"), "softmax"),
                 chain((3, 4, 5, 2), dropout=(0, 0.5)), chain((3, 4, 4, 2), dtype="float64"),
                 chain((3, 4, 2), residual=True),  # nowhere as wide
                 chain((3, 2), norm="layer", residual=True, dropout=0.5),
                 NetworkSpec(3, [Dense(4, "relu"), Dropout(0.1), Dense(2)], "exp")):
        assert spec.is_chain and spec.needs == ()
        assert spec == chain(spec.sizes, spec.activations, spec.output, dtype=spec.dtype,
                             dropout=spec.dropout)
    for layers, needs in [
            ([Dense(4), Activation("relu"), Dense(2)], ("activation", "layers")),
            ([Dense(4), Dropout(0.0), Dense(2)], ("dropout", "layers")),
            ([Dropout(0.5), Dense(2)], ("dropout", "layers")),
            ([Dense(2), Dropout(0.5)], ("dropout", "layers")),
            ([Dense(2, "relu")], ("layers",)),
            ([Dense(4), Dropout(0.5), Dropout(0.5), Dense(2)], ("dropout", "layers")),
            ([LayerNorm(), Dense(2)], ("layer_norm", "layers")),
            ([Residual([Dense(3)]), Dense(2)], ("layers", "residual")),
            ([Residual([Residual([LayerNorm()])]), Dense(2)],
             ("layer_norm", "layers", "residual"))]:
        spec = NetworkSpec(3, layers)
        assert not spec.is_chain and spec.needs == needs


def test_short_way_writes_the_layers():
    assert NetworkSpec.chain((3, 4, 4, 2), "tanh", norm="layer", residual=True, dropout=0.1) == (
        NetworkSpec(3, [
            Dense(4), LayerNorm(), Activation("tanh"), Dropout(0.1),
            Residual([Dense(4), LayerNorm(), Activation("tanh"), Dropout(0.1)]), Dense(2)]))
    assert NetworkSpec.chain((4, 4, 4), residual=True) == NetworkSpec(
        4, [Residual([Dense(4, "relu")]), Dense(4)])  # never the last layer


def test_what_it_says_of_any_layers():
    spec = NetworkSpec(3, [LayerNorm(), Dropout(0.5), Dense(4), Residual([
        Activation("tanh"), Dense(5, "relu"), Dropout(0.25), LayerNorm(), Dense(4)]), Dense(2)],
        "softmax")
    assert spec.sizes == (3, 4, 5, 4, 2) and spec.n_out == 2
    assert spec.activations == ("tanh", "relu", "identity")
    assert spec.dropout == (0, 0.25, 0)
    assert spec.n_parameters == 2 * 3 + 4 * 4 + 5 * 5 + 2 * 5 + 6 * 4 + 5 * 2
    layout = ParameterLayout(spec)
    assert layout.n_parameters == spec.n_parameters == sum(block.size for block in layout.blocks)
    assert [block.name for block in layout.blocks] == [
        f"layers.{i}.{kind}" for i, kinds in enumerate([
            ("gain", "bias"), ("weight", "bias"), ("weight", "bias"), ("gain", "bias"),
            ("weight", "bias"), ("weight", "bias")]) for kind in kinds]
    assert [block.name for block in layout.blocks if block.decay] == [
        "layers.1.weight", "layers.2.weight", "layers.4.weight", "layers.5.weight"]


# ---- operations ----


def dense(n_in, n_out, source, activation="identity", dropout=0.0):
    return Op("dense", n_in, n_out, source, INPUT, activation, dropout)


def norm(n, source, activation="identity", dropout=0.0, eps=1e-5):
    return Op("layer_norm", n, n, source, INPUT, activation, dropout, eps)


def copied(n, source, activation="identity", dropout=0.0):
    return Op("copy", n, n, source, INPUT, activation, dropout)


def added(n, source, other, activation="identity", dropout=0.0):
    return Op("add", n, n, source, other, activation, dropout)


LOWERED = [  # layers of 3 inputs, with output exp; operations
    ([Dense(2)], [dense(3, 2, -1, "exp")]),
    ([Dense(4, "relu"), Dropout(0.5), Dense(2)], [
        dense(3, 4, -1, "relu", 0.5), dense(4, 2, 0, "exp")]),
    ([Dense(4), Activation("relu"), Dropout(0.5), Dense(2)], [
        dense(3, 4, -1, "relu", 0.5), dense(4, 2, 0, "exp")]),
    ([Dense(4), LayerNorm(), Activation("relu"), Dropout(0.5), Dense(2)], [
        dense(3, 4, -1), norm(4, 0, "relu", 0.5), dense(4, 2, 1, "exp")]),
    # what does nothing is nothing, where it does not have to keep another value as it is
    ([Dense(4), Activation("identity"), Dropout(0), Activation("tanh"), Dense(2)], [
        dense(3, 4, -1, "tanh"), dense(4, 2, 0, "exp")]),
    # two activations, two dropouts, an activation after dropout: the second one is its own
    ([Dense(4, "tanh"), Activation("relu"), Dense(2)], [
        dense(3, 4, -1, "tanh"), copied(4, 0, "relu"), dense(4, 2, 1, "exp")]),
    ([Dense(4), Dropout(0.5), Dropout(0.25), Dense(2)], [
        dense(3, 4, -1, dropout=0.5), copied(4, 0, dropout=0.25), dense(4, 2, 1, "exp")]),
    ([Dense(4), Dropout(0.5), Activation("relu"), Dropout(0.25), Dense(2)], [
        dense(3, 4, -1, dropout=0.5), copied(4, 0, "relu", 0.25), dense(4, 2, 1, "exp")]),
    # inputs stay as they are
    ([Activation("tanh"), Dense(2)], [copied(3, -1, "tanh"), dense(3, 2, 0, "exp")]),
    ([Dropout(0.5), Dense(2)], [copied(3, -1, dropout=0.5), dense(3, 2, 0, "exp")]),
    ([LayerNorm(0.1), Dense(2)], [norm(3, -1, eps=0.1), dense(3, 2, 0, "exp")]),
    # the last operation has the output's activation
    ([Dense(4, "relu")], [dense(3, 4, -1, "relu"), copied(4, 0, "exp")]),
    ([Dense(4), Dropout(0.5)], [dense(3, 4, -1, dropout=0.5), copied(4, 0, "exp")]),
    ([Dense(4), LayerNorm()], [dense(3, 4, -1), norm(4, 0, "exp")]),
    ([Residual([Dense(3)])], [dense(3, 3, -1), added(3, 0, -1, "exp")]),
    # a residual reads its inputs twice
    ([Dense(4, "relu"), Residual([Dense(5, "tanh"), Dropout(0.5), Dense(4)]), Dense(2)], [
        dense(3, 4, -1, "relu"), dense(4, 5, 0, "tanh", 0.5), dense(5, 4, 1), added(4, 2, 0),
        dense(4, 2, 3, "exp")]),
    ([Dense(4), Residual([LayerNorm(), Dense(4)]), Activation("relu"), Dropout(0.5), Dense(2)], [
        dense(3, 4, -1), norm(4, 0), dense(4, 4, 1), added(4, 2, 0, "relu", 0.5),
        dense(4, 2, 3, "exp")]),
    ([Dense(4), Residual([Activation("relu")]), Dense(2)], [
        dense(3, 4, -1), copied(4, 0, "relu"), added(4, 1, 0), dense(4, 2, 2, "exp")]),
    ([Dense(4), Residual([Dropout(0), Activation("identity")]), Dense(2)], [
        dense(3, 4, -1), copied(4, 0), added(4, 1, 0), dense(4, 2, 2, "exp")]),
    ([Residual([Residual([Dense(3)]), Residual([LayerNorm()])]), Dense(2)], [
        dense(3, 3, -1), added(3, 0, -1), norm(3, 1), added(3, 2, 1), added(3, 3, -1),
        dense(3, 2, 4, "exp")]),
    ([Dense(4), Residual([Residual([Residual([Dense(4)])])]), Dense(2)], [
        dense(3, 4, -1), dense(4, 4, 0), added(4, 1, 0), added(4, 2, 0), added(4, 3, 0),
        dense(4, 2, 4, "exp")]),
]


def test_lowering():
    for layers, ops in LOWERED:
        assert lower(NetworkSpec(3, layers, "exp")) == tuple(ops), layers


def test_dense_layers_of_the_short_way_stay_one_operation_each():
    ops = lower(NetworkSpec.chain((3, 8, 8, 2), "gelu", "softmax", dropout=0.1))
    assert [op.kind for op in ops] == ["dense"] * 3
    assert [op.dropout for op in ops] == [0.1, 0.1, 0]
    assert [op.activation for op in ops] == ["gelu", "gelu", "softmax"]


def assert_nothing_is_overwritten(ops):
    """Go through the operations as a prediction does: whoever reads a value finds it still there.
    """
    found, buffers = slots(ops), {}
    for i, op in enumerate(ops):
        reads = [op.source] + [op.other] * (op.kind == "add")
        for value in reads:
            if value != INPUT:
                assert buffers[found[value]] == value
                assert found[i] != found[value]  # no kernel works in place
        buffers[found[i]] = i
    return max(found) + 1


def test_no_buffer_is_written_before_its_last_reader():
    for _, spec, _, _ in networks(56, dropout=0.1):
        assert_nothing_is_overwritten(lower(spec))
    for seed in range(300):
        rng, ops = np.random.default_rng(seed), []
        for i in range(rng.integers(1, 25)):
            back = int(rng.integers(1, 6))
            kind, other = "dense", INPUT
            if rng.random() < 0.4:
                kind, other = "add", int(rng.integers(INPUT, i)) if i else INPUT
            ops.append(Op(kind, 3, 3, max(INPUT, i - back), other))
        assert_nothing_is_overwritten(tuple(ops))


def test_buffers_are_few():
    """Two by turns in a chain; one more for each residual layer that is open."""
    assert assert_nothing_is_overwritten(lower(NetworkSpec.chain([5] * 30))) == 2
    assert assert_nothing_is_overwritten(lower(NetworkSpec.chain([5] * 30, residual=True))) == 3
    assert assert_nothing_is_overwritten(lower(NetworkSpec(5, [
        Dense(5), Residual([LayerNorm(), Dense(5), Residual([Dense(5), Dense(5)])]),
        Dense(2)]))) == 4
