"""The slow twin's optimizers, each as published: see reference.py."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class _Optimizer:
    step: int = 0
    state: list = field(default_factory=list)

    def update(self, parameters, gradients, lr):
        """One step in place; ``state`` holds one list of arrays per state vector."""
        self.step += 1
        if not self.state:
            self.state = [[np.zeros_like(p) for p in parameters] for _ in range(self.n_state)]
        for p, g, *s in zip(parameters, gradients, *self.state, strict=True):
            p[...] = self.element(p, g, lr, *s)


@dataclass
class SGD(_Optimizer):
    """v = mu v + g, w -= lr v (Polyak 1964); Nesterov: w -= lr (g + mu v)."""

    momentum: float = 0.9
    nesterov: bool = False
    n_state = 1

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.momentum * v + g
        return w - lr * (g + self.momentum * v if self.nesterov else v)


@dataclass
class StepSGD(SGD):
    """v = mu v - lr g, w += v (Sutskever et al. 2013); Nesterov: w += mu v - lr g."""

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.momentum * v - lr * g
        return w + (self.momentum * v - lr * g if self.nesterov else v)


@dataclass
class Adam(_Optimizer):
    """Kingma & Ba 2015, algorithm 1; with ``eps_hat`` the form of their section 2."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    eps_hat: bool = False
    n_state = 2

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        c1, c2 = 1 - self.beta1**self.step, 1 - self.beta2**self.step
        if self.eps_hat:
            return w - lr * np.sqrt(c2) / c1 * m / (np.sqrt(v) + self.eps)
        return w - lr * (m / c1) / (np.sqrt(v / c2) + self.eps)


@dataclass
class AdamW(Adam):
    """Loshchilov & Hutter 2019: the decay acts on the weights as they were before the step."""

    weight_decay: float = 0.01

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        return super().element(w, g, lr, m, v) - lr * self.weight_decay * w


@dataclass
class RMSprop(_Optimizer):
    """Tieleman & Hinton 2012."""

    rho: float = 0.9
    eps: float = 1e-8
    n_state = 1

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.rho * v + (1 - self.rho) * g**2
        return w - lr * g / (np.sqrt(v) + self.eps)


@dataclass
class Adagrad(_Optimizer):
    """Duchi, Hazan & Singer 2011."""

    eps: float = 1e-10
    n_state = 1

    def element(self, w, g, lr, total):
        """New w; the total is updated in place."""
        total += g**2
        return w - lr * g / (np.sqrt(total) + self.eps)


@dataclass
class AMSGrad(Adam):
    """Reddi, Kale & Kumar 2018, with the bias corrections of Adam, as PyTorch has them."""

    n_state = 3

    def element(self, w, g, lr, m, v, largest):
        """New w; m, v and the largest v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        largest[...] = np.maximum(largest, v)
        c1, c2 = 1 - self.beta1**self.step, 1 - self.beta2**self.step
        if self.eps_hat:
            return w - lr * np.sqrt(c2) / c1 * m / (np.sqrt(largest) + self.eps)
        return w - lr * (m / c1) / (np.sqrt(largest / c2) + self.eps)


@dataclass
class Adadelta(_Optimizer):
    """Zeiler 2012, algorithm 1; its step is lr times as long."""

    rho: float = 0.9
    eps: float = 1e-6
    n_state = 2

    def element(self, w, g, lr, squares, steps):
        """New w; both averages are updated in place."""
        squares[...] = self.rho * squares + (1 - self.rho) * g**2
        step = -np.sqrt(steps + self.eps) / np.sqrt(squares + self.eps) * g
        steps[...] = self.rho * steps + (1 - self.rho) * step**2
        return w + lr * step


@dataclass
class AdaMax(_Optimizer):
    """Kingma & Ba 2015, algorithm 2, with PyTorch's eps."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    n_state = 2

    def element(self, w, g, lr, m, u):
        """New w; m and u are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        u[...] = np.maximum(self.beta2 * u, np.abs(g) + self.eps)
        return w - lr / (1 - self.beta1**self.step) * m / u


@dataclass
class Nadam(_Optimizer):
    """Dozat 2016, with PyTorch's schedule of mu."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3
    n_state = 2

    def mu(self, step):
        """The momentum of a step."""
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        product = np.prod([self.mu(i) for i in range(1, self.step + 1)])
        ahead = self.mu(self.step + 1)
        m_bar = (1 - self.mu(self.step)) / (1 - product) * g + ahead / (1 - product * ahead) * m
        return w - lr * m_bar / (np.sqrt(v / (1 - self.beta2**self.step)) + self.eps)


@dataclass
class Rprop(_Optimizer):
    """Riedmiller & Braun 1993, without the step back, as PyTorch has it."""

    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    n_state = 2

    def element(self, w, g, lr, before, size):
        """New w; the gradient before and the sizes are updated in place."""
        if not size.any():  # no step yet
            if lr == 0:
                return w
            size[...] = lr
        turn = np.sign(g) * np.sign(before)
        size *= np.choose(turn.astype(int) + 1, [self.eta_minus, 1.0, self.eta_plus])
        size[...] = np.clip(size, self.step_min, self.step_max)
        before[...] = np.where(turn < 0, 0, g)
        return w - np.sign(before) * size


@dataclass
class Lion(_Optimizer):
    """Chen et al. 2023, algorithm 2."""

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    n_state = 1

    def element(self, w, g, lr, m):
        """New w; m is updated in place."""
        step = np.sign(self.beta1 * m + (1 - self.beta1) * g) + self.weight_decay * w
        m[...] = self.beta2 * m + (1 - self.beta2) * g
        return w - lr * step


def orthogonal(matrix, steps=5):
    """Jordan 2024: steps of Newton and Schulz, from U S V' to about U V'."""
    x = matrix / max(np.linalg.norm(matrix), 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x
