"""Pictures of networks and data, by matplotlib: decision boundaries, what hidden units answer,
activations, the surface of the loss.

Each function draws into axes and returns them, as scikit-learn's and seaborn's do; colours, labels
and sizes can be changed there. `History.plot` and `LearningRateCurve.plot` draw curves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.notices import shown
from fastnn.core.threads import single_threaded_blas
from fastnn.drawing import COLORS, new_axes, pyplot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import ArrayLike
    from fastnn.training.losses import Loss

__all__ = ["LossSurface", "activations", "decision_boundary", "hidden_units", "loss_surface"]

MAX_POINTS = 5000  # of the data, that are drawn
MAX_UNITS = 10  # of a layer, whose maps are drawn
BLOCK = 1 << 16  # rows of a grid that are predicted at a time


def decision_boundary(model: Any, X: Any, y: Any = None, *, ax: Any = None,
                      grid: int = 200, margin: float = 0.1, colorbar: bool = False) -> Any:
    """Draw what a model of two inputs answers, and the border between its classes.

    Parameters
    ----------
    model : MLP, Predictor or estimator
        Of two inputs. Of a classifier its probabilities are drawn, else its values.
    X : array-like or data frame (n_samples, 2)
        Says which part of the plane is drawn; its points are shown, at most 5,000 of them.
    y : array-like (n_samples,) or None, default=None
        Classes or values: the colours of the points. None: no points.
    ax : matplotlib.axes.Axes or None, default=None
        None: of a new figure.
    grid : int, default=200
        Points along each axis where the model is asked.
    margin : float, default=0.1
        What is drawn around the data, as a share of their range.
    colorbar : bool, default=False
        Whether to draw the scale of the values; of several classes there is none.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When there are not two columns, or lengths do not fit.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastnn.MLP((2, 16, 1), output="sigmoid", random_state=0)
    >>> history = net.fit(X, y, optimizer=fastnn.Adam(0.02), epochs=50)
    >>> ax = fastnn.display.decision_boundary(net, X, y)  # doctest: +SKIP
    """
    points, names = _plane(X)
    y = _of_points("y", y, points)
    grid = _check_grid(grid)
    xs, ys = _axes_of(points, grid, margin)
    values, classes = _answers(model, _mesh(xs, ys), X)
    ax = new_axes(ax, "decision_boundary")
    maps = pyplot("decision_boundary").get_cmap
    extent = (xs[0], xs[-1], ys[0], ys[-1])
    if values.shape[1] == 1:
        value = values.reshape(grid, grid)
        low, high = (0.0, 1.0) if classes is not None else (value.min(), value.max())
        image = ax.imshow(value, origin="lower", extent=extent, aspect="auto", vmin=low, vmax=high,
                          cmap=maps("RdYlBu_r" if classes is None else "PuOr_r"), alpha=0.5)
        if classes is not None and value.min() < 0.5 < value.max():
            ax.contour(xs, ys, value, levels=[0.5], colors="k", linewidths=1.2)
        if colorbar:
            ax.figure.colorbar(image, ax=ax)
        norm = {"vmin": low, "vmax": high, "cmap": image.get_cmap()}
    else:
        ax.imshow(_mixed(values, maps).reshape(grid, grid, 3), origin="lower", extent=extent,
                  aspect="auto")
        best = values.argmax(axis=1).reshape(grid, grid)
        for k in range(values.shape[1]):
            if 0 < (best == k).sum() < best.size:
                ax.contour(xs, ys, best == k, levels=[0.5], colors="k", linewidths=0.8)
        norm = {"vmin": 0, "vmax": 9, "cmap": maps("tab10")}
    if y is not None:
        some = slice(None, None, -(-len(points) // MAX_POINTS))
        if classes is not None:
            y = _numbers_of(y, classes)
            y = y % 10 if values.shape[1] > 1 else y
        ax.scatter(*points[some].T, c=y[some], s=16, edgecolors="k", linewidths=0.4, **norm)
    ax.set(xlabel=names[0], ylabel=names[1], xlim=extent[:2], ylim=extent[2:])
    return ax


def _numbers_of(y, classes):
    """Return labels as numbers of the classes of a model; of a network these are the labels."""
    if len(classes):
        known = classes.tolist()
        odd = [label for label in np.unique(y).tolist() if label not in known]
        if odd:
            raise ValueError(f"y holds {shown(odd[0])}, which is no class of the model: "
                             f"{shown(known)}")
        return np.searchsorted(classes, y)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y holds {shown(y[0])}, the network has numbers for classes: "
                         "numpy.unique(y, return_inverse=True)[1] are these")
    return y


def hidden_units(net: Any, X: Any, *, layers: Sequence[int] | None = None, grid: int = 60,
                 margin: float = 0.1) -> Any:
    """Draw what each unit answers over the plane of two inputs: a row of maps for each layer.

    Parameters
    ----------
    net : MLP
        Of two inputs.
    X : array-like (n_samples, 2)
        Says which part of the plane is drawn.
    layers : sequence of int or None, default=None
        Numbers of layers from 0, the output being the last one; None: all.
    grid : int, default=60
        Points along each axis.
    margin : float, default=0.1
        What is drawn around the data, as a share of their range.

    Returns
    -------
    matplotlib.figure.Figure
        At most ten units of each layer. The colours of a map go from its least to its largest
        value, and are centred at 0 where it has both signs.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When there are not two columns, or no such layer.
    """
    _check_net(net)
    points, names = _plane(X)
    grid = _check_grid(grid)
    xs, ys = _axes_of(points, grid, margin)
    values = [layer.reshape(len(layer), -1) for layer in net.activations_of(_mesh(xs, ys))]
    numbers = range(len(values)) if layers is None else list(layers)
    for number in numbers:
        if not isinstance(number, (int, np.integer)) or not 0 <= number < len(values):
            raise ValueError(f"layers={layers!r}: there are layers 0...{len(values) - 1}")
    columns = max(min(values[number].shape[1], MAX_UNITS) for number in numbers)
    figure = pyplot("hidden_units").figure(
        figsize=(1.15 * columns + 0.6, 1.3 * len(numbers) + 0.2), layout="constrained")
    axes = figure.subplots(len(numbers), columns, squeeze=False)
    for row, number in zip(axes, numbers, strict=True):
        units = values[number].shape[1]
        for unit, ax in enumerate(row):
            ax.set(xticks=[], yticks=[])
            if unit >= units:
                ax.set_axis_off()
                continue
            value = values[number][:, unit].reshape(grid, grid)
            low, high = float(value.min()), float(value.max())
            if low < 0 < high:
                low, high = -max(-low, high), max(-low, high)
            ax.imshow(value, origin="lower", extent=(xs[0], xs[-1], ys[0], ys[-1]), aspect="auto",
                      cmap="PuOr_r", vmin=low, vmax=high)
            ax.set_title("output" if number == len(values) - 1 else f"unit {unit}", fontsize=8)
        more = f"\n(of {units})" if units > columns else ""
        row[0].set_ylabel(f"layer {number}{more}", fontsize=8)
    return figure


def activations(net: Any, X: Any, *, layer: int = 0, ax: Any = None) -> Any:
    """Draw the activations of a layer: a row for each row of X, a column for each unit.

    The units are in the order of their means. A unit that is the same for all rows, such as a relu
    that is always 0, is a plain stripe; the title counts them.

    Parameters
    ----------
    net : MLP
        Of any number of inputs.
    X : array-like (n_samples, n_in)
        At most 500 rows are drawn, evenly chosen.
    layer : int, default=0
        Number of the layer, from 0.
    ax : matplotlib.axes.Axes or None, default=None
        None: of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        When there is no such layer.
    """
    _check_net(net)
    values = net.activations_of(X)
    layer = validation.check_count("layer", layer, minimum=0)
    if layer >= len(values):
        raise ValueError(f"layer={layer}: there are layers 0...{len(values) - 1}")
    if not len(values[layer]):
        raise ValueError("X has 0 rows, must have at least 1")
    value = values[layer].reshape(len(values[layer]), -1)
    still = int((np.ptp(value, axis=0) == 0).sum())
    value = value[:, np.argsort(value.mean(axis=0), kind="stable")][::-(-len(value) // 500)]
    ax = new_axes(ax, "activations")
    image = ax.imshow(value, aspect="auto", cmap="viridis", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="activation")
    ax.set(xlabel="unit, by its mean", ylabel="row",
           title=f"layer {layer}: {value.shape[1]} units, {still} of them always the same")
    return ax


# ---- the surface of the loss ----

@dataclass(frozen=True, eq=False)
class LossSurface:
    """The loss over two directions in the space of the parameters; see `loss_surface`.

    Parameters
    ----------
    center : flat array
        The parameters at (0, 0).
    directions : array (2, n)
        Flat vectors like the center.
    a, b : float64 arrays (grid,)
        Steps along the first and the second direction.
    losses : float64 array (grid, grid)
        At center + a[j] directions[0] + b[i] directions[1], in row i and column j.
    path : float64 array (n_points, 2) or None
        The path of training in these directions.
    explained : float or None
        Share of the path's variance that lies in the two directions.
    """

    center: np.ndarray
    directions: np.ndarray
    a: np.ndarray
    b: np.ndarray
    losses: np.ndarray
    path: np.ndarray | None
    explained: float | None

    def plot(self, ax: Any = None, *, levels: int = 25, log: bool = True) -> Any:
        """Draw contours, and the path of the descent; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            None: of a new figure.
        levels : int, default=25
            Number of contours.
        log : bool, default=True
            Whether their distances are those of the logarithm, where all losses are above 0.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        ax = new_axes(ax, "LossSurface.plot")
        losses = np.where(np.isfinite(self.losses), self.losses, np.nan)
        low, high = np.nanmin(losses), np.nanmax(losses)
        log = log and low > 0
        steps = np.geomspace(low, high, levels) if log else np.linspace(low, high, levels)
        if low < high:
            from matplotlib.colors import LogNorm, Normalize

            filled = ax.contourf(self.a, self.b, losses, levels=steps, cmap="viridis",
                                 norm=(LogNorm if log else Normalize)(low, high))
            bar = ax.figure.colorbar(filled, ax=ax, label="loss", format="%.2g")
            bar.ax.minorticks_off()
            ax.contour(self.a, self.b, losses, levels=steps, colors="w", linewidths=0.3, alpha=0.5)
        if self.path is not None:
            ax.plot(*self.path.T, color=COLORS[1], marker=".", markersize=4, linewidth=1.2)
            ax.plot(*self.path[0], "o", color="w", markeredgecolor="k", label="start")
        ax.plot(0, 0, "*", color="r", markersize=12, markeredgecolor="w", label="end")
        ax.legend()
        share = "" if self.explained is None else f" ({self.explained:.0%} of its variance)"
        ax.set(xlabel="direction 1", ylabel="direction 2",
               title=None if self.path is None else f"path of the descent{share}")
        return ax


