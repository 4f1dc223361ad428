"""What the commands that run something do: in this process, as a rank, or as the parent of ranks."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from distopt.core.errors import CheckpointError, ConfigError
from distopt.core.rank import this_rank
from distopt.mpirun.launcher import (
    PARENT,
    debugging,
    failing_together,
    find_mpirun,
    limit_threads,
    require_equal,
    tell,
)

if TYPE_CHECKING:
    from rich.table import Table

    from distopt.engine.run import Engine
    from distopt.engine.session import Result
    from distopt.studies.compare import Comparison
    from distopt.studies.suite import Case, Suite


@dataclass(frozen=True)
class How:
    """The options that these commands share."""

    simulate: bool
    ranks: int | None
    settings: list[str]
    mpirun_args: str
    as_json: bool
    quiet: bool

    def engine(self) -> "Engine | None":
        """Return the engine of this process; None if it is to start ranks.

        Raises
        ------
        ConfigError
            If --simulate and ranks are asked for together.
        """
        if not self.simulate:
            return None if this_rank() is None else "mpi"
        if this_rank() is not None:
            raise ConfigError(
                "--simulate runs all agents in one process; start it without mpirun or srun."
            )
        if self.ranks is not None:
            raise ConfigError(
                "-n starts MPI ranks, but --simulate has none; leave one of them out."
            )
        return "simulate"

    def mpirun(self, agents: int) -> Callable[[list[str]], list[str]]:
        """Return what makes the mpirun command of a job that runs ``distopt ARGUMENTS``."""
        ranks, mpirun = require_equal(self.ranks, agents), find_mpirun()
        try:
            extra = shlex.split(self.mpirun_args)
        except ValueError as error:
            raise ConfigError(f"--mpirun-args cannot be split into flags: {error}.") from None
        settings = [part for setting in self.settings for part in ("--set", setting)]
        common = settings + ["--debug"] * debugging()
        return lambda arguments: mpirun.line(ranks, [*arguments, *common], extra)


def run(config: Path, out: Path, overwrite: bool, how: How) -> None:
    """Run one configuration."""
    limit_threads(config, how.settings)
    with failing_together():
        engine = how.engine()
        from distopt.config.build import load_config
        from distopt.engine import run as engines
        from distopt.show.console import make_view

        loaded = load_config(config, how.settings)
        require_equal(how.ranks, loaded.problem.agents)
        if engine:
            with make_view(how.quiet) as view:
                result = engines.run(
                    loaded, engine=engine, out=out, overwrite=overwrite, progress=view.report,
                    signals=False,
                )  # fmt: skip
            deliver(result, how)
            return
        if not overwrite:
            engines.prepare_folder(out, overwrite=False)  # refuse before mpirun is started
    line = how.mpirun(loaded.problem.agents)
    start(line(["run", str(config), "--out", str(out), *["--overwrite"] * overwrite]), how)


def resume(run_dir: Path, iterations: int | None, how: How) -> None:
    """Continue a run."""
    limit_threads(run_dir / "config.toml", how.settings)
    with failing_together():
        engine = how.engine()
        agents = agents_of(run_dir)
        require_equal(how.ranks, agents)
        if engine:
            from distopt.engine import run as engines
            from distopt.show.console import make_view

            with make_view(how.quiet) as view:
                result = engines.resume(
                    run_dir, engine=engine, iterations=iterations, settings=how.settings,
                    progress=view.report, signals=False,
                )  # fmt: skip
            deliver(result, how)
            return
    total = [] if iterations is None else ["--iterations", str(iterations)]
    start(how.mpirun(agents)(["resume", str(run_dir), *total]), how)


def agents_of(run_dir: Path) -> int:
    """Read how many agents a run has."""
    from distopt.config.build import read_toml

    path = run_dir / "config.toml"
    if not path.is_file():
        raise CheckpointError(f"{run_dir} is not a run directory: it has no config.toml.")
    agents = read_toml(path).get("problem", {}).get("agents")
    if not isinstance(agents, int):
        raise CheckpointError(f"{path} does not say problem.agents, so it cannot be continued.")
    return agents


def deliver(result: "Result", how: How) -> None:
    """Print what a run came to, or hand it to the parent that will."""
    if not result.root:
        return
    told = {"summary": result.summary, "warnings": result.warnings, "hint": result.resume_hint}
    if PARENT in os.environ:
        tell("result", **told)
        tell("over")
    else:
        present(told, how)


def present(result: dict[str, Any], how: How) -> None:
    """Print a result."""
    from distopt.show import console

    if how.as_json or how.quiet:
        console.show_warnings(result["warnings"], result["hint"])
    else:
        console.show_summary(result["summary"], result["warnings"], result["hint"])
    if how.as_json:
        console.write_json(result["summary"])


def start(command: list[str], how: How) -> None:
    """Run an MPI job, show its progress and its result; fail as it fails."""
    from distopt.mpirun.job import Job
    from distopt.show import console

    results: list[dict[str, Any]] = []
    with console.ProgressView(how.quiet) as view:

        def on_event(event: dict[str, Any]) -> None:
            if event["event"] == "result":
                results.append(event)
            else:
                view.take(event)

        if debugging():
            console.say(shlex.join(command))
        outcome = Job(command, on_event, view.pass_on).wait()
    for sentence in outcome.sentences:
        console.say(sentence)
    if results and not outcome.code:
        present(results[-1], how)
    if outcome.code:
        raise typer.Exit(outcome.code)


def compare_runs(
    paths: Sequence[Path], accuracies: Sequence[float] | None, out: Path | None, how: How
) -> None:
    """Compare runs that exist."""
    from distopt.studies import compare as comparing

    entries = comparing.entries_of_runs(paths)
    show_comparison(comparing.compare(entries, accuracies or comparing.ACCURACIES), out, how)


def compare_suite(
    path: Path,
    out: Path,
    reuse: bool,
    overwrite: bool,
    jobs: int,
    cases: Sequence[int] | None,
    how: How,
) -> None:
    """Run what a suite needs and compare its variants; ranks of a parent run `cases` only."""
    limit_threads(path, how.settings)
    with failing_together():
        engine = how.engine()
        from distopt.show.console import make_view
        from distopt.studies import batch
        from distopt.studies.suite import load_suite

        suite = load_suite(path, how.settings, out)
        needed = batch.choose(suite.cases, reuse=reuse, overwrite=overwrite)
        if cases is not None:
            needed = [suite.cases[i] for i in cases]
        failures: dict[str, str] = {}
        with make_view(how.quiet) as view:
            if engine == "simulate" and jobs > 1 and needed:
                failures = batch.run_side_by_side(needed, jobs, view)
            elif engine:
                failures = batch.run_in_turn(needed, engine, view)
                tell("over")
            elif needed:
                failures = batch.run_in_jobs(needed, suite_line(suite, path, out, how), view)
    if this_rank() in {None, 0} and PARENT not in os.environ:
        show_comparison(suite.compare(failures), out, how)


def suite_line(
    suite: "Suite", path: Path, out: Path, how: How
) -> Callable[[Sequence["Case"]], list[str]]:
    """Return what makes the mpirun command for some cases of a suite."""
    if len(suite.agents) > 1:
        raise ConfigError(
            f"The variants have different numbers of agents ({sorted(suite.agents)}), so they cannot "
            "share one MPI job; use --simulate."
        )
    line = how.mpirun(*suite.agents)

    def command(cases: Sequence["Case"]) -> list[str]:
        numbers = [part for case in cases for part in ("--case", str(suite.cases.index(case)))]
        return line(["compare", str(path), "--out", str(out), "--overwrite", *numbers])

    return command


def show_comparison(comparison: "Comparison", out: Path | None, how: How) -> None:
    """Print a comparison and write its page, figures and numbers; fail if a variant has failed."""
    from distopt.show import console
    from distopt.show.summary import failures, remarks, rich_tables, write_comparison

    written = write_comparison(comparison, out) if out else []
    if not how.quiet and not how.as_json:
        terminal = console.output()
        for table in rich_tables(comparison, terminal.width):
            terminal.print(table)
        for sentence in remarks(comparison):
            terminal.print(sentence, style="dim", markup=False)
        if written:
            terminal.print(f"written: {', '.join(map(str, written))}", markup=False)
    for sentence in failures(comparison):
        console.say(sentence)
    if how.as_json:
        for row in comparison.rows:
            console.write_json(row.to_json())
    if failures(comparison):
        raise typer.Exit(1)


def diagnose(
    path: Path, at: Sequence[int], out: Path | None, options: tuple[int, int, int, float], how: How
) -> None:
    """Measure a network at its start, along a run of its own, or at the checkpoints of a run."""
    if this_rank() is not None:
        raise ConfigError("diagnose works in one process; start it without mpirun or srun.")
    limit_threads(path if path.is_file() else path / "config.toml", how.settings)
    from distopt.show import network_figures, tables
    from distopt.show.figures import png
    from distopt.studies import diagnosis

    request = diagnosis.Request(*options)
    if path.is_dir():
        if at or how.settings:
            raise ConfigError(
                "--at and --set are for a CONFIG; of a run its checkpoints are measured "
                "(run.checkpoint_every and run.keep say which there are)."
            )
        place = out or path
        found = diagnosis.diagnose_run(path, request)
    else:
        from distopt.config.build import load_config

        config = load_config(path, how.settings)
        place = out or Path("runs") / f"{path.stem}-diagnosis"
        found = (
            diagnosis.diagnose_along(config, at, place, request)
            if at
            else diagnosis.diagnose_start(config, request)
        )
    draw = network_figures.along_run if len(found.rows) > 1 else network_figures.at_start
    diagnosis.write_diagnosis(found, place / "diagnosis.h5")
    figures = {"diagnosis.png": draw(found), "recovered.png": network_figures.recovered(found)}
    written = write_files(place, {name: png(figure) for name, figure in figures.items()})
    deliver_table(
        tables.of_diagnosis(found), [place / "diagnosis.h5", *written], found.to_json(), how
    )


def threshold(config: Path, out: Path, jobs: int, overwrite: bool, how: How) -> None:
    """Do what is left of a sweep: in processes, as a rank of a farm, or as the parent of ranks."""
    limit_threads(config, how.settings)
    path = out / "threshold.h5"
    with failing_together():
        from distopt.show.console import make_view
        from distopt.studies import sweep as sweeps

        sweep = sweeps.load_sweep(config, how.settings)
        rank = this_rank()
        results = sweeps.Results.opened(path, sweep, overwrite) if rank in {None, 0} else None
        with make_view(how.quiet) as view:
            if rank is not None:
                sweeps.farm_over_ranks(results, view)
                tell("over")
            elif how.ranks is None:
                sweeps.farm_over_processes(results, jobs, view)
    if rank is not None and (rank > 0 or PARENT in os.environ):
        return
    if how.ranks is not None and rank is None:
        arguments = ["threshold", str(config), "--out", str(out), *["--overwrite"] * overwrite]
        start(farm_line(how)(arguments), how)
        results = sweeps.Results.opened(path, sweep, overwrite=False)
    assert results is not None
    from distopt.show import network_figures, tables
    from distopt.show.figures import png

    results.save()
    written = write_files(out, {"threshold.png": png(network_figures.against_width(results))})
    deliver_table(tables.of_sweep(results), [path, *written], results.to_json(), how)


def farm_line(how: How) -> Callable[[list[str]], list[str]]:
    """Return what makes the mpirun command of a farm: its workers, and rank 0, which deals."""
    assert how.ranks is not None
    with_dealer = replace(how, ranks=how.ranks + 1)
    return with_dealer.mpirun(how.ranks + 1)


def write_files(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    """Write files into a folder, which may have to be made; return their paths."""
    from distopt.core.files import write_whole

    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def deliver_table(
    tables: "tuple[list[Table], list[str]]", written: list[Path], result: dict[str, Any], how: How
) -> None:
    """Print tables with the sentences under them, or one JSON object."""
    from distopt.show import console

    if how.as_json:
        console.write_json(result | {"files": [str(path) for path in written]})
    elif not how.quiet:
        terminal = console.output()
        for table in tables[0]:
            terminal.print(table)
        for sentence in tables[1]:
            terminal.print(sentence, style="dim", markup=False)
        terminal.print(f"written: {', '.join(map(str, written))}", markup=False)
