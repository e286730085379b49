# Debian's Pushgateway, for clusters without one. BASE is a Debian or Ubuntu image.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-pushgateway && rm -rf /var/lib/apt/lists/*
USER 65532:65532
ENTRYPOINT ["prometheus-pushgateway"]
