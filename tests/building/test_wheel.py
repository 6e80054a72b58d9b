"""Wheels: two builds in two folders are the same file, and hold no folder of the builder."""

import os
import re
import shutil
import zipfile

import pytest
from test_packaging import ROOT, build_wheel, copy_tree, run

EPOCH = 1700000000


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Wheels of two copies of the tree: other folders, hash seed, order and date of the files."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("no sources beside the tests")
    wheels = []
    for name, seed, age in [("one", "1", 0), ("a longer name with spaces", "2", 10**7)]:
        base = tmp_path_factory.mktemp(name)
        tree = copy_tree(base / "tree")
        for number, path in enumerate(sorted(tree.rglob("*"), reverse=age > 0)):
            os.utime(path, (EPOCH - age + number, EPOCH - age + number))
        (base / "temp").mkdir()
        (base / "out").mkdir()
        wheels.append(build_wheel(tree, base / "out", SOURCE_DATE_EPOCH=str(EPOCH),
                                  PYTHONHASHSEED=seed, TMPDIR=str(base / "temp")))
    return wheels


def members(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: (info.date_time, info.external_attr, archive.read(info))
                for info in archive.infolist()}


def assert_same_file(one, two):
    first, second = members(one), members(two)
    assert list(first) == list(second)
    assert not [name for name in first if first[name] != second[name]]
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_two_builds_are_the_same_file(twins):
    assert_same_file(*twins)
    dates = {date for date, _, _ in members(twins[0]).values()}
    assert dates == {(2023, 11, 14, 22, 13, 20)}


@pytest.mark.slow
def test_no_folder_of_the_builder_is_in_the_wheel(twins):
    for wheel in twins:
        base = wheel.parents[1]
        for name, (_, _, data) in members(wheel).items():
            assert os.fsencode(base) not in data, name
            assert os.fsencode(ROOT) not in data, name


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("auditwheel", "patchelf", "strip"))),
                    reason="needs auditwheel, patchelf and strip")
def test_two_repaired_wheels_are_the_same_file(twins, tmp_path):
    repaired = []
    for number, wheel in enumerate(twins):
        run("auditwheel", "repair", "--strip", "--wheel-dir", tmp_path / str(number), wheel,
            cwd=tmp_path, SOURCE_DATE_EPOCH=str(EPOCH))
        repaired += (tmp_path / str(number)).glob("*.whl")
    assert len(repaired) == 2
    assert_same_file(*repaired)
    assert re.search(r"manylinux_2_\d+_", repaired[0].name)
    names = members(repaired[0])
    assert [name for name in names if re.match(r"fastnn\.libs/libgomp-", name)]
