"""Comparison of samplers: all on one decoder, under one protocol, with equal sample sizes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import t as student

from aelib.audits import copying_audit, held_out_log_likelihood, round_trip, two_sample_test
from aelib.blocks import checked_blocks
from aelib.features import BATCH, FeatureMap, extract
from aelib.fidelity import LEVEL, Score, density_coverage, frechet_distance, kernel_distance, precision_recall
from aelib.moments import measure_moments

FLOOR = "training z-points"
"""Name of the row that samplers are measured against: training z-points in place of samples."""


@runtime_checkable
class Sampler(Protocol):
    """A fitted sampler."""

    def sample(
        self, n_samples: int = 1, *, random_state: int | np.random.Generator | None = None
    ) -> Float[np.ndarray, "n d"]:
        """Draw z-points.

        Parameters
        ----------
        n_samples : int
            Their number.
        random_state : int, numpy.random.Generator or None
            Seed or generator.

        Returns
        -------
        array of float, shape (n, d)
            The z-points.
        """
        ...


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of samplers, all decoded by one decoder and held against decoded held-out z-points.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per sampler and feature space (a MultiIndex), the floor first. Columns: frechet (extrapolated; squared
        units of the features), frechet_low, frechet_high, kernel, kernel_low, kernel_high, precision, precision_low,
        precision_high, and so for recall, density and coverage.
    points : pandas.DataFrame
        One row per sampler, of its z-points themselves: log_likelihood (nats per held-out point; not-a-number without
        a density), accuracy and p_value of a neural two-sample test, copied (share) with copying_p_value and copying
        (verdict), and round_trip (not-a-number without an encoder).
    halves : pandas.DataFrame
        One row per sampler, feature space and draw: frechet (not extrapolated), kernel, precision, recall, density and
        coverage of a half of the samples. All rows of a draw have the same half of the held-out z-points.
    n : int
        Number of z-points behind every score, on either side.
    """

    table: pd.DataFrame
    points: pd.DataFrame
    halves: pd.DataFrame
    n: int

    def excess(self, over: str, *, score: str = "frechet") -> pd.DataFrame:
        r"""Return what each sampler has left of another one's distance above the floor.

        :math:`(s - s_\text{floor}) / (s_\text{over} - s_\text{floor})`: 1 for the other one, 0 at the floor. All three
        scores err together, for they have the held-out z-points in common, so the interval comes from half-samples of
        all of them at once: it is Fieller's for the ratio of two correlated normal numbers [1]_. What a sampler is
        fitted to stays as it is.

        Parameters
        ----------
        over : str
            Name of the sampler that counts as 1.
        score : str
            A score of the table: frechet, kernel, precision, recall, density or coverage.

        Returns
        -------
        pandas.DataFrame, columns value, low and high
            One row per sampler and feature space, as in the table, with the ends of the 95 % interval. They are
            infinite where the other sampler's own score cannot be told from the floor.

        Raises
        ------
        ValueError
            If there is no such sampler or score, or the other one is itself at the floor.

        References
        ----------
        .. [1] E. C. Fieller (1954), Some problems in interval estimation, Journal of the Royal Statistical Society B
           16, 175-185.
        """
        if over not in self.points.index or score not in self.halves.columns:
            raise ValueError(
                f"there is no sampler {over!r} or no score {score!r}; choose of {list(self.points.index)} and "
                f"{list(self.halves.columns)}."
            )
        halves = self.halves[score].unstack("draw").reindex(self.table.index)
        above = pd.concat([self.table[score], halves], axis=1)
        above -= above.loc[FLOOR].reindex(above.index, level="features")
        whole = above.loc[over].reindex(above.index, level="features")
        if (whole[score] == 0).any():
            raise ValueError(f"{over!r} is at the floor itself, so nothing can be measured against it.")
        ratios = [_ratio(part, of) for part, of in zip(above.to_numpy(), whole.to_numpy(), strict=True)]
        return pd.DataFrame(ratios, index=self.table.index, columns=["value", "low", "high"])


