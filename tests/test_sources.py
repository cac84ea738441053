"""Sources of captioned images: folders in every shape, CUB, Oxford-102, COCO, drawn birds, tensorflow-datasets."""

import io
import json
import os
import pickle
from collections import Counter

import numpy as np
import pytest
from helpers import refusal
from PIL import Image

from stackgan_keras.data import drawn_birds, published, writing
from stackgan_keras.data.sources import captioned_folder, coco, cub, drawn, oxford102, recognise
from stackgan_keras.data.sources.source import Example, divide


def assert_readable(folder, names):
    """That the published layout takes these names as they are."""
    writing.write_pickle(folder / "filenames.pickle", list(names))
    assert published._read_names(folder / "filenames.pickle") == tuple(names)


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path, "PNG")  # what it holds is looked at later


def tell(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def captions(source):
    return {example.name: example.captions for example in source.examples}


def jsonl(path, *rows):
    tell(path, "".join(f"{json.dumps(row)}\n" for row in rows))


# -- captions in a folder of one's own


def test_text_beside_each_image(tmp_path):
    put(tmp_path, "a.jpg", "Ünïcode name.png", "UPPER.JPEG", "photo.jpg.png")
    tell(tmp_path / "a.txt", "one bird\n\n  another line  \n")
    tell(tmp_path / "Ünïcode name.txt", "a second one")
    tell(tmp_path / "UPPER.TXT", "a third")
    tell(tmp_path / "photo.jpg.txt", "a fourth")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {
        "images/a": ("one bird", "another line"),
        "images/Ünïcode name": ("a second one",),
        "images/UPPER": ("a third",),
        "images/photo_jpg": ("a fourth",),  # or it would be looked for as "photo"
    }
    assert source.skipped == {}
    assert_readable(tmp_path / "out", captions(source))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("café\n".encode(), "café"),
        ("\ufeffcafé\n".encode(), "café"),
        ("café\n".encode("latin-1"), "café"),
        ("it’s a café".encode("cp1252"), "it’s a café"),
        ("café\n".encode("utf-16"), "café"),
        (b"\xfe\xff" + "café\n".encode("utf-16-be"), "café"),
        (b"one\ttab\x00 and\x07 bell\r\n", "one tab and bell"),
        (b"\x81 odd", "odd"),
        ("鳥 \U0001f426".encode(), "鳥 \U0001f426"),
    ],
)
def test_encodings(tmp_path, content, expected):
    put(tmp_path, "a.jpg")
    (tmp_path / "a.txt").write_bytes(content)
    assert captions(captioned_folder.read(tmp_path)) == {"images/a": (expected,)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path, end):
    put(tmp_path, "a.jpg")
    tell(tmp_path / "a.txt", f"one{end}two{end}{end}")
    assert captions(captioned_folder.read(tmp_path)) == {"images/a": ("one", "two")}


def test_jsonl_with_strings_lists_and_repeated_rows(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg", "in/c.jpg")
    jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "a.jpg", "text": "one"},
        {"file_name": "b.jpg", "text": ["two", "three"]},
        {"file_name": "a.jpg", "text": "four\nfive"},
        {"file_name": "in\\c.jpg", "text": "from Windows \ud83d"},
        {"file_name": "b.jpg", "text": None},
        {"text": "whose?"},
    )
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write("[]\n\n")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {
        "images/a": ("one", "four", "five"),
        "images/b": ("two", "three"),
        "in/c": ("from Windows ?",),
    }
    assert source.skipped == {
        "rows of metadata without a text": ["metadata.jsonl line 5: b.jpg", "metadata.jsonl line 7: "],
        "captions without an image": ["metadata.jsonl line 6: "],
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path, delimiter):
    put(tmp_path, "a.jpg", "b.jpg")
    rows = [("file_name", "text"), ("a.jpg", '"a bird, red; ""so"""'), ("b.jpg", '"[""x"", ""y""]"'), ("a.jpg", "two")]
    tell(tmp_path / "METADATA.csv", "\ufeff" + "".join(delimiter.join(row) + "\r\n" for row in rows))
    assert captions(captioned_folder.read(tmp_path)) == {
        "images/a": ('a bird, red; "so"', "two"),
        "images/b": ("x", "y"),
    }


