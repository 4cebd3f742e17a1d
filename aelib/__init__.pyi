from . import claims, codec, faces, images, model, plots, scores, series, training
from .codec import decode, encode, reconstruct
from .images import Images, Splits, open_images
from .model import PRESETS, Autoencoder, AutoencoderConfig, layer_table, load_checkpoint, save_checkpoint
from .scores import psnr
from .training import TrainingConfig, train

__all__ = [
    "PRESETS",
    "Autoencoder",
    "AutoencoderConfig",
    "Images",
    "Splits",
    "TrainingConfig",
    "claims",
    "codec",
    "decode",
    "encode",
    "faces",
    "images",
    "layer_table",
    "load_checkpoint",
    "model",
    "open_images",
    "plots",
    "psnr",
    "reconstruct",
    "save_checkpoint",
    "scores",
    "series",
    "train",
    "training",
]
