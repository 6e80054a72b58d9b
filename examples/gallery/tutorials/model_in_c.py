"""
A model in C
============

A trained network as one header file: C99, no allocation, nothing but ``<math.h>``. For firmware,
for another language, for a program that must not depend on Python.
"""

# %%
# A classifier of flowers.

import subprocess
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

import fastnn
import fastnn.export

iris = load_iris()
model = fastnn.MLPClassifier((16,), solver="lbfgs", dtype="float32", random_state=0)
model.fit(iris.data, iris.target_names[iris.target])
print(model.score(iris.data, iris.target_names[iris.target]))

# %%
# The header. ``test_rows`` put rows and answers into it, so that the compiled code can test itself.

fastnn.export.c_header(model, "iris.h", prefix="iris", test_rows=iris.data[::30])
header = Path("iris.h").read_text()
print(f"{len(header):,} bytes")
print(header[:header.index("#ifndef")][:900])

# %%
# A program that uses it. Every array is the caller's.

Path("flower.c").write_text("""\
#include <stdio.h>
#include "iris.h"

int main(void) {
    float x[IRIS_N_INPUTS], out[IRIS_N_OUTPUTS], scratch[IRIS_SCRATCH];

    if (iris_self_test() != 0) {
        fputs("the compiled model does not give its own answers\\\\n", stderr);
        return 1;
    }
    while (scanf("%f %f %f %f", x, x + 1, x + 2, x + 3) == 4) {
        iris_predict(x, out, scratch);
        printf("%s %.6f\\\\n", iris_classes[iris_class(out)], out[iris_class(out)]);
    }
    return 0;
}
""".replace("\\\\n", "\\n"))
subprocess.run("cc -std=c99 -O2 -Wall -Wextra flower.c -o flower -lm", shell=True, check=True)

# %%
# All flowers through both. The last digits may differ, the answers do not.

rows = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in iris.data)
done = subprocess.run("./flower", input=rows, capture_output=True, text=True, check=True)
answers = [line.split() for line in done.stdout.splitlines()]
probabilities = np.array([float(probability) for _, probability in answers])
print([name for name, _ in answers] == model.predict(iris.data).tolist())
in_python = model.predict_proba(iris.data).max(axis=1)
print("largest difference", np.abs(probabilities - in_python).max())

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(4, 3.4), layout="constrained")
axes.plot(in_python, probabilities, "o", ms=4, alpha=0.5)
axes.set(xlabel="probability in Python", ylabel="probability in C", aspect="equal")
plt.show()

# %%
# With ``jacobian=True`` the header has derivatives, too: for controllers and solvers. Names and
# limits: :doc:`/export`.
