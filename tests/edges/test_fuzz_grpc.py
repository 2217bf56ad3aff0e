"""Mutated messages of gRPC: whatever comes, the service answers, tells no error of its own, and goes on.

`make test-fuzz` runs thousands; `IMPASTO_FUZZ` is the number of cases.
"""

import logging
import os
import random

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from impasto.protos import impasto_v1_pb2 as pb
from impasto.serve.service import Service
from impasto.serve.settings import ServeSettings
from serving import GrpcRunning, png

CASES = int(os.environ.get("IMPASTO_FUZZ", "150"))
LIMITS = ServeSettings(body_bytes=1 << 20, max_pixels=20_000, job_seconds=1.0, body_seconds=5.0, decode_seconds=5.0)
ODD_TEXT = [
    "",
    "\0",
    "a" * 5000,
    "../../etc/passwd",
    "http://127.0.0.1/",
    "museum:1",
    "pack:x",
    "é\u202e",
    "-1",
    "1e999",
    "nan",
]
ODD_NUMBERS = [0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324]
OURS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
CALLS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["Impasto"].methods}


class Fuzzer:
    """Makes requests of sense, and takes sense out of them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.photo, self.painting = png(0), png(1)

    def case(self):
        """The name of a call and its messages, as bytes."""
        name = self.random.choice([*CALLS, "Stylize", "StylizeStream", "StylizeFrames"])
        made = [self._mutated(message) for message in self._messages(name)]
        if self.random.random() < 0.2:
            self.random.shuffle(made)
        data = [message.SerializeToString() for message in made]
        if data and self.random.random() < 0.5:
            index = self.random.randrange(len(data))
            data[index] = self._garbled(data[index])
        return name, data

    def _messages(self, name):
        if name in ("Stylize", "StylizeStream", "SubmitJob"):
            options = pb.Options(quality="draft", settings={"strength": "0.5"}, styles=[pb.Style(source="painting")])
            return [pb.StylizeRequest(options=options), *(pb.StylizeRequest(picture=one) for one in self._pictures())]
        if name == "StylizeFrames":
            options = pb.FrameOptions(options=pb.Options(styles=[pb.Style(source="painting")]))
            frames = [pb.Frame(number=number, data=self.photo) for number in range(2)]
            frames.append(pb.Frame(encoding=pb.ENCODING_RGB, data=bytes(3 * 64 * 48), width=64, height=48))
            return [
                pb.FrameRequest(options=options),
                *(pb.FrameRequest(picture=one) for one in self._pictures()[1:]),
                *(pb.FrameRequest(frame=frame) for frame in frames),
            ]
        kinds = {"ListJobs": pb.ListJobsRequest, "WatchJob": pb.WatchJobRequest, "ListStyles": pb.ListStylesRequest}
        kinds |= {"ListMethods": pb.ListMethodsRequest}
        return [kinds.get(name, pb.JobRequest)()]

    def _pictures(self):
        return [pb.Chunk(name="content", data=self.photo), pb.Chunk(name="painting", data=self.painting)]

    def _mutated(self, message):
        for field in message.DESCRIPTOR.fields:
            if self.random.random() < 0.08:
                self._change(message, field)
            elif field.message_type is not None and not field.is_repeated and message.HasField(field.name):
                self._mutated(getattr(message, field.name))
        return message

    def _change(self, message, field):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[self.random.choice([*ODD_TEXT, "strength", "steps"])] = self._text()
        elif field.is_repeated and field.message_type is not None:
            self._mutated(getattr(message, field.name).add())
        elif field.is_repeated:
            getattr(message, field.name).append(self._value(field))
        elif field.message_type is not None:
            self._mutated(getattr(message, field.name))
        else:
            setattr(message, field.name, self._value(field))

    def _value(self, field):
        kinds = {
            field.CPPTYPE_STRING: self._text if field.type == field.TYPE_STRING else self._bytes,
            field.CPPTYPE_DOUBLE: lambda: self.random.choice(ODD_NUMBERS),
            field.CPPTYPE_BOOL: lambda: True,
            field.CPPTYPE_ENUM: lambda: self.random.choice([0, 1, 2, 77, -1]),
        }
        return kinds.get(field.cpp_type, lambda: self.random.choice([0, 1, 7, 1 << 31, (1 << 32) - 1]))()

    def _text(self):
        return self.random.choice(ODD_TEXT)

    def _bytes(self):
        return self.random.choice(
            [b"", self.photo[: self.random.randrange(len(self.photo))], self.random.randbytes(99)]
        )

    def _garbled(self, data):
        """Bytes flipped, lost, doubled or put in."""
        changed = bytearray(data)
        for _ in range(self.random.randint(1, 8)):
            place = self.random.randrange(len(changed) + 1)
            kind = self.random.randrange(4)
            if kind == 0 and place < len(changed):
                changed[place] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                del changed[place : place + self.random.randrange(40)]
            elif kind == 2:
                changed[place:place] = self.random.randbytes(self.random.randrange(20))
            else:
                changed += changed[place : place + 50]
        return bytes(changed)


def sent(channel, name, data):
    """The code with which a call ends."""
    row = CALLS[name]
    kinds = "_".join(("unary", "stream")[streaming] for streaming in (row.client_streaming, row.server_streaming))
    call = getattr(channel, kinds)(f"/impasto.v1.Impasto/{name}")
    asked = iter(data) if row.client_streaming else data[0]
    try:
        answer = call(asked, timeout=120)
        if row.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@pytest.mark.timeout(60 + CASES)
def test_mutated_messages_leave_the_service_well(engine, caplog):
    service = Service(engine, LIMITS)
    service.start()
    running = GrpcRunning(service)
    fuzzer, codes = Fuzzer(17), {}
    try:
        with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel, caplog.at_level(logging.ERROR):
            for number in range(CASES):
                name, data = fuzzer.case()
                code, told = sent(channel, name, data)
                assert code not in OURS, (number, name, told, [one[:200] for one in data])
                codes[code] = codes.get(code, 0) + 1
            check = health_pb2_grpc.HealthStub(channel).Check
            assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
            plain = [pb.StylizeRequest(options=pb.Options(quality="draft", styles=[pb.Style(source="painting")]))]
            plain += [pb.StylizeRequest(picture=one) for one in fuzzer._pictures()]
            assert sent(channel, "Stylize", [one.SerializeToString() for one in plain])[0] is grpc.StatusCode.OK
    finally:
        running.close()
    assert not caplog.records, caplog.text
    assert codes[grpc.StatusCode.OK] > CASES / 20
    assert codes[grpc.StatusCode.INVALID_ARGUMENT] > CASES / 20
