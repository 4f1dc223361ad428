"""A test bed: several hosts with links of any rate, on one machine.

A host is a network namespace with one Ethernet interface, a veth pair whose other end is a port of a
bridge; where links have latency, two TAP devices and the bed's own process between them
(`distopt.studies.measure.latency`). A token bucket at either end limits what the host sends and receives.
mpirun starts one daemon per host through a launch agent that takes the place of ssh, so all messages
between ranks pass these links.

Everything lives in namespaces that `unshare` makes for the bed alone: network, mounts (with a private
/etc/hosts, /run and folder for temporary files), processes. The kernel takes all of it away when the
first process of the bed ends, however it ends, and that process is killed with its parent. So nothing
needs cleaning up, nothing is left behind, and beds do not see each other.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Annotated

import typer

from distopt.core.errors import ConfigError, DistoptError, TransportError
from distopt.mpirun.launcher import Mpirun, find_mpirun
from distopt.mpirun.process import end_with_parent
from distopt.studies.measure.latency import QUEUE_FRAMES, carry, open_tap
from distopt.studies.measure.link import UNLIMITED, Link, parse_link

BED = "DISTOPT_BED"  # number of hosts, set for what runs inside
FOLDER = Path("/run/distopt")  # inside: agent, hosts, temporary files
SUBNET = "10.77.0"
INTERFACE = "eth0"  # of every host
SWITCH = "switch"  # the namespace of the bridge, where mpirun runs
MOST = 200  # hosts

# A bucket holds a millisecond of traffic, at least one packet. The more it holds, the more a host
# may send above its rate after a pause, and iterations are full of pauses.
BURST_SECONDS = 1e-3
BURST_BYTES = 1_600
QUEUE_BYTES = 64 * 2**20  # nothing is lost in the queue of a link

NEEDED = {
    "ip": "iproute2", "tc": "iproute2", "unshare": "util-linux", "taskset": "util-linux",
    "mount": "mount",
}  # fmt: skip
ELSEWHERE = (
    "`distopt compare` and --simulate work without it, and `distopt measure` without --hosts measures "
    "between real hosts."
)


# Outside


def require_tools() -> None:
    """Raise `TransportError` naming the tools that a bed needs and this machine lacks."""
    if sys.platform != "linux":
        raise TransportError(f"A test bed of hosts needs Linux network namespaces. {ELSEWHERE}")
    missing = [tool for tool in NEEDED if shutil.which(tool, path=search_path()) is None]
    if missing:
        packages = " ".join(dict.fromkeys(NEEDED[tool] for tool in missing))
        raise TransportError(
            f"A test bed of hosts needs {' and '.join(missing)}; as root, `apt-get install {packages}` "
            f"(or your system's package of that name) brings it. {ELSEWHERE}"
        )


def search_path() -> str:
    """Return PATH with the folders of the system's tools, which users often lack."""
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def unshare() -> list[str]:
    """Return the command that makes a bed's namespaces; as a user, with a user namespace around."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        "unshare", *user, "--net", "--mount", "--uts", "--ipc", "--pid", "--fork",
        "--kill-child=SIGKILL", "--mount-proc", "--",
    ]  # fmt: skip


def require_privileges() -> None:
    """Try to make the namespaces and a link; raise `TransportError` if that is not allowed."""
    attempt = "ip link add veth0 type veth peer name veth1 && mount -t tmpfs none /run"
    done = subprocess.run(
        [*unshare(), "sh", "-c", attempt], capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": search_path()}, timeout=60,
    )  # fmt: skip
    if done.returncode:
        reason = " ".join((done.stderr.strip() or "no reason given").splitlines()[-1:])
        raise TransportError(
            f"This {'container' if os.geteuid() == 0 else 'user'} may not make network namespaces "
            f"({reason}). A test bed of hosts needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a "
            f"container: --privileged), or a kernel that lets users make them. {ELSEWHERE}"
        )


def run_inside(command: Sequence[str], hosts: int) -> int:
    """Run a command as the first process of a new bed's namespaces; return its exit code.

    SIGINT, SIGTERM and SIGHUP, and the end of this process by anything, end the bed at once.
    """
    if not 2 <= hosts <= MOST:
        raise ConfigError(f"A test bed has 2 to {MOST} hosts, not {hosts}.")
    require_tools()
    require_privileges()
    sys.stdout.flush()
    process = subprocess.Popen(
        [*unshare(), *command],
        env=os.environ | {BED: str(hosts), "PATH": search_path()},
        start_new_session=True,  # Ctrl-C reaches this process only
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        told.append(number)
        process.kill()

    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in handled}
    try:
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        raise TransportError(
            f"Stopped by {signal.Signals(told[0]).name}; the bed is removed, finished results are kept."
        )
    return code if code >= 0 else 128 - code


def on_bed(mpirun: Mpirun, hosts: int, link: Link) -> Mpirun:
    """Return the mpirun whose ranks run on a new bed with links like this, one on each host."""
    bed = (sys.executable, "-m", __name__, "--hosts", str(hosts), "--link", link.name, "--")
    return Mpirun((*bed, *mpirun.command, *flags_of(mpirun)), mpirun.maker, mpirun.library)


def flags_of(mpirun: Mpirun) -> tuple[str, ...]:
    """Return the settings with which an mpirun finds the hosts and uses only their links."""
    return OPEN_MPI if mpirun.maker == "Open MPI" else MPICH


# Inside


def inside() -> int:
    """Return how many hosts the bed has that this process runs in, 0 outside one."""
    return int(os.environ.get(BED, 0))


def host(i: int) -> str:
    """Name host i = 0, 1, ..."""
    return f"h{i + 1}"


def address(i: int) -> str:
    """Return the address of host i."""
    return f"{SUBNET}.{i + 1}"


def build(hosts: int, link: Link = UNLIMITED) -> None:
    """Make bridge, hosts, links and launch agent; then mpirun finds them by its environment."""
    call("mount", "-t", "tmpfs", "none", "/run")
    (FOLDER / "tmp").mkdir(parents=True)
    Path("/run/netns").mkdir()
    names = [f"{address(i)} {host(i)}" for i in range(hosts)]
    (FOLDER / "etc-hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
    call("mount", "--bind", str(FOLDER / "etc-hosts"), "/etc/hosts")
    ip = [
        f"netns attach {SWITCH} {os.getpid()}",
        "link set lo up",
        "link add bridge type bridge",
        "link set bridge up",
        f"addr add {SUBNET}.254/24 dev bridge",
    ]
    for i in range(hosts):
        ip += [
            f"netns add {host(i)}",
            *wire(i, link),
            f"link set port{i + 1} master bridge up",
            f"netns exec {host(i)} sh {FOLDER / 'quiet'}",
            f"-n {host(i)} link set {INTERFACE} up",
            f"-n {host(i)} addr add {address(i)}/24 dev {INTERFACE}",
            f"-n {host(i)} link set lo up",
        ]
    (FOLDER / "quiet").write_text(QUIET)
    call("sh", str(FOLDER / "quiet"))
    wires = make_wires(hosts, link)
    for line in ip:
        call("ip", *line.split())
    if wires:
        Thread(target=carry, args=(wires, link.latency), daemon=True).start()
    set_rate(hosts, link)
    agent = FOLDER / "agent"
    cores = sorted(os.sched_getaffinity(0))
    agent.write_text(AGENT.replace("CORES", " ".join(map(str, cores))))
    agent.chmod(0o755)
    (FOLDER / "hosts").write_text("".join(f"{host(i)} slots=1\n" for i in range(hosts)))
    (FOLDER / "hosts.mpich").write_text("".join(f"{host(i)}\n" for i in range(hosts)))
    if hosts > len(cores):  # a rank that spins would keep its neighbours from their cores
        os.environ.setdefault("DISTOPT_BUSY_WAIT", "0")
    mpirun = find_mpirun()
    if mpirun.maker == "MPICH":  # or it would find a way around the links, through shared memory
        os.environ |= {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": INTERFACE}
    os.environ["DISTOPT_MPIRUN"] = shlex.join([*mpirun.command, *flags_of(mpirun)])
    os.environ["TMPDIR"] = str(FOLDER / "tmp")


def make_wires(hosts: int, link: Link) -> dict[int, int]:
    """Make the devices of links with latency; return the ends at hosts with those at ports."""
    if not link.latency:
        return {}
    return {open_tap(f"host{i + 1}"): open_tap(f"port{i + 1}") for i in range(hosts)}


def wire(i: int, link: Link) -> list[str]:
    """Give host i its interface, whose other end is its port."""
    port = f"port{i + 1}"
    if not link.latency:
        return [f"link add {port} type veth peer name {INTERFACE} netns {host(i)}"]
    return [
        f"link set {port} txqueuelen {QUEUE_FRAMES}",
        f"link set host{i + 1} txqueuelen {QUEUE_FRAMES}",
        f"link set host{i + 1} netns {host(i)} name {INTERFACE}",
    ]


# IPv6 sends packets of its own accord; the counters must show only the ranks.
QUIET = """for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    [ ! -e "$all" ] || echo 1 >"$all"
done
"""

# What takes the place of ssh: options, then the host, then the command. Every host has its own name, and
# keeps to one core: left to themselves four ranks often had three on one core and one on the other.
AGENT = """#!/bin/sh
while :; do
    case $1 in
    -l | -p | -o | -i) shift 2 ;;
    -*) shift ;;
    *) break ;;
    esac
