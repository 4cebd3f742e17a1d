"""Fidelity and diversity: distances between the features of real images and those of generated ones."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int8
from scipy.special import ndtri
from scipy.stats import wasserstein_distance

from aelib.blocks import check_points, checked_blocks
from aelib.moments import Moments, measure_moments, part_moments
from aelib.partitions import Points, merged
from aelib.threads import one_blas_thread

LEVEL = 0.95
"""Confidence of all intervals."""


@dataclass(frozen=True)
class Score:
    """A score with its uncertainty, and what real images score against real ones.

    Parameters
    ----------
    value : float
        The score, in its own unit.
    standard_error : float
        Its standard error over both samples, in the same unit.
    floor : float
        The score of other real images in place of the generated ones; not-a-number where there is none.
    halves : array of float64, shape (draws,)
        The score of the half-samples behind the standard error, not extrapolated; empty where there are none. With one
        seed, and as many images of each kind, it is always the same halves of the real images: scores can be compared
        draw by draw.
    """

    value: float
    standard_error: float
    floor: float = math.nan
    halves: Float[np.ndarray, " draws"] = field(
        default_factory=lambda: np.empty(0), repr=False, compare=False
    )

    @property
    def low(self) -> float:
        """Lower end of the normal 95 % interval."""
        return self.value - float(ndtri(0.5 + LEVEL / 2)) * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the normal 95 % interval."""
        return self.value + float(ndtri(0.5 + LEVEL / 2)) * self.standard_error

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}], floor {self.floor:.3g}"


class PrecisionRecall(NamedTuple):
    """How real the generated images are, and how much of the real ones they reach.

    Parameters
    ----------
    precision : Score
        Share of generated images within the reach of a real one, in [0, 1].
    recall : Score
        Share of real images within the reach of a generated one, in [0, 1].
    """

    precision: Score
    recall: Score


class DensityCoverage(NamedTuple):
    """How real the generated images are, and how much of the real ones they reach, less moved by outliers.

    Parameters
    ----------
    density : Score
        Number of real images within whose reach a generated one lies, over k; about 1 for real images, not bounded.
    coverage : Score
        Share of real images with a generated one within their reach, in [0, 1].
    """

    density: Score
    coverage: Score


_Statistic = Callable[[Any, Any], np.ndarray]
_Halved = Callable[[Any, Any, list["_Halves"]], Float[np.ndarray, "draws s"]]


