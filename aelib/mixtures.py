"""The sampler that knows most of the cloud: cells, in which scales and correlations vary from point to point."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh
from scipy.optimize import brentq
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from aelib.blocks import checked_blocks
from aelib.moments import Moments, measure_moments
from aelib.pca import PrincipalAxes
from aelib.sampler import PrincipalSampler, check_above_zero, resolved_axes

_LEAST = 30  # points of a cell
_LOG_VARIANCE = math.pi**2 / 8.0  # of the logarithm of a standard normal number's size
_SMALLEST = 1e-4  # deviations whose logarithms are told apart
_BANDS = 8  # groups of the axes that are not leading, each with one scale
_KEPT = 0.99  # share of the points whose squares count in full
_LOG_STRETCH = (-3.0, 1.5)  # what a direction may be stretched by, as logarithms
_TRIALS = 4000  # draws behind the mean covariance of the modes
_BLOCK = 2048  # points or draws at a time


class CellMixture(PrincipalSampler):
    r"""A mixture of the laws of cells of the cloud, in which scales and correlations vary from point to point.

    k-means parts the points into cells, by their principal coordinates over :math:`\lambda_k^{(1 - w) / 2}`. A cell c
    has the mean :math:`m_c` and the covariance :math:`\Sigma_c` of its points, mixed with the covariance within all
    cells as if that were so many points more: local principal components [1]_, shrunk as in [2]_. In the cell,

    .. math:: z = m_c + \Sigma_c^{1/2} x, \qquad x = e^t \exp\Big(\frac{1}{2} \sum_j y_j B_j\Big) g,

    with standard normal g. The scale :math:`e^t` is common to all axes, as in Gaussian scale mixtures [3]_: images have
    more or less contrast. The modes :math:`B_j` change variances and correlations of the leading axes, and the variance
    of the others in bands: the logarithm of the covariance is linear in hidden normal variables y, as in [4]_.

    All is found from moments. The variance of t is that of the mean of :math:`\ln |x_k|` beyond what it is for normal
    x. The modes are the eigenmatrices of the fourth-order cumulants of :math:`x / e^t` [5]_, as many as chance alone
    would not give (above Marchenko and Pastur's edge); the variance of :math:`y_j` is such that the eigenvalue comes
    out. For this, a point's x is taken by the mean and the covariance of the cell's other half.

    Mean and covariance of the law are those of the cloud, the latter to a few per cent. A law of some hundred points a
    cell can hardly copy points, one of few can: have the copying audit judge. There is no density in closed form, so no
    `score_samples`. When it is fitted, it needs memory for the points in single precision once more.

    Parameters
    ----------
    cell_size : float
        Number of points in a cell, on average, above 0. There is one cell at least, and none of fewer than 30 points.
    prior : float
        Number of points, above 0, that the covariance within all cells counts for in each.
    weighting : float
        The exponent w: 1 parts the points by their distances in z, 0 by their Mahalanobis distances.
    n_leading : int
        Number k of leading axes whose correlations vary, at least 1; all of them, if there are fewer.
    n_modes : int
        Largest number of modes, at least 0.
    random_state : int
        Seed of k-means, of the halves, and of the draws that measure the modes' mean covariance.

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
    correction_ : array of float64, shape (k, k)
        What brings the mean covariance of the modes back to 1, on the leading axes.
    band_correction_ : array of float64, shape (a - k,)
        The same on the others.

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
        cell_size: float = 150.0,
        *,
        prior: float = 200.0,
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
        _replace_by_deviations(u, cell, half, parts, self.prior)
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
        within = _within(cells, self.prior)
        covariances = np.array([_mixed(cell, within, self.prior) for cell in cells])
        total = np.tensordot(self.weights_, covariances, axes=1) + (means.T * self.weights_) @ means
        whiten = _power(total, -0.5)
        self.means_ = np.ascontiguousarray(means @ whiten)
        self.roots_ = np.array([_power(whiten @ covariance @ whiten, 0.5) for covariance in covariances])

    def _set_modes(self, x: Float[np.ndarray, "n a"], rng: np.random.Generator) -> None:
        k = min(self.n_leading, x.shape[1])
        modes = [] if self.n_modes == 0 else _modes(x, k, self.n_modes)
        self.modes_ = np.array([mode.leading for mode in modes]).reshape(len(modes), k, k)
        self.band_modes_ = np.array([mode.bands for mode in modes]).reshape(len(modes), x.shape[1] - k)
        self.mode_deviations_ = np.array([mode.deviation for mode in modes])
        self.correction_, self.band_correction_ = np.eye(k), np.ones(x.shape[1] - k)
        if modes:
            stretches, bands = self._stretches(_TRIALS, rng)
            self.correction_ = _power(np.einsum("nij,njk->ik", stretches, stretches) / _TRIALS, -0.5)
            self.band_correction_ = np.square(bands).mean(axis=0) ** -0.5

    def _stretches(
        self, n: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n k k"], Float[np.ndarray, "n b"]]:
        """Draw what the modes do to the leading axes and to the others."""
        y = rng.standard_normal((n, len(self.mode_deviations_))) * self.mode_deviations_
        values, columns = np.linalg.eigh(0.5 * np.tensordot(y, self.modes_, axes=1))
        stretched = columns * np.exp(np.clip(values, *_LOG_STRETCH))[:, None, :]
        bands = np.exp(np.clip(0.5 * y @ self.band_modes_, *_LOG_STRETCH))
        return stretched @ columns.transpose(0, 2, 1), bands

    def _density_known(self) -> bool:
        return False

    def _draw_units(self, n: int, rng: np.random.Generator) -> np.ndarray:
        cell = rng.choice(len(self.weights_), size=n, p=self.weights_ / self.weights_.sum())
        x = rng.standard_normal((n, len(self.axes_)))
        k = len(self.correction_)
        for first in range(0, n if len(self.modes_) else 0, _BLOCK):
            rows = x[first : first + _BLOCK]
            stretches, bands = self._stretches(len(rows), rng)
            rows[:, :k] = np.einsum("nij,nj->ni", stretches, rows[:, :k]) @ self.correction_
            rows[:, k:] *= bands * self.band_correction_
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


def _power(matrix: Float[np.ndarray, "k k"], exponent: float) -> Float[np.ndarray, "k k"]:
    """Return the symmetric power of a matrix whose eigenvalues lie above 0."""
    values, columns = np.linalg.eigh(matrix)
    return (columns * values**exponent) @ columns.T


def _within(cells: list[Moments], prior: float) -> Float[np.ndarray, "k k"]:
    """Return the covariance within all cells, mixed with that of the whole cloud, which is 1."""
    scatter = sum((cell.scatter for cell in cells), prior * np.eye(len(cells[0].mean)))
    return scatter / (sum(cell.n for cell in cells) + prior)


def _mixed(cell: Moments, within: np.ndarray, prior: float) -> Float[np.ndarray, "k k"]:
    """Return a cell's covariance, mixed with the one within all cells in the cell's own size."""
    size = (np.trace(np.linalg.solve(within, cell.scatter)) / len(within) + 1.0) / (cell.n + 1.0)
    return (cell.scatter + prior * size * within) / (cell.n + prior)


def _replace_by_deviations(
    u: np.ndarray, cell: np.ndarray, half: np.ndarray, parts: list[list[Moments]], prior: float
) -> None:
    """Turn points into their deviations by the mean and the covariance of the other half of their cell."""
    for side in (False, True):
        others = [part[not side] for part in parts]
        within = _within(others, prior)
        for c, other in enumerate(others):
            mean = other.mean if other.n else parts[c][side].mean
            chosen = (cell == c) & (half == side)
            u[chosen] = (u[chosen] - mean) @ _power(_mixed(other, within, prior), -0.5)
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
