"""Samplers that follow the points closer than one normal law: empirical marginals, copula, mixture, neighbours."""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular
from sklearn import mixture
from sklearn.neighbors import NearestNeighbors

from aelib.blocks import checked_blocks
from aelib.marginals import Marginals, fit_marginals
from aelib.moments import measure_moments
from aelib.pca import PrincipalAxes, principal_axes, resolved_axes
from aelib.sampler import (
    DensitySampler,
    PrincipalSampler,
    Sampler,
    check_above_zero,
    check_choice,
    log_standard_normal,
)

_AXES = 32  # projected at a time


class PCAMarginals(PrincipalSampler):
    r"""Independent principal coordinates, each with the law that it has in the cloud.

    The laws are smoothed empirical quantiles with the cloud's exact variances, as `aelib.marginals.fit_marginals` has
    them; so the covariance is that of the cloud, and only the joint law of the coordinates is lost.

    Attributes
    ----------
    mean_ : array of float64, shape (d,)
        Mean of the cloud.
    axes_ : array of float64, shape (k, d)
        Principal axes as rows.
    variances_ : array of float64, shape (k,)
        Variances of the cloud along the axes.
    knots_ : array of float64, shape (m,)
        Normal scores at which the quantiles are kept.
    quantiles_ : array of float64, shape (m, k)
        Quantiles of the standardised coordinates there.
    tails_ : array of float64, shape (2, k)
        Slopes of the quantile functions beyond the first and the last knot.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).exponential(size=(10_000, 2))
    >>> z = PCAMarginals().fit(cloud).sample(10_000, random_state=7)
    >>> z.mean(axis=0).round(1), z.std(axis=0).round(1)
    (array([1., 1.]), array([1., 1.]))
    """

    def _learn(self, z: np.ndarray) -> None:
        axes = resolved_axes(measure_moments(z), precision=z.dtype)
        self._set_axes(axes)
        groups = [self._marginals_of(z, axes, first) for first in range(0, len(axes.axes), _AXES)]
        self.knots_ = groups[0].knots
        self.quantiles_ = np.ascontiguousarray(np.concatenate([group.values for group in groups], axis=1))
        self.tails_ = np.ascontiguousarray(np.concatenate([group.tails for group in groups], axis=1))

    def _marginals_of(self, z: np.ndarray, axes: PrincipalAxes, first: int) -> Marginals:
        group = slice(first, first + _AXES)
        part = PrincipalAxes(axes.mean, axes.axes[group], axes.variances[group], axes.total_variance)
        return fit_marginals(part.transform(z) / np.sqrt(part.variances))

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self._marginals().quantile(rng.standard_normal((n, len(self.axes_))))

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        marginals = self._marginals()
        x = marginals.scores(u)
        return log_standard_normal(x) - marginals.log_slope(x).sum(axis=1)

    def _marginals(self) -> Marginals:
        return Marginals(self.knots_, self.quantiles_, self.tails_)