class _Halves(NamedTuple):
    """Random halves of both samples: which rows are in the second one.

    Over half-samples drawn without replacement the deviation of a mean is just its standard error in the whole
    sample, and no image occurs twice, which would be its own nearest neighbour.
    """

    real: Bool[np.ndarray, " n"]
    generated: Bool[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some rows of a sample that may be too large for memory: they are picked while it is read."""

    sample: Points
    rows: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)


def _second_half(n: int, rng: np.random.Generator) -> Bool[np.ndarray, " n"]:
    is_second = np.zeros(n, bool)
    is_second[rng.permutation(n)[-(-n // 2) :]] = True
    return is_second


def _drawn_halves(n: int, m: int, draws: int, rng: np.random.Generator) -> list[_Halves]:
    return [_Halves(_second_half(n, rng), _second_half(m, rng)) for _ in range(draws // 2)]


def _one_by_one(statistic: _Statistic, real: Points, generated: Points, drawn: list[_Halves]) -> np.ndarray:
    """Return the statistic of all halves, each half and its complement in turn."""
    return np.array(
        [
            statistic(
                real[np.flatnonzero(halves.real == second)],
                generated[np.flatnonzero(halves.generated == second)],
            )
            for halves in drawn
            for second in (False, True)
        ]
    )


def _check_samples(real: Points, generated: Points, floor: Points | str, *, least: int, draws: int) -> None:
    samples = {"real": real, "generated": generated}
    if not isinstance(floor, str):
        samples["floor"] = floor
    elif floor not in ("halves", "none"):
        raise ValueError(f'floor must be features of other real images, "halves" or "none", not {floor!r}.')
    for name, sample in samples.items():
        check_points(sample, name=name)
        if len(sample) < least:
            raise ValueError(f"{name} must hold {least} rows or more, not {len(sample)}; take more images.")
        if sample.shape[1] != real.shape[1]:
            raise ValueError(
                f"real and {name} must have the same features, not {real.shape[1]} and {sample.shape[1]}."
            )
    if draws < 2 or draws % 2:
        raise ValueError(
            f"draws must be an even number of at least 2, not {draws}: halves come with their complements."
        )


def _scores(
    statistic: _Statistic,
    real: Points,
    generated: Points,
    *,
    floor: Points | str,
    draws: int,
    random_state: int | np.random.Generator,
    halved: _Halved | None = None,
    extrapolated: bool = False,
    chosen: Callable[[Points, Int[np.ndarray, " _"]], Any] = operator.getitem,
) -> list[Score]:
    """Score both samples, and the floor: other real images, or one half of the real ones against the other."""
    rng = np.random.default_rng(random_state)
    halved = halved or partial(_one_by_one, statistic)
    halves = halved(real, generated, _drawn_halves(len(real), len(generated), draws, rng))
    value = statistic(real, generated)
    if extrapolated:
        value = 2.0 * value - halves.mean(axis=0)
    lowest = np.full(len(value), np.nan)
    for base, other in _floor_samples(real, floor, rng, chosen):
        lowest = statistic(base, other)
        if extrapolated:
            drawn = _drawn_halves(len(base), len(other), draws, rng)
            lowest = 2.0 * lowest - halved(base, other, drawn).mean(axis=0)
    spread = halves.std(axis=0, ddof=1)
    columns = zip(value, spread, lowest, halves.T, strict=True)
    return [Score(float(v), float(s), float(f), half) for v, s, f, half in columns]


def _floor_samples(
    real: Points,
    floor: Points | str,
    rng: np.random.Generator,
    chosen: Callable[[Points, Int[np.ndarray, " _"]], Any],
) -> list[tuple[Any, Any]]:
    """Return the two samples of real images that give the floor, if there is one."""
    if not isinstance(floor, str):
        return [(real, floor)]
    if floor == "none":
        return []
    is_second = _second_half(len(real), rng)
    return [(chosen(real, np.flatnonzero(~is_second)), chosen(real, np.flatnonzero(is_second)))]


def frechet_distance(
    real: Points,
    generated: Points,
    *,
    floor: Points | Literal["halves", "none"] = "halves",
    extrapolate: bool = True,
    draws: int = 40,
    random_state: int | np.random.Generator = 0,
) -> Score:
    r"""Measure the Fréchet distance between features, as if there were infinitely many images.

    :math:`|\mu_1 - \mu_2|^2 + \operatorname{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})`, the squared
    Wasserstein distance of normal laws with the samples' means and covariances. With n images on each side it is too
    large by about c/n. It is measured with all images and with halves of them, and the straight line in 1/n through
    both is read at 0 [2]_. The line holds where there are several times more images than features.

    The standard error is the deviation over random halves of both samples [3]_.

    Parameters
    ----------
    real, generated : array of float, shapes (n, k) and (m, k)
        Features, 4 rows or more of each; several times k. Also as Dask arrays.
    floor : array of float, shape (l, k), "halves" or "none"
        Features of other real images, to score the same way; "halves" scores one half of `real` against the other,
        which is noisier; "none" leaves the floor out.
    extrapolate : bool
        Whether to extrapolate; else the value is that of the images at hand.
    draws : int
        Number of half-samples, even, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator that draws them.

    Returns
    -------
    Score
        In squared units of the features. Extrapolated, it may come out below 0 for equal laws.

    Raises
    ------
    ValueError
        If a sample is no cloud of finite points or too small, the numbers of features differ, or `floor` is another
        word.

    References
    ----------
    .. [1] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter (2017), GANs trained by a two
       time-scale update rule converge to a local Nash equilibrium, NeurIPS.
    .. [2] M. J. Chong and D. Forsyth (2020), Effectively unbiased FID and Inception Score and where to find them, CVPR.
    .. [3] D. N. Politis and J. P. Romano (1994), Large sample confidence regions based on subsamples under minimal
       assumptions, Annals of Statistics 22, 2031-2050.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> real, generated = rng.normal(0, 1, (4000, 3)), rng.normal([3, 0, 0], [1, 1, 2], (4000, 3))
    >>> score = frechet_distance(real, generated)
    >>> score.low < 3**2 + (2 - 1) ** 2 < score.high
    True
    """
    _check_samples(real, generated, floor, least=4, draws=draws)
    # The many matrices of k x k are too small to be shared out: several threads take longer, most of it to wait.
    with one_blas_thread():
        return _scores(
            _frechet_statistic,
            real,
            generated,
            floor=floor,
            draws=draws,
            random_state=random_state,
            halved=_frechet_halved,
            extrapolated=extrapolate,
            chosen=_Chosen,
        )[0]


_Sample: TypeAlias = Any  # Points or _Chosen


def _frechet_statistic(real: _Sample, generated: _Sample) -> Float[np.ndarray, " 1"]:
    return np.array([frechet_of_moments(_moments(real), _moments(generated))])


def _moments(sample: _Sample) -> Moments:
    if not isinstance(sample, _Chosen):
        return measure_moments(sample)
    return _moments_of_halves(sample, [np.zeros(len(sample), bool)])[0]


def _frechet_halved(real: _Sample, generated: _Sample, drawn: list[_Halves]) -> Float[np.ndarray, "draws 1"]:
    """Measure all halves in one pass over each sample, which may be too large for memory."""
    ours = _moments_of_halves(real, [halves.real for halves in drawn])
    theirs = _moments_of_halves(generated, [halves.generated for halves in drawn])
    return np.array([[frechet_of_moments(a, b)] for a, b in zip(ours, theirs, strict=True)])


def _moments_of_halves(sample: _Sample, halves: list[Bool[np.ndarray, " n"]]) -> list[Moments]:
    """Return the moments of each first and second half in turn."""
    whole, rows = (sample.sample, sample.rows) if isinstance(sample, _Chosen) else (sample, slice(None))
    half = np.full((len(whole), len(halves)), -1, dtype=np.int8)  # -1 is in neither
    for column, is_second in enumerate(halves):
        half[rows, column] = is_second
    return merged(_part_of_halves, whole, _add_all, along=(half,))


def _part_of_halves(part: np.ndarray, first: int, half: Int8[np.ndarray, "n k"]) -> list[Moments]:
    found = [Moments.empty(part.shape[1])] * (2 * half.shape[1])
    for where, rows in checked_blocks(part, first=first):
        sides = (column == side for column in half[where].T for side in (0, 1))
        found = [
            sum_ + part_moments(rows[side], first) if side.any() else sum_
            for sum_, side in zip(found, sides, strict=True)
        ]
    return found


def _add_all(a: list[Moments], b: list[Moments]) -> list[Moments]:
    return [x + y for x, y in zip(a, b, strict=True)]


def frechet_of_moments(first: Moments, second: Moments) -> float:
    r"""Measure the Fréchet distance of two normal laws.

    :math:`|\mu_1 - \mu_2|^2 + \operatorname{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})`; covariances may be
    singular.

    Parameters
    ----------
    first, second : Moments
        Moments of at least two points each, with the same components.

    Returns
    -------
    float
        In squared units of the components, at least 0.

    Raises
    ------
    ValueError
        If a cloud has a single point, or the numbers of components differ.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau (1982), The Fréchet distance between multivariate normal distributions,
       Journal of Multivariate Analysis 12, 450-455.

    Examples
    --------
    >>> one, two = (measure_moments(np.array([[m - s], [m + s]])) for m, s in ((0.0, 1.0), (3.0, 2.0)))
    >>> round(frechet_of_moments(one, two), 6)
    11.0
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"both laws must have the same components, not {len(first.mean)} and {len(second.mean)}."
        )
    variances, axes = np.linalg.eigh(first.covariance)
    root = axes * np.sqrt(np.maximum(variances, 0.0))
    shared = np.linalg.eigvalsh(root.T @ second.covariance @ root)
    step = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    distance = step @ step + traces - 2.0 * np.sqrt(np.maximum(shared, 0.0)).sum()
    return max(float(distance), 0.0)


