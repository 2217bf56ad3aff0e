"""A StyleGAN2 in training, from nothing or from a network of another collection.

Both networks learn in one step, from the same pictures and by one Adam: the gradient of each loss reaches its own
network alone. The regularisations come every 16 and every 4 steps, with as many times their weight (lazy
regularisation), in the same step as the losses; the paper gives them steps of their own.

Papers: arXiv:1912.04958 (StyleGAN2), arXiv:2006.06676 (ADA), arXiv:1801.04406 (R1), arXiv:2002.10964 (Freeze-D).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto import images
from impasto.contract import Placement
from impasto.errors import InputError
from impasto.methods.settings import GanKnobs
from impasto.models.stylegan import SIZES, Discriminator, Generator, StyleGanSpec
from impasto.models.stylegan3 import StyleGan3Spec
from impasto.models.stylegan_files import StyleGan
from impasto.train._augment import augment
from impasto.train._collapse import sliced_distance
from impasto.train._jobs import Beginning, TrainingJob
from impasto.train._learner import Batch, Learner
from impasto.train._teacher import Floats
from impasto.train.data import Photographs

R1_EVERY, PATH_EVERY = 16, 4
"""Steps between two regularisations of the discriminator, and of the generator."""

LATENT, DEPTH = 128, 4
"""Of a network from nothing: small pictures need no more; the paper's 512 and 8 are for a thousand pixels."""

_MOST = 128  # channels of a network from nothing
_MIXED = 0.9  # of the pictures are made of two w, so that layers are learnt apart
_PATH_SHARE = 2  # of the batch serves for the lengths of paths: a half
_PATH_AVERAGING = 0.01
_ADA_IMAGES = 100_000  # pictures in which the probability can go from 0 to 1; the paper's, for a start from a network
_ADA_AVERAGING = 0.25  # of signs: about the four batches of the paper
_VALIDATED = 64
_SHEET = 18


