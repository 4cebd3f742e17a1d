"""Filaments, clumps and voids, measured: each instrument gives a number, and null twins say what chance gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import Delaunay, QhullError, cKDTree

from aelib.blocks import checked_blocks
from aelib.densities import mahalanobis_distance
from aelib.dimension import levina_bickel, two_nn
from aelib.neighbours import Neighbours, nearest_neighbours, neighbours_in
from aelib.nulls import null_twin
from aelib.pca import principal_axes

_SHAPE_BLOCK = 256  # neighbourhoods at once: some 10 MB


class NearestLaw(NamedTuple):
    """The law of the distance to the nearest neighbour, in four numbers.

    Parameters
    ----------
    mean : float
        Mean distance, in units of z.
    std : float
        Its standard deviation, in units of z.
    low, high : float
        The 1 % and the 99 % quantile, in units of z.
    """

    mean: float
    std: float
    low: float
    high: float


def nearest_law(neighbours: Neighbours) -> NearestLaw:
    """Describe the distances to the nearest neighbour: points on lines or in clumps have near ones.

    Parameters
    ----------
    neighbours : Neighbours
        Nearest neighbours of some points.

    Returns
    -------
    NearestLaw
        Mean, standard deviation and outer quantiles.

    Examples
    --------
    >>> nearest_law(nearest_neighbours(np.array([[0.0], [1.0], [3.0]]), k=1)).mean
    1.3333333333333333
    """
    nearest = neighbours.distance[:, 0]
    low, high = np.quantile(nearest, [0.01, 0.99])
    return NearestLaw(float(nearest.mean()), float(nearest.std()), float(low), float(high))


class LocalShape(NamedTuple):
    r"""The shape of neighbourhoods: how far each is from round.

    Parameters
    ----------
    first_share : array of float64, shape (m,)
        Share of the local variance along its first axis, :math:`\lambda_1 / \sum \lambda`: 1 on a line.
    participation : array of float64, shape (m,)
        Participation ratio :math:`(\sum \lambda)^2 / \sum \lambda^2`, the effective number of local axes: 1 on a line,
        2 on a plane, at most k.
    """

    first_share: Float[np.ndarray, " m"]
    participation: Float[np.ndarray, " m"]


def local_shape(z: Float[np.ndarray, "..."], neighbours: Neighbours) -> LocalShape:
    r"""Measure local anisotropy, by a principal component analysis of each point with its k neighbours.

    The eigenvalues :math:`\lambda` are those of the k + 1 points' inner products, which are as many at the most. In
    hundreds of dimensions, few points of a round cloud never look round: compare with a null twin only.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped.
    neighbours : Neighbours
        The neighbours of some of its points.

    Returns
    -------
    LocalShape
        Share of the first axis, and participation ratio, of each of these points. Where all k + 1 points coincide
        there is no axis: then both are 1.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, or the neighbours are not those of its own points.

    Examples
    --------
    >>> z = np.arange(10.0)[:, None] * [1.0, 2.0]
    >>> local_shape(z, nearest_neighbours(z, k=3)).participation.round(6).max()
    np.float64(1.0)
    """
    checked_blocks(z)
    rows, index = neighbours.rows, neighbours.index
    if rows.min() < 0 or max(rows.max(), index.max()) >= len(z):
        raise ValueError(
            "local_shape takes the neighbours of the cloud's own points, by nearest_neighbours(z)."
        )
    first, participation = np.ones(len(rows)), np.ones(len(rows))
    for start in range(0, len(rows), _SHAPE_BLOCK):
        where = slice(start, start + _SHAPE_BLOCK)
        members = z[np.column_stack([rows[where], index[where]])].astype(np.float64)
        members -= members.mean(axis=1, keepdims=True)
        products = members @ members.transpose(0, 2, 1)
        total, square = np.einsum("mkk->m", products), np.einsum("mkl,mkl->m", products, products)
        spread = total > 0
        first[where][spread] = np.linalg.eigvalsh(products[spread])[:, -1] / total[spread]
        participation[where][spread] = total[spread] ** 2 / square[spread]
    return LocalShape(first, participation)


def hopkins(
    z: Float[np.ndarray, "..."],
    neighbours: Neighbours,
    *,
    random_state: int | np.random.Generator = 0,
) -> float:
    r"""Measure clustering by a statistic of Hopkins' type, against the normal law instead of a box.

    :math:`H = \sum u / (\sum u + \sum w)`: u are distances to the cloud from places drawn from
    :math:`N(\hat\mu, \hat\Sigma)`, w those from points of the cloud to their nearest neighbours. It is about 0.5 for a
    normal cloud, and larger if points huddle where a normal law would have none.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped.
    neighbours : Neighbours
        The nearest neighbours of some of its points; as many places are drawn.
    random_state : int or numpy.random.Generator
        Seed or generator of the places.

    Returns
    -------
    float
        H, in [0, 1].

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, or all its points are the same.

    References
    ----------
    .. [1] B. Hopkins and J. G. Skellam (1954), A new method for determining the type of distribution of plant
       individuals, Annals of Botany 18, 213-227.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((1000, 2))
    >>> round(hopkins(z, nearest_neighbours(z, k=1)), 1)
    0.5
    """
    places = null_twin(z, n_samples=len(neighbours.rows), random_state=random_state)
    from_places = neighbours_in(places, z).distance.sum()
    return float(from_places / (from_places + neighbours.distance[:, 0].sum()))


@dataclass(frozen=True, eq=False)
class Voids:
    r"""Empty circles in a plane, the emptiest first.

    Parameters
    ----------
    centre : array of float64, shape (k, 2)
        Centres, in units of z.
    radius : array of float64, shape (k,)
        Radii, in units of z: three points lie on the circle, none in it.
    expected : array of float64, shape (k,)
        Number of points :math:`n \phi(c) \pi r^2` that a normal cloud of the same mean and covariance, with density
        :math:`\phi` at the centre, has in such a circle.
    """

    centre: Float[np.ndarray, "k 2"]
    radius: Float[np.ndarray, " k"]
    expected: Float[np.ndarray, " k"]


def largest_voids(points: Float[np.ndarray, "..."], *, k: int = 10, share: float = 0.5) -> Voids:
    r"""Find the largest voids of a cloud in a plane.

    The largest empty circles are among those round the triangles of the Delaunay triangulation. A circle counts by the
    number of points that should be in it, as a normal cloud too has its widest gaps where it is thin. In the Poisson
    limit, the largest of these numbers is about :math:`\ln n`, and a little more. Circles that overlap one that counts
    more are left out.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        The cloud in the plane.
    k : int
        Number of voids, at least 1; fewer are returned where there are no more.
    share : float
        Centres lie in the ellipse that holds this share of a normal cloud, in (0, 1).

    Returns
    -------
    Voids
        The voids, with falling expected number of points.

    Raises
    ------
    ValueError
        If there are no four finite points in a plane, they lie on a line, no circle has its centre in the ellipse, or
        an option is out of its range.

    References
    ----------
    .. [1] F. Aurenhammer (1991), Voronoi diagrams: a survey of a fundamental geometric data structure, ACM Computing
       Surveys 23, 345-405.

    Examples
    --------
    >>> ring = np.exp(2j * np.pi * np.arange(12) / 12)
    >>> z = np.random.default_rng(0).standard_normal((500, 2))
    >>> z = np.vstack([z[np.hypot(*z.T) > 1], np.column_stack([ring.real, ring.imag])])
    >>> largest_voids(z, k=1).radius.round(1)
    array([1.])
    """
    _check_plane(points)
    if k < 1 or not 0 < share < 1:
        raise ValueError(f"k must be at least 1 and share between 0 and 1, not {k} and {share}.")
    centre, radius = _empty_circles(points)
    covariance = np.cov(points.T, dtype=np.float64)
    distance = mahalanobis_distance(centre, mean=points.mean(axis=0, dtype=np.float64), covariance=covariance)
    inside = np.square(distance) < -2.0 * math.log(1.0 - share)
    if not inside.any():
        raise ValueError(f"no empty circle has its centre in the ellipse of {share}; take a larger share.")
    centre, radius, distance = centre[inside], radius[inside], distance[inside]
    peak = len(points) / (2.0 * np.pi * np.sqrt(np.linalg.det(covariance)))
    expected = peak * np.exp(-0.5 * distance**2) * np.pi * radius**2
    chosen = _apart(centre, radius, np.argsort(-expected, kind="stable"), k)
    return Voids(centre[chosen], radius[chosen], expected[chosen])


def _empty_circles(points: np.ndarray) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, " t"]]:
    """Return centres and radii of the circles round all Delaunay triangles with an area."""
    middle = points.mean(axis=0, dtype=np.float64)
    size = float(np.abs(points - middle).max())
    try:
        corners = Delaunay(points - middle)
    except QhullError as error:
        raise ValueError("the points lie on a line, or are the same: there are no empty circles.") from error
    a, b, c = (corners.points[corners.simplices[:, i]] for i in range(3))
    b, c = b - a, c - a
    area = 2.0 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    solid = np.abs(area) > 1e-12 * size**2
    a, b, c, area = a[solid], b[solid], c[solid], area[solid]
    b_square, c_square = np.square(b).sum(axis=1), np.square(c).sum(axis=1)
    x = (c[:, 1] * b_square - b[:, 1] * c_square) / area
    y = (b[:, 0] * c_square - c[:, 0] * b_square) / area
    return a + np.column_stack([x, y]) + middle, np.hypot(x, y)


def _apart(centre: np.ndarray, radius: np.ndarray, order: np.ndarray, k: int) -> Int[np.ndarray, " v"]:
    """Choose up to k circles in the given order, without those that overlap one chosen before."""
    chosen: list[int] = []
    for i in order:
        gap = np.linalg.norm(centre[chosen] - centre[i], axis=1) - radius[chosen] - radius[i]
        if (gap >= 0).all():
            chosen.append(int(i))
        if len(chosen) == k:
            break
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ZoomProfile:
    r"""What a plane looks like in ever smaller square windows, in numbers that know no scale.

    Parameters
    ----------
    half_width : array of float64, shape (w,)
        Half the side of each window, in units of z.
    n_points : array of int, shape (w,)
        Points in each window.
    line_share : array of float64, shape (w,)
        Mean share of the variance along the first axis of a point's neighbourhood in the plane: 0.5 if round, 1 on
        lines.
    void_share : array of float64, shape (w,)
        Share of the window's area with no point within :math:`\sqrt{3 / (\pi \lambda)}`, with the window's number of
        points per area :math:`\lambda`: :math:`e^{-3}`, 5 %, if points are strewn evenly.
    """

    half_width: Float[np.ndarray, " w"]
    n_points: Int[np.ndarray, " w"]
    line_share: Float[np.ndarray, " w"]
    void_share: Float[np.ndarray, " w"]


def zoom_profile(
    points: Float[np.ndarray, "..."],
    *,
    half_widths: Sequence[float],
    centre: tuple[float, float] = (0.0, 0.0),
    k: int = 8,
    grid: int = 64,
) -> ZoomProfile:
    r"""Zoom into a plane, to see whether structure persists or grows as the window shrinks.

    Chance alone draws lines and voids on every scale: a Poisson cloud looks the same however far one zooms in. Real
    filaments have a width and a length, and show more on some scales than the null twin does.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        The cloud in the plane.
    half_widths : sequence of float
        Half the sides h of the windows, above 0, in units of z.
    centre : tuple of float
        Common centre of the windows.
    k : int
        Neighbours, in the plane, that make up a neighbourhood with the point itself; 2 to n - 1.
    grid : int
        The area is probed at grid × grid places of a window, at least 2.

    Returns
    -------
    ZoomProfile
        Numbers of points, line-likeness and void shares. Neighbours outside a window count, so it has no edges.

    Raises
    ------
    ValueError
        If `points` is no cloud of enough finite points in a plane, a window holds none of them, or an option is out of
        its range.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((5000, 2))
    >>> zoom_profile(z, half_widths=[1.0, 0.25]).line_share.round(1)
    array([0.7, 0.7])
    """
    _check_plane(points)
    h = np.asarray(half_widths, dtype=np.float64)
    if h.ndim != 1 or len(h) == 0 or not (h > 0).all() or grid < 2 or not 2 <= k < len(points):
        raise ValueError(
            f"half_widths must be numbers above 0, grid at least 2 and k 2 to {len(points) - 1}, "
            f"not {half_widths}, {grid} and {k}."
        )
    plane = points.astype(np.float64) - np.asarray(centre, dtype=np.float64)
    reach = np.abs(plane).max(axis=1)
    n_points = np.count_nonzero(reach[:, None] <= h, axis=0)
    if not n_points.all():
        raise ValueError(
            f"the window of ±{h[n_points == 0].max():g} about {centre} holds no point; widen it."
        )
    tree = cKDTree(plane)
    seen = np.flatnonzero(reach <= h.max())
    share = _flat_shape(plane[tree.query(plane[seen], k=k + 1)[1]])
    lines = np.array([share[reach[seen] <= half].mean() for half in h])
    voids = np.array(
        [_void_share(tree, half, n, grid) for half, n in zip(h.tolist(), n_points.tolist(), strict=True)]
    )
    return ZoomProfile(h, n_points, lines, voids)


def _flat_shape(members: Float[np.ndarray, "m k 2"]) -> Float[np.ndarray, " m"]:
    """Return the share of the variance along the first axis of each neighbourhood; 0.5 where there is none."""
    steps = members - members.mean(axis=1, keepdims=True)
    xx, yy = np.square(steps).sum(axis=1).T
    xy = (steps[:, :, 0] * steps[:, :, 1]).sum(axis=1)
    total = np.where(xx + yy > 0, xx + yy, 1.0)
    return 0.5 + 0.5 * np.hypot(xx - yy, 2.0 * xy) / total


def _void_share(tree: cKDTree, half: float, n: int, grid: int) -> float:
    """Return the share of a window about the origin that is far from all points, at the window's density."""
    side = half * (2.0 * (np.arange(grid) + 0.5) / grid - 1.0)
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    far = math.sqrt(3.0 * (2.0 * half) ** 2 / (np.pi * n))
    return float((tree.query(places, distance_upper_bound=far)[0] > far).mean())