def test_csv_with_commas_that_nobody_quoted(tmp_path):
    put(tmp_path, "a.jpg")
    tell(tmp_path / "metadata.csv", "file_name,text\na.jpg,a red, small bird, sitting\n")
    assert captions(captioned_folder.read(tmp_path)) == {"images/a": ("a red, small bird, sitting",)}


def test_csv_with_odd_rows(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = ["id; text ;file_name;", '1;"two', 'lines, NA";a.jpg', "", ";;", "2;none", "3;NA;b.jpg;a;b", "4;1.50;c.jpg"]
    tell(tmp_path / "metadata.csv", "\n".join(rows), "utf-16")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {"images/a": ("two", "lines, NA"), "images/b": ("NA",), "images/c": ("1.50",)}
    assert source.skipped == {"captions without an image": ["metadata.csv line 6: "]}


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("metadata.csv", 'file_name,text\nb.jpg,"never closed\na.jpg,x\n'),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "x"}\nno json\n'),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": "x"}\n3\n'),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, table, content):
    put(tmp_path, "a.jpg")
    tell(tmp_path / table, content)
    sentence = refusal(captioned_folder.read, tmp_path)
    assert table in sentence
    assert "line " in sentence


@pytest.mark.parametrize("content", ["", "\n\n", "red\n"])
def test_csv_without_columns(tmp_path, content):
    put(tmp_path, "a.jpg")
    tell(tmp_path / "metadata.csv", content)
    assert "metadata.csv" in refusal(captioned_folder.read, tmp_path)


def test_csv_without_the_columns(tmp_path):
    put(tmp_path, "a.jpg")
    tell(tmp_path / "metadata.csv", "image,caption\na.jpg,red\n")
    sentence = refusal(captioned_folder.read, tmp_path)
    assert "image, caption" in sentence
    assert "file_name" in sentence


def test_metadata_in_each_split_folder_and_text_beside_it(tmp_path):
    put(tmp_path, "train/a.jpg", "train/b.jpg", "test/a.jpg")
    jsonl(tmp_path / "train/metadata.jsonl", {"file_name": "a.jpg", "text": "one"}, {"file_name": "b.jpg", "text": "x"})
    jsonl(tmp_path / "test/metadata.jsonl", {"file_name": "a.jpg", "text": "two"})
    tell(tmp_path / "train/a.txt", "one\nthree\n")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {"train/a": ("one", "three"), "train/b": ("x",), "test/a": ("two",)}
    assert {e.name: e.split for e in source.examples} == {"train/a": "train", "train/b": "train", "test/a": "test"}


def test_names_match_however_letters_are_composed_and_whatever_their_case(tmp_path):
    put(tmp_path, "cafe\u0301.jpg", "Bird.JPG")
    jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "caf\u00e9.jpg", "text": "one"},
        {"file_name": "bird.jpg", "text": "two"},
    )
    assert captions(captioned_folder.read(tmp_path)) == {"images/caf\u00e9": ("one",), "images/Bird": ("two",)}


def test_captions_in_a_folder_tree_of_their_own(tmp_path):
    put(tmp_path, "images/wren/a.jpg", "images/owl/b.jpg")
    tell(tmp_path / "text_c10/wren/a.txt", "a wren")
    tell(tmp_path / "text_c10/owl/b.txt", "an owl")
    assert captions(captioned_folder.read(tmp_path)) == {"wren/a": ("a wren",), "owl/b": ("an owl",)}


# -- what is left out, and named


def test_what_cannot_be_used_is_counted_with_its_reason(tmp_path):
    put(tmp_path, "a.jpg", "a.png", "silent.jpg", "empty.jpg", ".hidden.jpg", "__MACOSX/a.jpg")
    tell(tmp_path / "a.txt", "a bird")
    tell(tmp_path / "empty.txt", " \n")
    tell(tmp_path / "lonely.txt", "nobody")
    tell(tmp_path / "notes.pdf", "")
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "gone.jpg", "text": "one"})
    (tmp_path / "dead.jpg").symlink_to("nothing.jpg")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {"images/a": ("a bird",)}
    assert source.examples[0].file == tmp_path / "a.jpg"
    assert source.skipped == {
        "images without captions": ["empty.jpg", "silent.jpg"],
        "images whose captions are another image's": ["a.png, a.txt"],
        "captions without an image": ["metadata.jsonl line 1: gone.jpg", "lonely.txt"],
        "files that are neither images nor captions": ["notes.pdf"],
        "links to other folders or to nothing": ["dead.jpg"],
    }


