"""What follows the death of a job: its run goes on from the newest checkpoint (docs: running)."""

import time
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from distopt.core.errors import CheckpointError, ConfigError
from distopt.engine.failures import Failure
from distopt.mpirun.jobfile import Case
from distopt.mpirun.process import Outcome
from distopt.record import checkpoint
from distopt.record.lock import free_lock

FIRST_PAUSE, GROWTH = 0.5, 4.0  # seconds before the first try of several, and how they grow


class Supervisor:
    """Restarts one run whenever its job dies, as ``run.on_failure`` says.

    Parameters
    ----------
    case : Case
        The run; one with ``resume`` goes on from what its folder holds already.
    say : callable
        Called with a sentence for the user.
    """

    def __init__(self, case: Case, say: Callable[[str], None]) -> None:
        self.case, self.say = case, say
        self.began = time.time()
        self.iteration: int | None = None  # latest that was reported since the job started
        self.reached = -1  # newest checkpoint when the job died last
        self.tries = 0  # since then

    def report(self, iteration: int) -> None:
        """Note how far the run is."""
        if self.iteration is None:
            over = tuple(failure.over() for failure in self.case.failures)
            self.case = self.case.model_copy(update={"failures": over})
        self.iteration = iteration

    def after(self, outcome: Outcome) -> Case | None:
        """Return the case that continues the run, after a pause; None if the run has ended.

        `outcome.sentences` are those that the user must read then.
        """
        config, run = self.case.config, self.case.config.run
        if run.on_failure == "stop" or not outcome.lost or not (outcome.started or self.tries):
            return None
        saved = self.newest()
        origin = saved.iteration if saved else 0
        if origin > self.reached:
            self.reached, self.tries = origin, 0
        reason = " ".join(outcome.sentences)
        if self.tries == run.tries:
            outcome.sentences.append(
                f"This was try {self.tries} of {run.tries} without a newer checkpoint (run.tries), so the "
                f"run ends. To go on: distopt resume {quote(str(self.case.folder))}"
            )
            return None
        how = ""
        if run.on_failure == "continue" and outcome.victim is not None:
            agent = config.problem.member(outcome.victim)
            try:
                config = config.with_settings([f"problem.lost={[*config.problem.lost, agent]}"])
            except ConfigError as error:
                outcome.sentences.append(
                    f"{error} With all agents it goes on by: distopt resume {quote(str(self.case.folder))}"
                )
                return None
            how = f" without agent {agent}"
        self.tries += 1
        done = max(self.iteration or 0, origin)
        at = "" if "iteration" in reason else f" This was at about iteration {done}."
        self.say(
            f"{reason}{at} Restarting from iteration {origin}{how}, try {self.tries} of {run.tries}."
        )
        time.sleep(FIRST_PAUSE * GROWTH ** (self.tries - 1))
        free_lock(self.case.folder, outcome.root)
        since = written(saved) if saved else self.began
        failure = Failure(reason, done, origin, since)
        self.case = Case(
            label=self.case.label,
            seed=self.case.seed,
            folder=self.case.folder,
            config=config,
            resume=saved is not None,
            failures=(*self.case.failures, failure),
        )
        self.iteration = None
        return self.case

    def newest(self) -> checkpoint.Saved | None:
        """Return the newest valid checkpoint of the run.

        A job that died before its first report may not have cleared the folder yet: what was saved before
        it began is another run's then, unless the run goes on from it.
        """
        agents = self.case.config.problem.total
        try:
            saved = checkpoint.latest(Path(self.case.folder) / "checkpoints", agents)
        except CheckpointError:
            return None
        ours = self.iteration is not None or self.case.resume or written(saved) >= self.began
        return saved if ours else None


def written(saved: checkpoint.Saved) -> float:
    """Return when a checkpoint was completed, in seconds since the epoch."""
    return (saved.place / "manifest.json").stat().st_mtime
