import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from aelib import plots
from aelib.comparison import FLOOR, Comparison
from aelib.cuts import OutlierCut
from aelib.densities import fit_gaussians, normal_radius, number_densities, radius_density, uniform_radius
from aelib.ellipses import (
    contour_departure,
    contour_lines,
    coverage,
    departure_law,
    highest_density_levels,
    pairwise_ellipses,
    plane_density,
)
from aelib.model import EpochRecord
from aelib.normality import CoreVerdict, NormalityTest
from aelib.pca import PrincipalAxes
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


@pytest.fixture(scope="module")
def plane():
    """Points of a plane, their density, and their ellipses at two and three standard deviations."""
    points = np.random.default_rng(3).standard_normal((2000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [5, -3]
    moments = points.mean(axis=0), np.cov(points.T)
    return points, plane_density(points), [pairwise_ellipses(*moments, n_sigma=n) for n in (2.0, 3.0)]


def test_plane_ellipses_draws_the_outlines_and_the_centre(plane):
    _, _, ellipses = plane
    ax = plots.plane_ellipses(ellipses)
    two, three, centre = ax.lines
    np.testing.assert_array_equal(two.get_xydata(), ellipses[0].outline())
    np.testing.assert_array_equal(three.get_xydata(), ellipses[1].outline())
    np.testing.assert_array_equal(centre.get_xydata(), ellipses[0].centre)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["2 σ (86.5% if normal)", "3 σ (98.9% if normal)"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("component 0", "component 1")
    assert plots.plane_ellipses(ellipses, legend=False, ax=plt.subplots()[1]).get_legend() is None


def test_plane_ellipses_refuses_none_and_other_planes():
    first, second = (
        pairwise_ellipses(np.zeros(3), np.eye(3), n_sigma=1.0, pairs=[p]) for p in ((0, 1), (0, 2))
    )
    for batches in ([], [first, second]):
        with pytest.raises(ValueError, match="all of the same plane"):
            plots.plane_ellipses(batches)


def test_plane_contours_draws_the_contours(plane):
    points, density, _ = plane
    shares = [0.9, 0.3]
    levels = highest_density_levels(density, points, shares)
    ax = plots.plane_contours(density, levels)
    filled, lines = ax.collections
    for level, path in zip(np.sort(levels), lines.get_paths(), strict=True):
        expected = np.concatenate(contour_lines(density, level))
        assert {tuple(p) for p in path.vertices.round(8)} == {tuple(p) for p in expected.round(8)}
        assert ax.viewLim.x0 <= expected[:, 0].min() and expected[:, 0].max() <= ax.viewLim.x1
    assert len(filled.get_paths()) == 2
    assert np.ptp(ax.get_xlim()) < np.ptp(density.x)
    labelled = plots.plane_contours(density, levels, shares=shares, ax=plt.subplots()[1])
    assert sorted(text.get_text() for text in labelled.texts) == ["30%", "90%"]
    assert len(plots.plane_contours(density, levels[:1], ax=plt.subplots()[1]).collections) == 2


def test_plane_contours_refuses_what_it_cannot_draw(plane):
    _, density, _ = plane
    for levels in (np.zeros(0), np.full(2, 0.01), np.array([0.01, 99.0])):
        with pytest.raises(ValueError, match="at least one, different, and below"):
            plots.plane_contours(density, levels)
    with pytest.raises(ValueError, match="one per level, not 1"):
        plots.plane_contours(density, np.array([0.01, 0.02]), shares=[0.5])


def test_departure_curve_draws_the_ratio_and_the_band_of_normal_clouds(plane):
    law = departure_law(2000, 0.8, draws=19, grid=80, random_state=5)
    departure = contour_departure(plane[0], law)
    ax = plots.departure_curve(departure)
    drawn = ax.lines[-1].get_xydata()
    np.testing.assert_allclose(drawn[:-1], np.stack([np.degrees(departure.angle), departure.ratio], axis=1))
    np.testing.assert_allclose(drawn[-1], [360, departure.ratio[0]])
    low, high = ax.patches[0].get_y(), ax.patches[0].get_y() + ax.patches[0].get_height()
    np.testing.assert_allclose([low, high], [1 - 2 * law.spread, 1 + 2 * law.spread])
    plots.departure_curve(departure, label="again", ax=ax)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["normal clouds, ±2 σ", "contour", "again"]


def test_coverage_scatter_draws_every_plane_and_the_share_of_theory():
    ellipses = pairwise_ellipses(np.zeros(3), np.diag([1.0, 4.0, 16.0]), n_sigma=2)
    ax = plots.coverage_scatter(ellipses, np.array([0.8, 0.85, 0.9]))
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.5, 0.8], [0.25, 0.85], [0.5, 0.9]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), coverage(2))
    with pytest.raises(ValueError, match="3, one per ellipse, not 2"):
        plots.coverage_scatter(ellipses, np.zeros(2))


