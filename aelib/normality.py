"""Is a cloud of z-points normal? Tests that are calibrated by simulation at the same number of points and dimensions.

The tests look at whitened clouds (see `aelib.nulls.Whitened`), so their null laws depend on the numbers of points and
dimensions alone, and simulation gives exact p-values, whatever the cloud's mean and covariance [1]_.

.. [1] J.-M. Dufour (2006), Monte Carlo tests with nuisance parameters, Journal of Econometrics 133, 443-477.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import lognorm

from aelib.departures import TWO_SIDED, Battery, Cut, Departure, measure_departures
from aelib.nulls import check_enough, normal_whitened, rewhiten, whiten
from aelib.threads import n_cores, one_blas_thread
from aelib.truncation import kept_variance

_Result = TypeVar("_Result")

CORE_BATTERY = Battery(("radius", "kurtosis", "random directions", "principal axes", "worst direction"))
"""What `core_and_shell` looks at: all but the statistics of pairs."""


@dataclass(frozen=True)
class NormalityTest:
    """One test of one cloud, held against normal clouds of as many points and dimensions.

    Parameters
    ----------
    name : str
        Its name, one of `aelib.departures.TESTS`.
    statistic : float
        The statistic, as `aelib.departures.measure_departures` defines it. For "nearest" the mean distance of the
        quantiles from their mean in normal clouds, without unit.
    p_value : float
        Share of clouds, normal ones and this one, whose statistic is at least as extreme; at least 1 / (draws + 1). If
        the cloud is normal, it is at most a with probability a, for every a that is a multiple of that.
    null_mean, null_std : float
        Mean and standard deviation of the statistic of normal clouds.
    effect : float
        Size of the departure, less its mean in normal clouds, in the unit that `measure_departures` states.
    naive_p_value : float
        P-value of the textbook, which may be far off at hundreds of dimensions; not-a-number where there is none.
    draws : int
        Number of normal clouds.
    """

    name: str
    statistic: float
    p_value: float
    null_mean: float
    null_std: float
    effect: float
    naive_p_value: float
    draws: int

    @property
    def z_score(self) -> float:
        """Statistic less its mean in normal clouds, in their standard deviations."""
        return (self.statistic - self.null_mean) / self.null_std


@dataclass(frozen=True, eq=False)
class NullLaw:
    """What a battery of statistics gives for normal clouds; it serves all clouds of that many points and dimensions.

    Parameters
    ----------
    n, k : int
        Number of points and of dimensions.
    battery : Battery
        Which statistics.
    values : tuple of array of float64, each of shape (draws, q)
        Values of each statistic.
    sizes : array of float64, shape (draws, t)
        Sizes of the departures, a column for each statistic.
    """

    n: int
    k: int
    battery: Battery
    values: tuple[Float[np.ndarray, "draws _"], ...]
    sizes: Float[np.ndarray, "draws t"]

    def merge(self, other: "NullLaw") -> "NullLaw":
        """Add the draws of another simulation of the same law, made with another seed.

        Parameters
        ----------
        other : NullLaw
            Draws for as many points and dimensions, and the same battery.

        Returns
        -------
        NullLaw
            All draws. `a + b` is the same.

        Raises
        ------
        ValueError
            If the laws are not the same.

        Examples
        --------
        >>> few, more = (null_law(9, 1, battery=Battery(("radius",)), draws=b, random_state=b) for b in (19, 20))
        >>> (few + more).sizes.shape
        (39, 1)
        """
        _check_null(other, (self.n, self.k), self.battery)
        values = tuple(np.concatenate(pair) for pair in zip(self.values, other.values, strict=True))
        return NullLaw(self.n, self.k, self.battery, values, np.concatenate([self.sizes, other.sizes]))

    def __add__(self, other: "NullLaw") -> "NullLaw":
        return self.merge(other)


def null_law(
    n: int,
    k: int,
    *,
    battery: Battery = Battery(),  # noqa: B008 (frozen)
    draws: int = 99,
    random_state: int | np.random.Generator = 0,
) -> NullLaw:
    r"""Simulate the statistics of normal clouds.

    Two clouds or more are drawn at a time, one on each core; a cloud and its work take about :math:`4 n k + 4 m^2 / 10`
    bytes, with m points in pairs. The law does not depend on the number of cores.

    Parameters
    ----------
    n, k : int
        Number of points, at least k + 2, and of dimensions.
    battery : Battery
        Which statistics.
    draws : int
        Number of clouds, at least 1. With 19, 39, 59, 79, 99 … a test at 5 % has exactly that size.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    NullLaw
        Their values.

    Raises
    ------
    ValueError
        If there are too few points, or `draws` is below 1.

    Examples
    --------
    >>> law = null_law(200, 3, battery=Battery(("kurtosis",)), draws=19)
    >>> law.values[0].shape, bool(abs(law.sizes.mean() - 1) < 0.05)
    ((19, 1), True)
    """
    check_enough(n, k)

    def measure(rng: np.random.Generator) -> tuple[Departure, ...]:
        return measure_departures(normal_whitened(n, k, rng), battery=battery, rng=rng)

    return _gathered(n, k, battery, on_all_cores(measure, draws, random_state))


def on_all_cores(
    measure: Callable[[np.random.Generator], _Result], draws: int, random_state: int | np.random.Generator
) -> list[_Result]:
    """Call once for each draw, on all cores.

    Parameters
    ----------
    measure : callable
        Is called with a generator of its own each time, so the results do not depend on the number of cores.
    draws : int
        Number of calls, at least 1.
    random_state : int or numpy.random.Generator
        Seed or generator from which the others are spawned.

    Returns
    -------
    list
        What the calls return, in order.

    Raises
    ------
    ValueError
        If `draws` is below 1.

    Examples
    --------
    >>> on_all_cores(lambda rng: rng.integers(10).item(), 3, 0)
    [8, 6, 6]
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}.")
    generators = np.random.default_rng(random_state).spawn(draws)
    # A thread for each draw keeps the cores busy where products of matrices do not.
    with one_blas_thread(), ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(measure, generators))


