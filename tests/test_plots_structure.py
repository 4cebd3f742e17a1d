import numpy as np
import pytest
from matplotlib import pyplot as plt

from aelib import plots
from aelib.densities import number_densities
from aelib.dimension import dimension_bias
from aelib.structure import largest_voids, zoom_profile
from aelib.twins import TwinTest, against_twins

PLANE = np.random.default_rng(51).standard_normal((400, 2))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_plane_window_shows_what_is_in_it_and_the_voids():
    voids = largest_voids(PLANE, k=3)
    ax = plots.plane_window(PLANE, half_width=0.5, centre=(0.2, 0.0), voids=voids)
    dots, circles = ax.collections
    inside = (np.abs(PLANE - [0.2, 0.0]) <= 0.5).all(axis=1)
    np.testing.assert_array_equal(dots.get_offsets(), PLANE[inside])
    assert len(circles.get_paths()) == 3
    assert ax.get_xlim() == pytest.approx((-0.3, 0.7)) and ax.get_ylim() == pytest.approx((-0.5, 0.5))
    assert len(plots.plane_window(PLANE, half_width=0.5, ax=plt.subplots()[1]).collections) == 1
    with pytest.raises(ValueError, match="half_width"):
        plots.plane_window(PLANE, half_width=0.0)


def test_nearest_curves_are_the_densities():
    laws = {name: number_densities(np.abs(PLANE[:, [i]])) for i, name in enumerate(("cloud", "twin"))}
    ax = plots.nearest_curves(laws)
    for line, (name, law) in zip(ax.lines, laws.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), law.density[:, 0])
    assert plots.nearest_curves(laws, ax=ax) is ax
    with pytest.raises(ValueError, match="at least one"):
        plots.nearest_curves({})


def test_twin_dots_put_each_statistic_in_its_row():
    test = TwinTest(("a", "b"), np.array([9.0, 1.0]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), "less")
    ax = plots.twin_dots(test, label="faces")
    twins, cloud, _ = ax.lines
    np.testing.assert_allclose(cloud.get_xdata(), [3.5, -1.0])
    np.testing.assert_allclose(
        np.column_stack([twins.get_xdata(), twins.get_ydata()])[:2], [[-1, 0], [-1, 1]]
    )
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_legend().get_texts()[1].get_text() == "faces"
    assert plots.twin_dots(test, legend=False, ax=ax).get_ylim() == (1.5, -0.5), (
        "the first row stays at the top"
    )
    assert plots.twin_dots(test, legend=False).get_legend() is None


def test_dimension_bias_curve_shows_both_estimators():
    table = dimension_bias((2, 5), n=200, n_queries=50, draws=2)
    ax = plots.dimension_bias_curve(table)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2, 5])
    drawn = [container.lines[0].get_ydata() for container in ax.containers]
    np.testing.assert_array_equal(drawn, table[["TwoNN", "MLE"]].to_numpy().T)


def test_zoom_curves_run_to_the_small_windows():
    profile = zoom_profile(PLANE, half_widths=[1.0, 0.5])
    for quantity in ("void_share", "line_share"):
        ax = plots.zoom_curves({"cloud": profile, "twin": profile}, quantity=quantity)
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), getattr(profile, quantity))
        assert ax.xaxis_inverted()
    plots.zoom_curves({"again": profile}, quantity=quantity, ax=ax)
    assert ax.xaxis_inverted()
    for profiles, quantity in (({}, "void_share"), ({"cloud": profile}, "n_points")):
        with pytest.raises(ValueError, match="zoom_curves needs"):
            plots.zoom_curves(profiles, quantity=quantity)


def test_the_whole_way_from_a_cloud():
    test = against_twins(lambda z: (z**4).mean(axis=0), PLANE, draws=3)
    assert [text.get_text() for text in plots.twin_dots(test).get_yticklabels()] == ["0", "1"]
