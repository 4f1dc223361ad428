"""The kill campaign: runs are killed, paused and refused the disk, and must end as if nothing had been.

    export PYTHONPATH=tests
    python tests/chaos/chaos.py --kills 2000 --seed 1                 random histories in one process
    python tests/chaos/chaos.py --kills 100 --engine mpi              MPI jobs of four ranks
    python tests/chaos/chaos.py --sweep kill                          at every file operation in turn
    python tests/chaos/chaos.py --seed 1 --trial 17                   replay one trial of a campaign
    python tests/chaos/chaos.py --history "cgt1 quantize: run kill@17"

The exit code is 1 if a history ends otherwise than the run without faults. Docs: reliability.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from math import inf
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from histories import History, Stage, Trial, undisturbed
from ledger import AGENTS
from operations import LETHAL, Fault, available
from run_table import SAMPLE

KINDS = {
    "kill": 14, "torn": 6, "full": 1, "readonly": 1, "broken": 1, "pause": 1, "SIGTERM": 1,
    "SIGINT": 1, "SIGUSR1": 1, "clock": 1,
}  # fmt: skip
JOB_KINDS = {
    "kill": 10, "torn": 3, "full": 1, "readonly": 1, "broken": 1, "pause": 1, "SIGTERM": 1, "SIGINT": 1,
    "SIGUSR1": 1,
}  # fmt: skip
TIMED = {"kill", "pause", "SIGTERM", "SIGINT", "SIGUSR1"}
EARLY = 120  # file operations; about as many as a resume does before its first iteration
LATE_MS, LATE_JOB_MS = 250.0, 4000.0
IN_TURN = 16  # trials of one algorithm and compressor, whose kernels are loaded once
SWEPT = ("cgt1", "quantize-dithered")


def draw_history(seed: int, number: int, power: bool = False) -> History:
    """Draw trial `number` of a campaign."""
    draw = random.Random(f"{seed} {number}")
    pair = SAMPLE[number // IN_TURN % len(SAMPLE)]
    operations, stages = undisturbed(pair).operations, []
    for place in range(draw.randint(1, 16)):
        kinds = KINDS | ({"power": sum(KINDS.values())} if power else {})
        (kind,) = draw.choices([*kinds], [*kinds.values()])
        if kind == "clock":
            fault = Fault(kind, draw.choice([-86400, -3600, 5, 3600]))
        elif kind in TIMED and draw.random() < 0.25:
            fault = Fault(kind, after=round(draw.uniform(0.0, LATE_MS), 1))
        else:
            fault = Fault(kind, draw.randint(1, draw.choice([EARLY, operations])))
        do = "resume" if place and draw.random() < 0.9 else "over" if place else "run"
        stages.append(Stage(do, fault))
    return History(pair, tuple(stages))


def draw_job(seed: int, number: int) -> tuple[History, str]:
    """Draw trial `number` of a campaign of MPI jobs, and the engine of its last stage."""
    draw = random.Random(f"mpi {seed} {number}")
    stages = []
    for place in range(draw.randint(1, 3)):
        (kind,) = draw.choices([*JOB_KINDS], [*JOB_KINDS.values()])
        rank = f"rank{draw.randrange(AGENTS)}"
        if kind in TIMED and (kind != "kill" or draw.random() < 0.5):
            whom = ["command"] if kind.startswith("SIG") else [rank]
            who = draw.choice(whom if kind != "kill" else [rank, "all", "mpirun", "command"])
            fault = Fault(kind, after=round(draw.uniform(0.0, LATE_JOB_MS)), who=who)
        else:
            who = draw.choice([rank, "rank0"])  # which writes the most
            fault = Fault(kind, draw.randint(1, 600 if who == "rank0" else 100), who=who)
        stages.append(Stage("resume" if place else "run", fault))
    last = "mpi" if draw.random() < 0.25 else "simulate"
    return History(draw.choice(SAMPLE), tuple(stages)), last


def say(*lines: str) -> None:
    """Print lines at once."""
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


@dataclass
class Told:
    """What came of one trial."""

    name: str
    history: str
    struck: list[str]
    wrong: list[str]
    seconds: float


def play_drawn(seed: int, number: int, power: bool = False) -> Told:
    """Play one trial of a campaign."""
    history = draw_history(seed, number, power)
    trial = Trial(history, random.Random(f"power {seed} {number}")).play()
    name = f"{'--power ' * power}--seed {seed} --trial {number}"
    return Told(name, str(history), trial.struck, trial.wrong, trial.seconds)


def play_job(seed: int, number: int) -> Told:
    """Play one trial of a campaign of MPI jobs."""
    from jobs import JobTrial

    history, last = draw_job(seed, number)
    trial = JobTrial(history, random.Random(f"power {seed} {number}"), last).play()
    name = f"--engine mpi --seed {seed} --trial {number}"
    return Told(name, f"{history} ({last})", trial.struck, trial.wrong, trial.seconds)


def play_given(text: str) -> Told:
    """Play one history; one whose faults name ranks is one of MPI jobs."""
    from jobs import JobTrial

    kind = JobTrial if ":" in text.partition(":")[2] else Trial
    trial = kind(History.read(text), random.Random(text)).play()
    return Told(f'--history "{text}"', text, trial.struck, trial.wrong, trial.seconds)


def sweep(kind: str, step: int) -> Iterator[str]:
    """List histories with one fault, at each file operation in turn: of a run, a resume, an overwriting."""
    pair, count = " ".join(SWEPT), undisturbed(SWEPT).operations
    for first in ("run", f"run kill@{count // 2} resume", "run over"):
        last = min(count, EARLY) if first == "run over" else count
        for at in range(1, last + 1, step):
            yield f"{pair}: {first} {kind}@{at}"


class Campaign:
    """Plays trials in worker processes and counts."""

    def __init__(self, jobs: int, log: Path | None = None) -> None:
        self.jobs, self.log = jobs, log
        self.trials = 0
        self.seconds = 0.0
        self.struck: Counter[str] = Counter()
        self.wrong: list[Told] = []

    @property
    def kills(self) -> int:
        """How many processes were killed so far."""
        return sum(self.struck[kind] for kind in LETHAL)

    def play(self, calls: Iterator[tuple[Callable[..., Told], tuple]], kills: int | None) -> None:
        """Play until there are no more trials, or there were enough kills."""
        with ProcessPoolExecutor(self.jobs, get_context("fork")) as pool:
            pending: set[Future[Told]] = set()
            more = True
            while more or pending:
                while more and len(pending) < 2 * self.jobs:
                    call = next(calls, None) if kills is None or self.kills < kills else None
                    more = call is not None
                    if call:
                        pending.add(pool.submit(call[0], *call[1]))
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    self.count(future.result())

    def go_on(self) -> set[str]:
        """Count the trials that are in the log; return their names."""
        lines = self.log.read_text().splitlines() if self.log and self.log.exists() else []
        done = [Told(**json.loads(line)) for line in lines]
        for told in done:
            self.count(told, new=False)
        return {told.name for told in done}

    def count(self, told: Told, new: bool = True) -> None:
        """Enter one trial; print it if it is wrong."""
        if new and self.log:
            with self.log.open("a") as file:
                file.write(json.dumps(asdict(told)) + "\n")
        self.trials += 1
        self.seconds += told.seconds
        self.struck.update(told.struck)
        if told.wrong:
            self.wrong.append(told)
            say(f"\nWRONG  {told.history}\n  replay: chaos.py {told.name}", *told.wrong)

    def report(self) -> str:
        """Say what was done."""
        counts = ", ".join(f"{kind} {n}" for kind, n in sorted(self.struck.items()))
        return (
            f"{self.trials} histories, {self.kills} kills, {len(self.wrong)} wrong, "
            f"{self.seconds:.0f} s of trials ({counts})"
        )


def main() -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trial", type=int, help="only this one")
    parser.add_argument("--history", help="only this one")
    parser.add_argument("--sweep", metavar="FAULT", help="at every file operation in turn")
    parser.add_argument("--step", type=int, default=1, help="of a sweep, at every n-th operation")
    parser.add_argument(
        "--power", action="store_true", help="half of the faults are losses of power"
    )
    parser.add_argument("--engine", choices=["simulate", "mpi"], default="simulate")
    parser.add_argument("--log", type=Path, help="keep the trials here, and go on from there")
    parser.add_argument("--seconds", type=float, default=inf, help="begin no trial after these")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if not available():
        say("This system cannot watch system calls (seccomp with user notification).")
        return 2
    campaign, kills, play = Campaign(given.jobs, given.log), None, play_drawn
    name = f"--seed {given.seed} --trial"
    if given.power:
        play, name = partial(play_drawn, power=True), f"--power {name}"
    if given.engine == "mpi":
        play, name = play_job, f"--engine mpi {name}"
    last = perf_counter() + given.seconds
    if given.history:
        calls = iter([(play_given, (given.history,))])
    elif given.trial is not None:
        calls = iter([(play, (given.seed, given.trial))])
    else:
        done = campaign.go_on()
        if given.sweep:
            texts = sweep(given.sweep, given.step)
            calls = ((play_given, (t,)) for t in texts if f'--history "{t}"' not in done)
        else:
            kills = given.kills
            calls = ((play, (given.seed, n)) for n in range(10**9) if f"{name} {n}" not in done)
    campaign.play(takewhile(lambda _: perf_counter() < last, calls), kills)
    say(campaign.report())
    return bool(campaign.wrong)


if __name__ == "__main__":
    sys.exit(main())
