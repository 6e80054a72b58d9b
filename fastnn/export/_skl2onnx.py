"""Converters of the estimators for skl2onnx."""

import numpy as np

try:
    from onnx import TensorProto, numpy_helper
    from skl2onnx import update_registered_converter
    from skl2onnx._parse import _parse_sklearn_classifier
    from skl2onnx.common.data_types import (
        BooleanTensorType,
        DictionaryType,
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        SequenceType,
        StringTensorType,
        guess_tensor_type,
    )
    from skl2onnx.common.utils import check_input_and_output_numbers, check_input_and_output_types
except ImportError as error:
    raise ImportError("fastnn.export.register_skl2onnx needs the package skl2onnx: "
                      'pip install "fastnn-mlp[onnx]"') from error

from fastnn.estimators import MLPClassifier, MLPRegressor
from fastnn.export import _onnx
from fastnn.prediction.predictor import as_predictor, check_exported

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False],
           "output_class_labels": [False, True]}
# the opset from which on a node takes what ours give it; all but Max and Min broadcast from 7 on
SINCE = {"Clip": 11, "Max": 8, "Min": 8, "Slice": 10, "Split": 13, "Unsqueeze": 13}
OLDEST = 7
INPUT_TYPES = [FloatTensorType, DoubleTensorType, Int64TensorType, BooleanTensorType]


def register():
    """See `fastnn.export.register_skl2onnx`."""
    update_registered_converter(
        MLPClassifier, "FastnnMLPClassifier", classifier_shapes, convert, parser=parse_classifier,
        options=OPTIONS)
    update_registered_converter(
        MLPRegressor, "FastnnMLPRegressor", regressor_shapes, convert)


class SklGraph(_onnx.Graph):
    """Passes nodes and constants on to skl2onnx, which has names and versions of its own."""

    def __init__(self, dtype, scope, container):
        super().__init__(dtype, opset=container.target_opset_onnx)
        self.scope, self.container = scope, container

    def unique(self, name):
        return self.scope.get_unique_variable_name(name)

    def op(self, kind, *inputs, outputs=None, domain="", **attributes):
        if self.opset < (since := SINCE.get(kind, OLDEST)):
            raise ValueError(f"target_opset={self.opset} must be at least {since} for this model: "
                             f"{kind} of older opsets is another one")
        outputs = outputs or [self.unique(kind.lower())]
        self.container.add_node(kind, list(inputs), outputs, op_domain=domain,
                                name=self.scope.get_unique_operator_name(kind), **attributes)
        return outputs[0]

    def constant(self, array, name="constant"):
        name = self.unique(name)
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        content = tensor
        if tensor.data_type == TensorProto.STRING:  # of a tensor only raw data is taken
            content = list(tensor.string_data)
        self.container.add_initializer(name, tensor.data_type, list(tensor.dims), content)
        return name


def _options(scope, model):
    return scope.get_options(model, {"zipmap": True, "nocl": False})


def parse_classifier(scope, model, inputs, custom_parsers=None):
    """skl2onnx's own, but for what its dicts and columns lack."""
    options = _options(scope, model)
    if options["zipmap"] == "columns" and options["nocl"]:
        raise ValueError("nocl=True must go with zipmap=True or False: skl2onnx names no columns "
                         "without labels")
    values = _parse_sklearn_classifier(scope, model, inputs, custom_parsers=custom_parsers)
    if options["zipmap"] is True:  # declared as double for double inputs, which ZipMap cannot be
        values[1].set_type(SequenceType(DictionaryType(values[0].type, FloatTensorType())))
    return values


def _check(operator, n_outputs):
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=n_outputs)
    check_input_and_output_types(operator, good_input_types=INPUT_TYPES)
    return operator.inputs[0].get_first_dimension(), guess_tensor_type(operator.inputs[0].type)


def classifier_shapes(operator):
    """Types of label (n_rows,) and probabilities (n_rows, n_classes)."""
    n_rows, real = _check(operator, 2)
    options = _options(operator.scope_inst, operator.raw_operator)
    predictor = check_exported(as_predictor(operator.raw_operator), "an ONNX file")
    labels = _onnx.class_labels(predictor.classes_, options["nocl"])
    shape = [n_rows, len(labels)] if predictor.task == "multilabel" else [n_rows]
    words = labels.dtype == object and predictor.task != "multilabel"
    operator.outputs[0].set_type((StringTensorType if words else Int64TensorType)(shape))
    n_columns = max(predictor.net.sizes[-1], 1 if predictor.task == "multilabel" else 2)
    if options["zipmap"] and n_columns != len(labels):
        raise ValueError(f"zipmap={options['zipmap']!r} must be False for a model that knows one "
                         "class")
    if options["zipmap"] is True:  # takes no double
        real = FloatTensorType()
    operator.outputs[1].set_type(type(real)([n_rows, n_columns]))


def regressor_shapes(operator):
    """Type of the values (n_rows, n_targets)."""
    n_rows, real = _check(operator, 1)
    operator.outputs[0].set_type(type(real)([n_rows, operator.raw_operator.n_outputs_]))


def convert(scope, operator, container):
    """Return the nodes of a fitted estimator, in the dtype of its network."""
    predictor = check_exported(as_predictor(operator.raw_operator), "an ONNX file")
    g = SklGraph(predictor.net.dtype, scope, container)
    real = _onnx.ONNX_TYPE[g.dtype]
    x = g.cast(operator.inputs[0].full_name, real)
    values = [_onnx.add_network(g, x, predictor.net)]
    if predictor.classes_ is not None:
        nocl = _options(scope, operator.raw_operator)["nocl"]
        labels = _onnx.class_labels(predictor.classes_, nocl)
        values = _onnx.add_classes(g, predictor, values[0], labels)
    for value, declared in zip(values, operator.outputs, strict=True):
        to = {FloatTensorType: TensorProto.FLOAT, DoubleTensorType: TensorProto.DOUBLE}.get(
            type(declared.type))
        if to in (None, real):
            g.op("Identity", value, outputs=[declared.full_name])
        else:
            g.op("Cast", value, outputs=[declared.full_name], to=to)
