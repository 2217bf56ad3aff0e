"""Training of networks, on Lightning. Needs the extra `train`."""

from impasto.train._courses import Course, DecoderCourse, StyleCourse, load
from impasto.train._run import Outcome, check_place, train
from impasto.train._teacher import TrainingStyle, recoloured

__all__ = [
    "Course",
    "DecoderCourse",
    "Outcome",
    "StyleCourse",
    "TrainingStyle",
    "check_place",
    "load",
    "recoloured",
    "train",
]