def _gathered(n: int, k: int, battery: Battery, drawn: Sequence[tuple[Departure, ...]]) -> NullLaw:
    values = tuple(np.array([one.values for one in column]) for column in zip(*drawn, strict=True))
    return NullLaw(n, k, battery, values, np.array([[one.size for one in row] for row in drawn]))


def normality_tests(
    z: Float[np.ndarray, "..."],
    *,
    k: int | None = None,
    battery: Battery = Battery(),  # noqa: B008 (frozen)
    null: NullLaw | None = None,
    draws: int = 99,
    random_state: int | np.random.Generator = 0,
) -> tuple[NormalityTest, ...]:
    r"""Test whether a cloud of z-points is normal, each statistic calibrated by normal clouds of the same size.

    The p-value is :math:`(1 + \#\{T_b \ge T\}) / (B + 1)` over B normal clouds. Where a statistic may be too small as
    well as too large, T is its distance from the mean of all B + 1 values: under the null hypothesis, they are
    exchangeable. So every single test is exact for any B; of t tests at level a, one or more reject with a probability
    of up to t a.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory or memory-mapped. A whitened copy of 4 n k bytes is made.
    k : int or None
        Number of leading principal axes to test in; None takes all along which the points vary by more than their
        rounding. Of n points, there are n - 1 of them at the most; then k must be smaller.
    battery : Battery
        Which statistics.
    null : NullLaw or None
        What `null_law` gave for n, k and the battery; None simulates it.
    draws : int
        Number of simulated clouds if `null` is None.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    tuple of NormalityTest
        One for each name of the battery.

    Raises
    ------
    ValueError
        If `z` is no cloud of more than k + 1 finite points that vary along k axes, or `null` belongs to another size or
        battery.

    Examples
    --------
    >>> z = np.random.default_rng(0).standard_t(5, size=(300, 4))
    >>> test, = normality_tests(z, battery=Battery(("kurtosis",)), draws=19)
    >>> test.p_value, bool(test.effect > 0.1)
    (0.05, True)
    """
    rng = np.random.default_rng(random_state)
    u = whiten(z, k=k).u
    own = rng.spawn(1)[0]
    if null is None:
        null = null_law(*u.shape, battery=battery, draws=draws, random_state=rng)
    _check_null(null, u.shape, battery)
    return judge(measure_departures(u, battery=battery, naive=True, rng=own), null)


