"""Generators in training without pairs of pictures: CUT, FastCUT and CycleGAN.

Both networks learn from one sum of losses, in one step: the generators' losses do not reach the discriminators, nor the
other way round. The papers step one after the other; at their learning rate this is the same to first order.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impasto import images
from impasto.contract import Placement
from impasto.errors import InputError
from impasto.losses.adversarial import patch_nce
from impasto.methods.settings import TranslationKnobs
from impasto.models.generator_spec import STRIDE
from impasto.models.generators import Generator, untrained
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._collapse import advice, diversity, sliced_distance
from impasto.train._learner import Batch, Learner
from impasto.train._patchgan import ImagePool, PatchGAN, PatchVectors, drawn_places
from impasto.train.data import Crops, items

_BETAS = (0.5, 0.999)
_LEAST = 4  # positions along a side at the coarsest level
_DECAY = 0.5  # of the training; then the learning rate falls


class TrainableGenerator(nn.ParameterDict):
    """The tensors of a generator as parameters. What a normalisation takes away again (biases) stays 0.

    Args:
        tensors: by their published names.
        placement: device and precision of the convolutions.
    """

    def __init__(self, tensors: Mapping[str, Tensor], placement: Placement) -> None:
        super().__init__()
        self._placement = placement
        head = max((name for name in tensors if name.endswith(".bias")), key=lambda name: int(name.split(".")[1]))
        for name, tensor in tensors.items():
            learns = name == head or (name.endswith(".weight") and tensor.dim() == 4)
            self[name.replace(".", "/")] = nn.Parameter(tensor.detach().clone().float(), requires_grad=learns)

    def tensors(self) -> dict[str, Tensor]:
        """By their published names."""
        return {name.replace("/", "."): tensor for name, tensor in self.items()}

    def network(self) -> Generator:
        """The network of the tensors as they are, through which gradients flow."""
        return Generator(self.tensors(), self._placement, checked=False)


class Translator(Learner):
    """A generator in training; subclasses say by which losses.

    Args:
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
        paintings: crops to learn from.
        unseen: crops of other paintings `(B, 3, crop, crop)`, to validate on.
    """

    knobs: TranslationKnobs

    def __init__(self, knobs: TranslationKnobs, placement: Placement, paintings: Crops, unseen: Tensor) -> None:
        super().__init__(knobs, placement)
        self.generator, self.average = self.new_generator(0)
        self.discriminator = self.new_discriminator(0)
        self._paintings, self._unseen = paintings, unseen

    @abstractmethod
    def losses(self, photographs: Tensor, paintings: Tensor, numbers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of all networks, and its parts, `(B,)` each."""

    @property
    def blurred(self) -> bool:
        """Whether the generator changes sizes with a blur."""
        return True

    @property
    def structure_weight(self) -> float:
        """How much it counts that the photograph is kept."""
        return self.knobs.structure_weight or (1.0 if self.knobs.objective == "contrastive" else 10.0)

    def new_generator(self, number: int) -> tuple[TrainableGenerator, TrainableGenerator]:
        """A generator and its running average."""
        knobs = self.knobs
        generator = torch.Generator().manual_seed(knobs.seed + number)
        tensors = untrained(width=knobs.width, blocks=knobs.blocks, blurred=self.blurred, generator=generator)
        made = TrainableGenerator(tensors, self.placement)
        return made, copy.deepcopy(made).requires_grad_(False)

    def new_discriminator(self, number: int) -> PatchGAN:
        """A discriminator."""
        knobs = self.knobs
        return PatchGAN(knobs.discriminator_width, knobs.discriminator_layers, knobs.seed + number)

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The generator and its average."""
        return [(self.generator, self.average)]

    def rate(self, share: float) -> float:
        """Constant for the first half, then to 0 in a line (arXiv:1703.10593, section 4)."""
        return min(1.0, (1 - share) / (1 - _DECAY))

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """The discriminator."""
        return [{"params": [*self.discriminator.parameters()]}]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with the papers' momentum for all."""
        learning = [one for part, _ in self.averaged_modules() for one in part.parameters() if one.requires_grad]
        groups = [{"params": learning}, *self.extra_parameter_groups()]
        return torch.optim.Adam(groups, lr=self.knobs.learning_rate, betas=_BETAS)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch of photographs, and as many paintings that the same numbers settle."""
        numbers = batch["numbers"]
        loss, parts = self.losses(self.inside(batch["images"]), self.inside(self._drawn(numbers)), numbers)
        self.note(parts)
        return loss.mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Of the running average: what tells of a collapse; the loss is the distance to paintings that it never saw."""
        pastiches = self.average.network()(self.inside(photographs.to(self.device)))
        paintings = self._unseen.to(self.device)
        distance = sliced_distance(pastiches, paintings)
        return {
            "diversity": diversity(pastiches, photographs.to(self.device)),
            "accuracy": self.discriminator.accuracy(self.inside(paintings), pastiches),
            "distance": distance,
            "loss": distance,
        }

    def advice(self, validations: Sequence[Mapping[str, float]]) -> dict[str, str]:
        """See `_collapse.advice`."""
        return advice(validations)

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:  # noqa: ARG002 - there is one
        """A photograph as a painting."""
        return self.translated(self.average, photograph)

    def translated(self, generator: TrainableGenerator, picture: Tensor) -> Tensor:
        """`(1, 3, H, W)` float32 of any size by one of the generators."""
        height, width = picture.shape[2:]
        padded = pad_to_multiple(picture, STRIDE, least=_LEAST * STRIDE)
        return crop_to(generator.network()(self.inside(padded)), height, width).float()

    def inside(self, pictures: Tensor) -> Tensor:
        """As the convolutions take them."""
        return pictures.to(self.placement.dtype).contiguous(memory_format=torch.channels_last)

    def _drawn(self, numbers: Tensor) -> Tensor:
        # another seed than the photographs', or a pair of crops would meet again and again
        crops, seed = self._paintings, self.knobs.seed + 1
        chosen = [items(number, 1, crops=len(crops), styles=1, seed=seed)[0].crop for number in numbers.tolist()]
        return torch.cat([images.to_tensor(crops[crop]) for crop in chosen]).to(numbers.device)


