"""Numbers as text, the tree of tokens that spell them, and the baselines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.tokenizer import TextTokenizer
from artneuro.dynamics.in_context_baselines import baseline_forecasts
from artneuro.dynamics.number_tree import build_tree, summarise
from artneuro.dynamics.sequence_model import read_sequence, tree_conditionals
from artneuro.dynamics.sequence_text import (
    NumberFormat,
    all_spellings,
    canonical_spellings,
    tokenize_sequence,
)
from artneuro.models.loading import load_causal_lm
from tests.tiny_models import make_model

PLAIN = NumberFormat(0.0, 1.0, 2, "", ",")


def digit_tokenizer(longest: int, extra: tuple[str, ...] = ()) -> TextTokenizer:
    """A tokenizer with a token for every number of up to `longest` digits, which it prefers."""
    words = ["<s>", ",", ".", " ", *extra]
    for n in range(1, longest + 1):
        words += ["".join(digits) for digits in itertools.product("0123456789", repeat=n)]
    vocab = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<s>"))
    joined = "".join(f"{word}|" for word in extra)
    pattern = Regex(rf"{joined}\d{{1,{longest}}}|[,. ]")
    backend.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    return TextTokenizer(backend, 0, (0,))


# --- text ----------------------------------------------------------------------------------------


def test_values_are_rounded_to_the_nearest_number_and_back():
    written = NumberFormat(-20.0, 30.0, 3, "0.", ",")
    values = np.array([-20.0, 0.0, 9.974, 29.96])
    codes = written.encode(values)
    assert codes.tolist() == [0, 400, 599, 999]
    assert np.abs(written.decode(codes) - values).max() <= written.step / 2 + 1e-12
    assert [written.spell(int(code)) for code in codes] == ["0.000", "0.400", "0.599", "0.999"]
    with pytest.raises(DataError, match=r"29\.99 at place 1 cannot be written with 3 decimals"):
        written.encode(np.array([0.0, 29.99]))


@pytest.mark.parametrize(("longest", "per_number"), [(1, 5), (2, 4), (3, 3)])
def test_tokens_of_numbers_and_separators_are_told_apart(longest, per_number):
    written = NumberFormat(0.0, 1.0, 3, "0.", ", ")
    tokenizer = digit_tokenizer(longest)
    codes = np.array([124, 5, 999])
    found = tokenize_sequence(tokenizer, written, codes, 1000)
    assert found.ids[0] == tokenizer.document_token
    assert (found.ends - found.starts).tolist() == [per_number] * 3
    texts = [tokenizer.backend.id_to_token(int(i)) for i in found.ids]
    for start, end, after, code in zip(
        found.starts, found.ends, found.separators, codes, strict=True
    ):
        assert "".join(texts[start:end]) == written.spell(int(code))
        assert texts[end : after + 1] == [",", " "]
    spelled = canonical_spellings(tokenizer, written)
    for start, end, code in zip(found.starts, found.ends, codes, strict=True):
        assert spelled[code] == [tuple(found.ids[start:end].tolist())]


def test_a_sequence_that_is_too_long_says_how_many_values_fit():
    tokenizer, codes = digit_tokenizer(1), np.arange(50)
    assert len(tokenize_sequence(tokenizer, PLAIN, codes, 151).ids) == 151
    with pytest.raises(DataError, match=r"50 values are 151 tokens(.|\n)*46 values fit"):
        tokenize_sequence(tokenizer, PLAIN, codes, 140)
    assert len(tokenize_sequence(tokenizer, PLAIN, codes[:46], 140).ids) <= 140


def test_tokens_across_a_border_are_refused():
    tokenizer = digit_tokenizer(2, extra=("07,",))
    with pytest.raises(ConfigError, match="joins the number '07'"):
        tokenize_sequence(tokenizer, PLAIN, np.array([12, 7]), 100)
    with pytest.raises(ConfigError, match="joins the number '07'"):
        canonical_spellings(tokenizer, PLAIN)


def test_all_spellings_are_all_ways_to_cut_a_number():
    written = NumberFormat(0.0, 1.0, 3, "0.", ",")
    # "0", "." and then 1, 2 or 4 ways to cut three digits.
    for longest, ways in ((1, 1), (2, 3), (3, 4)):
        tokenizer = digit_tokenizer(longest)
        texts = [tokenizer.backend.id_to_token(i) or "" for i in range(tokenizer.n_ids)]
        found = all_spellings(texts, written, tokenizer.special)
        assert {len(spellings) for spellings in found} == {ways}
        for code, spellings in enumerate(found):
            assert canonical_spellings(tokenizer, written)[code][0] in spellings
            for spelling in spellings:
                assert "".join(texts[i] for i in spelling) == written.spell(code)
            if code > 20:
                break


# --- the tree ------------------------------------------------------------------------------------


def test_a_tree_with_known_conditionals_multiplies_along_its_paths():
    # Numbers 0 to 3 as two binary digits, and 3 as one token of its own too.
    tree = build_tree([[(0, 0)], [(0, 1)], [(1, 0)], [(1, 1), (2,)]])
    assert tree.parents.tolist() == [-1, 0, 0, 0, 1, 1, 2, 2]
    assert tree.inner.tolist() == [0, 1, 2]
    log = np.log(np.array([1.0, 0.5, 0.2, 0.1, 0.25, 0.75, 0.6, 0.4]))
    found = tree.distribution(np.stack([log, log]))
    np.testing.assert_allclose(found, [[0.125, 0.375, 0.12, 0.08 + 0.1]] * 2)
    forecast = summarise(found, np.array([0.0, 1.0, 2.0, 3.0]))
    shares = found[0] / 0.8
    assert forecast.mass[0] == pytest.approx(0.8)
    assert forecast.mean[0] == pytest.approx(shares @ [0, 1, 2, 3])
    variance = shares @ [0, 1, 4, 9] - (shares @ [0, 1, 2, 3]) ** 2
    assert forecast.std[0] == pytest.approx(np.sqrt(variance))
    assert forecast.median[0] == 1.0
    with pytest.raises(DataError, match="begins another"):
        build_tree([[(0,)], [(0, 1)]])
    with pytest.raises(DataError, match="begins another"):
        build_tree([[(0, 1)], [(0,)]])
    with pytest.raises(DataError, match="no tokens that spell"):
        build_tree([[(0,)], []])


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A tiny Llama."""
    folder = make_model("llama", tmp_path_factory.mktemp("tree") / "m", tokenizer=False)
    return load_causal_lm(folder, device="cpu")


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_the_tree_equals_brute_force_over_all_spellings(lm, longest):
    """Every sequence of tokens that makes up a number, each run through the model alone."""
    written = NumberFormat(0.0, 1.0, 2, ".", ",")
    tokenizer = digit_tokenizer(longest)
    # A vocabulary of 512 ids leaves room for numbers of two digits in full.
    ids = np.random.default_rng(3).integers(1, 100, 20).astype(np.int64)
    roots = np.array([4, 13, 19])
    reading = read_sequence(lm, ids, roots, [])
    texts = [tokenizer.backend.id_to_token(i) or "" for i in range(min(tokenizer.n_ids, 512))]
    for spellings in (canonical_spellings(tokenizer, written), all_spellings(texts, written, (0,))):
        tree = build_tree(spellings)
        found = tree.distribution(tree_conditionals(lm, reading, roots, tree, batch_tokens=30))
        for row, root in zip(found, roots, strict=True):
            assert row == pytest.approx(brute_force(lm, ids[: root + 1], spellings), rel=2e-5)
            assert 0 < row.sum() < 1


