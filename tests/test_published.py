"""Both published layouts become the same dataset, and each fault in them gives its one sentence."""

import pickle
import shutil

import numpy as np
import pytest

from stackgan_keras.data import published
from stackgan_keras.errors import InputError

DIM = 6
BIRDS = ["001.Auk/Auk_0001", "001.Auk/Auk_0002", "002.Crow/Crow_0001"]
BOXES = [[60.0, 27.0, 325.0, 304.0], [1.0, 2.0, 3.5, 4.0], [0.0, 0.0, 10.0, 20.0]]
FLOWERS = ["jpg/image_00003", "jpg/image_00001", "jpg/image_00002"]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_pickle(path, value):
    write(path, pickle.dumps(value, 2))


def embeddings(*counts, dim=DIM):
    """One (count, dim) array an image, every number another."""
    numbers = np.arange(sum(counts) * dim, dtype=np.float32).reshape(-1, dim)
    return np.split(numbers, np.cumsum(counts)[:-1])


def write_split(root, names, class_ids, rows):
    write_pickle(root / "train" / "filenames.pickle", names)
    write_pickle(root / "train" / "class_info.pickle", class_ids)
    write_pickle(root / "train" / published.EMBEDDINGS, rows)


@pytest.fixture
def birds(tmp_path):
    """The birds' layout, with the images in images.txt in another order than in filenames.pickle."""
    root = tmp_path / "birds"
    write_split(root, BIRDS, [1, 1, 2], embeddings(2, 2, 2))
    for name in BIRDS:
        write(root / "CUB_200_2011/images" / f"{name}.jpg", b"")
        write(root / "text_c10" / f"{name}.txt", f"first of {name}\nsecond of {name}\n")
    order = [2, 0, 1]
    write(root / "CUB_200_2011/images.txt", "".join(f"{7 + i} {BIRDS[k]}.jpg\n" for i, k in enumerate(order)))
    boxes = "".join(f"{7 + i} {' '.join(map(str, BOXES[k]))}\n" for i, k in enumerate(order))
    write(root / "CUB_200_2011/bounding_boxes.txt", boxes)
    return root


@pytest.fixture
def flowers(tmp_path):
    root = tmp_path / "flowers"
    write_split(root, FLOWERS, np.array([77, 5, 5]), embeddings(1, 1, 1))
    for name, folder in zip(FLOWERS, ("class_00077", "class_00005", "class_00005"), strict=True):
        write(root / f"{name}.jpg", b"")
        write(root / "text_c10" / folder / f"{name.split('/')[1]}.txt", f"text of {name}\n")
    return root


def read(root):
    return published.read(root, "train", text_dim=DIM)


def refused(root, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read(root)
    assert "\n" not in str(caught.value)


# what is read


def test_birds(birds):
    dataset = read(birds)
    assert len(dataset) == 3
    assert dataset.names == tuple(BIRDS)
    assert dataset.paths == tuple(birds / "CUB_200_2011/images" / f"{name}.jpg" for name in BIRDS)
    assert dataset.boxes.tolist() == BOXES and dataset.boxes.dtype == np.float64
    assert dataset.class_ids.tolist() == [1, 1, 2] and dataset.class_ids.dtype == np.int64
    assert dataset.captions[2] == (f"first of {BIRDS[2]}", f"second of {BIRDS[2]}")
    assert dataset.embeddings.shape == (6, DIM) and dataset.embeddings.dtype == np.float32
    assert dataset.first_embedding.tolist() == [0, 2, 4, 6] and dataset.first_embedding.dtype == np.int64
    assert np.array_equal(dataset.embeddings_of(1), embeddings(2, 2, 2)[1])
    assert dataset.packed == {}


def test_flowers(flowers):
    dataset = read(flowers)
    assert dataset.boxes is None
    assert dataset.paths == tuple(flowers / f"{name}.jpg" for name in FLOWERS)
    assert dataset.captions == tuple((f"text of {name}",) for name in FLOWERS)
    assert dataset.class_ids.tolist() == [77, 5, 5]


def test_flowers_in_the_folder_of_their_archive(flowers):
    (flowers / "Oxford102").mkdir()
    (flowers / "jpg").rename(flowers / "Oxford102/jpg")
    assert read(flowers).paths[0] == flowers / "Oxford102/jpg/image_00003.jpg"


def test_captions_whose_folder_does_not_follow_the_class_number(flowers):
    write_pickle(flowers / "train/class_info.pickle", [76, 4, 4])
    assert read(flowers).captions[0] == ("text of jpg/image_00003",)


def test_a_caption_name_in_two_other_classes_is_nobodys(flowers):
    write_pickle(flowers / "train/class_info.pickle", [76, 5, 5])
    write(flowers / "text_c10/class_00002/image_00003.txt", "of another flower")
    assert read(flowers).captions[0] == ()


def test_the_class_number_decides_between_equal_caption_names(flowers):
    write(flowers / "text_c10/class_00002/image_00003.txt", "of another flower")
    assert read(flowers).captions[0] == ("text of jpg/image_00003",)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".png", ".PNG"])
