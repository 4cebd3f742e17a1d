"""Parameters: what the cells of notebooks say, and which values they take."""

import math

import pytest

from aelib.parameters import Choices, Interval, assign, declared_parameters, read_profile


def test_a_cell_is_read_without_running_it(write_notebook):
    cell = "\n".join(
        [
            "a: int = 20_000  # how many [100..1_000_000]",
            "b = -1.5",
            'c: str = "x"  # which ["x", "y"]',
            'd = ("a", 1)',
            "e: float = 1  # scale, above all [0.5..]",
            "f: int = 6  # even [2..100 step 2]",
            "g: float = -2.0  # [..0]",
        ]
    )
    found = declared_parameters(write_notebook("01_x.ipynb", cell))
    assert {name: p.default for name, p in found.items()} == {
        "a": 20_000, "b": -1.5, "c": "x", "d": ("a", 1), "e": 1.0, "f": 6, "g": -2.0,
    }  # fmt: skip
    assert {name: p.allowed for name, p in found.items()} == {
        "a": Interval(100, 1e6, 0), "b": None, "c": Choices(("x", "y")), "d": None, "e": Interval(0.5, math.inf, 0),
        "f": Interval(2, 100, 2), "g": Interval(-math.inf, 0, 0),
    }  # fmt: skip
    assert found["a"].note == "how many"
    assert [p.kind for p in found.values()] == [int, float, str, tuple, float, int, float]


@pytest.mark.parametrize(
    "source",
    [
        "n = 3 * 4", "import os", "a = b = 1", "n: int", "n = [x for x in y]", "n = (", "n = 3  # how [many]",
        "n = 3  # [a..b]",
    ],
)  # fmt: skip
def test_a_cell_holds_literals_only(write_notebook, source):
    with pytest.raises(ValueError, match=r"the parameters cell of .*01_x\.ipynb"):
        declared_parameters(write_notebook("01_x.ipynb", source))


def test_a_default_must_be_allowed(write_notebook):
    with pytest.raises(ValueError, match=r"01_x\.ipynb: n must be 5 or more, not 3"):
        declared_parameters(write_notebook("01_x.ipynb", "n: int = 3  # points [5..]"))


def test_files_that_are_no_notebooks(write_notebook, tmp_path):
    (tmp_path / "01_x.ipynb").write_text("{")
    with pytest.raises(ValueError, match="not a readable notebook"):
        declared_parameters(tmp_path / "01_x.ipynb")
    path = write_notebook("01_x.ipynb", "n: int = 3")
    path.write_text(path.read_text(encoding="utf-8").replace('"parameters"', '"other"'), encoding="utf-8")
    with pytest.raises(ValueError, match="has 0 cells tagged 'parameters'"):
        declared_parameters(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("many", r"n must be of type int, as 6 is, not 'many'. \(draws\)"),
        ("2.0", "of type int"), (True, "of type int"), ("True", "of type int"), (None, "of type int"),
        ("8e9", "of type int"), (7, "n must be from 2 to 1_000, in steps of 2, not 7"), ("0", "from 2 to 1_000"),
        (1002, "from 2 to 1_000"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(write_notebook, value, message):
    path = write_notebook("01_x.ipynb", "n: int = 6  # draws [2..1_000 step 2]")
    with pytest.raises(ValueError, match=rf"01_x\.ipynb: .*{message}"):
        assign({"n": value}, [path])


@pytest.mark.parametrize("value", ["1e999", math.nan, "nan", -0.1, "x"])
def test_numbers_must_be_finite_and_in_range(write_notebook, value):
    with pytest.raises(ValueError, match=r"01_x\.ipynb: h must be"):
        assign({"h": value}, [write_notebook("01_x.ipynb", "h: float = 0.5  # width [0..]")])


def test_choices_are_named(write_notebook):
    path = write_notebook("01_x.ipynb", "loss: str = \"mse\"  # ['mse', 'bce']")
    assert assign({"loss": "bce"}, [path]) == {"01_x": {"loss": "bce"}}
    with pytest.raises(ValueError, match="must be one of 'mse', 'bce', not 'mae'"):
        assign({"loss": "mae"}, [path])


def test_values_go_where_they_are_meant(write_notebook):
    paths = [
        write_notebook("01_a.ipynb", "n: int = 1\nrate = 0.5"),
        write_notebook("02_b.ipynb", "n: int = 1\nlast: bool = False\npair = (1, 2)"),
    ]
    assert assign({"02.n": "3", "n": 2, "rate": "1", "last": "true", "pair": [3, 4]}, paths) == {
        "01_a": {"n": 2, "rate": 1.0},
        "02_b": {"n": 3, "last": True, "pair": (3, 4)},
    }
    assert assign({}, paths) == {"01_a": {}, "02_b": {}}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m", "the chosen notebooks have no parameter 'm'; there are last, n, rate"),
        ("rat", r"Did you mean 'rate'\?"),
        ("02.rate", r"02_b\.ipynb has no parameter 'rate'; there are last, n"),
        ("03.n", "'03' begins no name among the chosen notebooks; there are 01_a, 02_b"),
    ],
)
def test_names_that_mean_nothing(write_notebook, name, message):
    paths = [
        write_notebook("01_a.ipynb", "n: int = 1\nrate = 0.5"),
        write_notebook("02_b.ipynb", "n: int = 1\nlast: bool = False"),
    ]
    with pytest.raises(ValueError, match=message):
        assign({name: 3}, paths)


def test_profiles(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("# scale\nn_images: 170_000\n01.n_live: 50\n")
    assert read_profile(path) == {"n_images": 170_000, "01.n_live": 50}
    path.write_text("# nothing\n")
    assert read_profile(path) == {}


@pytest.mark.parametrize(
    ("text", "message"), [("- 1\n", "name: value"), ("1: 2\n", "name: value"), ("{", "not YAML")]
)
def test_profiles_that_are_none(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_profile(path)
