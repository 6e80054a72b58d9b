"""The command line on tables of more rows than it works on at a time, and on rows held out.

Predictions are made for 65,536 rows at a time and printed 10,000 at a time.
"""

import io

import numpy as np
import pytest

import fastnn

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

MANY = 66_000


@pytest.fixture
def run(run):
    """The same, of commands that have to succeed; gives standard output alone."""
    def call(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return call


# ---- many rows ----


def test_each_of_many_predictions_stands_beside_its_own_row(run):
    """To standard output and to a file, with columns of the table, below one header."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"row": np.arange(MANY) * 7, "b": rng.integers(0, 1000, MANY) / 8,
                          "a": rng.integers(0, 1000, MANY) / 8})
    net = fastnn.MLP((2, 1), output="sigmoid", dtype="float64", initializer="zeros")
    net.set_weights([[[0.25], [-0.125]], [-7.0]])
    net.save("m.safetensors", classes=["low", "high"], feature_names=["a", "b"])
    score = 0.25 * table["a"] - 0.125 * table["b"] - 7
    expected = np.where(score > 0, "high", "low")
    assert 0.2 < (expected == "high").mean() < 0.8
    for n_rows in (1, 10_001, MANY):
        table[:n_rows].to_csv("t.csv", index=False)
        command = ("predict", "m.safetensors", "t.csv", "--keep", "row,b")
        if n_rows < MANY:
            command = (*command, "--proba")
        out = run(*command)
        run(*command, "-o", "out.csv", "--force", "--quiet")
        with open("out.csv", newline="") as file:
            assert file.read().splitlines() == out.splitlines()
        assert out.count("prediction") == 1  # the header
        found = pd.read_csv(io.StringIO(out))
        assert list(found)[:3] == ["row", "b", "prediction"]
        np.testing.assert_array_equal(found["row"], table["row"][:n_rows])
        np.testing.assert_array_equal(found["b"], table["b"][:n_rows])
        np.testing.assert_array_equal(found["prediction"], expected[:n_rows])
        if "--proba" in command:
            np.testing.assert_allclose(found["probability_high"],
                                       1 / (1 + np.exp(-score[:n_rows])), rtol=1e-9)


# ---- rows held out ----


def people(n=200, seed=0):
    """Numbers with gaps, words with gaps; an amount and a group that can be learned from them."""
    rng = np.random.default_rng(seed)
    size, place = rng.normal(10, 2, n).round(3), rng.choice(["here", "there"], n)
    return pd.DataFrame({
        "size": np.where(rng.random(n) < 0.1, np.nan, size),
        "place": np.where(rng.random(n) < 0.1, None, place), "weight": rng.normal(0, 1, n).round(3),
        "amount": (size + 3 * (place == "here")).round(3),
        "group": np.where(size > 10, "large", "small")})


def test_nothing_is_learned_from_the_rows_held_out(run):
    """Medians, scales, categories, weights: whatever these rows hold, the file is the same; and it
    is another one where a row holds something else that is learned from."""
    table = people()
    for target, other in (("group", "amount"), ("amount", "group")):
        train = ("train", "t.csv", "-t", target, "--drop", other, "--epochs", 2, "--seed", 3,
                 "--test-fraction", 0.3, "--force", "--quiet")

        def file_of(changed, train=train):
            changed.to_csv("t.csv", index=False)
            run(*train)
            with open("model.safetensors", "rb") as file:
                return file.read()

        def changed(rows, table=table, target=target):
            """Other values in these rows; not of the target, which decides what is held out."""
            found = table.copy()
            found.loc[rows, "size"] = 1000.0
            found.loc[rows, "weight"] = np.nan
            found.loc[rows, "place"] = "elsewhere"
            if target == "amount":
                found.loc[rows, "amount"] *= 2
            return found

        whole = file_of(table)
        held = held_out_rows(table, target, 0.3, 3)
        assert len(held) == 60
        assert file_of(changed(held)) == whole
        learned = np.setdiff1d(np.arange(len(table)), held)
        assert file_of(changed(learned[:1])) != whole
        assert file_of(changed(learned[-1:])) != whole


def held_out_rows(table, target, fraction, seed):
    """The split is drawn first, from the seed alone; of each class its share."""
    order = np.random.default_rng(seed).permutation(len(table))
    if table[target].dtype.kind == "f":
        return np.sort(order[:round(fraction * len(table))])
    values, held = table[target].to_numpy()[order], []
    for value in np.unique(values):
        members = order[values == value]
        held.append(members[:round(fraction * len(members))])
    return np.sort(np.concatenate(held))


def test_of_each_class_a_row_is_left_to_learn_from(run):
    """However rare it is, and however large the share that is held out; in early stopping, too."""
    table = people()
    table.loc[0, "group"] = "alone"
    table.loc[1:3, "group"] = "rare"
    table.to_csv("t.csv", index=False)
    counts = table["group"].value_counts()
    for fraction, more in ((0.6, ()), (0.9, ()), (0.3, ("--early-stopping",))):
        out = run("train", "t.csv", "-t", "group", "--drop", "amount", "--epochs", 2, "--force",
                  "--test-fraction", fraction, *more)
        held = sum(min(round(fraction * n), n - 1) for n in counts)
        assert f"scores on {held} held-out rows" in out
        model = fastnn.load("model.safetensors")
        assert model.classes_.tolist() == ["alone", "large", "rare", "small"]
        assert model.net.sizes[-1] == 4
        if not more:
            assert f"{len(table) - held} rows to learn from" in out


def test_predictions_are_in_the_units_of_the_target(run):
    """Trained for 8 amount + 1000, a network gives 8 times what it gives for the amount, and 1000;
    of several targets each in its own units, a linear network and one with hidden layers."""
    table = people()
    table["twice"] = 8 * table["amount"] + 1000
    table["level"] = 2 ** -3 * table["weight"] - 5
    table.to_csv("t.csv", index=False)
    for hidden in ("0", "8"):
        found = {}
        for targets in ("amount", "twice", "amount,level", "twice,level"):
            run("train", "t.csv", "-t", targets, "--drop", "group", "--drop",
                ",".join({"amount", "twice", "level"} - set(targets.split(","))), "--epochs", 3,
                "--hidden", hidden, "--dtype", "float64", "--force", "--quiet")
            found[targets] = fastnn.load("model.safetensors").predict(table)
        for one, other in (("amount", "twice"), ("amount,level", "twice,level")):
            some, wanted = found[other], 8 * found[one] + 1000
            if some.ndim == 2:
                np.testing.assert_allclose(some[:, 1], found[one][:, 1], rtol=1e-9)
                some, wanted = some[:, 0], wanted[:, 0]
            np.testing.assert_allclose(some, wanted, rtol=1e-9)
        for values, name in ((found["amount"], "amount"), (found["amount,level"][:, 1], "level")):
            assert abs(values.mean() - table[name].mean()) < 2 * table[name].std()