def test_image_suffixes(birds, suffix):
    image = birds / "CUB_200_2011/images" / f"{BIRDS[0]}.jpg"
    image.rename(image.with_suffix(suffix))
    assert read(birds).paths[0] == image.with_suffix(suffix)


def test_the_first_suffix_wins_and_other_files_do_not_count(birds):
    image = birds / "CUB_200_2011/images" / f"{BIRDS[0]}.jpg"
    write(image.with_suffix(".png"), b"")
    write(image.with_suffix(".txt"), b"")
    assert read(birds).paths[0] == image


def test_dots_in_names_and_suffixes_in_the_list(birds):
    name = "001.Auk/Auk_0001.v2.left"
    images = birds / "CUB_200_2011/images"
    (images / f"{BIRDS[0]}.jpg").rename(images / f"{name}.jpg")
    table = birds / "CUB_200_2011/images.txt"
    write(table, table.read_text().replace(f"{BIRDS[0]}.jpg", f"{name}.jpg"))
    for listed in (name, f"{name}.jpg"):
        write_pickle(birds / "train/filenames.pickle", [listed, *BIRDS[1:]])
        dataset = read(birds)
        assert dataset.names[0] == name and dataset.paths[0] == images / f"{name}.jpg"
        assert dataset.boxes.tolist() == BOXES


def test_box_tables_with_other_white_space(birds):
    for name in ("images.txt", "bounding_boxes.txt"):
        table = birds / "CUB_200_2011" / name
        spaced = table.read_text().replace(" ", " \t  ").replace("\n", "  \r\n")
        write(table, "  " + spaced + "\r\n")
    assert read(birds).boxes.tolist() == BOXES


def test_caption_encodings_blank_lines_and_line_ends(birds):
    for name, content in zip(
        BIRDS,
        ("\ufeffa blue Écureuil\r\n\r\n  \r\nsecond\r\n".encode(), "caf\xe9\x85 wing\n".encode("latin-1"), b"\n"),
        strict=True,
    ):
        write(birds / "text_c10" / f"{name}.txt", content)
    assert read(birds).captions == (("a blue Écureuil", "second"), ("café… wing",), ())


def test_missing_captions_are_empty(birds):
    (birds / "text_c10" / f"{BIRDS[1]}.txt").unlink()
    assert [len(captions) for captions in read(birds).captions] == [2, 0, 2]
    shutil.rmtree(birds / "text_c10")
    assert read(birds).captions == ((), (), ())


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (embeddings(2, 1, 3), [2, 1, 3]),
        ([row.tolist() for row in embeddings(2, 1, 3)], [2, 1, 3]),
        ([list(row) for row in embeddings(2, 1, 3)], [2, 1, 3]),
        (np.stack(embeddings(2, 2, 2)), [2, 2, 2]),
        (np.concatenate(embeddings(1, 1, 1)), [1, 1, 1]),
        ([row[0] for row in embeddings(1, 1, 1)], [1, 1, 1]),
        ([row.astype(">f8") for row in embeddings(2, 1, 3)], [2, 1, 3]),
    ],
)
def test_forms_of_embeddings(birds, rows, counts):
    write_pickle(birds / "train" / published.EMBEDDINGS, rows)
    dataset = read(birds)
    assert np.diff(dataset.first_embedding).tolist() == counts
    assert dataset.embeddings.dtype == np.float32
    assert dataset.embeddings.ravel().tolist() == list(range(sum(counts) * DIM))
    for index, row in enumerate(embeddings(*counts)):
        assert np.array_equal(dataset.embeddings_of(index), row)


