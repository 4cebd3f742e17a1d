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
from aelib.plots.groups import component_sizes, group_boxes
from aelib.plots.pictures import image_grid, image_strip
from aelib.plots.planes import coverage_scatter, plane_contours, plane_ellipses, plane_path, plane_scatter
from aelib.plots.style import PALETTE

__all__ = [
    "PALETTE",
    "component_sizes",
    "correlation_matrix",
    "coverage_scatter",
    "cumulative_variance",
    "density_curves",
    "density_fit",
    "departure_curve",
    "explained_variance",
    "factor_bars",
    "factor_map",
    "frequency_curve",
    "group_boxes",
    "image_grid",
    "image_strip",
    "loss_curve",
    "plane_contours",
    "plane_ellipses",
    "plane_path",
    "plane_scatter",
    "radius_curves",
    "score_curve",
    "survivor_curve",
]