def _check_null(null: NullLaw, shape: tuple[int, ...], battery: Battery) -> None:
    if (null.n, null.k) != shape or null.battery != battery:
        raise ValueError(
            f"null must be the law of {shape[0]} points in {shape[1]} dimensions for the same battery, not of {null.n} "
            f"in {null.k} for {null.battery}."
        )


def judge(measured: Sequence[Departure], null: NullLaw) -> tuple[NormalityTest, ...]:
    """Hold the statistics of a cloud against those of normal ones.

    Parameters
    ----------
    measured : sequence of Departure
        Statistics of the cloud.
    null : NullLaw
        The same statistics of normal clouds.

    Returns
    -------
    tuple of NormalityTest
        One for each statistic.

    Raises
    ------
    ValueError
        If the statistics are not those of the null law.

    Examples
    --------
    >>> null = NullLaw(9, 1, Battery(("radius",)), (np.array([[1.0], [2.0], [3.0]]),), np.ones((3, 1)))
    >>> judge([Departure("radius", np.array([2.5]), 1.5)], null)[0].p_value
    0.5
    """
    names = tuple(one.name for one in measured)
    if names != null.battery.names:
        raise ValueError(f"the null law has the statistics {null.battery.names}, not {names}.")
    return tuple(
        _judged(one, values, sizes)
        for one, values, sizes in zip(measured, null.values, null.sizes.T, strict=True)
    )


def _judged(one: Departure, values: np.ndarray, sizes: np.ndarray) -> NormalityTest:
    pooled = np.concatenate([one.values[None], values])
    extreme = np.abs(pooled - pooled.mean(axis=0)).mean(axis=1) if one.name in TWO_SIDED else pooled[:, 0]
    shown = pooled[:, 0] if pooled.shape[1] == 1 else extreme
    return NormalityTest(
        name=one.name,
        statistic=float(shown[0]),
        p_value=float(np.mean(extreme >= extreme[0])),
        null_mean=float(shown[1:].mean()),
        null_std=float(shown[1:].std(ddof=1)) if len(values) > 1 else math.nan,
        effect=one.size - float(sizes.mean()),
        naive_p_value=one.naive_p_value,
        draws=len(values),
    )


def normality_table(tests: Sequence[NormalityTest]) -> pd.DataFrame:
    """Lay out tests as a table.

    Parameters
    ----------
    tests : sequence of NormalityTest
        The tests.

    Returns
    -------
    pandas.DataFrame
        A row for each, by name: statistic, null mean and standard deviation, z-score, p-value, effect and naive
        p-value.

    Examples
    --------
    >>> normality_table([NormalityTest("radius", 0.5, 0.01, 0.1, 0.1, 0.02, 0.9, 99)]).columns.tolist()
    ['statistic', 'null mean', 'null std', 'z-score', 'p-value', 'effect', 'naive p-value']
    """
    rows = [
        (t.statistic, t.null_mean, t.null_std, t.z_score, t.p_value, t.effect, t.naive_p_value) for t in tests
    ]
    columns = ["statistic", "null mean", "null std", "z-score", "p-value", "effect", "naive p-value"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index([t.name for t in tests], name="test"))


class TextbookTest(NamedTuple):
    """A test as textbooks have it, with the p-value of a large-sample law.

    Parameters
    ----------
    statistic : float
        The statistic, without unit.
    p_value : float
        Its p-value, in [0, 1].
    """

    statistic: float
    p_value: float


