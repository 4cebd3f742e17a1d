"""Samplers of one simple law each: uniform box, sphere shell, and the normal laws."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from aelib.blocks import checked_blocks
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes, resolved_axes
from aelib.sampler import (
    DensitySampler,
    PrincipalSampler,
    Sampler,
    check_above_zero,
    check_choice,
    log_standard_normal,
)
from aelib.truncation import kept_variance

_CORE_STEPS = 5


class UniformBox(DensitySampler):
    r"""Independent components, each uniform in [-b, b].

    Parameters
    ----------
    b : float or None
        Half the side of the box, above 0, in units of z. None takes the one whose points have the cloud's root mean
        square distance R from the centre, :math:`b = R \sqrt{3/d}`.
    centre : str
        Middle of the box: "origin", or "mean" for the mean of the cloud.

    Attributes
    ----------
    centre_ : array of float64, shape (d,)
        Middle of the box.
    b_ : float
        Half its side.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).normal(size=(100, 3))
    >>> z = UniformBox(b=1.5).fit(cloud).sample(1000, random_state=7)
    >>> z.shape, bool(abs(z).max() <= 1.5)
    ((1000, 3), True)
    """

    _least_points = 1

    def __init__(self, b: float | None = 1.5, *, centre: str = "origin") -> None:
        self.b = b
        self.centre = centre

    def _learn(self, z: np.ndarray) -> None:
        self.centre_ = _centre(z, self.centre)
        b = _rms_radius(z, self.centre_) * math.sqrt(3.0 / z.shape[1]) if self.b is None else float(self.b)
        check_above_zero("b", b)
        self.b_ = b

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-self.b_, self.b_, (n, len(self.centre_))) + self.centre_

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        inside = (np.abs(rows - self.centre_) <= self.b_).all(axis=1)
        return np.where(inside, -len(self.centre_) * math.log(2.0 * self.b_), -np.inf)


class SphereShell(Sampler):
    """Uniform on the surface of a sphere.

    It has no density in space, so no `score_samples`.

    Parameters
    ----------
    radius : float or None
        Radius, above 0, in units of z; None takes the cloud's root mean square distance from the centre.
    centre : str
        Centre of the sphere: "origin", or "mean" for the mean of the cloud.

    Attributes
    ----------
    centre_ : array of float64, shape (d,)
        Centre of the sphere.
    radius_ : float
        Its radius.

    References
    ----------
    .. [1] M. E. Muller (1959), A note on a method for generating points uniformly on N-dimensional spheres,
       Communications of the ACM 2, 19-20.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).normal(size=(100, 3))
    >>> z = SphereShell(radius=2.0).fit(cloud).sample(5, random_state=7)
    >>> np.linalg.norm(z, axis=1)
    array([2., 2., 2., 2., 2.])
    """

    _least_points = 1

    def __init__(self, radius: float | None = None, *, centre: str = "origin") -> None:
        self.radius = radius
        self.centre = centre

    def _learn(self, z: np.ndarray) -> None:
        self.centre_ = _centre(z, self.centre)
        radius = _rms_radius(z, self.centre_) if self.radius is None else float(self.radius)
        check_above_zero("radius", radius)
        self.radius_ = radius

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.radius_ * directions(n, len(self.centre_), rng) + self.centre_


def directions(n: int, d: int, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Draw directions uniformly, as normal vectors divided by their length.

    Parameters
    ----------
    n, d : int
        Number of directions and of components.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    array of float64, shape (n, d)
        Vectors of length 1.

    Examples
    --------
    >>> np.linalg.norm(directions(2, 5, np.random.default_rng(0)), axis=1)
    array([1., 1.])
    """
    g = rng.standard_normal((n, d))
    return g / np.linalg.norm(g, axis=1, keepdims=True)


def _centre(z: np.ndarray, centre: str) -> Float[np.ndarray, " d"]:
    check_choice("centre", centre, ("origin", "mean"))
    return np.zeros(z.shape[1]) if centre == "origin" else _mean(z)


def _mean(z: np.ndarray) -> Float[np.ndarray, " d"]:
    first = z[0].astype(np.float64)
    return first + np.sum([(rows - first).sum(axis=0) for _, rows in checked_blocks(z)], axis=0) / len(z)


