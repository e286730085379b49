# The runner: torch and what trains with it; neither kopf nor streamlit.
# Built from the repository's root. BASE is any Debian or Ubuntu image with Python 3.11 or newer and its venv module.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE} AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/libraries UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_SYSTEM_CERTS=1
WORKDIR /src
COPY tools/uv.txt tools/uv.txt
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r tools/uv.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
# The libraries are large and change seldom: a layer of their own, the same for every version with the same lock.
RUN --mount=type=cache,target=/root/.cache/uv /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --extra runner
COPY core core
COPY operator operator
COPY runner runner
COPY leaderboard leaderboard
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --no-deps --python /opt/libraries/bin/python --target /opt/velodrome .

FROM ${BASE}
COPY --from=build /opt/libraries /opt/libraries
COPY --from=build /opt/velodrome /opt/velodrome
ENV PATH=/opt/libraries/bin:/opt/velodrome/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/velodrome PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python", "-m", "velodrome_runner"]