def loss_surface(net: Any, X: Any, y: ArrayLike, *, path: Any = None,
                 loss: str | Loss | None = None, sample_weight: ArrayLike | None = None,
                 alpha: float = 0.0, grid: int = 41, margin: float = 0.3,
                 random_state: int = 0) -> LossSurface:
    """Return the loss around a network's parameters, over two directions (Li et al. 2018).

    With a path the directions are the first two principal components of its way to the present
    parameters. Without, they are random ones, of which the part of each unit is scaled to the norm
    of that unit's weights ("filter normalisation"), and 0 for biases and gains. The network stays
    as it is.

    Parameters
    ----------
    net : MLP
        Its parameters are the centre.
    X : array-like or sparse matrix (n_samples, n_in)
        Rows that the loss is taken of.
    y : array-like (n_samples, n_out), or (n_samples,)
        Their targets.
    path : RecordPath, array (n_points, n) or None, default=None
        Flat vectors in the layout of ``net.parameters``, at least three of them.
    loss : str, Loss or None, default=None
        As in `MLP.fit`; None: the one that goes with the output.
    sample_weight : array-like (n_samples,) or None, default=None
        Weights of the rows.
    alpha : float, default=0.0
        L2 penalty, as in `MLP.fit`.
    grid : int, default=41
        Points along each direction: grid² losses are computed.
    margin : float, default=0.3
        What is computed around the path, as a share of its range. Without a path the range is from
        -1 to 1.
    random_state : int, default=0
        Decides the random directions.

    Returns
    -------
    LossSurface
        With ``plot()``.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument; when the path is that of another network, or does not leave its place.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> net, record = fastnn.MLP((2, 8, 1), random_state=0), fastnn.RecordPath()
    >>> history = net.fit(X, X[:, 0] * X[:, 1], epochs=20, callbacks=[record])
    >>> surface = fastnn.display.loss_surface(net, X, X[:, 0] * X[:, 1], path=record, grid=11)
    >>> surface.losses.shape, len(surface.path)
    ((11, 11), 21)
    """
    _check_net(net)
    grid = _check_grid(grid)
    margin = validation.check_nonnegative("margin", margin)
    info = net._bound(loss)
    data = net._check_data(X, y, sample_weight, info)
    alpha = validation.check_nonnegative("alpha", alpha)
    center = net.parameters.astype(np.float64)
    if path is None:
        directions = _random_directions(net, np.random.default_rng(random_state))
        walked = explained = None
        a = b = np.linspace(-1, 1, grid)
    else:
        directions, walked, explained = _components(net, path, center)
        a, b = (_stretch(np.append(walked[:, i], 0.0), grid, margin) for i in range(2))
    trainer = net._trainer(data, info, alpha, net.parameters)
    losses = np.empty((grid, grid))
    # far from the path exp and products may overflow: that is the surface, no fault
    with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):
        for i in range(grid):
            for j in range(grid):
                trainer.parameters[:] = center + a[j] * directions[0] + b[i] * directions[1]
                losses[i, j] = trainer.loss_and_grad()
    return LossSurface(center.astype(net.dtype), directions, a, b, losses, walked, explained)


