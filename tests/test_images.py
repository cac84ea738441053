"""Images keep their range, their crop and their place in a grid; labels stay within theirs."""

import warnings

import numpy as np
import pytest
from PIL import Image

from stackgan_keras.data import grids, photographs, rgb
from stackgan_keras.errors import InputError


def test_range_there_and_back():
    pixels = np.arange(256, dtype=np.uint8)
    values = rgb.to_range(pixels.astype(np.float32))
    assert (values.min(), values.max()) == (-1, 1)
    np.testing.assert_array_equal(rgb.to_uint8(values), pixels)
    np.testing.assert_array_equal(rgb.to_uint8([-3.0, 3.0, 0.0]), [0, 255, 128])


def test_load_sizes_of_the_release():
    assert [photographs.load_size(size) for size in (64, 256, 128)] == [76, 304, 152]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # centre ((2x + w) / 2, (2y + h) / 2), half-side 0.75 max(w, h), all cut to int, clipped to 500x400
        ((60.0, 27.0, 325.0, 304.0), (0, 0, 465, 400)),  # centre (222, 179), half 243
        ((200.0, 150.0, 61.0, 41.0), (185, 125, 275, 215)),  # centre (230, 170), half 45
        ((450.0, 380.0, 100.0, 60.0), (425, 335, 500, 400)),  # runs past the edge
        ((900.0, 900.0, 10.0, 10.0), (0, 0, 500, 400)),  # outside: the whole image
        ((10.0, 10.0, 0.0, 0.0), (0, 0, 500, 400)),  # empty: the whole image
    ],
)
def test_published_crop(box, expected):
    assert photographs.crop_box(box, 500, 400) == expected


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
def test_any_mode_and_tiny_images(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode).save(path)
    pixels = photographs.read(path, (0, 0, 2, 2), 76)
    assert pixels.shape == (76, 76, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_unreadable_images_are_named(tmp_path, content):
    path = tmp_path / "bird.jpg"
    Image.effect_noise((200, 200), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(InputError, match=r"the image .*bird\.jpg cannot be read .*replace it"):
        photographs.read(path, None, 76)


def test_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match=r"the image .*gone\.jpg cannot be read .*No such file.*leave it out"):
        photographs.read(tmp_path / "gone.jpg", None, 76)


def test_grid_puts_each_image_in_its_place():
    rows = [np.full((3, 4, 4, 3), 10 * i, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None] for i in (1, 2)]
    grid = grids.grid(rows)
    step = 4 + grids.MARGIN
    assert grid.shape == (2 * step + grids.MARGIN, 3 * step + grids.MARGIN, 3)
    for i in range(2):
        for j in range(3):
            top, left = grids.MARGIN + i * step, grids.MARGIN + j * step
            assert (grid[top : top + 4, left : left + 4] == 10 * (i + 1) + j).all()


def test_labelled_grid_keeps_the_images_and_takes_any_sentence(tmp_path):
    rows = [np.full((2, 64, 64, 3), 7, np.uint8)]
    grid = grids.labelled_grid(rows, ["", "a bird " * 40 + "ü 鳥"])
    plain = grids.grid([rows[0].repeat(2, 1).repeat(2, 2)])
    np.testing.assert_array_equal(grid[-plain.shape[0] :], plain)
    rgb.write(tmp_path / "new/grid.png", grid)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new/grid.png")), grid)


def test_long_captions_are_cut_only_where_asked(tmp_path):
    rows = [np.full((1, 256, 256, 3), 7, np.uint8)]
    cut, whole = (grids.labelled_grid(rows, ["a bird " * 60], max_lines=lines) for lines in (6, None))
    assert len(cut) - 260 < 6 * 16 + 20 < len(whole) - 260


def test_enlarged_images_repeat_their_pixels():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    for size, times in ((1, 1), (4, 1), (5, 2), (8, 2), (16, 4)):
        large = grids.enlarge(images, size)
        assert large.shape == (2, 4 * times, 4 * times, 3)
        np.testing.assert_array_equal(large[:, ::times, ::times], images)
        np.testing.assert_array_equal(large[:, times - 1 :: times, times - 1 :: times], images)


def placed(grid, colour):
    """The box (top, bottom, left, right) that pixels of one colour fill on a grid; they fill it wholly."""
    rows, columns = np.nonzero((grid[..., 0] == colour[0]) & (grid[..., 1] == colour[1]) & (grid[..., 2] == colour[2]))
    box = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    assert len(rows) == (box[1] - box[0]) * (box[3] - box[2])
    return box


@pytest.mark.parametrize(("blocks", "columns"), [(1, 1), (3, 1), (5, 2), (4, 4), (12, 2)])
def test_blocks_stand_below_their_sentences(blocks, columns):
    colours = np.array([[[b, row, c] for c in range(columns) for row in range(2)] for b in range(blocks)], np.uint8)
    images = colours.reshape(blocks, columns, 2, 1, 1, 3).repeat(32, 3).repeat(32, 4)
    made = [[images[b, :, 0].repeat(4, 1).repeat(4, 2), images[b, :, 1]] for b in range(blocks)]
    captions = [f"{b}. {'a long sentence ' * 12 if b % 2 else ''}" for b in range(blocks)]
    grid = grids.block_grid(captions, made, ["above", "below"])
    assert grid.shape[0] <= 4 * grid.shape[1]
    for b in range(blocks):
        boxes = [[placed(grid, colours[b, 2 * c + row]) for c in range(columns)] for row in range(2)]
        assert {(box[1] - box[0], box[3] - box[2]) for row in boxes for box in row} == {(128, 128)}
        for above, below in zip(*boxes, strict=True):
            assert above[2:] == below[2:]
            assert below[0] == above[1] + grids.MARGIN
        top, left = boxes[0][0][0], boxes[0][0][2]
        caption = grid[top - 14 : top - 1, left : left + 120]  # its last line is right above the images
        assert (caption < 128).any()
        assert (grid[top - 1, left : boxes[0][-1][3]] == grids.PAPER).all()
    assert (grid[: grid.shape[0], grids.GAP // 2 : left_most(grid)] < 128).any()  # the names of the rows


def left_most(grid):
    """Where the first image begins: the names of the rows stand left of it."""
    return placed(grid, np.array([0, 0, 0]))[2]


@pytest.mark.parametrize(
    "text", ["a bird " * 30, "x" * 300, "鳥" * 100, "🐦" * 50, "ü\u0301\u200d" * 40, "W" * 29 + " i"]
)
@pytest.mark.parametrize("width", [20, 128, 256])
def test_labels_stay_within_their_width(text, width):
    pixels = grids.label(text, width)
    assert 0 < pixels.shape[1] <= width
    wide = grids.label(text, 10**4)
    assert pixels.shape[0] > wide.shape[0]  # wrapped, not cut
    assert (pixels[-16:] < 128).any()  # no empty line at the end


@pytest.mark.parametrize("text", ["", " ", "\n", "\0\x07\x1b[31m", "\udcff\ud800", "\u202e\u2028abc", "\U0010ffff"])
def test_labels_of_anything(text):
    assert grids.label(text, 128, max_lines=1).shape[0] == 16


def test_labels_know_other_alphabets():
    """Not one box for every character, as fonts show what they do not know."""
    drawn = {grids.label(character, 50).tobytes() for character in "жщюλωéß"}
    assert len(drawn) == 7


def test_cut_labels_end_with_dots():
    whole, cut = (grids.label("a bird " * 30, 100, max_lines=lines) for lines in (None, 3))
    assert cut.shape[0] == 3 * 16 < whole.shape[0]
    both = min(cut.shape[1], whole.shape[1])
    np.testing.assert_array_equal(cut[:32, :both], whole[:32, :both])
    assert any(same_ink(cut[32:], grids.label(f"{'a bird ' * n}{end}…", 100)) for n in (1, 2) for end in ("", "a "))


def same_ink(one, other):
    width = min(one.shape[1], other.shape[1])
    return np.array_equal(one[:, :width], other[:, :width]) and (one[:, width:] == grids.PAPER).all()


def test_gif_keeps_frames_and_times(tmp_path):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for i, frame in enumerate(frames):
        frame[:, : 8 * (i + 1)] = (200, 60 * i, 0)
    rgb.write_gif(tmp_path / "new/interpolation.gif", frames, [700, 100, 100, 700])
    with Image.open(tmp_path / "new/interpolation.gif") as file:
        assert (file.n_frames, file.info["loop"]) == (4, 0)
        for i, milliseconds in enumerate([700, 100, 100, 700]):
            file.seek(i)
            assert file.info["duration"] == milliseconds
            np.testing.assert_array_equal(np.asarray(file.convert("RGB")), frames[i])


def test_centre_crops_and_ten_crops_take_the_same_middle():
    images = np.arange(2 * 76 * 76 * 3).reshape(2, 76, 76, 3)
    middles = photographs.centre_crops(images, 64)
    np.testing.assert_array_equal(middles, images[:, 6:70, 6:70])
    for image, middle in zip(images, middles, strict=True):
        crops = photographs.ten_crops(image, 64)
        np.testing.assert_array_equal(crops[0], middle)
        np.testing.assert_array_equal(crops[4], image[12:, 12:])
        np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])


def test_a_palette_with_transparent_colours_is_read_without_a_warning(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(pixels).quantize(16).save(tmp_path / "plain.png")
    Image.fromarray(pixels).quantize(16).save(tmp_path / "transparent.png", transparency=bytes([255] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, transparent = (photographs.read(tmp_path / f"{name}.png", None, 76) for name in ("plain", "transparent"))
    assert np.array_equal(plain, transparent)
