"""The gRPC interface: its messages are those of the .proto, everything in it is explained, and the wheel has it."""

import re
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf")

import impasto.protos
from impasto.protos import impasto_v1_pb2 as pb

FOLDER = Path(impasto.protos.__file__).parent
PROTO = FOLDER / "impasto_v1.proto"


def test_the_messages_are_as_generated_afresh(tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc")
    arguments = ["protoc", f"-I{FOLDER}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", str(PROTO)]
    assert protoc.main(arguments) == 0
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (FOLDER / made.name).read_bytes(), f"{made.name} is old: make protos"


def test_the_package_carries_its_version():
    assert pb.DESCRIPTOR.package == "impasto.v1"
    assert [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()] == ["impasto.v1.Impasto"]


def test_every_call_is_explained():
    lines = PROTO.read_text().splitlines()
    calls = [index for index, line in enumerate(lines) if line.lstrip().startswith("rpc ")]
    assert len(calls) == len(pb.DESCRIPTOR.services_by_name["Impasto"].methods)
    bare = [lines[index] for index in calls if not lines[index - 1].lstrip().startswith("//")]
    assert not bare


def test_settings_and_controls_of_the_engine_have_their_fields():
    """What a picture can be asked for on the command line can be asked for here."""
    from dataclasses import fields

    from impasto.engine.controls import Controls
    from impasto.engine.request import Request

    ours = set(pb.Options.DESCRIPTOR.fields_by_name)
    elsewhere = {"knobs", "controls", "snapshots", "max_pixels", "max_memory"}  # `settings`; the server's own limits
    assert {field.name for field in fields(Request)} - elsewhere <= ours
    arrays = {"directions"}  # of letters; no flag gives them
    assert {field.name for field in fields(Controls)} - arrays <= ours


def test_every_control_of_the_command_line_goes_over_http_and_grpc():
    import typer

    from impasto.cli import app
    from impasto.serve.fields import _REFUSED, OWN, knob_table

    command = typer.main.get_command(app.app).commands["stylize"]
    flags = {flag.removeprefix("--") for entry in command.params for flag in entry.opts if flag.startswith("--")}
    of_the_terminal = {"json", "quiet", "debug", "recursive", "plot", "preview", "time-lapse"}
    settings = {name.replace("_", "-") for name in knob_table()}
    assert flags - of_the_terminal - set(_REFUSED) <= settings | set(OWN)
    # gRPC has fields for what every method takes; those of methods are in `settings`
    fields = {name.replace("_", "-") for name in pb.Options.DESCRIPTOR.fields_by_name}
    assert {{"style": "styles", "region": "regions"}.get(name, name) for name in OWN} - {"weight"} <= fields


def test_numbers_of_fields_follow_each_other():
    """A gap would be a field that was taken away: it needs `reserved`."""
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        numbers = sorted(field.number for field in message.fields)
        assert numbers == list(range(1, len(numbers) + 1)), message.name
    assert not re.search(r"^\s*(required|group)\b", PROTO.read_text(), re.MULTILINE)