def test_only_images_have_embeddings(birds):
    dataset = read(birds)
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"image {index} of 3"):
            dataset.embeddings_of(index)


def test_packed_images_are_found(birds):
    for name in ("76images.pickle", "304images.pickle", "images.pickle", "76images.pickle.bak"):
        write(birds / "train" / name, b"")
    assert read(birds).packed == {76: birds / "train/76images.pickle", 304: birds / "train/304images.pickle"}


# packed images


def test_packed_images_become_one_array(tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), np.uint8)
    grey = random[0, ..., 0]
    path = tmp_path / "5images.pickle"
    write_pickle(path, [random[0], grey, grey[..., None], random[3].transpose(1, 0, 2)])
    images = published.read_packed(path, 4, 5)
    assert images.dtype == np.uint8 and images.shape == (4, 5, 5, 3)
    assert np.array_equal(images[0], random[0])
    assert np.array_equal(images[1], np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(images[2], images[1])
    assert np.array_equal(images[3], random[3].transpose(1, 0, 2))
    write_pickle(path, random)
    assert np.array_equal(published.read_packed(path, 4, 5), random)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([np.zeros((5, 5, 3), np.uint8)], r"5images.pickle holds 1 rows but filenames.pickle lists 2"),
        (
            [np.zeros((5, 5, 3), np.uint8), np.zeros((5, 6, 3), np.uint8)],
            r"image 1 .*uint8 of shape \(5, 6, 3\), exp",
        ),
        ([np.zeros((5, 5, 3), np.float32)] * 2, r"image 0 .*float32 of shape \(5, 5, 3\), expected uint8"),
        ([np.zeros((5, 5, 4), np.uint8)] * 2, r"image 0 .*shape \(5, 5, 4\)"),
        ([[1, [2]], [3]], "image 0 .*is list"),
        ({0: 1, 1: 2}, "holds a dict, expected a list of images"),
        (np.array(7, np.uint8), "holds a ndarray, expected a list of images"),
    ],
)
def test_packed_images_that_do_not_fit(tmp_path, value, sentence):
    write_pickle(tmp_path / "5images.pickle", value)
    with pytest.raises(InputError, match=sentence):
        published.read_packed(tmp_path / "5images.pickle", 2, 5)


# what is refused


def test_missing_folders(birds, tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere: set data\.root"):
        published.read(tmp_path / "nowhere", "train", DIM)
    with pytest.raises(InputError, match=r"holds CUB_200_2011, text_c10, train, but no folder test/: set data\.root"):
        published.read(birds, "test", DIM)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds nothing, but no folder train/"):
        published.read(tmp_path / "empty", "train", DIM)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("filenames.pickle", 'a list of "class/name"'),
        ("class_info.pickle", "one class number an image"),
        (published.EMBEDDINGS, rf"char-CNN-RNN-embeddings\.pickle, one \(captions, {DIM}\) array an image"),
    ],
)
def test_missing_pickles(birds, file, expected):
    (birds / "train" / file).unlink()
    refused(birds, f"there is no file .*train.{file}: expected .*{expected}")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "lists no images"),
        ("001.Auk/Auk_0001", "holds a str, expected the images' names, a list"),
        ([1, 2, 3], "lists 1, expected names"),
        (np.array("001.Auk/Auk_0001"), "holds a ndarray, expected the images' names, a list"),
        (["../secret", *BIRDS[1:]], r"lists '\.\./secret', expected names like \"class/name\" inside"),
        (["001.Auk/../../secret", *BIRDS[1:]], "inside the image folder"),
        (["/etc/passwd", *BIRDS[1:]], "inside the image folder"),
        (["..\\secret", *BIRDS[1:]], "inside the image folder"),
        (["C:/secret", *BIRDS[1:]], "inside the image folder"),
        (["001.Auk/Auk_0001\r", *BIRDS[1:]], r"lists '001.Auk/Auk_0001\\r', expected"),
        (["", *BIRDS[1:]], "inside the image folder"),
        (["./.", *BIRDS[1:]], "inside the image folder"),
        (["001.Auk/", *BIRDS[1:]], "inside the image folder"),
    ],
)
def test_names_that_are_none(birds, names, sentence):
    write_pickle(birds / "train/filenames.pickle", names)
    refused(birds, sentence)