def henze_zirkler(z: Float[np.ndarray, "..."]) -> TextbookTest:
    r"""Test normality as Henze and Zirkler do; at many dimensions it does not work, and is here to show that.

    With :math:`D_{ij}` and :math:`D_i` the squared Mahalanobis distances of pairs of points and from the mean, by the
    covariance with n, and :math:`\beta = ((2d + 1) n / 4)^{1/(d + 4)} / \sqrt 2`,

    .. math:: \frac{1}{n} \sum_{ij} e^{-\beta^2 D_{ij} / 2} - 2 (1 + \beta^2)^{-d/2} \sum_i e^{-\beta^2 D_i / (2 (1 +
        \beta^2))} + n (1 + 2 \beta^2)^{-d/2},

    and a log-normal law with its large-sample mean and variance. At d = 256 all terms but those with i = j are far
    below rounding: the statistic is 1 for every cloud, its mean is 1, and its standard deviation is 1e-32. To have a
    p-value at all, the deviation is taken to be 1e-12 at least, which is what rounding leaves; the p-value then is
    about 0.5, whatever the data.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points.

    Returns
    -------
    TextbookTest
        Statistic and p-value.

    Raises
    ------
    ValueError
        If `z` is no cloud of more than k + 1 finite points that vary along k axes.

    References
    ----------
    .. [1] N. Henze and B. Zirkler (1990), A class of invariant consistent tests for multivariate normality,
       Communications in Statistics - Theory and Methods 19, 3595-3617.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> henze_zirkler(rng.exponential(size=(500, 2))).p_value < 0.001
    True
    >>> round(henze_zirkler(rng.exponential(size=(500, 256))).p_value, 1)
    0.5
    """
    u = whiten(z).u.astype(np.float64)
    n, d = u.shape
    u *= math.sqrt(n / (n - 1.0))
    square = np.einsum("ij,ij->i", u, u)
    b = 0.5 * ((2 * d + 1) * n / 4.0) ** (2.0 / (d + 4))
    pairs = sum(
        float(np.exp(-0.5 * b * np.maximum(square[rows, None] + square - 2.0 * u[rows] @ u.T, 0.0)).sum())
        for rows in (slice(start, start + 256) for start in range(0, n, 256))
    )
    single = float(np.exp(-0.5 * b / (1.0 + b) * square).sum())
    statistic = (
        pairs / n - 2.0 * (1.0 + b) ** (-0.5 * d) * single + n * math.exp(-0.5 * d * math.log1p(2.0 * b))
    )
    mean, variance = _henze_zirkler_moments(b, d)
    spread = math.log1p(variance / mean**2)
    scale = mean * math.exp(-0.5 * spread)
    return TextbookTest(statistic, float(lognorm.sf(statistic, max(math.sqrt(spread), 1e-12), scale=scale)))


def _henze_zirkler_moments(b: float, d: int) -> tuple[float, float]:
    """Return mean and variance of the statistic in large normal samples, with b = beta²."""
    a, w = 1.0 + 2.0 * b, (1.0 + b) * (1.0 + 3.0 * b)
    mean = 1.0 - a ** (-0.5 * d) * (1.0 + d * b / a + d * (d + 2) * b**2 / (2.0 * a**2))
    variance = (
        2.0 * (1.0 + 4.0 * b) ** (-0.5 * d)
        + 2.0 * a**-d * (1.0 + 2.0 * d * b**2 / a**2 + 3.0 * d * (d + 2) * b**4 / (4.0 * a**4))
        - 4.0 * w ** (-0.5 * d) * (1.0 + 3.0 * d * b**2 / (2.0 * w) + d * (d + 2) * b**4 / (2.0 * w**2))
    )
    return mean, variance


class CoreVerdict(NamedTuple):
    r"""The tests of the core of a cloud: what is left when its outer points are cut.

    Parameters
    ----------
    share : float
        Share of the points that is left, in (0, 1].
    n_kept : int
        Number of them.
    variance_ratio : float
        How wide the core is, against the whole: :math:`\operatorname{tr}(\Sigma^{-1} \Sigma_c) / k`, with
        :math:`\Sigma_c` the core's covariance divided by what a normal cloud keeps. About 1 for a normal cloud; below 1
        if outliers widen the whole.
    null_ratio_mean, null_ratio_std : float
        Its mean and standard deviation in normal clouds.
    tests : tuple of NormalityTest
        Tests of the core, held against the cores of normal clouds.
    """

    share: float
    n_kept: int
    variance_ratio: float
    null_ratio_mean: float
    null_ratio_std: float
    tests: tuple[NormalityTest, ...]