def _rms_radius(z: np.ndarray, centre: np.ndarray) -> float:
    square = sum(float(np.square(rows - centre).sum()) for _, rows in checked_blocks(z)) / len(z)
    if square == 0:
        raise ValueError(
            f"all points (n_samples={len(z)}) lie at the centre, so they tell no size; state one."
        )
    return math.sqrt(square)


class StandardNormal(DensitySampler):
    """The normal law N(0, I), whatever the cloud: what a variational autoencoder would be sampled with.

    Fitting only counts the components.

    Examples
    --------
    >>> StandardNormal().fit(np.full((3, 2), 5.0)).sample(2, random_state=0).round(2)
    array([[ 0.13, -0.13],
           [ 0.64,  0.1 ]])
    """

    _least_points = 1

    def _learn(self, z: np.ndarray) -> None:
        """Leave it at the number of components, which is known by now."""

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, self.n_features_in_))

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        return log_standard_normal(rows)


class MultivariateNormal(PrincipalSampler):
    r"""The normal law :math:`N(\mu, T^2 \Sigma)` with the mean and the covariance of the cloud.

    A singular covariance is no obstacle: the law then lives in the plane of the points. Of n points in d > n
    dimensions, too; shrinkage lets it fill the space.

    Parameters
    ----------
    mean : str
        "fitted" takes the cloud's mean. "dropped" takes the origin in its place, with the covariance about the mean as
        before: the law N(0, Σ).
    covariance : str
        "full", or "diagonal" for independent components.
    shrinkage : str
        "none", or how much of the multiple of the unit matrix with the same trace is mixed in: "ledoit-wolf" [1]_ or
        "oas" [2]_ (oracle approximating shrinkage).
    core : float
        Share of the points, in (0, 1], that mean and covariance are estimated from: those with the least Mahalanobis
        distances. Distances and estimates take turns until the same points stay, five times at the most, as the
        concentration steps of [3]_. The covariance is divided by what a normal cloud of n points loses by the first
        cut (its squared distances follow a beta law [4]_).
    temperature : float
        Factor T of all deviations from the mean, above 0; 1 is the fitted law.

    Attributes
    ----------
    covariance_ : array of float64, shape (d, d)
        Estimated covariance :math:`\Sigma`, in squared units of z; that of the law is T² times this one.
    shrinkage_ : float
        Weight of the unit matrix, in [0, 1].
    mean_ : array of float64, shape (d,)
        Mean of the law.
    axes_ : array of float64, shape (k, d)
        Principal axes of the covariance as rows.
    variances_ : array of float64, shape (k,)
        Variances of the law along the axes, with T².

    References
    ----------
    .. [1] O. Ledoit and M. Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal
       of Multivariate Analysis 88, 365-411.
    .. [2] Y. Chen, A. Wiesel, Y. C. Eldar and A. O. Hero (2010), Shrinkage algorithms for MMSE covariance estimation,
       IEEE Transactions on Signal Processing 58, 5016-5029.
    .. [3] P. J. Rousseeuw and K. Van Driessen (1999), A fast algorithm for the minimum covariance determinant
       estimator, Technometrics 41, 212-223.
    .. [4] R. Gnanadesikan and J. R. Kettenring (1972), Robust estimates, residuals, and outlier detection with
       multiresponse data, Biometrics 28, 81-124.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).multivariate_normal([3.0, -1.0], [[4.0, 1.0], [1.0, 1.0]], 10_000)
    >>> normal = MultivariateNormal().fit(cloud)
    >>> normal.mean_.round(), normal.covariance_.round()
    (array([ 3., -1.]), array([[4., 1.], [1., 1.]]))
    """

    def __init__(
        self,
        *,
        mean: str = "fitted",
        covariance: str = "full",
        shrinkage: str = "none",
        core: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        self.mean = mean
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.core = core
        self.temperature = temperature

    def _learn(self, z: np.ndarray) -> None:
        self._check_parameters()
        inside = np.ones(len(z), dtype=bool) if self.core == 1 else _core(z, self.core)
        moments = _moments_of(z, inside)
        self.shrinkage_ = _shrinkage(self.shrinkage, z, inside, moments)
        kept = (
            1.0
            if inside.all()
            else kept_variance(
                len(z), len(resolved_axes(moments, precision=z.dtype).axes), float(inside.mean())
            )
        )
        covariance = _shrunk(moments.covariance / kept, self.shrinkage_)
        if self.covariance == "diagonal":
            covariance = np.diag(np.diagonal(covariance))
        self.covariance_ = np.ascontiguousarray(covariance)
        mean = moments.mean if self.mean == "fitted" else np.zeros_like(moments.mean)
        # Of two points, the scatter is the covariance.
        axes = resolved_axes(Moments(2, mean, self.covariance_), precision=z.dtype)
        variances = self.temperature**2 * axes.variances
        self._set_axes(PrincipalAxes(mean, axes.axes, variances, float(variances.sum())))

    def _check_parameters(self) -> None:
        check_choice("mean", self.mean, ("fitted", "dropped"))
        check_choice("covariance", self.covariance, ("full", "diagonal"))
        check_choice("shrinkage", self.shrinkage, ("none", "ledoit-wolf", "oas"))
        check_above_zero("temperature", self.temperature)
        if not 0 < self.core <= 1:
            raise ValueError(f"core must be a share above 0 and at most 1, not {self.core}.")

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, len(self.axes_)))

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        return log_standard_normal(u)


