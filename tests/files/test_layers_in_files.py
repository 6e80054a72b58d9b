"""Networks with layers that are not dense: pickled, copied, saved and loaded."""

import copy
import json
import pickle

import numpy as np
import pytest
from layer_networks import data, networks, start
from safetensors import safe_open

import fastnn
from fastnn import Dense, Dropout, LayerNorm, ModelFormatError, Residual
from fastnn.files import container


def made(spec):
    net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                        initializer="he_normal", random_state=3)
    start(net)
    return net


def metadata(path):
    with safe_open(path, "numpy") as file:
        return file.metadata(), set(file.keys())


def settings(path):
    return json.loads(metadata(path)[0]["fastnn"])


def assert_same(net, other, X):
    assert other.spec == net.spec and other.initializer == net.initializer
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert list(other.named_parameters()) == list(net.named_parameters())
    assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_round_trips(tmp_path, dtype):
    """The copy also goes on in training as the network does."""
    for i, (_, spec, loss, labels) in enumerate(networks(40, dtype=dtype, dropout=0.3)):
        net, (X, y) = made(spec), data(spec, loss, labels, 30)
        path = tmp_path / "model.safetensors"
        net.save(path)
        loaded = fastnn.load(path)
        assert type(loaded) is fastnn.MLP
        others = [pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net), loaded]
        for other in others:
            assert_same(net, other, X)
            assert not np.shares_memory(other.parameters, net.parameters)
        if i % 4 == 0:
            for trained in (net, *others[:3]):
                trained.fit(X, y, loss=loss, epochs=2, batch_size=9)
                assert_same(net, trained, X)


def test_file_states_what_it_needs(tmp_path):
    path = tmp_path / "model.safetensors"
    cases = [
        ([Dense(4, "tanh"), Dropout(0.5), Dense(2)], None),
        ([Dense(2)], None),
        ([Dense(4), fastnn.Activation("tanh"), Dense(2)], ["activation", "layers"]),
        ([Dense(4), Dense(2, "tanh")], ["layers"]),
        ([Dense(4), LayerNorm(), Dense(2)], ["layer_norm", "layers"]),
        ([Dense(3, "relu"), Residual([Dense(3, "relu"), LayerNorm(), Dropout(0.1)]), Dense(2)],
         ["dropout", "layer_norm", "layers", "residual"]),
    ]
    for layers, needs in cases:
        net = fastnn.MLP.of(layers, n_in=3, random_state=0)
        net.save(path)
        assert settings(path).get("needs") == needs
        header, arrays = metadata(path)
        assert header["fastnn_format"] == ("1.1" if needs else "1.0")
        assert arrays == set(net.named_parameters())
        assert net.spec.needs == tuple(needs or ())
        assert set(needs or ()) <= set(container.NEEDS)


def test_chain_has_the_file_it_always_had(tmp_path):
    """However it was written."""
    one = fastnn.MLP((3, 4, 2), "tanh", dropout=0.2, random_state=0)
    other = fastnn.MLP.of([Dense(4, "tanh"), Dropout(0.2), Dense(2)], n_in=3, random_state=0)
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert settings(tmp_path / "one")["net"].keys() == {
        "sizes", "activations", "output", "dtype", "dropout", "initializer"}


def write_changed(path, net, change):
    """Write a file with other settings, whole and with a checksum that holds."""
    net.save(path)
    changed, needs = settings(path), ()
    changed.pop("needs", None)
    needs = change(changed) or ()
    container.write(path, net.named_parameters(), changed, needs=needs)


def test_unknown_need_is_refused_with_upgrade(tmp_path):
    path = tmp_path / "model.safetensors"
    chain = fastnn.MLP((3, 4, 2), random_state=0)
    norm = fastnn.MLP((3, 4, 2), norm="layer", random_state=0)
    for net in (chain, norm):
        for needs in (["teleport"], [*net.spec.needs, "group_norm"]):
            write_changed(path, net, lambda _, needs=needs: needs)
            with pytest.raises(ModelFormatError, match=f"needs '{needs[-1]}'.*[Uu]pgrade"):
                fastnn.load(path)
        write_changed(path, net, lambda _, needs=net.spec.needs: needs)
        assert fastnn.load(path).spec == net.spec
    # a layer that this version does not know, of a file that says that it needs it
    def unknown_layer(changed):
        changed["net"]["spec"]["layers"][1]["kind"] = "group_norm"
        return ["group_norm", "layers"]

    write_changed(path, norm, unknown_layer)
    with pytest.raises(ModelFormatError, match="needs 'group_norm'.*[Uu]pgrade"):
        fastnn.load(path)


def test_settings_that_describe_no_network_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    net = fastnn.MLP((4, 4, 2), norm="layer", residual=True, random_state=0)
    bare = [{"kind": "dense", "units": 2, "activation": "identity"}]

    def deep(levels):
        layers = [{"kind": "dropout", "rate": 0.0}]
        for _ in range(levels):
            layers = [{"kind": "residual", "layers": layers}]
        return layers + bare

    for layers in [
            [], {}, "dense", [None], [[]], [{}], [{"kind": "dense"}], [{"kind": ["dense"]}, *bare],
            [{**bare[0], "units": "2"}], [{**bare[0], "units": -2}], [{**bare[0], "extra": 1}],
            [{**bare[0], "activation": None}], [{"kind": "layer_norm", "eps": 0}, *bare],
            [{"kind": "layer_norm"}, *bare], [{"kind": "residual", "layers": []}, *bare],
            [{"kind": "residual", "layers": None}, *bare], [{"kind": "residual", "layers": bare}],
            [{"kind": "dropout", "rate": 1}, *bare], [{"kind": "dropout", "rate": 0}], deep(17),
            deep(300), [{**bare[0], "units": 2**40}], [{"kind": "dropout", "rate": 0.0}] * 5000]:
        def change(changed, layers=layers):
            changed["net"]["spec"]["layers"] = layers
            return ["layers"]

        write_changed(path, net, change)
        with pytest.raises(ModelFormatError):
            fastnn.load(path)
