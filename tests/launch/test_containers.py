"""The Dockerfile, built and run; launch/compose on real containers; Kubernetes' own schema of pods.

No registry of images is needed: the base is a Debian made by debootstrap, unless BASE names an image that
podman can reach. Images, networks and containers live in a folder of the test and go with it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from debian import need
from machines import AGENTS, PATIENCE, ROOT, assert_equal_runs, places, write_paced

# One worker takes all of them: what the fixtures make is made once.
pytestmark = pytest.mark.slow

PROGRAMS = ("podman", "runc", "debootstrap", "aardvark-dns", "iptables")
PACKAGES = ("podman", "runc", "debootstrap", "netavark", "aardvark-dns", "iptables")
IN_BASE = "ca-certificates,python3,python3-venv,python3-pip,openssh-server"
STAND_IN = "localhost/distopt-base"
ITERATIONS = 200

# runc with these limits runs where crun does not (hybrid cgroups); all else keeps out of the machine's own.
CONTAINERS_CONF = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
[network]
network_config_dir = "{here}/networks"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{here}/graph"
runroot = "{here}/run"
"""


def call(*command: str, **more) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        check=False, **more,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with podman-compose and the schemas of Kubernetes."""
    venv = tmp_path_factory.mktemp("tools") / "venv"
    call(sys.executable, "-m", "venv", str(venv))
    pip = [str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "podman-compose>=1.3", "kubernetes-validate"], capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(
            f"pip cannot install podman-compose and kubernetes-validate: {done.stderr[-300:]}"
        )
    return venv / "bin"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[dict[str, str]]:
    """podman with a storage of its own, in which the image distopt is built; yields its environment."""
    os.environ["PATH"] += ":/usr/lib/podman"  # where Debian keeps aardvark-dns
    need(PROGRAMS, PACKAGES)
    if os.getuid():
        pytest.skip("these containers are started by root, who alone can make their base image")
    here = tmp_path_factory.mktemp("podman")
    (here / "containers.conf").write_text(CONTAINERS_CONF.format(here=here))
    (here / "storage.conf").write_text(STORAGE_CONF.format(here=here))
    env = os.environ | {
        "CONTAINERS_CONF": str(here / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(here / "storage.conf"),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "TMPDIR": str(here),
    }
    try:
        base = os.environ.get("BASE") or stand_in(here, env)
        # pip's settings and certificates are there while building, and no part of the image.
        seen = [path for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
        mounts = [part for path in seen for part in ("--volume", f"{path}:{path}:ro")]
        build = "podman build --network host --isolation chroot --tag distopt"
        call(*build.split(), "--build-arg", f"BASE={base}", *mounts, str(ROOT), env=env)
        yield env
    finally:
        for command in ("rm --all --force --time 0", "rmi --all --force"):
            subprocess.run(["podman", *command.split()], env=env, capture_output=True, check=False)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{here}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(here, ignore_errors=True)


def stand_in(here: Path, env: dict[str, str]) -> str:
    """Make a small Debian with Python, and import it as a base image; return its name."""
    root = here / "debian"
    make = ["debootstrap", "--variant=minbase", f"--include={IN_BASE}", "bookworm", str(root)]
    done = subprocess.run(make, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.skip(
            f"debootstrap cannot make a base image (BASE may name one): {done.stdout[-300:]}"
        )
    with subprocess.Popen(
        ["tar", "-C", str(root), "--exclude=./dev", "-c", "."], stdout=subprocess.PIPE
    ) as archive:
        call("podman", "import", "-", STAND_IN, env=env, stdin=archive.stdout)
    shutil.rmtree(root)
    return STAND_IN


def test_image_is_small_and_without_privileges(engine) -> None:
    [image] = json.loads(call("podman", "image", "inspect", "distopt", env=engine))
    assert image["Config"]["User"] == "agent"
    own = image["Size"]
    base = os.environ.get("BASE") or STAND_IN
    own -= json.loads(call("podman", "image", "inspect", base, env=engine))[0]["Size"]
    assert own < 700e6
    look = "id -u; find / -xdev -name 'ssh_host_*_key' -o -xdev -name id_rsa; cat /etc/pip.conf"
    said = subprocess.run(
        ["podman", "run", "--rm", "distopt", "sh", "-c", look], env=engine, capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    ).stdout  # fmt: skip
    assert said.split() == ["1000"]  # neither a key nor this machine's settings


def test_default_command_leaves_the_report_in_the_mounted_folder(engine, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    os.chown(results, 4321, 4321)
    run = ["podman", "run", "--rm", "--user", "4321", "--volume", f"{results}:/results", "distopt"]
    said = call(*run, env=engine)
    assert "/results/demo/comparison.html" in said
    rows = json.loads((results / "demo" / "comparison.json").read_text())
    assert rows
    assert (results / "demo" / "comparison.html").stat().st_size > 10_000
    assert len(list((results / "demo").glob("*/report.html"))) >= 4
    assert (results / "demo" / "comparison.html").stat().st_uid == 4321


def test_folder_that_cannot_be_written_is_named(engine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    run = ["podman", "run", "--rm", "--volume", f"{tmp_path}:/results", "distopt"]
    done = subprocess.run(
        run, env=engine, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "the results go to /results/demo, which agent cannot write" in done.stderr


def test_cluster_of_containers_agrees_with_one_process_to_the_bit(engine, tmp_path: Path) -> None:
    config = write_paced(tmp_path / "configs", ITERATIONS)
    # A network namespace of its own: bridges and firewall rules of the cluster vanish with it.
    script = ["sh", str(ROOT / "launch" / "compose" / "cluster.sh"), str(config)]
    said = call("unshare", "--net", *script, env=engine, cwd=tmp_path)
    assert len(places(said)) == AGENTS, said  # every rank named another host
    assert f"{ITERATIONS} iterations, all iterations done" in said
    assert (tmp_path / "runs" / "paced" / "report.html").exists()
    for what in (["ps", "--all"], ["volume", "ls"]):
        assert not call("podman", *what, "--quiet", env=engine)
    assert "distopt" not in call("podman", "network", "ls", env=engine)

    (tmp_path / "sim").mkdir(mode=0o777)
    (tmp_path / "sim").chmod(0o777)
    run = ["podman", "run", "--rm", "--volume", f"{config.parent}:/configs:ro"]
    run += ["--volume", f"{tmp_path / 'sim'}:/results", "distopt"]
    run += ["distopt", "run", "/configs/paced.toml", "--simulate", "--out", "/results/paced"]
    call(*run, env=engine)
    assert_equal_runs(tmp_path / "runs" / "paced", tmp_path / "sim" / "paced", ITERATIONS)


SUBMIT = """
import subprocess, time
from pathlib import Path
import distopt
new = ["distopt", "serve", "--data", "/results", "--new-token", "run"]
token = subprocess.run(new, capture_output=True, text=True, check=True).stdout.split()[-1]
with distopt.Client(token=token) as client:
    until = time.monotonic() + 900
    while time.monotonic() < until:
        try:
            number = client.submit(Path("/configs/paced.toml"), "paced")
            break
        except distopt.DistoptError as error:
            print(error)
            time.sleep(1)
    job = client.wait(number, 1800)
    print(job.state, job.message, job.runs[0].state)
    print(client.ask("GET", f"/jobs/{number}/log").json()["text"])
