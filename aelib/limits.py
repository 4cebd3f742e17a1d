"""Samplers that keep to limits: ranges of the components, ellipses in all pairs, the ellipsoid of a stated coverage."""

import math

import numpy as np
from scipy.special import erf, erfinv, gammaincinv

from aelib.densities import FWHM_PER_SIGMA, fit_gaussians, number_densities
from aelib.laws import directions
from aelib.moments import measure_moments
from aelib.pca import resolved_axes
from aelib.sampler import (
    DensitySampler,
    PrincipalSampler,
    check_above_zero,
    check_choice,
    log_standard_normal,
)


class ComponentRanges(DensitySampler):
    r"""Independent components, each uniform within its own bell curve: :math:`\mu_j \pm k h_j`.

    Centre and half-width h (half of the full width at half maximum) are those of a Gaussian fitted to the component's
    number density. Where it is too narrow or too irregular for a fit, they are its mean and 1.18 standard deviations;
    a constant component stays constant.

    Parameters
    ----------
    k : float
        The range in half-widths, above 0.
    width : float
        Width of the number densities' intervals, above 0, in units of z.

    Attributes
    ----------
    centre_ : array of float64, shape (d,)
        Centre of each range, in units of z.
    reach_ : array of float64, shape (d,)
        Half of its length.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).normal([0.0, 5.0], [1.0, 2.0], (50_000, 2))
    >>> ranges = ComponentRanges(k=2.0).fit(cloud)
    >>> ranges.centre_.round(1), ranges.reach_.round(1)
    (array([0., 5.]), array([2.3, 4.7]))
    """

    def __init__(self, k: float = 1.0, *, width: float = 0.25) -> None:
        self.k = k
        self.width = width

    def _learn(self, z: np.ndarray) -> None:
        check_above_zero("k", self.k)
        fits, moments = fit_gaussians(number_densities(z, width=self.width)), measure_moments(z)
        self.centre_ = np.where(fits.fitted, fits.centre, moments.mean)
        sigma = np.where(fits.fitted, fits.sigma, moments.std)
        self.reach_ = 0.5 * self.k * FWHM_PER_SIGMA * sigma

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, (n, len(self.centre_))) * self.reach_ + self.centre_

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        # Single precision may round a constant component off its value.
        rounding = np.where(self.reach_ == 0, 1e-6 * np.abs(self.centre_), 0.0)
        inside = (np.abs(rows - self.centre_) <= self.reach_ + rounding).all(axis=1)
        return np.where(inside, -np.log(2.0 * self.reach_[self.reach_ > 0]).sum(), -np.inf)


