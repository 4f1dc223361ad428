"""What the adapters cost: a cost's gradient against the library's own forward and backward pass.

    python benchmarks/models.py [--rounds 30] [--library torch]

A network of some 1,000,000 parameters, one batch, both in turn: a fully connected one, and in PyTorch the
transformer of launch/examples. Plain PyTorch is loss.backward() with gradients set to None before; plain
JAX is the compiled value_and_grad of the pytree. The cost has x and the gradient in float64 as in a run,
and in float32 as in one with run.dtype = "float32".
For PyTorch also a whole step: the pass and AdamW, that of torch.optim (its default and fused) against the
inner one of diloco, in float64. Processor time of this process; the median of the ratios of neighbouring
measurements, which a busy machine disturbs little.
"""

import argparse
from functools import partial
from itertools import pairwise
from operator import truediv
from statistics import median
from time import process_time

import numpy as np
from shared import example

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

    return plain, *torch_steps(plain, network, distopt.torch.Cost(network, loss, data), index)


def transformer_pair(batch):
    """Do the same with the transformer of the examples."""
    import torch

    import distopt.torch

    torch.set_num_threads(1)
    made = example("transformer_torch")
    network, index, cross_entropy = made.Transformer(), np.arange(0, batch), made.cross_entropy
    texts = torch.randint(made.CHARACTERS, (2, batch, made.CONTEXT))

    def plain():
        network.zero_grad()
        cross_entropy(network(texts[0]), texts[1]).backward()

    cost = distopt.torch.Cost(network, cross_entropy, tuple(texts))
    return plain, *torch_steps(plain, network, cost, index)


def torch_steps(plain, network, cost, index):
    """Return the cost's passes, and whole steps with AdamW: torch.optim's, its fused one, ours."""
    import torch

    import distopt
    from distopt.algorithms.inner import AdamW

    x, out = cost.start, np.empty(cost.dimension)
    inner = AdamW(distopt.DiLoCo(eta=1e-5), x)
    optimizers = [
        torch.optim.AdamW(network.parameters(), lr=1e-5, fused=fused) for fused in (None, True)
    ]

    def step(optimizer):
        plain()
        optimizer.step()

    def own():
        cost.batch_gradient(x, index, out)
        inner.step(x, out)

    return *through(cost, index), *[partial(step, optimizer) for optimizer in optimizers], own


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

    return plain, *through(distopt.jax.Cost(loss, parameters, data), index)


def through(cost, index):
    """Return the gradient of a batch as a run asks for it, in float64 and in float32."""
    return [
        partial(
            cost.batch_gradient, cost.start.astype(dtype), index, np.empty(cost.dimension, dtype)
        )
        for dtype in (np.float64, np.float32)
    ]


def seconds(function):
    """Return the processor time of one call."""
    began = process_time()
    function()
    return process_time() - began


def measure(functions, rounds):
    """Return medians of the plain pass, in seconds, and of ratios: pass to pass, step to steps."""
    for function in functions * 3:
        function()
    times = [[seconds(function) for function in functions] for _ in range(rounds)]
    plain, own, light, *steps = zip(*times, strict=True)
    pairs = [(own, plain), (light, plain), *((steps[-1], other) for other in steps[:-1])]
    return median(plain), [median(map(truediv, a, b)) for a, b in pairs]


def copies(rounds):
    """Return the seconds of rounding x and of writing the gradient, 10^6 entries, each time cold."""
    import torch

    from distopt.torch.parameters import Flat, named_parameters

    plain, *_ = torch_pair(BATCHES[0])
    flat = Flat(named_parameters(torch.nn.Linear(1000, 1000, bias=False)))
    x, out, gradients = np.ones(10**6), np.empty(10**6), [torch.ones(1000, 1000)]
    functions = plain, lambda: flat.load(x), lambda: flat.store(gradients, out)
    times = [[seconds(function) for function in functions] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--library", choices=["torch", "jax"], action="append")
    given = parser.parse_args()
    print(
        "| library | network | batch | plain pass, ms of processor time | through the cost | "
        "in float32 | a step, to AdamW | to fused AdamW |\n|---|---|---|---|---|---|---|---|"
    )
    cases = {
        "torch": [("connected", torch_pair, b) for b in BATCHES]
        + [("transformer", transformer_pair, b) for b in TEXTS],
        "jax": [("connected", jax_pair, b) for b in BATCHES],
    }
    for library in given.library or ("torch", "jax"):
        for network, make_pair, batch in cases[library]:
            plain, ratios = measure(make_pair(batch), given.rounds)
            more = " | ".join(f"{100 * (ratio - 1):+.1f} %" for ratio in ratios)
            print(f"| {library} | {network} | {batch} | {1e3 * plain:.1f} | {more} |", flush=True)
    if "torch" in (given.library or ["torch"]):
        load, store = copies(given.rounds)
        print(f"\nx to float32 {1e3 * load:.2f} ms, the gradient to float64 {1e3 * store:.2f} ms")


if __name__ == "__main__":
    main()