done
host=$1
shift
command=$*
set -- CORES
shift $(((${host#h} - 1) % $#))
exec taskset -c "$1" unshare --uts sh -c \\
    'echo "$0" >/proc/sys/kernel/hostname; exec ip netns exec "$0" sh -c "$1"' "$host" "$command"
"""

OPEN_MPI = (
    "--prtemca", "plm_ssh_agent", str(FOLDER / "agent"),
    "--prtemca", "prte_if_include", f"{SUBNET}.0/24",
    "--mca", "pml", "ob1", "--mca", "btl", "tcp,self",
    "--mca", "btl_tcp_if_include", f"{SUBNET}.0/24",
    "--hostfile", str(FOLDER / "hosts"),
)  # fmt: skip
MPICH = (
    "-launcher", "ssh", "-launcher-exec", str(FOLDER / "agent"), "-localhost", f"{SUBNET}.254",
    "-f", str(FOLDER / "hosts.mpich"),
)  # fmt: skip


def set_rate(hosts: int, link: Link) -> None:
    """Limit what every host sends and receives, each by its own; works from any host too."""
    ends = [(host(i), INTERFACE) for i in range(hosts)]
    ends += [(SWITCH, f"port{i + 1}") for i in range(hosts)]
    for namespace, device in ends:
        limit_device(namespace, device, link)


def limit_here(link: Link | None) -> None:
    """Limit what the host of this process sends and receives; nothing outside a bed."""
    if link and inside():
        name = socket.gethostname()
        limit_device(name, INTERFACE, link)
        limit_device(SWITCH, name.replace("h", "port"), link)


def limit_device(namespace: str, device: str, link: Link) -> None:
    """Put a token bucket before a device, or take it away."""
    qdisc = ["tc", "-n", namespace, "qdisc"]
    if link.rate is None:
        subprocess.run([*qdisc, "del", "dev", device, "root"], capture_output=True, check=False)
        return
    burst = max(round(link.rate / 8 * BURST_SECONDS), BURST_BYTES)
    call(
        *qdisc, "replace", "dev", device, "root", "tbf", "rate", f"{link.rate:.0f}bit",
        "burst", str(burst), "limit", str(QUEUE_BYTES),
    )  # fmt: skip


def call(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise TransportError(f"The test bed cannot be made: {shlex.join(command)}: {reason}")


app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_interspersed_args": False})
def main(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run.")],
    hosts: Annotated[int, typer.Option(help="How many.")] = 4,
    link: Annotated[
        str, typer.Option(help="Rate of every link, and latency: 25mbit+10ms.")
    ] = UNLIMITED.name,
) -> None:
    """Run any command on a test bed: --hosts 4 --link 1gbit -- COMMAND."""
    try:
        rate = parse_link(link)
        if not inside():
            again = [sys.executable, "-m", "distopt.studies.measure.bed", *sys.argv[1:]]
            raise typer.Exit(run_inside(again, hosts))
        build(hosts, rate)
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except (DistoptError, OSError) as error:
        sys.stderr.write(f"distopt: {error}\n")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app(prog_name="launch/netns/bed.sh")
