"""Two-dimensional maps of z-points by t-SNE: who is near whom, and nothing else."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from openTSNE import TSNE, TSNEEmbedding, _tsne
from openTSNE.affinity import Affinities, joint_probabilities_nn
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from aelib.blocks import checked_blocks
from aelib.moments import measure_moments
from aelib.neighbours import nearest_neighbours, neighbours_in
from aelib.pca import PrincipalAxes, resolved_axes
from aelib.repulsion import RepulsionField
from aelib.threads import n_cores

_AROUND = 15  # neighbours by which a new point is placed
_PER_THREAD = 4_000  # points that keep a thread busy
_FLAT = 12  # components up to which a search tree is faster than products of blocks


@dataclass(frozen=True)
class MapSettings:
    """How a map is made; the defaults are openTSNE's.

    Parameters
    ----------
    perplexity : float
        Effective number of neighbours whose nearness a point tries to keep, at least 1; three times as many are
        sought.
    early_exaggeration : float
        Factor on the attraction in the first phase, at least 1.
    early_iterations : int
        Iterations of the first phase, at least 0.
    iterations : int
        Iterations of the second phase, at least 0.
    start : str
        Where points begin: "pca" at their two leading principal coordinates, "random" at normal random places; both
        shrunk to a standard deviation of 0.0001.
    """

    perplexity: float = 30.0
    early_exaggeration: float = 12.0
    early_iterations: int = 250
    iterations: int = 500
    start: Literal["pca", "random"] = "pca"

    def __post_init__(self) -> None:
        if self.perplexity < 1 or self.early_exaggeration < 1:
            raise ValueError(
                "perplexity and early_exaggeration must be at least 1, "
                f"not {self.perplexity} and {self.early_exaggeration}."
            )
        if min(self.early_iterations, self.iterations) < 0:
            raise ValueError(
                f"iterations must be at least 0, not {self.early_iterations} and {self.iterations}."
            )

    @property
    def n_neighbours(self) -> int:
        """Number of neighbours that are sought, three times the perplexity."""
        return int(3 * self.perplexity)


DEFAULTS = MapSettings()
"""openTSNE's own settings."""

SOURCE = MapSettings(perplexity=10.0, early_exaggeration=16.0, iterations=750)
"""The source's settings: 1000 iterations in scikit-learn's count, which includes 250 with early exaggeration."""


@dataclass(frozen=True, eq=False)
class Map:
    r"""A map of z-points.

    Parameters
    ----------
    points : array of float64, shape (n, 2)
        Places :math:`y_i` on the map. Their axes and unit have no meaning.
    kl_divergence : float
        What t-SNE minimises, :math:`\sum p_{ij} \log (p_{ij} / q_{ij})`, in nats.
    cloud : array of float, shape (n, k)
        What was mapped: the z-points, or their leading principal coordinates.
    axes : PrincipalAxes or None
        The principal axes; None if the z-points were mapped themselves.
    settings : MapSettings
        How the map was made.
    """

    points: Float[np.ndarray, "n 2"]
    kl_divergence: float
    cloud: Float[np.ndarray, "n k"]
    axes: PrincipalAxes | None
    settings: MapSettings

    def place(
        self, z: Float[np.ndarray, "..."], *, iterations: int = 250, n_jobs: int | None = None
    ) -> Float[np.ndarray, "m 2"]:
        """Place other points on the map, which does not change.

        A point begins at the median place of its 15 nearest neighbours among the mapped points, and is then moved by
        openTSNE as in [1]_: drawn to these neighbours (perplexity 5, exaggeration 1.5), pushed by all points of the
        map, and not touched by the other new ones.

        Parameters
        ----------
        z : array of float, shape (m, d)
            The new points, as z-points.
        iterations : int
            Iterations, at least 0.
        n_jobs : int or None
            Threads, at least 1; None takes all cores. Few points are left to one thread.

        Returns
        -------
        array of float64, shape (m, 2)
            Their places.

        Raises
        ------
        ValueError
            If `z` is no cloud of finite points with the right number of components, the map has fewer than 15 points,
            or an option is out of its range.

        References
        ----------
        .. [1] P. G. Policar, M. Strazar and B. Zupan (2023), Embedding to reference t-SNE space addresses batch effects
           in single-cell classification, Machine Learning 112, 721-740.
        """
        jobs = _checked_jobs(n_jobs, len(z))
        if iterations < 0 or len(self.points) < _AROUND:
            raise ValueError(
                f"iterations must be at least 0 and the map have {_AROUND} points or more, not {iterations} and "
                f"{len(self.points)}."
            )
        nothing = csr_matrix((len(self.points), len(self.points)))
        similarities = _Similarities(nothing, self.cloud, jobs)
        # openTSNE centres the points in place: this is a copy.
        reference = TSNEEmbedding(self.points, similarities, negative_gradient_method="fft", n_jobs=jobs)
        moved = reference.transform(_projected(z, self.axes), n_iter=iterations)
        return np.asarray(moved) + (self.points[0] - np.asarray(reference[0]))


