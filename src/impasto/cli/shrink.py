"""`impasto prune` and `impasto quantize`: smaller and faster networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from impasto import settings
from impasto.assets import SAMPLE, Store
from impasto.cli import flags
from impasto.cli.flags import with_options
from impasto.cli.printing import say, say_json
from impasto.cli.train import collection, knob_options, sample_folders
from impasto.errors import InputError, require_installed
from impasto.files import check_apart, check_no_folder, write_whole
from impasto.methods.settings import DistillKnobs
from impasto.models import catalog, checkpoint, codecs, onnx_files
from impasto.runtimes.sessions import RUNTIMES
from impasto.train.data import check_photographs

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.export.prune import Pruned
    from impasto.export.prune_adain import PrunedCodec
    from impasto.models.codecs import Codec
    from impasto.models.networks import Trained
    from impasto.train import TrainingJob, TrainingStyle

ADAIN = "adain"

_EXTRA = "compress"
_FITTED = 16  # pairs of a photograph and a painting that AdaIN's layers are fitted on
_FITTED_SIDES = (192, 256)
_ADAIN_RATE = 5e-5  # its weights begin near where they end
_LOOKED_AT = 4  # photographs that pruning is guided by
_GUIDING = (96, 128)  # their height and width

_PRUNE_EXAMPLES = """\b
Examples:
  impasto prune pack --ratio 0.5 --content photographs -o half.safetensors
  impasto prune adain --ratio 0.5 --content photographs --minutes 60 -o adain-half.safetensors"""

_Network = Annotated[
    str,
    typer.Argument(help="A trained network: a .safetensors file, or pack; or adain, or a file of impasto train adain."),
]
_Content = Annotated[
    Path | None,
    typer.Option("--content", "-c", help="Folder of photographs, or sample: photographs that are fetched."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the outcome as a JSON object.")]


_MakeJob: TypeAlias = "Callable[[dict[str, Any], Reporter], tuple[TrainingJob, Pruned | PrunedCodec]]"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("prune", epilog=_PRUNE_EXAMPLES)(with_options(prune, knob_options(DistillKnobs)))
    app.command("quantize", epilog="Example: impasto quantize pack --content photographs -o pack-int8.onnx")(quantize)


def prune(
    network: _Network,
    ratio: Annotated[float, typer.Option(help="Share of the parameters to take away.")] = 0.5,
    content: _Content = None,
    paintings: Annotated[
        str | None, typer.Option(help="For adain, paintings to learn on: museum (the library), or a folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, NAME.safetensors.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Take channels out of a trained network, or of AdaIN, and train it to paint the same pictures again."""
    if not 0 < ratio < 1:
        raise InputError(f"--ratio is {ratio:g}", "it takes a number between 0 and 1, such as 0.5")
    target = _target(out, network, "pruned", checkpoint.SUFFIX)
    is_adain = network == ADAIN or codecs.is_codec(Path(network))
    check_apart({"-o": target}, [network])
    if is_adain:
        knobs["learning_rate"] = knobs.get("learning_rate") or _ADAIN_RATE
    asked = settings.build(DistillKnobs, knobs, owner="prune")
    make = _adain_job(network, paintings, ratio) if is_adain else _network_job(network, paintings, ratio)
    folders_of = _content(content)
    require_installed("lightning", "train")
    from impasto import device as hardware
    from impasto import train
    from impasto.cli.console import Reporter

    train.check_target(target, resume=resume)
    with Reporter() as reporter:
        folders = folders_of(reporter)
        common = {"source": folders, "target": target, "knobs": asked, "resume": resume}
        job, pruned = make(common, reporter)
        placement = hardware.place(device, precision, tested=("float32", "bfloat16"))
        result = train.train(job, weights={}, placement=placement, on_progress=reporter, on_note=reporter.note)
        whole, left = pruned.parameters
        reporter.note(f"{whole:,} parameters became {left:,}; {result.steps} steps of training")
        for group in pruned.sensitivities:
            reporter.note(f"{', '.join(group.layers)}: {group.before} channels became {group.after}")
    if as_json:
        told = [dataclasses.asdict(group) for group in pruned.sensitivities]
        say_json({"path": str(target), "parameters": left, "full_parameters": whole, "groups": told, **result.losses})
    else:
        say(target)


def _network_job(network: str, paintings: str | None, ratio: float) -> _MakeJob:
    """Prunes a trained network."""
    source = _source(network)
    if paintings is not None:
        raise InputError("--paintings is for adain; a trained network has styles of its own", "leave it out")
    require_installed("torch_pruning", _EXTRA)

    def make(common: dict[str, Any], reporter: Reporter) -> tuple[TrainingJob, Pruned]:
        from impasto import train

        full = train.load(str(source))
        pruned = _pruned(full, common["source"], ratio, reporter)
        return train.Distillation(**common, pruned=pruned.trained, full=full), pruned

    return make


def _adain_job(network: str, paintings: str | None, ratio: float) -> _MakeJob:
    """Prunes AdaIN's encoder and decoder, the full ones or those of a file."""
    chosen = paintings or "museum"
    if chosen != "museum" and not Path(chosen).is_dir():
        raise InputError(f"there is no folder {chosen}", "name one with paintings, or museum")

    def make(common: dict[str, Any], reporter: Reporter) -> tuple[TrainingJob, PrunedCodec]:
        from impasto import train
        from impasto.assets import load_weights

        check_photographs(common["source"])  # before minutes go into reading paintings
        store = Store()
        if network == ADAIN:
            weights = {name: load_weights(store, name, on_progress=reporter) for name in codecs.ASSETS}
            full = codecs.Codec.of_assets(weights)
        else:
            full = codecs.read(Path(network))
        learnt, _ = collection(store, chosen, common["knobs"].seed, reporter)
        pruned = _pruned_codec(full, common["source"], learnt, ratio, reporter)
        return train.CodecDistillation(**common, pruned=pruned.codec, full=full, training_styles=learnt), pruned

    return make


