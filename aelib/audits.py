"""Audits: what a single score hides. Copies of training images, traces that a classifier finds, errors on the way."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest
from sklearn.base import ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from aelib.blocks import checked_blocks
from aelib.densities import mahalanobis_distance, nearest_distance
from aelib.fidelity import LEVEL, Score


@dataclass(frozen=True)
class CopyingAudit:
    """Whether generated points are nearer to the training points than chance allows.

    Parameters
    ----------
    share : float
        Share of the generated points whose nearest neighbour, among training and held-out points together, is a
        training point.
    expected : float
        What it is without copying: the share of training points among these. This is the floor.
    standard_error : float
        Standard deviation of `share` without copying.
    p_value : float
        Probability of this share, or a larger one, without copying.
    distance_ratio : float
        Median distance of generated points to their nearest training point, over that of held-out points.
    level : float
        Copying is found if the p-value lies below this.
    """

    share: float
    expected: float
    standard_error: float
    p_value: float
    distance_ratio: float
    level: float

    @property
    def copied(self) -> Score:
        """Share of the generated points that are near a training point because of copying: 1 if all are; floor 0."""
        rest = 1.0 - self.expected
        return Score((self.share - self.expected) / rest, self.standard_error / rest, 0.0)

    @property
    def clear(self) -> bool:
        """Whether no copying is found."""
        return self.p_value >= self.level

    @property
    def verdict(self) -> str:
        """The outcome in one word: "clear" or "copies"."""
        return "clear" if self.clear else "copies"


def copying_audit(
    generated: Float[np.ndarray, "..."],
    train: Float[np.ndarray, "..."],
    held_out: Float[np.ndarray, "..."],
    *,
    level: float = 0.01,
    draws: int = 9999,
    random_state: int | np.random.Generator = 0,
) -> CopyingAudit:
    r"""Look for copies of training points among generated ones.

    Who has learned the law, and not the training points, is as near to held-out points as to training points. So among
    the nearest neighbours of the generated points, training points should be as frequent as among all real points. The
    p-value is that of a permutation test that shuffles which real points are for training; it stays exact where a few
    points are neighbours of many. Points near the middle of the cloud, or blurred ones, are near to both kinds, and
    raise no alarm, as they would if only distances were compared [1]_.

    Parameters
    ----------
    generated : array of float, shape (m, k)
        Generated points: z-points, features, or images as rows.
    train : array of float, shape (n, k)
        All points that the sampler was fitted to.
    held_out : array of float, shape (l, k)
        Other points of the same kind, that it never saw.
    level : float
        Level of the test, in (0, 1).
    draws : int
        Number of permutations, at least 1.
    random_state : int or numpy.random.Generator
        Seed or generator of the permutations.

    Returns
    -------
    CopyingAudit
        Shares, p-value and verdict.

    Raises
    ------
    ValueError
        If a set is no cloud of finite points, the numbers of components differ, or `level` or `draws` is out of range.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri and S. Dasgupta (2020), A non-parametric test to detect data-copying in generative
       models, AISTATS.
    .. [2] M. F. Schilling (1986), Multivariate two-sample tests based on nearest neighbors, Journal of the American
       Statistical Association 81, 799-806.

    Examples
    --------
    >>> train, held_out, other = np.random.default_rng(0).standard_normal((3, 200, 5))
    >>> copying_audit(other, train, held_out).verdict, copying_audit(train + 0.01, train, held_out).verdict
    ('clear', 'copies')
    """
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level must lie between 0 and 1 and draws be at least 1, not {level} and {draws}.")
    _check_clouds(generated=generated, train=train, held_out=held_out)
    n, m, real = len(train), len(generated), np.concatenate([train, held_out])
    nearest = pairwise_distances_argmin(generated.astype(real.dtype), real)
    count = int(np.count_nonzero(nearest < n))
    # How often each real point is a neighbour is all that the permutations need to know.
    frequency = np.bincount(np.bincount(nearest, minlength=len(real)))
    rng = np.random.default_rng(random_state)
    shuffled = rng.multivariate_hypergeometric(frequency, n, size=draws) @ np.arange(len(frequency))
    own = np.median(nearest_distance(held_out, train))
    return CopyingAudit(
        share=count / m,
        expected=n / len(real),
        standard_error=_permutation_deviation(frequency, n) / m,
        p_value=float((1 + np.count_nonzero(shuffled >= count)) / (1 + draws)),
        distance_ratio=float(np.median(nearest_distance(generated, train)) / own) if own > 0 else math.nan,
        level=level,
    )


def _permutation_deviation(frequency: np.ndarray, n: int) -> float:
    """Return the deviation of a sum of n values that are drawn without replacement."""
    values, total = np.arange(len(frequency)), int(frequency.sum())
    mean = values @ frequency / total
    variance = (values - mean) ** 2 @ frequency / (total - 1)
    return math.sqrt(n * variance * (1.0 - n / total))


def _check_clouds(**clouds: np.ndarray) -> None:
    for name, cloud in clouds.items():
        for _ in checked_blocks(cloud, name=name):
            pass
    widths = {name: cloud.shape[1] for name, cloud in clouds.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"all points must have the same number of components, not {widths}.")


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """How well a classifier tells generated points from real ones.

    Parameters
    ----------
    accuracy : float
        Share of the test points that it names rightly; 1/2, the floor, where it can do no better than guess.
    low, high : float
        Ends of the exact 95 % interval of the accuracy.
    p_value : float
        Probability of this accuracy, or a higher one, by guessing.
    n_test : int
        Number of test points, half of them real.
    directions : array of float64, shape (r, k)
        Directions in which the classifier's score changes most, the strongest first: steps of one standard deviation,
        in units of the points. Where the score rises on the whole along a direction, that way is "generated".
    shares : array of float64, shape (r,)
        Share of the score's mean squared slope along each.
    """

    accuracy: float
    low: float
    high: float
    p_value: float
    n_test: int
    directions: Float[np.ndarray, "r k"]
    shares: Float[np.ndarray, " r"]
    floor: float = 0.5


def two_sample_test(
    real: Float[np.ndarray, "..."],
    generated: Float[np.ndarray, "..."],
    *,
    classifier: Literal["linear", "neural"] | ClassifierMixin = "linear",
    n_directions: int = 1,
    random_state: int = 0,
) -> TwoSampleTest:
    r"""Test by a classifier whether generated points differ from real ones, and show in which directions.

    As many real as generated points are standardised by component and split in halves. The classifier learns on one
    half, and its accuracy is that on the other, compared with the binomial law of guessing [1]_. Its directions are the
    leading eigenvectors of :math:`E[\nabla s \nabla s^\mathsf{T}]` with its score s (log-odds) and slopes at test
    points [2]_.

    A linear classifier sees means only: two laws with equal means look alike to it. The neural one has 64 hidden units.
    It keeps the weights that were best on a quarter of its points, and gives up when 100 passes have brought nothing
    better: a network that has to find a law of second order is no better than guessing for tens of passes.

    The test's level holds for any classifier, as it has not seen the test points. Its power is another matter: equal
    laws and too few points look alike, the more so in hundreds of components.

    Parameters
    ----------
    real, generated : array of float, shapes (n, k) and (m, k)
        z-points or features, 8 or more of each.
    classifier : {"linear", "neural"} or scikit-learn classifier
        Logistic regression, a small network, or a classifier of your own with `decision_function` or `predict_proba`.
    n_directions : int
        Number of directions r, 1 to k.
    random_state : int
        Seed of the choice, the split and the network.

    Returns
    -------
    TwoSampleTest
        Accuracy, p-value and directions.

    Raises
    ------
    ValueError
        If a sample is no cloud of finite points or too small, the numbers of components differ, `n_directions` is out
        of range, or there is no such classifier.

    References
    ----------
    .. [1] D. Lopez-Paz and M. Oquab (2017), Revisiting classifier two-sample tests, ICLR.
    .. [2] P. G. Constantine, E. Dow and Q. Wang (2014), Active subspace methods in theory and practice, SIAM Journal on
       Scientific Computing 36, A1500-A1524.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = two_sample_test(rng.normal(0, 1, (400, 3)), rng.normal([2, 0, 0], 1, (400, 3)))
    >>> found.accuracy > 0.8, bool(found.directions[0].argmax() == 0)
    (True, True)
    """
    _check_clouds(real=real, generated=generated)
    if min(len(real), len(generated)) < 8:
        raise ValueError(
            f"real and generated need 8 points or more each, not {len(real)} and {len(generated)}."
        )
    if not 1 <= n_directions <= real.shape[1]:
        raise ValueError(f"n_directions must be 1 to {real.shape[1]}, not {n_directions}.")
    rng = np.random.default_rng(random_state)
    half = min(len(real), len(generated)) // 2
    drawn = [cloud[rng.permutation(len(cloud))[: 2 * half]] for cloud in (real, generated)]
    scaler = StandardScaler().fit(np.concatenate(drawn).astype(np.float64))
    x = [scaler.transform(points.astype(np.float64)) for points in drawn]
    learned, tested = (
        np.concatenate([points[part] for points in x]) for part in (slice(half), slice(half, None))
    )
    label = np.repeat([0, 1], half)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best weights count, not the last ones
        fitted = _classifier(classifier, random_state).fit(learned, label)
    test = binomtest(int((fitted.predict(tested) == label).sum()), 2 * half, alternative="greater")
    interval = binomtest(test.k, test.n).proportion_ci(LEVEL)
    chosen = tested[rng.permutation(2 * half)[:200]]
    axes, shares = _steepest(fitted, chosen, n_directions)
    return TwoSampleTest(
        accuracy=test.k / test.n,
        low=float(interval.low),
        high=float(interval.high),
        p_value=float(test.pvalue),
        n_test=test.n,
        directions=axes * scaler.scale_,
        shares=shares,
    )


def _classifier(classifier: str | ClassifierMixin, random_state: int) -> Any:
    if not isinstance(classifier, str):
        return clone(classifier)
    choices = {
        "linear": LogisticRegression(C=0.1, max_iter=2000),
        "neural": MLPClassifier(
            (64,),
            alpha=0.1,
            early_stopping=True,
            validation_fraction=0.25,
            n_iter_no_change=100,
            max_iter=500,
            random_state=random_state,
        ),
    }
    if classifier not in choices:
        raise ValueError(f'classifier must be "linear", "neural" or a classifier, not {classifier!r}.')
    return choices[classifier]


def _log_odds(classifier: Any, x: np.ndarray) -> Float[np.ndarray, " n"]:
    if hasattr(classifier, "decision_function"):
        return classifier.decision_function(x)
    share = np.clip(classifier.predict_proba(x)[:, 1], 1e-9, 1.0 - 1e-9)
    return np.log(share / (1.0 - share))


def _steepest(
    classifier: Any, x: Float[np.ndarray, "n k"], r: int
) -> tuple[Float[np.ndarray, "r k"], Float[np.ndarray, " r"]]:
    """Return the directions of steepest score, of length 1, and their shares of the squared slope."""
    slopes = np.empty_like(x)
    for j in range(x.shape[1]):
        step = np.zeros(x.shape[1])
        step[j] = 0.1
        slopes[:, j] = (_log_odds(classifier, x + step) - _log_odds(classifier, x - step)) / 0.2
    values, columns = np.linalg.eigh(slopes.T @ slopes)
    axes, values = columns.T[::-1][:r], np.maximum(values[::-1], 0.0)
    rises = np.where((slopes @ axes.T).mean(axis=0) < 0, -1.0, 1.0)
    total = values.sum()
    return axes * rises[:, None], values[:r] / total if total > 0 else np.zeros(r)


def round_trip(
    z: Float[np.ndarray, "..."],
    z_back: Float[np.ndarray, "..."],
    *,
    covariance: Float[np.ndarray, "..."],
    real: tuple[np.ndarray, np.ndarray] | None = None,
) -> Score:
    r"""Measure how far z-points come back from where they were, when decoded and encoded again.

    The mean of :math:`\sqrt{\delta^\mathsf{T} \Sigma^{-1} \delta}` with :math:`\delta = E(D(z)) - z`: the error in
    standard deviations of the cloud along its own direction. Independent points of a normal cloud are about
    :math:`\sqrt{2d}` apart.

    Parameters
    ----------
    z : array of float, shape (n, d)
        The z-points, at least two.
    z_back : array of float, shape (n, d)
        What the encoder makes of their images.
    covariance : array of float, shape (d, d)
        Covariance :math:`\Sigma` of the cloud of real z-points.
    real : tuple of two arrays of float, shape (m, d), or None
        Real z-points and what comes back of them, for the floor; None leaves it out.

    Returns
    -------
    Score
        Without unit.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, a value is not finite, there are fewer than two points, or the covariance
        is singular and an error leaves the directions in which the cloud has variance.

    Examples
    --------
    >>> z = np.zeros((3, 2))
    >>> round_trip(z, z + [2.0, 0.0], covariance=np.diag([4.0, 1.0])).value
    1.0
    """
    errors = _return_errors(z, z_back, covariance)
    floor = math.nan if real is None else float(_return_errors(*real, covariance).mean())
    return Score(float(errors.mean()), _error_of_mean(errors), floor)


def _return_errors(z: np.ndarray, z_back: np.ndarray, covariance: np.ndarray) -> Float[np.ndarray, " n"]:
    if z.shape != z_back.shape or len(z) < 2:
        raise ValueError(
            f"z and z_back must have one shape (n, d) with n of at least 2, not {z.shape} and {z_back.shape}."
        )
    _check_clouds(z=z, z_back=z_back)
    steps = z_back.astype(np.float64) - z
    errors = mahalanobis_distance(steps, mean=np.zeros(z.shape[1]), covariance=covariance)
    if not np.isfinite(errors).all():
        raise ValueError(
            "the covariance is singular, and points come back in directions without variance; leave these "
            "components out, or add a little variance to all."
        )
    return errors


def _error_of_mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def held_out_log_likelihood(
    sampler: Any, z: Float[np.ndarray, "..."], *, z_train: Float[np.ndarray, "..."] | None = None
) -> Score:
    r"""Measure the mean log-density of a fitted sampler at points that it has not seen.

    Parameters
    ----------
    sampler : fitted sampler
        Anything with `score_samples`.
    z : array of float, shape (n, d)
        Held-out points, at least two.
    z_train : array of float, shape (m, d), or None
        The points that it was fitted to, for the floor; None leaves it out. If they score much higher, the sampler
        has learned them by heart.

    Returns
    -------
    Score
        In nats per point, the higher the better; minus infinity, with no standard error, if a point is impossible.

    Raises
    ------
    ValueError
        If the points are no cloud of two or more finite points, or the sampler has no density.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> z = np.random.default_rng(0).standard_normal((50, 2))
    >>> bool(held_out_log_likelihood(KernelDensity().fit(z[:25]), z[25:], z_train=z[:25]).floor < 0)
    True
    """
    if not hasattr(sampler, "score_samples"):
        raise ValueError(f"{sampler} has no density (no score_samples); take a sampler that has one.")
    values = _log_densities(sampler, z)
    floor = math.nan if z_train is None else float(_log_densities(sampler, z_train).mean())
    if np.isneginf(values).any():
        return Score(-math.inf, math.nan, floor)
    return Score(float(values.mean()), _error_of_mean(values), floor)


def _log_densities(sampler: Any, z: np.ndarray) -> Float[np.ndarray, " n"]:
    parts = [np.asarray(sampler.score_samples(rows), np.float64) for _, rows in checked_blocks(z)]
    values = np.concatenate(parts)
    if len(values) < 2:
        raise ValueError("the log-likelihood needs at least 2 points; take more.")
    if np.isnan(values).any():
        raise ValueError("the sampler's log-density is not-a-number at some points; look at its fit.")
    return values
