# Debian's Redis 7, for clusters without one. BASE is a Debian or Ubuntu image.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["redis-server"]