def _check_plane(points: np.ndarray) -> None:
    for _ in checked_blocks(points, name="points"):
        pass
    if points.shape[1] != 2 or len(points) < 4:
        raise ValueError(
            f"points must have shape (n, 2) with n of at least 4, a cloud in a plane, not {points.shape}."
        )


class PlaneStructure(NamedTuple):
    """What is seen of a cloud in one plane.

    Parameters
    ----------
    line_share : float
        Line-likeness in a small window at the centre, as `zoom_profile` has it: 0.5 to 1.
    void_share : float
        Share of the window's area that is far from all points.
    void : float
        Points that a normal cloud has in the largest void of the whole plane.
    """

    line_share: float
    void_share: float
    void: float


def measure_plane(points: Float[np.ndarray, "..."], *, n_window: int = 150) -> PlaneStructure:
    """Read what is seen in a plane, to be held against twins: `against_twins(measure_plane, points)`.

    Parameters
    ----------
    points : array of float, shape (n, 2)
        The cloud in the plane.
    n_window : int
        Points in the window about the mean, 1 to n; by their number, the windows of clouds of any width compare.

    Returns
    -------
    PlaneStructure
        The readings.

    Raises
    ------
    ValueError
        If `points` is no cloud of enough finite points in a plane, or `n_window` is out of its range.

    Examples
    --------
    >>> from aelib.twins import against_twins
    >>> z = np.random.default_rng(0).standard_normal((500, 2))
    >>> against_twins(measure_plane, z, draws=39).joint_p_value > 0.05
    True
    """
    _check_plane(points)
    if not 1 <= n_window <= len(points):
        raise ValueError(f"n_window must be 1 to {len(points)}, the number of points, not {n_window}.")
    centred = points - points.mean(axis=0, dtype=np.float64)
    half_width = float(np.sort(np.abs(centred).max(axis=1))[n_window - 1])
    if half_width == 0:
        raise ValueError(f"{n_window} points are the same: there is no window about them; widen it.")
    seen = zoom_profile(centred, half_widths=[half_width])
    void = largest_voids(points, k=1).expected[0]
    return PlaneStructure(float(seen.line_share[0]), float(seen.void_share[0]), float(void))


