"""What the address of the playground may say."""

from dataclasses import fields, replace

import pytest

import fastnn
from fastnn.playground.settings import (
    CHOICES,
    CLASS_LOSSES,
    LIMITS,
    MAX_TEXT,
    OPTIMIZERS,
    SCHEDULES,
    VALUE_LOSSES,
    Settings,
    SettingsError,
)

OTHER = Settings(
    data="hills", noise=0.35, test=0.3, points=150, draw=3, features=("x1", "x2^2", "sin1"),
    layers=(8, 5, 1), activation="relu", loss="huber", optimizer="momentum", rate=1e-4,
    schedule="one_cycle", horizon=500, l1=0.003, l2=0.1, dropout=0.2, batch=32, seed=7,
    x="a b", y="ü&=#", target='"')


def test_an_empty_address_says_the_defaults():
    assert Settings.parse("") == Settings().checked()
    assert Settings().checked().query() == ""
    assert Settings.parse("#data=xor") == Settings.parse("data=xor") == Settings(
        data="xor").checked()


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_each_setting_comes_back(name):
    whole = replace(Settings(data=OTHER.data), **{name: getattr(OTHER, name)}).checked()
    assert Settings.parse(whole.query()) == whole
    assert OTHER != Settings() and getattr(OTHER, name) != getattr(Settings(), name)


def test_all_settings_come_back():
    assert Settings.parse(OTHER.query()) == OTHER.checked()
    no_layers = replace(Settings(), layers=()).checked()
    assert Settings.parse(no_layers.query()).layers == ()


def test_losses_go_with_the_data():
    assert Settings.parse("data=plane&loss=hinge").loss == "squared_error"
    assert Settings.parse("data=xor&loss=huber").loss == "binary_cross_entropy"
    assert Settings.parse("data=xor&loss=hinge").loss == "hinge"
    assert Settings.parse("data=plane").query() == "data=plane"


def test_features_have_an_order():
    assert Settings.parse("features=sin2,x1,x1").features == ("x1", "sin2")


@pytest.mark.parametrize("text, message", [
    ("dat=xor", "there is no setting 'dat'; did you mean data"),
    ("zzzzz=1", "there is no setting 'zzzzz'"),
    ("data=spiral", "data='spiral'; did you mean spirals"),
    ("activation=ReLU", "did you mean relu"),
    ("optimizer=lbfgs", "optimizer='lbfgs'"),
    ("schedule=", "schedule=''"),
    ("loss=x", "loss='x'"),
    ("features=", "features is empty"),
    ("features=x1,x3", "features='x3', must be one of x1, x2"),
    ("layers=9", "layers=9 must be a whole number from 1 to 8"),
    ("layers=0", "layers=0 must be"),
    ("layers=4,x", "layers=x must be"),
    ("layers=1,1,1,1,1,1,1", "layers has 7 layers, at most 6"),
    ("rate=nan", "rate=nan must be a number above 0, at most 100"),
    ("rate=0", "rate=0 must be a number above 0"),
    ("rate=-0.0", "rate=-0.0 must be"),
    ("optimizer=muon&layers=8", "between two hidden layers: the network has 1"),
    ("optimizer=muon&layers=", "between two hidden layers: the network has 0"),
    ("rate=1e999", "rate=1e999 must be"),
    ("rate=-1", "rate=-1 must be"),
    ("batch=1.5", "batch=1.5 must be a whole number"),
    ("points=1000000000", "points=1000000000 must be"),
    ("seed=99999999999999999999999", "seed=99999999999999999999999 must be"),
    ("seed=-1", "seed=-1 must be"),
    ("dropout=1", "dropout=1 must be"),
    ("horizon=0", "horizon=0 must be"),
    ("layers=" + "9" * 3000, "must be a whole number"),
    ("data", "are not name=value"),
    ("a=1;b=2&&", "are not name=value"),
    ("&".join(["draw=1"] * 60), "are not name=value"),
    ("x=" + "y" * 201, "x is longer than 200"),
    ("x=" + "y" * MAX_TEXT, "longer than 4000"),
    ("x=%ff", "are not name=value"),
    (b"data=xor", "longer than"),
])
def test_wrong_settings_are_explained(text, message):
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")) as caught:
        Settings.parse(text)
    assert len(str(caught.value)) < 400


def test_choices_are_those_of_the_library():
    for name, (kind, others) in OPTIMIZERS.items():
        assert getattr(fastnn, kind)(0.01, **others), name
    for name, (kind, others) in SCHEDULES.items():
        for epochs in (1, 3, 1_000_000):
            assert not kind or getattr(fastnn.schedules, kind)(0.01, **others(epochs)), name
    for losses in (CLASS_LOSSES, VALUE_LOSSES):
        for loss, output in losses.items():
            fastnn.MLP((2, 1), output=output)._bound(loss)
    for name in CHOICES["activation"]:
        fastnn.MLP((2, 3, 1), activation=name)
    assert LIMITS.keys() == {field.name for field in fields(Settings)
                             if isinstance(field.default, (int, float))}
