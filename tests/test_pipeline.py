"""Every batch is a pure function of (seed, step), with the right text beside the right image."""

import numpy as np
import pytest
from helpers import make_dataset
from PIL import Image

from stackgan_keras.data import decoding, pipeline
from stackgan_keras.errors import InputError

SIZE = 16  # pixels; images are kept at 19
WIDTHS = {"noise": 5, "epsilon": 3, "stage1_epsilon": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("images"))


def make(dataset, **changes):
    values = {"image_size": SIZE, "batch_size": 4, "widths": {"noise": 5, "epsilon": 3}, "seed": 1, **changes}
    return pipeline.AdversarialStream(dataset, decoding.decode(dataset, values["image_size"], cache="memory"), **values)


def collect(batches):
    return [{name: value.numpy() for name, value in batch.items()} for batch in batches]


def numbers(batch):
    """Which image each row shows, by its red."""
    red = np.round((batch["image"][..., 0].mean(axis=(1, 2)) + 1) * 127.5 / 10)
    return red.astype(int)


def test_shapes_and_ranges(dataset):
    (batch,) = collect(make(dataset, widths=WIDTHS).batches(0, 1))
    shapes = {name: value.shape for name, value in batch.items()}
    assert shapes == {
        "image": (4, SIZE, SIZE, 3),
        "embedding": (4, 6),
        "class_id": (4,),
        "noise": (4, 5),
        "epsilon": (4, 3),
        "stage1_epsilon": (4, 2),
    }
    assert batch["image"].min() >= -1
    assert batch["image"].max() <= 1
    assert not np.allclose(batch["epsilon"][:, :2], batch["stage1_epsilon"])


def test_truncated_epsilons_stay_within_two_deviations(dataset):
    values = {"widths": dict.fromkeys(WIDTHS, 50)}
    drawn = [collect(make(dataset, truncated=truncated, **values).batches(0, 20)) for truncated in (False, True)]
    for name in ("noise", "epsilon", "stage1_epsilon"):
        plain, truncated = (np.concatenate([batch[name] for batch in batches]) for batches in drawn)
        assert np.abs(plain).max() > 3
        if name == "noise":
            np.testing.assert_array_equal(truncated, plain)
        else:
            assert 1.9 < np.abs(truncated).max() <= 2
            assert truncated.std() == pytest.approx(0.88, abs=0.02)  # of a normal distribution cut there


