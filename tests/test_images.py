"""Do pictures keep their range, their crop and their place in a grid?"""

import numpy as np
import pytest
from PIL import Image

from stackgan_keras import images
from stackgan_keras.errors import InputError


def test_range_there_and_back():
    pixels = np.arange(256, dtype=np.uint8)
    values = images.to_range(pixels.astype(np.float32))
    assert (values.min(), values.max()) == (-1, 1)
    np.testing.assert_array_equal(images.to_uint8(values), pixels)
    np.testing.assert_array_equal(images.to_uint8([-3.0, 3.0, 0.0]), [0, 255, 128])


def test_load_sizes_of_the_release():
    assert [images.load_size(size) for size in (64, 256, 128)] == [76, 304, 152]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # centre ((2x + w) / 2, (2y + h) / 2), half-side 0.75 max(w, h), all cut to int, clipped to 500x400
        ((60.0, 27.0, 325.0, 304.0), (0, 0, 465, 400)),  # centre (222, 179), half 243
        ((200.0, 150.0, 61.0, 41.0), (185, 125, 275, 215)),  # centre (230, 170), half 45
        ((450.0, 380.0, 100.0, 60.0), (425, 335, 500, 400)),  # runs past the edge
        ((900.0, 900.0, 10.0, 10.0), (0, 0, 500, 400)),  # outside: the whole picture
        ((10.0, 10.0, 0.0, 0.0), (0, 0, 500, 400)),  # empty: the whole picture
    ],
)
def test_crop_of_the_published_recipe(box, expected):
    assert images.crop_box(box, 500, 400) == expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
def test_any_mode_and_tiny_pictures(tmp_path, mode):
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode).save(path)
    pixels = images.read(path, (0, 0, 2, 2), 76)
    assert pixels.shape == (76, 76, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_unreadable_pictures_are_named(tmp_path, content):
    path = tmp_path / "bird.jpg"
    Image.effect_noise((200, 200), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(InputError, match=r"the picture .*bird\.jpg cannot be read .*replace the file"):
        images.read(path, None, 76)


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jpg is missing"):
        images.read(tmp_path / "gone.jpg", None, 76)


def test_grid_puts_each_picture_in_its_place():
    rows = [np.full((3, 4, 4, 3), 10 * i, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None] for i in (1, 2)]
    sheet = images.grid(rows)
    step = 4 + images.MARGIN
    assert sheet.shape == (2 * step + images.MARGIN, 3 * step + images.MARGIN, 3)
    for i in range(2):
        for j in range(3):
            top, left = images.MARGIN + i * step, images.MARGIN + j * step
            assert (sheet[top : top + 4, left : left + 4] == 10 * (i + 1) + j).all()


def test_labelled_grid_keeps_the_pictures_and_takes_any_sentence(tmp_path):
    rows = [np.full((2, 64, 64, 3), 7, np.uint8)]
    sheet = images.labelled_grid(rows, ["", "a bird " * 40 + "ü 鳥"])
    plain = images.grid([rows[0].repeat(2, 1).repeat(2, 2)])
    np.testing.assert_array_equal(sheet[-plain.shape[0] :], plain)
    images.write(tmp_path / "new/sheet.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new/sheet.png")), sheet)