@pytest.mark.parametrize("values", [["1", "1", "2"], [1.5, 1.0, 2.0], [[1], [1, 2], [2]], 7, {"a": 1}, [2**70, 1, 1]])
def test_class_numbers_that_are_none(birds, values):
    write_pickle(birds / "train/class_info.pickle", values)
    refused(birds, r"class_info\.pickle (is no list of class numbers|holds a (int|dict), expected one class number)")


def test_lengths_that_differ(birds):
    write_pickle(birds / "train/class_info.pickle", [1, 1])
    refused(birds, r"class_info\.pickle holds 2 rows but filenames\.pickle lists 3: download both files again")
    write_pickle(birds / "train/class_info.pickle", [1, 1, 2])
    write_pickle(birds / "train" / published.EMBEDDINGS, embeddings(1, 1, 1, 1))
    refused(birds, r"embeddings\.pickle holds 4 rows but filenames\.pickle lists 3: download both files again")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (embeddings(1, 1, 1, dim=4), r"have 4 dimensions but 6 are expected: set generator\.text_dim to 4"),
        ([*embeddings(1, 1), np.zeros((1, 4))], r"have 4 dimensions but 6 are expected: set generator\.text_dim"),
        ([*embeddings(1, 1), np.zeros((0, DIM))], rf"of {BIRDS[2]} .* shape \(0, 6\).*expected numbers"),
        ([*embeddings(1, 1), np.zeros((1, 1, DIM))], rf"of {BIRDS[2]} .* shape \(1, 1, 6\)"),
        ([*embeddings(1, 1), "text"], f"of {BIRDS[2]} .*expected numbers"),
        ([*embeddings(1, 1), ["1"] * DIM], f"of {BIRDS[2]} .*expected numbers"),
        ([*embeddings(1, 1), np.ones((1, DIM), complex)], f"of {BIRDS[2]} .*expected numbers"),
        ([*embeddings(1, 1), [[1.0], [1.0, 2.0]]], f"of {BIRDS[2]} .*expected numbers"),
        ([*embeddings(1, 1), np.full((1, DIM), np.nan)], f"of {BIRDS[2]} .*not all finite"),
        ([*embeddings(1, 1), np.full((1, DIM), 1e300)], f"of {BIRDS[2]} .*not all finite"),
        ({"a": 1}, r"holds a dict, expected .* array an image"),
        (np.array(1.0), r"holds a ndarray, expected .* array an image"),
    ],
)
def test_embeddings_that_do_not_fit(birds, rows, sentence):
    write_pickle(birds / "train" / published.EMBEDDINGS, rows)
    refused(birds, sentence)


