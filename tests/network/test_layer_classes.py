"""Scale, PReLU and BatchNorm as values: settings, parameters, names, files."""

import numpy as np
import pytest

import fastnn
from fastnn import BatchNorm, Dense, NetworkSpec, PReLU, Residual, Scale


def test_parameters_and_where_they_start():
    net = fastnn.MLP.of([Scale(), Dense(4), PReLU(), PReLU(per_unit=False), BatchNorm(), Dense(2)],
                        n_in=3, random_state=0)
    assert {name: view.shape for name, view in net.named_parameters().items()} == {
        "layers.0.gain": (3,), "layers.1.weight": (3, 4), "layers.1.bias": (4,),
        "layers.2.slope": (4,), "layers.3.slope": (1,), "layers.4.gain": (4,),
        "layers.4.bias": (4,), "layers.4.mean": (4,), "layers.4.variance": (4,),
        "layers.5.weight": (4, 2), "layers.5.bias": (2,)}
    starts = {"gain": 1, "slope": 0.25, "mean": 0, "variance": 1, "bias": 0}
    for name, view in net.named_parameters().items():
        kind = name.split(".")[-1]
        assert kind == "weight" or (view == starts[kind]).all(), name
    assert net.n_parameters == sum(view.size for view in net.get_weights())
    assert net.spec.needs == ("batch_norm", "layers", "prelu", "scale")


def test_values():
    spec = NetworkSpec(3, [Scale(), Residual([Dense(3), BatchNorm(0.1, 0.5), PReLU(False)])])
    assert NetworkSpec.from_plain(spec.to_plain()) == spec
    assert Scale() == Scale() and hash(PReLU()) == hash(PReLU()) and PReLU() != PReLU(False)
    assert repr(spec.layers) == (
        "(Scale(), Residual(layers=(Dense(units=3, activation='identity'), "
        "BatchNorm(eps=0.1, momentum=0.5), PReLU(per_unit=False))))")
    assert not spec.is_chain
    chain = NetworkSpec.chain((3, 4, 2), "tanh", norm="batch", dropout=0.5)
    assert [layer.kind for layer in chain.layers] == [
        "dense", "batch_norm", "activation", "dropout", "dense"]


def test_what_is_refused():
    with pytest.raises((TypeError, ValueError), match="per_unit"):
        PReLU(per_unit="yes")
    with pytest.raises(ValueError, match="must hold a Dense layer"):
        NetworkSpec(3, [Scale(), BatchNorm()])


def test_no_penalty_acts_on_them():
    """L2, L1 and a limit of norms are for W alone."""
    layers = [Scale(), Dense(4), PReLU(), Dense(1)]
    X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    y = np.zeros((60, 1), "float32")

    def fitted(**settings):
        net = fastnn.MLP.of(layers, n_in=3, random_state=0, initializer="zeros")
        net.fit(X, y, epochs=2, **settings)  # nothing but penalties would move anything
        return net.named_parameters()

    plain, penalised = fitted(), fitted(alpha=10.0, l1=1.0)
    for name in ("layers.0.gain", "layers.2.slope"):
        assert (penalised[name] == plain[name]).all()
