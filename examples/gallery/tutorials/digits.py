"""
Digits
======

Images of handwritten digits to numbers: a schedule, a penalty, early stopping, and a look at the
mistakes.
"""

# %%
# 1,797 images of 8 x 8 pixels, from 0 to 16. They come with scikit-learn.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits()
X = digits.data.astype("float32") / 16
X_train, X_test, y_train, y_test = train_test_split(X, digits.target, stratify=digits.target,
                                                    random_state=0)

# %%
# A network of two hidden layers. Rows of the training that are changed on their way, by some noise
# and by mixing pairs of them, keep it from learning the images by heart.

import fastnn
from fastnn.schedules import Cosine

net = fastnn.MLP((64, 128, 128, 10), activation="gelu", output="softmax", random_state=0)
history = net.fit(
    X_train, y_train, optimizer=fastnn.AdamW(Cosine(3e-3, warmup=0.1), weight_decay=0.05),
    epochs=60, batch_size=64, input_noise=0.05, mixup=0.2,
    validation_data=(X_test, y_test), metrics=["accuracy"])
print(f"accuracy {history['val_accuracy'][-1]:.4f}")

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(history.loss, label="training, with noise and mixtures")
left.plot(history.val_loss, label="held out")
left.set(xlabel="epoch", ylabel="loss", yscale="log")
left.legend()
right.plot(history["val_accuracy"])
right.set(xlabel="epoch", ylabel="accuracy on held-out rows", ylim=(0.9, 1))
plt.show()

# %%
# The mistakes, and the images the network is least sure of.

probabilities = net.predict(X_test)
found = probabilities.argmax(axis=1)
odd = np.argsort(probabilities[np.arange(len(y_test)), y_test])[:10]
figure, panels = plt.subplots(1, 10, figsize=(10, 1.5), layout="constrained")
for panel, row in zip(panels, odd, strict=True):
    panel.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    panel.set(xticks=[], yticks=[])
    panel.set_title(f"{y_test[row]} as {found[row]}", fontsize=8,
                    color="tab:red" if found[row] != y_test[row] else "black")
plt.show()

# %%
# Several networks and their mean: mistakes that differ cancel out.

nets = [fastnn.MLP((64, 128, 128, 10), activation="gelu", output="softmax", random_state=seed)
        for seed in range(5)]
fastnn.fit_many(nets, X_train, y_train, epochs=60, batch_size=64, input_noise=0.05, mixup=0.2,
                optimizer=fastnn.AdamW(Cosine(3e-3, warmup=0.1), weight_decay=0.05))
alone = [(one.predict(X_test).argmax(axis=1) == y_test).mean() for one in nets]
together = np.mean([one.predict(X_test) for one in nets], axis=0)
print("alone   ", np.round(alone, 4))
print("together", round((together.argmax(axis=1) == y_test).mean(), 4))
