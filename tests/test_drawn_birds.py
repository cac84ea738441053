"""Drawn birds: images and captions show their attributes, in the published layout, the same for the same seed."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY
from PIL import Image

from stackgan_keras.data import drawn_birds
from stackgan_keras.data.drawn_birds import COLOURS, NOUNS, PLUMAGE, Bird, dataset
from stackgan_keras.data.drawn_birds import species as species_of
from stackgan_keras.data.drawn_birds.captions import describe
from stackgan_keras.data.drawn_birds.embedding import embed
from stackgan_keras.data.drawn_birds.painting import PARTS, draw, part_map
from stackgan_keras.data.drawn_birds.species import individual, invent_species, species_names
from stackgan_keras.errors import InputError

SMALL = {"count": 14, "classes": 4, "test_classes": 1, "embedding_dim": 32}
PART_OF = {noun: part for part, nouns in NOUNS.items() for noun in nouns}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return drawn_birds.write(tmp_path_factory.mktemp("drawn") / "birds", workers=1, **SMALL)


@pytest.fixture(scope="module")
def birds() -> list[Bird]:
    """One individual of each of 50 species."""
    species = invent_species(40, 10, np.random.default_rng(5))
    return [individual(kind, np.random.default_rng([5, number])) for number, kind in enumerate(species)]


def unpickle(path: Path):
    return pickle.loads(path.read_bytes())


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def crop_sides(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Width and height of the published crop around a box."""
    x, y, w, h = box
    centre_x, centre_y, reach = (2 * x + w) // 2, (2 * y + h) // 2, int(0.75 * max(w, h))
    return (
        min(centre_x + reach, image.width) - max(centre_x - reach, 0),
        min(centre_y + reach, image.height) - max(centre_y - reach, 0),
    )


# The layout


def test_all_that_takes_long_shows_a_bar(tmp_path, capsys):
    drawn_birds.write(tmp_path / "birds", workers=1, progress=True, **SMALL)
    shown = capsys.readouterr().err
    assert all(title in shown for title in ("inventing species:", "drawing birds:", "embedding captions:"))


def test_layout_is_the_published_one(root):
    listed = [line.split() for line in (root / "CUB_200_2011/images.txt").read_text().splitlines()]
    boxes = [line.split() for line in (root / "CUB_200_2011/bounding_boxes.txt").read_text().splitlines()]
    labels = [line.split() for line in (root / "CUB_200_2011/image_class_labels.txt").read_text().splitlines()]
    names = dict(line.split() for line in (root / "CUB_200_2011/classes.txt").read_text().splitlines())
    assert [row[0] for row in listed] == [row[0] for row in boxes] == [str(i) for i in range(1, SMALL["count"] + 1)]
    assert len(set(names.values())) == SMALL["classes"]
    for (_, name), (_, class_id), (_, *box) in zip(listed, labels, boxes, strict=True):
        assert name.startswith(f"{names[class_id]}/{names[class_id][4:]}_")
        assert names[class_id].startswith(f"{int(class_id):03d}.")
        x, y, w, h = map(float, box)
        with Image.open(root / "CUB_200_2011/images" / name) as image:
            assert image.mode == "RGB"
            assert 400 <= max(image.size) <= 480
            assert 0 <= x < x + w <= image.width
            assert 0 <= y < y + h <= image.height
        assert len((root / "text_c10" / name).with_suffix(".txt").read_text().splitlines()) == 10


def test_splits_hold_every_image_once_and_no_class_twice(root):
    classes, names = {}, []
    for split in ("train", "test"):
        filenames = unpickle(root / split / "filenames.pickle")
        class_ids = unpickle(root / split / "class_info.pickle")
        embeddings = unpickle(root / split / "char-CNN-RNN-embeddings.pickle")
        assert type(filenames) is type(class_ids) is type(embeddings) is list
        assert all(type(class_id) is int for class_id in class_ids)
        assert [int(name[:3]) for name in filenames] == class_ids
        assert all(vectors.shape == (10, 32) and vectors.dtype == np.float32 for vectors in embeddings)
        assert len(filenames) == len(embeddings)
        sentences = (root / "text_c10" / f"{filenames[0]}.txt").read_text().splitlines()
        np.testing.assert_array_equal(embeddings[0], embed(sentences, 32))
        assert (root / split / "filenames.pickle").read_bytes()[:2] == b"\x80\x02"  # protocol 2
        classes[split] = set(class_ids)
        names += filenames
    assert not classes["train"] & classes["test"]
    assert len(classes["test"]) == SMALL["test_classes"]
    listed = [line.split()[1] for line in (root / "CUB_200_2011/images.txt").read_text().splitlines()]
    assert sorted(f"{name}.jpg" for name in names) == sorted(listed)


