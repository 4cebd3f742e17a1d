import numpy as np
import pytest
from matplotlib import pyplot as plt

from aelib import plots

POINTS = np.random.default_rng(61).standard_normal((200, 2)) * [3.0, 1.0] + 7.0


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_map_scatter_shows_all_points_in_a_square():
    ax = plots.map_scatter(POINTS)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), POINTS)
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
    assert ax.get_xlim()[0] < POINTS[:, 0].min() and POINTS[:, 0].max() < ax.get_xlim()[1]
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert ax.get_aspect() == 1.0


def test_map_scatter_colours_by_values_with_a_scale():
    values = POINTS[:, 0] ** 2
    ax = plots.map_scatter(POINTS, values=values, label="distance")
    np.testing.assert_array_equal(ax.collections[0].get_array(), values)
    assert ax.figure.axes[1].get_ylabel() == "distance"
    with pytest.raises(ValueError, match="one for each point"):
        plots.map_scatter(POINTS, values=values[:-1])


def test_map_scatter_draws_placed_points_over_a_pale_map():
    _, given = plt.subplots()
    ax = plots.map_scatter(POINTS, placed=POINTS[:5] + 1, label="generated", ax=given)
    assert ax is given
    pale, bright = ax.collections
    np.testing.assert_array_equal(bright.get_offsets(), POINTS[:5] + 1)
    assert not np.array_equal(pale.get_facecolor(), bright.get_facecolor())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["generated"]
    assert len(plots.map_scatter(POINTS, values=POINTS[:, 0], placed=POINTS[:5]).collections) == 2