class EllipseLimited(PrincipalSampler):
    r"""Points inside the ellipses at f standard deviations in all planes of two principal coordinates.

    The coordinates are visited one after the other. The first is drawn in :math:`\pm f`, in standard deviations; each
    next one within :math:`|u_j| \le \sqrt{f^2 - \max_i u_i^2}` over those already drawn. So every pair lies inside its
    ellipse, and no draw is thrown away. The law is not that of the normal points inside the ellipses: what the first
    coordinates take, the later ones lack. It has `score_samples` with order="variance" only: the other law is a mean
    over all orders.

    Parameters
    ----------
    f : float
        Size of the ellipses in standard deviations, above 0.
    order : str
        "variance" visits the coordinates from the widest to the narrowest; "random" visits them in an order of its own
        for each point.
    n_components : int or None
        Number of leading principal coordinates, at least 1; the others keep the mean's values. None takes all that
        have variance.
    draw : str
        Law of each coordinate within its limits: "uniform", or "normal" for the standard normal law cut off there.

    Attributes
    ----------
    mean_ : array of float64, shape (d,)
        Mean of the cloud, centre of the ellipses.
    axes_ : array of float64, shape (k, d)
        Principal axes as rows.
    variances_ : array of float64, shape (k,)
        Variances of the cloud along the axes.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).normal(size=(1000, 3))
    >>> sampler = EllipseLimited(f=2.5).fit(cloud)
    >>> u = (sampler.sample(500, random_state=7) - sampler.mean_) @ sampler.axes_.T / np.sqrt(sampler.variances_)
    >>> largest = np.sort(u**2, axis=1)[:, -2:].sum(axis=1)
    >>> bool((largest <= 2.5**2 + 1e-9).all())
    True
    """

    def __init__(
        self,
        f: float = 2.5,
        *,
        order: str = "variance",
        n_components: int | None = None,
        draw: str = "uniform",
    ) -> None:
        self.f = f
        self.order = order
        self.n_components = n_components
        self.draw = draw

    def _learn(self, z: np.ndarray) -> None:
        check_above_zero("f", self.f)
        check_choice("order", self.order, ("variance", "random"))
        check_choice("draw", self.draw, ("uniform", "normal"))
        self._set_axes(resolved_axes(measure_moments(z), precision=z.dtype, k=self.n_components))

    def _density_known(self) -> bool:
        return self.order == "variance"  # else it is a mean over all orders

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        u = np.empty((n, len(self.axes_)))
        largest = np.zeros(n)
        for column in u.T:
            reach = np.sqrt(np.maximum(self.f**2 - largest, 0.0))
            column[:] = self._within(reach, rng.uniform(-1.0, 1.0, n))
            np.maximum(largest, column**2, out=largest)
        # In standard deviations, all coordinates have one law: to visit in random order is to hand them out at random.
        return rng.permuted(u, axis=1) if self.order == "random" else u

    def _within(self, reach: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Map numbers that are uniform in [-1, 1] to the law of a coordinate within its limits."""
        if self.draw == "uniform":
            return reach * v
        return math.sqrt(2.0) * erfinv(v * erf(reach / math.sqrt(2.0)))

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        largest = np.maximum.accumulate(u**2, axis=1)
        largest = np.pad(largest, ((0, 0), (1, 0)))[:, :-1]  # of those drawn before
        room = self.f**2 - largest
        inside = (u**2 <= room + 1e-9 * self.f**2).all(axis=1)  # the border, as rounding leaves it
        reach = np.sqrt(np.maximum(room, 1e-9 * self.f**2))
        if self.draw == "uniform":
            logarithm = -np.log(2.0 * reach).sum(axis=1)
        else:
            logarithm = log_standard_normal(u) - np.log(erf(reach / math.sqrt(2.0))).sum(axis=1)
        return np.where(inside, logarithm, -np.inf)


class TruncatedNormal(PrincipalSampler):
    r"""The normal law N(μ, Σ) of the cloud, cut off at the ellipsoid that holds a stated share of it.

    Drawn exactly: a uniform direction, and a Mahalanobis distance from the inverse of its chi law below the limit
    :math:`r`, where :math:`F_k(r^2)` is the coverage. Its covariance is
    :math:`\Sigma \, F_{k+2}(r^2) / F_k(r^2)`.

    Parameters
    ----------
    coverage : float
        Share of the normal law inside the ellipsoid, in (0, 1]; 1 is the whole normal law.

    Attributes
    ----------
    mean_ : array of float64, shape (d,)
        Mean of the cloud.
    axes_ : array of float64, shape (k, d)
        Principal axes as rows.
    variances_ : array of float64, shape (k,)
        Variances of the cloud along the axes, before the cut.
    radius_ : float
        The largest Mahalanobis distance r; infinite for a coverage of 1.

    Examples
    --------
    >>> cloud = np.random.default_rng(0).normal(size=(1000, 2))
    >>> round(TruncatedNormal(coverage=0.865).fit(cloud).radius_, 3)
    2.001
    """

    def __init__(self, coverage: float = 0.9) -> None:
        self.coverage = coverage

    def _learn(self, z: np.ndarray) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage must be above 0 and at most 1, not {self.coverage}.")
        self._set_axes(resolved_axes(measure_moments(z), precision=z.dtype))
        self.radius_ = math.sqrt(2.0 * gammaincinv(0.5 * len(self.axes_), self.coverage))

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        k = len(self.axes_)
        square = 2.0 * gammaincinv(0.5 * k, self.coverage * rng.random(n))
        return np.sqrt(square)[:, None] * directions(n, k, rng)

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        inside = np.square(u).sum(axis=1) <= self.radius_**2 * (1.0 + 1e-12)
        return np.where(inside, log_standard_normal(u) - math.log(self.coverage), -np.inf)
