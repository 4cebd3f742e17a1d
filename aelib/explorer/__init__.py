"""A page to walk through latent space: the cloud, a probe, its picture, and the lines that make it."""

from aelib.explorer.cloud import Cloud, measure_cloud
from aelib.explorer.planes import Plane
from aelib.explorer.recipes import Recipe
from aelib.explorer.session import Session
from aelib.explorer.view import Explorer, explore

__all__ = ["Cloud", "Explorer", "Plane", "Recipe", "Session", "explore", "measure_cloud"]
