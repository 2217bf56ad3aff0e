"""What deploy/ says holds: options, ports, probes and variables are the code's, and linters find nothing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from impasto.cli import app
from impasto.serve.access import check_listening
from impasto.serve.settings import Listening

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HTTP, GRPC = "8000", "50051"


def read(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def documents():
    return {document["kind"]: document for document in yaml.safe_load_all(read("kubernetes.yaml"))}


def container():
    (only,) = documents()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


def commands():
    """The words after `impasto serve` of each file."""
    dockerfile = read("Dockerfile")
    words = {name: re.search(rf"^{name} (\[.*\])$", dockerfile, re.MULTILINE)[1] for name in ("ENTRYPOINT", "CMD")}
    entry, more = (yaml.safe_load(words[name]) for name in ("ENTRYPOINT", "CMD"))
    unit = shlex.split(re.search(r"^ExecStart=\S+/(impasto .*)$", read("impasto.service"), re.MULTILINE)[1])
    return {"Dockerfile": entry[2:] + more, "systemd": unit[2:], "kubernetes": entry[2:] + container()["args"]}


@pytest.mark.parametrize("name", ["Dockerfile", "systemd", "kubernetes"])
def test_the_options_are_those_of_the_command(name):
    command = typer.main.get_command(app.app).commands["serve"]
    words = commands()[name]
    known = {flag for entry in command.params for flag in entry.opts}
    assert {word for word in words if word.startswith("--")} <= known
    context = command.make_context("serve", list(words), resilient_parsing=True)
    assert (str(context.params["http"]), str(context.params["grpc"])) == (HTTP, GRPC)
    assert context.params["host"] == ("127.0.0.1" if name == "systemd" else "0.0.0.0")


def test_an_open_address_has_a_key():
    """The container listens to all, so the service asks for one; compose and Kubernetes give it."""
    with pytest.raises(Exception, match="key"):
        check_listening(Listening("0.0.0.0"))
    environment = yaml.safe_load(read("compose.yaml"))["services"]["impasto"]["environment"]
    assert environment["IMPASTO_KEYS"].startswith("${IMPASTO_KEYS:?")
    (variable,) = container()["env"]
    assert (variable["name"], variable["valueFrom"]["secretKeyRef"]["name"]) == ("IMPASTO_KEYS", "impasto")


def test_ports_agree():
    exposed = re.search(r"^EXPOSE (.*)$", read("Dockerfile"), re.MULTILINE)[1].split()
    assert exposed == [HTTP, GRPC]
    assert {str(port["containerPort"]) for port in container()["ports"]} == {HTTP, GRPC}
    names = {port["name"] for port in container()["ports"]}
    service = documents()["Service"]["spec"]
    assert {port["targetPort"] for port in service["ports"]} == names
    assert service["selector"].items() <= documents()["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    published = yaml.safe_load(read("compose.yaml"))["services"]["impasto"]["ports"]
    assert published == [f"127.0.0.1:{port}:{port}" for port in (HTTP, GRPC)]


def test_probes_are_answered_without_a_key(engine):
    from starlette.testclient import TestClient

    from impasto.serve.http import make_app
    from impasto.serve.service import Service

    paths = {probe: container()[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in paths.values()} == {"http"}
    assert f"127.0.0.1:{HTTP}{paths['liveness']['path']}" in read("Dockerfile")
    service = Service(engine)
    client = TestClient(make_app(service, Listening(keys=("a-long-key-0123456789",))))
    try:
        assert {client.get(probe["path"]).status_code for probe in paths.values()} == {200}
        service.close(0)
        assert client.get(paths["readiness"]["path"]).status_code == 503
        assert client.get(paths["liveness"]["path"]).status_code == 200
    finally:
        service.close(0)


def test_what_stops_the_service_waits_for_its_jobs():
    """Longer than `--drain-seconds`, and the answers after it."""
    command = typer.main.get_command(app.app).commands["serve"]
    drain = next(entry.default for entry in command.params if "--drain-seconds" in entry.opts)
    spec = documents()["Deployment"]["spec"]["template"]["spec"]
    compose = yaml.safe_load(read("compose.yaml"))["services"]["impasto"]
    waits = [spec["terminationGracePeriodSeconds"], int(compose["stop_grace_period"].removesuffix("s"))]
    waits.append(int(re.search(r"^TimeoutStopSec=(\d+)$", read("impasto.service"), re.MULTILINE)[1]))
    assert min(waits) >= drain + 20


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "impasto.service", "kubernetes.yaml"])
def test_variables_are_those_that_the_code_reads(name):
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"\bIMPASTO_[A-Z]+\b", read(name)))
    assert named
    assert {variable for variable in named if f'"{variable}"' not in source} == set()


def test_folders_are_kept():
    """State and cache lie in volumes, also where the rest of the system is read-only."""
    dockerfile = read("Dockerfile")
    volumes = yaml.safe_load(re.search(r"^VOLUME (\[.*\])$", dockerfile, re.MULTILINE)[1])
    for variable in ("IMPASTO_STATE", "IMPASTO_CACHE"):
        assert re.search(rf"{variable}=(\S+)", dockerfile)[1] in volumes
    assert {mount["mountPath"] for mount in container()["volumeMounts"]} == {*volumes, "/tmp"}
    compose = yaml.safe_load(read("compose.yaml"))
    mounts = compose["services"]["impasto"]["volumes"]
    assert [mount.partition(":")[2] for mount in mounts] == volumes
    assert {mount.partition(":")[0] for mount in mounts} <= set(compose["volumes"])


def test_the_image_is_built_of_what_is_there():
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", read("Dockerfile"), re.MULTILINE):
        assert [name for name in line.split() if not (ROOT / name).exists()] == []
    extras = re.search(r'"\.\[(.*)\]"', read("Dockerfile"))[1].split(",")
    assert set(extras) <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("hadolint", ["Dockerfile"]),
        ("kubernetes-validate", ["kubernetes.yaml"]),
        ("systemd-analyze", ["verify", "impasto.service"]),
    ],
)
def test_linters_find_nothing(program, words, tmp_path):
    """Each where it is installed."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{program} is not installed")
    for path in DEPLOY.iterdir():
        text = path.read_text(encoding="utf-8").replace(
            "/opt/impasto/bin/impasto serve", f"{sys.executable} -m impasto serve"
        )
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    place = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run([found, *words], cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "impasto.service:" not in told
