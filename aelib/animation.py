"""Images -> a moving picture in a file."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from aelib.files import replacing


def save_animation(
    images: Float[np.ndarray, "n h w 3"], path: str | os.PathLike[str], *, fps: float = 12.0
) -> Path:
    """Write images as a film that repeats (`.gif`), or as one that ends (`.mp4`).

    The film is written whole or not at all. A GIF shows each image with 256 colours of its own, for a whole number of
    hundredths of a second. An MP4 needs the program ffmpeg; its sides are even, by a black line at the edge if need be.

    Parameters
    ----------
    images : array of float, shape (n, h, w, 3), values in [0, 1]
        The images in their order; values outside [0, 1] are shown as the nearest inside.
    path : path-like
        The file to write or replace; its name ends in `.gif` or `.mp4`.
    fps : float
        Images per second, from 0.01 to 50: viewers slow down faster GIFs.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If there is no image, a value is not finite, `fps` is out of range, or the name has another ending.
    RuntimeError
        If ffmpeg is needed and not installed, or fails.

    Examples
    --------
    >>> import tempfile
    >>> save_animation(np.zeros((2, 8, 8, 3)), Path(tempfile.mkdtemp()) / "walk.gif", fps=5).name
    'walk.gif'
    """
    if len(images) == 0 or not np.isfinite(images).all():
        raise ValueError("save_animation needs at least one image, and finite values in all.")
    if not 0.01 <= fps <= 50:
        raise ValueError(f"fps must be from 0.01 to 50 images per second, not {fps}.")
    path = Path(path)
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise ValueError(f"path must end in .gif or .mp4, not {path.name!r}.")
    frames = np.rint(255.0 * np.clip(images, 0.0, 1.0)).astype(np.uint8)
    with replacing(path) as temporary:
        writers[path.suffix.lower()](frames, temporary, fps)
    return path


def _write_gif(frames: UInt8[np.ndarray, "n h w 3"], path: Path, fps: float) -> None:
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, duration=10 * max(1, round(100 / fps)), loop=0)


def _write_mp4(frames: UInt8[np.ndarray, "n h w 3"], path: Path, fps: float) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise RuntimeError(
            "an .mp4 needs the program ffmpeg, which is not found here; install it, or write a .gif instead."
        )
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"]
    # Players want colour at half the resolution, which needs even sides, and the index at the front.
    target = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [
        ffmpeg,
        "-loglevel",
        "error",
        *source,
        "-framerate",
        f"{fps}",
        "-i",
        "-",
        *target,
        "-y",
        str(path),
    ]
    outcome = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
    if outcome.returncode != 0:
        reason = outcome.stderr.decode(errors="replace").strip() or f"exit status {outcome.returncode}"
        raise RuntimeError(f"ffmpeg could not write {path.suffix}: {reason}")
