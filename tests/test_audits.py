import numpy as np
import pytest
from scipy.stats import hypergeom, multivariate_normal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier

from aelib.audits import copying_audit, held_out_log_likelihood, round_trip, two_sample_test

D = 12


def clouds(seed, *sizes):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((D, D))
    return [30 + rng.standard_normal((n, D)) @ mixing for n in sizes]


def test_planted_copies_are_found_and_counted():
    train, held_out, fresh = clouds(1, 900, 300, 400)
    copies = np.concatenate([fresh[:200], train[:200] + 1e-3])
    found = copying_audit(copies.astype(np.float32), train, held_out)
    assert found.verdict == "copies"
    # Half are copies; the other half adds a binomial error of 0.06.
    assert found.copied.value == pytest.approx(0.5, abs=0.18)
    assert found.distance_ratio < 0.9
    exact = copying_audit(train[:300], train, held_out)
    assert (exact.share, exact.copied.value, exact.distance_ratio) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_size_of_the_copying_audit(temperature):
    alarms = 0
    for seed in range(40):
        train, held_out, fresh = clouds(100 + seed, 120, 80, 100)
        fresh = train.mean(axis=0) + temperature * (fresh - fresh.mean(axis=0))
        alarms += not copying_audit(fresh, train, held_out, level=0.05, draws=499).clear
    # 5 % by construction; P(7 or more of 40) is 0.003. Near the middle a few points are neighbours of many.
    assert alarms < 7


def test_the_permutation_law_is_that_of_shuffled_labels():
    train, held_out, fresh = clouds(2, 60, 40, 50)
    found = copying_audit(0.1 * fresh + 27, train, held_out, draws=20_000)
    real = np.concatenate([train, held_out])
    nearest = ((0.1 * fresh + 27)[:, None] - real).__pow__(2).sum(2).argmin(1)
    rng = np.random.default_rng(3)
    shares = [(rng.permutation(100) < 60)[nearest].mean() for _ in range(20_000)]
    # Two simulations of 20 000 draws each.
    assert found.p_value == pytest.approx(np.mean(np.array(shares) >= found.share - 1e-12), abs=0.02)
    assert found.standard_error == pytest.approx(np.std(shares), rel=0.03)


def test_distinct_neighbours_follow_the_hypergeometric_law():
    train, held_out = clouds(2, 13, 8)
    found = copying_audit(np.concatenate([train[:4], held_out[:3]]), train, held_out)
    law = hypergeom(21, 13, 7)
    assert (found.share, found.expected) == (4 / 7, 13 / 21)
    assert found.standard_error == pytest.approx(law.std() / 7)
    # 9999 draws give the p-value to 0.005.
    assert found.p_value == pytest.approx(law.sf(3), abs=0.02)


def test_held_out_points_that_are_training_points_give_no_ratio():
    train, fresh = clouds(2, 30, 10)
    assert np.isnan(copying_audit(fresh, train, train.copy()).distance_ratio)


def test_bad_audits_are_refused():
    train, held_out, fresh = clouds(1, 20, 20, 20)
    with pytest.raises(ValueError, match="same number of components"):
        copying_audit(fresh[:, :3], train, held_out)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        copying_audit(fresh, train, held_out, level=1.0)
    with pytest.raises(ValueError, match="held_out must be finite"):
        copying_audit(fresh, train, held_out * np.inf)


def test_a_planted_shift_is_found_with_its_direction():
    real, generated = clouds(3, 600, 700)
    step = np.zeros(D)
    step[4] = 2 * real[:, 4].std()
    found = two_sample_test(real, generated + step, n_directions=2)
    assert found.p_value < 1e-6
    assert found.low < found.accuracy < found.high
    assert found.n_test == 600
    assert found.shares[0] > 0.999
    scaled = found.directions[0] / real.std(axis=0)
    assert scaled[4] > 0.3


def test_size_of_the_two_sample_test():
    alarms = [two_sample_test(*clouds(200 + s, 80, 80)).p_value < 0.05 for s in range(80)]
    # At most 5 % by construction; P(10 or more of 80) is 0.007.
    assert sum(alarms) < 10


