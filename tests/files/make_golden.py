"""Writes a file of every kind of model to golden/FORMAT/, with what the model says beside it.

    python tests/files/make_golden.py

Run once for each version of the format (`fastnn.io.FORMAT`), and for a new kind of model: what is
there is never written again, since these files have to load for ever.
"""

import json
import warnings
from pathlib import Path

from model_cases import MODELS, answers

from fastnn import io

GOLDEN = Path(__file__).with_name("golden")


def main():
    folder = GOLDEN / ".".join(map(str, io.FORMAT))
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        path = folder / f"{name}.safetensors"
        if path.exists():
            continue
        with warnings.catch_warnings(action="ignore"):
            model = make()
        model.save(path)
        text = json.dumps(answers(model), indent=0).replace("\n", "")
        path.with_suffix(".json").write_text(text + "\n")
        print(path.name)


if __name__ == "__main__":
    main()