@pytest.fixture
def counted():
    density = number_densities(np.random.default_rng(2).normal([0, 1, -1, 0], [1, 2, 3, 1], (500, 4)))
    return density, fit_gaussians(density)


def test_density_curves_draw_the_chosen_in_colour_and_the_others_in_grey(counted):
    density, fits = counted
    ax = plots.density_curves(density, highlight=np.array([2, 1]), fits=fits)
    grey = ax.collections[0].get_segments()
    np.testing.assert_allclose(grey[1], np.column_stack([density.centres, density.density[:, 3]]))
    assert len(grey) == 2
    np.testing.assert_allclose(ax.lines[0].get_ydata(), density.density[:, 2])
    np.testing.assert_allclose(ax.lines[3].get_ydata(), fits.density(ax.lines[3].get_xdata())[:, 1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["the others", "2", "1"]
    assert ax.get_xlim()[0] <= density.centres[0]


def test_highlighted_curves_differ_from_each_other_and_are_not_grey():
    density = number_densities(np.random.default_rng(0).normal(size=(200, 20)))
    lines = plots.density_curves(density, highlight=range(20)).lines
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == 20
    assert all(max(colour) - min(colour) > 0.1 for colour, _ in looks)


def test_density_curves_without_a_choice(counted):
    ax = plots.density_curves(counted[0])
    assert (len(ax.collections[0].get_segments()), len(ax.lines), ax.get_legend()) == (4, 0, None)
    for wrong in ([4], [-1], range(21)):
        with pytest.raises(ValueError, match="at most 20 components from 0 to 3"):
            plots.density_curves(counted[0], highlight=list(wrong))


def test_density_fit_draws_counts_fit_and_width(counted):
    density, fits = counted
    ax = plots.density_fit(density, fits, 1)
    values, edges, _ = ax.patches[0].get_data()
    np.testing.assert_allclose(values, density.density[:, 1])
    np.testing.assert_allclose(edges, density.edges)
    fit, centre, width = ax.lines
    np.testing.assert_allclose(fit.get_ydata(), fits.density(fit.get_xdata())[:, 1])
    np.testing.assert_allclose(centre.get_xdata(), fits.centre[1])
    assert np.ptp(width.get_xdata()) == pytest.approx(fits.fwhm[1])
    np.testing.assert_allclose(width.get_ydata(), fits.amplitude[1] / 2)
    with pytest.raises(ValueError, match="component must be from 0 to 3, not 4"):
        plots.density_fit(density, fits, 4)


@pytest.mark.parametrize("relative", [True, False])
def test_radius_curves_draw_densities_and_laws(relative):
    measured = radius_density(np.random.default_rng(2).normal(size=(500, 9)))
    law = normal_radius(np.eye(9))
    ax = plots.radius_curves(
        {"points": measured}, {"cube": uniform_radius(1.0, 9), "normal": law}, relative=relative
    )
    steps, line = ax.patches[0].get_data().values, ax.lines[1]
    unit = measured.density.max() if relative else 1.0
    np.testing.assert_allclose(steps, measured.density[:, 0] / unit)
    expected = law.density(line.get_xdata())
    np.testing.assert_allclose(line.get_ydata(), expected / (expected.max() if relative else 1.0))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["points", "cube", "normal"]
    with pytest.raises(ValueError, match="1 to 10 curves, not 0"):
        plots.radius_curves({}, {})


def test_correlation_matrix_draws_the_chosen_components_in_their_order():
    correlation = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]])
    ax = plots.correlation_matrix(correlation, order=np.array([2, 0]), limit=0.5)
    drawn = np.asarray(ax.collections[0].get_array()).reshape(2, 2)
    np.testing.assert_array_equal(drawn, [[1, -0.2], [-0.2, 1]])
    assert ax.collections[0].get_clim() == (-0.5, 0.5)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "0"]
    assert ax.get_xlabel() == "component"
    assert plots.correlation_matrix(np.eye(40), order=np.arange(40)).get_xlabel() == "component, reordered"


