"""The latent space of a plain convolutional autoencoder: images, model, z-points, scores, figures."""

import lazy_loader

# A name loads when it is first used: `import aelib` stays light. The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