class GanLearner(Learner):
    """A generator and its discriminator.

    Args:
        start: both, as they begin.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
    """

    probability: Tensor
    realness: Tensor
    path_mean: Tensor

    knobs: GanKnobs

    def __init__(self, start: tuple[Generator, Discriminator], knobs: GanKnobs, placement: Placement) -> None:
        super().__init__(knobs, placement, _VALIDATED)
        self.generator, self.discriminator = start
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        for part in (self.generator.synthesis, self.average.synthesis, self.discriminator):
            part.dtype = placement.dtype
        self.register_buffer("probability", torch.zeros(()))  # of each augmentation
        self.register_buffer("realness", torch.zeros(()))  # running mean of the signs of scores of real pictures
        self.register_buffer("path_mean", torch.zeros(()))
        frozen = self.generator.spec.sides[::-1][: knobs.freeze]
        for side in frozen:
            self.discriminator.get_submodule(f"b{side}").requires_grad_(False)
        self._judging = [one for one in self.discriminator.parameters() if one.requires_grad]

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The generator and its average."""
        return [(self.generator, self.average)]

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """The discriminator's."""
        return [{"params": self._judging, "betas": (0.0, 0.99)}]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam without momentum, for both."""
        optimizer = super().configure_optimizers()
        for group in optimizer.param_groups:
            group["betas"] = (0.0, 0.99)
        return optimizer

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,  # noqa: ARG002 - Adam divides by the size of gradients as it is
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Only what is not finite is taken out, as the published training does."""
        for group in optimizer.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    torch.nan_to_num_(one.grad, nan=0.0, posinf=1e5, neginf=-1e5)

    def rate(self, share: float) -> float:  # noqa: ARG002
        """The learning rate stays: while two networks compete, one that slows down stops where they happen to be."""
        return 1.0

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        random = torch.Generator().manual_seed((self.knobs.seed << 32) + 4 * int(batch["numbers"][0]))
        real = 2 * batch["images"] - 1
        fakes = self._made(len(real), random)
        losses = {"generator": self._fooled(fakes, random), **self._judged(real, fakes.detach(), random)}
        loss = losses["generator"].mean() + losses["discriminator"].mean()
        if self.global_step % R1_EVERY == 0:
            loss = loss + R1_EVERY * self.knobs.r1_weight / 2 * losses["r1"].mean()
        if self.knobs.path_weight and self.global_step % PATH_EVERY == 0:
            loss = loss + PATH_EVERY * self.knobs.path_weight * self._path_penalty(len(real), random)
        self.note({name: values for name, values in losses.items() if name != "r1"})
        self.note({"augmented": self.probability, "realness": self.realness})
        return loss

    def on_train_batch_end(self, *_arguments: Any) -> None:
        """The average of w is that of the newest generator."""
        self.average.mapping.w_avg.copy_(self.generator.mapping.w_avg)

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """How far pictures of the averaged generator are from paintings, and what the discriminator thinks of both."""
        made, real = self.sampled(len(photographs)), photographs.to(self.device)
        distance = sliced_distance(made, real)
        return {
            "loss": distance,
            "held_back": float(self.discriminator(2 * real - 1).mean()),
            "made": float(self.discriminator(2 * made - 1).mean()),
            "augmented": float(self.probability),
        }

    @torch.no_grad()
    def sampled(self, count: int) -> Tensor:
        """`(count, 3, size, size)` in [0, 1] of the averaged generator, the same at each call."""
        random = torch.Generator().manual_seed(self.knobs.seed)
        z = torch.randn(count, self.average.spec.latent, generator=random).to(self.device)
        return torch.cat([(self.average(part) + 1) / 2 for part in z.chunk(-(-count // 16))]).clamp(0, 1)

    def painted(self, photograph: Tensor, style: int) -> Tensor:  # noqa: ARG002 - it is made of random numbers
        """The picture of that number."""
        return self.sampled(style + 1)[style:]

    def _made(self, count: int, random: torch.Generator) -> Tensor:
        ws = self._ws(count, random)
        made: Tensor = self.generator.synthesis(ws, self.generator.synthesis.random_noise(count, random))
        return made

    def _ws(self, count: int, random: torch.Generator) -> Tensor:
        """`(count, layers, latent)`: of one w, or from some layer on of another."""
        z = torch.randn(2 * count, self.generator.spec.latent, generator=random).to(self.device)
        first, second = self.generator.mapping(z).chunk(2)
        self.generator.mapping.follow(first.detach())
        layers = self.generator.spec.layers
        crossings = torch.randint(1, layers, (count,), generator=random)
        mixed = torch.rand(count, generator=random) < _MIXED
        crossings = torch.where(mixed, crossings, layers).to(self.device)
        of_first = torch.arange(layers, device=self.device) < crossings[:, None]
        return torch.where(of_first[:, :, None], first[:, None], second[:, None])

    def _fooled(self, fakes: Tensor, random: torch.Generator) -> Tensor:
        """`(B,)`: the generator's loss, whose gradient leaves the discriminator alone."""
        for one in self._judging:
            one.requires_grad_(False)
        scores = self.discriminator(self._augmented(fakes, random))
        for one in self._judging:
            one.requires_grad_(True)
        return F.softplus(-scores)

    def _judged(self, real: Tensor, fakes: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """The discriminator's loss `(B,)`; every 16 steps with the squared gradients at real pictures (R1).

        They are taken at the changed pictures: a change keeps lengths about as they are, and need not be differentiated
        twice.
        """
        regularised = self.global_step % R1_EVERY == 0
        changed = self._augmented(real, random).detach().requires_grad_(regularised)
        seen, scores = self.discriminator(changed), self.discriminator(self._augmented(fakes, random))
        losses = {"discriminator": F.softplus(scores) + F.softplus(-seen)}
        if regularised:
            [gradient] = torch.autograd.grad(seen.sum(), changed, create_graph=True)
            losses["r1"] = gradient.square().sum((1, 2, 3))
        self._adapt(seen.detach())
        return losses

    def _augmented(self, pictures: Tensor, random: torch.Generator) -> Tensor:
        return augment(pictures, float(self.probability), random)

    @torch.no_grad()
    def _adapt(self, scores: Tensor) -> None:
        """Augment more while more real pictures are told for certain than `ada_target` says, and less otherwise."""
        self.realness.lerp_(scores.sign().mean(), _ADA_AVERAGING)
        if self.knobs.augment == "ada":
            step = len(scores) / _ADA_IMAGES
            self.probability.add_(step if self.realness > self.knobs.ada_target else -step).clamp_(0, 1)

    def _path_penalty(self, batch: int, random: torch.Generator) -> Tensor:
        """How unevenly pictures change with w: `(|J^T y| - mean)^2`. Paper: arXiv:1912.04958, eq. 4."""
        count = max(1, batch // _PATH_SHARE)
        ws = self._ws(count, random)
        made = self.generator.synthesis(ws, self.generator.synthesis.random_noise(count, random))
        directions = torch.randn(made.shape, generator=random).to(made) / made.shape[2]
        [gradient] = torch.autograd.grad((made * directions).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = self.path_mean.lerp(lengths.detach().mean(), _PATH_AVERAGING)
        self.path_mean.copy_(mean)
        return (lengths - mean).square().mean()


@dataclass(frozen=True, kw_only=True)
class GanTraining(TrainingJob):
    """A StyleGAN2 of the squares of paintings.

    Attributes:
        start: a network to adapt; its size then counts.
        paintings, licence: what it is trained on, in words, for the file.
    """

    knobs: GanKnobs
    start: StyleGan | None = None
    paintings: str = ""
    licence: str = "not stated"

    assets = ()
    learns_from = "painting"

    @staticmethod
    def check(knobs: GanKnobs, start: StyleGan | None) -> None:
        """Raise InputError for a size that no network has, or that `start` has not."""
        if knobs.crop not in SIZES:
            raise InputError(f"--crop is {knobs.crop}", "it takes a power of two, 8 to 1024")
        if start is not None and isinstance(start.spec, StyleGan3Spec):
            raise InputError("a StyleGAN3 can paint, but Impasto cannot adapt it", "adapt from a StyleGAN2")
        if start is not None and start.spec.size != knobs.crop:
            raise InputError(
                f"the network makes pictures of {start.spec.size} px, not {knobs.crop}", "leave out --crop"
            )

    def recipe(self) -> dict[str, Any]:
        """With the kind, and the shape."""
        return {
            "kind": "stylegan",
            "adapted": self.start is not None,
            "paintings": self.paintings,
            **super().recipe(),
        }

    def learner(self, beginning: Beginning) -> GanLearner:
        """Both networks."""
        return GanLearner(self._begun(), self.knobs, beginning.placement)

    def _begun(self) -> tuple[Generator, Discriminator]:
        knobs, random = self.knobs, torch.Generator().manual_seed(self.knobs.seed)
        if self.start is None:
            base = knobs.width * knobs.crop
            spec = StyleGanSpec.of(knobs.crop, base=base, most=_MOST, latent=LATENT, depth=DEPTH)
            return Generator(spec, random), Discriminator(spec, random)
        return self.start.build_trainable(random)

    def write(self, learner: Learner, validation: Photographs, about: Mapping[str, Any]) -> None:  # noqa: ARG002
        """The averaged generator, and the discriminator, from which others can be adapted."""
        assert isinstance(learner, GanLearner)
        StyleGan(
            learner.average.spec,
            learner.average.state_dict(),
            learner.discriminator.state_dict(),
            {**about, "paintings": self.paintings, "licence": self.licence},
        ).save(self.target)

    def samples(self, learner: Learner, validation: Photographs) -> Iterator[tuple[Floats, str]]:  # noqa: ARG002
        """Pictures of random numbers, the same at each sheet."""
        assert isinstance(learner, GanLearner)
        for number, picture in enumerate(learner.sampled(_SHEET)):
            yield images.from_tensor(picture[None].cpu()), f"number {number}"
