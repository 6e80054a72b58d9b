"""Models of tables with trees in the hands of many Python threads, copies, files and forks."""

import os

import pytest

pytest.importorskip("sklearn")

# A model whose trees say most, what it answers to many rows, to some and to one, and threads that
# ask it for these over and over.
COMMON = """
import copy, gc, os, pickle, sys, tempfile, time, warnings
import numpy as np
import fastnn
from beside import during, in_child, wait_for
from fastnn.tabular import trees

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
N = 300
TABLE = {"size": rng.normal(size=N), "rooms": rng.integers(0, 5, N).astype(float),
         "city": rng.choice(np.array(["Rome", "Oslo", "Bern"], object), N)}
TABLE["size"][::9] = np.nan
trees._share = lambda *_: 0.9
fitted = fastnn.TabularRegressor("fast", random_state=0, time_limit=1, n_threads=2).fit(
    TABLE, np.nan_to_num(TABLE["size"]) + (TABLE["city"] == "Rome"))
path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
fitted.save(path)
model = fastnn.load(path)
assert model.ensemble.parts[0].encoding.forest is not None
WAYS = (TABLE, {name: column[:20] for name, column in TABLE.items()},
        [{name: column[3] for name, column in TABLE.items()}])


def answers(one):
    return b"".join(one.predict(table).tobytes() for table in WAYS)


wanted = answers(fitted)
assert answers(model) == wanted


def beside(body, ask):
    during(lambda: ask() == wanted, 8, body)
"""
BODIES = {
    "pickle": """
def body():
    for _ in range(20):
        assert answers(pickle.loads(pickle.dumps(model))) == wanted
""",
    "copy": """
def body():
    for _ in range(20):
        assert answers(copy.copy(model)) == answers(copy.deepcopy(model)) == wanted
""",
    "save": """
def body():
    for _ in range(10):
        model.save(path)
        assert answers(fastnn.load(path)) == wanted
""",
    # what each compiled object was made of stays, whatever is asked of it
    "begin again": """
def body():
    encoding = model.ensemble.parts[0].encoding
    forest = encoding.forest
    model.predict(WAYS[2])
    rows = model.ensemble._row[0][1]
    own = forest.tables
    few = {**own, "ends": own["ends"][:1], "base": own["base"][:1], "ranks": own["ranks"][:1]}
    few |= {"counts": own["counts"][:few["ends"][0]]}
    n = few["counts"].sum()
    few |= {name: own[name][:n] for name in ("leaves", "columns", "thresholds")}
    few["values"] = own["values"][:n + len(few["counts"])]
    few |= {"n_numbers": forest.n_in, "sizes": forest.sizes}
    assert type(forest.scorer)(**few).n_folds == 1
    ones = np.ones(1, np.int64)
    nothing = {"edges": np.zeros(0), "edge_starts": 0 * ones, "scales": np.zeros((0, 4)),
               "seen": np.zeros(0, np.uint8), "maps": np.zeros(0, np.int32),
               "map_starts": 0 * ones, "firsts": np.zeros(0, np.int32)}
    assert type(encoding.tables)(**nothing)
    for _ in range(100):
        for one, others in ((forest.scorer, few), (encoding.tables, nothing),
                            (rows, {"networks": [], "weights": ones, "adds": ones})):
            for call in (lambda: one.__init__(**others), lambda: one.__init__(),
                         lambda: copy.copy(one), lambda: copy.deepcopy(one),
                         lambda: pickle.dumps(one),
                         lambda: one.__setstate_cython__(one.__reduce_cython__()[1][2])):
                try:
                    call()
                except (TypeError, AttributeError):
                    pass
""",
    "arrays": """
def body():
    # the forest's, which are told files and pickles, are not those that rows are scored by
    for array in fitted.model_.ensemble.parts[0].encoding.forest.tables.values():
        array.fill(2**30)
""",
    "models made again": """
def body():
    state = model.__getstate__()
    for _ in range(20):
        model.__setstate__(state)
""",
    "fork": """
def body():
    for _ in range(20):
        wait_for(in_child(lambda: answers(model) == wanted))
""",
}


@pytest.mark.parametrize("what", BODIES)
def test_beside_predictions(run_python, what):
    if what == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    done = run_python(COMMON + BODIES[what] + """
beside(body, lambda: answers(fitted if sys.argv[1] == "arrays" else model))
print("done")
""", what)
    assert done.stdout.strip() == "done", done.stderr


def test_models_that_go_while_they_predict(run_python):
    """What holds a model are the calls that run."""
    done = run_python(COMMON + """
holders = [model]


def ask():
    try:
        one = holders[-1]
    except IndexError:
        return wanted
    call = one.predict
    del one
    return b"".join(call(table).tobytes() for table in WAYS)


def body():
    for _ in range(30):
        holders[:] = [fastnn.load(path)]
        time.sleep(0.01)
        holders.clear()
        gc.collect()


del model, fitted
beside(body, ask)
print("done")
""")
    assert done.stdout.strip() == "done", done.stderr