def test_a_nonlinear_classifier_sees_what_a_linear_one_cannot():
    rng = np.random.default_rng(4)
    real, generated = rng.normal(0, 1, (2000, 3)), rng.normal(0, [1, 3, 1], (2000, 3))
    assert two_sample_test(real, generated).accuracy < 0.55
    for classifier in ("neural", QuadraticDiscriminantAnalysis()):
        found = two_sample_test(real, generated, classifier=classifier)
        assert found.accuracy > 0.7
        assert np.abs(found.directions[0]).argmax() == 1


class OnlyProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier without `decision_function`."""

    def fit(self, x, y):
        self.inner_ = QuadraticDiscriminantAnalysis().fit(x, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, x):
        return self.inner_.predict(x)

    def predict_proba(self, x):
        return self.inner_.predict_proba(x)


def test_probabilities_tell_the_same_directions_as_log_odds():
    rng = np.random.default_rng(12)
    real, generated = rng.normal(0, 1, (300, 3)), rng.normal([0.5, 0, 0], [1, 1.5, 1], (300, 3))
    expected, found = (
        two_sample_test(real, generated, classifier=c, n_directions=3)
        for c in (QuadraticDiscriminantAnalysis(), OnlyProbabilities())
    )
    assert found.accuracy == expected.accuracy
    assert found.shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.shares, expected.shares, rtol=1e-6)
    np.testing.assert_allclose(found.directions, expected.directions, rtol=1e-5, atol=1e-8)


def test_who_only_guesses_has_no_direction():
    real, generated = clouds(3, 20, 20)
    found = two_sample_test(real, generated, classifier=DummyClassifier(), n_directions=2)
    assert (found.accuracy, found.p_value > 0.5) == (0.5, True)
    assert found.shares.tolist() == [0.0, 0.0]


def test_size_of_the_neural_test():
    alarms = [
        two_sample_test(*clouds(400 + s, 60, 60), classifier="neural").p_value < 0.05 for s in range(40)
    ]
    # At most 5 % by construction; P(7 or more of 40) is 0.003.
    assert sum(alarms) < 7


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_network_does_not_stop_before_it_has_found_a_correlation(seed):
    rng = np.random.default_rng(20 + seed)
    real, generated = rng.standard_normal((2, 2000, 10))
    generated[:, 1] = 0.7 * generated[:, 0] + np.sqrt(0.51) * generated[:, 1]
    assert two_sample_test(real, generated, random_state=seed).p_value > 0.001
    found = two_sample_test(real, generated, classifier="neural", random_state=seed)
    # Knowing both laws one is right 65 % of the time (Monte Carlo with 400 000 points of each).
    assert found.low > 0.58
    assert found.high < 0.69
    assert np.square(found.directions[:, :2]).sum() > 0.9 * np.square(found.directions).sum()


def test_bad_two_sample_tests_are_refused():
    real, generated = clouds(3, 20, 7)
    with pytest.raises(ValueError, match="8 points or more each, not 20 and 7"):
        two_sample_test(real, generated)
    with pytest.raises(ValueError, match="n_directions must be 1 to 12"):
        two_sample_test(real, real, n_directions=0)


def test_a_constant_component_tells_nothing():
    real, generated = clouds(5, 60, 60)
    real[:, 2] = generated[:, 2] = 4.0
    assert two_sample_test(real, generated).directions[0, 2] == 0.0


def test_round_trip_in_standard_deviations():
    (z,) = clouds(6, 500)
    covariance = np.cov(z.T)
    steps = np.random.default_rng(7).multivariate_normal(np.zeros(D), 0.25 * covariance, 500)
    found = round_trip(z, z + steps, covariance=covariance, real=(z, z))
    slow = [np.sqrt(s @ np.linalg.solve(covariance, s)) for s in steps]
    assert found.value == pytest.approx(np.mean(slow))
    assert found.standard_error == pytest.approx(np.std(slow, ddof=1) / np.sqrt(500))
    assert found.floor == 0.0
    with pytest.raises(ValueError, match="one shape"):
        round_trip(z, z[:-1], covariance=covariance)
    with pytest.raises(ValueError, match="directions without variance"):
        round_trip(z, z + 1.0, covariance=np.diag([1.0] * (D - 1) + [0.0]))


def test_two_points_are_enough_for_a_round_trip():
    z, steps = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 6.0]])
    found = round_trip(z, z + steps, covariance=np.diag([1.0, 4.0]))
    assert (found.value, found.standard_error) == pytest.approx((2.0, 1.0))
    with pytest.raises(ValueError, match="at least 2"):
        round_trip(z[:1], z[:1], covariance=np.eye(2))


class Normal:
    def __init__(self, mean, covariance):
        self.law = multivariate_normal(mean, covariance)

    def score_samples(self, z):
        return np.atleast_1d(self.law.logpdf(z))


def test_held_out_log_likelihood_has_its_closed_form():
    z = np.random.default_rng(8).normal(0, 2, (5000, 3))
    found = held_out_log_likelihood(Normal(np.zeros(3), 4 * np.eye(3)), z, z_train=z[:100])
    entropy = 1.5 * np.log(2 * np.pi * np.e * 4)
    # The log-density's deviation is √1.5, so the mean's is 0.017.
    assert found.value == pytest.approx(-entropy, abs=0.06)
    assert found.standard_error == pytest.approx(np.sqrt(1.5 / 5000), rel=0.1)
    assert np.isfinite(found.floor)
    with pytest.raises(ValueError, match="has no density"):
        held_out_log_likelihood(object(), z)
    with pytest.raises(ValueError, match="at least 2 points"):
        held_out_log_likelihood(Normal(np.zeros(3), np.eye(3)), z[:1])


def test_an_impossible_point_is_worth_minus_infinity():
    class Box:
        def score_samples(self, z):
            return np.where(np.abs(z).max(axis=1) < 1, 0.0, -np.inf)

    found = held_out_log_likelihood(Box(), np.array([[0.0], [2.0]]))
    assert found.value == -np.inf
    assert np.isnan(found.standard_error)


SINGULAR = {
    "n < d": np.random.default_rng(9).standard_normal((10, 30)) + 5,
    "rank 1": np.random.default_rng(10).standard_normal((40, 1)) @ np.ones((1, 4)) - 3,
    "one component": np.random.default_rng(11).exponential(size=(40, 1)),
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_audits_of_few_points_singular_clouds_and_one_component(name, dtype):
    cloud = SINGULAR[name].astype(dtype)
    half = len(cloud) // 2
    copies = copying_audit(cloud[:half], cloud[:half], cloud[half:])
    assert (copies.share, copies.distance_ratio) == (1.0, 0.0)
    for classifier in ("linear", "neural"):
        apart = two_sample_test(cloud, cloud + 40, classifier=classifier)
        assert apart.accuracy == 1.0
        assert np.isfinite(apart.directions).all()
    covariance = np.atleast_2d(np.cov(cloud.T))
    back = round_trip(cloud, cloud + 0.5 * (cloud - cloud.mean(axis=0)), covariance=covariance)
    centred = cloud - cloud.mean(axis=0, dtype=float)
    slow = 0.5 * np.sqrt(np.einsum("ij,jk,ik->i", centred, np.linalg.pinv(covariance, 1e-6), centred))
    assert back.value == pytest.approx(slow.mean(), rel=1e-3)


def test_bad_points_are_refused_by_every_audit():
    good, bad = np.eye(20, 3), np.full((20, 3), np.nan)
    for audit in (
        lambda z: copying_audit(z, good, good),
        lambda z: copying_audit(good, z, good),
        lambda z: two_sample_test(good, z),
        lambda z: round_trip(z, z, covariance=np.eye(3)),
        lambda z: held_out_log_likelihood(Normal(np.zeros(3), np.eye(3)), z),
    ):
        with pytest.raises(ValueError, match="must be finite"):
            audit(bad)
        with pytest.raises(ValueError, match="shape"):
            audit(np.zeros(3))
    with pytest.raises(ValueError, match="draws be at least 1"):
        copying_audit(good, good, good, draws=0)
    with pytest.raises(ValueError, match="n_directions must be 1 to 3, not 4"):
        two_sample_test(good, good, n_directions=4)


def test_a_sampler_without_sense_is_refused():
    class Lost:
        def score_samples(self, z):
            return np.full(len(z), np.nan)

    with pytest.raises(ValueError, match="not-a-number at some points"):
        held_out_log_likelihood(Lost(), np.eye(3))