def _core(z: np.ndarray, share: float) -> Bool[np.ndarray, " n"]:
    """Find the points nearest to their own mean, by their own covariance."""
    h = math.ceil(share * len(z))
    if h <= z.shape[1] + 1:
        raise ValueError(
            f"a core of {share} of {len(z)} points holds {h}, but needs more than d + 1 = {z.shape[1] + 1}: with "
            "fewer, all are equally far from their mean. Take more points or core=1."
        )
    inside = np.ones(len(z), dtype=bool)
    for _ in range(_CORE_STEPS):
        before = inside
        distance = _distances(z, resolved_axes(_moments_of(z, inside), precision=z.dtype))
        inside = np.zeros(len(z), dtype=bool)
        inside[np.argsort(distance, kind="stable")[:h]] = True
        if (inside == before).all():
            break
    return inside


def _chosen(z: np.ndarray, inside: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[inside[where]] for where, rows in checked_blocks(z) if inside[where].any())


def _moments_of(z: np.ndarray, inside: np.ndarray) -> Moments:
    if inside.all():
        return measure_moments(z)
    parts = map(measure_moments, _chosen(z, inside))
    total = next(parts)
    for part in parts:
        total += part
    return total


def _distances(z: np.ndarray, axes: PrincipalAxes) -> Float[np.ndarray, " n"]:
    """Squared Mahalanobis distances within the plane of the axes, plus what a point is off it."""
    out = np.empty(len(z))
    for where, rows in checked_blocks(z):
        centred = rows - axes.mean
        y = centred @ axes.axes.T
        off = np.maximum(np.square(centred).sum(axis=1) - np.square(y).sum(axis=1), 0.0)
        out[where] = (y**2 / axes.variances).sum(axis=1) + off / axes.variances[-1]
    return out


def _shrinkage(method: str, z: np.ndarray, inside: np.ndarray, moments: Moments) -> float:
    """Return the weight of the unit matrix, from the biased covariance as the two methods have it."""
    d, n = len(moments.mean), moments.n
    if method == "none" or d == 1:
        return 0.0
    covariance = moments.scatter / n
    square, level = float(np.square(covariance).sum()), float(np.trace(covariance)) / d
    distance = square - d * level**2  # squared, from the multiple of the unit matrix
    if distance <= 1e-15 * square:
        return 1.0
    if method == "oas":
        return min((square / d**2 + level**2) / ((n + 1) * distance / d**2), 1.0)
    fourth = sum(float(np.square(_square_lengths(rows, moments.mean)).sum()) for rows in _chosen(z, inside))
    return min(max((fourth / n - square) / n, 0.0) / distance, 1.0)


def _square_lengths(rows: np.ndarray, mean: np.ndarray) -> Float[np.ndarray, " n"]:
    return np.square(rows - mean).sum(axis=1)


def _shrunk(covariance: np.ndarray, weight: float) -> Float[np.ndarray, "d d"]:
    d = len(covariance)
    return (1.0 - weight) * covariance + weight * np.trace(covariance) / d * np.eye(d)
