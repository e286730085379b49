# The runner: torch and the libraries for training, without kopf and streamlit.
# Build it in the repository's root; `make images` builds all. BASE is any Debian or Ubuntu image with Python 3.11 or
# newer and its venv module. The one below is the official Python image, by the digest of its index of platforms.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
# TORCH_INDEX names an index with PyTorch's builds for CPUs: the image then has no CUDA. First run
# `make lock-cpu TORCH_INDEX=…`, which writes that PyTorch's hashes into deploy/images/locks/torch-cpu.txt.
# TORCH_COMPILE=yes adds what torch.compile needs: Triton (1 GB) and a compiler.
ARG TORCH_INDEX=
ARG TORCH_COMPILE=
FROM ${BASE} AS built
ARG TORCH_INDEX
ARG TORCH_COMPILE
# The same sources give the same bytes: sets are compiled in one order.
ENV PYTHONHASHSEED=0 UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
WORKDIR /src
COPY tools/uv.txt ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes -r uv.txt
COPY deploy/images/assemble.py ./
# The libraries are large and seldom change. They have a layer of their own. The star lets torch-cpu.txt be absent.
COPY deploy/images/locks/runner.txt deploy/images/locks/runner-cpu.txt deploy/images/locks/triton.txt deploy/images/locks/torch-cpu.tx[t] ./
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/libraries \
    && install="/opt/uv/bin/uv pip install --no-deps --require-hashes --python /opt/libraries/bin/python" \
    && if [ -z "${TORCH_INDEX}" ]; then $install -r runner.txt; \
       elif [ ! -e torch-cpu.txt ]; then \
         echo "TORCH_INDEX needs deploy/images/locks/torch-cpu.txt: run make lock-cpu TORCH_INDEX=${TORCH_INDEX}" >&2; exit 1; \
       else $install -r runner-cpu.txt && $install --index "${TORCH_INDEX}" --index-strategy unsafe-best-match -r torch-cpu.txt; fi \
    && if [ -n "${TORCH_COMPILE}" ] && [ -z "${TORCH_INDEX}" ]; then $install -r triton.txt; fi \
    && python3 assemble.py --compile /opt/libraries/lib
COPY deploy/images/package /opt/velodrome
COPY core/velodrome /opt/velodrome/velodrome
COPY runner/velodrome_runner /opt/velodrome/velodrome_runner
RUN chmod 755 /opt/velodrome/bin/* && python3 assemble.py --compile /opt/velodrome

# The base stays whole: entries' own images are built from this one, and need its shell and package manager for that.
FROM ${BASE}
ARG BASE
ARG TORCH_COMPILE
RUN if [ -n "${TORCH_COMPILE}" ]; then \
      apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/* /var/log/*; fi
COPY --from=built /opt/libraries /opt/libraries
COPY --from=built /opt/velodrome /opt/velodrome
RUN --mount=type=bind,from=built,source=/src,target=/src python3 -B /src/assemble.py --list-only /
ENV PATH=/opt/libraries/bin:/opt/velodrome/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/opt/velodrome PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="velodrome-runner" \
      org.opencontainers.image.description="Runs one trial of a BenchmarkJob" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
USER 65532:65532
ENTRYPOINT ["python", "-m", "velodrome_runner"]
