"""Paths through the latent space: rows of z-points along lines, on circles, on ellipsoids of a cloud, and at random."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from aelib.blocks import checked_blocks
from aelib.densities import mahalanobis_distance

Direction: TypeAlias = int | np.integer | Float[np.ndarray, "..."]
"""A direction: the number of a component, or a vector of any length."""

_ALIGNED = 1e-7  # radians: below, two directions span no plane


def segment(a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "n d"]:
    r"""Go straight from one point to another: :math:`z_k = a + \frac{k}{n - 1} (b - a)`.

    Parameters
    ----------
    a, b : array of float, shape (d,)
        The two ends, which belong to the path.
    n : int
        Number of points, at least 2.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal steps, in the precision of the ends.

    Raises
    ------
    ValueError
        If the ends are the same, are no finite vectors with as many components, or `n` is below 2.

    Examples
    --------
    >>> segment(np.zeros(2), np.array([1.0, 4.0]), 3)
    array([[0. , 0. ],
           [0.5, 2. ],
           [1. , 4. ]])
    """
    _check_n(n)
    start, end = _ends(a, b)
    return _finished(np.linspace(start, end, n), a, b)


def chord(
    centre: Float[np.ndarray, "..."], direction: Direction, n: int, *, reach: float
) -> Float[np.ndarray, "n d"]:
    r"""Go straight through a centre, from as far before it to as far behind it.

    The segment from :math:`c - r u` to :math:`c + r u`, with u the direction at length 1. An odd `n` puts the centre
    itself on the path.

    Parameters
    ----------
    centre : array of float, shape (d,)
        The middle c.
    direction : int or array of float, shape (d,)
        A component, or a vector other than 0, of which only the direction counts; `plane_direction` gives one.
    n : int
        Number of points, at least 2.
    reach : float
        Distance r of both ends from the centre, above 0, in units of z.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal steps, in the precision of the centre.

    Raises
    ------
    ValueError
        If the centre is no finite vector, the direction none of its space, `n` below 2, or the reach not above 0.

    Examples
    --------
    >>> chord(np.array([5.0, 1.0]), 1, 3, reach=2.0)
    array([[ 5., -1.],
           [ 5.,  1.],
           [ 5.,  3.]])
    """
    _check_n(n)
    middle = _vector("centre", centre)
    step = _positive("reach", reach) * _unit("direction", direction, len(middle))
    return _finished(np.linspace(middle - step, middle + step, n), centre)


def plane_direction(i: int, j: int, *, angle: float, d: int) -> Float[np.ndarray, " d"]:
    r"""Turn in the plane of two components: the unit vector :math:`\cos\varphi\, e_i + \sin\varphi\, e_j`.

    With the `angle` of a pair's ellipse in `aelib.ellipses.Ellipses` it points along the ellipse's long axis.

    Parameters
    ----------
    i, j : int
        The components that span the plane.
    angle : float
        Angle from axis i towards axis j, in radians.
    d : int
        Number of components of the space.

    Returns
    -------
    array of float64, shape (d,)
        A vector of length 1.

    Raises
    ------
    ValueError
        If i equals j, one is not from 0 to d - 1, or the angle is not finite.

    Examples
    --------
    >>> plane_direction(0, 2, angle=np.pi / 4, d=3).round(3)
    array([0.707, 0.   , 0.707])
    """
    if i == j or not (0 <= i < d and 0 <= j < d):
        raise ValueError(f"i and j must be two different components from 0 to {d - 1}, not {i} and {j}.")
    if not np.isfinite(angle):
        raise ValueError(f"angle must be finite, in radians, not {angle}.")
    direction = np.zeros(d)
    direction[[i, j]] = np.cos(angle), np.sin(angle)
    return direction


def polyline(points: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "n d"]:
    """Go straight from point to point, at one speed.

    The steps are equal along the line. So a corner is on the path only where a step happens to end; `segment` from
    corner to corner meets all of them.

    Parameters
    ----------
    points : array of float, shape (m, d)
        The corners in their order, at least two different ones; the path begins at the first and ends at the last.
    n : int
        Number of points, at least 2.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal steps along the line, in the precision of the corners.

    Raises
    ------
    ValueError
        If the corners are no finite points, are all the same, or `n` is below 2.

    Examples
    --------
    >>> polyline(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]), 5)
    array([[0., 0.],
           [1., 0.],
           [2., 0.],
           [3., 0.],
           [3., 1.]])
    """
    _check_n(n)
    corners = np.concatenate([rows for _, rows in checked_blocks(points, name="points")]).astype(np.float64)
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    if not lengths.any():
        raise ValueError("points must hold at least two different corners.")
    corners = corners[np.append(True, lengths > 0)]
    passed = np.append(0.0, np.cumsum(lengths[lengths > 0]))
    at = np.linspace(0.0, passed[-1], n)
    return _finished(np.column_stack([np.interp(at, passed, column) for column in corners.T]), points)


def circle(
    centre: Float[np.ndarray, "..."], u: Direction, v: Direction, n: int, *, radius: float
) -> Float[np.ndarray, "n d"]:
    r"""Go round a centre in a plane: :math:`z_k = c + r (\cos\varphi_k\, u + \sin\varphi_k\, v)`.

    The circle begins in direction u and turns towards v, of which the part perpendicular to u counts. The first point
    is not repeated at the end, so that an animation goes round without a halt.

    Parameters
    ----------
    centre : array of float, shape (d,)
        The centre c.
    u, v : int or array of float, shape (d,)
        Two directions that span the plane: components, or vectors of any length but 0.
    n : int
        Number of points, at least 2.
    radius : float
        The radius r, above 0, in units of z.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal angles between them, in the precision of the centre.

    Raises
    ------
    ValueError
        If the centre is no finite vector, u and v are no directions of its space or span no plane, `n` is below 2,
        or the radius not above 0.

    Examples
    --------
    >>> circle(np.array([5.0, 0.0]), 0, 1, 4, radius=1.0).round(3) + 0.0
    array([[ 6.,  0.],
           [ 5.,  1.],
           [ 4.,  0.],
           [ 5., -1.]])
    """
    _check_n(n)
    middle = _vector("centre", centre)
    first, second = _unit("u", u, len(middle)), _unit("v", v, len(middle))
    if _relation(np.stack([first, second]), np.zeros(len(middle))) != "apart":
        raise ValueError("u and v must span a plane, but they point along one line; choose another v.")
    ring = _turned(first, second, np.linspace(0.0, 2 * np.pi, n, endpoint=False))
    return _finished(middle + _positive("radius", radius) * ring, centre)


def slerp(
    a: Float[np.ndarray, "..."],
    b: Float[np.ndarray, "..."],
    n: int,
    *,
    centre: Float[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "n d"]:
    r"""Turn from one point to another around a centre, at one angular speed.

    With :math:`\Omega` the angle between a and b as seen from the centre, the direction is
    :math:`[\sin((1 - t)\Omega)\, \hat a + \sin(t \Omega)\, \hat b] / \sin\Omega`. The distance from the centre changes
    evenly from that of a to that of b: it is constant if they are equally far. The way is the shorter one around.

    Parameters
    ----------
    a, b : array of float, shape (d,)
        The two ends, which belong to the path.
    n : int
        Number of points, at least 2.
    centre : array of float, shape (d,), or None
        The point to turn around; None is the origin. For z-points, whose cloud lies off the origin, take their mean.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal angles between them, in the precision of the ends.

    Raises
    ------
    ValueError
        If the ends are the same or no finite vectors with as many components, one lies at the centre, or they lie on
        opposite sides of it, where no way around is the shortest; or if `n` is below 2.

    References
    ----------
    .. [1] K. Shoemake (1985), Animating rotation with quaternion curves, SIGGRAPH Computer Graphics 19, 245-254.

    Examples
    --------
    >>> slerp(np.array([2.0, 0.0]), np.array([0.0, 2.0]), 3).round(3)
    array([[2.   , 0.   ],
           [1.414, 1.414],
           [0.   , 2.   ]])
    """
    _check_n(n)
    start, end = _ends(a, b)
    middle = np.zeros(len(start)) if centre is None else _vector("centre", centre, len(start))
    _check_way_around(np.stack([a, b]), middle)
    path = middle + _arc(start - middle, end - middle, n)
    path[0], path[-1] = start, end
    return _finished(path, a, b)


def great_arc(
    a: Float[np.ndarray, "..."],
    b: Float[np.ndarray, "..."],
    n: int,
    *,
    mean: Float[np.ndarray, "..."],
    covariance: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "n d"]:
    """Go from one point to another around a cloud, on its ellipsoid of equal density.

    `slerp` around the mean in whitened coordinates, in which the cloud's ellipsoids are spheres: the Mahalanobis
    distance changes evenly from that of a to that of b, and is constant if theirs are the same.

    Parameters
    ----------
    a, b : array of float, shape (d,)
        The two ends, which belong to the path.
    n : int
        Number of points, at least 2.
    mean : array of float, shape (d,)
        Mean of the cloud.
    covariance : array of float, shape (d, d)
        Covariance of the cloud. If it is singular, the ends must lie in its plane.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal angles between them as seen in whitened coordinates, in the precision of the ends.

    Raises
    ------
    ValueError
        If the ends are the same, lie at the mean, on opposite sides of it or off a singular covariance's plane; if an
        argument is not what it should be, or `n` is below 2.

    Examples
    --------
    >>> a, b = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    >>> great_arc(a, b, 3, mean=np.zeros(2), covariance=np.diag([1.0, 4.0])).round(3)
    array([[1.   , 0.   ],
           [0.707, 1.414],
           [0.   , 2.   ]])
    """
    _check_n(n)
    start, end = _ends(a, b)
    whitening = _whitening(mean, covariance)
    whitened = whitening.forth(np.stack([a, b]))
    _check_way_around(np.stack([a, b]), whitening.mean)
    path = whitening.back(_arc(whitened[0], whitened[1], n))
    path[0], path[-1] = start, end
    return _finished(path, a, b)


def great_circle(
    start: Float[np.ndarray, "..."],
    towards: Float[np.ndarray, "..."],
    n: int,
    *,
    mean: Float[np.ndarray, "..."],
    covariance: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "n d"]:
    """Go all around a cloud on its ellipsoid of equal density, from a point and back to it.

    In whitened coordinates, a circle around the mean in the plane of the mean, `start` and `towards`. All its points
    have the Mahalanobis distance of `start`; the circle passes `towards` itself only if that has the same. The first
    point is not repeated at the end, so that an animation goes round without a halt.

    Parameters
    ----------
    start : array of float, shape (d,)
        The first point.
    towards : array of float, shape (d,)
        A second point, which tells the plane and the sense of rotation.
    n : int
        Number of points, at least 2.
    mean : array of float, shape (d,)
        Mean of the cloud.
    covariance : array of float, shape (d, d)
        Covariance of the cloud. If it is singular, both points must lie in its plane.

    Returns
    -------
    array of float, shape (n, d)
        Points with equal angles between them as seen in whitened coordinates, in the precision of the two points.

    Raises
    ------
    ValueError
        If the mean and the two points lie on one line, or a point off a singular covariance's plane; if an argument
        is not what it should be, or `n` is below 2.

    Examples
    --------
    >>> start, towards = np.array([1.0, 0.0]), np.array([3.0, 3.0])
    >>> great_circle(start, towards, 4, mean=np.zeros(2), covariance=np.diag([1.0, 4.0])).round(3) + 0.0
    array([[ 1.,  0.],
           [ 0.,  2.],
           [-1.,  0.],
           [ 0., -2.]])
    """
    _check_n(n)
    first_point, _ = _ends(start, towards, names=("start", "towards"))
    whitening = _whitening(mean, covariance)
    whitened = whitening.forth(np.stack([start, towards]))
    if _relation(np.stack([start, towards]), whitening.mean) != "apart":
        raise ValueError(
            "start and towards must span a plane with the mean, but all three lie on one line; "
            "choose another point to go towards."
        )
    distances = np.linalg.norm(whitened, axis=1)
    first, second = whitened / distances[:, None]
    ring = _turned(first, second, np.linspace(0.0, 2 * np.pi, n, endpoint=False))
    path = whitening.back(distances[0] * ring)
    path[0] = first_point
    return _finished(path, start, towards)


def random_walk(
    n: int,
    *,
    mean: Float[np.ndarray, "..."],
    covariance: Float[np.ndarray, "..."],
    correlation: float = 0.99,
    smooth: bool = True,
    start: Float[np.ndarray, "..."] | None = None,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "n d"]:
    r"""Wander at random through a cloud without ever leaving it.

    In whitened coordinates y, each component follows a stationary autoregressive process whose law at every step is
    the standard normal, so every point of the walk has exactly the law :math:`N(\mu, \Sigma)`: nothing is rejected.
    With neighbours correlated by c, a plain walk is

    .. math:: y_{k+1} = c\, y_k + \sqrt{1 - c^2}\, \varepsilon_k.

    Its steps turn at random. A smooth one keeps much of its direction: it is the critically damped process of second
    order, whose c is :math:`2\rho / (1 + \rho^2)`,

    .. math:: y_{k+1} = 2\rho\, y_k - \rho^2 y_{k-1} + \sqrt{(1 - \rho^2)^3 / (1 + \rho^2)}\; \varepsilon_k.

    Parameters
    ----------
    n : int
        Number of points, at least 2.
    mean : array of float, shape (d,)
        Mean :math:`\mu` of the cloud.
    covariance : array of float, shape (d, d)
        Covariance :math:`\Sigma` of the cloud; if it is singular, the walk stays in its plane.
    correlation : float
        Correlation c of neighbouring points along the walk, in [0, 1): near 1 for small steps, 0 for independent
        points. The steps have a Mahalanobis length of about :math:`\sqrt{2 (1 - c)\, d}`.
    smooth : bool
        Whether the walk keeps much of its direction from step to step.
    start : array of float, shape (d,), or None
        The first point; the walk forgets it bit by bit. None draws it from the law.
    random_state : int or numpy.random.Generator
        Seed or generator of the walk.

    Returns
    -------
    array of float, shape (n, d)
        The points, in the precision of the mean.

    Raises
    ------
    ValueError
        If the correlation is not in [0, 1), `start` lies off a singular covariance's plane, an argument is not what it
        should be, or `n` is below 2.

    References
    ----------
    .. [1] G. E. P. Box, G. M. Jenkins, G. C. Reinsel and G. M. Ljung (2015), Time Series Analysis, 5th ed., Wiley,
       section 3.2.

    Examples
    --------
    >>> walk = random_walk(5, mean=np.array([9.0, 0.0]), covariance=np.diag([1.0, 4.0]), start=np.array([9.0, 2.0]))
    >>> walk.shape, walk[0]
    ((5, 2), array([9., 2.]))
    """
    _check_n(n)
    if not 0.0 <= correlation < 1.0:
        raise ValueError(f"correlation must be at least 0 and below 1, not {correlation}.")
    whitening = _whitening(mean, covariance)
    y = np.random.default_rng(random_state).standard_normal((n, len(whitening.std)))
    if start is None:
        return _finished(whitening.back(_autoregressive(y, correlation, smooth)), mean)
    first = _vector("start", start, len(whitening.mean))
    y[0] = whitening.forth(first[None])[0]
    path = whitening.back(_autoregressive(y, correlation, smooth))
    path[0] = first
    return _finished(path, mean)


def _autoregressive(y: np.ndarray, c: float, smooth: bool) -> Float[np.ndarray, "n k"]:
    """Turn independent standard normal rows, in their place, into a stationary process with the first row kept."""
    rho = c / (1.0 + np.sqrt(1.0 - c**2)) if smooth else 0.0
    last, before = (2.0 * rho, -(rho**2)) if smooth else (c, 0.0)
    noise = np.sqrt((1.0 - rho**2) ** 3 / (1.0 + rho**2)) if smooth else np.sqrt(1.0 - c**2)
    # Given the first row, the second is normal for both processes: it needs no row before.
    y[1] = c * y[0] + np.sqrt(1.0 - c**2) * y[1]
    for k in range(2, len(y)):
        y[k] = last * y[k - 1] + before * y[k - 2] + noise * y[k]
    return y


class _Whitening(NamedTuple):
    """Coordinates in which a normal cloud is standard normal: along its axes, in standard deviations."""

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]
    axes: Float[np.ndarray, "k d"]
    std: Float[np.ndarray, " k"]

    def forth(self, points: np.ndarray) -> Float[np.ndarray, "n k"]:
        if points.shape[1] != len(self.mean):
            raise ValueError(f"points must have d = {len(self.mean)} components, not {points.shape[1]}.")
        distances = mahalanobis_distance(points, mean=self.mean, covariance=self.covariance)
        if not np.isfinite(distances).all():
            raise ValueError(
                "a point lies off the plane to which the singular covariance confines the cloud; "
                "choose points of the cloud, or a covariance from more points or with shrinkage."
            )
        return (points - self.mean) @ self.axes.T / self.std

    def back(self, y: np.ndarray) -> Float[np.ndarray, "n d"]:
        return self.mean + (y * self.std) @ self.axes


def _whitening(mean: np.ndarray, covariance: np.ndarray) -> _Whitening:
    # Any point of the covariance's space will do: what is no mean or no covariance is refused there.
    mahalanobis_distance(np.zeros((1, len(np.atleast_1d(covariance)) or 1)), mean=mean, covariance=covariance)
    variances, columns = np.linalg.eigh(covariance.astype(np.float64))
    wide = variances > len(variances) * np.finfo(covariance.dtype).eps * variances[-1]
    return _Whitening(mean.astype(np.float64), covariance, columns.T[wide], np.sqrt(variances[wide]))


def _arc(u: np.ndarray, v: np.ndarray, n: int) -> Float[np.ndarray, "n k"]:
    """Turn evenly from u to v around 0, with their lengths in between."""
    lengths = np.linalg.norm([u, v], axis=1)
    first, second = u / lengths[0], v / lengths[1]
    # Better than the arc cosine, which loses half of the digits of small angles.
    angle = 2.0 * np.arctan2(np.linalg.norm(first - second), np.linalg.norm(first + second))
    return np.linspace(lengths[0], lengths[1], n)[:, None] * _turned(
        first, second, np.linspace(0.0, angle, n)
    )


def _turned(first: np.ndarray, second: np.ndarray, angles: np.ndarray) -> Float[np.ndarray, "n k"]:
    """Turn the first unit vector towards the second."""
    across = second - (first @ second) * first
    size = np.linalg.norm(across)
    across = across / size if size > 0 else across
    return np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * across


def _relation(points: np.ndarray, centre: np.ndarray) -> Literal["same", "opposite", "apart"]:
    """Tell how two points lie to each other as seen from a centre, up to the rounding of their precision.

    Whitening is linear: what lies on one line through the mean does so in all coordinates, and before it the rounding
    is known.
    """
    arrows = points - centre
    lengths = np.linalg.norm(arrows, axis=1)
    rounding = 8.0 * np.finfo(np.result_type(np.float32, points)).eps * np.linalg.norm(centre)
    if not (lengths > rounding).all():
        raise ValueError(
            "no point may lie at the centre, from where it has no direction; choose another one."
        )
    first, second = arrows / lengths[:, None]
    limit = _ALIGNED + rounding / lengths.min()
    if np.linalg.norm(first + second) < limit:
        return "opposite"
    return "same" if np.linalg.norm(first - second) < limit else "apart"


def _check_way_around(points: np.ndarray, centre: np.ndarray) -> None:
    if _relation(points, centre) == "opposite":
        raise ValueError(
            "a and b lie on opposite sides of the centre, where no way around is the shortest; "
            "go by way of a third point."
        )


def _unit(name: str, direction: Direction, d: int) -> Float[np.ndarray, " d"]:
    if isinstance(direction, np.ndarray):
        vector = _vector(name, direction, d)
        vector = vector / (np.abs(vector).max() or 1.0)  # so that squares neither overflow nor vanish
    else:
        if not 0 <= direction < d:
            raise ValueError(f"{name} must be a component from 0 to {d - 1}, not {direction}.")
        vector = np.eye(1, d, int(direction))[0]
    if not vector.any():
        raise ValueError(f"{name} must be a vector other than 0, to have a direction.")
    return vector / np.linalg.norm(vector)


def _ends(
    a: np.ndarray, b: np.ndarray, *, names: tuple[str, str] = ("a", "b")
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    start = _vector(names[0], a)
    end = _vector(names[1], b, len(start))
    if (start == end).all():
        raise ValueError(f"{names[0]} and {names[1]} must be different points: from one there is no path.")
    return start, end


def _vector(name: str, values: np.ndarray, d: int | None = None) -> Float[np.ndarray, " d"]:
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be a vector of finite numbers; its shape is {values.shape}.")
    if d is not None and len(values) != d:
        raise ValueError(f"{name} must have d = {d} components, not {len(values)}.")
    return values.astype(np.float64)


def _positive(name: str, value: float) -> float:
    if not 0.0 < value < np.inf:
        raise ValueError(f"{name} must be finite and above 0, not {value}.")
    return value


def _check_n(n: int) -> None:
    if n < 2:
        raise ValueError(f"n must be at least 2 points, not {n}.")


def _finished(path: np.ndarray, *given: np.ndarray) -> Float[np.ndarray, "n d"]:
    """Round a path to the precision of what it was made from."""
    return path.astype(np.result_type(np.float32, *given))
