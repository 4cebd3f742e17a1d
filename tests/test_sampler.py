import numpy as np
import pytest
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags

from aelib.laws import MultivariateNormal, SphereShell
from aelib.limits import EllipseLimited
from aelib.sampler import check_above_zero, check_choice, log_standard_normal

CLOUD = np.random.default_rng(1).normal(size=(40, 3)) + np.arange(1, 4)


def test_draws_follow_the_seed_and_a_generator_goes_on():
    normal = MultivariateNormal().fit(CLOUD)
    np.testing.assert_array_equal(normal.sample(5, random_state=3), normal.sample(5, random_state=3))
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(normal.sample(5, random_state=3), normal.sample(5, random_state=rng))
    assert (normal.sample(5, random_state=rng) != normal.sample(5, random_state=3)).all()
    assert (normal.sample() != normal.sample()).all()
    assert normal.sample().shape == (1, 3)


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    MultivariateNormal().fit(CLOUD).sample(5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_scikit_learn_takes_samplers_for_density_estimators():
    assert get_tags(MultivariateNormal()).estimator_type == get_tags(GaussianMixture()).estimator_type


def test_what_cannot_be_drawn_or_scored_is_refused():
    normal = MultivariateNormal()
    with pytest.raises(NotFittedError):
        normal.sample(2)
    with pytest.raises(NotFittedError):
        normal.score_samples(CLOUD)
    normal.fit(CLOUD)
    with pytest.raises(ValueError, match="n_samples must be at least 1, not 0"):
        normal.sample(0)
    with pytest.raises(ValueError, match="expecting 3 features"):
        normal.score_samples(CLOUD[:, :2])
    with pytest.raises(ValueError, match="contains NaN"):
        normal.fit(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="2D array"):
        normal.fit(np.zeros(4))
    with pytest.raises(ValueError, match="1 sample"):
        normal.fit(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="no variance"):
        normal.fit(np.ones((7, 4)))


def test_score_is_the_mean_log_density_and_serves_cross_validation():
    normal = MultivariateNormal().fit(CLOUD)
    assert normal.score(CLOUD) == pytest.approx(normal.score_samples(CLOUD).mean())
    assert np.isfinite(cross_val_score(MultivariateNormal(), CLOUD, cv=4)).all()


def test_laws_without_density_have_no_score():
    for sampler in (SphereShell(), EllipseLimited(order="random")):
        assert not hasattr(sampler.fit(CLOUD), "score_samples")
        assert not hasattr(sampler, "score")


def test_memory_maps_are_read(tmp_path):
    np.save(tmp_path / "z.npy", CLOUD.astype(np.float32))
    z = np.load(tmp_path / "z.npy", mmap_mode="r")
    np.testing.assert_allclose(MultivariateNormal().fit(z).mean_, CLOUD.mean(axis=0), rtol=1e-5)


def test_log_standard_normal_is_that_of_scipy():
    np.testing.assert_allclose(log_standard_normal(CLOUD), norm.logpdf(CLOUD).sum(axis=1))


def test_parameters_are_checked():
    for value in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="b must be finite and above 0"):
            check_above_zero("b", value)
    with pytest.raises(ValueError, match="order must be one of 'up', 'down', not 'left'"):
        check_choice("order", "left", ("up", "down"))
