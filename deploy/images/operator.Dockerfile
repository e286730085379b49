# The operator: kopf and the Kubernetes client, without torch and streamlit.
# Build it in the repository's root. BASE is any Debian or Ubuntu image with Python 3.11 or newer and its venv module.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE} AS uv
ENV UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
WORKDIR /src
COPY tools/uv.txt tools/uv.txt
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r tools/uv.txt

FROM uv AS locked
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv export --quiet --frozen --no-dev --no-emit-project --extra operator --extra backup > requirements.txt

FROM uv AS package
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY operator operator
COPY runner runner
COPY leaderboard leaderboard
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --no-deps --compile-bytecode --python /opt/uv/bin/python --target /opt/velodrome . \
    && sed -i '1s|.*|#!/opt/libraries/bin/python|' /opt/velodrome/bin/*

FROM ${BASE}
# The libraries are large and seldom change. They have a layer of their own, which is rebuilt only when their list changes.
COPY --from=locked /src/requirements.txt /opt/requirements.txt
COPY --from=uv /opt/uv /opt/uv
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/libraries \
    && UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy /opt/uv/bin/uv pip install --compile-bytecode --require-hashes \
    --python /opt/libraries/bin/python -r /opt/requirements.txt \
    && rm -r /opt/uv
COPY --from=package /opt/velodrome /opt/velodrome
ENV PATH=/opt/libraries/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/velodrome PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# kopf reads the user's name, and the image has no entry for this user.
ENV USER=velodrome
USER 65532:65532
ENTRYPOINT ["python", "-m", "velodrome_operator"]
