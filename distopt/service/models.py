"""What the API takes and gives."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Engine = Literal["mpi", "simulate"]
ENDLESS = 2**31


class Submission(BaseModel):
    """A configuration or suite, as TOML or as its tables."""

    model_config = ConfigDict(extra="forbid")

    config: Annotated[str | dict[str, Any], Field(description="TOML, or its tables")]
    name: Annotated[
        str, Field(max_length=80, description="of the job; made from it where empty")
    ] = ""
    engine: Annotated[Engine, Field(description="MPI ranks, or all agents in one process")] = "mpi"
    priority: Annotated[int, Field(ge=-1000, le=1000, description="larger goes first")] = 0


class Checked(BaseModel):
    """What a submission comes to."""

    kind: str
    name: str
    ranks: Annotated[int, Field(description="that run at once")]
    cases: Annotated[list[str], Field(description="the runs of a suite")]
    config: Annotated[str, Field(description="TOML as given")]
    resolved: Annotated[str, Field(description="TOML with every default; of a suite its first run")]


class JobOut(BaseModel):
    """A job."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    kind: Annotated[str, Field(description="run or suite")]
    engine: str
    state: Annotated[
        str,
        Field(
            description="queued, starting, running, stopping, finished, failed, cancelled or interrupted"
        ),
    ]
    priority: int
    ranks: int
    cases: int
    folder: Annotated[str, Field(description="in the service's data folder")]
    attempt: Annotated[int, Field(description="how often it was started")]
    submitted: Annotated[float, Field(description="seconds since 1970")]
    started: float | None
    ended: float | None
    code: Annotated[int | None, Field(description="exit code of its command")]
    message: Annotated[str, Field(description="why it failed or waits")]
    changed: Annotated[int, Field(description="number of its latest change")]


class RunOut(BaseModel):
    """A run folder, of the service or of the command line."""

    model_config = ConfigDict(from_attributes=True)

    folder: Annotated[str, Field(description="in the service's data folder; its name in this API")]
    job: int | None
    state: Annotated[
        str, Field(description="running, finished, stopped, interrupted or unreadable")
    ]
    algorithm: str
    compressor: str
    problem: str
    agents: int | None
    dimension: int | None
    iterations: Annotated[int | None, Field(description="to be done")]
    iteration: Annotated[int | None, Field(description="done")]
    records: int
    stationarity: Annotated[float | None, Field(description="P at the last record")]
    objective: float | None
    bytes_per_agent: float | None
    seconds: float | None
    written: Annotated[float, Field(description="seconds since 1970")]
    message: str
    changed: int


class JobDetail(JobOut):
    """A job with its runs."""

    runs: list[RunOut]


class Jobs(BaseModel):
    """Some jobs."""

    total: int
    jobs: list[JobOut]


class Runs(BaseModel):
    """Some runs."""

    total: int
    runs: list[RunOut]


class Changes(BaseModel):
    """What has changed; deleted jobs and runs have the state "deleted"."""

    since: int
    cursor: Annotated[int, Field(description="since of the next question")]
    jobs: list[JobOut]
    runs: list[RunOut]


class Series(BaseModel):
    """New rows of a run's record, a list for each series."""

    since: Annotated[int, Field(description="rows before these; 0: forget the earlier ones")]
    rows: Annotated[int, Field(description="of the whole record")]
    cursor: Annotated[str, Field(description="cursor of the next question")]
    thinned: Annotated[bool, Field(description="rows between the extremes were left out")]
    status: str
    series: dict[str, list[float | None]]
    units: dict[str, str]
    available: list[str]


class Curve(BaseModel):
    """Points of one curve."""

    x: list[float | None]
    y: list[float | None]


class RunCurves(BaseModel):
    """New points of the curves of one run; where there is a fault, only that."""

    fault: Annotated[str, Field(description="why there are none")] = ""
    since: Annotated[int, Field(description="rows before these; 0: forget the earlier ones")] = 0
    rows: Annotated[int, Field(description="of the whole record")] = 0
    cursor: Annotated[str, Field(description="cursor of the next question")] = ""
    thinned: Annotated[bool, Field(description="rows between the extremes were left out")] = False
    status: str = ""
    available: Annotated[list[str], Field(description="the series of the record")] = []
    curves: dict[str, Curve] = {}


class Link(BaseModel):
    """One direction of a link."""

    model_config = ConfigDict(populate_by_name=True)

    source: Annotated[int, Field(alias="from")]
    target: Annotated[int, Field(alias="to")]
    nbytes: Annotated[
        int | None, Field(alias="bytes", description="sent; nothing: no checkpoint says")
    ]


class Graph(BaseModel):
    """The graph of a run, and what went over each of its links."""

    agents: int
    graph: Annotated[str, Field(description="its name")]
    iteration: Annotated[int | None, Field(description="of the checkpoint that has the counts")]
    bytes_on_wire: Annotated[int | None, Field(description="over all links")]
    missing: Annotated[int, Field(description="bytes that the record has beyond these")]
    links: list[Link]


class Log(BaseModel):
    """What a job has printed."""

    text: str
    cursor: Annotated[int, Field(description="since of the next question")]


class Priority(BaseModel):
    """A new priority."""

    model_config = ConfigDict(extra="forbid")

    priority: Annotated[int, Field(ge=-1000, le=1000)]


class Fault(BaseModel):
    """What is wrong."""

    sentence: str
    key: Annotated[str | None, Field(description="of the configuration, such as algorithm.eta")]
    kind: str


class Error(BaseModel):
    """The answer to a request that is refused."""

    error: Fault


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok", "stuck"]
    version: str
    slots: int
    busy: Annotated[int, Field(description="ranks that run")]
    jobs: dict[str, int]
