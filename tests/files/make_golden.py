"""Writes a file of every kind of model to golden/FORMAT/, with what the model says beside it.

    python tests/files/make_golden.py

Run for a new kind of model: what is there is never written again, since these files have to load
for ever.
"""

import json
import warnings
from pathlib import Path

from model_cases import MODELS, answers

from fastnn.files import container

GOLDEN = Path(__file__).with_name("golden")


def main():
    there = {path.stem for path in GOLDEN.glob("*/*.safetensors")}
    for name, make in MODELS.items():
        if name in there:
            continue
        with warnings.catch_warnings(action="ignore"):
            model = make()
        spec = (model.net if hasattr(model, "net") else model).spec
        needs = spec.needs or getattr(getattr(model, "table", None), "makes_codes", False)
        version = container.FORMAT if needs else container.PLAIN_FORMAT
        path = GOLDEN / ".".join(map(str, version)) / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        text = json.dumps(answers(model), indent=0).replace("\n", "")
        path.with_suffix(".json").write_text(text + "\n")
        print(path.name)


if __name__ == "__main__":
    main()
