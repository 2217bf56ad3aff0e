"""The table of measures: help, docs and `--metrics` all come from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from impasto.contract import STYLE_LAYERS
from impasto.errors import InputError
from impasto.settings import close_names

VGG19_ASSET = "vgg19-normalised"
LPIPS_ASSETS = {"vgg16": "lpips-vgg16", "alexnet": "lpips-alexnet"}
INCEPTION_ASSET = "inception-fid"


@dataclass(frozen=True)
class Metric:
    """One measure as a row.

    Attributes:
        name: the key in JSON and the word that `--metrics` takes.
        summary: one line for people.
        range: values that it can take, in words.
        direction: "lower" or "higher" is better, or "none": it describes and does not judge.
        source: the paper, or that it is ours.
        weakness: what it is known not to see.
        kind: "picture" (content, style and pastiche), "set" (folders) or "video".
        compares: what is set against what.
        needs: ids of the weights that it loads.
        least_side: shortest side in pixels that it can look at: of the content at the size of the scores, or of the
            pastiche as it is where nothing is compared with the content.
    """

    name: str
    summary: str
    range: str
    direction: str
    source: str
    weakness: str
    kind: str
    compares: str
    needs: tuple[str, ...] = ()
    least_side: int = 0


_TO_CONTENT, _TO_STYLE, ALONE = "pastiche with content", "pastiche with style", "pastiche alone"
_PAINTED = "output video, moved by the input's flow"

_GRAM = "arXiv:1508.06576, eq. 4, made relative"
_GRAM_WEAKNESS = "gradient descent on it reaches values that look no better; blind to where things are"


def _layer_row(layer: str) -> Metric:
    return Metric(
        f"style_distance_{layer}",
        f"relative squared distance of Gram matrices at {layer}",
        "0 up; 1 is as far as an empty map",
        "lower",
        _GRAM,
        f"one layer sees one size of texture only; {_GRAM_WEAKNESS}",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    )


_ROWS = (
    Metric(
        "style_distance",
        "relative squared distance of Gram matrices, mean over relu1_1 .. relu5_1",
        "0 up; 1 is as far as an empty map",
        "lower",
        _GRAM,
        f"{_GRAM_WEAKNESS}; a method that optimises it is judged by its own loss",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    ),
    *map(_layer_row, STYLE_LAYERS),
    Metric(
        "style_distance_large",
        "style_distance of both made smaller to 256 and to 128 px, mean: large strokes and shapes",
        "0 up; 1 is as far as an empty map",
        "lower",
        f"{_GRAM}, at two smaller sizes",
        "a motif of the painting pasted in lowers it; blind to fine detail, so a tinted photograph can score well",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    ),
    Metric(
        "stroke_distance",
        "distance of each place to the painting's place most like it, mean over relu2_1, relu3_1 and relu4_1",
        "0 to 1; rarely above 0.4",
        "lower",
        "arXiv:2203.13215, eq. 1, as a measure",
        "one stroke of the painting repeated everywhere scores well; a sample of places: thousandths are noise",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    ),
    Metric(
        "moment_distance",
        "relative squared distance of feature means and deviations, mean over relu1_1 .. relu5_1",
        "0 up; 1 is as far as an empty map",
        "lower",
        "arXiv:1703.06868, eq. 13, squared and made relative",
        "blind to how channels go together, so flat textures can score well",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    ),
    Metric(
        "sliced_wasserstein",
        "relative squared sliced Wasserstein distance of features, mean over relu1_1 .. relu5_1",
        "0 up; 1 is as far as an empty map",
        "lower",
        "arXiv:2006.07229, eq. 3, made relative",
        "64 fixed directions and a sample of positions: differences of a few per cent are noise",
        "picture",
        _TO_STYLE,
        (VGG19_ASSET,),
    ),
    Metric(
        "content_error",
        "relative squared distance of feature maps at relu4_1",
        "0 up; 1 is as far as an empty map",
        "lower",
        "arXiv:1508.06576, eq. 1, made relative",
        "a good painting moves and merges shapes, and is punished for it; the photograph itself scores 0",
        "picture",
        _TO_CONTENT,
        (VGG19_ASSET,),
    ),
    Metric(
        "layout",
        "relative squared difference of how alike the places of the picture are to one another",
        "0 up; 1 is as far as no layout",
        "lower",
        "arXiv:1904.12785, eq. 8, squared and made relative",
        "the photograph itself scores 0, and nearly so a tinted one or its negative; a small thing lost hardly counts",
        "picture",
        _TO_CONTENT,
        (VGG19_ASSET,),
    ),
    Metric(
        "photo_residue",
        "correlation of the luma's fine detail with the photograph's: what was left unpainted",
        "-1 to 1; a painting is near 0, up to about 0.3",
        "lower",
        "ours",
        "a shift by two pixels, or a blur with noise, brings it near 0 without painting, and a negative to -1; true "
        "edges kept sharp raise it",
        "picture",
        _TO_CONTENT,
    ),
    Metric(
        "lpips_vgg",
        "distance of VGG-16 features, weighted by people's judgements",
        "0 up; rarely above 1",
        "lower",
        "arXiv:1801.03924, version 0.1",
        "learned on small distortions of photographs, not on paintings of them",
        "picture",
        _TO_CONTENT,
        (LPIPS_ASSETS["vgg16"],),
    ),
    Metric(
        "lpips_alex",
        "distance of AlexNet features, weighted by people's judgements",
        "0 up; rarely above 1",
        "lower",
        "arXiv:1801.03924, version 0.1",
        "learned on small distortions of photographs, not on paintings of them",
        "picture",
        _TO_CONTENT,
        (LPIPS_ASSETS["alexnet"],),
    ),
    Metric(
        "ssim",
        "structural similarity of pixels in 11x11 windows",
        "-1 to 1",
        "higher",
        "Wang et al., IEEE TIP 13(4), 2004, eq. 13",
        "a colour change or a shift of one pixel counts as damage, so it favours weak stylisation",
        "picture",
        _TO_CONTENT,
        least_side=11,
    ),
    Metric(
        "ms_ssim",
        "structural similarity over five scales",
        "0 to 1",
        "higher",
        "Wang et al., Asilomar 2003, eq. 7",
        "as ssim, with more weight on large shapes; needs 176 px a side at longest side 512",
        "picture",
        _TO_CONTENT,
        least_side=176,
    ),
    Metric(
        "edge_preservation",
        "correlation of edge strength with the photograph's",
        "-1 to 1",
        "higher",
        "after Sattar et al., IEEE TIP 6(6), 1997",
        "brush strokes are edges too, and count against it",
        "picture",
        _TO_CONTENT,
    ),
    Metric(
        "histogram_distance",
        "Hellinger distance of joint RGB histograms",
        "0 to 1",
        "lower",
        "arXiv:2011.11731, eq. 4, on plain RGB",
        "blind to where colours are, and wrong where the photograph's colours were to be kept",
        "picture",
        _TO_STYLE,
    ),
    Metric(
        "grain_ratio",
        "mean size of the luma's finest detail over the painting's own",
        "0 up; 1 is as the painting",
        "none",
        "ours",
        "noise of the right strength scores 1; a scan's own noise or a canvas counts as the painting's",
        "picture",
        _TO_STYLE,
    ),
    Metric(
        "sharpness",
        "variance of the Laplacian, times 1000",
        "0 up",
        "none",
        "Pech-Pacheco et al., ICPR 2000",
        "noise is sharp, and a soft painting is right to be soft: compare with the style's own",
        "picture",
        ALONE,
    ),
    Metric(
        "checkerboard",
        "share of fine detail in grids of 2 and 4 pixels, as upsampling leaves them",
        "0 to 1",
        "lower",
        "ours; the artefact in Odena et al., Distill 2016",
        "a woven or printed pattern of that period is taken for one; resizing a picture hides it",
        "picture",
        ALONE,
        least_side=64,
    ),
    Metric(
        "weave",
        "share of fine detail in grids of 2, 4 and 8 pixels where the picture is flattest",
        "0 to 1",
        "lower",
        "ours; the artefact in Odena et al., Distill 2016",
        "blocks of a JPEG lie on that grid and are taken for it; a picture without flat places drowns it in strokes; "
        "resizing hides it",
        "picture",
        ALONE,
        least_side=64,
    ),
    Metric(
        "fid",
        "Frechet distance of Inception features of two sets",
        "0 up",
        "lower",
        "arXiv:1706.08500, eq. 6; resized with antialiasing as arXiv:2104.11222",
        "biased by the number of pictures; made for photographs, of things in ImageNet",
        "set",
        "pastiches with styles",
        (INCEPTION_ASSET,),
    ),
    Metric(
        "kid",
        "kernel distance of Inception features of two sets, unbiased",
        "around 0 up; may be negative",
        "lower",
        "arXiv:1801.01401, sec. 4",
        "swings widely for sets of tens; made for photographs, of things in ImageNet",
        "set",
        "pastiches with styles",
        (INCEPTION_ASSET,),
    ),
    Metric(
        "artfid",
        "(1 + LPIPS) (1 + FID), with LPIPS of AlexNet",
        "1 up",
        "lower",
        "arXiv:2207.12280, eq. 1, with the plain Inception, not the one tuned on art",
        "not comparable with published values, which use another Inception; FID's bias times LPIPS'",
        "set",
        "pastiches with styles and contents",
        (INCEPTION_ASSET, LPIPS_ASSETS["alexnet"]),
    ),
    Metric(
        "warping_error_1",
        "difference of neighbouring frames along the input's motion, root mean square",
        "0 to 1",
        "lower",
        "arXiv:1808.00449, eq. 10; root as in arXiv:1807.01197, eq. 13",
        "blur lowers it, and the flow's own mistakes raise it: compare with the input's own value",
        "video",
        _PAINTED,
    ),
    Metric(
        "warping_error_10",
        "the same between frames ten apart",
        "0 to 1",
        "lower",
        "arXiv:1808.00449, sec. 4.2 (long-term), over ten frames",
        "few pixels stay in sight that long where much moves",
        "video",
        _PAINTED,
    ),
    Metric(
        "flicker",
        "change of mean brightness from frame to frame that the input lacks, root mean square",
        "0 to 1",
        "lower",
        "ours; global flicker in Bonneel et al., ACM TOG 34(6), 2015",
        "blind to textures that boil in place, which warping_error_1 sees",
        "video",
        "output video with input video",
    ),
    Metric(
        "drift",
        "move of colours from the first quarter to the last that the input lacks",
        "0 up; rarely above 0.5",
        "lower",
        "ours",
        "a style that stretches contrast stretches the input's own changes, and they count",
        "video",
        "output video with input video",
    ),
)

METRICS: Mapping[str, Metric] = {row.name: row for row in _ROWS}
"""All measures by name."""


def names_of(kind: str) -> tuple[str, ...]:
    """The names of one kind: "picture", "set" or "video"."""
    return tuple(row.name for row in _ROWS if row.kind == kind)


def check_names(names: Iterable[str], kinds: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in their order.

    Raises:
        InputError: one is unknown, or belongs to another kind.
    """
    allowed = set(kinds)
    for name in (wanted := tuple(dict.fromkeys(names))):
        if name not in METRICS:
            raise InputError(f"there is no measure {name!r}", close_names(name, METRICS))
        if METRICS[name].kind not in allowed:
            needs = {"video": "two videos, after --video", "set": "folders of pictures", "picture": "pictures"}
            raise InputError(f"{name} measures {METRICS[name].kind}s", f"it needs {needs[METRICS[name].kind]}")
    if not wanted:
        raise InputError("no measure was named", close_names("", METRICS))
    return wanted