def test_equal_names_with_captions_of_their_own_are_both_kept(tmp_path):
    put(tmp_path, "a.jpg", "a.png", "A.jpg")
    rows = [{"file_name": name, "text": name} for name in ("a.jpg", "a.png", "A.jpg")]
    jsonl(tmp_path / "metadata.jsonl", *rows)
    source = captioned_folder.read(tmp_path)
    assert sorted(captions(source).values()) == [("A.jpg",), ("a.jpg",), ("a.png",)]
    names = [example.name for example in source.examples]
    assert len({name.casefold() for name in names}) == 3, names


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/passwd", "C:\\x.jpg", "in/../../out.jpg", "..\\out.jpg"])
@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.csv"])
def test_names_that_point_outside_are_refused(tmp_path, name, table):
    put(tmp_path, "data/a.jpg", "out.jpg")
    if table == "metadata.csv":
        tell(tmp_path / "data" / table, f"file_name,text\na.jpg,fine\n{name},bad\n")
    else:
        jsonl(tmp_path / "data" / table, {"file_name": "a.jpg", "text": "fine"}, {"file_name": name, "text": "bad"})
    sentence = refusal(captioned_folder.read, tmp_path / "data")
    assert "outside" in sentence
    assert table in sentence


def test_names_that_only_seem_to_point_outside(tmp_path):
    put(tmp_path, "images/a.jpg", "other/b.jpg")
    jsonl(tmp_path / "other/metadata.jsonl", {"file_name": "../images/a.jpg", "text": "fine"})
    assert captions(captioned_folder.read(tmp_path)) == {"images/a": ("fine",)}


@pytest.mark.parametrize("target", ["out.jpg", "out", "data/../out.jpg"])
def test_links_that_point_outside_are_refused(tmp_path, target):
    put(tmp_path, "data/a.jpg", "out.jpg", "out/b.jpg")
    tell(tmp_path / "data/a.txt", "fine")
    (tmp_path / "data/link").symlink_to(tmp_path / target)
    assert "link" in refusal(captioned_folder.read, tmp_path / "data")


def test_links_inside_are_files_and_loops_end(tmp_path):
    put(tmp_path, "in/a.jpg")
    (tmp_path / "b.jpg").symlink_to("in/a.jpg")
    tell(tmp_path / "b.txt", "linked")
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    source = captioned_folder.read(tmp_path)
    assert captions(source) == {"images/b": ("linked",)}
    assert source.skipped["links to other folders or to nothing"] == ["again", "loop.jpg"]


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path):
    put(tmp_path, "data/a.jpg")
    tell(tmp_path / "data/a.txt", "fine")
    (tmp_path / "link").symlink_to("data")
    assert captions(captioned_folder.read(tmp_path / "link")) == {"images/a": ("fine",)}


def test_folders_without_captions_or_images(tmp_path):
    put(tmp_path, "a/a.jpg")
    tell(tmp_path / "b/a.txt", "one")
    assert "no caption" in refusal(captioned_folder.read, tmp_path / "a")
    assert "no images" in refusal(captioned_folder.read, tmp_path / "b")


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be")
def test_names_of_any_bytes(tmp_path):
    put(tmp_path, os.fsdecode(b"caf\xe9.jpg"), "a\nb.jpg", "x:y?.jpg", "n" * 200 + ".jpg", "end. .jpg")
    for path in list(tmp_path.iterdir()):
        tell(path.with_name(path.name.removesuffix(".jpg") + ".txt"), "odd")
    put(tmp_path, os.fsdecode(b"silent\xe9.jpg"))
    source = captioned_folder.read(tmp_path)
    assert sorted(captions(source)) == sorted(
        ["images/caf_", "images/a_b", "images/x_y_", "images/" + "n" * 100, "images/end"]
    )
    assert_readable(tmp_path / "out", captions(source))
    assert all(name.encode() for name in captions(source))
    assert source.skipped == {"images without captions": ["silent?.jpg"]}


# -- classes and splits


def labels(source):
    return {example.name: example.label for example in source.examples}


def captioned(root, *names):
    put(root, *names)
    for name in names:
        tell((root / name).with_suffix(".txt"), f"this is {name}")


