"""The network of an estimator: made for a fit, or from the arrays of a fitted one, and cached."""

import operator

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastnn.estimators.arrays import numbers
from fastnn.estimators.documented import Documented
from fastnn.mlp import MLP
from fastnn.network.lowering import WITH_WEIGHTS

__all__ = ["WithNetwork", "norm_parameters"]


class WithNetwork(Documented):
    """What an estimator does with its network."""

    norm_parameters_ = None

    @property
    def best_epoch_(self) -> int:
        """Epoch, from 1, whose parameters early stopping has kept."""
        scores = vars(self).get("validation_scores_")
        if not scores:
            raise AttributeError("best_epoch_ is there after a fit with early_stopping=True")
        return int(np.nan_to_num(scores, nan=-np.inf).argmax()) + 1

    def _new_network(self, sizes, dtype):
        return MLP(
            sizes,
            self.activation,
            self.out_activation_,
            dtype=dtype,
            dropout=self.dropout,
            norm=self.norm,
            residual=self.residual,
            members=self.members,
            initializer="zeros",
            random_state=0,
            n_threads=self.n_threads,
        )

    def _network_of(self, X, fresh):
        """Return a network without parameters, or the one that was fitted."""
        if not fresh:
            self._check_parameters()
            return self._rebuilt_network(self.coefs_, self.intercepts_, X.dtype)
        sizes = (X.shape[1], *self._hidden_sizes(), self.n_outputs_)
        network = self._new_network(sizes, X.dtype)
        self.n_layers_ = len(network.sizes)
        return network

    def _rebuilt_network(self, coefs, intercepts, dtype=None):
        """Return a network with copies of these weights and biases; by default of their dtype."""
        coefs = numbers("coefs_", coefs, 2)
        intercepts = numbers("intercepts_", intercepts, 1, None if self.members is None else 2)
        dtype = dtype or np.result_type(coefs[0], np.float32)
        n_in = len(coefs[0])
        if self.members is not None and len(coefs) == 1:  # of all heads, one below the other
            n_in //= self.members
        network = self._new_network((n_in, *(array.shape[-1] for array in intercepts)), dtype)
        for name, own, arrays in (("coefs_", network.weights, coefs),
                                  ("intercepts_", network.biases, intercepts)):
            if len(own) != len(arrays):
                raise ValueError(f"{name} has {len(arrays)} arrays, must have {len(own)}: one for "
                                 "each layer")
            for i, (mine, given) in enumerate(zip(own, arrays, strict=True)):
                if mine.shape != given.shape:
                    raise ValueError(f"{name}[{i}] has shape {given.shape}, must be {mine.shape}")
                mine[:] = given
        own = norm_parameters(network)
        given = self.norm_parameters_ or []
        if not isinstance(given, (list, tuple)):
            raise TypeError(f"norm_parameters_={type(given).__name__} must be a list of arrays, or "
                            "None")
        if [array.shape for array in own] != [np.shape(array) for array in given]:
            beside = "" if self.members is None else f", members={self.members}"
            raise ValueError(f"norm={self.norm!r}{beside} needs {len(own)} arrays in "
                             "norm_parameters_, of "
                             f"shapes {[array.shape for array in own]}, there are {len(given)}: "
                             "fit again")
        for mine, array in zip(own, given, strict=True):
            mine[:] = array
        return network

    def _publish(self, network):
        """Make ``network`` the fitted model, at once for predictions in other threads."""
        layout = network._layout
        coefs, intercepts, norm = lists = [], [], []
        for attribute, view in zip(_attributes(layout), layout.views(network.parameters),
                                   strict=True):
            lists[attribute].append(view)
        if norm or "norm_parameters_" in vars(self):
            self.norm_parameters_ = norm or None
        key = self._network_key(coefs, intercepts)
        vars(self).update(coefs_=coefs, intercepts_=intercepts, _network=(network, key))

    def _network_key(self, coefs, intercepts):
        """Return the objects a network is made from, to be compared by identity."""
        return [self.activation, self.n_threads, self.norm, self.residual, self.members, *coefs,
                *intercepts, *(self.norm_parameters_ or ())]

    def _key_now(self):
        """Return the key of the attributes as they are; of what is no list of arrays none."""
        try:
            return self._network_key(self.coefs_, self.intercepts_)
        except (AttributeError, TypeError):
            return ()

    def _check_parameters(self):
        """Raise NotFittedError where weights or biases are missing, also where somebody has
        deleted them."""
        if not (hasattr(self, "coefs_") and hasattr(self, "intercepts_")):
            check_is_fitted(self, ("coefs_", "intercepts_"))

    def _current_network(self):
        """Return the cached network, or a new one where a user has assigned other arrays."""
        key = self._key_now()
        network, cached = vars(self).get("_network", (None, ()))
        if key and len(key) == len(cached) and all(map(operator.is_, key, cached)):
            return network
        self._check_parameters()
        return self._rebuilt_network(self.coefs_, self.intercepts_)

    def _draw_parameters(self, network, rng):
        """Draw weights and biases from U(-b, b), b = sqrt(6 / (n_in + n_out)).

        With logistic units b = sqrt(2 / (n_in + n_out)) (Glorot and Bengio 2010); the output layer
        goes with the last hidden one.
        """
        hidden = network.activations
        names = (*hidden, hidden[-1] if hidden else self.activation)
        for name, w, b in zip(names, network.weights, network.biases, strict=True):
            n_in = len(w) // len(b) if b.ndim == 2 else len(w)  # of heads
            bound = np.sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0)
                            / (n_in + w.shape[1]))
            w[:] = rng.uniform(-bound, bound, w.shape)
            b[:] = rng.uniform(-bound, bound, b.shape)
        if self.members is not None:  # Gorishniy et al. 2025: random signs
            scale = norm_parameters(network)[0]
            scale[:] = rng.choice([-1.0, 1.0], scale.shape)


def _attributes(layout):
    """Return for each block of a layout which attribute has it: 0 coefs_, 1 intercepts_,
    2 norm_parameters_."""
    found = layout.made.get("attributes")
    if found is None:
        found = layout.made["attributes"] = [
            2 if layout.ops[block.op].kind not in WITH_WEIGHTS else int(block.kind != "weight")
            for block in layout.blocks]
    return found


def norm_parameters(network):
    """Return views of what is neither weight nor bias of a dense layer: those of the norms."""
    layout = network._layout
    pairs = zip(layout.blocks, layout.views(network.parameters), strict=True)
    return [view for block, view in pairs if layout.ops[block.op].kind not in WITH_WEIGHTS]
