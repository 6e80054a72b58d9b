"""What can be set in the playground, as the address says it: ``data=circles&layers=4,2&...``."""

import difflib
import math
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl, quote, urlencode

from fastnn.core import _kernels
from fastnn.core.notices import shorten

__all__ = ["CHOICES", "CLASSES", "FEATURES", "OPTIMIZERS", "SCHEDULES", "Settings", "SettingsError"]

FEATURES = ("x1", "x2", "x1^2", "x2^2", "x1*x2", "sin1", "sin2")
CLASSES = ("circles", "xor", "spirals", "gaussians")  # data of two classes
VALUES = ("plane", "hills")  # of a value
# loss -> output that goes with it
CLASS_LOSSES = {"binary_cross_entropy": "sigmoid", "focal": "sigmoid", "squared_error": "sigmoid",
                "hinge": "identity", "squared_hinge": "identity"}
VALUE_LOSSES = {"squared_error": "identity", "absolute_error": "identity", "huber": "identity",
                "log_cosh": "identity"}
# name -> class of fastnn, and its settings beside the learning rate
OPTIMIZERS: dict[str, tuple[str, dict]] = {
    "sgd": ("SGD", {"momentum": 0.0}), "momentum": ("SGD", {}),
    "nesterov": ("SGD", {"nesterov": True}), "adam": ("Adam", {}), "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}), "adagrad": ("Adagrad", {}), "adadelta": ("Adadelta", {}),
    "adamax": ("AdaMax", {}), "nadam": ("Nadam", {}), "lion": ("Lion", {}), "muon": ("Muon", {}),
}
# name -> class of fastnn.schedules, and its settings over so many epochs
SCHEDULES = {
    "constant": ("", lambda epochs: {}),
    "cosine": ("Cosine", lambda epochs: {}),
    "one_cycle": ("OneCycle", lambda epochs: {}),
    "linear": ("Polynomial", lambda epochs: {}),
    "step": ("Step", lambda epochs: {"step_size": max(epochs // 4, 1), "gamma": 0.3}),
    "exponential": ("Exponential", lambda epochs: {"gamma": round(0.01 ** (1 / epochs), 9)}),
    "coslog4": ("CosLog4", lambda epochs: {}),
}
MAX_LAYERS, MAX_UNITS, MAX_TEXT = 6, 8, 4000

CHOICES = {
    "data": (*CLASSES, *VALUES, "csv"),
    "features": FEATURES,
    "activation": tuple(name for name in _kernels.ACTIVATIONS if name not in ("step", "exp")),
    "class_losses": tuple(CLASS_LOSSES),
    "value_losses": tuple(VALUE_LOSSES),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "max_layers": MAX_LAYERS,
    "max_units": MAX_UNITS,
}
# of numbers: least, largest
LIMITS = {"noise": (0.0, 1.0), "test": (0.1, 0.9), "points": (20, 2000), "rate": (0.0, 100.0),
          "horizon": (1, 1_000_000), "l1": (0.0, 100.0), "l2": (0.0, 100.0), "dropout": (0.0, 0.9),
          "batch": (1, 2000), "seed": (0, 2**31 - 1), "draw": (0, 2**31 - 1)}
ABOVE = {"rate"}  # of these the least is none


class SettingsError(ValueError):
    """Settings that cannot be; the message is for the user."""


@dataclass(frozen=True)
class Settings:
    """All settings; the defaults are those of a page without any in its address."""

    data: str = "circles"
    noise: float = 0.0
    test: float = 0.5
    points: int = 400
    draw: int = 0  # which points are drawn
    features: tuple = ("x1", "x2")
    layers: tuple = (4, 2)
    activation: str = "tanh"
    loss: str = ""  # the first one that goes with the data
    optimizer: str = "adam"
    rate: float = 0.03
    schedule: str = "constant"
    horizon: int = 2000  # epochs of the schedule
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0
    batch: int = 10
    seed: int = 0  # of weights, order of rows and dropout
    x: str = ""  # columns of a CSV file
    y: str = ""
    target: str = ""

    @classmethod
    def parse(cls, text):
        """Return the settings of an address's fragment.

        Raises
        ------
        SettingsError
            On an unknown name, a value that cannot be, or a text that is too long.
        """
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise SettingsError(f"the settings are longer than {MAX_TEXT} characters")
        try:
            pairs = parse_qsl(text.lstrip("#?"), keep_blank_values=True, strict_parsing=bool(text),
                              errors="strict", max_num_fields=50)
        except (ValueError, UnicodeDecodeError):
            raise SettingsError("the settings are not name=value&name=value: "
                                f"{shorten(text, 80)!r}") from None
        found, known = {}, {field.name: field.default for field in fields(cls)}
        for name, value in pairs:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"there is no setting {shorten(name, 80)!r}{hint}")
            found[name] = _value(name, value, known[name])
        return cls(**found).checked()

    def checked(self):
        """Return them with the loss that goes with the data; raise where they cannot be."""
        for name in ("data", "activation", "optimizer", "schedule"):
            _check_choice(name, getattr(self, name), CHOICES[name])
        for name in ("x", "y", "target"):
            if len(getattr(self, name)) > 200:
                raise SettingsError(f"{name} is longer than 200 characters")
        if self.loss:
            _check_choice("loss", self.loss, (*CLASS_LOSSES, *VALUE_LOSSES))
        if self.optimizer == "muon" and len(self.layers) < 2:
            raise SettingsError("optimizer=muon is for the weights between two hidden layers: the "
                                f"network has {len(self.layers)}")
        if self.data == "csv":
            return self  # the table says what is learned
        return self.with_loss(self.data in CLASSES)

    def with_loss(self, classifies):
        """Return them with a loss for classes or values: their own where it is one."""
        losses = CLASS_LOSSES if classifies else VALUE_LOSSES
        return self if self.loss in losses else replace(self, loss=next(iter(losses)))

    def output(self, classifies):
        """Return the output's activation that goes with the loss."""
        return (CLASS_LOSSES if classifies else VALUE_LOSSES)[self.loss]

    def query(self):
        """Return the text from which `parse` makes the same: what differs from the defaults."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default and not (field.name == "loss" and self.data != "csv" and
                                               value == Settings(data=self.data).checked().loss):
                found.append((field.name, _text(value)))
        return urlencode(found, quote_via=quote, safe=",*^")

    def plain(self):
        """Return them as JSON has it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _text(value):
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _check_choice(name, value, choices):
    if value not in choices:
        near = difflib.get_close_matches(value.lower(), choices, 1)
        hint = f"; did you mean {near[0]}?" if near else f", must be one of {', '.join(choices)}"
        raise SettingsError(f"{name}={shorten(value, 80)!r}{hint}")


def _value(name, text, default):
    """Return the value of a setting, from text."""
    if name == "features":
        found = tuple(dict.fromkeys(text.split(","))) if text else ()
        for feature in found:
            _check_choice("features", feature, FEATURES)
        if not found:
            raise SettingsError("features is empty: the network needs an input")
        return tuple(name for name in FEATURES if name in found)
    if name == "layers":
        found = tuple(_number(name, part, int, 1, MAX_UNITS) for part in text.split(",") if part)
        if len(found) > MAX_LAYERS:
            raise SettingsError(f"layers has {len(found)} layers, at most {MAX_LAYERS}")
        return found
    if isinstance(default, str):
        return text
    return _number(name, text, type(default), *LIMITS[name])


def _number(name, text, kind, low, high):
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    is_above = name in ABOVE
    if not low <= value <= high or is_above and value == low:
        whole = "a whole number" if kind is int else "a number"
        bounds = f"above {low:g}, at most {high:g}" if is_above else f"from {low:g} to {high:g}"
        raise SettingsError(f"{name}={shorten(text, 80)} must be {whole} {bounds}")
    return value
