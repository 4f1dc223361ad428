"""The test bed: hosts with links of their own, of which nothing is left however its command ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distopt.core.errors import ConfigError, TransportError
from distopt.studies.measure import bed
from distopt.studies.measure.latency import TUN
from distopt.studies.measure.link import UNLIMITED, one_latency, parse_link, parse_links

BED = [sys.executable, "-m", "distopt.studies.measure.bed"]
MINE = {"DISTOPT_BED_TEST": str(os.getpid())}  # in the environment of all that these tests start


def missing() -> str:
    """Say why no bed can be made here, "" if one can."""
    try:
        bed.require_tools()
        bed.require_privileges()
    except TransportError as error:
        return str(error)
    return ""


needs_bed = pytest.mark.skipif(bool(missing()), reason=missing() or "a bed can be made")


def traces() -> tuple[set[str], set[str], set[str]]:
    """Return what a bed could leave behind on this machine: links, mounts, processes."""
    told = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=False).stdout
    links = {x.split()[1] for x in told.splitlines() if "bridge" in x or ": port" in x}
    mounts = {
        x
        for x in Path("/proc/mounts").read_text().splitlines()
        if "/etc/hosts" in x or "netns" in x
    }
    found = set()
    mine = "=".join(*MINE.items()).encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes()
        except OSError:
            continue
        if mine in environment.split(b"\0"):
            found.add(place.name)
    return links, mounts, found


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*BED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | MINE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100mbit", 1e8),
        ("1gbit", 1e9),
        ("2.5 Gbit/s", 2.5e9),
        ("64kbit", 64e3),
        ("unlimited", None),
    ],
)
def test_rates_are_read(text: str, rate: float | None) -> None:
    assert parse_link(text).rate == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "100", "100mbyte", "0mbit", "-1gbit", "1e3mbit", "nanmbit"]
)
def test_what_is_no_rate_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ConfigError, match="100mbit"):
        parse_link(text)


def test_links_are_separated_by_commas_and_taken_once() -> None:
    assert [x.name for x in parse_links("1gbit, 10mbit,1gbit")] == ["1gbit", "10mbit"]
    with pytest.raises(ConfigError, match="--link"):
        parse_links(" , ")


def test_latencies_are_read_and_a_bed_has_one() -> None:
    links = parse_links("25mbit + 2.5ms, unlimited+2.5ms")
    assert [(x.name, x.rate, x.latency) for x in links] == [
        ("25mbit+2.5ms", 25e6, 0.0025), ("unlimited+2.5ms", None, 0.0025),
    ]  # fmt: skip
    assert one_latency(links) == parse_link("unlimited+2.5ms")
    assert one_latency(parse_links("1gbit,10mbit")) == UNLIMITED
    with pytest.raises(ConfigError, match=r"25mbit and 25mbit\+1ms, but .* one latency"):
        one_latency(parse_links("25mbit,25mbit+1ms"))


@pytest.mark.parametrize("text", ["25mbit+fast", "25mbit+1s", "25mbit+-1ms", "25mbit+99999ms"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"milliseconds from 0 to 10000.*25mbit\+10ms"):
        parse_link(text)


def test_missing_tools_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None if tool == "tc" else "/x")
    with pytest.raises(
        TransportError, match=r"tc; as root, `apt-get install iproute2`.*--simulate"
    ):
        bed.require_tools()


def test_missing_privileges_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed, "unshare", lambda: ["sh", "-c", "echo not permitted >&2; exit 1"])
    with pytest.raises(TransportError, match=r"not permitted.*CAP_NET_ADMIN.*distopt compare"):
        bed.require_privileges()


@pytest.mark.parametrize("hosts", [0, 1, 1000])
def test_the_number_of_hosts_is_bounded(hosts: int) -> None:
    with pytest.raises(ConfigError, match=f"not {hosts}"):
        bed.run_inside(["true"], hosts)


@needs_bed
def test_a_bed_has_hosts_links_and_names_and_leaves_nothing() -> None:
    before = traces()
    script = (
        "ip netns list | sort | tr '\\n' ' '; tc -n h2 qdisc show dev eth0; "
        "tc -n switch qdisc show dev port2; grep h3 /etc/hosts; "
        "ip -n h3 addr show eth0 | grep -o 'inet [0-9.]*'; exit 7"
    )
    done = start("--hosts", "3", "--link", "20mbit", "--", "sh", "-c", script)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 7, err
    assert all(name in out for name in ("h1", "h2", "h3", "switch"))
    assert out.count("rate 20Mbit") == 2
    assert "10.77.0.3 h3" in out
    assert "inet 10.77.0.3" in out
    assert traces() == before


ECHO = """
import socket, sys, time
if sys.argv[1] == "serve":
    link = socket.create_server(("", 5001)).accept()[0]
    while got := link.recv(8):
        link.sendall(got)
else:
    while True:
        try:
            link = socket.create_connection(("h2", 5001))
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        link.sendall(b"12345678")
        link.recv(8, socket.MSG_WAITALL)
        times.append(time.perf_counter() - began)
    print(min(times))
"""


@needs_bed
@pytest.mark.skipif(not Path(TUN).exists(), reason=f"{TUN} is missing")
def test_a_link_with_latency_holds_every_message_back(tmp_path: Path) -> None:
    program = tmp_path / "echo.py"
    program.write_text(ECHO)
    python = f"{sys.executable} {program}"
    script = f"ip netns exec h2 {python} serve & ip netns exec h1 {python} call; kill $!"
    for link, least in (("25mbit+20ms", 0.040), ("25mbit", 0.0)):
        done = start("--hosts", "2", "--link", link, "--", "sh", "-c", script)
        out, err = done.communicate(timeout=300)
        # There and back; the fastest of 20, for one of which a busy machine has time.
        assert least <= float(out) < least + 0.02, err


@needs_bed
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, signal.SIGKILL]
)
def test_nothing_is_left_after_a_signal(number: signal.Signals) -> None:
    before = traces()
    process = start("--hosts", "2", "--", "sh", "-c", "ip netns exec h1 sleep 1000 & echo up; wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert len(traces()[2]) > 2
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    if number != signal.SIGKILL:
        assert number.name in err
    ended = time.monotonic() + 100
    while traces()[2] and time.monotonic() < ended:
        time.sleep(0.05)
    assert traces() == before


@needs_bed
def test_beds_do_not_see_each_other() -> None:
    script = "ip netns list | wc -l; ip link show bridge >/dev/null && sleep 1"
    both = [start("--hosts", str(n), "--", "sh", "-c", script) for n in (2, 4)]
    for process, n in zip(both, (2, 4), strict=True):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.strip() == str(n + 1)
