"""A trained model leaves the program as a state dict, by the names of its parameters (docs: models)."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from distopt.core.errors import CheckpointError, ConfigError, optional
from distopt.problems.costs.model import Layout
from distopt.record import checkpoint
from distopt.record.reader import load

ENDINGS = (".pt", ".pth", ".safetensors")


def state_dict(run_dir: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the mean of the agents' models in the newest checkpoint of a run.

    Nothing of the user's code is run.

    Returns
    -------
    dict[str, ndarray]
        The trained parameters by name, in the model's precision; a shared one under each of its names.
    list[str]
        The names of the model's constants (buffers, frozen parameters), which no run holds.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, or it is not of a model.
    """
    agents = int(load(run_dir).config["problem"]["agents"])
    saved = checkpoint.latest(run_dir / "checkpoints", agents)
    facts = (saved.identity or {}).get("facts", {})
    if not isinstance(facts.get("parameters"), str):
        raise CheckpointError(
            f"{run_dir} is not the run of a PyTorch or JAX model, so its numbers have no names; x of the "
            "agents is in its checkpoints."
        )
    agents -= len(checkpoint.lost_in(saved.identity))
    x = np.mean([checkpoint.read_array(saved.place, i, "x") for i in range(agents)], axis=0)
    layout, others = Layout.from_text(facts["parameters"]), json.loads(facts.get("others", "{}"))
    if x.shape != (layout.dimension,):
        raise CheckpointError(
            f"{saved.place} holds {x.size} numbers an agent, its model {layout.dimension}."
        )
    found = {name: part.astype(facts["dtype"]) for name, part in layout.split(x).items()}
    found |= {alias: found[name].copy() for alias, name in others.items() if name}
    return found, [name for name, same in others.items() if not same]


def write_state(run_dir: Path, path: Path) -> list[str]:
    """Write the state dict of a run for ``torch.load`` or as safetensors, as the file's name ends.

    Returns the names of constants that it lacks.
    """
    from distopt.core.files import write_whole

    if path.suffix not in ENDINGS:
        raise ConfigError(f"--torch {path} has another ending than {', '.join(ENDINGS)}.")
    what = f"A file {path.suffix}"
    if path.suffix == ".safetensors":
        save: Any = optional("safetensors.numpy", what, extra="torch").save
        arrays, missing = state_dict(run_dir)
        write_whole(path, save(arrays, metadata={"format": "pt"}))
        return missing
    torch = optional("torch", what, extra="torch")
    arrays, missing = state_dict(run_dir)
    content = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, content)
    write_whole(path, content.getvalue())
    return missing
