"""A convolutional network in JAX learns ten digits on four ranks, none of which sees more than four.

    mpirun -n 4 python launch/examples/digits_jax.py [FOLDER]

writes the run and a picture of accuracy and loss against bytes to FOLDER (runs/digits-jax). The same
file makes the costs of a configuration: name = "python", file = "digits_jax.py".
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import distopt
import distopt.jax


def network(p, images):
    """Return the scores of ten digits, float32[b, 10], for images : float32[b, 8, 8, 1]."""
    x = images
    for layer in ("first", "second"):
        x = jax.lax.conv_general_dilated(
            x, p[layer]["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + p[layer]["b"])
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))
    return x.reshape(len(x), -1) @ p["third"]["w"] + p["third"]["b"]


def loss(p, images, digits):
    """Return the cross entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(network(p, images)), digits[:, None], 1).mean()


def accuracy(p, images, digits):
    """Return the share that is recognised."""
    return (network(p, images).argmax(1) == digits).mean()


def make_cost(agent, agents, batch=0, seed=0):
    """Make the cost of one agent; agent 0 also has the test images."""
    rng = np.random.default_rng(seed)  # the same start at all agents
    shapes = {"first": (3, 3, 1, 16), "second": (3, 3, 16, 32), "third": (128, 10)}
    parameters = {
        name: {
            "w": np.float32(rng.normal(size=shape) * (2 / np.prod(shape[:-1])) ** 0.5),
            "b": np.zeros(shape[-1], np.float32),
        }
        for name, shape in shapes.items()
    }
    images, digits = load_digits(return_X_y=True)
    images = np.float32(images.reshape(-1, 8, 8, 1) / 16)
    order = rng.permutation(len(digits))
    train, test = order[:1400], order[1400:]
    mine = np.array_split(train[digits[train].argsort(kind="stable")], agents)[agent]  # by digit
    return distopt.jax.Cost(
        loss, parameters, (images[mine], digits[mine]), batch=batch,
        held_out=(images[test], digits[test]) if agent == 0 else None,
        measures={"accuracy": accuracy},
    )  # fmt: skip


def main(folder):
    """Train as one rank; rank 0 draws."""
    from mpi4py import MPI

    rank, ranks = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
    cost = make_cost(rank, ranks)
    result = distopt.minimize(cost, iterations=300, record_every=10, out=folder, overwrite=True)
    if result.root:
        draw(result, folder)
        print({name: round(value, 3) for name, value in result.summary["measures"].items()}, folder)


def draw(result, folder):
    """Draw accuracy and loss on the test images against bytes."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(7, 2.8), layout="constrained").subplots(1, 2)
    for name, ax in zip(("measures.accuracy", "measures.loss"), axes, strict=True):
        distopt.plot(result, x="bytes", y=name, ax=ax, legend=False)
    axes[0].figure.savefig(folder / "accuracy.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits-jax"))