def kernel_distance(
    real: Points,
    generated: Points,
    *,
    floor: Points | Literal["halves", "none"] = "halves",
    standardise: bool = True,
    draws: int = 20,
    random_state: int | np.random.Generator = 0,
) -> Score:
    r"""Measure the kernel distance between features: their squared maximum mean discrepancy, without bias.

    The mean of :math:`k(x, x')` over pairs of real images, plus that over pairs of generated ones, less twice that
    over pairs of one real and one generated image, with :math:`k(x, y) = (x \cdot y / d + 1)^3` and d the number of
    features. It compares means, variances and skewness, and needs no normal law.

    Parameters
    ----------
    real, generated : array of float, shapes (n, k) and (m, k)
        Features, 4 rows or more of each. Of Dask arrays, each worker holds one sample whole.
    floor : array of float, shape (l, k), "halves" or "none"
        Features of other real images, to score the same way; "halves" scores one half of `real` against the other,
        which is noisier; "none" leaves the floor out.
    standardise : bool
        Whether features are first moved to the real ones' mean and divided by one number, so that the real ones' mean
        squared length is d. The kernel has a scale of its own; without this, the score depends on the features' unit.
        False gives the definition in [1]_, which is for Inception's features.
    draws : int
        Number of half-samples behind the standard error, even, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator that draws them.

    Returns
    -------
    Score
        Without unit if standardised; about 0, also below 0, for equal laws.

    Raises
    ------
    ValueError
        If a sample is no cloud of finite points or too small, the numbers of features differ, `floor` is another word,
        or all real features are the same and are to be standardised.

    References
    ----------
    .. [1] M. Bińkowski, D. J. Sutherland, M. Arbel and A. Gretton (2018), Demystifying MMD GANs, ICLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> score = kernel_distance(rng.normal(0, 1, (300, 4)), rng.normal(1, 1, (300, 4)))
    >>> score.low > score.floor
    True
    """
    _check_samples(real, generated, floor, least=4, draws=draws)
    if standardise:
        moments = measure_moments(real)
        size = math.sqrt(np.trace(moments.scatter) / moments.n / len(moments.mean))
        if size == 0.0:
            raise ValueError("all real features are the same, so they have no scale; take other features.")
        real, generated = ((sample - moments.mean) / size for sample in (real, generated))
        floor = floor if isinstance(floor, str) else (floor - moments.mean) / size
    return _scores(_kernel_statistic, real, generated, floor=floor, draws=draws, random_state=random_state)[0]