"""


def test_service_in_front_of_a_cluster(engine, tmp_path: Path) -> None:
    config = write_paced(tmp_path / "configs", ITERATIONS)
    (tmp_path / "submit.py").write_text(SUBMIT)
    files = [
        part
        for name in ("compose", "service")
        for part in ("-f", f"{ROOT}/launch/compose/{name}.yaml")
    ]
    compose = f"podman-compose -p service {' '.join(files)}"
    script = (
        f"{compose} up -d; trap '{compose} down --volumes --timeout 0' EXIT; "
        "one=$(podman ps -q --filter label=com.docker.compose.service=service); "
        f"podman exec -i $one python - <{tmp_path}/submit.py; podman logs $one"
    )
    env = engine | {"CONFIGS": str(config.parent)}
    said = call("unshare", "--net", "sh", "-ec", script, env=env, cwd=tmp_path)
    assert "finished  finished" in said, said
    # Every rank named another host; "distopt" is the service, which checks what is submitted.
    assert len(places(said) - {"distopt"}) == AGENTS, said


def test_pods_of_the_mpijob_fit_the_schema_of_kubernetes(tools: Path, tmp_path: Path) -> None:
    claim, job = yaml.safe_load_all((ROOT / "launch" / "k8s" / "mpijob.yaml").read_text())
    documents = [claim]
    for name, replica in job["spec"]["mpiReplicaSpecs"].items():
        metadata = {"name": name.lower()}
        documents.append(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata} | replica["template"]
        )
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all(documents))
    check = [str(tools / "kubernetes-validate"), "--strict", str(tmp_path / "pods.yaml")]
    call(*check)
    documents[1]["spec"]["container"] = documents[1]["spec"].pop("containers")
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all(documents))
    assert subprocess.run(check, capture_output=True, timeout=PATIENCE, check=False).returncode != 0
