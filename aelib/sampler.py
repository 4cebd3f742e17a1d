"""What all samplers share: fitted to z-points, they draw new ones, and tell their density where there is one."""

import math
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from aelib.blocks import checked_blocks
from aelib.pca import PrincipalAxes

_Fitted = TypeVar("_Fitted", bound="Sampler")
_OFF_PLANE = 1e-5  # of a cloud's size: what single precision may lead astray


class Sampler(BaseEstimator):
    """A law of z-points that is fitted to a cloud and draws new points from it.

    It is a scikit-learn estimator. A subclass writes `_learn(z)`, which sets the fitted attributes, and
    `_draw(n, rng)`. Parameters are checked when it is fitted.
    """

    _least_points = 2

    def fit(self: _Fitted, z: Any, y: Any = None) -> _Fitted:  # noqa: ARG002
        """Fit the law to a cloud of z-points.

        Parameters
        ----------
        z : array-like of float, shape (n, d)
            The z-points, in memory or memory-mapped; they are read block by block.
        y : object
            Ignored; scikit-learn's pipelines pass it.

        Returns
        -------
        Sampler
            The sampler itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or `z` is no cloud of enough finite points.
        """
        points = validate_data(self, z, dtype=[np.float64, np.float32], ensure_min_samples=self._least_points)
        self._learn(points)
        return self

    def sample(
        self, n_samples: int = 1, *, random_state: int | np.random.Generator | None = None
    ) -> Float[np.ndarray, "n d"]:
        """Draw points from the fitted law.

        Parameters
        ----------
        n_samples : int
            Number of points n, at least 1.
        random_state : int, numpy.random.Generator or None
            Seed or generator; None draws other points at every call.

        Returns
        -------
        array of float64, shape (n, d)
            Independent points, in units of z.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called before.
        ValueError
            If `n_samples` is below 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, not {n_samples}.")
        return self._draw(n_samples, np.random.default_rng(random_state))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags

    def _learn(self, z: np.ndarray) -> None:
        raise NotImplementedError

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError


def _has_density(sampler: "DensitySampler") -> bool:
    return sampler._density_known()


class DensitySampler(DensityMixin, Sampler):
    """A sampler whose law has a density.

    A subclass also writes `_log_density(rows)`. One whose density is known for some of its parameters only says so by
    `_density_known()`: for the others, it has neither `score_samples` nor `score`.
    """

    def _density_known(self) -> bool:
        return True

    @available_if(_has_density)
    def score_samples(self, z: Any) -> Float[np.ndarray, " n"]:
        """Compute the logarithm of the law's density at points.

        Parameters
        ----------
        z : array-like of float, shape (n, d)
            The points.

        Returns
        -------
        array of float64, shape (n,)
            Natural logarithms, of probability per unit volume; minus infinity where the density is 0. If the law lives
            in a plane of fewer dimensions, the volume is that of the plane, and the density is 0 off it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called before.
        ValueError
            If `z` is no cloud of finite points with the components of the fitted one.
        """
        check_is_fitted(self)
        points = validate_data(self, z, dtype=[np.float64, np.float32], reset=False)
        out = np.empty(len(points))
        for where, rows in checked_blocks(points):
            out[where] = self._log_density(rows.astype(np.float64))
        return out

    @available_if(_has_density)
    def score(self, z: Any, y: Any = None) -> float:  # noqa: ARG002
        """Compute the mean log-density of points, as cross-validation asks for it.

        Parameters
        ----------
        z : array-like of float, shape (n, d)
            The points.
        y : object
            Ignored; scikit-learn's pipelines pass it.

        Returns
        -------
        float
            Mean of `score_samples`.
        """
        return float(self.score_samples(z).mean())

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class PrincipalSampler(DensitySampler):
    r"""A law of the standardised principal coordinates :math:`u_k = a_k \cdot (z - \mu) / \sqrt{\lambda_k}` of a cloud.

    A subclass sets the axes by `_set_axes` and writes `_draw_units(n, rng)` and `_log_units(u)`, the law of u.
    Directions without variance are no axes: there, all points have the mean's coordinates.

    Attributes
    ----------
    mean_ : array of float64, shape (d,)
        Centre :math:`\mu` of the law.
    axes_ : array of float64, shape (k, d)
        Orthonormal axes :math:`a_k` as rows.
    variances_ : array of float64, shape (k,)
        Variances :math:`\lambda_k` along the axes, in squared units of z.
    """

    def _set_axes(self, axes: PrincipalAxes) -> None:
        """Keep the axes, in units of z."""
        # One memory layout, so that a sampler that was saved and loaded multiplies in the same order.
        self.mean_ = np.ascontiguousarray(axes.mean)
        self.axes_ = np.ascontiguousarray(axes.axes)
        self.variances_ = np.ascontiguousarray(axes.variances)

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return (self._draw_units(n, rng) * np.sqrt(self.variances_)) @ self.axes_ + self.mean_

    def _log_density(self, rows: np.ndarray) -> np.ndarray:
        centred = rows - self.mean_
        y = centred @ self.axes_.T
        logarithm = self._log_units(y / np.sqrt(self.variances_)) - 0.5 * np.log(self.variances_).sum()
        if len(self.axes_) == len(self.mean_):
            return logarithm
        size = math.sqrt(self.variances_.sum() + self.mean_ @ self.mean_)
        off = np.linalg.norm(centred - y @ self.axes_, axis=1) > _OFF_PLANE * size
        return np.where(off, -np.inf, logarithm)

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def _log_units(self, u: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def log_standard_normal(u: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    r"""Compute the log-density of the standard normal law, :math:`-(|u|^2 + k \ln 2\pi) / 2`.

    Parameters
    ----------
    u : array of float, shape (n, k)
        Points.

    Returns
    -------
    array of float64, shape (n,)
        Natural logarithms.

    Examples
    --------
    >>> log_standard_normal(np.zeros((1, 2))).round(4)
    array([-1.8379])
    """
    return -0.5 * (np.square(u).sum(axis=1) + u.shape[1] * math.log(2.0 * math.pi))


def check_above_zero(name: str, value: float) -> None:
    """Refuse a parameter that is not a finite number above 0.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : float
        Its value.

    Raises
    ------
    ValueError
        If the value is not finite or not above 0.

    Examples
    --------
    >>> check_above_zero("k", 1.5)
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and above 0, not {value}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a parameter that is none of its choices.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : str
        Its value.
    choices : tuple of str
        What it may be.

    Raises
    ------
    ValueError
        If the value is none of the choices.

    Examples
    --------
    >>> check_choice("draw", "normal", ("uniform", "normal"))
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}.")
