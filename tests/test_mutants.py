"""The mutation command itself: it makes the mistakes it says it makes, and tells seen ones from unseen."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from robustness import mutants
from robustness.killing import put_in
from robustness.operators import mutants_of

SOURCE = '''
def area(width: "int", height=2, *, border=0):
    """Multiply."""
    if width < 0:
        raise ValueError(f"width must be at least {0}, not {width}")
    inner = width * height
    return max(inner, 0) + border


class Box:
    @property
    def open(self):
        return not self.lid

    def close(self, lid):
        if lid:
            self.lid = lid
        self.count += 1
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "shapes.py"
    path.write_text(SOURCE)
    return path


def test_each_mistake_is_made_once_and_named(module):
    names = [mutant.name for mutant in mutants_of(module)]
    assert len(set(names)) == len(names)
    assert set(names) == {
        "shapes.area: 2 -> 3",
        "shapes.area: 0 -> 1",
        "shapes.area: width < 0 -> width <= 0",
        "shapes.area: 0 -> 1 [2]",
        "shapes.area: inner = width * height -> inner = None",
        "shapes.area: width * height -> width / height",
        "shapes.area: max(inner, 0) + border -> max(inner, 0) - border",
        "shapes.area: max(inner, 0) -> max(None, 0)",
        "shapes.area: max(inner, 0) -> max(inner, None)",
        "shapes.area: max(inner, 0) -> max(inner)",
        "shapes.area: max(inner, 0) -> max(0)",
        "shapes.area: 0 -> 1 [3]",
        "shapes.Box.open: not self.lid -> self.lid",
        "shapes.Box.close: if lid: self.lid = lid -> if not lid: self.lid = lid",
        "shapes.Box.close: self.lid = lid -> self.lid = None",
        "shapes.Box.close: self.count += 1 -> self.count -= 1",
        "shapes.Box.close: self.count += 1 -> self.count = 1",
        "shapes.Box.close: 1 -> 2",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shapes.area: width * height -> width / height", 1.5),
        ("shapes.area: 2 -> 3", 9),
        ("shapes.area: 0 -> 1", 7),
        ("shapes.area: max(inner, 0) + border -> max(inner, 0) - border", 6),
        ("shapes.area: max(inner, 0) -> max(0)", TypeError),
    ],
)
def test_a_function_that_exists_already_makes_the_mistake(module, name, expected):
    names = {}
    exec(compile(SOURCE, str(module), "exec"), names)
    area = names["area"]
    assert area(3) == 6
    put_in(next(mutant for mutant in mutants_of(module) if mutant.name == name), [area])
    if isinstance(expected, type):
        with pytest.raises(expected):
            area(3)
    else:
        assert area(3) == expected


def test_a_method_that_forgets_super_is_tried_too(tmp_path):
    path = tmp_path / "deep.py"
    path.write_text(
        "class Deep(dict):\n    def size(self):\n        found = super().__len__()\n        return found\n"
    )
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    assert names["Deep"](a=1).size() == 1
    (mutant,) = (mutant for mutant in mutants_of(path) if mutant.name.endswith("-> found = None"))
    put_in(mutant, [names["Deep"].size])
    assert names["Deep"](a=1).size() is None


def test_a_mutant_without_its_function_is_an_error(module):
    with pytest.raises(LookupError, match=r"no function area of shapes.py"):
        put_in(mutants_of(module)[0], [])


RUN = """
import json, sys
from pathlib import Path
import pytest
from robustness.killing import Killing
from robustness.operators import mutants_of

killing = Killing(mutants_of(Path("shapes.py").resolve()), workers=2, tell=lambda name, outcome: None)
status = pytest.main(["-q", "-s", "-c", "empty.ini", "-p", "no:cacheprovider", "test_shapes.py"], plugins=[killing])
print(json.dumps([int(status), killing.outcomes]))
"""


def outcomes(folder, tests):
    (folder / "empty.ini").write_text("[pytest]\n")
    (folder / "test_shapes.py").write_text(textwrap.dedent(tests))
    root = str(Path(mutants.__file__).parent.parent)
    words = [sys.executable, "-c", f"import sys; sys.path[:0] = [{root!r}, '.']\n{RUN}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_what_the_tests_see_and_what_they_do_not(module):
    status, found = outcomes(
        module.parent,
        """
        import shapes

        def test_area():
            assert shapes.area(3) == 6
        """,
    )
    assert status == 0
    assert found["shapes.area: width * height -> width / height"] == "killed"
    assert found["shapes.area: 0 -> 1"] == "killed"
    assert found["shapes.area: max(inner, 0) + border -> max(inner, 0) - border"] == "survived"
    assert found["shapes.area: width < 0 -> width <= 0"] == "survived"
    assert found["shapes.Box.open: not self.lid -> self.lid"] == "unseen"


def test_nothing_is_tried_while_the_tests_fail(module):
    status, found = outcomes(
        module.parent, "import shapes\ndef test_area():\n    assert shapes.area(3) == 7\n"
    )
    assert status == pytest.ExitCode.USAGE_ERROR
    assert not found


def test_wilsons_interval_is_that_of_the_books():
    # 10 of 20: R's prop.test without correction, and Agresti and Coull (1998)
    low, high = mutants.interval(10, 20)
    assert (low, high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert mutants.interval(20, 20)[1] == pytest.approx(1)


def test_known_equivalents_are_mutants_that_exist():
    """A name that no mutant has any longer would hide nothing, but it would mislead who reads the list."""
    there = {
        mutant.name
        for modules in mutants.SUBJECTS.values()
        for module in modules
        for mutant in mutants_of(Path(mutants.__file__).parent.parent / "aelib" / f"{module}.py")
    }
    assert not set(mutants.equivalents()) - there
