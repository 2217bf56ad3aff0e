"""Opinions and rankings: against closed forms, tables of Student's t, and known strengths."""

import math

import numpy as np
import pytest

from impasto.errors import InputError
from impasto.report.opinions import (
    Answer,
    Rating,
    bradley_terry,
    half_width,
    has_maximum,
    opinions,
    rank,
    read_answers,
    read_ratings,
    student_quantile,
)


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "given.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("freedom", "value"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (9, 2.2622), (30, 2.0423), (120, 1.9799)],
)
def test_student_quantiles_are_those_of_the_tables(freedom, value):
    assert student_quantile(freedom) == pytest.approx(value, abs=1e-4)


def test_interval_of_a_mean():
    # 1, 2, 3: standard deviation 1, so t(2) / sqrt(3)
    assert half_width([1, 2, 3]) == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)
    assert math.isnan(half_width([4]))


def test_a_rater_counts_once_however_much_he_rates():
    given = [Rating("a", "ann", 5)] * 10 + [Rating("a", "bob", 1)] + [Rating("b", "ann", 4)]
    best, other = opinions(given)
    assert (best.method, best.mean, best.raters) == ("b", 4, 1)
    assert (other.mean, other.raters, other.ratings) == (3, 2, 11)
    assert other.low < 3 < other.high


def test_two_items_have_a_closed_form():
    # the likeliest share of strength is the share of wins
    assert bradley_terry(np.array([[0, 7.5], [2.5, 0]])) == pytest.approx([0.75, 0.25])


def test_known_strengths_are_found_again():
    strengths = np.array([0.5, 0.25, 0.15, 0.1])
    chance = np.random.default_rng(0)
    answers = []
    for _ in range(6000):
        i, j = chance.choice(4, size=2, replace=False)
        won = chance.random() < strengths[i] / (strengths[i] + strengths[j])
        answers.append(Answer(f"m{i}", f"m{j}", float(won)))
    found = rank(answers, rounds=60)
    assert [entry.method for entry in found] == ["m0", "m1", "m2", "m3"]
    wanted = np.log(strengths) - np.log(strengths).mean()
    assert [entry.strength for entry in found] == pytest.approx(wanted, abs=0.12)
    assert all(entry.low <= entry.strength <= entry.high for entry in found)
    assert sum(entry.answers for entry in found) == 2 * len(answers)


def test_likelihood_is_at_its_height():
    wins = np.array([[0, 4, 3.5], [2, 0, 5], [1.5, 3, 0]])
    found = bradley_terry(wins)

    def likelihood(strengths):
        with np.errstate(divide="ignore"):
            return np.nansum(wins * np.log(strengths[:, None] / (strengths[:, None] + strengths[None, :])))

    for step in np.eye(3):
        assert likelihood(found * np.exp(0.01 * step)) < likelihood(found)
        assert likelihood(found * np.exp(-0.01 * step)) < likelihood(found)


def test_who_never_lost_has_no_likeliest_strength():
    answers = [Answer("a", "b", 1.0), Answer("a", "c", 1.0), Answer("b", "c", 0.5)]
    assert not has_maximum(answers)
    with pytest.raises(InputError, match="only won"):
        bradley_terry(np.array([[0, 2.0], [0, 0]]))
    first, *rest = rank(answers, rounds=20)
    assert first.method == "a"
    assert first.strength < 5
    assert rest[0].strength == pytest.approx(rest[1].strength)


def test_ties_make_equals():
    found = rank([Answer("a", "b", 0.5, rater) for rater in "xyz"], rounds=20)
    assert [entry.strength for entry in found] == pytest.approx([0, 0])
    assert [entry.wins for entry in found] == [0.5, 0.5]


def test_intervals_are_over_raters_where_there_are_three():
    one_mind = [Answer("a", "b", float(rater != "r0"), rater) for rater in ("r0", "r1", "r2", "r3") for _ in range(50)]
    apart = [Answer("a", "b", float(index % 4 != 0)) for index in range(200)]
    wide, narrow = (rank(given, rounds=200)[0] for given in (one_mind, apart))
    assert wide.strength == pytest.approx(narrow.strength)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


METHODS, PICTURES = ["draft", "good"], {"cat-irises-good-12.png": "good"}


def test_ratings_by_method_or_picture(table):
    by_method = read_ratings(table("rater,rating,method\nann, 4 ,draft\n"), METHODS, PICTURES)
    assert by_method == (Rating("draft", "ann", 4.0),)
    for name in ("cat-irises-good-12.png", "cat-irises-good-12"):
        assert read_ratings(table(f"\ufeffrater,rating,picture\nann,5,{name}\n"), METHODS, PICTURES)[0].method == "good"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rater,mark,method\nann,4,draft\n", "no column rating"),
        ("rater,rating\nann,4\n", "no column method or picture"),
        ("rater,rating,method\nann,6,draft\n", "line 2: rating is '6'"),
        ("rater,rating,method\nann,nan,draft\n", "rating is 'nan'"),
        ("rater,rating,method\nann,4,draught\n", "method is 'draught'"),
        ("rater,rating,picture\nann,4,nothing.png\n", "picture is 'nothing.png'"),
        ("rater,rating,method\n,4,draft\n", "no rater"),
        ("rater,rating,method\n", "holds no rows"),
        ("", "no column"),
    ],
)
def test_bad_ratings_name_what_is_wrong(table, text, said):
    with pytest.raises(InputError, match=said) as caught:
        read_ratings(table(text), METHODS, PICTURES)
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_answers(table):
    names = {"x1": "draft", "x2": "good"}
    given = read_answers(table("rater,left,right,choice\nann,x1,x2,right\nann,x2,x1,tie\n"), names)
    assert given == (Answer("draft", "good", 0.0, "ann"), Answer("good", "draft", 0.5, "ann"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("left,right\nx1,x2\n", "no column choice"),
        ("left,right,choice\nx1,x2,both\n", "choice is 'both'"),
        ("left,right,choice\nx1,x9,left\n", "right is 'x9'"),
        ("left,right,choice\nx1,x1,left\n", "compared with itself"),
    ],
)
def test_bad_answers_name_what_is_wrong(table, text, said):
    with pytest.raises(InputError, match=said):
        read_answers(table(text), {"x1": "draft", "x2": "good"})


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "picture.csv"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_ratings(path, METHODS, PICTURES)
