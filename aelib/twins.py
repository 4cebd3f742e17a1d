"""Any statistic of a cloud beside those of its null twins: p-values, effects, and how often such a test rejects."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from aelib.moments import measure_moments
from aelib.nulls import normal_whitened, null_twin
from aelib.pca import resolved_axes
from aelib.sampler import check_choice

_TAILS = ("two-sided", "greater", "less")


@dataclass(frozen=True, eq=False)
class TwinTest:
    r"""Statistics of a cloud, held against those of its null twins.

    Parameters
    ----------
    names : tuple of str, length s
        Names of the statistics.
    value : array of float64, shape (s,)
        Statistics of the cloud, in their own units.
    null : array of float64, shape (draws, s)
        Statistics of the twins.
    tail : str
        What counts as extreme: "two-sided", "greater" or "less".
    """

    names: tuple[str, ...]
    value: Float[np.ndarray, " s"]
    null: Float[np.ndarray, "draws s"]
    tail: str

    @property
    def mean(self) -> Float[np.ndarray, " s"]:
        """The twins' means, shape (s,)."""
        return self.null.mean(axis=0)

    @property
    def std(self) -> Float[np.ndarray, " s"]:
        """Standard deviations of the twins' statistics, with draws - 1, shape (s,)."""
        return self.null.std(axis=0, ddof=1)

    @property
    def effect(self) -> Float[np.ndarray, " s"]:
        """How far the cloud is from its twins, in their standard deviations, shape (s,); 0 if all are the same."""
        step = self.value - self.mean
        std = np.where(step == 0, 1.0, self.std)
        with np.errstate(divide="ignore"):  # twins that are all the same, and a cloud that is not
            return step / std

    @property
    def null_effect(self) -> Float[np.ndarray, "draws s"]:
        """How far each twin is from all of them, in the same unit, shape (draws, s)."""
        return (self.null - self.mean) / np.where(self.std > 0, self.std, 1.0)

    @property
    def p_value(self) -> Float[np.ndarray, " s"]:
        """P-value of each statistic, shape (s,): the rank of the cloud among its twins and itself."""
        ranks = 1 + np.stack([(self.null >= self.value).sum(axis=0), (self.null <= self.value).sum(axis=0)])
        above, below = ranks / (len(self.null) + 1)
        if self.tail == "two-sided":
            return np.minimum(1.0, 2.0 * np.minimum(above, below))
        return above if self.tail == "greater" else below

    @property
    def joint_p_value(self) -> float:
        """P-value of the largest departure, in standard deviations: the one to use where any departure would count."""
        # Mean and deviation of twins and cloud together treat all alike, which makes the rank exact.
        every = np.vstack([self.value, self.null])
        spread = every.std(axis=0)
        scores = (every - every.mean(axis=0)) / np.where(spread == 0, 1.0, spread)
        size = np.abs(scores) if self.tail == "two-sided" else scores * (1 if self.tail == "greater" else -1)
        largest = size.max(axis=1)
        # Equal clouds may differ by rounding.
        return float((largest >= largest[0] * (1 - 1e-12)).mean())

    @property
    def table(self) -> pd.DataFrame:
        """A row for each statistic: "value", "null mean", "null std", "effect" and "p-value"."""
        columns = {
            "value": self.value,
            "null mean": self.mean,
            "null std": self.std,
            "effect": self.effect,
            "p-value": self.p_value,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="statistic"))


def against_twins(
    statistic: Callable[[np.ndarray], ArrayLike],
    z: Float[np.ndarray, "..."],
    *,
    kind: str = "normal",
    draws: int = 99,
    tail: str = "two-sided",
    random_state: int | np.random.Generator = 0,
) -> TwinTest:
    r"""Hold any statistic of a cloud against those of null twins.

    The normal twins have the very mean and covariance that the cloud has: given these, a normal cloud is uniformly
    distributed over all clouds that share them [1]_. So the cloud and its twins are exchangeable if it is normal, with
    any mean and covariance, and for any statistic, invariant or not, :math:`p = (1 + \#\{\text{twins at least as
    extreme}\}) / (\text{draws} + 1)` is exact at every number of points and dimensions. Draws from
    :math:`N(\hat\mu, \hat\Sigma)` would not do: their own covariance scatters once more about :math:`\hat\Sigma`,
    which in 256 dimensions moves every distance.

    Of the other nulls, "shuffled" is exact for independent components; "marginals" and "elliptical" are approximate.

    Parameters
    ----------
    statistic : callable
        Takes a cloud, shape (n, d), and returns a number, several, or a named tuple of them; the same for the same
        cloud.
    z : array of float, shape (n, d)
        The cloud, in memory or memory-mapped: z-points, or their coordinates in a plane.
    kind : str
        "normal", "shuffled", "marginals" or "elliptical"; see `null_twin`.
    draws : int
        Number of twins, at least 2. A two-sided p-value is 2 / (draws + 1) at the least: 39 can reach 5 %.
    tail : str
        "two-sided", "greater" or "less".
    random_state : int or numpy.random.Generator
        Seed or generator of the twins.

    Returns
    -------
    TwinTest
        The statistics of the cloud and of its twins.

    Raises
    ------
    ValueError
        If an option is out of its range, `z` is no cloud of finite points with more than its dimensions, or the
        statistic is not finite.

    References
    ----------
    .. [1] R. A. Lockhart, F. J. O'Reilly and M. A. Stephens (2007), Use of the Gibbs sampler to obtain conditional
       tests, with applications, Biometrika 94, 992-998.

    Examples
    --------
    >>> z = np.random.default_rng(0).exponential(size=(200, 3))
    >>> test = against_twins(lambda cloud: cloud.min(), z, draws=19)
    >>> test.p_value
    array([0.1])
    """
    check_choice("tail", tail, _TAILS)
    if draws < 2:
        raise ValueError(f"draws must be at least 2, not {draws}.")
    draw = _twins(z, kind)
    rng = np.random.default_rng(random_state)
    names, value = _measured(statistic, z)
    null = np.empty((draws, len(value)))
    for row in null:
        row[:] = _measured(statistic, draw(rng))[1]
    return TwinTest(names, value, null, tail)