def _trainable(net):
    """Return a mask of what gradients move: no gaps, no running averages."""
    mask = np.zeros(net.parameters.shape, bool)
    for block in net._layout.blocks:
        if block.trainable:
            mask[block.at:block.at + block.size] = True
    return mask


def _components(net, path, center):
    """Return two directions of unit norm, a path in them, and their share of its variance."""
    path = np.asarray(getattr(path, "path", path), np.float64)
    if path.ndim != 2 or path.shape[1] != center.size or len(path) < 3:
        raise ValueError(f"path has shape {path.shape}, must be (3 or more, {center.size}): rows "
                         "such as RecordPath().path of a fit of this network")
    away = np.where(_trainable(net), path - center, 0.0)
    if not np.isfinite(away).all():
        raise ValueError("path holds NaN or infinities")
    _, lengths, directions = np.linalg.svd(away, full_matrices=False)
    total = (lengths ** 2).sum()
    if total == 0:
        raise ValueError("path does not leave its place: all of its points are net.parameters")
    return directions[:2], away @ directions[:2].T, float((lengths[:2] ** 2).sum() / total)


def _random_directions(net, rng):
    found = np.zeros((2, net.parameters.size))
    for direction in found:
        for block, view, own in zip(net._layout.blocks, net._layout.views(direction),
                                    net._layout.views(net.parameters), strict=True):
            if block.kind == "weight":
                view[:] = rng.standard_normal(view.shape)
                norms = np.linalg.norm(view, axis=0)
                view *= np.linalg.norm(own, axis=0) / np.where(norms > 0, norms, 1)
    return found


