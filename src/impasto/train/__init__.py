"""Training of networks, on Lightning. Needs the extra `train`.

Importing this loads neither torch nor Lightning: what is wrong with a folder of photographs is told without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.train._jobs import (
        AdaINTraining,
        AttentionTraining,
        ClipTraining,
        CodecDistillation,
        DecoderTraining,
        Distillation,
        StyleTraining,
        TrainingJob,
        UnpairedTraining,
        load,
        load_arbitrary,
    )
    from impasto.train._run import TrainingResult, check_target, train
    from impasto.train._search import Search, SearchResult, check_folder, search
    from impasto.train._stylegan import GanTraining
    from impasto.train._teacher import TrainingStyle, variations

__all__ = [
    "AdaINTraining",
    "AttentionTraining",
    "ClipTraining",
    "CodecDistillation",
    "DecoderTraining",
    "Distillation",
    "GanTraining",
    "Search",
    "SearchResult",
    "StyleTraining",
    "TrainingJob",
    "TrainingResult",
    "TrainingStyle",
    "UnpairedTraining",
    "check_folder",
    "check_target",
    "load",
    "load_arbitrary",
    "search",
    "train",
    "variations",
]

_LAZY = {
    "AdaINTraining": "_jobs",
    "AttentionTraining": "_jobs",
    "TrainingJob": "_jobs",
    "ClipTraining": "_jobs",
    "CodecDistillation": "_jobs",
    "DecoderTraining": "_jobs",
    "Distillation": "_jobs",
    "StyleTraining": "_jobs",
    "UnpairedTraining": "_jobs",
    "load": "_jobs",
    "load_arbitrary": "_jobs",
    "GanTraining": "_stylegan",
    "TrainingResult": "_run",
    "check_target": "_run",
    "train": "_run",
    "Search": "_search",
    "SearchResult": "_search",
    "check_folder": "_search",
    "search": "_search",
    "TrainingStyle": "_teacher",
    "variations": "_teacher",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'impasto.train' has no attribute {name!r}")
    from impasto.errors import require

    extra = "search" if _LAZY[name] == "_search" else "train"
    return getattr(require(f"impasto.train.{_LAZY[name]}", extra), name)


def __dir__() -> list[str]:
    return list(__all__)
