"""``export``: a model file for other programs."""

from pathlib import Path

from fastnn.cli.common import CommandError, Help, check_output, escaped, load_model, note, say

ENDINGS = {"c": ".h", "onnx": ".onnx"}

EPILOG = """\
Scaling is part of what is exported; turning columns of text into inputs is not: 'info --json' lists
the inputs of a model that was trained on a table.

examples:
  %(prog)s model.safetensors -o price.onnx
  %(prog)s model.safetensors --to c --prefix price -o price.h
"""


def add(commands):
    """Add the command and its options."""
    parser = commands.add_parser(
        "export", usage="%(prog)s MODEL [--to {c,onnx}] [-o FILE] [options]",
        help="write a model as ONNX or as a C header", formatter_class=Help,
        description="Writes a model for programs without Python.", epilog=EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("model", help="model file")
    parser.add_argument("--to", choices=sorted(ENDINGS),
                        help="c: a header without dependencies; onnx: for ONNX Runtime and others "
                             "(default: by the ending of --output, .h or .onnx)")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="file to write (default: the model's name with .h or .onnx)")
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing file")
    parser.add_argument("--prefix", metavar="NAME", help="c: what all names start with")
    parser.add_argument("--opset", type=int, metavar="N", help="onnx: version of the operators")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(options):
    """Run the command."""
    from fastnn import export

    ends = next((to for to, ending in ENDINGS.items()
                 if (options.output or "").lower().endswith(ending)), None)
    if options.to is None:
        options.to = ends
    elif ends not in (None, options.to):
        raise CommandError(f"--to {options.to} writes {ENDINGS[options.to]}, but --output "
                           f"{escaped(options.output)} ends as a file of --to {ends}")
    if options.to is None:
        raise CommandError("--to c or --to onnx, or an --output that ends in .h or .onnx, must say "
                           "what to write")
    for name, other in (("prefix", "c"), ("opset", "onnx")):
        if getattr(options, name) is not None and options.to != other:
            raise CommandError(f"--{name} goes with --to {other} only")
    model = load_model(options.model)
    output = options.output or Path(options.model).with_suffix(ENDINGS[options.to])
    output = check_output(output, options.force, options.model)
    write = export.onnx if options.to == "onnx" else export.c_header
    settings = {name: getattr(options, name) for name in ("prefix", "opset")
                if getattr(options, name) is not None}
    try:
        write(model, output, **settings)
    except ImportError as error:
        raise CommandError(str(error), 1) from None
    if not options.quiet:
        say(f"wrote {escaped(output)} ({output.stat().st_size:,} bytes)")
        if getattr(model, "table", None) is not None and model.table.count().keys() - {"number"}:
            names = model.table.feature_names
            note(f"it takes {len(names)} numbers in this order: " + escaped(", ".join(names[:6]))
                 + (", ... ('info --json' lists all)" if len(names) > 6 else ""))
