import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from aelib.animation import save_animation


def _film(n, height=8, width=10):
    ramp = np.linspace(0, 1, width) * np.ones((height, 1))
    return np.stack([np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, k / n)], axis=-1) for k in range(n)])


def test_a_gif_shows_every_image_for_its_time_again_and_again(tmp_path):
    images = _film(5)
    path = save_animation(images, tmp_path / "new" / "walk.gif", fps=8)
    with Image.open(path) as film:
        frames = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(film)
        ]
        assert film.info["loop"] == 0
    assert [time for _, time in frames] == [120] * 5  # 1 / 8 s in hundredths
    shown = np.stack([frame for frame, _ in frames]) / 255
    np.testing.assert_allclose(shown, images, atol=0.01)  # fewer than 256 colours each: nothing but rounding
    assert list(path.parent.iterdir()) == [path]


def test_save_animation_refuses_what_it_cannot_write_and_leaves_nothing(tmp_path, monkeypatch):
    images = _film(2)
    for fps in (0, 51, float("nan")):
        with pytest.raises(ValueError, match="fps must be from"):
            save_animation(images, tmp_path / "a.gif", fps=fps)
    with pytest.raises(ValueError, match=r"must end in \.gif or \.mp4, not 'a\.webm'"):
        save_animation(images, tmp_path / "a.webm")
    for wrong in (images[:0], images * np.nan):
        with pytest.raises(ValueError, match="at least one image, and finite"):
            save_animation(wrong, tmp_path / "a.gif")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="ffmpeg, which is not found here; install it"):
        save_animation(images, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def _fake_ffmpeg(folder, monkeypatch, script):
    folder.mkdir()
    (folder / "ffmpeg").write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_an_mp4_is_left_to_ffmpeg(tmp_path, monkeypatch):
    script = "open(sys.argv[-1], 'wb').write(repr(sys.argv).encode() + b'|' + sys.stdin.buffer.read())"
    _fake_ffmpeg(tmp_path / "bin", monkeypatch, script)
    images = _film(3)
    path = save_animation(images, tmp_path / "out" / "walk.MP4", fps=5)
    arguments, _, data = path.read_bytes().partition(b"|")
    assert b"'10x8', '-framerate', '5'" in arguments
    np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(images.shape), np.rint(255 * images))
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_ffmpeg_is_quoted_and_the_old_film_kept(tmp_path, monkeypatch):
    _fake_ffmpeg(tmp_path / "bin", monkeypatch, "sys.stdin.buffer.read(); sys.exit('no encoder')")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "walk.mp4").write_text("old")
    with pytest.raises(RuntimeError, match=r"could not write \.mp4: no encoder"):
        save_animation(_film(3), tmp_path / "out" / "walk.mp4")
    assert [(entry.name, entry.read_text()) for entry in (tmp_path / "out").iterdir()] == [
        ("walk.mp4", "old")
    ]
