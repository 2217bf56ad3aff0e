"""gRPC with real weights: a painting of the museum, and a film whose frames are held together."""

import itertools

import grpc
import numpy as np
import pytest
from PIL import Image

import impasto
from impasto.client import Client
from impasto.engine.engine import Engine
from impasto.protos import impasto_v1_pb2 as pb
from impasto.serve.service import Service
from impasto.videos import live_frames
from serving import GrpcRunning

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def running(store):
    service = Service(Engine(store=store))
    service.start()
    running = GrpcRunning(service)
    yield running
    running.close()


def test_a_museum_painting_comes_back_as_the_engine_paints_it(running, photos):
    with Client(f"grpc://127.0.0.1:{running.port}") as client:
        painting = client.stylize(photos / "chelsea.png", "museum:436535", quality="draft", size=128)
        assert "museum:436535" in [style.id for style in client.styles("cypresses")]
    own = running.service.engine.stylize(
        photos / "chelsea.png", "museum:436535", impasto.Request(quality="draft", size=128)
    )
    assert np.abs(np.asarray(painting.image).astype(int) - np.asarray(own.image)).mean() < 1


def test_a_film_flickers_less_when_it_is_held_together(running, store):
    """Eight frames of a real film in a trained style."""
    film = store.file("clips", "bigbuckbunny.mp4")
    frames = [pixels for pixels, _ in itertools.islice(live_frames(str(film), size=160), 8)]

    def sent(temporal):
        options = pb.Options(styles=[pb.Style(source="pack:irises")])
        yield pb.FrameRequest(options=pb.FrameOptions(options=options, temporal=temporal))
        for number, pixels in enumerate(frames):
            height, width = pixels.shape[:2]
            data = np.rint(255 * pixels).astype(np.uint8).tobytes()
            frame = pb.Frame(number=number, encoding=pb.ENCODING_RGB, data=data, width=width, height=height)
            yield pb.FrameRequest(frame=frame)

    moved = {}
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        call = channel.stream_stream(
            "/impasto.v1.Impasto/StylizeFrames",
            request_serializer=pb.FrameRequest.SerializeToString,
            response_deserializer=pb.Frame.FromString,
        )
        for temporal in ("off", "fast"):
            painted = [Image.frombytes("RGB", (one.width, one.height), one.data) for one in call(sent(temporal))]
            assert len(painted) == len(frames)
            shown = [np.asarray(one).astype(float) for one in painted]
            moved[temporal] = np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(shown)])
    assert moved["fast"] < moved["off"]