class _Similarities(Affinities):
    """What openTSNE asks of similarities, with exact neighbours."""

    def __init__(self, p: csr_matrix, cloud: np.ndarray, n_jobs: int) -> None:
        super().__init__()
        self.P = p
        self.cloud, self.n_jobs = cloud, n_jobs

    def to_new(
        self, data: np.ndarray, perplexity: float = 5.0, return_distances: bool = False
    ) -> csr_matrix | tuple[csr_matrix, np.ndarray, np.ndarray]:
        index, distance = _neighbours_in(data, self.cloud, k=int(3 * perplexity), n_jobs=self.n_jobs)
        p = joint_probabilities_nn(
            index,
            distance,
            [perplexity],
            symmetrize=False,
            normalization="point-wise",
            n_reference_samples=len(self.cloud),
            n_jobs=self.n_jobs,
        )
        return (p, index, distance) if return_distances else p


class _Objective:
    """The gradient of t-SNE for openTSNE: its attraction, and our repulsion."""

    def __init__(self, n_jobs: int, bar: tqdm) -> None:
        self.field, self.bar = RepulsionField(n_jobs=n_jobs), bar

    def __call__(
        self,
        embedding: np.ndarray,
        p: csr_matrix,
        dof: float,
        *,
        should_eval_error: bool,
        n_jobs: int,
        **_: Any,
    ) -> tuple[float, np.ndarray]:
        points = np.asarray(embedding)
        repulsion = self.field.measure(points)
        gradient = repulsion.force / -repulsion.total
        total, divergence = _tsne.estimate_positive_gradient_nn(
            p.indices, p.indptr, p.data, points, points, gradient, dof, n_jobs, should_eval_error
        )
        self.bar.update(
            0 if should_eval_error else 1
        )  # errors are evaluated once more, after the last iteration
        return divergence + total * np.log(repulsion.total), gradient


