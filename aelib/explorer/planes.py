"""Planes that a cloud is looked at in: two components, two principal axes, or a t-SNE map."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from aelib.blocks import checked_blocks
from aelib.ellipses import pairwise_ellipses
from aelib.explorer.cloud import Cloud

N_SIGMA = (1, 2, 3)
"""At how many standard deviations ellipses are drawn."""


@dataclass(frozen=True)
class Plane:
    """A plane.

    Parameters
    ----------
    kind : {"components", "axes", "map"}
        Whether i and j are components, principal axes, or nothing, on a t-SNE map.
    i, j : int
        What spans the plane, both counted from 0.
    """

    kind: Literal["components", "axes", "map"] = "axes"
    i: int = 0
    j: int = 1


def check_plane(cloud: Cloud, plane: Plane) -> None:
    """Refuse a plane that a cloud does not have.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        The plane.

    Raises
    ------
    ValueError
        If i and j are not two different components that vary, or axes; or there is no map.
    """
    if plane.kind == "map":
        if cloud.tsne is None:
            raise ValueError("there is no t-SNE map: give explore a map, tsne=aelib.maps.tsne_map(z).")
        return
    count = cloud.d if plane.kind == "components" else len(cloud.sigma)
    if plane.i == plane.j or not (0 <= plane.i < count and 0 <= plane.j < count):
        raise ValueError(
            f"choose two different {plane.kind} from 0 to {count - 1}, not {plane.i} and {plane.j}."
        )
    if plane.kind == "components" and cloud.moments.constant[[plane.i, plane.j]].any():
        raise ValueError(f"component {plane.i} or {plane.j} is the same in all points; choose another one.")


def places(cloud: Cloud, plane: Plane) -> Float32[np.ndarray, "m 2"]:
    """Project all points of a cloud.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        One of its planes.

    Returns
    -------
    array of float32, shape (m, 2)
        Places of the points, in units of z; on a map, of those that are on it.
    """
    if plane.kind == "map" and cloud.tsne is not None:
        return cloud.tsne.astype(np.float32)
    if plane.kind == "components":
        return np.ascontiguousarray(cloud.z[:, [plane.i, plane.j]], dtype=np.float32)
    out, pair = np.empty((cloud.n, 2), np.float32), cloud.axes.axes[[plane.i, plane.j]]
    for where, rows in checked_blocks(cloud.z):
        out[where] = (rows - cloud.axes.mean) @ pair.T
    return out


def place(cloud: Cloud, plane: Plane, point: Float[np.ndarray, " d"]) -> Float[np.ndarray, "2"] | None:
    """Project one point.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        One of its planes.
    point : array of float, shape (d,)
        The point.

    Returns
    -------
    array of float64, shape (2,), or None
        Its place; None on a map, where a point that was not mapped has none.
    """
    if plane.kind == "map":
        return None
    if plane.kind == "components":
        return point[[plane.i, plane.j]].astype(np.float64)
    return np.asarray(cloud.axes.axes[[plane.i, plane.j]] @ (point - cloud.axes.mean))


def covariance(cloud: Cloud, plane: Plane) -> Float[np.ndarray, "2 2"]:
    """Give the covariance of a cloud in a plane.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        A plane of components or axes.

    Returns
    -------
    array of float64, shape (2, 2)
        Squared units of z.
    """
    pair = [plane.i, plane.j]
    if plane.kind == "components":
        return cloud.moments.covariance[np.ix_(pair, pair)]
    return np.diag(cloud.axes.variances[pair])


def plane_distance(cloud: Cloud, plane: Plane, point: Float[np.ndarray, " d"]) -> float | None:
    """Measure the Mahalanobis distance from the mean that a plane shows.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        One of its planes.
    point : array of float, shape (d,)
        The point.

    Returns
    -------
    float or None
        Which ellipse of the plane the point lies on, in standard deviations; None on a map.
    """
    at = place(cloud, plane, point)
    if at is None:
        return None
    offset = at - _centre(cloud, plane)
    solution = np.linalg.lstsq(covariance(cloud, plane), offset, rcond=None)[0]
    return float(np.sqrt(max(offset @ solution, 0.0)))


def outlines(cloud: Cloud, plane: Plane) -> list[Float[np.ndarray, "p 2"]]:
    """Trace a plane's ellipses.

    Parameters
    ----------
    cloud : Cloud
        The cloud.
    plane : Plane
        One of its planes.

    Returns
    -------
    list of array of float64, shape (p, 2)
        One closed line for each of `N_SIGMA`; none on a map.
    """
    if plane.kind == "map":
        return []
    mean, matrix = _centre(cloud, plane), covariance(cloud, plane)
    return [pairwise_ellipses(mean, matrix, n_sigma=float(n)).outline(n_points=121) for n in N_SIGMA]


def _centre(cloud: Cloud, plane: Plane) -> Float[np.ndarray, "2"]:
    return cloud.moments.mean[[plane.i, plane.j]] if plane.kind == "components" else np.zeros(2)
