"""What the slow tests of containers and Slurm share: a run that tells its places, equality."""

import os
from pathlib import Path

import h5py

ROOT = Path(__file__).parents[2]
AGENTS = 4
PATIENCE = 3600.0  # seconds that one command may take on the busiest machine
BUSY = min(10, max(1, round(os.getloadavg()[0] / (os.cpu_count() or 1))))


PACED = '''

import os, socket, sys, time

make_unpaced = make_cost


class Paced(RobustRegression):
    """Takes PACE seconds for a gradient, so that the length of a run is known."""

    def gradient(self, x, out):
        time.sleep(float(os.environ.get("PACE", 0)))
        super().gradient(x, out)


def make_cost(agent, agents):
    print("a rank on", os.environ.get("SLURMD_NODENAME", socket.gethostname()), file=sys.stderr)
    cost = make_unpaced(agent, agents)
    return Paced(cost.A, cost.b)
'''

CONFIG = """
problem = { name = "python", file = "paced.py", agents = 4 }
topology = { graph = "ring" }
algorithm = { name = "cgt1", eta = 0.05, gamma = 0.4, alpha = 0.5 }
compressor = { name = "quantize", bits = 2, dithered = true }
run = { iterations = ITERATIONS, record_every = 10, checkpoint_every = 100000 }
"""


def write_paced(folder: Path, iterations: int) -> Path:
    """Write the configuration of a run whose ranks print where they are."""
    mycost = (ROOT / "launch" / "experiments" / "mycost.py").read_text()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paced.py").write_text(mycost + PACED)
    (folder / "paced.toml").write_text(CONFIG.replace("ITERATIONS", str(iterations)))
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder / "paced.toml"


def places(said: str) -> set[str]:
    """Return the places that ranks have named."""
    return {line.split()[3] for line in said.splitlines() if line.startswith("a rank on ")}


def assert_equal_runs(one: Path, other: Path, iterations: int) -> None:
    """Check the states of all agents, and every record that is no clock, to the bit."""
    states = [states_of(run / "checkpoints" / f"{iterations:06d}") for run in (one, other)]
    assert len(states[0]) >= 5 * AGENTS  # x, y and the memories of each
    assert states[0] == states[1]
    records = [records_of(run / "metrics.h5") for run in (one, other)]
    assert len(records[0]) > 10
    assert records[0] == records[1]


def states_of(checkpoint: Path) -> dict[str, bytes]:
    arrays: dict[str, bytes] = {}
    for agent in range(AGENTS):
        with h5py.File(checkpoint / f"rank-{agent:04d}.h5") as shard:
            shard.visititems(
                lambda name, item, agent=agent: arrays.update({f"{agent}/{name}": item[()].tobytes()})
                if isinstance(item, h5py.Dataset) else None
            )  # fmt: skip
    return arrays


def records_of(metrics: Path) -> dict[str, bytes]:
    with h5py.File(metrics, "r", swmr=True) as file:
        rows = file["series"].attrs["rows"]
        return {
            name: data[:rows].tobytes() for name, data in file["series"].items()
            if not name.startswith(("seconds", "diagnostics_"))
        }  # fmt: skip
