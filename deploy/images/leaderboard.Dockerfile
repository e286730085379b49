# The leaderboard: streamlit and the store, without torch.
# Build it in the repository's root; `make images` builds all. BASE is any Debian or Ubuntu image with Python 3.11 or
# newer and its venv module. The one below is the official Python image, by the digest of its index of platforms.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${BASE} AS built
# The same sources give the same bytes: sets are compiled in one order.
ENV PYTHONHASHSEED=0 UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
WORKDIR /src
COPY tools/uv.txt ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r uv.txt
COPY deploy/images/assemble.py ./
# The libraries are large and seldom change. They have a layer of their own.
COPY deploy/images/locks/leaderboard.txt ./
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/libraries \
    && /opt/uv/bin/uv pip install --no-deps --require-hashes --python /opt/libraries/bin/python -r leaderboard.txt \
    && python3 assemble.py --trim --compile /opt/libraries/lib
COPY deploy/images/package /opt/velodrome
COPY core/velodrome /opt/velodrome/velodrome
COPY leaderboard/velodrome_leaderboard /opt/velodrome/velodrome_leaderboard
RUN chmod 755 /opt/velodrome/bin/* && python3 assemble.py --compile /opt/velodrome \
    && python3 assemble.py --root /image --python --scan /opt/libraries/lib

# Python, the libraries, the code and what they load: no shell, no package manager, nothing else of the base.
FROM scratch
ARG BASE
COPY --from=built /image/ /
COPY --from=built /opt/libraries /opt/libraries
COPY --from=built /opt/velodrome /opt/velodrome
ENV PATH=/opt/libraries/bin:/opt/velodrome/bin PYTHONPATH=/opt/velodrome PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
LABEL org.opencontainers.image.title="velodrome-leaderboard" \
      org.opencontainers.image.description="Shows the results of races in a browser" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
USER 65532:65532
ENTRYPOINT ["python", "-m", "velodrome", "leaderboard", "--address", "0.0.0.0", "--port", "8501"]
