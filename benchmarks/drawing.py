"""Samplers: beside NumPy, SciPy, scikit-learn and pythae where the law is the same, and by themselves."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import multivariate_normal
from sklearn import mixture

from aelib import samplers
from benchmarks.measure import Row, furthest, is_missing, seconds, times_as_fast
from benchmarks.statistics import Z_DIM, cloud

GROUP = "samplers"
N_POINTS, N_DRAWN = 20_000, 10_000
COMPONENTS, N_MIXED, D_MIXED = 5, 5_000, 32  # a mixture in 256 dimensions would take minutes, here and there
A_TENTH_LESS = 0.9  # scikit-learn climbs the likelihood for us, too; this is what we may take on top


def rows() -> Iterator[Row]:
    """Measure one line of the table after the other."""
    z = cloud(N_POINTS)
    yield from normal(z)
    yield from mixtures(islands())
    for sampler in (
        samplers.EllipseLimited(),
        samplers.TruncatedNormal(0.9),
        samplers.PCAMarginals(),
        samplers.GaussianCopula(),
        samplers.NeighbourInterpolation(draw="kernel"),
    ):
        time = seconds(lambda: sampler.fit(z).sample(N_DRAWN, random_state=0))
        what = f"{type(sampler).__name__}, 20 000 × {Z_DIM}"
        yield Row(GROUP, what, "time to fit, and to draw 10 000", (time,), "s", 60, at_most=True)


def islands() -> np.ndarray:
    """Draw a cloud of as many parts as the mixture has laws."""
    rng = np.random.default_rng(1)
    places = 3.0 * rng.standard_normal((COMPONENTS, D_MIXED))
    shift = places[rng.integers(COMPONENTS, size=N_MIXED)]
    return cloud(N_MIXED, d=D_MIXED) + shift.astype(np.float32)


def normal(z: np.ndarray) -> Iterator[Row]:
    """Measure the normal law: fitted and drawn from beside NumPy's and SciPy's, and its density."""
    what = f"normal law, fit and draw, 20 000 × {Z_DIM}"

    def ours() -> np.ndarray:
        return samplers.MultivariateNormal().fit(z).sample(N_DRAWN, random_state=0)

    def moments() -> tuple[np.ndarray, np.ndarray]:
        return z.mean(axis=0, dtype=np.float64), np.cov(z, rowvar=False)

    def numpys() -> np.ndarray:
        return np.random.default_rng(0).multivariate_normal(*moments(), size=N_DRAWN, method="cholesky")

    def scipys() -> np.ndarray:
        return multivariate_normal(*moments(), seed=0).rvs(N_DRAWN)

    for name, theirs in (("numpy, method='cholesky'", numpys), ("scipy.stats.multivariate_normal", scipys)):
        yield Row(GROUP, what, name, times_as_fast(ours, theirs, rounds=5), "×", 1)
    law, frozen = samplers.MultivariateNormal().fit(z), multivariate_normal(*moments())
    apart = furthest(law.score_samples(z), frozen.logpdf(z))
    ratios = times_as_fast(lambda: law.score_samples(z), lambda: frozen.logpdf(z), rounds=5)
    beside = "scipy.stats.multivariate_normal.logpdf"
    yield Row(
        GROUP, f"its density, 20 000 × {Z_DIM}", beside, ratios, "×", 1, apart=apart, within=1e-5
    )  # the points are float32


def mixtures(z: np.ndarray) -> Iterator[Row]:
    """Measure a Gaussian mixture beside scikit-learn's, in the same space, and beside pythae's sampler."""
    what = f"mixture of {COMPONENTS}, fit and draw, 5 000 × {D_MIXED}"

    def ours(**changed: Any) -> Any:
        return samplers.GaussianMixture(COMPONENTS, space="principal", **changed).fit(z)

    def theirs() -> mixture.GaussianMixture:
        return mixture.GaussianMixture(COMPONENTS, max_iter=200, random_state=0).fit(z.astype(np.float64))

    apart = abs(ours().score(z) / theirs().score(z) - 1)
    ratios = times_as_fast(
        lambda: ours().sample(N_DRAWN, random_state=0), lambda: theirs().sample(N_DRAWN), rounds=3
    )
    yield Row(GROUP, what, "scikit-learn", ratios, "×", A_TENTH_LESS, apart=apart, within=1e-2)
    if is_missing("pythae"):
        yield Row(GROUP, what, "pythae", (), "×", A_TENTH_LESS, missing="pythae")
        return
    sampled = pythaes(z)
    ratios = times_as_fast(
        lambda: ours(max_iter=2000).sample(N_DRAWN, random_state=0), lambda: sampled(N_DRAWN), rounds=3
    )
    yield Row(GROUP, what, "pythae.GaussianMixtureSampler", ratios, "×", A_TENTH_LESS)


def pythaes(z: np.ndarray) -> Any:
    """Make a function that fits pythae's sampler and draws: its network passes the points through as they are."""
    import torch
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig

    class Encoder(BaseEncoder):
        def forward(self, x: torch.Tensor) -> ModelOutput:
            return ModelOutput(embedding=x.flatten(1))

    class Decoder(BaseDecoder):
        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=z)

    d = z.shape[1]
    config = AEConfig(input_dim=(d,), latent_dim=d)
    network = AE(config, encoder=Encoder(), decoder=Decoder())
    # It takes values in [0, 1] alone, images as it thinks.
    inputs = torch.from_numpy((z - z.min()) / np.ptp(z))

    def sampled(n: int) -> Any:
        settings = GaussianMixtureSamplerConfig(n_components=COMPONENTS)
        sampler = GaussianMixtureSampler(model=network, sampler_config=settings)
        sampler.fit(inputs)
        return sampler.sample(n)

    return sampled
