"""A client of the service, for scripts: submit, wait, follow, fetch."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from distopt.core.errors import DistoptError, named
from distopt.core.files import write_whole
from distopt.service.models import Checked, Engine, JobDetail, Series

if TYPE_CHECKING:
    import httpx

POLL_SECONDS = 0.5
OPEN = {"queued", "starting", "running", "stopping"}


class Client:
    """Talks to a service that `distopt serve` has started.

    Parameters
    ----------
    url : str
        Address of the service.
    token : str, optional
        As the service printed it.
    timeout : float
        Seconds that an answer may take.
    http : httpx.Client, optional
        Used instead of one of its own; `url` and `token` then mean nothing.

    Raises
    ------
    DistoptError
        By every method, with the sentence of the service; if there is no answer; if httpx is missing.

    Examples
    --------
    ::

        with distopt.Client() as client:
            job = client.submit(Path("suite.toml"))
            client.wait(job)
            client.fetch(job, Path("figure.pdf"))
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        token: str | None = None,
        timeout: float = 120.0,
        http: "httpx.Client | None" = None,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise DistoptError(
                'distopt.Client needs httpx; `pip install "distopt-mpi[service]"` installs it.'
            ) from None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = http or httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        """Keep the connection open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.http.close()

    def ask(self, method: str, path: str, **how: Any) -> "httpx.Response":
        """Ask the API; `path` is relative to /api/v1."""
        import httpx

        try:
            answer = self.http.request(method, f"/api/v1{path}", **how)
        except httpx.HTTPError as error:
            raise DistoptError(
                f"The service at {self.http.base_url} does not answer: {error or type(error).__name__}."
            ) from None
        if answer.is_error:
            try:
                fault = answer.json()["error"]
                sentence, kind = str(fault["sentence"]), str(fault["kind"])
            except (ValueError, LookupError, TypeError):
                sentence, kind = f"The service answered with status {answer.status_code}.", ""
            raise named(kind, sentence)
        return answer

    def check(self, config: str | Path | Mapping[str, Any], engine: Engine = "mpi") -> Checked:
        """Check a configuration or suite: a file, its TOML, or its tables."""
        given = {"config": content(config), "engine": engine}
        return Checked.model_validate(self.ask("POST", "/check", json=given).json())

    def submit(
        self,
        config: str | Path | Mapping[str, Any],
        name: str = "",
        engine: Engine = "mpi",
        priority: int = 0,
    ) -> int:
        """Put a configuration or suite into the queue; return the number of the job."""
        given = {
            "config": content(config), "name": name, "engine": engine, "priority": priority
        }  # fmt: skip
        return int(self.ask("POST", "/jobs", json=given).json()["id"])

    def job(self, number: int) -> JobDetail:
        """Return a job and its runs."""
        return JobDetail.model_validate(self.ask("GET", f"/jobs/{number}").json())

    def wait(self, number: int, timeout: float = float("inf")) -> JobDetail:
        """Wait until a job has ended, and return it; `TimeoutError` after `timeout` seconds."""
        until = time.monotonic() + timeout
        while (job := self.job(number)).state in OPEN:
            if time.monotonic() > until:
                raise TimeoutError(f"Job {number} is still {job.state} after {timeout:g} s.")
            time.sleep(POLL_SECONDS)
        return job

    def series(self, run: str, names: Sequence[str] = (), cursor: str = "") -> Series:
        """Return the rows of a run's record after a cursor."""
        asked = {"run": run, "name": [*names], "cursor": cursor, "points": 20_000}
        return Series.model_validate(self.ask("GET", "/series", params=asked).json())

    def follow(self, run: str, names: Sequence[str] = ()) -> Iterator[Series]:
        """Yield the rows of a run as they come, each once, until it has ended.

        An answer whose `since` is 0 begins anew.
        """
        cursor, over = "", False
        while not over:
            over = self.ask("GET", "/run", params={"run": run}).json()["state"] != "running"
            found = self.series(run, names, cursor)
            if found.cursor != cursor:
                cursor = found.cursor
                yield found
            if not over:
                time.sleep(POLL_SECONDS)

    def fetch(
        self,
        what: int | str | Sequence[str],
        path: Path,
        x: Sequence[str] = ("bytes",),
        y: str = "stationarity",
    ) -> Path:
        """Write runs into a file, as its name ends: csv, json, parquet, tex, svg, pdf, png, h5.

        `what` is the number of a job, or one or several runs; h5 is the whole record of one.
        """
        runs = [what] if isinstance(what, str) else what
        if isinstance(runs, int):
            runs = [run.folder for run in self.job(runs).runs]
        ending = path.suffix.lstrip(".")
        if ending == "h5":
            (run,) = runs
            answer = self.ask("GET", "/record", params={"run": run})
        else:
            format = {"tex": "latex"}.get(ending, ending)
            asked = {"run": [*runs], "format": format, "x": [*x], "y": y}
            answer = self.ask("GET", "/export", params=asked)
        write_whole(path, answer.content)
        return path

    def cancel(self, number: int) -> JobDetail:
        """Take a job out of the queue, or ask it to save and stop."""
        return JobDetail.model_validate(self.ask("POST", f"/jobs/{number}/cancel").json())

    def resume(self, number: int) -> JobDetail:
        """Queue a job again that ended early."""
        return JobDetail.model_validate(self.ask("POST", f"/jobs/{number}/resume").json())

    def delete(self, number: int) -> None:
        """Delete a job that does not run, with its folder."""
        self.ask("DELETE", f"/jobs/{number}")


def content(config: str | Path | Mapping[str, Any]) -> str | dict[str, Any]:
    """Return what the API takes of a configuration."""
    if isinstance(config, Path):
        try:
            return config.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DistoptError(f"{config} cannot be read: {error}.") from None
    return config if isinstance(config, str) else dict(config)