def _kernel_statistic(real: Points, generated: Points) -> Float[np.ndarray, " 1"]:
    n, m = len(real), len(generated)
    within_real = _kernel_sum(real, real) - merged(_kernel_diagonal, real, operator.add)
    within_generated = _kernel_sum(generated, generated) - merged(_kernel_diagonal, generated, operator.add)
    between = _kernel_sum(real, generated) / (n * m)
    return np.array([within_real / (n * (n - 1)) + within_generated / (m * (m - 1)) - 2.0 * between])


def _kernel_sum(x: Points, y: Points) -> float:
    return merged(_part_kernel_sum, x, operator.add, whole=(y,))


def _part_kernel_sum(part: np.ndarray, first: int, y: np.ndarray) -> float:
    total, y64 = 0.0, y.astype(np.float64).T
    for _, rows in checked_blocks(part, first=first):
        kernel = rows.astype(np.float64) @ y64
        kernel /= part.shape[1]
        kernel += 1.0
        total += float(np.einsum("ij,ij,ij->", kernel, kernel, kernel))
    return total


def _kernel_diagonal(part: np.ndarray, _first: int) -> float:
    squares = np.einsum("ij,ij->i", part, part, dtype=np.float64)
    return float(((squares / part.shape[1] + 1.0) ** 3).sum())