def _ratio(part: Float[np.ndarray, " m"], whole: Float[np.ndarray, " m"]) -> tuple[float, ...]:
    """Return the ratio of two numbers and its interval; their half-samples follow them."""
    covariance = np.cov(part[1:], whole[1:])
    # A half and its complement err by the same amount, so only half of the draws count.
    square = student(len(part) // 2).ppf(0.5 + LEVEL / 2) ** 2 * covariance
    leading, middle = whole[0] ** 2 - square[1, 1], part[0] * whole[0] - square[0, 1]
    if leading <= 0:
        return part[0] / whole[0], -math.inf, math.inf
    width = math.sqrt(max(middle**2 - leading * (part[0] ** 2 - square[0, 0]), 0.0))
    return part[0] / whole[0], (middle - width) / leading, (middle + width) / leading


def compare(
    samplers: Mapping[str, Sampler],
    *,
    decode: Callable[[np.ndarray], np.ndarray],
    z_train: Float[np.ndarray, "..."],
    z_test: Float[np.ndarray, "..."],
    features: Mapping[str, FeatureMap],
    n: int = 2000,
    encode: Callable[[np.ndarray], np.ndarray] | None = None,
    draws: int = 20,
    random_state: int = 0,
) -> Comparison:
    """Score samplers under one protocol.

    The yardstick is n decoded held-out z-points: the decoder's blur is common to both sides. The floor is n decoded
    training z-points in place of samples. Every sampler draws n points, with a generator of its own, so that a
    sampler's row does not depend on which others are there.

    Parameters
    ----------
    samplers : mapping of str to fitted sampler
        What to compare, fitted to `z_train`.
    decode : callable
        Takes z-points (b, d) to images (b, h, w, 3) in [0, 1].
    z_train : array of float, shape (n_train, d)
        The z-points that the samplers were fitted to, at least n.
    z_test : array of float, shape (n_test, d)
        Held-out z-points, at least n.
    features : mapping of str to transformer or callable
        Feature spaces, as `extract` takes them.
    n : int
        Number of points on each side, at least 16.
    encode : callable or None
        Takes images (b, h, w, 3) to z-points (b, d), for the round trip; None leaves it out.
    draws : int
        Number of half-samples behind the intervals, even, at least 2.
    random_state : int
        Seed of all that is drawn.

    Returns
    -------
    Comparison
        Two tables.

    Raises
    ------
    ValueError
        If there is no sampler or no feature space, a sampler has the floor's name or draws points that are not finite
        or of another shape, or there are fewer than `n` points.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> class Normal(BaseEstimator):
    ...     def sample(self, n_samples=1, *, random_state=None):
    ...         return np.random.default_rng(random_state).standard_normal((n_samples, 3))
    >>> z = np.random.default_rng(0).standard_normal((200, 3))
    >>> found = compare(
    ...     {"N(0, I)": Normal()},
    ...     decode=lambda z: np.tile(z[:, None, None, :], (1, 4, 4, 1)),
    ...     z_train=z[:100],
    ...     z_test=z[100:],
    ...     features={"mean": lambda images: images.mean(axis=(1, 2))},
    ...     n=100,
    ... )
    >>> list(found.table.index)
    [('training z-points', 'mean'), ('N(0, I)', 'mean')]
    """
    _check(samplers, features, z_train, z_test, n)
    rng = np.random.default_rng(random_state)
    truth, floor = (cloud[np.sort(rng.permutation(len(cloud))[:n])] for cloud in (z_test, z_train))
    seen = {name: _Seen(points, decode, encode, features) for name, points in (("", truth), (FLOOR, floor))}
    scores: dict[tuple[str, str], dict[str, Score]] = {}
    points = []
    for name in (FLOOR, *samplers):
        sampler = samplers.get(name)
        if sampler is not None:
            drawn = _drawn(sampler, name, n, z_train.shape[1], random_state)
            seen[name] = _Seen(drawn, decode, encode, features)
        for space in features:
            real, generated = (seen[which].features[space] for which in ("", name))
            scores[name, space] = _feature_scores(real, generated, draws, random_state)
        row = _point_scores(sampler, seen[name], truth, z_train, z_test, random_state)
        points.append({"sampler": name, **row})
        if name != FLOOR:
            del seen[name]
    return Comparison(
        pd.DataFrame({key: _row(found) for key, found in scores.items()}).T.rename_axis(
            ["sampler", "features"]
        ),
        pd.DataFrame(points).set_index("sampler"),
        pd.concat(
            {key: _halves(found) for key, found in scores.items()}, names=["sampler", "features", "draw"]
        ),
        n,
    )


class _Seen:
    """z-points, the features of their images, and what comes back; the images themselves are not kept."""

    def __init__(
        self,
        z: np.ndarray,
        decode: Callable[[np.ndarray], np.ndarray],
        encode: Callable[[np.ndarray], np.ndarray] | None,
        features: Mapping[str, FeatureMap],
    ) -> None:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in features}
        back: list[np.ndarray] = []
        for _, rows in checked_blocks(z, block=BATCH):
            images = decode(rows)
            for name, function in features.items():
                parts[name].append(extract(function, images))
            if encode is not None:
                back.append(encode(images))
        self.z = z
        self.features = {name: np.concatenate(part) for name, part in parts.items()}
        self.back = np.concatenate(back) if back else None