def brute_force(lm, before, spellings) -> list[float]:
    """Probability of each number: the sum over its spellings of whole sequences' likelihoods."""
    by_length: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
    for code, ways in enumerate(spellings):
        for way in ways:
            by_length.setdefault(len(way), []).append((code, way))
    found = [0.0] * len(spellings)
    for length, rows in by_length.items():
        ids = torch.tensor([[*before.tolist(), *way] for _, way in rows])
        with torch.inference_mode():
            logs = torch.log_softmax(lm.model(input_ids=ids).logits.double(), -1)
        each = logs[:, :-1].gather(2, ids[:, 1:, None])[..., 0][:, -length:].sum(1).exp()
        for (code, _), probability in zip(rows, each.tolist(), strict=True):
            found[code] += probability
    return found


def test_a_longer_token_only_adds_to_the_mass_of_the_same_strings():
    """A uniform model over each vocabulary: the mass of a number is a sum over its spellings."""
    written = NumberFormat(0.0, 1.0, 3, "", ",")
    for longest in (1, 2, 3):
        tokenizer = digit_tokenizer(longest)
        texts = [tokenizer.backend.id_to_token(i) or "" for i in range(tokenizer.n_ids)]
        tree = build_tree(all_spellings(texts, written, tokenizer.special))
        p = 1 / tokenizer.n_ids
        found = tree.distribution(np.full(len(tree.tokens), np.log(p)))
        # Cuts of three digits into 3, 2 and 1 tokens.
        ways = [p**3, 2 * p**2 if longest > 1 else 0.0, p if longest > 2 else 0.0]
        np.testing.assert_allclose(found, sum(ways), rtol=1e-12)


# --- baselines -----------------------------------------------------------------------------------


def test_baselines_are_their_closed_forms_on_a_line_and_a_cycle():
    line = baseline_forecasts(np.arange(10.0))
    np.testing.assert_allclose(line["linear"][2:], np.arange(2, 10))
    np.testing.assert_allclose(line["last_value"][1:], np.arange(9))
    np.testing.assert_allclose(line["mean_so_far"][1:], np.arange(9) / 2)
    # On a line the closest earlier value is the one before, whose successor is the last value.
    np.testing.assert_allclose(line["nearest"][2:], np.arange(1, 9))
    cycle = np.tile([0.1, 0.7, 0.4], 6)
    found = baseline_forecasts(cycle)
    np.testing.assert_allclose(found["nearest"][4:], cycle[4:])
    np.testing.assert_allclose(found["nearest_two"][5:], cycle[5:])
    # After 0.5 comes 1 or 0, by what precedes it: only two delays tell.
    turns = np.tile([0.0, 0.5, 1.0, 0.5], 8)
    found = baseline_forecasts(turns)
    np.testing.assert_allclose(found["nearest_two"][6:], turns[6:])
    assert (np.abs(found["nearest"][6:] - turns[6:]) > 0.1).any()


def test_nearest_neighbours_are_those_of_a_search_over_all_pairs():
    values = np.random.default_rng(0).integers(0, 30, 60) / 30
    found = baseline_forecasts(values)
    for t in range(4, 60):
        best = min(range(t - 1), key=lambda m: (abs(values[m] - values[t - 1]), -m))
        assert found["nearest"][t] == values[best + 1]
        pair = min(
            range(1, t - 1),
            key=lambda m: (
                (values[m] - values[t - 1]) ** 2 + (values[m - 1] - values[t - 2]) ** 2,
                -m,
            ),
        )
        assert found["nearest_two"][t] == values[pair + 1]