def test_text_and_class_belong_to_the_image(dataset):
    for batch in collect(make(dataset).batches(0, 20)):
        np.testing.assert_array_equal(batch["embedding"][:, 0] // 100, numbers(batch))
        np.testing.assert_array_equal(batch["class_id"], numbers(batch) % 4)


def test_each_epoch_is_a_new_permutation(dataset):
    order = [numbers(batch) for batch in collect(make(dataset, batch_size=5).batches(0, 20))]
    epochs = [np.concatenate(order[i : i + 2]) for i in range(0, 20, 2)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10


def test_remainder_is_dropped(dataset):
    assert make(dataset, batch_size=4).steps_per_epoch == 2


def test_a_stream_that_starts_later_goes_on_alike(dataset):
    whole, late = collect(make(dataset).batches(0, 7)), collect(make(dataset).batches(3, 7))
    for expected, batch in zip(whole[3:], late, strict=True):
        for name in expected:
            np.testing.assert_array_equal(expected[name], batch[name], err_msg=name)


def test_no_thread_keeps_a_training_from_ending(dataset):
    """TensorFlow's tuning sleeps for up to a minute, and a process waits for it before it ends."""
    assert make(dataset).batches(0, 2).options().autotune.enabled is False


def test_seeds_differ_and_steps_differ(dataset):
    one, other = collect(make(dataset).batches(0, 2)), collect(make(dataset, seed=2).batches(0, 2))
    for name in ("noise", "epsilon", "image"):
        assert not np.allclose(one[0][name], other[0][name]), name
        assert not np.allclose(one[0][name], one[1][name]), name


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_see_exactly_the_global_batch(dataset, replicas):
    others = {
        "directions": {"direction_8": 8},
        "augmentations": 5,
        "framings": 6,
        "sizes": {"image_4": 4},
        "wrong": True,
    }
    made = make(dataset, widths=WIDTHS, **others)
    whole = collect(made.batches(2, 5))
    for mine in (range(replicas), range(1, replicas)):  # all of them here, or only some, as on one of two machines
        shares = collect(made.batches(2, 5, replicas=replicas, mine=mine))
        size = 4 // replicas
        for step, batch in enumerate(whole):
            for place, replica in enumerate(mine):
                share = shares[step * len(mine) + place]
                for name, value in batch.items():
                    np.testing.assert_array_equal(share[name], value[replica * size : (replica + 1) * size])


def test_captions_are_drawn_anew_and_averaged_without_repeats(dataset):
    seen = {}
    for batch in collect(make(dataset).batches(0, 200)):
        for value in batch["embedding"][:, 0]:
            seen.setdefault(int(value // 100), set()).add(int(value % 100))
    assert seen == {i: set(range((1, 3, 2)[i % 3])) for i in range(10)}  # every caption of every image

    for batch in collect(make(dataset, captions_per_embedding=2).batches(0, 40)):
        for i, value in zip(numbers(batch), batch["embedding"][:, 0], strict=True):
            assert value - 100 * i in {1: {0.0}, 3: {0.5, 1.0, 1.5}, 2: {0.5}}[(1, 3, 2)[i % 3]]


def test_directions_are_standard_normal_and_change_nothing_else(dataset):
    batches, plain = (collect(make(dataset, directions=asked).batches(0, 20)) for asked in ({"direction": SIZE}, {}))
    directions = np.stack([batch.pop("direction") for batch in batches])
    assert directions.shape[1:] == batches[0]["image"].shape
    assert directions.mean() == pytest.approx(0, abs=0.03)
    assert directions.std() == pytest.approx(1, abs=0.03)
    assert len(np.unique(directions[:, :, 0, 0, 0])) == 20 * 4  # each image of each step has its own
    for asked, free in zip(batches, plain, strict=True):
        assert asked.keys() == free.keys()
        for name, value in free.items():
            np.testing.assert_array_equal(asked[name], value)


def test_stage1_images_are_the_images_made_small_and_change_nothing_else(dataset):
    plain, asked = (collect(make(dataset, sizes=sizes).batches(0, 5)) for sizes in ({}, {"stage1_image": 4}))
    for free, batch in zip(plain, asked, strict=True):
        small = free["image"].reshape(4, 4, SIZE // 4, 4, SIZE // 4, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(batch.pop("stage1_image"), small, atol=1e-6)
        assert batch.keys() == free.keys()
        for name, value in free.items():
            np.testing.assert_array_equal(batch[name], value)


def test_wrong_images_are_of_another_class_and_change_nothing_else(dataset):
    plain, asked = (collect(make(dataset, wrong=wrong, batch_size=8).batches(0, 200)) for wrong in (False, True))
    wrong, own = (
        np.concatenate([numbers({"image": batch[name]}) for batch in asked]) for name in ("wrong_image", "image")
    )
    assert {*wrong} == {*range(10)}
    classes = dataset.class_ids
    share = np.mean(classes[wrong] == classes[own])
    once = np.mean(classes[:, None] == classes)
    assert share == pytest.approx(once**2, abs=0.03)  # both draws may find the class
    for free, batch in zip(plain, asked, strict=True):
        assert batch.keys() - free.keys() == {"wrong_image"}
        for name, value in free.items():
            np.testing.assert_array_equal(batch[name], value)


def test_smaller_images_are_those_of_pil(dataset):
    made = make(dataset, bilinear=True, wrong=True, sizes={"image_4": 4, "image_16": SIZE})
    for batch in collect(made.batches(0, 5)):
        for kind in ("image", "wrong_image"):
            np.testing.assert_allclose(batch[f"{kind}_16"], batch[kind], atol=1e-6)
            for large, small in zip(batch[kind], batch[f"{kind}_4"], strict=True):
                whole = Image.fromarray(np.rint((large + 1) * 127.5).astype(np.uint8))
                expected = np.asarray(whole.resize((4, 4), Image.Resampling.BILINEAR), np.float32)
                np.testing.assert_allclose((small + 1) * 127.5, expected, atol=0.51)


def test_crops_and_mirrors_vary(dataset):
    images = np.zeros((10, 19, 19, 3), np.uint8)
    images[..., 0] = np.arange(19)[:, None]  # rows
    images[..., 1] = np.arange(19)  # columns
    made = pipeline.AdversarialStream(dataset, images, SIZE, 4, widths={"noise": 1})
    tops, lefts, mirrored = set(), set(), []
    for batch in collect(made.batches(0, 100)):
        pixels = np.round((batch["image"] + 1) * 127.5).astype(int)
        for image in pixels:
            columns = image[0, :, 1]
            mirrored.append(columns[0] > columns[-1])
            assert abs(np.diff(columns)).max() == 1
            tops.add(image[0, 0, 0])
            lefts.add(columns.min())
    assert tops == lefts == {0, 1, 2, 3}
    assert 0.4 < np.mean(mirrored) < 0.6


def test_batch_larger_than_the_data(dataset):
    with pytest.raises(InputError, match=r"train\.batch_size is 11 but the data holds 10 images"):
        make(dataset, batch_size=11)


def test_disk_cache_holds_the_same_and_is_found_again(dataset, tmp_path):
    memory = decoding.decode(dataset, SIZE, cache="memory")
    disk = decoding.decode(dataset, SIZE, cache="disk", folder=tmp_path)
    assert isinstance(disk, np.memmap)
    np.testing.assert_array_equal(memory, disk)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    decoding.decode(dataset, SIZE, cache="disk", folder=tmp_path)
    assert [f.stat().st_mtime_ns for f in tmp_path.iterdir()] == [before]


def test_interrupted_decoding_leaves_no_cache(tmp_path):
    broken = make_dataset(tmp_path, count=3)
    broken.paths[1].write_bytes(b"not an image")
    with pytest.raises(InputError, match="image_1"):
        decoding.decode(broken, SIZE, cache="disk", folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