def _check(
    samplers: Mapping[str, Sampler],
    features: Mapping[str, FeatureMap],
    z_train: np.ndarray,
    z_test: np.ndarray,
    n: int,
) -> None:
    if not samplers or not features or FLOOR in samplers:
        raise ValueError(
            f"compare needs a sampler and a feature space or more, and {FLOOR!r} is the name of the floor."
        )
    for name, cloud in (("z_train", z_train), ("z_test", z_test)):
        checked_blocks(cloud, name=name)
        if not 16 <= n <= len(cloud):
            raise ValueError(f"n must be 16 to {len(cloud)}, the number of points in {name}, not {n}.")
    if z_train.shape[1] != z_test.shape[1]:
        raise ValueError("z_train and z_test must have the same number of components.")


def _drawn(sampler: Sampler, name: str, n: int, d: int, random_state: int) -> Float[np.ndarray, "n d"]:
    z = np.asarray(sampler.sample(n, random_state=np.random.default_rng([random_state, 1])))
    if z.shape != (n, d) or not np.isfinite(z).all():
        raise ValueError(f"sampler {name!r} must draw finite points of shape {(n, d)}; it drew {z.shape}.")
    return z


def _feature_scores(
    real: np.ndarray, generated: np.ndarray, draws: int, random_state: int
) -> dict[str, Score]:
    found: dict[str, Score] = {}
    found["frechet"] = frechet_distance(real, generated, floor="none", draws=draws, random_state=random_state)
    found["kernel"] = kernel_distance(real, generated, floor="none", draws=draws, random_state=random_state)
    for both in (precision_recall, density_coverage):
        result = both(real, generated, floor="none", draws=draws, random_state=random_state)
        found.update(result._asdict())
    return found


def _row(scores: dict[str, Score]) -> dict[str, float]:
    return {
        key: value
        for name, score in scores.items()
        for key, value in ((name, score.value), (f"{name}_low", score.low), (f"{name}_high", score.high))
    }


def _halves(scores: dict[str, Score]) -> pd.DataFrame:
    return pd.DataFrame({name: score.halves for name, score in scores.items()})


def _point_scores(
    sampler: Sampler | None,
    seen: _Seen,
    truth: np.ndarray,
    z_train: np.ndarray,
    z_test: np.ndarray,
    random_state: int,
) -> dict[str, float | str]:
    test = two_sample_test(truth, seen.z, classifier="neural", random_state=random_state)
    likelihood, copies, back = math.nan, None, math.nan
    if hasattr(sampler, "score_samples"):
        likelihood = held_out_log_likelihood(sampler, z_test).value
    if sampler is not None:
        copies = copying_audit(seen.z, z_train, z_test, random_state=random_state)
    if seen.back is not None:
        back = round_trip(seen.z, seen.back, covariance=measure_moments(z_train).covariance).value
    return {
        "log_likelihood": likelihood,
        "accuracy": test.accuracy,
        "p_value": test.p_value,
        "copied": math.nan if copies is None else copies.copied.value,
        "copying_p_value": math.nan if copies is None else copies.p_value,
        "copying": "the training points" if copies is None else copies.verdict,
        "round_trip": back,
    }
