"""Size and power: how often tests of normality reject clouds of a known law."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from aelib.normality import NormalityTest, NullLaw, normality_tests, on_all_cores


class Rate(NamedTuple):
    r"""How often a test rejects clouds of one law: its size if the law is normal, else its power.

    Parameters
    ----------
    name : str
        The test.
    rate : float
        Share of the clouds that it rejects.
    standard_error : float
        Monte-Carlo standard error of the rate, over the clouds and the simulated null law: with r clouds, B draws and
        the rate f, :math:`\sqrt{f (1 - f) (1/r + 1/(B + 2))}`. The second term is that of a test's size [1]_; for a
        power in between it is rough.
    naive_rate : float
        Share that the textbook's p-value rejects; not-a-number where there is none.

    References
    ----------
    .. [1] H. A. David and H. N. Nagaraja (2003), Order Statistics, 3rd ed., Wiley, section 2.3.
    """

    name: str
    rate: float
    standard_error: float
    naive_rate: float


def rejection_rates(
    clouds: Sequence[Sequence[NormalityTest]], *, level: float = 0.05, shared_null: bool = True
) -> tuple[Rate, ...]:
    """Count how often tests reject.

    Parameters
    ----------
    clouds : sequence of sequences of NormalityTest
        The same tests of many clouds of one law.
    level : float
        Nominal size, in (0, 1): p-values up to it reject.
    shared_null : bool
        Whether all clouds were held against one null law, which adds to the standard error.

    Returns
    -------
    tuple of Rate
        One for each test.

    Raises
    ------
    ValueError
        If there is no cloud, or the level is out of its range.

    Examples
    --------
    >>> low, high = (NormalityTest("radius", 1, p, 0, 1, 0, p, 99) for p in (0.01, 0.2))
    >>> rejection_rates([[low], [high], [high], [high]])[0].rate
    0.25
    """
    if not clouds or not 0 < level < 1:
        raise ValueError(
            f"one cloud or more and a level in (0, 1) are needed, not {len(clouds)} and {level}."
        )
    rates = []
    for tests in zip(*clouds, strict=True):
        rate = float(np.mean([t.p_value <= level for t in tests]))
        naive = [t.naive_p_value for t in tests]
        lost = 1.0 / len(tests) + (1.0 / (tests[0].draws + 2) if shared_null else 0.0)
        rates.append(
            Rate(
                tests[0].name,
                rate,
                math.sqrt(rate * (1.0 - rate) * lost),
                math.nan if np.isnan(naive).all() else float(np.mean(np.array(naive) <= level)),
            )
        )
    return tuple(rates)


def measured_power(
    draw: Callable[[np.random.Generator], Float[np.ndarray, "n d"]],
    *,
    null: NullLaw,
    repeats: int = 200,
    level: float = 0.05,
    random_state: int | np.random.Generator = 0,
) -> tuple[Rate, ...]:
    """Measure how often the tests reject clouds of one law.

    Parameters
    ----------
    draw : callable
        Draws a cloud of `null.n` points with `null.k` dimensions by a generator.
    null : NullLaw
        What all of them are held against; its draws must be independent of these clouds: use another seed.
    repeats : int
        Number of clouds, at least 1.
    level : float
        Nominal size, in (0, 1).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    tuple of Rate
        One for each test.

    Raises
    ------
    ValueError
        If a cloud does not fit the null law, or a number is out of its range.

    Examples
    --------
    >>> from aelib.departures import Battery
    >>> from aelib.normality import null_law
    >>> null = null_law(100, 2, battery=Battery(("kurtosis",)), draws=99, random_state=1)
    >>> measured_power(lambda rng: rng.standard_t(3, (100, 2)), null=null, repeats=20)[0].rate > 0.5
    True
    """

    def test(rng: np.random.Generator) -> tuple[NormalityTest, ...]:
        return normality_tests(draw(rng), battery=null.battery, null=null, random_state=rng)

    return rejection_rates(on_all_cores(test, repeats, random_state), level=level)


def measured_size(
    null: NullLaw,
    *,
    repeats: int = 200,
    level: float = 0.05,
    random_state: int | np.random.Generator = 1,
) -> tuple[Rate, ...]:
    """Measure how often the tests reject normal clouds, which are off-centre and correlated.

    Parameters
    ----------
    null : NullLaw
        What the clouds are held against; its draws must be independent of these clouds: use another seed.
    repeats : int
        Number of clouds, at least 1.
    level : float
        Nominal size, in (0, 1).
    random_state : int or numpy.random.Generator
        Seed or generator.

    Returns
    -------
    tuple of Rate
        One for each test; the rate is its size.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> from aelib.departures import Battery
    >>> from aelib.normality import null_law
    >>> null = null_law(100, 2, battery=Battery(("kurtosis",)), draws=99, random_state=5)
    >>> measured_size(null, repeats=50)[0].rate < 0.2
    True
    """

    def draw(rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
        return correlated_normal(null.n, null.k, rng)

    return measured_power(draw, null=null, repeats=repeats, level=level, random_state=random_state)


def correlated_normal(n: int, d: int, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """Draw an off-centre, correlated normal cloud, whose widest axis is thirty times as wide as its narrowest one.

    Parameters
    ----------
    n, d : int
        Number of points and of components.
    rng : numpy.random.Generator
        Source of randomness; it draws the directions of the axes too.

    Returns
    -------
    array of float32, shape (n, d)
        The points.

    Examples
    --------
    >>> correlated_normal(3, 2, np.random.default_rng(0)).shape
    (3, 2)
    """
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    mixing = np.geomspace(3.0, 0.1, d)[:, None] * axes.T
    cloud = rng.standard_normal((n, d), dtype=np.float32) @ mixing.astype(np.float32)
    cloud += rng.standard_normal(d, dtype=np.float32)
    return cloud
