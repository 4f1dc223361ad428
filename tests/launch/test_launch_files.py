"""The files of launch/ as far as they can be judged without an engine, a Slurm or a Kubernetes at hand."""

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(path for path in LAUNCH.rglob("*") if path.suffix in {".sh", ".sbatch"})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(LAUNCH)))
def test_scripts_are_posix_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(script)], check=True)


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}")
    (folder / name).chmod(0o755)


def until(happened, what: str, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return mask is not None and bool(int(mask[1], 16) >> (number - 1) & 1)


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# The image


def test_dockerfile_names_what_there_is() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert steps[:2] == [["ARG", "BASE=python:3.12-slim-bookworm"], ["FROM", "${BASE}"]]
    for what, rest in steps:
        if what == "COPY":
            *sources, _ = [part for part in rest.split() if not part.startswith("--")]
            assert sources
            assert all((ROOT / source).exists() for source in sources), rest
    assert [rest for what, rest in steps if what == "USER"] == ["agent"]
    assert steps[-1] == ["CMD", '["sh", "launch/demo.sh"]']


def test_image_holds_nothing_that_git_ignores() -> None:
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    left_out = {
        line.strip("/").removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split()
    }
    assert ".git" in left_out
    covered = {name for name in ignored if any(Path(name).match(pattern) for pattern in left_out)}
    assert ignored == covered


def test_demo_refuses_a_folder_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        ["sh", str(LAUNCH / "demo.sh")], env=os.environ | {"RUNS": str(tmp_path / "file")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"the results go to .*/file/demo, which .* cannot write", done.stderr)


def demo(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the demo's script in a folder of its own."""
    (folder / "launch").mkdir()
    script = shutil.copy(LAUNCH / "demo.sh", folder / "launch")
    return subprocess.run(
        ["sh", script], env=os.environ | environment, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip


def test_demo_says_what_it_does_and_where_the_picture_is(tmp_path: Path) -> None:
    program(tmp_path / ".venv" / "bin", "python", "exit 0")
    program(tmp_path / ".venv" / "bin", "distopt", 'echo "distopt $1 ${2##*/}"')
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs" / "demo"
    assert [line for line in done.stdout.splitlines() if line] == [
        f"demo: 1 of 3: {tmp_path}/.venv is installed already",
        "demo: 2 of 3: seven methods on the same data, over 4 MPI ranks (compiling on the way, the first "
        "time);",
        "demo:         about a minute on an idle machine with two cores, less the next time",
        "distopt compare demo.toml",
        f"demo: P against iterations, bytes and seconds: {out}/curves.png",
        f"demo: page with table and figures: {out}/comparison.html",
        "demo: 3 of 3: a page for each run",
        "demo:         about 15 s on an idle machine; what is above can be looked at meanwhile",
        f"demo: {out}/*/report.html",
    ]


def test_demo_says_how_long_installing_takes_and_leaves_nothing_when_it_fails(
    tmp_path: Path,
) -> None:
    pip = 'case "$*" in *pip*) echo no network >&2; exit 1;; esac'
    program(tmp_path / "bin", "python", f"""
case "$*" in
--version) echo Python 3.12.1;;
"-m venv "*) mkdir -p "$3/bin"; printf '#!/bin/sh\n%s\n' '{pip}' >"$3/bin/python"
    chmod +x "$3/bin/python";;
esac""")  # fmt: skip
    done = demo(tmp_path, PYTHON=str(tmp_path / "bin" / "python"))
    assert done.returncode == 1
    assert "1 of 3: installing distopt and Open MPI into" in done.stdout
    assert "700 MB on the disk, less than a minute on an idle machine" in done.stdout
    assert "no network\ndemo: the installation failed; what pip says above" in done.stderr
    # A ticker that stayed behind would hold the pipes open, and the call above would not have returned.


# The cluster of containers

COMPOSE = yaml.safe_load((LAUNCH / "compose" / "compose.yaml").read_text())


def test_compose_file_is_consistent() -> None:
    host, key = COMPOSE["services"]["host"], COMPOSE["services"]["key"]
    assert host["image"] == key["image"] == "${IMAGE:-distopt}"
    assert set(host["networks"]) == set(COMPOSE["networks"])
    for volume in [*host["volumes"], *key["volumes"]]:
        assert volume.split(":")[0] in COMPOSE["volumes"] or volume.startswith("${CONFIGS:-")
    assert "ssh:/home/agent/.ssh:ro" in host["volumes"]
    assert host["command"][-1] == "/etc/ssh/distopt_sshd_config"
    assert f"sshd_config {host['command'][-1]}" in (ROOT / "Dockerfile").read_text()


CLUSTER = LAUNCH / "compose" / "cluster.sh"
QUICKSTART = LAUNCH / "experiments" / "quickstart.toml"
# Does what the script asks of a container engine, and writes down what that was. The run itself is $RUN.
ENGINE = """
echo "$*" >>"$LOG"
case "$*" in
"image inspect "*) [ -z "${NO_IMAGE:-}" ] ;;
*" up --detach") [ -z "${NO_START:-}" ] || { echo "no such network" >&2; exit 1; } ;;
"ps "*) echo c1 ;;
*"exec distopt run"*) eval "$RUN" ;;
*"test -f"*) false ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path):
    """Start cluster.sh on a machine whose only engine is the one above."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("sh", "dirname", "basename", "cat", "mktemp", "rm", "touch", "sleep", "mkdir"):
        (bin / name).symlink_to(shutil.which(name))
    program(bin, "docker", ENGINE)

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        env = {"PATH": str(bin), "LOG": str(tmp_path / "log"), "RUN": "exit 0"} | environment
        return subprocess.Popen(
            ["sh", str(CLUSTER), *arguments], cwd=tmp_path, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def down(folder: Path) -> bool:
    return " down --volumes" in text_of(folder / "log")


@pytest.mark.parametrize("code", [0, 3])
def test_cluster_passes_the_exit_code_on_and_is_taken_down(
    cluster, tmp_path: Path, code: int
) -> None:
    run = cluster(str(QUICKSTART), "--set", "run.iterations=7", RUN=f"exit {code}")
    _, said = run.communicate(timeout=300)
    assert run.returncode == code, said
    calls = (tmp_path / "log").read_text().splitlines()
    started = [call for call in calls if "exec distopt run" in call]
    assert len(started) == 1
    assert started[0].endswith(
        "/configs/quickstart.toml --out /results/quickstart --mpirun-args --hostfile /tmp/hosts "
        "--set run.iterations=7"
    )
    assert " down --volumes" in calls[-1]


def test_cluster_is_taken_down_when_its_script_is_killed(cluster, tmp_path: Path) -> None:
    run = cluster(str(QUICKSTART), RUN="exec sleep 600")
    until(lambda: "exec distopt run" in text_of(tmp_path / "log"), "the run starts")
    with run:
        run.kill()
    until(lambda: down(tmp_path), "taken down")


def test_cluster_asks_the_run_to_save_on_a_signal(cluster, tmp_path: Path) -> None:
    long = f"while ! grep -q 'kill -TERM' {tmp_path}/log; do sleep 0.1; done; exit 0"
    (tmp_path / "bin" / "grep").symlink_to(shutil.which("grep"))
    run = cluster(str(QUICKSTART), RUN=long)
    until(lambda: "exec distopt run" in text_of(tmp_path / "log"), "the run starts")
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert down(tmp_path)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NO_IMAGE": "1"}, "there is no image distopt; make it with: docker build -t distopt "),
        ({"NO_START": "1"}, "no such network\ncluster: the containers cannot be started"),
        ({"PATH": ""}, "needs a container engine: docker with its compose plugin, or podman"),
    ],
)
def test_cluster_says_what_is_missing(cluster, tmp_path: Path, environment, words: str) -> None:
    if "PATH" in environment:
        (tmp_path / "bin" / "docker").unlink()
        environment = {}
    run = cluster(str(QUICKSTART), **environment)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 1
    assert words in said
    if "engine" in words:
        assert "distopt run" in said  # what works without one


def test_cluster_keeps_an_earlier_run(cluster, tmp_path: Path) -> None:
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    run = cluster(str(QUICKSTART))
    assert (
        "runs/quickstart is there already; --overwrite replaces it"
        in run.communicate(timeout=300)[1]
    )
    run = cluster("nowhere.toml")
    assert "there is no file nowhere.toml" in run.communicate(timeout=300)[1]
    assert not (tmp_path / "log").exists()


# Scripts that start or resume a run, with something in the place of distopt that saves when asked to

DISTOPT = """
trap '
    [ -z "${SAVES_NOTHING:-}" ] || exit 0
    mkdir -p r/checkpoints/000009
    touch r/checkpoints/000009/manifest.json
    exit 0' TERM
echo "$*" >>"$LOG"
[ -n "${LONG:-}" ] || exit 0
while :; do sleep 0.05; done
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    program(tmp_path / "bin", "distopt", DISTOPT)
    program(tmp_path / "bin", "scontrol", 'echo "scontrol $*" >>"$LOG"')
    (tmp_path / "hostfile").touch()
    return tmp_path


def start(place: Path, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    env = {
        "PATH": f"{place / 'bin'}:/usr/bin:/bin", "LOG": str(place / "log"), "SLURM_JOB_ID": "7",
        "HOSTFILE": str(place / "hostfile"),
    }  # fmt: skip
    return subprocess.Popen(
        ["sh", str(LAUNCH / script), *arguments], cwd=place, env=env | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def code_of(run: subprocess.Popen[str]) -> int:
    run.communicate(timeout=300)
    return run.returncode


def save(place: Path) -> None:
    (place / "r" / "checkpoints" / "000005").mkdir(parents=True)
    (place / "r" / "checkpoints" / "000005" / "manifest.json").touch()


STARTS = {
    "slurm/run.sbatch": "",
    "k8s/run.sh": " --mpirun-args --hostfile {place}/hostfile",
}


@pytest.mark.parametrize("script", STARTS)
def test_first_start_runs_and_the_next_resumes(place: Path, script: str) -> None:
    more = STARTS[script].format(place=place)
    own = " --overwrite" * (script == "k8s/run.sh")
    assert code_of(start(place, script, "c.toml", "r", "--json")) == 0
    (place / "r" / "checkpoints" / "000003").mkdir(parents=True)  # no manifest: no checkpoint
    assert code_of(start(place, script, "c.toml", "r", SLURM_RESTART_COUNT="1")) == 0
    save(place)
    (place / "r" / "run.lock").touch()  # of a rank 0 whose node failed
    assert code_of(start(place, script, "c.toml", "r", "--json", SLURM_RESTART_COUNT="2")) == 0
    assert (place / "r" / "run.lock").exists() == (script == "k8s/run.sh")
    first, second, third = (place / "log").read_text().splitlines()
    assert first.split() == f"run c.toml --out r{own} --json{more}".split()
    assert second == f"run c.toml --out r --overwrite{more}"
    assert third == f"resume r{more}"


@pytest.mark.parametrize(
    ("script", "number", "environment", "code", "requeued"),
    [
        ("slurm/run.sbatch", signal.SIGUSR1, {}, 0, True),
        ("slurm/run.sbatch", signal.SIGUSR1, {"SAVES_NOTHING": "1"}, 1, False),
        ("slurm/run.sbatch", signal.SIGTERM, {}, 0, False),
        ("slurm/compare.sbatch", signal.SIGUSR1, {}, 0, False),
        ("k8s/run.sh", signal.SIGTERM, {}, 143, False),
    ],
)
def test_warning_saves(
    place: Path, script: str, number, environment, code: int, requeued: bool
) -> None:
    run = start(place, script, "c.toml", "r", LONG="1", **environment)
    until(lambda: text_of(place / "log"), "the run starts")
    until(lambda: catches(run.pid, number), "the script has set its trap")
    run.send_signal(number)
    _, said = run.communicate(timeout=300)
    assert run.returncode == code, said
    saved = (place / "r" / "checkpoints" / "000009" / "manifest.json").exists()
    assert saved == ("SAVES_NOTHING" not in environment)
    assert ("scontrol requeue 7" in (place / "log").read_text()) == requeued
    if not saved:
        assert "this allocation saved no checkpoint" in said
        assert "--time" in said


@pytest.mark.parametrize("script", ["slurm/run.sbatch", "slurm/compare.sbatch", "k8s/run.sh"])
def test_batch_scripts_say_what_they_need(place: Path, script: str) -> None:
    assert "usage: " in start(place, script, "c.toml").communicate(timeout=300)[1]
    away = start(place, script, "c.toml", "r", SLURM_JOB_ID="", HOSTFILE="/nowhere")
    said = away.communicate(timeout=300)[1]
    assert away.returncode == 1
    assert re.search(r"distopt (run|compare) \S+ starts the agents by itself", said)
    if script.endswith(".sbatch"):
        (place / "bin" / "distopt").unlink()
        assert "there is no distopt on the PATH" in start(place, script, "c", "r").communicate()[1]
    assert not (place / "log").exists()


# The MPIJob: fields and values of kubeflow.org/v2beta1, as the operator's Go types name them


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Template(Strict):
    metadata: dict[str, Any] = {}
    spec: dict[str, Any]


class Replica(Strict):
    replicas: int = Field(1, ge=0)
    restartPolicy: Literal["Always", "OnFailure", "Never", "ExitCode"] = "Never"
    template: Template


class Replicas(Strict):
    Launcher: Replica
    Worker: Replica


class SchedulingPolicy(Strict):
    minAvailable: int | None = None
    queue: str = ""
    minResources: dict[str, Any] | None = None
    priorityClass: str = ""
    scheduleTimeoutSeconds: int | None = None


class RunPolicy(Strict):
    cleanPodPolicy: Literal["", "All", "Running", "None"] | None = None
    ttlSecondsAfterFinished: int | None = None
    activeDeadlineSeconds: int | None = None
    backoffLimit: int | None = None
    schedulingPolicy: SchedulingPolicy | None = None
    suspend: bool | None = None


class Spec(Strict):
    slotsPerWorker: int = 1
    runPolicy: RunPolicy = RunPolicy()
    mpiReplicaSpecs: Replicas
    sshAuthMountPath: str = "/root/.ssh"
    waitForWorkers: bool = False
    mpiImplementation: Literal["OpenMPI", "Intel"] = "OpenMPI"


class MPIJob(Strict):
    apiVersion: Literal["kubeflow.org/v2beta1"]
    kind: Literal["MPIJob"]
    metadata: dict[str, Any]
    spec: Spec


def test_mpijob_fits_the_operator_and_the_image() -> None:
    claim, job = yaml.safe_load_all((LAUNCH / "k8s" / "mpijob.yaml").read_text())
    spec = MPIJob.model_validate(job).spec
    assert claim["kind"] == "PersistentVolumeClaim"
    assert "ReadWriteMany" in claim["spec"]["accessModes"]
    assert spec.sshAuthMountPath == "/home/agent/.ssh"  # where the image looks for keys
    launcher, worker = spec.mpiReplicaSpecs.Launcher, spec.mpiReplicaSpecs.Worker
    for replica in (launcher, worker):
        pod = replica.template.spec
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["containers"][0]["volumeMounts"] == [
            {"name": "results", "mountPath": "/results"}
        ]
    script, config = (launcher.template.spec["containers"][0][k] for k in ("command", "args"))
    agents = tomllib.loads((ROOT / config[0]).read_text())["problem"]["agents"]
    assert worker.replicas * spec.slotsPerWorker == agents
    assert (ROOT / script[1]).is_file()
    assert (
        worker.template.spec["containers"][0]["command"] == COMPOSE["services"]["host"]["command"]
    )


def test_misspelt_field_of_an_mpijob_is_found() -> None:
    *_, job = yaml.safe_load_all((LAUNCH / "k8s" / "mpijob.yaml").read_text())
    job["spec"]["slotsPerWorkers"] = job["spec"].pop("slotsPerWorker")
    with pytest.raises(ValueError, match="slotsPerWorkers"):
        MPIJob.model_validate(job)
