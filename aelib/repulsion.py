"""How the points of a t-SNE map push each other away: sums over all pairs, by Fourier transforms on a grid."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy import fft
from scipy.sparse import csr_array

from aelib.blocks import checked_blocks

_STEP = 0.5  # distance of nodes; the kernels are a unit wide
_FEWEST, _MOST = 48, 3000  # nodes along each side
_MARGIN = 12  # nodes more than the map is wide: what a spline's inverse reaches
_STRIDE = 32  # sides come in multiples of it, so that the kernels of one iteration serve many


class Repulsion(NamedTuple):
    r"""What all points of a map together do to each of them.

    Parameters
    ----------
    force : array of float64, shape (n, 2)
        :math:`f_i = \sum_{j \ne i} q_{ij}^2 (y_i - y_j)`, with :math:`q_{ij} = 1 / (1 + |y_i - y_j|^2)`.
    total : float
        :math:`Z = \sum_{i \ne j} q_{ij}`, by which t-SNE divides the force.
    """

    force: Float[np.ndarray, "n 2"]
    total: float


class _Kernels(NamedTuple):
    step: float  # distance of nodes
    side: int  # nodes along each side
    spectra: Complex[np.ndarray, "3 2m m1"]  # of q, and of both components of q² (y - y')


class RepulsionField:
    r"""Sums of the t-SNE kernels over all pairs of a map, in O(n + m log m) for a grid of m nodes.

    Points are spread to the nodes of a grid by quadratic B-splines, the grid is convolved with the kernels by
    Fourier transforms, and the sums are read off by the same splines [1]_: for the matrix W of their weights,
    :math:`W K W^\mathsf{T} 1`. openTSNE does the same in double precision on one core and makes its kernels anew for
    every iteration. Here the distance of nodes is one of few, so that the kernels are kept; three antisymmetric
    kernels leave no large numbers to cancel, so that single precision is enough; and all cores work.

    Nodes are half a unit apart, closer in maps less than 24 units wide, farther in those above 1500 units.

    Parameters
    ----------
    n_jobs : int
        Threads of the transforms, at least 1. The result does not depend on it.

    References
    ----------
    .. [1] G. C. Linderman, M. Rachh, J. G. Hoskins, S. Steinerberger and Y. Kluger (2019), Fast interpolation-based
       t-SNE for improved visualization of single-cell RNA-seq data, Nature Methods 16, 243-245.

    Examples
    --------
    >>> found = RepulsionField().measure(np.array([[0.0, 0.0], [1.0, 0.0]]))
    >>> found.force[:, 0].round(2), round(found.total, 2)
    (array([-0.25,  0.25]), 1.0)
    """

    def __init__(self, *, n_jobs: int = 1) -> None:
        if n_jobs < 1:
            raise ValueError(f"n_jobs must be at least 1, not {n_jobs}.")
        self.n_jobs = n_jobs
        self._kernels = _Kernels(0.0, 0, np.empty((3, 0, 0), dtype=np.complex64))

    def measure(self, points: Float[np.ndarray, "..."]) -> Repulsion:
        """Measure force and total.

        Parameters
        ----------
        points : array of float, shape (n, 2)
            The points of a map, at least two.

        Returns
        -------
        Repulsion
            The force on each point, and the total.

        Raises
        ------
        ValueError
            If there are fewer than two points, they are not flat, or one is not finite.
        """
        for _ in checked_blocks(points, name="points"):
            pass
        if len(points) < 2 or points.shape[1] != 2:
            raise ValueError(f"points must have shape (n, 2), with n of at least 2, not {points.shape}.")
        low = points.min(axis=0)
        step, side = _grid(float((points.max(axis=0) - low).max()))
        if (step, side) != self._kernels[:2]:
            self._kernels = _Kernels(step, side, self._spectra(step, side))
        weights = _weights((points - low) / step + 1.0, side)
        charges = (weights.T @ np.ones(len(points), dtype=np.float32)).reshape(side, side)
        sums = weights @ self._convolved(charges).reshape(3, -1).T
        return Repulsion(
            sums[:, 1:].astype(np.float64), float(sums[:, 0].sum(dtype=np.float64)) - len(points)
        )

    def _spectra(self, step: float, side: int) -> np.ndarray:
        """Transform the kernels on a grid of twice the side, on which both ends of the map stay apart."""
        frequency = np.fft.fftfreq(2 * side)  # in periods per node
        offset = 2 * side * step * frequency
        q = 1.0 / (1.0 + offset[:, None] ** 2 + offset**2)
        kernels = np.stack([q, q**2 * offset[:, None], q**2 * offset])
        # Spreading and interpolating have smoothed by a spline each.
        spline = np.sinc(frequency) ** 6
        spectra = fft.rfft2(kernels, workers=self.n_jobs) / (spline[:, None] * spline[: side + 1])
        return spectra.astype(np.complex64)

    def _convolved(self, charges: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "3 m m"]:
        side = len(charges)
        # The other three quarters of the charges are zero, and of the sums they are not needed.
        rows = fft.rfft(charges, 2 * side, axis=1, workers=self.n_jobs)
        product = self._kernels.spectra * fft.fft(rows, 2 * side, axis=0, workers=self.n_jobs)
        columns = fft.ifft(product, axis=1, workers=self.n_jobs, overwrite_x=True)[:, :side]
        return fft.irfft(columns, 2 * side, axis=2, workers=self.n_jobs)[:, :, :side]


def _grid(extent: float) -> tuple[float, int]:
    """Choose the distance of nodes, and their number along a side, for a map of this extent."""
    step = _STEP
    if extent < _FEWEST * _STEP:
        # Points that coincide need any grid.
        step *= 2.0 ** math.floor(math.log2(max(extent, 1e-12) / (_FEWEST * _STEP)))
    elif extent > _MOST * _STEP:
        step *= 2.0 ** math.ceil(math.log2(extent / (_MOST * _STEP)))
    return step, -(-(math.ceil(extent / step) + _MARGIN) // _STRIDE) * _STRIDE


def _weights(place: Float[np.ndarray, "n 2"], side: int) -> csr_array:
    """Return the weights of the nine nodes around each point, as a sparse matrix with a column for each node."""
    middle = np.rint(place)
    t = (place - middle).astype(np.float32)
    along = np.stack([np.square(0.5 - t) / 2, 0.75 - t * t, np.square(0.5 + t) / 2], axis=2)
    values = along[:, 0, :, None] * along[:, 1, None, :]
    nodes = middle.astype(np.int32)[:, :, None] + np.arange(-1, 2, dtype=np.int32)
    columns = nodes[:, 0, :, None] * np.int32(side) + nodes[:, 1, None, :]
    starts = np.arange(0, 9 * len(place) + 1, 9, dtype=np.int32)
    return csr_array((values.ravel(), columns.ravel(), starts), shape=(len(place), side * side))
