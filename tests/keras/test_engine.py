"""KerasEngine and the parts in Python: precision, cancelling, what is told of wrong arguments."""

import numpy as np
import pytest


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def mixed(request, backend):
    from impasto.keras import KerasEngine

    return KerasEngine(backend=backend, precision=request.param)


@pytest.mark.parametrize("method", ["adain", "feedforward"])
def test_networks_in_mixed_precision(engine, mixed, photo, painting, method):
    from impasto.engine.request import Request

    style = painting if method == "adain" else "pack:irises"
    half, whole = (each.stylize(photo, style, Request(method=method)) for each in (mixed, engine))
    assert half.record["precision"] == mixed.precision
    assert 0 < np.abs(half.picture.pixels - whole.picture.pixels).mean() < 0.02


def test_the_optimisation_in_mixed_precision(engine, mixed, photo, painting):
    """Its losses begin and end near those of float32."""
    from impasto.engine.request import Request

    steps = 10 if mixed.precision == "bfloat16" else 6  # processors are slow at float16
    request = Request(knobs={"steps": steps, "coarsest": 96})
    half, whole = (each.stylize(photo, painting, request).losses for each in (mixed, engine))
    assert half[0] != whole[0]
    for step in (0, -1):
        for name in ("content", "style", "strokes", "total"):
            assert half[step][name] == pytest.approx(whole[step][name], rel=0.05), (step, name)
    assert whole[-1]["total"] < 0.9 * whole[0]["total"]


def test_a_gradient_out_of_range_is_told(photo, painting, backend):
    from impasto.engine.request import Request
    from impasto.errors import InputError
    from impasto.keras import KerasEngine

    narrow = KerasEngine(backend=backend, precision="float16")
    request = Request(knobs={"steps": 1, "coarsest": 96, "style_weight": 1e3, "content_weight": 1e3})
    with pytest.raises(InputError, match="the gradient leaves the range") as refused:
        narrow.stylize(photo, painting, request)
    assert "float32" in refused.value.hint


def test_cancelling_gives_the_best_picture_so_far(engine, photo, painting):
    from impasto.engine.request import Request
    from impasto.errors import Cancelled

    reports = []

    def stop(progress):
        reports.append(progress)
        if progress.step == 5:
            raise Cancelled

    with pytest.raises(Cancelled) as stopped:
        engine.stylize(photo, painting, Request(knobs={"steps": 4, "coarsest": 48}), on_progress=stop)
    result = stopped.value.result
    assert result.picture.pixels.shape == photo.shape
    assert len(result.losses) == 5
    assert [one.step for one in reports] == sorted(one.step for one in reports)
    assert all(0 <= one.share < 1 for one in reports)


def test_a_size_is_compiled_once(engine, photo, painting, monkeypatch):
    from impasto.engine.request import Request
    from impasto.keras import backends

    compiled, scored = [], backends.scored
    monkeypatch.setattr(backends, "scored", lambda *parts: compiled.append(1) or scored(*parts))
    request = Request(knobs={"steps": 2, "coarsest": 48, "tv_weight": 1.5})
    first, _, other = (engine.stylize(one, painting, request) for one in (photo, photo, photo[::-1].copy()))
    assert len(compiled) == 2  # levels
    assert np.abs(first.picture.pixels - other.picture.pixels).mean() > 0.1


def test_progress_ends_at_its_total(engine, photo, painting):
    from impasto.engine.request import Request

    reports = []
    result = engine.stylize(photo, painting, Request(knobs={"steps": 2, "coarsest": 48}), on_progress=reports.append)
    assert reports[-1].step == reports[-1].total == len(result.losses)
    assert reports[-1].share == pytest.approx(1)
    totals = [losses["total"] for losses in result.losses]
    assert totals[-1] < totals[-2]


WRONG = [
    (lambda keras, model: keras.vgg19([]), "no layer of VGG-19 is named"),
    (lambda keras, model: keras.vgg19(["block9_conv1"]), "Keras' VGG-19 has no layer 'block9_conv1'"),
    (lambda keras, model: keras.vgg19(["block1_conv1"], weights=model), "weights has no layer block1_conv1"),
    (lambda keras, model: keras.KerasEngine(backend=["jax"]), "there is no backend"),
    (lambda keras, model: keras.feedforward("photo.jpg"), "photo.jpg is not a style of a trained network"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_python_gives_wrongly_is_told(backend, call, message):
    import impasto.keras
    from impasto.errors import InputError

    impasto.keras.use_backend(backend)
    import keras

    with pytest.raises(InputError, match=message):
        call(impasto.keras, keras.Sequential([keras.layers.Input((4,))]))


def test_one_layer_may_be_named_by_itself(backend):
    from impasto.keras import use_backend, vgg19

    use_backend(backend)
    assert set(vgg19("block1_conv2").output) == {"block1_conv2"}


def test_python_is_told_of_arguments_not_of_flags(backend, photo, painting):
    import impasto.keras
    from impasto.errors import ResourceError

    with pytest.raises(ResourceError) as refused:
        impasto.keras.stylize(photo, painting, backend=backend, precision="bfloat16", max_memory="100kB")
    assert refused.value.hint.startswith('use max_memory="')


def test_a_backend_that_is_not_installed(monkeypatch):
    from impasto.errors import MissingExtra
    from impasto.keras import backends

    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "torch" else True)
    with pytest.raises(MissingExtra, match="PyTorch is not installed") as missing:
        backends.use_backend("torch")
    assert missing.value.hint == 'pip install "impasto[keras]" torch'


def test_a_backend_cannot_be_changed(engine, backend):
    from impasto.errors import InputError
    from impasto.keras import use_backend

    use_backend(backend)  # the same again
    with pytest.raises(InputError, match="cannot change to") as changed:
        use_backend("jax" if backend == "tensorflow" else "tensorflow")
    assert "new Python" in changed.value.hint


def test_without_keras_it_is_told(monkeypatch):
    from impasto.errors import MissingExtra
    from impasto.keras import backends

    monkeypatch.setattr(backends, "_has_keras", lambda: False)
    with pytest.raises(MissingExtra, match="Keras is not installed") as missing:
        backends.use_backend("jax")
    assert missing.value.hint == 'pip install "impasto[keras]" jax'


def test_transparent_pictures_are_refused(engine, photo, painting):
    from impasto.errors import InputError

    clear = np.dstack([photo, np.linspace(0, 1, photo.shape[1], dtype=np.float32)[None].repeat(len(photo), 0)])
    with pytest.raises(InputError, match="picture is transparent in parts") as refused:
        engine.stylize(clear, painting)
    assert "save it on a plain ground" in refused.value.hint


@pytest.mark.parametrize("method", ["adain", "feedforward", "optimize"])
def test_a_picture_that_is_opaque_everywhere_is_painted_and_keeps_its_alpha(engine, photo, painting, method):
    from impasto.engine.request import Request

    opaque = np.dstack([photo, np.ones(photo.shape[:2], np.float32)])
    style, knobs = "pack:irises" if method == "feedforward" else painting, {}
    if method == "optimize":
        knobs = {"steps": 1, "coarsest": 96}
    one, other = (engine.stylize(each, style, Request(method=method, knobs=knobs)) for each in (opaque, photo))
    assert np.array_equal(one.picture.pixels, other.picture.pixels)
    assert one.picture.alpha.min() == 1
