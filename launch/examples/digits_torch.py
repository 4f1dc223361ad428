"""A convolutional network in PyTorch learns ten digits on four ranks, none of which sees more than four.

    mpirun -n 4 python launch/examples/digits_torch.py [FOLDER]

writes the run and a picture of accuracy and loss against bytes to FOLDER (runs/digits-torch). The same
file makes the costs of a configuration: name = "python", file = "digits_torch.py".
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import distopt
import distopt.torch


def make_cost(agent, agents, batch=0, seed=0):
    """Make the cost of one agent; agent 0 also has the test images."""
    torch.manual_seed(seed)  # the same start at all agents
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    images, digits = load_digits(return_X_y=True)
    images = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    digits = torch.tensor(digits)
    order = torch.randperm(len(digits))
    train, test = order[:1400], order[1400:]
    mine = train[digits[train].argsort(stable=True)].chunk(agents)[agent]  # sorted by digit
    held_out = (images[test], digits[test]) if agent == 0 else None
    return distopt.torch.Cost(
        network, cross_entropy, (images[mine], digits[mine]), batch=batch, held_out=held_out
    )


def main(folder):
    """Train as one rank; rank 0 draws."""
    from mpi4py import MPI

    rank, ranks = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    cost = make_cost(rank, ranks)
    result = distopt.minimize(cost, iterations=300, record_every=10, out=folder, overwrite=True)
    if result.root:
        draw(result, folder)
        network = cost.module_at(result.x[0])
        torch.save(network.state_dict(), folder / "model.pt")
        print({name: round(value, 3) for name, value in result.summary["measures"].items()}, folder)


def draw(result, folder):
    """Draw accuracy and loss on the test images against bytes."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(7, 2.8), layout="constrained").subplots(1, 2)
    for name, ax in zip(("measures.accuracy", "measures.loss"), axes, strict=True):
        distopt.plot(result, x="bytes", y=name, ax=ax, legend=False)
    axes[0].figure.savefig(folder / "accuracy.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits-torch"))