def test_folders_are_classes(tmp_path):
    captioned(tmp_path, "data/wren/a.jpg", "data/wren/b.jpg", "data/owls/barn/a.jpg")
    assert labels(captioned_folder.read(tmp_path)) == {
        "wren/a": "data/wren",
        "wren/b": "data/wren",
        "owls/barn/a": "data/owls/barn",
    }


@pytest.mark.parametrize("folder", ["", "all/"])
def test_without_class_folders_every_image_is_a_class(tmp_path, folder):
    captioned(tmp_path, *(f"{folder}{name}.jpg" for name in "abc"))
    examples, _ = divide(captioned_folder.read(tmp_path).examples)
    assert len({example.class_id for example in examples}) == 3


def test_class_folders_in_split_folders(tmp_path):
    names = [f"{split}/{kind}/{i}.jpg" for split in ("train", "Validation", "test") for kind in "xy" for i in range(2)]
    captioned(tmp_path, *names)
    examples, notes = divide(captioned_folder.read(tmp_path).examples)
    assert notes == []
    assert Counter((e.split, e.label) for e in examples) == {
        ("train", "x"): 2, ("train", "y"): 2, ("test", "x"): 4, ("test", "y"): 4,
    }  # fmt: skip
    assert len({e.name for e in examples}) == 12
    assert {e.class_id for e in examples} == {1, 2}


def test_one_text_belongs_to_one_image(tmp_path):
    captioned(tmp_path, "pair.jpg", "other.jpg")
    put(tmp_path, "pair.png")
    source = captioned_folder.read(tmp_path)
    assert {e.file.name for e in source.examples} == {"pair.jpg", "other.jpg"}
    assert source.skipped == {"images whose captions are another image's": ["pair.png, pair.txt"]}


def test_a_train_folder_alone_is_no_split(tmp_path):
    captioned(tmp_path, *(f"train/{kind}/{i}.jpg" for kind in "abcde" for i in range(2)))
    source = captioned_folder.read(tmp_path)
    assert {example.split for example in source.examples} == {None}
    assert {example.name for example in source.examples} >= {"a/0", "e/1"}


def example(name, label):
    return Example(name, label, ("text",))


def test_the_split_is_disjoint_by_class_and_keeps_to_it():
    few = [example(f"{c}/{i}", f"kind {c}") for c in range(100) for i in range(3)]
    many = [example(f"{c}/{i}", f"kind {c}") for c in range(200) for i in range(4)]
    small, large = divide(few)[0], divide(many)[0]
    test = {e.label for e in small if e.split == "test"}
    assert not test & {e.label for e in small if e.split == "train"}
    assert 3 <= len(test) <= 20
    splits = {e.name: e.split for e in large}
    assert all(splits[e.name] == e.split for e in small)  # more classes and images move nothing


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_classes_are_split_by_image(count):
    examples, notes = divide([example(f"{c}/{i}", f"kind {c}") for c in range(count) for i in range(100)])
    sizes = Counter(e.split for e in examples)
    assert 0.03 <= sizes["test"] / len(examples) <= 0.2
    assert len({e.class_id for e in examples if e.split == "train"}) == (100 - sizes["test"] if count == 1 else 2)
    assert "images, chosen" in notes[0]


def test_few_classes_of_unequal_size_are_split_by_image():
    sizes = {"rose": 57, "tulip": 5, "daisy": 4, "lily": 3, "iris": 2}
    examples, notes = divide([example(f"{kind}/{i}", kind) for kind, size in sizes.items() for i in range(size)])
    assert 3 <= sum(e.split == "test" for e in examples) <= 14
    assert len({e.class_id for e in examples if e.split == "train"}) >= 4
    assert "of 71 images" in notes[0] and "the 5 classes are few or of unequal size" in notes[0]


def test_three_images_are_enough_and_two_are_not():
    examples, _ = divide([example(name, name) for name in "abc"])
    assert Counter(e.split for e in examples) == {"train": 2, "test": 1}
    assert "more images" in refusal(divide, examples[:2])


# -- published sets


def cub_folder(root, names, captions_of=None):
    put(root / "CUB_200_2011/images", *(f"{name}.jpg" for name in names))
    tell(root / "CUB_200_2011/images.txt", "".join(f"{i} {name}.jpg\n" for i, name in enumerate(names, 1)))
    tell(
        root / "CUB_200_2011/bounding_boxes.txt",
        "".join(f"{i} {i}.0 2.0 3.0 4.0\n" for i, _ in enumerate(names, 1)),
    )
    for name in captions_of or names:
        tell(root / "text_c10" / f"{name}.txt", f"this is {name}\nand again\n")


