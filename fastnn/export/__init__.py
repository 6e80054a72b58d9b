"""A trained model for places without fastnn: an ONNX file, or a C header.

Each is imported when it is first needed: _onnx and _c, and for models of tables _onnx_tables and
_c_tables; _skl2onnx, the converters; _c_rows, what is several calls in C; _c_jacobian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.notices import suggests
from fastnn.core.validation import check_path

if TYPE_CHECKING:
    from typing import Any, Literal

    from fastnn.core.types import ArrayLike, File

__all__ = ["c_header", "onnx", "register_skl2onnx"]

MODEL_FIRST = "; the model comes first: fastnn.export.{}(model, path)"


@suggests
def onnx(model: Any, path: File, opset: int = 17, *, input_name: str = "X",
         zipmap: bool | Literal["columns"] = False, nocl: bool = False) -> None:
    """Write an ONNX file that computes what the model predicts.

    The input is (n_rows, n_in) of the network's dtype, any number of rows. The outputs are

    * ``output`` (n_rows, n_out) for an MLP and for regression;
    * ``label`` (n_rows,) and ``probabilities`` (n_rows, n_classes) for a classifier;
    * the same, both (n_rows, n_labels), for a multilabel classifier.

    A model of tables (`TabularClassifier`, `TabularRegressor`, `TabularModel`) has one input
    (n_rows, 1) for each column, by its name: numbers, booleans and dates (days since 1970, and
    their parts under names such as ``date (month)``) as float64, NaN where missing, categories as
    strings, empty where missing.

    Labels are strings or int64, as in skl2onnx: booleans and whole floats become int64.

    Parameters
    ----------
    model : MLP, fitted estimator, Predictor or TabularModel
        The scaler of a Predictor becomes part of the file, in double precision. The encoder of data
        frames does not: the file takes encoded columns.
    path : str or path
        Of the file to write.
    opset : int, default=17
        Version of the ONNX operators, from 13 to the newest that the installed onnx knows.
    input_name : str, default="X"
        Name of the input in the file.
    zipmap : bool or "columns", default=False
        Form of the probabilities of a classifier: an array; True: ``output_label`` and
        ``output_probability``, a list with a dict from class to float32 for each row; "columns":
        ``output_label`` and an output (n_rows,) for each class, "i" or "s" before its label.
    nocl : bool, default=False
        Whether classes are numbered from 0 in the file instead of named, as labels, in dicts and in
        names of columns.

    Raises
    ------
    ImportError
        When onnx is not installed.
    ValueError
        When the opset is out of range, the labels have no counterpart in ONNX, a weight is not
        finite, or the weights take more than the 2 GiB an ONNX file can hold.
    """
    from fastnn.prediction.predictor import tabular_model_of

    check_path("path", path, MODEL_FIRST.format("onnx"))
    table = tabular_model_of(model)
    if table is None:
        from fastnn.export import _onnx

        _onnx.export(model, path, opset, input_name, zipmap, nocl)
    else:
        from fastnn.export import _onnx_tables

        _onnx_tables.export(table, path, opset, zipmap, nocl)


@suggests
def c_header(model: Any, path: File, prefix: str = "model", *, test_rows: ArrayLike | None = None,
             jacobian: bool = False) -> None:
    """Write one self-contained C99 header that computes what the model predicts.

    That of a model of tables takes numbers as double, NaN where missing, and codes of categories,
    which ``model_code(column, "text")`` gives.

    It needs <math.h> and nothing else, allocates nothing, and keeps no state. All names begin with
    the prefix, so that a program may hold several models. The comment at its top tells how to use
    it.

    Parameters
    ----------
    model : MLP, fitted estimator, Predictor or TabularModel
        The scaler of a Predictor becomes part of the header, in double precision. The encoder of
        data frames does not: the header takes encoded columns.
    path : str or path
        Of the file to write.
    prefix : str, default="model"
        A C identifier. Macros have it in capitals, so two models must differ in more than case.
    test_rows : array-like (n_rows, n_in) or None, default=None
        Inputs that the header's self-test holds beside their outputs; None: five random rows.
    jacobian : bool, default=False
        Whether there is a function of the derivatives of the outputs with respect to the inputs,
        too, those of `Predictor.predict_jacobian`: ``model_jacobian(x, jacobian, scratch)``.

    Raises
    ------
    ValueError
        When the prefix is not an identifier, or a weight or an answer to a test row is not finite;
        with ``jacobian`` when an activation has no derivative.
    """
    from fastnn.prediction.predictor import tabular_model_of

    check_path("path", path, MODEL_FIRST.format("c_header"))
    table = tabular_model_of(model)
    if table is None:
        from fastnn.export import _c

        _c.export(model, path, prefix, test_rows, jacobian)
    else:
        from fastnn.export import _c_tables

        _c_tables.export(table, path, prefix, test_rows, jacobian)


def register_skl2onnx() -> None:
    """Tell skl2onnx how to convert MLPClassifier and MLPRegressor, alone or in a pipeline.

    Afterwards ``skl2onnx.to_onnx`` takes what holds them. The options "zipmap" and "nocl" are those
    of skl2onnx's own classifiers. The network computes in its own dtype, with casts where the
    pipeline has another.

    Raises
    ------
    ImportError
        When skl2onnx is not installed.
    """
    from fastnn.export import _skl2onnx

    _skl2onnx.register()
