"""Which rank of an MPI job this process is, without asking MPI."""

import os


def this_rank() -> int | None:
    """Return this process's rank if it was started as part of an MPI job, from the environment only.

    Known: Open MPI's and MPICH's mpirun (and anything else that speaks PMI or PMIx), and srun with more
    than one task. In a batch script or a one-task step of Slurm this process is not a rank.
    """
    env = os.environ
    if "OMPI_COMM_WORLD_RANK" in env:
        return int(env["OMPI_COMM_WORLD_RANK"])
    if "MPI_LOCALRANKID" in env and "PMI_RANK" in env:  # hydra, even where srun started its proxies
        return int(env["PMI_RANK"])
    if "SLURM_STEP_NUM_TASKS" in env:
        several = int(env["SLURM_STEP_NUM_TASKS"]) > 1
        return int(env.get("SLURM_PROCID", 0)) if several else None
    for name in ("PMI_RANK", "PMIX_RANK"):
        if name in env:
            return int(env[name])
    return None