def tsne_map(
    z: Float[np.ndarray, "..."],
    settings: MapSettings = DEFAULTS,
    *,
    n_pca: int | None = None,
    random_state: int | np.random.Generator = 0,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Map:
    r"""Map z-points to a plane by t-SNE.

    Points :math:`y_i` are placed so that their neighbourhoods resemble those of the z-points: t-SNE minimises
    :math:`\sum_{ij} p_{ij} \log (p_{ij} / q_{ij})` with :math:`q_{ij} \propto 1 / (1 + |y_i - y_j|^2)`, where
    :math:`p_{ij}` falls with the distance of the z-points like a normal density, as wide as holds `perplexity`
    neighbours [1]_. So a map shows who is near whom. Distances, areas and gaps on it are no measures of those in
    z-space: also a cloud without any structure gets islands and gaps. Compare with the map of a null twin.

    openTSNE does the work [2]_. Two parts are ours. Neighbours are exact: in 256 dimensions the approximate search
    finds only seven in ten. And the repulsion (`aelib.repulsion`) takes a tenth of the time at the same error. The
    map is the same, bit for bit, for the same seed, whatever the number of threads.

    Time grows with the square of n for the neighbours, and as n for the rest. Memory is that of one copy of the
    z-points in single precision, and about 50 bytes for each neighbour.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory or memory-mapped; more than three times the perplexity.
    settings : MapSettings
        `DEFAULTS`, `SOURCE`, or others.
    n_pca : int or None
        Number of leading principal coordinates that are mapped instead of the z-points, at least 1; None maps the
        z-points themselves.
    random_state : int or numpy.random.Generator
        Seed or generator of the starting places.
    n_jobs : int or None
        Threads, at least 1; None takes all cores. Few points are left to one thread.
    progress : bool
        Whether to show a bar of the iterations.

    Returns
    -------
    Map
        Places of all points.

    Raises
    ------
    ValueError
        If `z` is no cloud of finite points, all are the same, or there are too few for the perplexity or the number
        of principal coordinates.

    References
    ----------
    .. [1] L. van der Maaten and G. Hinton (2008), Visualizing data using t-SNE, Journal of Machine Learning Research
       9, 2579-2605.
    .. [2] P. G. Policar, M. Strazar and B. Zupan (2024), openTSNE: A modular Python library for t-SNE dimensionality
       reduction and embedding, Journal of Statistical Software 109 (3).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = np.concatenate([rng.standard_normal((50, 9)), 20 + rng.standard_normal((50, 9))])
    >>> points = tsne_map(z, MapSettings(perplexity=10)).points
    >>> here, there = points[:50].mean(axis=0), points[50:].mean(axis=0)
    >>> bool(np.linalg.norm(here - there) > 3 * np.linalg.norm(points[:50] - here, axis=1).mean())
    True
    """
    checked_blocks(z)
    jobs, k = _checked_jobs(n_jobs, len(z)), settings.n_neighbours
    if len(z) <= k:
        raise ValueError(
            f"perplexity {settings.perplexity} needs {k} neighbours of each point, but there are {len(z)} points; "
            "take more points or a lower perplexity."
        )
    axes = resolved_axes(measure_moments(z), precision=z.dtype)
    shown = None if n_pca is None else _leading(axes, n_pca)
    cloud = _projected(z, shown)
    start = _start(z, axes, settings.start, np.random.default_rng(random_state))
    similar = joint_probabilities_nn(*_neighbours(cloud, k, jobs), [settings.perplexity], n_jobs=jobs)
    total = settings.early_iterations + settings.iterations
    with tqdm(desc="t-SNE", total=total, disable=not progress) as bar:
        found = TSNE(
            early_exaggeration=settings.early_exaggeration,
            early_exaggeration_iter=settings.early_iterations,
            n_iter=settings.iterations,
            negative_gradient_method=_Objective(jobs, bar),
            n_jobs=jobs,
        ).fit(affinities=_Similarities(similar, cloud, jobs), initialization=start)
    return Map(np.array(found), float(found.kl_divergence), cloud, shown, settings)


def _checked_jobs(n_jobs: int | None, n: int) -> int:
    """Return the number of threads for n points: with few, threads would mostly wait for each other."""
    if n_jobs is not None and n_jobs < 1:
        raise ValueError(f"n_jobs must be at least 1, or None for all cores, not {n_jobs}.")
    return min(n_cores() if n_jobs is None else n_jobs, 1 + n // _PER_THREAD)


def _leading(axes: PrincipalAxes, k: int) -> PrincipalAxes:
    if not 1 <= k <= len(axes.axes):
        raise ValueError(f"n_pca must be 1 to {len(axes.axes)}, the number of axes of the cloud, not {k}.")
    return PrincipalAxes(axes.mean, axes.axes[:k], axes.variances[:k], axes.total_variance)


def _projected(z: np.ndarray, axes: PrincipalAxes | None) -> np.ndarray:
    return z if axes is None else axes.transform(z)


def _start(
    z: np.ndarray, axes: PrincipalAxes, kind: str, rng: np.random.Generator
) -> Float[np.ndarray, "n 2"]:
    """Return the starting places, with a standard deviation of 0.0001 along the first axis."""
    noise = rng.standard_normal((len(z), 2))
    if kind == "random":
        return 1e-4 * noise
    flat = _leading(axes, min(2, len(axes.axes))).transform(z) / np.sqrt(axes.variances[0])
    # A little noise, as openTSNE adds: copies of a point must not stay together for ever.
    places = 0.01 * noise
    places[:, : flat.shape[1]] += flat
    return 1e-4 * places


def _neighbours(cloud: np.ndarray, k: int, n_jobs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and distances of the k nearest neighbours of all points in their cloud."""
    if cloud.shape[1] > _FLAT:
        found = nearest_neighbours(cloud, k=k)
        return found.index.astype(np.int32), found.distance
    distance, index = cKDTree(cloud).query(cloud, k=k + 1, workers=n_jobs)
    own = index == np.arange(len(cloud))[:, None]
    own[~own.any(axis=1), -1] = True  # among many copies, a point may not find itself
    return index[~own].reshape(-1, k).astype(np.int32), distance[~own].reshape(-1, k)


def _neighbours_in(
    points: np.ndarray, cloud: np.ndarray, *, k: int, n_jobs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and distances of the k nearest points of a cloud to points that are not of it."""
    if cloud.shape[1] > _FLAT:
        found = neighbours_in(points, cloud, k=k)
        return found.index.astype(np.int32), found.distance
    distance, index = cKDTree(cloud).query(points, k=k, workers=n_jobs)
    return index.reshape(-1, k).astype(np.int32), distance.reshape(-1, k)


class NeighboursKept(NamedTuple):
    """How many nearest neighbours a map has kept.

    Parameters
    ----------
    share : float
        Share of the k nearest neighbours of a point that are among its k nearest on the map, a mean over points.
    standard_error : float
        Its standard error.
    chance : float
        The share on a map of places drawn at random, k / (n - 1).
    """

    share: float
    standard_error: float
    chance: float


def neighbours_kept(
    z: Float[np.ndarray, "..."],
    points: Float[np.ndarray, "..."],
    *,
    k: int = 10,
    n_queries: int = 2_000,
    random_state: int | np.random.Generator = 0,
) -> NeighboursKept:
    r"""Measure how many nearest neighbours a map, or any plane, has kept.

    :math:`\frac{1}{mk} \sum_i |N_k(z_i) \cap N_k(y_i)|` over m points chosen at random; their neighbours are sought
    among all.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.
    points : array of float, shape (n, 2)
        The map: their places in the same order.
    k : int
        Number of neighbours, 1 to n - 2.
    n_queries : int
        Number of points m, at least 2; all, if there are fewer.
    random_state : int or numpy.random.Generator
        Seed or generator of their choice.

    Returns
    -------
    NeighboursKept
        The share with its standard error, and that of chance.

    Raises
    ------
    ValueError
        If the clouds are not equally large, a value is not finite, or an option is out of its range.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_normal((500, 3))
    >>> neighbours_kept(z, z[:, :2]).share > neighbours_kept(z[::-1], z[:, :2]).share
    True
    """
    checked_blocks(z), checked_blocks(points, name="points")
    if len(z) != len(points) or not 1 <= k <= len(z) - 2 or n_queries < 2:
        raise ValueError(
            f"z and points must be equally many, k be 1 to n - 2 and n_queries at least 2, not {len(z)} and "
            f"{len(points)}, {k} and {n_queries}."
        )
    found = nearest_neighbours(z, k=k, n_queries=n_queries, random_state=random_state)
    index = _flat_neighbours(points, found.rows, k)
    shares = np.array([len(np.intersect1d(a, b)) / k for a, b in zip(found.index, index, strict=True)])
    error = float(shares.std(ddof=1) / np.sqrt(len(shares)))
    return NeighboursKept(float(shares.mean()), error, k / (len(z) - 1))


def _flat_neighbours(points: np.ndarray, rows: np.ndarray, k: int) -> Int[np.ndarray, "m k"]:
    index = cKDTree(points).query(points[rows], k=k + 1)[1]
    own = index == rows[:, None]
    own[~own.any(axis=1), -1] = True
    return index[~own].reshape(-1, k)