def precision_recall(
    real: Points,
    generated: Points,
    *,
    k: int = 3,
    floor: Points | Literal["halves", "none"] = "halves",
    draws: int = 20,
    random_state: int | np.random.Generator = 0,
) -> PrecisionRecall:
    r"""Measure the share of generated images that look real, and the share of real ones that are reached.

    The reach of an image is the distance to its k-th neighbour in its own sample. Precision is the share of generated
    images within the reach of some real one, recall the share of real images within the reach of some generated one.

    Parameters
    ----------
    real, generated : array of float, shapes (n, f) and (m, f)
        Features, 2k + 4 rows or more of each; as many of one as of the other. Of Dask arrays, each worker holds one
        sample whole.
    k : int
        Rank of the neighbour, at least 1.
    floor : array of float, shape (l, f), "halves" or "none"
        Features of other real images, to score the same way; "halves" scores one half of `real` against the other,
        which is noisier; "none" leaves the floor out.
    draws : int
        Number of half-samples behind the standard errors, even, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator that draws them.

    Returns
    -------
    PrecisionRecall
        Two scores; their `floor` is what real images reach, and the most that one can hope for.

    Raises
    ------
    ValueError
        If a sample is no cloud of finite points or too small, `k` is below 1, the numbers of features differ, or
        `floor` is another word.

    References
    ----------
    .. [1] T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila (2019), Improved precision and recall metric
       for assessing generative models, NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = precision_recall(rng.normal(0, 1, (400, 2)), rng.normal(0, 0.2, (400, 2)))
    >>> found.precision.value > 0.99, found.recall.value < 0.5
    (True, True)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    _check_samples(real, generated, floor, least=2 * k + 4, draws=draws)

    def statistic(x: Points, y: Points) -> np.ndarray:
        precision = _cover(y, x, _reach(x, k)).any_ball.mean()
        return np.array([precision, _cover(x, y, _reach(y, k)).any_ball.mean()])

    return PrecisionRecall(
        *_scores(statistic, real, generated, floor=floor, draws=draws, random_state=random_state)
    )


def density_coverage(
    real: Points,
    generated: Points,
    *,
    k: int = 5,
    floor: Points | Literal["halves", "none"] = "halves",
    draws: int = 20,
    random_state: int | np.random.Generator = 0,
) -> DensityCoverage:
    r"""Measure how densely generated images lie among real ones, and how many real ones they cover.

    The reach of a real image is the distance to its k-th neighbour among the real ones. Density is the mean number of
    real images within whose reach a generated one lies, over k. Coverage is the share of real images with a generated
    one within their reach; for equal laws and n = m it is near :math:`1 - 2^{-k}`.

    Parameters
    ----------
    real, generated : array of float, shapes (n, f) and (m, f)
        Features, 2k + 4 rows or more of each; as many of one as of the other. Of Dask arrays, each worker holds one
        sample whole.
    k : int
        Rank of the neighbour, at least 1.
    floor : array of float, shape (l, f), "halves" or "none"
        Features of other real images, to score the same way; "halves" scores one half of `real` against the other,
        which is noisier; "none" leaves the floor out.
    draws : int
        Number of half-samples behind the standard errors, even, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator that draws them.

    Returns
    -------
    DensityCoverage
        Two scores; their `floor` is what real images reach.

    Raises
    ------
    ValueError
        If a sample is no cloud of finite points or too small, `k` is below 1, the numbers of features differ, or
        `floor` is another word.

    References
    ----------
    .. [1] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi and J. Yoo (2020), Reliable fidelity and diversity metrics for
       generative models, ICML.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = density_coverage(rng.normal(0, 1, (400, 2)), rng.normal(0, 0.2, (400, 2)))
    >>> round(found.density.value), found.coverage.value < 0.5
    (1, True)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    _check_samples(real, generated, floor, least=2 * k + 4, draws=draws)

    def statistic(x: Points, y: Points) -> np.ndarray:
        cover = _cover(y, x, _reach(x, k))
        return np.array([cover.balls / (k * len(y)), cover.ball_hit.mean()])

    return DensityCoverage(
        *_scores(statistic, real, generated, floor=floor, draws=draws, random_state=random_state)
    )


@dataclass(frozen=True, eq=False)
class FactorErrors:
    """How far the factors of generated faces are from those of real ones.

    Parameters
    ----------
    table : pandas.DataFrame, columns value, standard_error, low, high and floor
        One row per factor: distance of the two distributions, in standard deviations of the real faces' factor.
    mean : Score
        The mean over the factors.
    """

    table: pd.DataFrame
    mean: Score


def factor_error(
    real: pd.DataFrame,
    generated: pd.DataFrame,
    *,
    floor: pd.DataFrame | Literal["halves", "none"] = "halves",
    draws: int = 20,
    random_state: int | np.random.Generator = 0,
) -> FactorErrors:
    r"""Measure the error of each factor's distribution in generated faces.

    Wasserstein's distance of first order, :math:`\int |F(x) - G(x)| dx` with the distribution functions F and G: how
    far the values must be moved on average. Samples of n differ by about :math:`1/\sqrt{n}` by chance: see the floor.

    Parameters
    ----------
    real, generated : pandas.DataFrame, shapes (n, k) and (m, k)
        Factors or readings of them (`FactorReader.predict`), 4 rows or more of each. Readings are drawn to the mean, so
        hold them against readings of real faces, best of decoded held-out z-points.
    floor : pandas.DataFrame, shape (l, k), "halves" or "none"
        Factors of other real faces, to score the same way; "halves" scores one half of `real` against the other; "none"
        leaves the floor out.
    draws : int
        Number of half-samples behind the standard errors, even, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator that draws them.

    Returns
    -------
    FactorErrors
        One row per factor, and their mean.

    Raises
    ------
    ValueError
        If the tables have other columns, a value is missing or no number, a table is too short, or a factor is constant
        in the real faces.

    References
    ----------
    .. [1] C. Villani (2009), Optimal Transport, Springer, chapter 6.

    Examples
    --------
    >>> real = pd.DataFrame({"yaw": np.linspace(-1, 1, 101)})
    >>> round(factor_error(real, real + real.yaw.std()).mean.value, 6)
    1.0
    """
    names = list(real.columns)
    x, y = _numbers(real, names), _numbers(generated, names)
    other = floor if isinstance(floor, str) else _numbers(floor, names)
    _check_samples(x, y, other, least=4, draws=draws)
    std = x.std(axis=0, ddof=1)
    if (np.ptp(x, axis=0) == 0).any():
        constant = [name for name, width in zip(names, np.ptp(x, axis=0), strict=True) if width == 0]
        raise ValueError(f"factors must vary in the real faces, but {constant} do not; leave them out.")

    def statistic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        moved = np.array([wasserstein_distance(a[:, j], b[:, j]) for j in range(len(names))]) / std
        return np.append(moved, moved.mean())

    *each, mean = _scores(statistic, x, y, floor=other, draws=draws, random_state=random_state)
    rows = [(s.value, s.standard_error, s.low, s.high, s.floor) for s in each]
    columns = ["value", "standard_error", "low", "high", "floor"]
    return FactorErrors(pd.DataFrame(rows, index=pd.Index(names), columns=columns), mean)