class Structure(NamedTuple):
    """Every instrument's reading of one cloud.

    Parameters
    ----------
    nearest : float
        Mean distance to the nearest neighbour, in units of z.
    nearest_spread : float
        Its standard deviation over its mean.
    nearest_low : float
        Its 1 % quantile over its mean.
    first_share : float
        Mean share of the local variance along its first axis.
    participation : float
        Mean effective number of local axes.
    hopkins : float
        Hopkins' H against the normal law.
    two_nn, mle : float
        Intrinsic dimension by TwoNN and by maximum likelihood.
    void : float
        Points that a normal cloud has in the largest void of a plane of two principal axes.
    """

    nearest: float
    nearest_spread: float
    nearest_low: float
    first_share: float
    participation: float
    hopkins: float
    two_nn: float
    mle: float
    void: float


def measure_structure(
    z: Float[np.ndarray, "..."],
    *,
    k: int = 20,
    n_queries: int | None = 1000,
    plane: tuple[int, int] = (0, 1),
    random_state: int = 0,
) -> Structure:
    """Read all instruments on one cloud.

    No reading names its cause. Lines and sheets move all of them but the void, clumps all but the local shape. Heavy
    tails move the nearest distances and the local shape too, but do not lower the intrinsic dimension.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped, with at least 2 components.
    k : int
        Neighbours of a point, 2 to n - 1.
    n_queries : int or None
        Number of points, chosen at random, whose neighbours are sought among all; None takes all.
    plane : tuple of int
        Two principal axes, 0 the widest, of the plane for the voids.
    random_state : int
        Seed of the choice of points and of Hopkins' places.

    Returns
    -------
    Structure
        The readings. Without those of null twins they mean little: `against_twins(measure_structure, z)`.

    Raises
    ------
    ValueError
        If `z` is no cloud of enough finite points, has copies of points, or has no such axes.

    Examples
    --------
    >>> from aelib.planted import planted_cloud
    >>> normal, lines = (planted_cloud(kind, 1000, 16, random_state=0) for kind in ("normal", "filaments"))
    >>> measure_structure(lines).first_share > 2 * measure_structure(normal).first_share
    True
    """
    neighbours = nearest_neighbours(z, k=k, n_queries=n_queries, random_state=random_state)
    law, shape = nearest_law(neighbours), local_shape(z, neighbours)
    axes = principal_axes(z, k=max(plane) + 1)
    voids = largest_voids(axes.transform(z)[:, list(plane)], k=1)
    return Structure(
        nearest=law.mean,
        nearest_spread=law.std / law.mean,
        nearest_low=law.low / law.mean,
        first_share=float(shape.first_share.mean()),
        participation=float(shape.participation.mean()),
        hopkins=hopkins(z, neighbours, random_state=random_state),
        two_nn=two_nn(neighbours).value,
        mle=levina_bickel(neighbours, low=max(2, k // 2), high=k).value,
        void=float(voids.expected[0]),
    )
