"""A training loop of one's own under MPI: it learns, resumes to the bit, and refuses."""

import re
import subprocess
import sys

import pytest

from distopt.mpirun.launcher import find_mpirun

torch = pytest.importorskip("torch", reason='PyTorch is not installed ("distopt-mpi[torch]")')

PROGRAM = """
import sys
import numpy as np, torch
from mpi4py import MPI
import distopt, distopt.torch

comm = MPI.COMM_WORLD
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
rng = np.random.default_rng(comm.rank)
inputs = torch.tensor(rng.normal(size=(40, 5)), dtype=torch.float32)
targets = inputs.sum(1, keepdim=True).sin()
mean = sys.argv[1]
method = distopt.DiLoCo(eta=0.01, local_steps=4, outer_beta=0.3, mean=mean)

run = {"dtype": sys.argv[2]} if sys.argv[2].startswith("float") else {}

def make():
    return distopt.torch.Optimizer(
        module, method, distopt.SparseZoom(density=0.1), comm, seed=1, **run
    )

def train(optimizer, first, last):
    for t in range(first, last):
        part = slice(t % 5 * 8, t % 5 * 8 + 8)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module(inputs[part]), targets[part])
        loss.backward()
        optimizer.step()
    return float(loss)

def bits():
    return b"".join(p.detach().numpy().tobytes() for p in module.parameters())
"""
RESUME = (
    PROGRAM
    + """
start = {name: p.clone() for name, p in module.state_dict().items()}
with make() as optimizer:
    first = train(optimizer, 0, 1)
    train(optimizer, 1, 42)           # two steps after an exchange
    saved = optimizer.state_dict()
    last = train(optimizer, 42, 300)
    whole, sent = bits(), optimizer.nbytes
    d = sum(p.numel() for p in module.parameters())
    assert {str(a.dtype) for a in saved.values() if a.numel() == d} == {"torch." + run["dtype"]}
module.load_state_dict(start)
with make() as optimizer:
    optimizer.load_state_dict(saved)
    assert optimizer.steps == 42
    train(optimizer, 42, 300)
    assert bits() == whole
assert last < first / 4, (first, last)
x = comm.allgather(whole)
assert (len(set(x)) == 1) == (mean == "tree")     # 300 steps end with an exchange: one model
if comm.rank == 0:
    print("fine", sent)
"""
)
REFUSED = (
    PROGRAM
    + """
what = sys.argv[2]
if what == "algorithm":
    method = distopt.Lead(eta=0.1, gamma=0.3, alpha=0.5)
if what == "shape" and comm.rank == 1:
    module = torch.nn.Linear(5, 2)
with make() as optimizer:
    if what == "backward":
        optimizer.step()
    train(optimizer, 0, 5)
    saved = optimizer.state_dict()
    if what == "nan" and comm.rank == 1:
        inputs[:] = float("nan")
    if what == "state" and comm.rank == 1:
        saved.pop("z")
    if what == "ranks":
        train(optimizer, 5, 6)
        saved = optimizer.state_dict() if comm.rank else saved
    if what == "mine":
        raise ValueError("mine") if comm.rank == 1 else None
    optimizer.load_state_dict(saved)
    train(optimizer, 5, 20)
"""
)


SENTENCES = {
    "algorithm": "algorithm is Lead, whose gradients no loop",
    "shape": "Agent 1|agent 1",
    "backward": r"The parameter 0\.weight has no gradient; call loss\.backward",
    "nan": r"Agent 1 diverged at iteration \d+: gradient\[0\] \(0\.weight\[0, 0\]\) is nan",
    "state": r"The state of agent 1 is of another model",
    "ranks": r"do not belong together: .* after \[5, 6, 6\] steps",
    "mine": "mine",
}


def launch(tmp_path, program, *arguments):
    (tmp_path / "train.py").write_text(program)
    command = find_mpirun().start(3, [sys.executable, "train.py", *arguments])
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("mean", "dtype"),
    [
        ("tree", "float64"),
        ("tree", "float32"),
        pytest.param("gossip", "float64", marks=pytest.mark.slow),
    ],
)
def test_it_learns_and_resumes_to_the_bit(mean, dtype, tmp_path):
    done = launch(tmp_path, RESUME, mean, dtype)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fine")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        pytest.param(what, sentence, marks=[] if what == "ranks" else [pytest.mark.slow])
        for what, sentence in SENTENCES.items()
    ],
)
def test_what_is_refused_ends_all_ranks_with_a_sentence(what, sentence, tmp_path):
    done = launch(tmp_path, REFUSED, "tree", what)
    assert done.returncode != 0
    assert re.search(sentence, done.stderr), done.stderr
