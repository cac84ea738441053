"""The vocabulary: words to numbers and back, sentences cut to a length, the released file, and what is not read."""

import json
import pickle

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras.data import captions_pickle
from stackgan_keras.models.vocabulary import END, Vocabulary, lengths_of, padded, words_of

SENTENCES = ["A red bird, with a RED wing.", "the wing is blue-grey"]


def test_words_are_those_of_the_release():
    assert words_of(
        "The bird's b\N{LATIN SMALL LETTER E WITH ACUTE}ak, 2cm\ufffd\ufffdlong; \N{GREEK SMALL LETTER PI}"
    ) == [*("the", "bird", "s", "bak", "2cm", "long")]


def test_numbers_are_the_same_every_time():
    made = Vocabulary.of(SENTENCES)
    assert made.words == (END, "a", "red", "wing", "bird", "blue", "grey", "is", "the", "with")
    assert Vocabulary.of(reversed(SENTENCES)).words == made.words


def test_sentences_become_rows():
    made = Vocabulary.of(SENTENCES)
    codes = made.encode([*SENTENCES, "unheard of", "A Wing"])
    assert codes.dtype == np.int32 and codes.shape == (4, 7)
    assert [[made.words[n] for n in row if n] for row in codes] == [
        ["a", "red", "bird", "with", "a", "red", "wing"],
        ["the", "wing", "is", "blue", "grey"],
        [],
        ["a", "wing"],
    ]
    np.testing.assert_array_equal(lengths_of(codes), [7, 5, 0, 2])
    np.testing.assert_array_equal(made.encode(SENTENCES, 3), codes[:2, :3])
    assert made.encode(["a"], 5).shape == (1, 5) and made.encode([""]).shape == (1, 1)


def test_random_words_are_left_out_in_their_order():
    sentences, kept = [[*range(1, 9)], [9, 8, 7]], set()
    rng = np.random.default_rng(0)
    for _ in range(200):
        draws = rng.uniform(size=(2, 8))
        codes = padded(sentences, 4, draws)
        np.testing.assert_array_equal(codes, padded(sentences, 4, draws))
        assert np.all(np.diff(codes[0]) > 0)
        np.testing.assert_array_equal(codes[1], [9, 8, 7, 0])  # short ones lose nothing
        kept |= {tuple(codes[0])}
    assert len(kept) > 50 and set(np.ravel([*kept])) == {*range(1, 9)}  # of 70 that there are


def test_what_is_not_read_is_named():
    made = Vocabulary.of(SENTENCES)
    assert made.unread("a red wing") == ""
    assert made.unread("a crimson wing, a crimson nape").endswith("does not know them: crimson, nape")
    assert "first 2 of 3" in made.unread("a red wing", 2)
    assert "none of its words (ein, vogel)" in made.unread("Ein Vogel")
    assert "holds no words" in made.unread("\N{GREEK SMALL LETTER PI} ...")


def test_a_vocabulary_is_kept_in_a_file(tmp_path):
    made = Vocabulary.of(SENTENCES)
    made.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json").words == made.words
    assert "cannot be read" in refusal(Vocabulary.load, tmp_path / "none.json")
    for content in ("[", '{"a": 1}', '["a"]', '["<end>", 1]'):
        (tmp_path / "other.json").write_text(content)
        assert "no vocabulary" in refusal(Vocabulary.load, tmp_path / "other.json")
    assert json.loads((tmp_path / "vocabulary.json").read_text())[0] == END


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_released_file_is_read(tmp_path, protocol):
    words = {0: END, 1: "wing", 2: "a", 3: "red"}
    content = [[[2, 3, 1]], [[1]], words, {word: number for number, word in words.items()}]
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps(content, protocol))
    assert captions_pickle.read(path).words == tuple(words.values())
    np.testing.assert_array_equal(captions_pickle.read(path).encode(["A red, new wing"]), [[2, 3, 1]])


@pytest.mark.parametrize(
    "content",
    [
        [1, 2, 3],
        [[], [], {}, {}],
        [[], [], {0: END, 2: "a"}, {END: 0, "a": 2}],
        [[], [], {0: END, 1: "a"}, {END: 1, "a": 0}],
        [[], [], {0: END, 1: "a"}, {END: 0, "a": "1"}],
    ],
)
def test_other_pickles_are_refused(tmp_path, content):
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps(content))
    assert "is no captions.pickle" in refusal(captions_pickle.read, path)
