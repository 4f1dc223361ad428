"""What the adapters cost: a cost's gradient against the library's own forward and backward pass.

    python benchmarks/models.py [--rounds 30] [--library torch]

A network of some 1,000,000 parameters, one batch, both in turn: a fully connected one, and in PyTorch the
transformer of launch/examples. Plain PyTorch is loss.backward() with
gradients set to None before; plain JAX is the compiled value_and_grad of the pytree. The cost has x and the
gradient in float64, as a run has them. Processor time of this process; the median of the ratios of
neighbouring measurements, which a busy machine disturbs little.
"""

import argparse
import sys
from itertools import pairwise
from statistics import median
from time import process_time

import numpy as np
from shared import ROOT

INPUTS, WIDTH, CLASSES = 128, 930, 10  # d = 995,110
BATCHES = (64, 256, 1024)
TEXTS = (2, 8, 32)  # of 64 characters


def torch_pair(batch):
    """Return the plain pass and the cost's, each a function without arguments."""
    import torch
    from torch import nn

    import distopt.torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(INPUTS, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, CLASSES),
    )
    data = torch.randn(1024, INPUTS), torch.randint(CLASSES, (1024,))
    loss, index = nn.functional.cross_entropy, np.arange(0, batch)
    chosen = torch.tensor(index)

    def plain():
        network.zero_grad()
        loss(network(data[0][chosen]), data[1][chosen]).backward()

    return plain, through(distopt.torch.Cost(network, loss, data), index)


def transformer_pair(batch):
    """Do the same with the transformer of the examples."""
    import torch

    import distopt.torch

    torch.set_num_threads(1)
    sys.path.append(str(ROOT / "launch" / "examples"))
    from transformer_torch import CHARACTERS, CONTEXT, Transformer, cross_entropy

    network, index = Transformer(), np.arange(0, batch)
    texts = torch.randint(CHARACTERS, (2, batch, CONTEXT))

    def plain():
        network.zero_grad()
        cross_entropy(network(texts[0]), texts[1]).backward()

    return plain, through(distopt.torch.Cost(network, cross_entropy, tuple(texts)), index)


def jax_pair(batch):
    """Do the same in JAX."""
    import jax
    import jax.numpy as jnp

    import distopt.jax

    rng = np.random.default_rng(0)
    sizes = (INPUTS, WIDTH, WIDTH, CLASSES)
    parameters = [
        (rng.normal(size=(a, b)).astype("f4") / a**0.5, np.zeros(b, "f4"))
        for a, b in pairwise(sizes)
    ]
    data = rng.normal(size=(1024, INPUTS)).astype("f4"), rng.integers(CLASSES, size=1024)

    def loss(p, inputs, targets):
        for w, b in p[:-1]:
            inputs = jax.nn.relu(inputs @ w + b)
        scores = jax.nn.log_softmax(inputs @ p[-1][0] + p[-1][1])
        return -jnp.take_along_axis(scores, targets[:, None], 1).mean()

    both, index = jax.jit(jax.value_and_grad(loss)), np.arange(0, batch)
    on_device = jax.tree.map(jnp.asarray, parameters)

    def plain():
        jax.block_until_ready(both(on_device, data[0][index], data[1][index]))

    return plain, through(distopt.jax.Cost(loss, parameters, data), index)


def through(cost, index):
    """Return the gradient of a batch as a run asks for it."""
    x, out = cost.start, np.empty(cost.dimension)
    return lambda: cost.batch_gradient(x, index, out)


def seconds(function):
    """Return the processor time of one call."""
    began = process_time()
    function()
    return process_time() - began


def measure(pair, rounds):
    """Return medians of the plain pass, in seconds, and of the ratio."""
    for function in pair * 3:
        function()
    times = [[seconds(function) for function in pair] for _ in range(rounds)]
    return median(plain for plain, _ in times), median(own / plain for plain, own in times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--library", choices=["torch", "jax"], action="append")
    given = parser.parse_args()
    print(
        "| library | network | batch | plain pass, ms of processor time | through the cost |\n"
        "|---|---|---|---|---|"
    )
    cases = {
        "torch": [("connected", torch_pair, b) for b in BATCHES]
        + [("transformer", transformer_pair, b) for b in TEXTS],
        "jax": [("connected", jax_pair, b) for b in BATCHES],
    }
    for library in given.library or ("torch", "jax"):
        for network, make_pair, batch in cases[library]:
            plain, ratio = measure(make_pair(batch), given.rounds)
            print(
                f"| {library} | {network} | {batch} | {1e3 * plain:.1f} | {100 * (ratio - 1):+.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
