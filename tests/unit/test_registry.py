from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

import pytest

from impasto.contract import Placement
from impasto.errors import InputError, MissingExtra, StyleError, require
from impasto.methods import registry


def test_listing_names_and_papers():
    table = registry.methods()
    assert {"adain", "optimize"} <= set(table)
    assert all(row.paper and row.summary for row in table.values())
    assert all(row.bytes_per_pixel(row.load_knobs()(), Placement()) > 0 for row in table.values())


@dataclass(frozen=True)
class Plain:
    """Settings that do not derive from `Knobs`."""

    strength: float = 1.0


def test_settings_that_the_engine_cannot_read_are_refused():
    row = replace(registry.find("adain"), name="mine", knobs=f"{__name__}:Plain")
    with pytest.raises(StyleError) as caught:
        row.load_knobs()
    assert "'mine'" in caught.value.message
    assert f"{__name__}:Plain" in caught.value.hint


def test_values_of_knobs_that_a_method_has_not_are_left_out():
    knobs = registry.find("adain").load_knobs()().with_values(strength=0.5, steps=3)
    assert (knobs.strength, knobs.steps, knobs.init) == (0.5, 1, "")


def test_unknown_method_suggests_the_near_one():
    with pytest.raises(InputError) as caught:
        registry.find("adian")
    assert "did you mean adain?" in caught.value.hint


def test_a_duplicate_names_both_owners():
    plugin = EntryPoint("mine", "impasto.methods.registry:BUILT_IN", registry.ENTRY_POINT_GROUP)

    class Loaded:
        value = "other_package:ROW"

        def load(self):
            return plugin.load()[0]

    with pytest.raises(StyleError) as caught:
        registry.collect(registry.BUILT_IN, [Loaded()])
    assert "impasto" in caught.value.message
    assert "other_package:ROW" in caught.value.message


def test_a_missing_package_gives_the_install_line():
    with pytest.raises(MissingExtra) as caught:
        require("a_package_that_is_not_there", "video")
    assert 'pip install "impasto[video]"' in caught.value.hint


def test_a_bug_of_ours_is_not_blamed_on_an_extra():
    with pytest.raises(ModuleNotFoundError):
        require("impasto.a_module_that_is_not_there", "video")


def test_plug_ins_are_looked_for_once(monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or ())
    registry.announced.cache_clear()
    assert registry.methods().keys() == registry.methods().keys()
    registry.announced.cache_clear()
    assert asked == [registry.ENTRY_POINT_GROUP]
