"""What words on the command line mean, for any words."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from impasto import memory
from impasto.cli import parse
from impasto.errors import InputError

WORDS = some.text(max_size=40)
NAMES = some.from_regex(r"[a-z][a-z 0-9.-]{0,20}[a-z]", fullmatch=True)
AMOUNTS = some.floats(1e-6, 1e9)


def parsed(parser, *arguments):
    """What a parser returns; None where it refuses, which must be in one line each, with a hint."""
    try:
        return parser(*arguments)
    except InputError as error:
        assert error.message and error.hint
        assert "\n" not in error.hint
        return None


@given(WORDS)
def test_any_words_are_a_style_or_refused(text):
    found = parsed(parse.parse_style, text)
    if found is not None:
        name, weight = found
        assert math.isfinite(weight) and weight > 0
        assert text == name or text.startswith(f"{name}:")


@given(NAMES, AMOUNTS)
def test_a_weight_after_the_last_colon_is_read(name, weight):
    assert parse.parse_style(f"{name}:{weight!r}") == (name, weight)


@given(some.sampled_from(["museum:436535", "pack:irises"]), AMOUNTS)
def test_an_id_has_its_own_colon(name, weight):
    assert parse.parse_style(name) == (name, 1.0)
    assert parse.parse_style(f"{name}:{weight!r}") == (name, weight)


@given(NAMES, some.sampled_from(["nan", "inf", "-1", "0", "-inf", "1e999"]))
def test_a_weight_that_is_none_is_refused(name, weight):
    with pytest.raises(InputError, match="weight of style"):
        parse.parse_style(f"{name}:{weight}")


@given(WORDS)
def test_any_words_are_a_region_or_refused(text):
    found = parsed(parse.parse_region, text)
    if found is not None:
        assert all(found)
        assert "=".join(found) == text


@given(some.sampled_from([*parse.WORDS, "point 3,4", "point 10%,20% not 5%,5%"]), NAMES)
def test_a_region_is_split_at_its_sign(mask, style):
    assert parse.parse_region(f"{mask}={style}") == (mask, style)


@given(WORDS)
def test_any_words_are_a_size_of_memory_or_refused(text):
    found = parsed(memory.parse_memory, text)
    assert found is None or (isinstance(found, int) and found >= 0)


@given(some.integers(1, 10**6), some.sampled_from(["", "k", "M", "g", "TB", "GiB", " MB"]))
def test_memory_counts_in_its_unit(amount, unit):
    power = {"": 0, "k": 3, "m": 6, "g": 9, "t": 12}[unit.strip().lower().removesuffix("b").removesuffix("i")]
    assert memory.parse_memory(f"{amount}{unit}") == amount * 10**power


@pytest.mark.parametrize("text", ["1e999", "1e400GB", "9" * 400, "0.0000001", "."])
def test_memory_that_no_machine_has_is_refused(text):
    with pytest.raises(InputError, match="max_memory"):
        memory.parse_memory(text)


@given(WORDS)
def test_any_words_are_a_moment_or_refused(text):
    found = parsed(parse.parse_at, text, "--style-at")
    if found is not None:
        seconds, value = found
        assert 0 <= seconds < 1e7
        assert value


@given(some.lists(some.tuples(some.floats(0, 1e6), NAMES), max_size=5))
def test_moments_come_in_the_order_of_time(points):
    found = parse.parse_points([f"{at!r}={value}" for at, value in points], "--strength-at")
    assert found == sorted(points, key=lambda point: point[0])


@given(WORDS)
def test_any_words_are_a_rate_or_refused(text):
    found = parsed(parse.parse_rate, text)
    assert found is None or 0 < found <= 1000


@given(some.fractions(Fraction(1, 1000), 1000, max_denominator=1001))
def test_a_rate_is_itself(rate):
    assert parse.parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "9" * 5000, "1/0", "nan"])
def test_a_rate_without_end_is_refused_at_once(text):
    with pytest.raises(InputError, match="fps"):
        parse.parse_rate(text)


@given(some.lists(some.floats(0, 1e6), max_size=6), some.floats(0, 10))
def test_shares_over_time_are_whole(times, fade):
    found = parsed(parse.timeline_of, times, fade)
    if found:
        moments = [at for at, _ in found]
        assert moments == sorted(moments)
        assert all(sum(shares) == 1 for _, shares in found)
        assert found[-1] == (times[-1], (0.0,) * len(times) + (1.0,))


@given(some.lists(some.sampled_from(["--protect-faces", "0.5", "photo.jpg", "--size", "", "nan"]), max_size=6))
def test_a_bare_flag_for_faces_is_given_its_amount(words):
    found = parse.spell_out(words)
    assert len(found) == len(words)
    assert all(new in (old, "--protect-faces=0.7") for old, new in zip(words, found, strict=True))


@given(WORDS)
def test_any_words_are_a_list_of_sizes_or_refused(text):
    found = parsed(parse.parse_sizes, text)
    assert found is None or (found and all(64 <= size <= 1_000_000 for size in found))


@given(some.lists(some.integers(64, 100_000), min_size=1, max_size=5))
def test_sizes_are_split_at_commas(sizes):
    assert parse.parse_sizes(", ".join(map(str, sizes))) == tuple(sizes)