def _axes():
    return PrincipalAxes(np.zeros(3), np.eye(3), np.array([5.0, 3.0, 2.0]), 10.0)


def test_explained_variance_draws_bars_and_chance():
    ax = plots.explained_variance(_axes(), first=2, chance=np.array([4.0, 3.0, 2.5]))
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [0.5, 0.3])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0.4], [1, 0.3]])
    assert plots.explained_variance(_axes()).get_legend() is None


def test_cumulative_variance_draws_the_curve_and_marks_a_number_of_axes():
    ax = plots.cumulative_variance(_axes(), n_marked=2)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 0], [1, 0.5], [2, 0.8], [3, 1]])
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), [[2, 0.8]])
    assert ax.texts[0].get_text() == "80% with 2 axes"
    assert len(plots.cumulative_variance(_axes(), first=1).lines[0].get_xdata()) == 2


def test_plane_scatter_draws_every_kind_of_point():
    z = np.arange(12.0).reshape(3, 4)
    ax = plots.plane_scatter(z, 3, 1, random=z[:2] + 1, chosen=z[0], centre=z.mean(axis=0))
    drawn = {points.get_label(): np.asarray(points.get_offsets()) for points in ax.collections}
    np.testing.assert_array_equal(drawn["z-points"], z[:, [3, 1]])
    np.testing.assert_array_equal(drawn["random vectors"], z[:2, [3, 1]] + 1)
    np.testing.assert_array_equal(drawn["one image"], z[:1, [3, 1]])
    np.testing.assert_array_equal(drawn["centre"], [[7, 5]])
    np.testing.assert_array_equal(drawn["origin"], [[0, 0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("component 3", "component 1")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(drawn)
    bare = plots.plane_scatter(z, 0, 1, legend=False)
    assert (len(bare.collections), bare.get_legend()) == (2, None)


def test_survivor_curve_draws_measured_and_expected_shares():
    kept = np.array([True, True, True, False])
    cuts = [OutlierCut(1.5, ~kept, np.array([1])), OutlierCut(1.7, kept, np.array([3]))]
    ax = plots.survivor_curve(cuts, expected={"normal": [0.5, 0.9]})
    measured, normal = ax.lines
    np.testing.assert_allclose(measured.get_xydata(), [[1.5, 0.25], [1.7, 0.75]])
    np.testing.assert_allclose(normal.get_xydata(), [[1.5, 0.5], [1.7, 0.9]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", "normal"]
    for wrong in ([], cuts[:1]):
        with pytest.raises(ValueError, match="at least one cut, and as many expected shares"):
            plots.survivor_curve(wrong, expected={"normal": [0.5, 0.9]})


def test_factor_bars_draws_the_best_first():
    table = {"r_squared": [0.2, 0.9, 0.5], "standard_error": [0.1, 0.01, 0.05]}
    ax = plots.factor_bars(pd.DataFrame(table, index=["pitch", "yaw", "roll"]), first=2)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.9, 0.5])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["yaw", "roll"]
    np.testing.assert_allclose(ax.containers[0].lines[2][0].get_segments()[1][:, 0], [0.4, 0.6])
    assert ax.yaxis_inverted()


def test_factor_map_draws_the_table():
    table = pd.DataFrame([[0.1, -0.9], [0.3, 0.0]], index=["yaw", "roll"])
    ax = plots.factor_map(table, kind="principal axis")
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()).reshape(2, 2), table)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["yaw", "roll"]
    assert (ax.get_xlabel(), ax.collections[0].get_clim()) == ("principal axis", (-1, 1))


def test_component_sizes_draws_centres_half_widths_and_the_fence(counted):
    fits = counted[1]
    ax = plots.component_sizes(fits, fence=2.0, highlight=np.array([2, 1]))
    others, chosen = (np.asarray(points.get_offsets()) for points in ax.collections)
    np.testing.assert_allclose(others, np.column_stack([fits.centre, fits.half_width])[[0, 3]])
    np.testing.assert_allclose(chosen, np.column_stack([fits.centre, fits.half_width])[[2, 1]])
    assert [text.get_text() for text in ax.texts] == ["2", "1"]
    centre, half_width = ax.lines[-1].get_xydata().T
    np.testing.assert_allclose(np.hypot(centre, half_width / np.sqrt(2 * np.log(2))), 2.0)
    bare = plots.component_sizes(fits)
    assert (len(bare.collections[1].get_offsets()), bare.get_legend()) == (0, None)


def test_group_boxes_draws_quartiles_percentiles_and_single_points():
    values = np.arange(101.0)
    ax = plots.group_boxes({"cloud": values, "origin": np.array([7.0])}, band=(2.0, 4.0), colours=[0, 3])
    band, box = ax.patches
    assert (band.get_x(), band.get_width()) == (2.0, 2.0)
    assert (box.get_x(), box.get_width(), box.get_y() + box.get_height() / 2) == (25.0, 50.0, 0.0)
    whisker, median, diamond = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(whisker, [[1, 0], [99, 0]])
    np.testing.assert_allclose(median[:, 0], 50)
    np.testing.assert_allclose(diamond, [[7, 1]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cloud", "origin"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first at the top


def test_group_boxes_refuses_nothing_and_wrong_colours():
    for groups in ({}, {"a": np.zeros(0)}):
        with pytest.raises(ValueError, match="at least one group"):
            plots.group_boxes(groups)
    with pytest.raises(ValueError, match="1, one per group, not 2"):
        plots.group_boxes({"a": np.zeros(2)}, colours=[0, 1])


def test_image_strip_is_one_row_with_a_label_under_each_image():
    images = np.linspace(0, 1, 3)[:, None, None, None] * np.ones((3, 4, 6, 3))
    ax = plots.image_strip(images, labels=["a", "b", "c"], gap=2)
    page = np.asarray(ax.images[0].get_array())
    assert page.shape == (4, 22, 3)
    np.testing.assert_allclose(page[0, [0, 8, 16], 0], [0, 0.5, 1])
    np.testing.assert_allclose(ax.get_xticks(), [2.5, 10.5, 18.5])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    assert len(plots.image_strip(images).get_xticks()) == 0
    with pytest.raises(ValueError, match="3, one per image, not 1"):
        plots.image_strip(images, labels=["a"])
    with pytest.raises(ValueError, match="at least one image"):
        plots.image_strip(images[:0])


def test_plane_path_draws_two_components_and_marks_the_first_point():
    path = np.arange(12.0).reshape(3, 4)
    ax = plots.plane_path(path, 3, 1, label="way")
    line, first = (line.get_xydata() for line in ax.lines)
    np.testing.assert_array_equal(line, path[:, [3, 1]])
    np.testing.assert_array_equal(first, path[:1, [3, 1]])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.lines[0].get_label()) == (
        "component 3",
        "component 1",
        "way",
    )
    assert plots.plane_path(path, 0, 1, ax=ax) is ax


def comparison_of(floor, *others):
    """Make a comparison of samplers a, b … from (low, value, high) of a distance and of a share."""
    names = [FLOOR, *"abcdef"[: len(others)]]
    index = pd.MultiIndex.from_product([names, ["pixels"]], names=["sampler", "features"])
    ends = [f"{score}{end}" for score in ("frechet", "recall") for end in ("_low", "", "_high")]
    table = pd.DataFrame([(*row, 0.4, 0.5, 0.6) for row in (floor, *others)], index=index, columns=ends)
    return Comparison(table, pd.DataFrame(index=names), pd.DataFrame(), 100)


def test_sampler_dots_draws_values_intervals_and_the_floor():
    found = comparison_of((0.5, 1.0, 2.0), (80.0, 90.0, 100.0), (-0.5, 4.0, 9.0), (-3.0, -1.0, 1.5))
    ax = plots.sampler_dots(found, features="pixels", colour=2)
    floor, on, off = (line.get_xydata() for line in ax.lines)
    assert floor[:, 0].tolist() == [1.0, 1.0]
    assert (ax.patches[0].get_x(), ax.patches[0].get_width()) == (0.5, 1.5)
    np.testing.assert_array_equal(on, [[90, 0], [4, 1]])
    edge = ax.get_xlim()[0]
    assert (ax.get_xscale(), edge) == ("log", 0.5)  # half of the smallest value or upper end above 0
    np.testing.assert_array_equal(off, [[edge, 2]])
    (bars,) = ax.collections
    assert [path[:, 0].tolist() for path in bars.get_segments()] == [[80, 100], [edge, 9], [edge, 1.5]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first at the top
    assert ax.get_xlabel() == "Fréchet distance, pixels"


def test_sampler_dots_of_shares_and_of_floors_below_zero():
    found = comparison_of((-2.0, -1.0, -0.5), (0.1, 0.2, 0.3))
    ax = plots.sampler_dots(found, features="pixels", score="recall")
    assert ax.get_xscale() == "linear"
    assert ax.lines[1].get_xydata().tolist() == [[0.5, 0]]
    ax = plots.sampler_dots(found, features="pixels", ax=plt.figure().add_subplot())
    assert ax.lines[0].get_xdata()[0] == ax.get_xlim()[0] == 0.1
    for wrong in ({"features": "filters"}, {"features": "pixels", "score": "fid"}):
        with pytest.raises(ValueError, match="there is no feature space"):
            plots.sampler_dots(found, **wrong)


def normality_of(*z_scores, p_value=0.01):
    return [
        NormalityTest(n, 2 * z + 1, p_value, 1.0, 2.0, 0.0, np.nan, 99)
        for n, z in zip("abc", z_scores, strict=False)
    ]


def test_normality_dots_draws_z_scores_and_tells_what_is_rejected():
    clouds = {"cloud": normality_of(30.0, 4.0), "twin": normality_of(1.0, -1.0, p_value=0.4)}
    ax = plots.normality_dots(clouds, colours=[3, 0])
    full, none, nothing, hollow = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(full, [[30, -0.11], [4, 0.89]])
    np.testing.assert_allclose(hollow, [[1, 0.11], [-1, 1.11]])
    assert len(none) == len(nothing) == 0
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(-2, 4), (-2, 4)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_xscale() == "symlog"
    for wrong in ({}, {"cloud": normality_of(1.0), "twin": normality_of(1.0, 2.0)}):
        with pytest.raises(ValueError, match="with the same tests"):
            plots.normality_dots(wrong)
    with pytest.raises(ValueError, match="colours must be 2"):
        plots.normality_dots(clouds, colours=[1])


def test_core_curves_draws_each_test_against_what_is_cut():
    verdicts = [
        CoreVerdict(share, 9, 1.0, 1.0, 0.1, tuple(normality_of(z, 2 * z)))
        for share, z in ((1.0, 50.0), (0.5, 3.0))
    ]
    ax = plots.core_curves(verdicts, ax=plt.figure().add_subplot())
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 50], [50, 3]])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [100, 6])
    assert ax.get_legend_handles_labels()[1] == ["normal clouds, ± 2", "a", "b"]
    with pytest.raises(ValueError, match="at least one verdict"):
        plots.core_curves([])