class GaussianCopula(DensitySampler):
    r"""Components with the laws that they have in the cloud, tied together as those of a normal law are.

    Each component is :math:`z_j = T_j(x_j)`, with its smoothed empirical quantiles T as in
    `aelib.marginals.fit_marginals`, and x normal with the correlations of the points' normal scores.

    If these correlations are singular, as of fewer points than dimensions, points are drawn but have no density in
    space, and `score_samples` refuses.

    Attributes
    ----------
    knots_ : array of float64, shape (m,)
        Normal scores at which the quantiles are kept.
    quantiles_ : array of float64, shape (m, d)
        Quantiles of the components there, in units of z.
    tails_ : array of float64, shape (2, d)
        Slopes of the quantile functions beyond the first and the last knot.
    varying_ : array of int, shape (v,)
        Components that are not constant.
    correlation_ : array of float64, shape (v, v)
        Correlation of their normal scores.
    axes_ : array of float64, shape (k, v)
        Principal axes of the correlation as rows.
    variances_ : array of float64, shape (k,)
        Variances along them.

    References
    ----------
    .. [1] R. B. Nelsen (2006), An Introduction to Copulas, 2nd ed., Springer.

    Examples
    --------
    >>> x = np.random.default_rng(0).multivariate_normal([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], 10_000)
    >>> copula = GaussianCopula().fit(np.exp(x))
    >>> copula.correlation_.round(1)
    array([[1. , 0.8],
           [0.8, 1. ]])
    """

    def _learn(self, z: np.ndarray) -> None:
        marginals = fit_marginals(z)
        self.knots_ = marginals.knots
        self.quantiles_ = np.ascontiguousarray(marginals.values)
        self.tails_ = np.ascontiguousarray(marginals.tails)
        self.varying_ = np.flatnonzero(marginals.values[0] < marginals.values[-1])
        if len(self.varying_) == 0:
            raise ValueError("the cloud has no variance: all its points are the same.")
        parts = (measure_moments(self._scores(rows)) for _, rows in checked_blocks(z))
        moments = next(parts)
        for part in parts:
            moments += part
        self.correlation_ = moments.correlation
        axes = principal_axes(moments.standardised)
        self.axes_, self.variances_ = np.ascontiguousarray(axes.axes), np.ascontiguousarray(axes.variances)

    def _scores(self, rows: np.ndarray) -> Float[np.ndarray, "n v"]:
        return self._marginals().scores(rows)[:, self.varying_]

    def _marginals(self) -> Marginals:
        return Marginals(self.knots_, self.quantiles_, self.tails_)

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        x = np.zeros((n, self.quantiles_.shape[1]))
        x[:, self.varying_] = (
            rng.standard_normal((n, len(self.axes_))) * np.sqrt(self.variances_)
        ) @ self.axes_
        return self._marginals().quantile(x)

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        if len(self.axes_) < len(self.varying_):
            raise ValueError(
                f"the normal scores of the {len(self.varying_)} components vary along {len(self.axes_)} axes only, so "
                "the law has no density; fit it to more points, or score a law in principal coordinates."
            )
        marginals = self._marginals()
        x = marginals.scores(rows)
        u = x[:, self.varying_] @ self.axes_.T / np.sqrt(self.variances_)
        value = (
            log_standard_normal(u) - 0.5 * np.log(self.variances_).sum() - marginals.log_slope(x).sum(axis=1)
        )
        constant = np.delete(np.arange(len(x.T)), self.varying_)
        level = self.quantiles_[0, constant]
        off = np.abs(rows[:, constant] - level) > 1e-6 * np.abs(level)  # single precision may round it
        return np.where(off.any(axis=1), -np.inf, value)


