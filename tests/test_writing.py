"""Images and pickles of the published layout: what is kept, what is changed, and whole files or none."""

import errno
import io
import os
import pickle

import numpy as np
import pytest
from PIL import ExifTags, Image

from stackgan_keras.data import pickles, writing
from stackgan_keras.files import atomic_write


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def half():
    """Red above, blue below: a turn shows."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :, 0] = pixels[20:, :, 2] = 250
    return pixels


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (3, 3)])
def test_an_image_that_shows_nothing_is_refused(tmp_path, size):
    source = save(tmp_path / "a.png", np.zeros((*size, 3)))
    with pytest.raises(writing.BadImage, match="pixels, less than"):
        writing.write_image(source, tmp_path / "x", upright=True)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.jpg", "x.jpg"), ("a.JPEG", "x.jpeg"), ("a.png", "x.png"), ("a.PNG", "x.png")]
)
def test_known_files_stay_as_they_are(half, tmp_path, name, expected):
    source = save(tmp_path / name, half, format="PNG" if "png" in name.lower() else "JPEG")
    path = writing.write_image(source, tmp_path / "out" / "x", upright=True)
    assert path == tmp_path / "out" / expected == writing.find_image(tmp_path / "out" / "x")
    assert path.read_bytes() == source.read_bytes()
    assert not path.is_symlink()


def test_a_link_inside_becomes_a_file(half, tmp_path):
    save(tmp_path / "real.png", half)
    (tmp_path / "link.png").symlink_to("real.png")
    path = writing.write_image(tmp_path / "link.png", tmp_path / "out" / "x", upright=True)
    assert not path.is_symlink()
    assert path.read_bytes() == (tmp_path / "real.png").read_bytes()


def test_where_no_link_can_be_made_the_file_is_copied(half, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    source = save(tmp_path / "a.png", half)
    path = writing.write_image(source, tmp_path / "x", upright=True)
    assert path.read_bytes() == source.read_bytes()
    assert path.stat().st_ino != source.stat().st_ino


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp", "tiff"])
def test_other_formats_become_png(half, tmp_path, suffix):
    source = save(tmp_path / f"a.{suffix}", half, **({"lossless": True} if suffix == "webp" else {}))
    path = writing.write_image(source, tmp_path / "x.1", upright=True)
    assert path.name == "x.1.png"
    with Image.open(path) as image:
        assert image.format == "PNG"
    np.testing.assert_array_equal(pixels_of(path), half)


@pytest.mark.parametrize("orientation", range(10))
def test_photographs_are_turned(tmp_path, orientation):
    numbers = np.kron([[10, 250], [90, 170]], np.ones((24, 32)))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    source = save(tmp_path / "a.jpg", numbers, exif=exif)
    path = writing.write_image(source, tmp_path / "x", upright=True)
    turn = {2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: np.transpose, 6: lambda p: np.rot90(p, -1),
            7: lambda p: np.rot90(p.T, 2), 8: np.rot90}.get(orientation)  # fmt: skip
    np.testing.assert_allclose(pixels_of(path)[..., 0], turn(numbers) if turn else numbers, atol=20)
    assert (path.read_bytes() == source.read_bytes()) == (turn is None)
    with Image.open(path) as image:
        assert image.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1, 9)
    as_it_is = writing.write_image(source, tmp_path / "y", upright=False)
    assert as_it_is.read_bytes() == source.read_bytes()


def test_damaged_metadata_spoils_no_photograph(half, tmp_path):
    source = save(tmp_path / "a.jpg", half, exif=b"Exif\0\0" + bytes(range(40)))
    path = writing.write_image(source, tmp_path / "x", upright=True)
    assert path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_see_through_is_put_on_white(tmp_path, mode):
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:, :10, 3] = 255  # black on the left, nothing on the right
    image = Image.fromarray(pixels, "RGBA")
    if mode == "P":
        image = Image.fromarray((pixels[..., 3] > 0).astype(np.uint8), "P")
        image.putpalette([255, 0, 0, 0, 0, 0])
        image.save(tmp_path / "a.png", transparency=0)
    else:
        image.convert(mode).save(tmp_path / "a.png")
    result = pixels_of(writing.write_image(tmp_path / "a.png", tmp_path / "x", upright=True))
    assert (result[:, :10] == 0).all()
    assert (result[:, 10:] == 255).all()


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    source = save(tmp_path / "a.png", np.full((9, 9, 4), 255))
    assert writing.write_image(source, tmp_path / "x", upright=True).read_bytes() == source.read_bytes()


def test_sixteen_bits_keep_their_greys(tmp_path):
    levels = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    Image.fromarray(levels).save(tmp_path / "a.png")
    result = pixels_of(writing.write_image(tmp_path / "a.png", tmp_path / "x", upright=True))
    np.testing.assert_allclose(result[..., 0], levels / 257, atol=0.51)


def test_grey_and_cmyk_stay(tmp_path):
    for mode in ("L", "CMYK"):
        Image.new(mode, (30, 20)).save(tmp_path / f"{mode}.jpg")
        path = writing.write_image(tmp_path / f"{mode}.jpg", tmp_path / "x", upright=True)
        assert path.read_bytes() == (tmp_path / f"{mode}.jpg").read_bytes()


def test_bytes_are_written_as_they_are(half, tmp_path):
    stream = io.BytesIO()
    Image.fromarray(half).save(stream, "JPEG")
    path = writing.write_image(stream.getvalue(), tmp_path / "x", upright=False)
    assert path.name == "x.jpg"
    assert path.read_bytes() == stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: b"no image", "cannot identify"),
        (lambda whole: b"", "cannot identify"),
        (lambda whole: whole[: len(whole) // 2], "truncated"),
    ],
)
def test_bad_images_leave_nothing(tmp_path, content, reason):
    whole = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (90, 90, 3))).read_bytes()
    (tmp_path / "b.jpg").write_bytes(content(whole))
    with pytest.raises(writing.BadImage, match=reason):
        writing.write_image(tmp_path / "b.jpg", tmp_path / "out" / "x", upright=True)
    assert not (tmp_path / "out").exists()


def test_embeddings_are_a_pickle_of_arrays_of_any_length(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((rows, 7), np.float32) for rows in (10, 1, 12) * 400]
    writing.write_embeddings(tmp_path / "e.pickle", iter(arrays))
    assert (tmp_path / "e.pickle").read_bytes()[:2] == b"\x80\x02"
    for read in (pickles.load, lambda path: pickle.loads(path.read_bytes())):
        found = read(tmp_path / "e.pickle")
        assert type(found) is list
        for mine, theirs in zip(arrays, found, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    writing.write_embeddings(tmp_path / "none.pickle", iter(()))
    assert pickles.load(tmp_path / "none.pickle") == []


def test_a_stop_leaves_the_older_file_and_nothing_else(tmp_path):
    writing.write_pickle(tmp_path / "a.pickle", ["old"])

    def arrays():
        yield np.zeros((1, 2), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.write_embeddings(tmp_path / "a.pickle", arrays())
    assert pickles.load(tmp_path / "a.pickle") == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.pickle"]


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"a\.pickle"), atomic_write(tmp_path / "a.pickle"):
        raise OSError(errno.ENOSPC, "No space left on device")
