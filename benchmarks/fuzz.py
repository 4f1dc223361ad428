"""Every operation of the service's HTTP API, called with what its schema allows and what it forbids.

    python benchmarks/fuzz.py [--cases 100]

Serves a folder with a finished and a queued job, and lets schemathesis (extra "fuzz") call all operations
but the endless stream of events, once with any numbers and names of runs and once with those that exist.
Ends with exit code 0 if no answer had status 500 or more, and each had a status, a type and a body that the
schema names.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn

import distopt
from distopt.service.app import create_app
from distopt.service.service import Service
from distopt.service.settings import Limits, Settings

SMALL = {
    "problem": {"name": "quadratic", "agents": 3, "dimension": 4},
    "algorithm": {"name": "gt"},
    "run": {"iterations": 30},
}
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance",
)  # fmt: skip
KNOWN = """
[parameters]
"path.number" = 2
"query.run" = "mine"
"query.job" = 1
"""
OFTEN = 10**9  # changes a minute, so that the limit of rates hides nothing


def main() -> int:
    """Serve and call."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--cases", type=int, default=100, help="of an operation, at most")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--schemathesis", default="schemathesis", help="its command")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="distopt-fuzz-") as place:
        data = Path(place)
        distopt.run(distopt.make_config(SMALL, data), engine="simulate", out=data / "mine")
        limits = Limits(changes_per_minute=OFTEN, open_jobs=OFTEN)
        service = Service.open(Settings(data=data, slots=2, limits=limits))
        service.catalogue.refresh(walk=True)
        config = uvicorn.Config(create_app(service), port=0, log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with distopt.Client(address) as client:
            client.wait(client.submit(SMALL, engine="simulate"))
            client.submit(SMALL, engine="simulate")
        codes = []
        for known in ("", KNOWN):
            (data / "schemathesis.toml").write_text(known)
            done = subprocess.run(
                [
                    given.schemathesis, "--config-file", "schemathesis.toml",
                    "run", f"{address}/api/v1/openapi.json",
                    "--checks", ",".join(CHECKS), "--max-examples", str(given.cases),
                    "--seed", str(given.seed), "--exclude-path", "/api/v1/events",
                    "--request-timeout", "300", "--suppress-health-check", "all", "--no-shrink",
                    "--continue-on-failure", "--warnings", "off",
                ],
                check=False, cwd=place,
            )  # fmt: skip
            codes.append(done.returncode)
        server.should_exit = True
        thread.join()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