def quantize(
    network: Annotated[str, typer.Argument(help="A trained network: a .safetensors or .onnx file, or pack.")],
    content: _Content = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, NAME.onnx.")] = None,
    least_ssim: Annotated[
        float, typer.Option(help="Layers stay in float32 until pictures are as alike as this (SSIM, 1 for the same).")
    ] = 0.95,
    runtime: Annotated[
        str, typer.Option(help="What compares and times it: openvino, onnx, or auto: OpenVINO if it is installed.")
    ] = "auto",
    threads: flags.Threads = None,
    as_json: _Json = False,
) -> None:
    """Write a trained network in INT8, calibrated on photographs; the file is a style like any other."""
    flags.use_threads(threads)
    if not 0 <= least_ssim <= 1:
        raise InputError(f"--least-ssim is {least_ssim:g}", "it takes a number from 0 to 1")
    source, target = _source(network), _target(out, network, "int8", onnx_files.SUFFIX)
    check_apart({"-o": target}, [source])
    folders_of = _content(content)
    chosen = _chosen_runtime(runtime)
    for package in ("nncf", "onnx"):
        require_installed(package, _EXTRA)
    from impasto.cli.console import Reporter
    from impasto.export.quantize import quantise, read_photographs

    with Reporter() as reporter:
        photographs = read_photographs(folders_of(reporter))
        made = quantise(source, photographs, runtime=chosen, least_ssim=least_ssim, on_progress=reporter)
        write_whole(target, made.data)
        told = made.report()
        reporter.note(
            f"{told['bytes']:,} bytes, {told['float32_bytes']:,} in float32; {told['times_faster']:.1f} times as fast "
            f"in {chosen}; SSIM {told['ssim']:.3f}, PSNR {told['psnr']:.1f} dB, {100 * told['bands']:.1f} % in bands"
        )
        if made.float_layers:
            reporter.note(f"in float32 stay {', '.join(made.float_layers)}")
    if as_json:
        say_json({"path": str(target), **told})
    else:
        say(target)


def _source(network: str) -> Path:
    """The file of a network. Raises InputError where it is none that has styles of its own."""
    if network in ("adain", "microast") and not Path(network).exists():
        raise InputError(
            f"{network} is not a trained network",
            "give pack or a .safetensors file; impasto prune adain makes AdaIN smaller",
        )
    source = catalog.PACK if network == "pack" else Path(network)
    catalog.listing(source)
    return source


def _target(out: Path | None, network: str, word: str, suffix: str) -> Path:
    """The file to write; beside the network, by a name of its own, where none was named."""
    beside = Path("pack") if network == "pack" else Path(network).with_suffix("")
    target = out or beside.with_name(f"{beside.name}-{word}{suffix}")
    if target.suffix.lower() != suffix:
        raise InputError(f"{target} is not a {suffix} file", f"give a name that ends in {suffix} with -o")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist", "make it first, or name another with -o")
    check_no_folder(target)
    return target


def _content(content: Path | None) -> Callable[[Reporter], list[Path]]:
    """What gives the folders of photographs, which may have to be fetched."""
    if content is None:
        raise InputError("no photographs were given", "name a folder of them with --content; or --content sample")
    if str(content) == SAMPLE and not content.exists():
        return lambda reporter: sample_folders(Store(), reporter)
    if not content.is_dir():
        raise InputError(f"there is no folder {content}", "name one with photographs, or sample")
    return lambda _reporter: [content]


def _chosen_runtime(runtime: str) -> str:
    if runtime not in ("auto", *RUNTIMES):
        raise InputError(f"--runtime is {runtime!r}", f"it is one of auto, {', '.join(RUNTIMES)}")
    chosen = runtime if runtime != "auto" else "openvino" if RUNTIMES["openvino"].is_installed else "onnx"
    RUNTIMES[chosen].check_installed()
    return chosen


def _pruned(full: Trained, folders: list[Path], ratio: float, reporter: Reporter) -> Pruned:
    """The narrower network, before it is trained."""
    import torch

    from impasto.export import prune as pruning
    from impasto.export.quantize import read_photographs

    seen = [torch.from_numpy(one)[None] for one in read_photographs(folders)[:_LOOKED_AT]]
    small = [torch.nn.functional.interpolate(one, _GUIDING, mode="area") for one in seen]
    return pruning.prune(full, small, ratio=ratio, on_progress=reporter)


def _pruned_codec(
    full: Codec, folders: list[Path], paintings: list[TrainingStyle], ratio: float, reporter: Reporter
) -> PrunedCodec:
    """AdaIN's narrower networks, before they are trained."""
    from impasto.export import prune_adain
    from impasto.export.quantize import read_photographs

    seen = read_photographs(folders)
    seen = [seen[number % len(seen)] for number in range(_FITTED)]
    shown = [painting.pixels.transpose(2, 0, 1) for painting in paintings[:_FITTED]]
    pairs = prune_adain.paired(seen, shown, _FITTED_SIDES)
    return prune_adain.prune(full, *pairs, ratio=ratio, on_progress=reporter)