class ContrastiveTranslator(Translator):
    """CUT and FastCUT: each patch of the pastiche has to be told to belong to its place of the photograph.

    FastCUT asks no painting to stay as it is, and mirrors half of the batches, whose pastiche has to fit the photograph
    as it was.

    Paper: arXiv:2007.15651.
    """

    def __init__(self, knobs: TranslationKnobs, placement: Placement, paintings: Crops, unseen: Tensor) -> None:
        super().__init__(knobs, placement, paintings, unseen)
        wide = 4 * knobs.width
        self.vectors = PatchVectors((3, 2 * knobs.width, wide, wide, wide), knobs.seed)
        self._mirrors = knobs.objective == "fast"
        self._identity = 0.0 if self._mirrors else knobs.identity_weight

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """With the layers that make vectors."""
        return [*super().extra_parameter_groups(), {"params": [*self.vectors.parameters()]}]

    def losses(self, photographs: Tensor, paintings: Tensor, numbers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the adversary, of PatchNCE for photographs and for paintings, and of the discriminator."""
        count, network = len(photographs), self.generator.network()
        seed = [self.knobs.seed, 10, int(numbers[0])]
        mirrored = self._mirrors and np.random.default_rng([*seed, 1]).random() < 0.5
        source = torch.cat([photographs, paintings]) if self._identity else photographs
        made, keys = network.paint_with_features(source.flip(3) if mirrored else source)
        if mirrored:
            with torch.no_grad():
                keys = network.features(source)
        queries = network.features(made)
        if mirrored:
            queries = [one.flip(3) for one in queries]
        kept = self._structure(queries, keys, seed)  # (B,) of photographs, then of paintings
        parts = {
            "adversarial": self.discriminator.deceived(made[:count]),
            "structure": kept[:count],
            "discriminator": self.discriminator.mistaken(paintings, made[:count]),
        }
        structure = kept[:count]
        if self._identity:
            parts["identity"] = kept[count:]
            structure = (structure + self._identity * kept[count:]) / (1 + self._identity)
        return parts["adversarial"] + self.structure_weight * structure + parts["discriminator"], parts

    def _structure(self, queries: Sequence[Tensor], keys: Sequence[Tensor], seed: Sequence[int]) -> Tensor:
        places = drawn_places(queries, seed)
        with torch.no_grad():
            wanted = self.vectors(keys, places)
        pairs = zip(self.vectors(queries, places), wanted, strict=True)
        return torch.stack([patch_nce(ours, theirs) for ours, theirs in pairs]).mean(0)


class CycleTranslator(Translator):
    """CycleGAN: a second generator has to make the photograph again from its pastiche, and the other way round.

    Paper: arXiv:1703.10593.
    """

    def __init__(self, knobs: TranslationKnobs, placement: Placement, paintings: Crops, unseen: Tensor) -> None:
        super().__init__(knobs, placement, paintings, unseen)
        self.back, self.average_back = self.new_generator(1)
        self.back_discriminator = self.new_discriminator(1)
        self.pool, self.back_pool = ImagePool(knobs.crop, knobs.seed), ImagePool(knobs.crop, knobs.seed + 1)

    @property
    def blurred(self) -> bool:
        """By strides, as the paper has it."""
        return False

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """Both generators."""
        return [*super().averaged_modules(), (self.back, self.average_back)]

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """Both discriminators, each clipped apart."""
        return [*super().extra_parameter_groups(), {"params": [*self.back_discriminator.parameters()]}]

    def losses(self, photographs: Tensor, paintings: Tensor, numbers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Of both adversaries, of both ways there and back, of pictures that should stay, and of discriminators."""
        there, back = self.generator.network(), self.back.network()
        pastiches, undone = there(photographs), back(paintings)
        parts = {
            "adversarial": self.discriminator.deceived(pastiches) + self.back_discriminator.deceived(undone),
            "structure": _apart(back(pastiches), photographs) + _apart(there(undone), paintings),
            "discriminator": self.discriminator.mistaken(paintings, self.pool.exchanged(pastiches, numbers))
            + self.back_discriminator.mistaken(photographs, self.back_pool.exchanged(undone, numbers)),
        }
        kept = parts["structure"]
        if self.knobs.identity_weight:
            parts["identity"] = _apart(there(paintings), paintings) + _apart(back(photographs), photographs)
            kept = kept + 0.5 * self.knobs.identity_weight * parts["identity"]
        return parts["adversarial"] + self.structure_weight * kept + parts["discriminator"], parts


def check_crop(knobs: TranslationKnobs) -> None:
    """Raises InputError where crops are too small for the discriminator."""
    halved = 2**knobs.discriminator_layers
    if knobs.crop // halved < 4:
        raise InputError(
            f"a discriminator of {knobs.discriminator_layers} layers needs crops of {4 * halved} px",
            "use a larger --crop, or fewer --discriminator-layers",
        )


def translator(knobs: TranslationKnobs, placement: Placement, paintings: Crops, unseen: Tensor) -> Translator:
    """The learner of an objective."""
    made = CycleTranslator if knobs.objective == "cycle" else ContrastiveTranslator
    return made(knobs, placement, paintings, unseen)


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference `(B,)` of pictures in [0, 1], as if they were in [-1, 1]: the weights are meant so."""
    return 2 * (first.float() - second.float()).abs().mean((1, 2, 3))
