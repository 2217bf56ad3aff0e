import re
from dataclasses import dataclass

import pytest

from impasto import settings
from impasto.errors import InputError
from impasto.methods.settings import AdaINKnobs, OptimizeKnobs
from impasto.settings import knob


@dataclass(frozen=True)
class Settings:
    """Of a test."""

    amount: float = knob(0.5, "how much", low=0, high=1)
    count: int = knob(3, "how many", low=1)
    mode: str = knob("slow", "which", choices=("slow", "fast"))
    layers: tuple[str, ...] = knob(("a",), "where", shapes_style=True)


def test_none_stands_for_the_default():
    assert settings.build(Settings, {"amount": None}, owner="test") == Settings()


def test_values_come_in_their_type():
    built = settings.build(Settings, {"amount": "0.25", "count": 4.0, "layers": "b, c"}, owner="test")
    assert built == Settings(amount=0.25, count=4, layers=("b", "c"))
    assert isinstance(built.count, int)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", float("nan")),
        ("amount", "inf"),
        ("amount", -0.1),
        ("amount", 1.1),
        ("amount", "much"),
        ("amount", True),
        ("count", 0),
        ("count", 2.5),
        ("mode", "middling"),
        ("layers", ""),
        ("layers", "a,,b"),
        ("layers", []),
        ("layers", 5),
        ("layers", {"a": 1}),
        ("layers", ["a", 2]),
        ("amount", 10**400),
        ("amount", []),
        ("mode", ["slow"]),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(name, value):
    with pytest.raises(InputError) as caught:
        settings.build(Settings, {name: value}, owner="test")
    assert f"--{name}" in caught.value.message
    assert "it takes" in caught.value.hint


def test_unknown_knob_lists_the_known():
    with pytest.raises(InputError, match="test has no speed") as caught:
        settings.build(Settings, {"speed": 1}, owner="test")
    assert "--amount" in caught.value.hint


def test_record_builds_the_same_again():
    own = Settings(amount=0.1, layers=("x", "y"))
    assert settings.build(Settings, settings.as_record(own), owner="test") == own


def test_only_what_shapes_a_style_is_in_its_key():
    assert settings.style_key(Settings(amount=0.1)) == settings.style_key(Settings())
    assert settings.style_key(Settings(layers=("b",))) != settings.style_key(Settings())


@pytest.mark.parametrize("cls", [AdaINKnobs, OptimizeKnobs])
def test_every_shipped_knob_has_help_and_a_legal_default(cls):
    for entry in settings.knobs_of(cls):
        assert len(entry.help) > 10
        assert entry.check(entry.default) == entry.default
    schema = settings.json_schema(cls)
    assert schema["additionalProperties"] is False
    assert all("description" in item for item in schema["properties"].values())


def test_bounds_are_told_in_digits():
    """No 2.14748e+09, and no 1e-05."""
    from impasto.methods import registry

    told = [entry.bounds() for row in registry.methods().values() for entry in settings.knobs_of(row.load_knobs())]
    assert not any(re.search(r"\de[-+]?\d", bounds) for bounds in told)
    assert settings.in_digits(2**31 - 1) == "2147483647"
    assert settings.in_digits(1e-5) == "0.00001"
    assert settings.in_digits(0) == "0"
    assert settings.in_digits(0.5) == "0.5"
    with pytest.raises(InputError) as caught:
        settings.build(OptimizeKnobs, {"seed": -1}, owner="optimize")
    assert "from 0 to 2147483647" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learning_rate": 0.1}, "learning_rate has no effect with optimizer lbfgs"),
        ({"history": 5, "optimizer": "adam"}, "history has no effect with optimizer adam"),
        ({"seed": 3}, "seed has no effect with init recolored"),
    ],
)
def test_a_setting_without_effect_is_an_error(values, words):
    with pytest.raises(InputError, match=words) as caught:
        settings.build(OptimizeKnobs, values, owner="optimize")
    assert "leave it out, or use" in caught.value.hint
    defaults = {name: getattr(OptimizeKnobs(), name) for name in values}
    settings.build(OptimizeKnobs, defaults, owner="optimize")  # as a record of a picture has them


@pytest.mark.parametrize("values", [{"learning_rate": 0.1, "optimizer": "adam"}, {"seed": 3, "init": "noise"}])
def test_a_setting_with_an_effect_is_none(values):
    assert settings.as_record(settings.build(OptimizeKnobs, values, owner="optimize")).items() >= values.items()