def test_species_have_names_of_their_own_however_many():
    few, many = (species_names(count, np.random.default_rng(0)) for count in (2000, 20_000))
    assert len(set(few)) == 2000 and {name.count("_") for name in few} == {1}
    assert len(set(many)) == 20_000 and set(few) < set(many)


def test_truth_names_every_image(root):
    truths = [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]
    assert len(truths) == SMALL["count"]
    counts = Counter(truth["class_id"] for truth in truths)
    assert max(counts.values()) - min(counts.values()) <= 1
    for truth in truths:
        assert truth["name"] in unpickle(root / truth["split"] / "filenames.pickle")
        assert {*Bird.__dataclass_fields__} < {*truth}


# The same seed, the same bytes


def test_same_seed_gives_same_bytes_with_any_number_of_workers(root, tmp_path):
    expected = contents(root)
    assert contents(drawn_birds.write(tmp_path / "two", workers=2, **SMALL)) == expected
    other = contents(drawn_birds.write(tmp_path / "seed", workers=1, seed=1, **SMALL))
    assert other["truth.jsonl"] != expected["truth.jsonl"]


def test_a_finished_set_is_kept_and_anything_else_refused(root, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert drawn_birds.write(root, **SMALL) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(InputError, match="other settings"):
        drawn_birds.write(root, **SMALL, seed=3)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something other"):
        drawn_birds.write(tmp_path, **SMALL)
    with pytest.raises(InputError, match="something other"):
        drawn_birds.write(tmp_path / "notes.txt", **SMALL)


def test_a_polite_kill_of_all_its_processes_ends_without_a_traceback(tmp_path):
    code = f"""
import signal
from stackgan_keras.command_line import run
from stackgan_keras.data import drawn_birds
if __name__ == "__main__":
    run(lambda: drawn_birds.write({str(tmp_path / "birds")!r}, count=5000, workers=2, progress=True))
"""
    (tmp_path / "draw.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "draw.py"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,  # a group of its own
    )
    begun = ""
    while not re.search(r"[1-9]\d*/5000", begun):
        begun += process.stderr.read(1)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in errors
    assert not (tmp_path / "birds").exists()


def test_stopping_early_does_not_wait_for_the_images_left(tmp_path):
    settings = SMALL | {"count": 600, "classes": 3, "seed": 0}
    images, class_names = dataset._plan(settings)
    for name in class_names.values():
        (tmp_path / "CUB_200_2011" / "images" / name).mkdir(parents=True)
        (tmp_path / "text_c10" / name).mkdir(parents=True)
    drawn = dataset._draw_all(tmp_path, images, 0, workers=2, progress=True)
    next(drawn)
    drawn.close()
    assert len([*tmp_path.rglob("*.jpg")]) < 300


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_draw_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        drawn_birds.write(tmp_path / "birds", workers=1, **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 3}, "fewer images"),
        ({"count": 0}, "count"),
        ({"classes": 20_001, "count": 20_001}, "names"),
        ({"test_classes": 3}, "training"),
        ({"test_classes": 0}, "test_classes"),
        ({"seed": -1}, "seed"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"workers": 0}, "workers"),
        ({"seed": 1.5}, "whole number"),
        ({"classes": 60, "test_classes": 58, "count": 60}, "no new combination"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        drawn_birds.write(tmp_path / "birds", **(SMALL | settings))
    assert not list(tmp_path.iterdir())


# Species


@pytest.mark.parametrize("seed", range(5))
def test_test_species_recombine_what_training_has(seed):
    species = invent_species(40, 10, np.random.default_rng(seed))
    plumages = [tuple(kind[part] for part in PLUMAGE) for kind in species]
    assert len(set(plumages)) == 50
    for place, part in enumerate(PLUMAGE):
        train = Counter(plumage[place] for plumage in plumages[:40])
        assert {plumage[place] for plumage in plumages[40:]} <= {*train} == {*COLOURS}, part
        assert max(train.values()) <= 7, (part, train)
    plain = [Bird(**kind).main is not None for kind in species]
    assert 6 <= sum(plain) <= 24  # of 50, 30 % on average
    for (crown, back, belly, wing, tail), one_colour in zip(plumages, plain, strict=True):
        if one_colour:
            assert len({crown, back, belly, wing}) <= 2 and len({crown, back, belly, wing, tail}) > 1
        else:
            assert belly != wing != back


def test_plumages_of_one_colour_that_ran_out_are_not_looked_for_again(monkeypatch):
    tried, draw = [], species_of._plain_plumage
    monkeypatch.setattr(species_of, "COLOURS", dict(list(COLOURS.items())[:3]))
    monkeypatch.setattr(species_of, "PLAIN", 1.0)
    monkeypatch.setattr(species_of, "_plain_plumage", lambda *given, **named: tried.append(1) or draw(*given, **named))
    species = invent_species(120, 1, np.random.default_rng(0))  # of these 78 can be of one colour
    assert len({tuple(kind[part] for part in PLUMAGE) for kind in species}) == 121
    assert len(tried) < 5 * species_of.TRIES


def test_a_bird_of_one_colour_is_called_so():
    bird = Bird("red", "red", "red", "black", "red", "orange")
    assert bird.main == "red"
    assert replace(bird, back="blue").main is None
    texts = describe(bird, np.random.default_rng(0))
    named = [text for text in texts if re.search(r"\bred bird\b|\bbird is red\b", text)]
    assert len(named) >= 4
    assert sum("black wing" in text for text in named) >= 2  # the part of another colour comes first
    sentences = {text.rstrip(".") for seed in range(200) for text in describe(bird, np.random.default_rng(seed))}
    assert {"this bird is red with black wings", "a small red bird with black wings"} & sentences
    other = describe(replace(bird, back="blue", belly="white"), np.random.default_rng(0))
    assert not [text for text in other if re.search(r"\bred bird\b|\bbird is red\b", text)]


# Images


def test_boxes_lie_inside_and_crops_are_large(birds):
    sides = []
    for number, bird in enumerate(birds):
        image, (x, y, w, h) = draw(bird, np.random.default_rng(number))
        assert 0 <= x < x + w <= image.width
        assert 0 <= y < y + h <= image.height
        sides.append(min(crop_sides(image, (x, y, w, h))))
    assert np.mean(np.array(sides) >= 304) > 0.9


@pytest.mark.parametrize("wing_pose", ["folded", "raised"])
@pytest.mark.parametrize("facing", ["left", "right"])
def test_every_part_wears_its_colour_and_can_be_seen(facing, wing_pose):
    plain = Bird(*["grey"] * 6, facing=facing, wing_pose=wing_pose)
    image, box = draw(plain, np.random.default_rng(0))
    x, y, w, h = box
    names, palette = list(COLOURS), np.array(list(COLOURS.values()))
    region = {}  # what changes when only this part changes its colour
    for part in (*PLUMAGE, "beak"):
        other, _ = draw(replace(plain, **{part: "red"}), np.random.default_rng(0))
        region[part] = np.abs(np.asarray(other, int) - np.asarray(image, int)).max(-1) > 40
        rows, columns = np.nonzero(region[part])
        assert x - 2 <= columns.min() <= columns.max() <= x + w + 2, part
        assert y - 2 <= rows.min() <= rows.max() <= y + h + 2, part
        seen = region[part].sum() * (64 / max(crop_sides(image, box))) ** 2  # pixels of a 64 x 64 image
        assert seen > (5 if part == "beak" else 20), (part, seen)
    for shift in range(len(names)):
        bird = replace(plain, **{part: names[(shift + i) % len(names)] for i, part in enumerate(region)})
        pixels = np.asarray(draw(bird, np.random.default_rng(0))[0], float)
        for part in PLUMAGE:
            median = np.median(pixels[region[part]], 0)
            nearest = names[np.linalg.norm(palette - median, axis=1).argmin()]
            assert nearest == getattr(bird, part), (part, median)


@pytest.mark.parametrize("wing_pose", ["folded", "raised"])
@pytest.mark.parametrize("facing", ["left", "right"])
@pytest.mark.parametrize("perch", ["post", "ground"])
def test_the_map_of_parts_is_where_the_image_shows_them(facing, wing_pose, perch):
    plain = Bird(*["grey"] * 6, perch=perch, facing=facing, wing_pose=wing_pose, tilt=8.0)
    image, _ = draw(plain, np.random.default_rng(4))
    numbers = part_map(plain, np.random.default_rng(4))
    assert numbers.shape == (image.height, image.width) and {*np.unique(numbers)} == {*range(len(PARTS) + 1)}
    for place, part in enumerate(PARTS, start=1):
        other, _ = draw(replace(plain, **{part: "red"}), np.random.default_rng(4))
        changed = np.abs(np.asarray(other, int) - np.asarray(image, int)).max(-1) > 40
        mapped = numbers == place
        assert (changed & mapped).sum() / (changed | mapped).sum() > 0.85, part


def test_drawing_is_a_pure_function(birds):
    first, again = (draw(birds[0], np.random.default_rng(7)) for _ in range(2))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]


