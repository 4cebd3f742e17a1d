"""Planted clouds: points with a known structure, to see whether an instrument finds what is there."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Kind = Literal["normal", "filaments", "clusters", "sheet", "mixture", "heavy tails"]


def planted_normal(
    n: int, d: int, *, random_state: int | np.random.Generator = 0
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud without structure, from :math:`N(0, I)`.

    Parameters
    ----------
    n, d : int
        Number of points and of components, at least 1.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points; mean 0, covariance I.

    Raises
    ------
    ValueError
        If n or d is below 1.

    Examples
    --------
    >>> planted_normal(3, 2).shape
    (3, 2)
    """
    _check_sizes(n, d)
    return np.random.default_rng(random_state).standard_normal((n, d), dtype=np.float32)


def planted_filaments(
    n: int,
    d: int,
    *,
    n_filaments: int = 100,
    length: float = 6.0,
    thickness: float = 0.1,
    share: float = 1.0,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud of thin lines, such as the source saw.

    A filament is an arc with a random middle c and two random orthogonal unit vectors u, v. A point of it is
    :math:`z = c + t u + (t^2 - \langle t^2 \rangle) v / l + s \varepsilon`, with t uniform over the length l, the
    thickness s, and :math:`\varepsilon \sim N(0, I)`: the arc's ends stand off its middle by l / 4. The middles are
    normal, with the variance that is left of 1.

    Over all choices of filaments, the points have mean 0 and covariance I. A cloud with few filaments has few
    directions of its own: a twin takes its measured mean and covariance.

    Parameters
    ----------
    n, d : int
        Number of points, at least 1, and of components, at least 2.
    n_filaments : int
        Number of filaments, at least 1; each point falls on one by chance.
    length : float
        Length l of a filament along u, above 0, in units of the cloud's standard deviation along one component.
    thickness : float
        Standard deviation s across a filament, in [0, 1), in the same units.
    share : float
        Share of the points that lie on filaments, in [0, 1]; the others are drawn from N(0, I).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points, in random order.

    Raises
    ------
    ValueError
        If a number is out of its range, or the filaments are so long that no variance is left for their middles.

    Examples
    --------
    >>> planted_filaments(500, 3, n_filaments=5, length=2.0).shape
    (500, 3)
    """
    _check_sizes(n, d, least_d=2)
    _check_parts(n_filaments, thickness, share)
    spread = length**2 / 12  # variance of t, then that of t² / l
    left = 1.0 - thickness**2 - (spread + length**2 / 180) / d
    if length <= 0 or left < 0:
        raise ValueError(
            f"filaments must have a length above 0 and leave variance for their middles, not {length} long "
            f"and {thickness} thick in {d} components; take shorter ones."
        )
    rng = np.random.default_rng(random_state)
    middles = np.sqrt(left) * rng.standard_normal((n_filaments, d))
    along, across = _orthonormal_pairs(n_filaments, d, rng)
    part = rng.integers(n_filaments, size=n)
    t = rng.uniform(-0.5 * length, 0.5 * length, (n, 1))
    points = middles[part] + t * along[part] + (t**2 - spread) / length * across[part]
    return _with_background(points, thickness, share, rng)


def _orthonormal_pairs(m: int, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    u, v = rng.standard_normal((2, m, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v -= np.einsum("md,md->m", u, v)[:, None] * u
    return u, v / np.linalg.norm(v, axis=1, keepdims=True)


def planted_clusters(
    n: int,
    d: int,
    *,
    n_clusters: int = 50,
    thickness: float = 0.5,
    share: float = 1.0,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud of round clumps.

    :math:`z = \sqrt{1 - s^2} \, c_j + s \varepsilon` with middles :math:`c_j` and :math:`\varepsilon` from N(0, I).
    Over all choices of middles, the points have mean 0 and covariance I.

    Parameters
    ----------
    n, d : int
        Number of points and of components, at least 1.
    n_clusters : int
        Number of clusters, at least 1; each point falls into one by chance.
    thickness : float
        Standard deviation s of a cluster along each component, in [0, 1), in units of the cloud's.
    share : float
        Share of the points that lie in clusters, in [0, 1]; the others are drawn from N(0, I).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points, in random order.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> planted_clusters(500, 3, n_clusters=5).shape
    (500, 3)
    """
    _check_sizes(n, d)
    _check_parts(n_clusters, thickness, share)
    rng = np.random.default_rng(random_state)
    middles = np.sqrt(1.0 - thickness**2) * rng.standard_normal((n_clusters, d))
    return _with_background(middles[rng.integers(n_clusters, size=n)], thickness, share, rng)


def planted_sheet(
    n: int,
    d: int,
    *,
    curl: float = 2.0,
    thickness: float = 0.1,
    share: float = 1.0,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud on one curved sheet of two dimensions.

    Component k is :math:`z_k = \sqrt{2 (1 - s^2)} \cos(w_k \cdot x + \phi_k) + s \varepsilon_k`, with the place x on
    the sheet uniform in :math:`[-1, 1]^2`, :math:`w_k \sim N(0, \text{curl}^2 I)` and a uniform phase. Over all choices
    of sheets, the points have mean 0 and covariance I; one sheet has a few wide directions, the more the larger its
    curl.

    Parameters
    ----------
    n, d : int
        Number of points and of components, at least 1.
    curl : float
        How much the sheet is bent, above 0, in radians per unit of x.
    thickness : float
        Standard deviation s of the noise of each component, in [0, 1), in units of the cloud's.
    share : float
        Share of the points that lie on the sheet, in [0, 1]; the others are drawn from N(0, I).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> planted_sheet(500, 3).shape
    (500, 3)
    """
    _check_sizes(n, d)
    _check_parts(1, thickness, share)
    if curl <= 0:
        raise ValueError(f"curl must be above 0, not {curl}.")
    rng = np.random.default_rng(random_state)
    waves = curl * rng.standard_normal((2, d))
    phases = rng.uniform(0.0, 2.0 * np.pi, d)
    points = np.cos(rng.uniform(-1.0, 1.0, (n, 2)) @ waves + phases)
    return _with_background(np.sqrt(2.0 * (1.0 - thickness**2)) * points, thickness, share, rng)


def planted_mixture(
    n: int,
    d: int,
    *,
    distance: float = 4.0,
    weight: float = 0.5,
    random_state: int | np.random.Generator = 0,
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud of two normal halves that stand apart along one direction.

    Both have a covariance of I before the cloud is scaled, along the line through their middles, to the variance of 1
    that it has across. So mean and covariance are exactly those of N(0, I).

    Parameters
    ----------
    n, d : int
        Number of points and of components, at least 1.
    distance : float
        Distance of the two middles, at least 0, in standard deviations of one half.
    weight : float
        Share of the points in the first half, in (0, 1).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points, in random order; mean 0, covariance I.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> planted_mixture(500, 3).shape
    (500, 3)
    """
    _check_sizes(n, d)
    if distance < 0 or not 0 < weight < 1:
        raise ValueError(
            f"distance must be at least 0 and weight between 0 and 1, not {distance} and {weight}."
        )
    rng = np.random.default_rng(random_state)
    points = rng.standard_normal((n, d))
    direction = rng.standard_normal(d)
    direction /= np.linalg.norm(direction)
    along = points @ direction
    side = np.where(rng.random(n) < weight, 1.0 - weight, -weight)
    stretched = (along + distance * side) / np.sqrt(1.0 + distance**2 * weight * (1.0 - weight))
    return (points + np.outer(stretched - along, direction)).astype(np.float32)


def planted_heavy_tails(
    n: int, d: int, *, degrees: float = 10.0, random_state: int | np.random.Generator = 0
) -> Float[np.ndarray, "n d"]:
    r"""Draw a cloud from the multivariate t law, scaled to covariance I.

    :math:`z = \varepsilon \sqrt{(\nu - 2) / \chi^2_\nu}` with :math:`\varepsilon \sim N(0, I)`: every projection has
    heavy tails, and the radii scatter more than those of a normal cloud.

    Parameters
    ----------
    n, d : int
        Number of points and of components, at least 1.
    degrees : float
        Degrees of freedom :math:`\nu`, above 2.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points; mean 0, covariance I.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> planted_heavy_tails(500, 3).shape
    (500, 3)
    """
    _check_sizes(n, d)
    if degrees <= 2:
        raise ValueError(f"degrees must be above 2, where the variance is finite, not {degrees}.")
    rng = np.random.default_rng(random_state)
    points = rng.standard_normal((n, d))
    return (points * np.sqrt((degrees - 2.0) / rng.chisquare(degrees, (n, 1)))).astype(np.float32)


def planted_cloud(
    kind: Kind, n: int, d: int, *, random_state: int | np.random.Generator = 0
) -> Float[np.ndarray, "n d"]:
    """Draw a planted cloud with the defaults of its kind; the function of each kind takes its settings.

    Parameters
    ----------
    kind : str
        One of `KINDS`: "normal", "filaments", "clusters", "sheet", "mixture" or "heavy tails".
    n, d : int
        Number of points and of components, at least 1 (2 components for filaments).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    array of float32, shape (n, d)
        The points; mean 0 and covariance I, over all choices of parts.

    Raises
    ------
    ValueError
        If there is no such kind, or n or d is too small.

    Examples
    --------
    >>> [planted_cloud(kind, 10, 8).shape for kind in KINDS] == [(10, 8)] * 6
    True
    """
    if kind not in _DRAWS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}.")
    return _DRAWS[kind](n, d, random_state=random_state)


KINDS: tuple[Kind, ...] = get_args(Kind)
_DRAWS: dict[Kind, Callable[..., np.ndarray]] = {
    "normal": planted_normal,
    "filaments": planted_filaments,
    "clusters": planted_clusters,
    "sheet": planted_sheet,
    "mixture": planted_mixture,
    "heavy tails": planted_heavy_tails,
}


def _with_background(
    points: np.ndarray, thickness: float, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Give points their thickness, and replace those that are of no part by a normal background."""
    noise = rng.standard_normal(points.shape)
    inside = rng.random((len(points), 1)) < share
    return np.where(inside, points + thickness * noise, noise).astype(np.float32)


def _check_sizes(n: int, d: int, *, least_d: int = 1) -> None:
    if n < 1 or d < least_d:
        raise ValueError(f"n must be at least 1 and d at least {least_d}, not {n} and {d}.")


def _check_parts(n_parts: int, thickness: float, share: float) -> None:
    if n_parts < 1 or not 0 <= thickness < 1 or not 0 <= share <= 1:
        raise ValueError(
            "parts must be at least 1, their thickness in [0, 1) and their share in [0, 1], "
            f"not {n_parts}, {thickness} and {share}."
        )