def _twins(z: np.ndarray, kind: str) -> Callable[[np.random.Generator], np.ndarray]:
    """Return a function that draws one twin."""
    if kind != "normal":
        return lambda rng: null_twin(z, kind=kind, random_state=rng)
    axes = resolved_axes(measure_moments(z), precision=z.dtype)
    scales = np.sqrt(axes.variances).astype(np.float32)
    n, rank = len(z), len(scales)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return axes.inverse_transform(normal_whitened(n, rank, rng) * scales)

    return draw


def _measured(
    statistic: Callable[[np.ndarray], ArrayLike], z: np.ndarray
) -> tuple[tuple[str, ...], Float[np.ndarray, " s"]]:
    """Return names and values of the statistics of one cloud."""
    found = statistic(z)
    values = np.atleast_1d(np.asarray(found, dtype=np.float64))
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"the statistic must be one or more finite numbers, not {found}.")
    single = (getattr(statistic, "__name__", "statistic"),)
    numbered = single if len(values) == 1 else tuple(map(str, range(len(values))))
    return getattr(found, "_fields", numbered), values


@dataclass(frozen=True, eq=False)
class RejectionRates:
    """How often tests against null twins reject clouds of one kind: their size on normal ones, else their power.

    Parameters
    ----------
    names : tuple of str, length s
        Names of the statistics.
    rate : array of float64, shape (s,)
        Share of the clouds that each statistic's test rejects.
    joint_rate : float
        Share that the joint test of all statistics rejects.
    level : float
        Level of the tests.
    clouds : int
        Number of clouds m.
    """

    names: tuple[str, ...]
    rate: Float[np.ndarray, " s"]
    joint_rate: float
    level: float
    clouds: int

    @property
    def standard_error(self) -> Float[np.ndarray, " s"]:
        r"""Monte-Carlo error :math:`\sqrt{r (1 - r) / m}` of each rate, shape (s,); at least that of one cloud in m."""
        rate = np.clip(self.rate, 1.0 / self.clouds, 1.0 - 1.0 / self.clouds)
        return np.sqrt(rate * (1.0 - rate) / self.clouds)


def rejection_rates(
    statistic: Callable[[np.ndarray], ArrayLike],
    draw: Callable[[int], np.ndarray],
    *,
    clouds: int = 100,
    draws: int = 39,
    level: float = 0.05,
    tail: str = "two-sided",
    random_state: int | np.random.Generator = 0,
) -> RejectionRates:
    """Measure size or power of tests against normal twins, on clouds that are drawn.

    Parameters
    ----------
    statistic : callable
        Takes a cloud and returns statistics, as for `against_twins`.
    draw : callable
        Takes a seed and returns a cloud, shape (n, d); for instance ``lambda seed: planted_normal(200, 5,
        random_state=seed)``.
    clouds : int
        Number of clouds, at least 2.
    draws : int
        Number of twins of each.
    level : float
        Level of the tests, in (0, 1). They hold it exactly if it is a multiple of 1 / (draws + 1), or of 2 / (draws
        + 1) if two-sided; else they reject a little less.
    tail : str
        "two-sided", "greater" or "less".
    random_state : int or numpy.random.Generator
        Seed or generator of the clouds and the twins.

    Returns
    -------
    RejectionRates
        Shares of the clouds that were rejected.

    Raises
    ------
    ValueError
        If an option is out of its range.

    Examples
    --------
    >>> from aelib.planted import planted_heavy_tails
    >>> heavy = lambda seed: planted_heavy_tails(200, 5, degrees=4, random_state=seed)
    >>> found = rejection_rates(lambda z: np.abs(z).max(), heavy, clouds=5, draws=19, tail="greater")
    >>> found.rate
    array([1.])
    """
    if clouds < 2 or not 0 < level < 1:
        raise ValueError(f"clouds must be at least 2 and level between 0 and 1, not {clouds} and {level}.")
    rng = np.random.default_rng(random_state)
    tests = [
        against_twins(statistic, draw(int(rng.integers(2**32))), draws=draws, tail=tail, random_state=rng)
        for _ in range(clouds)
    ]
    # Rounding must not decide where a p-value equals the level.
    reached = level * (1.0 + 1e-12)
    rate = np.mean([test.p_value <= reached for test in tests], axis=0)
    joint = float(np.mean([test.joint_p_value <= reached for test in tests]))
    return RejectionRates(tests[0].names, rate, joint, level, clouds)