class GaussianMixture(PrincipalSampler):
    r"""A mixture of normal laws in the cloud's principal coordinates, fitted by scikit-learn.

    The leading coordinates follow the mixture; the others, if any, are independent and normal with their variances. As
    usual, the likelihood is climbed by expectation and maximisation, which ends in the nearest local maximum.

    Parameters
    ----------
    n_components : int
        Number of normal laws, at least 1.
    covariance_type : str
        "full", "tied" (one for all), "diag" or "spherical".
    space : str
        "whitened" gives all coordinates unit variance, so that they count alike in the start (k-means), in `reg_covar`
        and in "spherical"; "principal" leaves them in units of z.
    n_axes : int or None
        Number of leading coordinates that follow the mixture; None takes all that have variance.
    reg_covar : float
        Added to the variances of each law, in squared units of the space.
    max_iter : int
        Most iterations.
    tol : float
        Gain of the mean log-likelihood per iteration at which the climb ends.
    random_state : int
        Seed of the start.

    Attributes
    ----------
    mean_ : array of float64, shape (d,)
        Mean of the cloud.
    axes_ : array of float64, shape (k, d)
        Principal axes as rows.
    variances_ : array of float64, shape (k,)
        Variances of the cloud along the axes.
    weights_ : array of float64, shape (c,)
        Shares of the normal laws.
    means_ : array of float64, shape (c, a)
        Their means in the leading coordinates, in units of the space.
    covariances_, precisions_cholesky_ : array of float64
        Their covariances, and roots of the inverses, in scikit-learn's form for the covariance type.

    References
    ----------
    .. [1] P. Ghosh, M. S. M. Sajjadi, A. Vergari, M. Black and B. Schölkopf (2020), From variational to deterministic
       autoencoders, International Conference on Learning Representations.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cloud = rng.normal(size=(2000, 2)) + np.where(rng.random(2000) < 0.25, 8.0, 0.0)[:, None]
    >>> GaussianMixture(2).fit(cloud).weights_.round(2)
    array([0.74, 0.26])
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        covariance_type: str = "full",
        space: str = "whitened",
        n_axes: int | None = None,
        reg_covar: float = 1e-6,
        max_iter: int = 200,
        tol: float = 1e-3,
        random_state: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.space = space
        self.n_axes = n_axes
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _learn(self, z: np.ndarray) -> None:
        check_choice("covariance_type", self.covariance_type, ("full", "tied", "diag", "spherical"))
        check_choice("space", self.space, ("whitened", "principal"))
        axes = resolved_axes(measure_moments(z), precision=z.dtype)
        self._set_axes(axes)
        leading = len(axes.axes) if self.n_axes is None else self.n_axes
        if not 1 <= leading <= len(axes.axes):
            raise ValueError(
                f"n_axes must be 1 to {len(axes.axes)}, the axes with variance, not {self.n_axes}."
            )
        part = PrincipalAxes(axes.mean, axes.axes[:leading], axes.variances[:leading], axes.total_variance)
        found = self._mixture().fit(part.transform(z) / self._scale(leading))
        self.weights_, self.means_ = found.weights_, np.ascontiguousarray(found.means_)
        self.covariances_ = np.ascontiguousarray(found.covariances_)
        self.precisions_cholesky_ = np.ascontiguousarray(found.precisions_cholesky_)

    def _mixture(self) -> mixture.GaussianMixture:
        return mixture.GaussianMixture(
            self.n_components,
            covariance_type=self.covariance_type,
            reg_covar=self.reg_covar,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
        )

    def _scale(self, leading: int) -> Float[np.ndarray, " a"]:
        """Return the unit of the space along each leading axis, in units of z."""
        return np.sqrt(self.variances_[:leading]) if self.space == "whitened" else np.ones(leading)

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        u = rng.standard_normal((n, len(self.axes_)))
        leading = self.means_.shape[1]
        component = rng.choice(len(self.weights_), size=n, p=self.weights_ / self.weights_.sum())
        y = self.means_[component] + self._deviations(component, u[:, :leading])
        u[:, :leading] = y * (self._scale(leading) / np.sqrt(self.variances_[:leading]))
        return u

    def _deviations(self, component: np.ndarray, g: np.ndarray) -> Float[np.ndarray, "n a"]:
        """Turn standard normal vectors into deviations from the means of these components."""
        if self.covariance_type in ("diag", "spherical"):
            scale = np.sqrt(self.covariances_)[component]
            return g * (scale if self.covariance_type == "diag" else scale[:, None])
        out, roots = np.empty_like(g), self.precisions_cholesky_
        for k in np.unique(component):
            root = roots if self.covariance_type == "tied" else roots[k]
            # The precision is U U' with U upper triangular, so U'^-1 g has its inverse as covariance.
            out[component == k] = solve_triangular(root, g[component == k].T, trans="T").T
        return out

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        leading = self.means_.shape[1]
        stretch = np.sqrt(self.variances_[:leading]) / self._scale(leading)
        found = self._mixture()
        found.weights_, found.means_ = self.weights_, self.means_
        found.covariances_, found.precisions_cholesky_ = self.covariances_, self.precisions_cholesky_
        inner = found.score_samples(u[:, :leading] * stretch) + np.log(stretch).sum()
        return inner + log_standard_normal(u[:, leading:])


class NeighbourInterpolation(Sampler):
    r"""Points between a point of the cloud and its neighbours.

    A point :math:`z` of the cloud is drawn, and moved by its k nearest neighbours :math:`z_j` in the cloud: with
    "segment", towards one of them, :math:`z + t (z_j - z)` with t uniform in [0, scale] [1]_; with "kernel", by
    :math:`\text{scale} \cdot \sum_j g_j (z_j - z) / \sqrt k` with standard normal g, a normal kernel with the local
    scatter as covariance [2]_. Segments draw the cloud together, kernels widen it. Small scales nearly copy points:
    have the copying audit judge. It has no `score_samples`: the law lives on segments or on planes of k dimensions.

    Parameters
    ----------
    k : int
        Number of neighbours, at least 1 and below the number of points.
    draw : str
        "segment" or "kernel".
    scale : float
        Largest step, above 0, as a share of the way to a neighbour; 1 at the most for "segment".

    Attributes
    ----------
    points_ : array of float, shape (n, d)
        The cloud, in its own precision; it is kept, not copied.

    References
    ----------
    .. [1] N. V. Chawla, K. W. Bowyer, L. O. Hall and W. P. Kegelmeyer (2002), SMOTE: synthetic minority over-sampling
       technique, Journal of Artificial Intelligence Research 16, 321-357.
    .. [2] P. Vincent and Y. Bengio (2003), Manifold Parzen windows, Advances in Neural Information Processing
       Systems 15, 849-856.

    Examples
    --------
    >>> cloud = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 9.0], [1.0, 9.0]])
    >>> z = NeighbourInterpolation(1).fit(cloud).sample(100, random_state=7)
    >>> np.unique(z[:, 1])
    array([0., 9.])
    """

    def __init__(self, k: int = 5, *, draw: str = "segment", scale: float = 1.0) -> None:
        self.k = k
        self.draw = draw
        self.scale = scale

    def _learn(self, z: np.ndarray) -> None:
        check_choice("draw", self.draw, ("segment", "kernel"))
        check_above_zero("scale", self.scale)
        if self.draw == "segment" and self.scale > 1:
            raise ValueError(f"scale must be at most 1 with draw='segment', not {self.scale}.")
        if not 1 <= self.k < len(z):
            raise ValueError(f"k must be at least 1 and below n_samples = {len(z)}, not {self.k}.")
        self.points_ = np.ascontiguousarray(z)

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        own = rng.integers(len(self.points_), size=n)
        neighbours = self._neighbours(own)
        if self.draw == "segment":
            neighbours = neighbours[np.arange(n), rng.integers(self.k, size=n)][:, None]
            weights = self.scale * rng.random((n, 1))
        else:
            weights = self.scale * rng.standard_normal((n, self.k)) / math.sqrt(self.k)
        out = self.points_[own].astype(np.float64)
        base = out.copy()
        for column, weight in zip(neighbours.T, weights.T, strict=True):
            out += weight[:, None] * (self.points_[column] - base)
        return out

    def _neighbours(self, own: np.ndarray) -> Int[np.ndarray, "n k"]:
        """Return the rows of the nearest neighbours of points of the cloud, without the points themselves."""
        origin = self.points_.mean(axis=0)  # products of numbers far from 0 would lose digits
        search = NearestNeighbors(n_neighbors=self.k + 1, algorithm="brute").fit(self.points_ - origin)
        found = search.kneighbors(self.points_[own] - origin, return_distance=False)
        # Among equal points, a point itself need not come first, nor at all: then the last one goes.
        other = found != own[:, None]
        other[other.all(axis=1), -1] = False
        return found[other].reshape(len(own), self.k)
