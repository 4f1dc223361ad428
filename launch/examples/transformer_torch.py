"""A character transformer of a million parameters learns Python's standard library on four ranks.

    mpirun -n 4 python launch/examples/transformer_torch.py [FOLDER]

Each rank has files of its own, the first one four times as many as the last. They take 20 steps of AdamW
between two messages, each of which holds the few largest differences. The run, and a picture of the loss on
files that nobody has against gradients and bytes, go to FOLDER (runs/transformer-torch). The same file
makes the costs of a configuration: name = "python", file = "transformer_torch.py".
"""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import distopt
import distopt.torch

CHARACTERS = 128  # ASCII; others are one of them
CONTEXT = 64
SHARES = (4, 3, 2, 1)  # of the files


class Transformer(nn.Module):
    """A decoder, normalised before each part, that predicts every next character."""

    def __init__(self, width=144, layers=4, heads=4):
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, width)
        self.places = nn.Parameter(torch.randn(CONTEXT, width) * 0.02)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.characters.weight, std=0.02)

    def forward(self, text):
        """Return the scores of the next characters, float32[batch, CHARACTERS, CONTEXT]."""
        x = self.characters(text) + self.places
        for layer in self.layers:
            x = layer(x)
        return (self.norm(x) @ self.characters.weight.T).transpose(1, 2)


class Layer(nn.Module):
    """Attention to what came before, then two dense layers."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """Return x, float32[batch, CONTEXT, width], with both parts added."""
        parts = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Windows(torch.utils.data.Dataset):
    """Every CONTEXT characters of a text, and the same moved on by one."""

    def __init__(self, text):
        self.text = torch.tensor(np.minimum(np.frombuffer(text, np.uint8), CHARACTERS - 1))

    def __len__(self):
        return (len(self.text) - 1) // CONTEXT

    def __getitem__(self, i):
        part = self.text[i * CONTEXT : (i + 1) * CONTEXT + 1].long()
        return part[:-1], part[1:]


def texts(agents):
    """Return the text of each agent, cut from one list of files, and that of files that nobody has."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(
        path
        for path in library.rglob("*.py")
        if not {"site-packages", "test", "tests", "idle_test"} & set(path.parts)
    )
    read = [path.read_bytes() for path in files]
    held_out = b"".join(read[7::20])
    rest = [text for i, text in enumerate(read) if i % 20 != 7]
    shares = np.resize(SHARES, agents)
    ends = np.round(np.cumsum(shares) / shares.sum() * len(rest)).astype(int)
    cuts = zip([0, *ends[:-1]], ends, strict=True)
    return [b"".join(rest[begin:end]) for begin, end in cuts], held_out


def make_cost(agent, agents, batch=8, width=144, layers=4, tested=256, seed=0):
    """Make the cost of one agent; agent 0 also has what is held out."""
    torch.manual_seed(seed)  # the same start at all agents
    own, held_out = texts(agents)
    test = Windows(held_out)
    some = torch.utils.data.Subset(test, range(0, len(test), max(1, len(test) // tested)))
    return distopt.torch.Cost(
        Transformer(width, layers), cross_entropy, Windows(own[agent]), batch=batch,
        held_out=some if agent == 0 else None, recorded=16, at_once=64,
    )  # fmt: skip


def main(folder, iterations=30):
    """Train as one rank; rank 0 draws."""
    from mpi4py import MPI

    cost = make_cost(MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size)
    result = distopt.minimize(
        cost, algorithm=distopt.DiLoCo(local_steps=20, horizon=20 * iterations),
        compressor=distopt.SparseZoom(), iterations=iterations, record_every=1, out=folder, overwrite=True,
    )  # fmt: skip
    if result.root:
        draw(result, folder)
        torch.save(cost.module_at(result.x[0]).state_dict(), folder / "model.pt")
        print({name: round(value, 3) for name, value in result.summary["measures"].items()}, folder)


def draw(result, folder):
    """Draw the loss on held-out files against gradients and against bytes."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(7, 2.8), layout="constrained").subplots(1, 2)
    for x, ax in zip(("gradients", "bytes"), axes, strict=True):
        distopt.plot(result, x=x, y="measures.loss", ax=ax, legend=False)
    axes[0].figure.savefig(folder / "loss.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/transformer-torch"))
