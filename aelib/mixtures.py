"""The sampler that knows most of the cloud: cells, in which scales and correlations vary from point to point."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh, solve_triangular
from scipy.optimize import brentq
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from aelib.blocks import checked_blocks
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes, resolved_axes
from aelib.sampler import PrincipalSampler, check_above_zero

_LEAST = 30  # points of a cell
_LOG_VARIANCE = math.pi**2 / 8.0  # of the logarithm of a standard normal number's size
_SMALLEST = 1e-4  # deviations whose logarithms are told apart
_BANDS = 8  # groups of the axes that are not leading, each with one scale
_KEPT = 0.99  # share of the points whose squares count in full
_LOG_STRETCH = (-3.0, 1.5)  # what a direction may be stretched by, as logarithms
_TRIALS = 10_000  # draws behind the law of the modes
_BEND_STEPS = 8  # corrections of the bends at most
_BEND_SHARE = 0.75  # of the variance in any direction, that the bends take at most
_BLOCK = 2048  # points or draws at a time


class CellMixture(PrincipalSampler):
    r"""A mixture of the laws of cells of the cloud, in which scales and correlations vary from point to point.

    k-means parts the points into cells, by their principal coordinates over :math:`\lambda_k^{(1 - w) / 2}`. A cell c
    has the mean :math:`m_c` of its points, and on the k leading axes their covariance, mixed with the one within all
    cells as if that were so many points more: local principal components [1]_, shrunk as in [2]_. What the other axes
    add is common to all cells but for its size, for a cell's points are too few to tell more. With the resulting
    covariance :math:`\Sigma_c`, a point of the cell is

    .. math:: z = m_c + \Sigma_c^{1/2} x, \qquad
        x = e^t \Big(\sum_j y_j a_j + \exp\Big(\frac{1}{2} \sum_j y_j B_j\Big) g\Big),

    with standard normal g. The scale :math:`e^t` is common to all axes, as in Gaussian scale mixtures [3]_: images have
    more or less contrast. The modes :math:`B_j` change variances and correlations of the leading axes, and the variance
    of the others in bands: the logarithm of the covariance is linear in hidden normal variables y, as in [4]_. The same
    variables shift the point by :math:`a_j`, which bends the cloud.

    All is found from moments. The variance of t is that of the mean of :math:`\ln |x_k|` beyond what it is for normal
    x. The modes are the eigenmatrices of the fourth-order cumulants of :math:`x / e^t` [5]_, as many as chance alone
    would not give (above Marchenko and Pastur's edge); the variance of :math:`y_j` is such that the eigenvalue comes
    out. For this, a point's x is taken by the mean and the covariance of the cell's other half. The shifts are such
    that draws have the third-order moments of the points, of each axis with the quadratic form of each mode.

    Mean and covariance of the law are those of the cloud, the latter to a few per cent. A law of some hundred points a
    cell can hardly copy points, one of few can: have the copying audit judge. There is no density in closed form, so no
    `score_samples`. When it is fitted, it needs memory for the points in single precision once more.

    Parameters
    ----------
    cell_size : float
        Number of points in a cell, on average, above 0. There is one cell at least, and none of fewer than 30 points.
    prior : float
        Number of points, above 0, that the covariance within all cells counts for in each, on the leading axes.
    weighting : float
        The exponent w: 1 parts the points by their distances in z, 0 by their Mahalanobis distances.
    n_leading : int
        Number k of leading axes whose covariance varies, from cell to cell and by the modes, at least 1; all of them,
        if there are fewer.
    n_modes : int
        Largest number of modes, at least 0.
    random_state : int
        Seed of k-means, of the halves, and of the draws that measure the law of the modes.

    Attributes
    ----------
    weights_ : array of float64, shape (c,)
        Shares of the points in the cells.
    means_ : array of float64, shape (c, a)
        Means of the cells, in standardised principal coordinates.
    roots_ : array of float64, shape (c, a, a)
        Symmetric roots of their covariances, there.
    scale_deviation_ : float
        Standard deviation of t.
    modes_ : array of float64, shape (m, k, k)
        The modes on the leading axes.
    band_modes_ : array of float64, shape (m, a - k)
        The modes on the other axes.
    mode_deviations_ : array of float64, shape (m,)
        Standard deviations of y.
    bends_ : array of float64, shape (a, m)
        The shifts :math:`a_j`, as columns.
    correction_ : array of float64, shape (a, a)
        What brings the covariance of the stretched part to what the shifts leave of 1.

    References
    ----------
    .. [1] N. Kambhatla and T. K. Leen (1997), Dimension reduction by local principal component analysis, Neural
       Computation 9, 1493-1516.
    .. [2] J. H. Friedman (1989), Regularized discriminant analysis, Journal of the American Statistical Association 84,
       165-175.
    .. [3] M. J. Wainwright and E. P. Simoncelli (2000), Scale mixtures of Gaussians and the statistics of natural
       images, Advances in Neural Information Processing Systems 12, 855-861.
    .. [4] Y. Karklin and M. S. Lewicki (2009), Emergence of complex cell properties by learning to generalize in
       natural scenes, Nature 457, 83-86.
    .. [5] J.-F. Cardoso and A. Souloumiac (1993), Blind beamforming for non-Gaussian signals, IEE Proceedings F 140,
       362-370.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cloud = rng.normal(size=(4000, 2)) + np.repeat([[0.0, 0.0], [9.0, 9.0]], 2000, axis=0)
    >>> z = CellMixture(cell_size=2000).fit(cloud).sample(1000, random_state=7)
    >>> bool(((z[:, 0] > 4.5) == (z[:, 1] > 4.5)).all())
    True
    """

    def __init__(
        self,
        cell_size: float = 500.0,
        *,
        prior: float = 50.0,
        weighting: float = 0.5,
        n_leading: int = 64,
        n_modes: int = 60,
        random_state: int = 0,
    ) -> None:
        self.cell_size = cell_size
        self.prior = prior
        self.weighting = weighting
        self.n_leading = n_leading
        self.n_modes = n_modes
        self.random_state = random_state

    def _learn(self, z: np.ndarray) -> None:
        self._check_parameters()
        axes = resolved_axes(measure_moments(z), precision=z.dtype)
        self._set_axes(axes)
        u = _standardised(z, axes)
        rng = np.random.default_rng(self.random_state)
        weight = axes.variances.astype(np.float32) ** (self.weighting / 2.0)
        count = max(int(len(u) / self.cell_size), 1)
        cell = _cells(u * weight, count, int(rng.integers(2**31)))
        half = rng.integers(2, size=len(u)).astype(bool)
        parts = [
            [_moments(u[(cell == c) & (half == side)]) for side in (False, True)]
            for c in range(cell.max() + 1)
        ]
        self._set_cells(parts)
        _replace_by_deviations(u, cell, half, parts, self.prior, self.n_leading)
        self.scale_deviation_ = _divide_by_scales(u)
        self._set_modes(u, rng)

    def _check_parameters(self) -> None:
        check_above_zero("cell_size", self.cell_size)
        check_above_zero("prior", self.prior)
        if not 0 <= self.weighting <= 1:
            raise ValueError(f"weighting must be 0 to 1, not {self.weighting}.")
        if self.n_leading < 1 or self.n_modes < 0:
            raise ValueError(
                f"n_leading must be at least 1 and n_modes at least 0, not {self.n_leading} and {self.n_modes}."
            )

    def _set_cells(self, parts: list[list[Moments]]) -> None:
        """Keep the cells' laws, such that together they have the mean 0 and the covariance 1."""
        cells = [first + second for first, second in parts]
        counts = np.array([cell.n for cell in cells], dtype=np.float64)
        self.weights_ = counts / counts.sum()
        means = np.array([cell.mean for cell in cells])
        means -= self.weights_ @ means
        mixed = _mixed_by(cells, self.prior, self.n_leading)
        covariances = np.array([mixed(cell) for cell in cells])
        total = np.tensordot(self.weights_, covariances, axes=1) + (means.T * self.weights_) @ means
        whiten = _power(total, -0.5)
        self.means_ = np.ascontiguousarray(means @ whiten)
        self.roots_ = np.array([_power(whiten @ covariance @ whiten, 0.5) for covariance in covariances])

    def _set_modes(self, x: Float[np.ndarray, "n a"], rng: np.random.Generator) -> None:
        a, k = x.shape[1], min(self.n_leading, x.shape[1])
        found = [] if self.n_modes == 0 else _modes(x, k, self.n_modes)
        modes = [mode for mode in found if mode.deviation > 0]
        self.modes_ = np.array([mode.leading for mode in modes]).reshape(len(modes), k, k)
        self.band_modes_ = np.array([mode.bands for mode in modes]).reshape(len(modes), a - k)
        self.mode_deviations_ = np.array([mode.deviation for mode in modes])
        self.bends_, self.correction_ = np.zeros((a, len(modes))), np.eye(a)
        if modes:
            self._set_bends(x, rng)

    def _set_bends(self, x: Float[np.ndarray, "n a"], rng: np.random.Generator) -> None:
        """Find how far the modes' variables shift the points, from moments of third order."""
        y = rng.standard_normal((_TRIALS, len(self.mode_deviations_))) * self.mode_deviations_
        stretched = self._stretched(y, rng.standard_normal((_TRIALS, x.shape[1])))
        limit = float(np.quantile(np.linalg.norm(self._strengths(x), axis=1), _KEPT))
        wanted, error = self._third_moments(x, limit)
        self._correct(stretched)
        for _ in range(_BEND_STEPS):
            drawn = y @ self.bends_.T + stretched @ self.correction_
            missing = wanted - self._third_moments(drawn, limit)[0]
            if np.sqrt(np.square(missing).mean()) < error:  # Morozov's rule: what is left may be chance
                break
            # A shift changes the moment by the variance of y, and about two thirds more by way of the stretches.
            self.bends_ += 0.5 * missing / (5.0 / 3.0 * self.mode_deviations_**2)
            self.bends_ = _limited(self.bends_ * self.mode_deviations_) / self.mode_deviations_
            self._correct(stretched)

    def _correct(self, stretched: Float[np.ndarray, "n a"]) -> None:
        """Give stretched points the covariance that the bends leave of 1."""
        shifts = self.bends_ * self.mode_deviations_
        left = np.eye(len(shifts)) - shifts @ shifts.T
        self.correction_ = _power(stretched.T @ stretched / len(stretched), -0.5) @ _power(left, 0.5)

    def _stretched(
        self, y: Float[np.ndarray, "n m"], x: Float[np.ndarray, "n a"]
    ) -> Float[np.ndarray, "n a"]:
        """Stretch points as the modes' variables say."""
        x, k = x.copy(), self.modes_.shape[1]
        for first in range(0, len(x), _BLOCK):
            now = slice(first, first + _BLOCK)
            values, columns = np.linalg.eigh(0.5 * np.tensordot(y[now], self.modes_, axes=1))
            along = np.einsum("nji,nj->ni", columns, x[now, :k]) * np.exp(np.clip(values, *_LOG_STRETCH))
            x[now, :k] = np.einsum("nij,nj->ni", columns, along)
            x[now, k:] *= np.exp(np.clip(0.5 * y[now] @ self.band_modes_, *_LOG_STRETCH))
        return x

    def _strengths(self, x: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n m"]:
        """Measure how strongly points show each mode: its quadratic form, about the mean."""
        k = self.modes_.shape[1]
        found = np.square(x[:, k:]) @ self.band_modes_.T.astype(x.dtype)
        for column, mode in zip(found.T, self.modes_.astype(x.dtype), strict=True):
            column += ((x[:, :k] @ mode) * x[:, :k]).sum(axis=1)
        return found - found.mean(axis=0)

    def _third_moments(
        self, x: Float[np.ndarray, "n a"], limit: float
    ) -> tuple[Float[np.ndarray, "a m"], float]:
        """Measure the covariances of coordinates with strengths, shortened to `limit`, and their error."""
        strengths = self._strengths(x)
        size = np.linalg.norm(strengths, axis=1, keepdims=True)
        strengths *= np.minimum(1.0, limit / np.maximum(size, _SMALLEST))
        moments = (x - x.mean(axis=0)).T @ strengths / len(x)
        return moments.astype(np.float64), math.sqrt(float(strengths.var(axis=0).mean()) / len(x))

    def _density_known(self) -> bool:
        return False

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        cell = rng.choice(len(self.weights_), size=n, p=self.weights_ / self.weights_.sum())
        x = rng.standard_normal((n, len(self.axes_)))
        if len(self.modes_):
            y = rng.standard_normal((n, len(self.modes_))) * self.mode_deviations_
            x = y @ self.bends_.T + self._stretched(y, x) @ self.correction_
        t = self.scale_deviation_ * rng.standard_normal((n, 1))
        x *= np.exp(t - self.scale_deviation_**2)  # whose mean square is 1
        u = self.means_[cell]
        for c in np.unique(cell):
            u[cell == c] += x[cell == c] @ self.roots_[c]
        return u


def _standardised(z: np.ndarray, axes: PrincipalAxes) -> Float[np.ndarray, "n k"]:
    u = np.empty((len(z), len(axes.axes)), np.float32)
    for where, rows in checked_blocks(z):
        u[where] = axes.transform(rows) / np.sqrt(axes.variances)
    return u


def _cells(y: Float[np.ndarray, "n k"], count: int, seed: int) -> Int[np.ndarray, " n"]:
    """Part points by k-means; the points of cells that are too small go to the nearest of the others."""
    found = KMeans(count, n_init=1, max_iter=25, random_state=seed).fit(y)
    cell, centres = found.labels_, found.cluster_centers_
    sizes = np.bincount(cell, minlength=count)
    large = np.flatnonzero(sizes >= min(_LEAST, sizes.max()))
    moving = ~np.isin(cell, large)
    if moving.any():
        cell[moving] = large[pairwise_distances_argmin(y[moving], centres[large])]
    return np.searchsorted(large, cell)


def _limited(shifts: Float[np.ndarray, "a m"]) -> Float[np.ndarray, "a m"]:
    """Shorten shifts whose variance in some direction is more than the bends may take."""
    left, values, right = np.linalg.svd(shifts, full_matrices=False)
    return (left * np.minimum(values, math.sqrt(_BEND_SHARE))) @ right


def _power(matrix: Float[np.ndarray, "k k"], exponent: float) -> Float[np.ndarray, "k k"]:
    """Return the symmetric power of a matrix whose eigenvalues lie above 0."""
    values, columns = np.linalg.eigh(matrix)
    return (columns * values**exponent) @ columns.T


def _mixed_by(
    cells: list[Moments], prior: float, n_leading: int
) -> Callable[[Moments], Float[np.ndarray, "k k"]]:
    """Return what mixes a cell's covariance with the one within all cells, in the cell's own size.

    The triangular root of the covariance within gives coordinates of which the first depend on the leading axes alone.
    """
    a = len(cells[0].mean)
    # With as many points as the prior of the whole cloud, whose covariance is 1, it is never singular.
    scatter = sum((cell.scatter for cell in cells), prior * np.eye(a))
    root = np.linalg.cholesky(scatter / (sum(cell.n for cell in cells) + prior))
    k = min(n_leading, a)

    def mixed(cell: Moments) -> np.ndarray:
        own = solve_triangular(root, solve_triangular(root, cell.scatter, lower=True).T, lower=True)
        size = (np.trace(own) / a + 1.0) / (cell.n + 1.0)
        inner = size * np.eye(a)
        inner[:k, :k] = (own[:k, :k] + prior * inner[:k, :k]) / (cell.n + prior)
        return root @ inner @ root.T

    return mixed


def _replace_by_deviations(
    u: np.ndarray, cell: np.ndarray, half: np.ndarray, parts: list[list[Moments]], prior: float, k: int
) -> None:
    """Turn points into their deviations by the mean and the covariance of the other half of their cell."""
    for side in (False, True):
        others = [part[not side] for part in parts]
        mixed = _mixed_by(others, prior, k)
        for c, other in enumerate(others):
            mean = other.mean if other.n else parts[c][side].mean
            chosen = (cell == c) & (half == side)
            u[chosen] = (u[chosen] - mean) @ _power(mixed(other), -0.5)
    u /= np.sqrt(np.square(u).mean(axis=0))


def _divide_by_scales(x: Float[np.ndarray, "n a"]) -> float:
    """Divide points by their scales, as far as these are known, and return the deviation of their logarithms."""
    t = np.concatenate([_mean_logarithm(rows) for _, rows in checked_blocks(x)])
    chance = _LOG_VARIANCE / x.shape[1]
    variance = float(t.var())
    # A normal number's logarithm has kurtosis 7: two standard errors of a variance of means of a of them.
    if variance <= chance * (1.0 + 2.0 * math.sqrt((2.0 + 4.0 / x.shape[1]) / len(x))):
        return 0.0
    share = 1.0 - chance / variance
    x /= np.exp(share * (t - t.mean()))[:, None]
    x /= np.sqrt(np.square(x).mean(axis=0))
    return math.sqrt(share * variance)


def _mean_logarithm(rows: np.ndarray) -> Float[np.ndarray, " n"]:
    return np.log(np.maximum(np.abs(rows), _SMALLEST)).mean(axis=1, dtype=np.float64)


class _Mode(NamedTuple):
    leading: Float[np.ndarray, "k k"]
    bands: Float[np.ndarray, " b"]
    deviation: float


def _modes(x: Float[np.ndarray, "n a"], k: int, most: int) -> list[_Mode]:
    """Find eigenmatrices of the fourth-order cumulants, and the deviations of their variables."""
    moments = _moments_of_squares(x, k)
    p, n = len(moments.mean), moments.n
    values, columns = eigh(0.5 * moments.covariance, subset_by_index=(max(p - most, 0), p - 1))
    # Beside the edge, three standard errors of the variance of a normal number's square (kurtosis 15).
    edge = (1.0 + math.sqrt(p / n)) ** 2 + 3.0 * math.sqrt(14.0 / n)
    found = []
    for j in np.flatnonzero(values > edge)[::-1]:
        leading, bands = _as_mode(columns[:, j], k, x.shape[1] - k)
        own = np.concatenate([np.linalg.eigvalsh(leading), bands])
        found.append(_Mode(leading, bands, _mode_deviation(own, 2.0 * _spike(values[j], p / n))))
    return found


def _moments_of_squares(x: np.ndarray, k: int) -> Moments:
    """Measure the products of leading coordinates and the squares of the others in bands, each of variance 2."""
    size = np.concatenate([np.linalg.norm(rows, axis=1) for rows in _squares(x, k)])
    limit = np.quantile(size, _KEPT)  # for few points far out would make modes of their own
    total, first = _moments(np.empty((0, k * (k + 1) // 2 + min(_BANDS, x.shape[1] - k)))), 0
    for rows in _squares(x, k):
        own = size[first : first + len(rows), None]
        total += measure_moments(rows * np.minimum(1.0, limit / np.maximum(own, _SMALLEST)))
        first += len(rows)
    return total


def _squares(x: np.ndarray, k: int) -> Iterator[Float[np.ndarray, "n p"]]:
    i, j = np.triu_indices(k)
    unit = np.where(i == j, 1.0, math.sqrt(2.0))
    bands = [band for band in np.array_split(np.arange(k, x.shape[1]), _BANDS) if len(band)]
    for first in range(0, len(x), _BLOCK):
        rows = x[first : first + _BLOCK].astype(np.float64)
        squares = [(np.square(rows[:, band]) - 1.0).sum(axis=1) / math.sqrt(len(band)) for band in bands]
        yield np.column_stack([(rows[:, i] * rows[:, j] - (i == j)) * unit, *squares])


def _as_mode(column: np.ndarray, k: int, others: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn an eigenvector into a matrix on the leading axes and numbers for the others."""
    i, j = np.triu_indices(k)
    leading = np.zeros((k, k))
    leading[i, j] = leading[j, i] = column[: len(i)] / np.where(i == j, 1.0, math.sqrt(2.0))
    widths = [len(band) for band in np.array_split(np.arange(others), _BANDS) if len(band)]
    return leading, np.repeat(column[len(i) :] / np.sqrt(widths), widths)


def _spike(value: float, ratio: float) -> float:
    """Return the true eigenvalue l behind one of a sample, with its ratio of components to points.

    In the spiked model of unit variances it shows as l + ratio * l / (l - 1), see D. Paul (2007), Asymptotics of sample
    eigenstructure for a large dimensional spiked covariance model, Statistica Sinica 17, 1617-1642.
    """
    middle = value + 1.0 - ratio
    return 0.5 * (middle + math.sqrt(max(middle**2 - 4.0 * value, 0.0)))


def _mode_deviation(own: Float[np.ndarray, " e"], variance: float) -> float:
    r"""Return the deviation of y that gives the squares along a mode with eigenvalues `own` this variance.

    With :math:`w_i = e^{y b_i}` over its mean, the sum of :math:`b_i w_i g_i^2` has the variance
    :math:`\sum_{ij} b_i b_j (e^{\tau^2 b_i b_j} - 1) + 2 \sum_i b_i^2 e^{\tau^2 b_i^2}`.
    """
    pairs = np.outer(own, own)

    def missing(square: float) -> float:
        grown = np.exp(square * pairs)
        return float((pairs * (grown - 1.0)).sum() + 2.0 * np.diagonal(pairs * grown).sum() - variance)

    most = 50.0 / float(np.abs(pairs).max())
    if missing(0.0) >= 0:
        return 0.0
    return math.sqrt(brentq(missing, 0.0, most)) if missing(most) > 0 else math.sqrt(most)


def _moments(u: np.ndarray) -> Moments:
    """Measure moments, of no point as well."""
    if len(u) == 0:
        return Moments(0, np.zeros(u.shape[1]), np.zeros((u.shape[1], u.shape[1])))
    return measure_moments(u)
