# Debian's Pushgateway, for clusters without one.
# Build it in the repository's root; `make images` builds all. BASE is any Debian or Ubuntu image with Python 3.11 or
# newer and its venv module. The one below is the official Python image, by the digest of its index of platforms.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${BASE} AS built
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-pushgateway
COPY deploy/images/assemble.py ./
RUN python3 assemble.py --root /image --program /usr/bin/prometheus-pushgateway

# The programs and what they load: no shell, no package manager, nothing else of the base.
FROM scratch
ARG BASE
COPY --from=built /image/ /
ENV PATH=/usr/bin
LABEL org.opencontainers.image.title="velodrome-pushgateway" \
      org.opencontainers.image.description="Debian's Prometheus Pushgateway" \
      org.opencontainers.image.base.name="${BASE}"
USER 65532:65532
ENTRYPOINT ["prometheus-pushgateway"]
