"""``info``: what a model file holds."""

import datetime
import json
import os

from fastnn.cli.common import Help, describe_model, escaped, say


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "info", help="tell what a model file holds", formatter_class=Help,
        description="Checks a model file and tells what it holds: the network, the columns it "
                    "takes, what it predicts.")
    parser.set_defaults(run=run)
    parser.add_argument("model", help="model file")
    parser.add_argument("--json", action="store_true", help="the same for programs")


def run(options):
    """Run the command."""
    found = described(options.model)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    columns, targets = found.pop("columns"), found.pop("targets")
    features = found.pop("inputs")
    if found["classes"] is not None:
        found["classes"] = _shortened(found["classes"])
    if targets:
        found["predicts"] = ", ".join(targets)
    if columns is None and features is not None:
        found["inputs"] = _shortened(features)
    for name, value in found.items():
        if value is not None:
            say(f"{name.replace('_', ' '):15} {escaped(_shown(value))}")
    if columns is not None:
        say(f"\nthe table must have {len(columns)} columns (others are ignored):")
        names = [escaped(column["name"]) for column in columns]
        width = min(30, max(map(len, names)))
        for name, column in zip(names, columns, strict=True):
            say(f"  {name:{width}}  {column['kind']:9} {escaped(column['note'])}".rstrip())


def described(path):
    """Everything about a model file, as plain values."""
    model, settings, header = describe_model(path)
    if not hasattr(model, "net"):
        return {**_of_a_table(path, model), **_of_the_file(header)}
    net = model.net
    columns, inputs = None, model.feature_names_in_
    if hasattr(model.table, "names"):  # of raw rows: an encoder, or steps of a pipeline
        inputs = model.table.names
    elif model.table is not None:
        columns = [{"name": column.name, "kind": column.kind, "note": _note(column)}
                   for column in model.table.columns]
    activations = sorted(set(net.activations))
    return {
        "file": os.fspath(path),
        "size_bytes": os.path.getsize(path),
        "network": "-".join(map(str, net.sizes)),
        "activation": activations[0] if len(activations) == 1 else list(net.activations),
        "output": net.output,
        "parameters": net.n_parameters,
        "dtype": net.dtype.name,
        "task": model.task,
        "classes": None if model.classes_ is None else model.classes_.tolist(),
        "targets": list(getattr(model.table, "targets", ())),
        "scaled": model.scaler is not None,
        "estimator": settings.get("estimator", {}).get("class"),
        "inputs": None if inputs is None else list(inputs),
        "columns": columns,
        **_of_the_file(header),
    }


def _of_a_table(path, model):
    """Return what is to be said of a `TabularModel`."""
    networks = model.ensemble.networks
    sizes = dict(zip(model.schema.category_names, model.schema.category_sizes, strict=True))
    columns = [{"name": column.name, "kind": column.kind,
                "note": f"{sizes[column.name]:,}" if column.name in sizes else ""}
               for column in model.schema.columns]
    if model.preparation is not None:  # the columns of the pipeline's table, not what it makes
        columns = None
    several = sorted({"-".join(map(str, net.sizes)) for net in networks})
    return {
        "file": os.fspath(path),
        "size_bytes": os.path.getsize(path),
        "networks": len(networks),
        "network": several[0] if len(several) == 1 else several,
        "parameters": sum(net.n_parameters for net in networks),
        "task": model.task.kind,
        "loss": model.task.loss.name,
        "classes": None if model.classes_ is None else model.classes_.tolist(),
        "targets": list(model.targets),
        "inputs": None if model.preparation is None else list(model.preparation.names),
        "columns": columns,
    }


def _of_the_file(header):
    return {"format": header["fastnn_format"], "written_by": f"fastnn {header['fastnn_version']}",
            "sha256": header["sha256"], "checksum": "right"}


def _note(column):
    if column.kind == "category":
        several = len(column.categories) + column.missing_category
        return f"{several}: " + _cut(", ".join(
            [*column.categories, *(["missing"] if column.missing_category else [])]))
    words = f"; missing too: {_cut(', '.join(column.missing_words))}" if (
        column.missing_words) else ""
    fill = f"{column.fill:g}"
    if column.kind == "boolean":
        fill = "true" if column.fill else "false"
    elif column.kind == "date" and abs(column.fill) < 7e5:
        fill = (datetime.date(1970, 1, 1) + datetime.timedelta(days=column.fill)).isoformat()
    return f"{fill} where missing{words}"


def _shortened(values):
    more = f" ({len(values)} in all)" if len(values) > 8 else ""
    return _cut(", ".join(map(str, values))) + more


def _cut(text):
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else value