NAMES = [f"{c:03d}.Bird/Bird_{c:04d}_{i}" for c in (1, 2, 3, 4, 200) for i in range(2)]


def test_cub_is_split_by_class_as_published(tmp_path):
    cub_folder(tmp_path, NAMES)
    source = cub.read(tmp_path, None, None)
    assert recognise(tmp_path).name == "cub"
    assert {e.name: (e.split, e.class_id) for e in source.examples} == {
        name: ("test" if name[:3] in ("001", "004") else "train", int(name[:3])) for name in NAMES
    }
    boxes = {e.name: e.box for e in source.examples}
    assert boxes[NAMES[3]] == (4, 2, 3, 4)
    assert source.skipped == {}
    again = cub.read(tmp_path / "CUB_200_2011", tmp_path / "text_c10", None)  # closer to the point
    assert again.examples == source.examples


def test_the_published_split_of_cub(shared):
    for split in ("train", "test"):
        content = (shared / f"published_pickles/intact/{split}/class_info.pickle").read_bytes()
        numbers = {int(number) for number in pickle.loads(content, encoding="latin-1")}
        assert all((number in cub.TEST_CLASSES) == (split == "test") for number in numbers)
        assert len(numbers) == {"train": 150, "test": 50}[split]


def test_cub_that_does_not_fit_together(tmp_path):
    cub_folder(tmp_path, NAMES, captions_of=[*NAMES[1:], "001.Bird/gone"])
    put(tmp_path / "CUB_200_2011/images", "odd/x.jpg", "002.Bird/new.jpg")
    tell(tmp_path / "text_c10/002.Bird/new.txt", "no box")
    (tmp_path / f"CUB_200_2011/images/{NAMES[-1]}.jpg").unlink()
    source = cub.read(tmp_path, None, None)
    assert source.skipped == {
        "images without captions": [NAMES[0]],
        "images without a box": ["002.Bird/new"],
        "images in no folder such as 001.Black_footed_Albatross": ["odd/x"],
        "captions without an image": ["001.Bird/gone.txt", f"{NAMES[-1]}.txt"],
    }


@pytest.mark.parametrize("content", [None, "", "1 2 3\n", "1 60 27 wide 304\n", "1 60 27 325 304 9\n"])
def test_boxes_of_cub_that_cannot_be_read(tmp_path, content):
    cub_folder(tmp_path, NAMES)
    table = tmp_path / "CUB_200_2011/bounding_boxes.txt"
    table.unlink() if content is None else table.write_text(content)
    assert "bounding_boxes.txt" in refusal(cub.read, tmp_path, None, None)


def test_cub_without_captions_or_images(tmp_path):
    cub_folder(tmp_path / "birds", NAMES)
    assert "text_c10" in refusal(cub.read, tmp_path / "birds/CUB_200_2011", None, None)
    assert "text_c10" in refusal(cub.read, None, None, None)
    (tmp_path / "empty").mkdir()
    assert "CUB_200_2011" in refusal(cub.read, tmp_path / "empty", tmp_path / "birds", None)


def test_the_real_birds(shared):
    source = cub.read(shared / "birds", None, None)
    assert Counter(e.split for e in source.examples) == {"train": 215, "test": 209}
    assert {len(e.captions) for e in source.examples} == {10}
    (box,) = (e.box for e in source.examples if e.name.endswith("Black_Footed_Albatross_0046_18"))
    assert box == (60, 27, 325, 304)


def flower_folder(root, classes=range(1, 11)):
    for number, class_id in enumerate(classes, start=1):
        put(root / "jpg", f"image_{number:05d}.jpg")
        tell(root / f"text_c10/class_{class_id:05d}/image_{number:05d}.txt", f"flower {number}\nagain\n")


def test_flowers_without_the_published_list(tmp_path):
    flower_folder(tmp_path)
    assert recognise(tmp_path).name == "oxford102"
    source = oxford102.read(tmp_path, None, None)
    assert {e.class_id: e.split for e in source.examples} == {
        i: "test" if i in (5, 10) else "train" for i in range(1, 11)
    }
    first = source.examples[0]
    assert (first.name, first.text_name) == ("jpg/image_00001", "class_00001/image_00001")
    assert "not the published one" in source.notes[0]