def test_missing_photographs_are_counted(birds, flowers):
    images = birds / "CUB_200_2011/images"
    for name in BIRDS[1:]:
        (images / f"{name}.jpg").unlink()
    refused(birds, rf"2 of 3 photographs are missing, the first is {BIRDS[1]}.jpg: expected it at {images / BIRDS[1]}")
    shutil.rmtree(birds / "CUB_200_2011")
    refused(birds, rf"3 of 3 photographs .* expected it at {images / BIRDS[0]}\.jpg; unpack CUB_200_2011\.tgz")
    shutil.rmtree(flowers / "jpg")
    refused(flowers, rf"3 of 3 .* expected it at {flowers / FLOWERS[0]}\.jpg; unpack 102flowers\.tgz")


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("images.txt", lambda text: text.replace("Auk_0002.jpg", "Auk_9.jpg"), rf"1 of 3 .* is {BIRDS[1]} with .*nan"),
        ("bounding_boxes.txt", lambda text: text.replace("8 ", "80 "), rf"1 of 3 .* is {BIRDS[0]} with .*nan"),
        ("bounding_boxes.txt", lambda text: text.replace(" 304.0", ""), rf"is {BIRDS[0]} with .*nan"),
        ("bounding_boxes.txt", lambda text: text.replace("304.0", "304.0 5"), "cannot be read .*line 2"),
        ("bounding_boxes.txt", lambda text: text.replace("304.0", "tall"), "cannot be read .*tall"),
        ("bounding_boxes.txt", lambda text: text.replace("304.0", "-304.0"), rf"is {BIRDS[0]} with .*-304\.0\]"),
        ("bounding_boxes.txt", lambda text: text.replace("27.0", "inf"), rf"is {BIRDS[0]} with .*inf"),
        ("bounding_boxes.txt", lambda text: text + text, "cannot be read .*not unique"),
        ("images.txt", lambda text: text.replace("Auk_0002.jpg", "Auk_0001.png"), "cannot be read .*duplicate"),
        ("images.txt", lambda text: text.replace("7 ", "seven "), "cannot be read .*seven"),
        ("images.txt", lambda text: text.replace("Auk_0002", "Auk 0002"), "cannot be read .*line 3"),
        ("images.txt", lambda text: "", "3 of 3 images"),
        ("images.txt", None, r"cannot be read .*No such file.*images\.txt"),
        ("bounding_boxes.txt", None, r"cannot be read .*No such file.*bounding_boxes\.txt"),
    ],
)
def test_boxes_that_do_not_fit(birds, file, change, sentence):
    path = birds / "CUB_200_2011" / file
    if change is None:
        path.unlink()
    else:
        changed = change(path.read_text())
        assert changed != path.read_text()
        write(path, changed)
    refused(birds, f"images.txt and bounding_boxes.txt in {path.parent} .*{sentence}.*: (download|use)")


def test_a_hostile_pickle_is_refused(birds):
    write(birds / "train/filenames.pickle", b"cos\nsystem\n(S'true'\ntR.")
    refused(birds, r"asks for os\.system")


# the real data


@pytest.mark.parametrize(("split", "count"), [("train", 215), ("test", 209)])
def test_the_real_birds(shared, split, count):
    root = shared / "birds"
    dataset = published.read(root, split)
    assert len(dataset) == count
    assert dataset.embeddings.shape == (10 * count, 1024)
    assert np.diff(dataset.first_embedding).tolist() == [10] * count
    assert {len(captions) for captions in dataset.captions} == {10}
    assert all(path.is_file() for path in dataset.paths)
    assert all(f"{number:03d}." == name[:4] for number, name in zip(dataset.class_ids, dataset.names, strict=True))
    lines = (root / "CUB_200_2011/images.txt").read_text().split()
    number = lines[lines.index(f"{dataset.names[5]}.jpg") - 1]
    box = " ".join([number, *map(str, dataset.boxes[5])])
    assert box in (root / "CUB_200_2011/bounding_boxes.txt").read_text().splitlines()
    text = (root / "text_c10" / f"{dataset.names[5]}.txt").read_text()
    assert dataset.captions[5] == tuple(line.strip() for line in text.splitlines())


@pytest.mark.parametrize("kind", ["intact", "crlf_damaged"])
def test_the_published_names_without_most_photographs(shared, tmp_path, kind):
    shutil.copytree(shared / "published_pickles" / kind / "train", tmp_path / "train")
    write_pickle(tmp_path / "train" / published.EMBEDDINGS, np.zeros((8855, 1, DIM), np.float32))
    (tmp_path / "CUB_200_2011").symlink_to(shared / "birds/CUB_200_2011", target_is_directory=True)
    refused(tmp_path, r"8640 of 8855 photographs are missing, the first is 010.*\.jpg: expected it at .*CUB_200_2011")
