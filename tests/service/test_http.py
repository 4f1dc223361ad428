"""The API from end to end, with real processes, through the client of the package."""

import signal
import time

import numpy as np
import pytest
from browser import serving
from pretend import QUICK

import distopt
from distopt.core.errors import ConfigError, DistoptError
from distopt.service.service import Service
from distopt.service.settings import Settings

SUITE = f"""
{QUICK}
[[variant]]
label = "plain"
algorithm = {{ name = "gt", eta = 0.2, gamma = 0.5 }}
[[variant]]
label = "zed"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that has time, as beside other jobs checks and starts take long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("service.service.CHECK", "service.service.DRAW", "service.worker.START"):
            patch.setattr(f"distopt.{name}_SECONDS", 600.0)
        yield Service.open(Settings(data=tmp_path_factory.mktemp("service"), slots=4))


@pytest.fixture(scope="module")
def http(service):
    with serving(service) as found:
        yield found


@pytest.fixture(scope="module")
def client(http):
    return distopt.Client(http=http)


def test_a_job_from_submission_to_figure(service, http, client, tmp_path):
    data = service.settings.data
    number = client.submit(QUICK, name="Quick", engine="simulate")
    (run,) = [r.folder for r in client.wait(number).runs]
    job = client.wait(number)
    assert (job.state, job.kind, job.ranks, job.message) == ("finished", "run", 1, "")
    assert (job.runs[0].state, job.runs[0].iteration) == ("finished", 40)
    rows = [*client.follow(run, ["stationarity", "objective"])]
    record = distopt.load(data / run)  # what the service makes, the command line reads
    assert rows[0].series["stationarity"] == record["stationarity"].tolist()
    mine = distopt.run(distopt.load_config(data / run / ".service" / "quick.toml"),
                       engine="simulate", out=tmp_path / "run")  # fmt: skip
    assert np.array_equal(distopt.load(mine)["stationarity"], record["stationarity"])
    for name in ("figure.svg", "rows.csv"):
        assert client.fetch(number, tmp_path / name).stat().st_size > 0
    client.fetch(run, tmp_path / "record.h5")
    assert (tmp_path / "record.h5").read_bytes() == (data / run / "metrics.h5").read_bytes()
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + len(record["iteration"])
    page = http.get("/api/v1/report", params={"run": run})
    assert page.headers["content-security-policy"].startswith("sandbox;")
    assert "P at the end" in page.text
    graph = http.get("/api/v1/graph", params={"run": run}).json()
    assert graph["bytes_on_wire"] == record["bytes_on_wire"][-1]
    assert graph["bytes_on_wire"] == sum(link["bytes"] for link in graph["links"])
    drawn = http.get("/api/v1/graph", params={"run": run, "format": "svg"})
    assert drawn.text.startswith("<svg")
    assert drawn.headers["content-type"] == "image/svg+xml"
    client.delete(number)
    assert not (data / run).exists()
    with pytest.raises(DistoptError, match=f"There is no job {number}"):
        client.job(number)


@pytest.mark.slow
def test_a_suite_and_its_comparison(http, client):
    number = client.submit(SUITE, engine="simulate")
    job = client.wait(number)
    assert (job.state, job.kind, job.cases) == ("finished", "suite", 2)
    runs = [run.folder for run in job.runs]
    assert [folder.rpartition("/")[2] for folder in runs] == ["plain", "zed"]
    found = http.get("/api/v1/compare", params={"run": runs}).json()
    assert [v["variant"] for v in found["variants"]] == ["plain", "zed"]
    assert "<table" in found["tables"][0]["html"]


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ("[algorithm]\neta = -1", "algorithm.eta", "is not acceptable"),
        ("[algoritm]\n", "algoritm", 'did you mean "algorithm"'),
        ("sed = 3\n[algorithm]\neta = -1", "run.sed", "\n  algorithm.eta = -1 is not acceptable"),
        ("[algorithm]\nname = 'zedd'", "algorithm.name", 'did you mean "zed"'),
        ("[problem", None, "The text is not valid TOML"),
    ],
)
def test_an_error_is_the_sentence_of_the_command_line_and_its_key(http, change, key, words):
    answer = http.post("/api/v1/check", json={"config": f"{QUICK}{change}"})
    assert answer.status_code == 422
    assert answer.json()["error"]["key"] == key
    assert words in answer.json()["error"]["sentence"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "The request must be a JSON object."),
        (b"{x", "The request is not JSON: "),
        (b"{}", "config is missing"),
        (
            b'{"config": 3}',
            "config = 3 is not acceptable; accepted: a string in quotes or a table.",
        ),
        (b'{"config": "", "engin": "mpi"}', "engin is not known"),
    ],
)
def test_a_request_that_does_not_fit_ends_in_a_sentence(http, sent, words):
    answer = http.post("/api/v1/check", content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]["sentence"].startswith(words)


def test_what_cannot_run_is_refused_before_it_waits(client):
    with pytest.raises(ConfigError, match="needs 6 ranks"):
        client.submit(QUICK.replace("agents = 2", "agents = 6"))
    assert client.check(QUICK).ranks == 2
    assert (
        client.check({"problem": {"name": "quadratic", "agents": 3}}, engine="simulate").ranks == 1
    )


def test_the_registry_has_a_schema_for_every_part(http):
    found = http.get("/api/v1/registry").json()
    names = {kind: {m["name"] for m in found[kind]["members"]}
             for kind in ("algorithms", "compressors", "costs", "topologies")}  # fmt: skip
    assert {"zed", "gt"} <= names["algorithms"]
    eta = next(m for m in found["algorithms"]["members"] if m["name"] == "zed")["schema"]
    assert eta["properties"]["eta"]["default"] == "auto"
    nested = next(m for m in found["compressors"]["members"] if m["name"] == "top_k")["schema"]
    assert "compressor" in str(nested["properties"]["values"])
    assert "iterations" in found["common"]["run"]["properties"]


def test_the_schema_of_the_api_names_the_form_of_every_error(http):
    schema = http.get("/api/v1/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            if path.startswith("/api/"):
                content = told["responses"]["422"]["content"]["application/json"]
                assert content["schema"]["$ref"].endswith("/Error"), (path, method)


def test_operators_see_whether_it_works(http):
    assert http.get("/health").json()["status"] == "ok"
    lines = http.get("/metrics").text.splitlines()
    assert "distopt_up 1" in lines
    assert 'distopt_jobs{state="queued"} 0' in lines


def test_two_services_do_not_share_a_folder(service):
    data = service.settings.data
    with pytest.raises(DistoptError, match="Another service works in"):
        Service.open(Settings(data=data, slots=1))


def test_a_worker_that_hangs_or_dies_is_replaced(service, http):
    maker = service.maker
    maker.do("registry")
    maker.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DistoptError, match="no answer within"):
        maker.do("check", 0.1, config=QUICK, name="", engine="mpi", files=None)
    maker.do("registry")
    maker.process.kill()
    maker.process.wait()
    assert maker.do("check", config=QUICK, name="", engine="mpi", files=None)["ranks"] == 2


def test_a_service_far_away_does_not_answer(unused_port):
    client = distopt.Client(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(DistoptError, match="does not answer"):
        client.job(1)
    client.close()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_the_queue_goes_on_after_an_error(service, http, monkeypatch):
    before = service.dispatcher.ticked
    with monkeypatch.context() as patch:
        patch.setattr(service.catalogue, "refresh", lambda *a: 1 / 0)
        time.sleep(1)
    until = time.monotonic() + 60
    while service.dispatcher.ticked == before and time.monotonic() < until:
        time.sleep(0.1)
    assert service.dispatcher.ticked > before