def core_and_shell(
    z: Float[np.ndarray, "..."],
    *,
    shares: Sequence[float] = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5),
    k: int | None = None,
    battery: Battery = CORE_BATTERY,
    draws: int = 39,
    random_state: int | np.random.Generator = 0,
) -> tuple[CoreVerdict, ...]:
    r"""Test how the verdict on normality changes as outer points are cut.

    Kept are the points with the least Mahalanobis distances, by the mean and the covariance of all points. A cut
    makes the covariance too small; that of the rest is divided by what a normal cloud keeps (`kept_variance`), and the
    radii are held against their truncated law. Whatever else a cut does, it does to the simulated normal clouds too:
    they are cut the same way, so that every test is exact at every share. The tests of several shares are not
    independent.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, in memory or memory-mapped.
    shares : sequence of float
        Shares of the points to keep, in (0, 1].
    k : int or None
        Number of leading principal axes to test in; None takes all along which the points vary.
    battery : Battery
        Which statistics.
    draws : int
        Number of simulated clouds, at least 2.
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    tuple of CoreVerdict
        One for each share.

    Raises
    ------
    ValueError
        If a share is out of its range or leaves k + 1 points or fewer, `draws` is below 2, or `z` is no cloud of enough
        finite points.

    References
    ----------
    .. [1] R. Gnanadesikan and J. R. Kettenring (1972), Robust estimates, residuals, and outlier detection with
       multiresponse data, Biometrics 28, 81-124.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal((2000, 3))
    >>> z[:40] *= 6
    >>> for verdict in core_and_shell(z, shares=(1.0, 0.9), battery=Battery(("kurtosis",)), draws=19):
    ...     print(verdict.share, round(verdict.variance_ratio, 1), round(verdict.tests[0].effect, 1))
    1.0 1.0 6.0
    0.9 0.6 0.0
    """
    rng = np.random.default_rng(random_state)
    u = whiten(z, k=k).u
    n, k = u.shape
    counts = [_kept_count(n, k, share) for share in shares]
    if draws < 2:
        raise ValueError(f"draws must be at least 2, not {draws}.")
    own = list(_cores(u, counts, battery, rng.spawn(1)[0]))

    def measure(generator: np.random.Generator) -> list[_Core]:
        return list(_cores(normal_whitened(n, k, generator), counts, battery, generator))

    drawn = on_all_cores(measure, draws, rng)
    return tuple(
        _verdict(share, mine, _gathered(count, k, battery, [one.departures for one in others]), others)
        for share, count, mine, others in zip(shares, counts, own, zip(*drawn, strict=True), strict=True)
    )


class _Core(NamedTuple):
    variance_ratio: float
    departures: tuple[Departure, ...]


def _kept_count(n: int, k: int, share: float) -> int:
    if not 0 < share <= 1:
        raise ValueError(f"shares must be above 0 and at most 1, not {share}.")
    count = math.ceil(share * n)
    check_enough(count, k)
    return count


def _cores(
    u: np.ndarray, counts: Sequence[int], battery: Battery, rng: np.random.Generator
) -> Iterator[_Core]:
    n, k = u.shape
    order = np.argsort(np.einsum("ij,ij->i", u, u), kind="stable")
    for count in counts:
        share = count / n
        core = u[np.sort(order[:count])]
        kept = kept_variance(n, k, share)
        ratio = float(core.var(axis=0, ddof=1, dtype=np.float64).mean()) / kept
        found = measure_departures(rewhiten(core), battery=battery, cut=Cut(n, share, kept), rng=rng)
        yield _Core(ratio, found)


def _verdict(share: float, mine: _Core, null: NullLaw, others: Sequence[_Core]) -> CoreVerdict:
    ratios = np.array([one.variance_ratio for one in others])
    return CoreVerdict(
        share=share,
        n_kept=null.n,
        variance_ratio=mine.variance_ratio,
        null_ratio_mean=float(ratios.mean()),
        null_ratio_std=float(ratios.std(ddof=1)),
        tests=judge(mine.departures, null),
    )