def test_own_images_named_as_a_camera_does_are_no_published_set(tmp_path):
    captioned(tmp_path, "image_00191.jpg", "image_00192.jpg")
    assert recognise(tmp_path).name == "folder"
    (tmp_path / "imagelabels.mat").write_bytes(b"which the archive has")
    assert recognise(tmp_path).name == "oxford102"


@pytest.mark.parametrize("kind", ["text", "pickle"])
def test_flowers_with_the_published_list(tmp_path, kind):
    flower_folder(tmp_path)
    if kind == "text":
        tell(tmp_path / "flowers_icml/testclasses.txt", "class_00002\nclass_00009\n")
    else:
        (tmp_path / "test").mkdir()
        (tmp_path / "test/class_info.pickle").write_bytes(pickle.dumps([2, 2, np.int64(9)], protocol=2))
    source = oxford102.read(tmp_path, None, None)
    assert {e.class_id for e in source.examples if e.split == "test"} == {2, 9}
    assert "as" in source.notes[0]


def test_flowers_that_do_not_fit_together(tmp_path):
    flower_folder(tmp_path)
    put(tmp_path / "jpg", "image_00099.jpg")
    (tmp_path / "jpg/image_00001.jpg").unlink()
    assert oxford102.read(tmp_path, None, None).skipped == {
        "images without captions": ["jpg/image_00099"],
        "captions without an image": ["class_00001/image_00001.txt"],
    }


def annotations(path, *rows):
    """(id, file name, captions) each."""
    images = [{"id": number, "file_name": name} for number, name, _ in rows]
    texts = [{"image_id": number, "caption": text} for number, _, captions in rows for text in captions]
    tell(path, json.dumps({"images": images, "annotations": texts}))


def test_coco_with_both_annotations_files(tmp_path):
    put(tmp_path, "train2014/t_1.jpg", "train2014/t_2.jpg", "val2014/v_3.jpg")
    annotations(
        tmp_path / "annotations/captions_train2014.json",
        (1, "t_1.jpg", ["A dog. ", "Two\nlines"]),
        (2, "t_2.jpg", []),
        (9, "t_9.jpg", ["gone"]),
    )
    annotations(tmp_path / "annotations/captions_val2014.json", (3, "v_3.jpg", ["A cat."]))
    assert recognise(tmp_path).name == "coco"
    source = coco.read(tmp_path, None, None)
    assert {e.name: (e.split, e.captions) for e in source.examples} == {
        "train/t_1": ("train", ("A dog.", "Two", "lines")),
        "test/v_3": ("test", ("A cat.",)),
    }
    assert source.skipped == {
        "images without captions": ["train/t_2"],
        "captions without an image": ["captions_train2014.json: t_9.jpg"],
    }


def test_coco_with_one_annotations_file_is_split_here(tmp_path):
    put(tmp_path, *(f"{i}.jpg" for i in range(6)))
    annotations(tmp_path / "captions_train2017.json", *((i, f"{i}.jpg", ["text"]) for i in range(6)))
    source = coco.read(tmp_path, tmp_path / "captions_train2017.json", None)
    examples, notes = divide(source.examples)
    assert Counter(e.split for e in examples) == {"train": 5, "test": 1}
    assert len({e.class_id for e in examples}) == 6
    assert "no splits given" in notes[0]


@pytest.mark.parametrize("content", ["{}", "[]", "nonsense", '{"images": [{}], "annotations": []}'])
def test_coco_annotations_that_are_none(tmp_path, content):
    put(tmp_path, "a.jpg")
    tell(tmp_path / "captions_x.json", content)
    assert "captions_x.json" in refusal(coco.read, tmp_path, None, None)


def test_coco_names_that_point_outside_are_refused(tmp_path):
    put(tmp_path, "a.jpg")
    annotations(tmp_path / "captions_x.json", (1, "../a.jpg", ["text"]))
    assert "outside" in refusal(coco.read, tmp_path, None, None)