# Captions


def statements(caption: str) -> tuple[list[tuple[str, str]], str]:
    """The (part, colour) pairs that a caption states, and what is left of it without them."""
    colour = "|".join(COLOURS)
    noun = "|".join(sorted(PART_OF, key=len, reverse=True))
    found = []
    for pattern, order in (
        (rf"\b({colour}) ({noun})\b", (2, 1)),
        (rf"\b({noun}) (?:that )?(?:is|are) ({colour})\b", (1, 2)),
    ):
        found += [(PART_OF[match[order[0]]], match[order[1]]) for match in re.finditer(pattern, caption)]
        caption = re.sub(pattern, "", caption)
    for pattern in (rf"this ({colour}) and ({colour}) bird", rf"the bird is ({colour}) and ({colour})"):
        for match in re.finditer(pattern, caption):
            found += [("any", named) for named in match.groups()]
        caption = re.sub(pattern, "", caption)
    for pattern in (rf"\b({colour}) bird\b", rf"\bbird is ({colour})\b"):
        found += [("whole", match[1]) for match in re.finditer(pattern, caption)]
        caption = re.sub(pattern, "", caption)
    return found, caption


def test_captions_are_true_and_differ(birds):
    stated = Counter()
    for number, bird in enumerate(birds * 4):
        texts = describe(bird, np.random.default_rng(number))
        assert len(texts) == len({text.rstrip(".") for text in texts}) == 10
        for text in texts:
            pairs, rest = statements(text)
            assert not re.search(rf"\b({'|'.join(COLOURS)})\b", rest), text
            for part, colour in pairs:
                if part == "whole":
                    assert [bird.crown, bird.back, bird.belly, bird.wing].count(colour) >= 3, (text, bird)
                else:
                    worn = [getattr(bird, name) for name in PLUMAGE] if part == "any" else [getattr(bird, part)]
                    assert colour in worn, (text, bird)
                stated[part] += 1
            shape = {"straight": "curved", "curved": "straight|pointed"}[bird.beak_shape]
            length = {"short": "long", "long": "short"}[bird.beak_length]
            assert not re.search(rf"\b({shape}|{length})\b", text), (text, bird)
            sizes = {"small": "small|little", "medium": "medium", "large": "large|big"}
            assert not re.search("|".join(words for size, words in sizes.items() if size != bird.size), text)
    assert min(stated.values()) > 200


