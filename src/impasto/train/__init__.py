"""Training of feed-forward networks, on Lightning. Needs the extra `train`."""

from impasto.train._run import Course, Outcome, load, train
from impasto.train._teacher import ASSETS, Lesson, recoloured

__all__ = ["ASSETS", "Course", "Lesson", "Outcome", "load", "recoloured", "train"]