def test_drawn_birds_keep_their_split(tmp_path):
    drawn_birds.write(tmp_path / "d", count=6, classes=4, test_classes=1, embedding_dim=1, workers=1)
    assert recognise(tmp_path / "d").name == "drawn"
    source = drawn.read(tmp_path / "d")
    truths = [json.loads(line) for line in (tmp_path / "d/truth.jsonl").read_text().splitlines()]
    assert [(e.name, e.split, e.class_id, list(e.box)) for e in source.examples] == [
        (t["name"], t["split"], t["class_id"], t["box"]) for t in truths
    ]
    assert all(e.file.is_file() and len(e.captions) == 10 for e in source.examples)


# -- tensorflow-datasets, in its own format on the disk


def jpeg(red):
    stream = io.BytesIO()
    Image.new("RGB", (100, 80), (red, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


def write_hub(folder, name, splits):
    """The data set `name` in tensorflow-datasets' files, with these rows in each split."""
    import tensorflow_datasets as tfds

    class Tiny(tfds.builder_cls(name), skip_registration=True):
        def _split_generators(self, manager):
            return {split: enumerate(rows) for split, rows in splits.items()}

    Tiny.name = name
    Tiny(data_dir=folder).download_and_prepare()


def hub_bird(name, red):
    import tensorflow_datasets as tfds

    return {
        "image": io.BytesIO(jpeg(red)),
        "image/filename": f"CUB_200_2011/images/{name}.jpg",
        "label": int(name[:3]) - 1,
        "label_name": "x",
        "bbox": tfds.features.BBox(ymin=0.1, xmin=0.2, ymax=0.5, xmax=0.8),
        "segmentation_mask": np.zeros((80, 100, 1), np.uint8),
    }


@pytest.mark.slow
def test_birds_of_the_hub_are_joined_to_their_captions_and_split_as_published(tmp_path):
    names = NAMES[:6]
    rows = [hub_bird(name, 10 * i) for i, name in enumerate(names)]
    write_hub(tmp_path / "hub", "caltech_birds2011", {"train": rows[::2], "test": rows[1::2]})  # within classes
    for name in names[:5]:
        tell(tmp_path / f"text_c10/{name}.txt", f"this is {name}")
    source = cub.read(None, tmp_path, tmp_path / "hub")
    assert {e.name: e.split for e in source.examples} == {
        name: "test" if name[:3] == "001" else "train" for name in names[:5]
    }
    assert source.skipped == {"images without captions": [names[5]]}
    assert {e.box for e in source.examples} == {(20, 8, 60, 32)}
    opened = {example.name: image for example, image in source.open(source.examples[1:])}
    assert opened == {name: jpeg(10 * i) for i, name in enumerate(names[:5]) if name != source.examples[0].name}


@pytest.mark.slow
def test_flowers_of_the_hub(tmp_path):
    flower_folder(tmp_path)
    rows = [{"image": io.BytesIO(jpeg(i)), "label": 0, "file_name": f"image_{i:05d}.jpg"} for i in range(1, 11)]
    write_hub(tmp_path / "hub", "oxford_flowers102", {"train": rows[:4], "validation": rows[4:5], "test": rows[5:]})
    source = oxford102.read(None, tmp_path, tmp_path / "hub")
    assert len(source.examples) == 10
    assert all(image == jpeg(int(e.name[-5:])) for e, image in source.open(source.examples))


@pytest.mark.slow
def test_coco_of_the_hub(tmp_path):
    def row(name, *texts):
        return {
            "image": io.BytesIO(jpeg(1)),
            "image/filename": f"{name}.jpg",
            "image/id": 1,
            "objects": [],
            "captions": [{"id": i, "text": text} for i, text in enumerate(texts)],
        }

    splits = {
        "train": [row("COCO_train2014_1", "one", "zwei ü"), row("COCO_train2014_2", "x")],
        "restval": [row("COCO_val2014_3", "three")],
        "test": [row("COCO_val2014_4")],
        "val": [row("COCO_val2014_5", "five")],
    }
    write_hub(tmp_path, "coco_captions", splits)
    source = coco.read(None, None, tmp_path)
    assert {e.name: e.captions for e in source.examples} == {
        "train/COCO_train2014_1": ("one", "zwei ü"),
        "train/COCO_train2014_2": ("x",),
        "test/COCO_val2014_3": ("three",),
        "test/COCO_val2014_5": ("five",),
    }
    assert source.skipped == {"images without captions": ["test/COCO_val2014_4"]}
    assert [image for _, image in source.open(source.examples)] == [jpeg(1)] * 4