def test_captions_are_plain_grammatical_lines(birds):
    for number, bird in enumerate(birds):
        for text in describe(bird, np.random.default_rng(number)):
            assert text == text.lower().strip()
            assert text.isascii()
            assert len(text) < 201
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |gray|\ba \w+ (wings|\w+ feathers)\b", text), text


# Embeddings


def test_embeddings_have_the_published_size_and_are_fixed(birds):
    texts = describe(birds[0], np.random.default_rng(0))
    vectors = embed(texts)
    assert vectors.shape == (10, 1024)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 4.6, atol=0.1)
    np.testing.assert_array_equal(vectors[3:4], embed(texts[3:4]))  # alone as among others


def test_embeddings_tell_which_part_has_which_colour():
    one, swapped, reworded = embed(
        [
            "a bird with a black crown and a yellow belly",
            "a bird with a yellow crown and a black belly",
            "the crown is black and its breast is yellow.",
        ]
    )
    np.testing.assert_allclose(one, reworded, atol=1e-5)
    assert one @ swapped / (one @ one) < 0.8


def test_any_text_can_be_embedded():
    vectors = embed(["", "   ", "été 鳥 \U0001f426!", "this is the", "word " * 500], 8)
    assert np.isfinite(vectors).all()
    assert not vectors[[0, 1, 3]].any()
    assert vectors[[2, 4]].any(1).all()
    assert embed([]).shape == (0, 1024)
