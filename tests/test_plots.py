import numpy as np
import pytest
from matplotlib import pyplot as plt

from aelib import plots
from aelib.model import EpochRecord
from aelib.scores import Estimate


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_image_grid_puts_each_image_in_its_place():
    images = np.linspace(0, 1, 5)[:, None, None, None] * np.ones((5, 4, 6, 3))
    ax = plots.image_grid(images, columns=3, row_labels=["a", "b"], gap=2)
    page = np.asarray(ax.images[0].get_array())
    assert page.shape == (10, 22, 3)
    for k in range(5):
        top, left = 6 * (k // 3), 8 * (k % 3)
        np.testing.assert_allclose(page[top : top + 4, left : left + 6], images[k], atol=1e-6)
    assert (page[4:6] == 1).all()
    assert (page[6:, 16:] == 1).all()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]


def test_image_grid_clips_and_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert plots.image_grid(np.full((1, 2, 2, 3), 7.0), ax=ax) is ax
    assert np.asarray(ax.images[0].get_array()).max() == 1


def test_image_grid_refuses_nothing_and_wrong_labels():
    with pytest.raises(ValueError, match="at least one image"):
        plots.image_grid(np.zeros((0, 4, 4, 3)))
    with pytest.raises(ValueError, match="2 labels, one per row, not 1"):
        plots.image_grid(np.zeros((4, 4, 4, 3)), columns=2, row_labels=["a"])


def _history(*, validation):
    return tuple(
        EpochRecord(k, 1.0 / k, 1.5 / k if validation else None, 1e-3, 1.0, 100.0) for k in (1, 2, 3)
    )


def test_loss_curve_draws_both_losses():
    ax = plots.loss_curve(_history(validation=True), label="MSE")
    training, validation = ax.lines
    np.testing.assert_allclose(training.get_ydata(), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(validation.get_ydata(), [1.5, 1.5 / 2, 1.5 / 3])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["MSE, training", "MSE, validation"]


def test_loss_curve_without_validation_or_history():
    assert len(plots.loss_curve(_history(validation=False)).lines) == 1
    with pytest.raises(ValueError, match="history is empty"):
        plots.loss_curve(())


def test_score_curve_draws_scores_with_two_standard_errors():
    ax = plots.score_curve({8: Estimate(20.0, 0.5), 2: Estimate(10.0, 1.0)}, label="PCA")
    line, _, bars = ax.containers[0]
    np.testing.assert_allclose(line.get_xydata(), [[2, 10], [8, 20]])
    np.testing.assert_allclose(bars[0].get_segments()[0][:, 1], [8, 12])
    assert ax.get_xscale() == "log"
    with pytest.raises(ValueError, match="at least one score"):
        plots.score_curve({})


def test_frequency_curve_draws_bands_at_their_middles():
    ax = plots.frequency_curve(np.array([1.0, 0.5]))
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.125, 1.0], [0.375, 0.5]])