def _numbers(table: pd.DataFrame, names: list[str]) -> Float[np.ndarray, "n k"]:
    if set(table.columns) != set(names):
        raise ValueError("all tables must have the same factors; choose the columns that they share.")
    return table[names].to_numpy(dtype=np.float64)


class _Cover(NamedTuple):
    any_ball: Bool[np.ndarray, " m"]  # whether a point lies in some ball
    ball_hit: Bool[np.ndarray, " n"]  # whether a ball holds some point
    balls: int  # pairs of a point and a ball around it


def _cover(points: Points, centres: Points, reach: Float[np.ndarray, " n"]) -> _Cover:
    """Find which points lie within which balls, block by block."""
    return merged(_part_cover, points, _both_covers, whole=(centres, reach))


def _part_cover(part: np.ndarray, first: int, centres: np.ndarray, reach: np.ndarray) -> _Cover:
    any_ball, ball_hit, balls = np.empty(len(part), bool), np.zeros(len(centres), bool), 0
    for where, rows in checked_blocks(part, first=first):
        inside = _squared_distances(rows, centres, slack=_slack(centres)) <= reach**2
        any_ball[where] = inside.any(axis=1)
        ball_hit |= inside.any(axis=0)
        balls += int(np.count_nonzero(inside))
    return _Cover(any_ball, ball_hit, balls)


def _both_covers(a: _Cover, b: _Cover) -> _Cover:
    return _Cover(np.append(a.any_ball, b.any_ball), a.ball_hit | b.ball_hit, a.balls + b.balls)


def _reach(cloud: Points, k: int) -> Float[np.ndarray, " n"]:
    """Return the distance of each point to its k-th neighbour in its own cloud."""
    return merged(partial(_part_reach, k=k), cloud, np.append, whole=(cloud,))


def _part_reach(part: np.ndarray, first: int, cloud: np.ndarray, *, k: int) -> Float[np.ndarray, " n"]:
    out = np.empty(len(part))
    for where, rows in checked_blocks(part, first=first):
        squares = _squared_distances(rows, cloud)
        squares[np.arange(len(rows)), np.arange(first + where.start, first + where.stop)] = np.inf
        out[where] = np.sqrt(np.partition(squares, k - 1, axis=1)[:, k - 1])
    return out


def _slack(points: np.ndarray) -> float:
    """Return by what share of both squared lengths two squared distances may differ that are equal but for rounding.

    A sum of d products is off by less than d + 2 roundings of the product of both lengths; twice that product is less
    than both squares together.
    """
    return 8.0 * (points.shape[1] + 2) * float(np.finfo(np.float64).eps)


def _squared_distances(
    points: np.ndarray, cloud: np.ndarray, *, slack: float = 0.0
) -> Float[np.ndarray, "m n"]:
    """Measure squared distances, less a share of the squared lengths about the cloud's mean, 0 at the least."""
    origin = cloud.mean(axis=0, dtype=np.float64)  # products of numbers far from 0 would lose digits
    x, y = points - origin, cloud - origin
    squares = x @ (-2.0 * y.T)
    squares += (1.0 - slack) * np.einsum("ij,ij->i", x, x)[:, None]
    squares += (1.0 - slack) * np.einsum("ij,ij->i", y, y)
    return np.maximum(squares, 0.0, out=squares)
