# The image of every stage and command of Tocsin; docs/how-to/deploy.md says how to run it.
# Versions are exact but without digests: no registry could be asked for them where this was written. Before you rely on
# it, pin the digest that your registry shows: FROM python:3.11.14-slim-bookworm@sha256:...
# For linux/amd64: faust-streaming has wheels for no other Linux, and nothing is compiled here.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
# Dependencies first: they change less often than the code. Everything that is fetched is held to its hash.
COPY requirements-uv.lock requirements-run.lock requirements.lock ./
RUN pip install --require-hashes -r requirements-uv.lock \
 && python -m venv --without-pip /opt/tocsin \
 && uv pip install --python /opt/tocsin/bin/python --only-binary :all: --require-hashes -r requirements-run.lock
COPY pyproject.toml README.md LICENSE ./
COPY detectors detectors
COPY streams streams
# requirements.lock holds what builds the wheel; none of that is in the image.
RUN uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir dist . \
 && uv pip install --python /opt/tocsin/bin/python --no-deps --compile-bytecode dist/*.whl

# Where `tocsin web` may write: a volume that is mounted there takes over whose it is.
RUN mkdir /build/cache

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="Tocsin" \
      org.opencontainers.image.description="An open, exact outage detector: reports in Kafka become incidents." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tocsin /opt/tocsin
COPY --from=build --chown=10001:10001 /build/cache /var/cache/tocsin-web
ENV PATH=/opt/tocsin/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Written nowhere but in /tmp, where the stages of one worker have their sockets, and by `tocsin web` in
# /var/cache/tocsin-web: the root may be read-only.
WORKDIR /etc/tocsin
USER 10001:10001
EXPOSE 6066 6068
STOPSIGNAL SIGTERM
# Of a worker, on its default port; `tocsin web` has a port of its own, and other commands need no check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:6066/readyz', timeout=4)"]
ENTRYPOINT ["tocsin"]
CMD ["worker"]