_FITS = fit_gaussians(number_densities(np.random.default_rng(2).normal(0, [1, 2], (500, 2))))
_PLANES = pairwise_ellipses(np.zeros(3), np.eye(3), n_sigma=1.0)
_SCORES = pd.DataFrame({"r_squared": [0.2], "standard_error": [0.1]}, index=["yaw"])
EVERY = {
    "loss_curve": lambda ax: plots.loss_curve(_history(validation=True), ax=ax),
    "score_curve": lambda ax: plots.score_curve({8: Estimate(20.0, 0.5)}, ax=ax),
    "frequency_curve": lambda ax: plots.frequency_curve(np.array([1.0, 0.5]), ax=ax),
    "survivor_curve": lambda ax: plots.survivor_curve(
        [OutlierCut(1.5, np.ones(2, bool), np.ones(1, int))], ax=ax
    ),
    "density_curves": lambda ax: plots.density_curves(number_densities(np.eye(9)), ax=ax),
    "density_fit": lambda ax: plots.density_fit(
        number_densities(np.random.default_rng(2).normal(0, [1, 2], (500, 2))), _FITS, 0, ax=ax
    ),
    "radius_curves": lambda ax: plots.radius_curves({}, {"cube": uniform_radius(1.0, 9)}, ax=ax),
    "correlation_matrix": lambda ax: plots.correlation_matrix(np.eye(3), ax=ax),
    "explained_variance": lambda ax: plots.explained_variance(_axes(), ax=ax),
    "cumulative_variance": lambda ax: plots.cumulative_variance(_axes(), ax=ax),
    "factor_bars": lambda ax: plots.factor_bars(_SCORES, ax=ax),
    "factor_map": lambda ax: plots.factor_map(pd.DataFrame([[0.1, -0.9]], index=["yaw"]), ax=ax),
    "component_sizes": lambda ax: plots.component_sizes(_FITS, ax=ax),
    "group_boxes": lambda ax: plots.group_boxes({"cloud": np.arange(9.0)}, ax=ax),
    "normality_dots": lambda ax: plots.normality_dots({"cloud": normality_of(3.0)}, ax=ax),
    "core_curves": lambda ax: plots.core_curves(
        [CoreVerdict(1.0, 9, 1.0, 1.0, 0.1, tuple(normality_of(3.0)))], ax=ax
    ),
    "plane_scatter": lambda ax: plots.plane_scatter(np.eye(3), 0, 1, ax=ax),
    "coverage_scatter": lambda ax: plots.coverage_scatter(_PLANES, np.full(3, 0.4), ax=ax),
    "dimension_bias_curve": lambda ax: plots.dimension_bias_curve(
        pd.DataFrame({"TwoNN": [2.0], "TwoNN error": [0.1], "MLE": [1.9], "MLE error": [0.1]}, index=[2]),
        ax=ax,
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_plot_draws_where_it_is_told_or_makes_a_figure(name):
    figure, (left, right) = plt.subplots(1, 2)
    assert EVERY[name](right) is right
    assert not left.has_data() and right.has_data()
    assert plt.get_fignums() == [figure.number], "no figure of its own beside it"
    own = EVERY[name](None)
    assert own.has_data() and own.figure is not figure
