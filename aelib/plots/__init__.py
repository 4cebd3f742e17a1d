"""Figures: each function draws one result on one Axes and computes nothing."""

from aelib.plots.correlations import (
    correlation_matrix,
    cumulative_variance,
    explained_variance,
    factor_bars,
    factor_map,
)
from aelib.plots.curves import departure_curve, frequency_curve, loss_curve, score_curve, survivor_curve
from aelib.plots.densities import density_curves, density_fit, radius_curves
from aelib.plots.groups import component_sizes, group_boxes, sampler_dots
from aelib.plots.maps import map_scatter
from aelib.plots.normality import core_curves, normality_dots
from aelib.plots.pictures import image_grid, image_strip
from aelib.plots.planes import coverage_scatter, plane_contours, plane_ellipses, plane_path, plane_scatter
from aelib.plots.structure import dimension_bias_curve, nearest_curves, plane_window, twin_dots, zoom_curves
from aelib.plots.style import PALETTE
from aelib.plots.sweeps import claim_dots, draw_claims

__all__ = [
    "PALETTE",
    "claim_dots",
    "component_sizes",
    "core_curves",
    "correlation_matrix",
    "coverage_scatter",
    "cumulative_variance",
    "density_curves",
    "density_fit",
    "departure_curve",
    "dimension_bias_curve",
    "draw_claims",
    "explained_variance",
    "factor_bars",
    "factor_map",
    "frequency_curve",
    "group_boxes",
    "image_grid",
    "image_strip",
    "loss_curve",
    "map_scatter",
    "nearest_curves",
    "normality_dots",
    "plane_contours",
    "plane_ellipses",
    "plane_path",
    "plane_scatter",
    "plane_window",
    "radius_curves",
    "sampler_dots",
    "score_curve",
    "survivor_curve",
    "twin_dots",
    "zoom_curves",
]