def _stretch(values, grid, margin):
    low, high = values.min(), values.max()
    room = margin * (high - low) if high > low else 1.0
    return np.linspace(low - room, high + room, grid)


# ---- grids, models, checks ----

def _check_net(net):
    if not hasattr(net, "activations_of"):
        inner = getattr(net, "net", getattr(net, "network_", None))
        raise TypeError(f"net={type(net).__name__} must be a fastnn.MLP"
                        + (": give its .net" if hasattr(inner, "activations_of")
                           and hasattr(net, "net") else ""))


def _check_grid(grid):
    grid = validation.check_count("grid", grid)
    if not 2 <= grid <= 2000:
        raise ValueError(f"grid={grid} must be from 2 to 2000")
    return grid


def _plane(X):
    """Return X as a float64 array (n, 2), and names of its columns."""
    names = [str(name) for name in getattr(X, "columns", ("x₁", "x₂"))]
    points = np.asarray(X, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"X has shape {points.shape}, must be (n_samples, 2): a plane has two "
                         "axes. Of a model with more inputs none can be drawn")
    if not np.isfinite(points).all():
        raise ValueError("X holds NaN or infinities")
    return points, names


def _of_points(name, values, points):
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape == (len(points), 1):
        values = values[:, 0]
    if values.shape != (len(points),):
        raise ValueError(f"{name} has shape {values.shape}, must be ({len(points)},)")
    return values


def _axes_of(points, grid, margin):
    margin = validation.check_nonnegative("margin", margin)
    return [_stretch(column, grid, margin) for column in points.T]


def _mesh(xs, ys):
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _answers(model, rows, X):
    """Return values (n, 1), or probabilities (n, n_classes), and the classes; (n, 1) where there
    are two. The classes are empty where labels are numbers of outputs, None of a regression."""
    if hasattr(X, "columns"):  # names that the model knows
        rows = type(X)(rows, columns=X.columns)
    classifies = hasattr(model, "predict_proba")
    classes = getattr(model, "classes_", None) if classifies else None
    if classifies and hasattr(model, "task") and classes is None:  # a Predictor of values
        classifies = False
    ask = model.predict_proba if classifies else model.predict
    found = [np.asarray(ask(rows[i:i + BLOCK]), np.float64) for i in range(0, len(rows), BLOCK)]
    values = np.concatenate(found)
    values = values.reshape(len(rows), -1)
    output = getattr(model, "output", None)  # of an MLP
    if not classifies:
        if output not in ("sigmoid", "softmax"):
            if values.shape[1] != 1:
                raise ValueError(f"the model has {values.shape[1]} values for each point: one can "
                                 "be drawn")
            return values, None
        classes = np.empty(0)
    if values.shape[1] == 2:
        values = values[:, 1:]
    return values, np.asarray(classes)


def _mixed(values, maps):
    """Return colours (n, 3): that of the likeliest class, the paler the less likely it is."""
    best = values.argmax(axis=1)
    top = np.clip(values[np.arange(len(values)), best], 0, 1)[:, None]
    floor = 1 / values.shape[1]
    strength = 0.25 + 0.5 * np.clip((top - floor) / (1 - floor), 0, 1)
    colors = np.array([maps("tab10")(k % 10)[:3] for k in range(values.shape[1])])[best]
    return 1 - strength * (1 - colors)
