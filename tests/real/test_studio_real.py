"""The masks that the studio asks for, found by the real networks."""

import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from impasto.engine.engine import Engine
from impasto.serve.http import make_app
from impasto.serve.service import Service

pytestmark = pytest.mark.real


def test_the_subject_and_the_background_share_a_photograph(photos, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path))
    service = Service(Engine())
    service.start()
    client = TestClient(make_app(service))
    data = (photos / "astronaut.png").read_bytes()
    found = {}
    for what in ("subject", "background"):
        reply = client.post(f"/v1/masks?what={what}", files={"content": ("astronaut.png", data)})
        assert reply.status_code == 200, reply.text
        found[what] = np.asarray(Image.open(io.BytesIO(reply.content)).convert("L")).astype(float)
    service.close(0)
    assert found["subject"].shape == (512, 512)
    assert 0.2 < found["subject"].mean() / 255 < 0.8
    assert found["subject"] + found["background"] == pytest.approx(255, abs=2)
