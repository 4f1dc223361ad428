"""Each attack is tried: foreign hosts and origins, missing and wrong tokens, sizes, rates, paths, files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Browser
from handmade import write_run
from pretend import QUICK

import distopt.service.app
from distopt.core.errors import ConfigError
from distopt.service.security import digest
from distopt.service.service import Service
from distopt.service.settings import Limits, Settings
from distopt.service.validation import require_allowed

JOBS = "/api/v1/jobs"


@pytest.fixture
def far(settings):
    """A service that other machines can reach."""
    found = Service.open(replace(settings, host="0.0.0.0", names=("lab.example",)))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200), ("localhost:8080", 200), ("[::1]:8080", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("10.0.0.1", 421), ("", 421), ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_a_name_that_was_rebound_to_this_machine_is_refused(service, host, status):
    assert Browser(service).get(JOBS, headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, 404),
        ({}, 404),
    ],
)
def test_a_page_of_another_site_changes_nothing(service, headers, status):
    client = Browser(service)
    assert client.post(f"{JOBS}/1/cancel", headers=headers).status_code == status
    answer = client.ask("OPTIONS", JOBS, headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_form_of_another_site_is_not_taken_for_json(service):
    answer = Browser(service).post(JOBS, content=QUICK, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


def test_every_answer_forbids_foreign_content(service):
    for path in ("/", JOBS, "/static/none.js", "/health", "/nothing"):
        headers = Browser(service).get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';"), path
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_other_machines_need_a_token(far):
    token = far.keys.first()
    assert token is not None
    assert far.keys.first() is None  # shown once
    assert token not in [known.digest for known in far.store.tokens()]
    assert digest(token) in [known.digest for known in far.store.tokens()]
    reader = far.keys.make("read")
    lab = "lab.example"
    assert Browser(far, lab).get("/health").status_code == 200
    assert Browser(far, lab).get("/login").status_code == 200
    for path in (JOBS, "/", "/metrics", "/api/v1/openapi.json"):
        assert Browser(far, lab).get(path).status_code == 401
        for wrong in ("", "x", token[:-1], token + "x", digest(token)):
            headers = {"Authorization": f"Bearer {wrong}"}
            assert Browser(far, lab, **headers).get(path).status_code == 401
        assert Browser(far, lab, Authorization=f"Bearer {reader}").get(path).status_code == 200
    for known, status in ((reader, 401), (token, 404)):
        client = Browser(far, lab, Authorization=f"Bearer {known}")
        assert client.post(f"{JOBS}/1/cancel").status_code == status


def test_a_browser_logs_in_with_a_cookie_that_scripts_cannot_read(far):
    token = far.keys.first()
    client = Browser(far, "lab.example")
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    assert client.get("/").status_code == 401
    answer = client.post("/login", data={"token": token}, follow_redirects=False)
    assert answer.status_code == 303
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/").status_code == 200


def test_what_is_too_large_or_too_often_is_refused(settings):
    limits = Limits(body=1000, changes_per_minute=5, open_jobs=1)
    service = Service.open(replace(settings, limits=limits))
    client = Browser(service)
    assert client.post(JOBS, content=b"x" * 1001).status_code == 413

    async def pieces():  # a body of unknown length
        for _ in range(20):
            yield b"x" * 100

    headers = {"Content-Type": "application/json"}
    assert client.post(JOBS, content=pieces(), headers=headers).status_code == 413
    codes = [client.post(f"{JOBS}/1/cancel").status_code for _ in range(5)]
    assert codes == [404, 404, 404, 429, 429]
    assert client.get(JOBS).status_code == 200
    service.close()


TRICKS = (
    "..",
    "../x",
    "/etc",
    "mine/../../x",
    "mine/gt/",
    "mine//gt",
    "%2e%2e",
    "mine\0",
    ".service",
    ".",
)


def test_a_path_leads_to_no_folder_but_those_that_were_found(service, settings):
    write_run(settings.data / "mine" / "gt")
    write_run(settings.data.parent / "x")
    service.catalogue.refresh(walk=True)
    client = Browser(service)
    for path in ("run", "series", "record", "config", "report", "export", "compare", "graph"):
        for folder in TRICKS:
            answer = client.get(f"/api/v1/{path}", params={"run": folder})
            assert answer.status_code == 404, (path, folder, answer.text)
    assert client.get("/api/v1/run", params={"run": "mine/gt"}).status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


def test_a_link_in_a_run_folder_leads_nowhere(service, settings):
    secret = settings.data.parent / "secret"
    secret.write_text("secret")
    place = write_run(settings.data / "mine")
    service.catalogue.refresh(walk=True)
    for name in ("metrics.h5", "config.toml"):
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(secret)
    client = Browser(service)
    for path in ("record", "config"):
        answer = client.get(f"/api/v1/{path}", params={"run": "mine"})
        assert (answer.status_code, "secret" in answer.text) == (404, False)


def test_what_a_run_says_of_itself_is_text(service, settings):
    evil = "<script>alert(1)</script>"
    write_run(settings.data / evil, algorithm=evil, compressor=evil)
    service.catalogue.refresh(walk=True)
    text = Browser(service).get("/").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "table",
    [
        {"problem": {"name": "logistic", "dataset": "/etc/passwd"}},
        {"problem": {"start": "../start.npy"}},
        {"problem": {"start": "~/start.npy"}},
        {"topology": {"file": "/elsewhere/graph.txt"}},
        {"compressor": {"name": "top_k", "values": {"name": "python", "file": "/tmp/evil.py"}}},
        {"variant": [{"label": "a/b", "algorithm": {"name": "python", "file": "../evil.py"}}]},
        {"problem": {"name": "python", "file": "sub/link.py"}},
    ],
)
def test_configurations_name_no_file_outside_of_the_operators_folder(settings, table):
    files = settings.files
    (files / "sub").mkdir()
    (files / "sub" / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="is not a file in"):
        require_allowed(table, files)
    with pytest.raises(ConfigError, match="distopt serve --files DIR"):
        require_allowed(table, None)


def test_files_of_the_operators_folder_are_allowed(settings):
    require_allowed({"suite": {"title": "P / bytes"}, "variant": [{"label": "a/b"}]}, None)
    mine = {"problem": {"name": "python", "file": "mine.py", "options": {"x": "sub/data.txt"}}}
    require_allowed(mine, settings.files)
    with pytest.raises(ConfigError, match=r'problem\.name = "python" runs code from a file'):
        require_allowed(mine, None)


def test_a_server_on_this_machine_only_knows_its_names(tmp_path):
    here = Settings(data=tmp_path, slots=1)
    assert [here.knows(n) for n in ("localhost", "127.0.0.1", "::1", "lab", "10.0.0.1")] == [
        True, True, True, False, False
    ]  # fmt: skip
    far = replace(here, host="0.0.0.0", names=("lab",))
    assert [far.knows(n) for n in ("lab", "LAB", "10.0.0.1", "evil")] == [True, True, True, False]


def test_the_page_is_complete_and_loads_nothing_from_elsewhere(service):
    client = Browser(service)
    static = Path(distopt.service.app.STATIC)
    assert sum(path.stat().st_size for path in (static / "vendor").glob("*.min.*")) <= 500_000
    listed = [
        line.split()[-1] for line in (static / "vendor" / "VENDOR").read_text().splitlines()[1:]
    ]
    assert sorted(listed) == sorted(
        p.name for p in (static / "vendor").iterdir() if p.name != "VENDOR"
    )
    for path in ("/", "/new", "/new?example=demo", "/api", "/login"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert not re.findall(r'(?:src|href|action)="(?!/|#)[^"]*"', answer.text)
        assert not re.findall(r"\son\w+=|<style|style=|<script(?![^>]*(?:src|type=\"application/json\"))",
                              answer.text)  # fmt: skip
        for link in re.findall(r'(?:src|href)="(/(?:static|base)[^"]*)"', answer.text):
            assert client.get(link).status_code == 200, link
    answer = client.get("/jobs/77", headers={"Accept": "text/html"})
    assert (answer.status_code, "There is no job 77." in answer.text) == (404, True)
