# One wheel, four images: --target api, api-inline, worker or operator.
# A release pins the base by its digest (PIN=true make images): --build-arg BASE=python:3.13-slim@sha256:...
ARG BASE=python:3.13-slim

FROM ${BASE} AS wheel
WORKDIR /src
COPY requirements/build.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY operator operator
RUN pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheel .

# The pinned packages come before the wheel, so that a change of our code leaves their layer as it is.
FROM ${BASE} AS api-packages
COPY requirements/api.txt .
RUN pip install --no-cache-dir --require-hashes --prefix /packages -r api.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --no-index --prefix /packages /wheel/*.whl

FROM ${BASE} AS api-inline-packages
COPY requirements/api-inline.txt .
RUN pip install --no-cache-dir --require-hashes --prefix /packages -r api-inline.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --no-index --prefix /packages /wheel/*.whl

FROM ${BASE} AS worker-packages
COPY requirements/worker.txt .
RUN pip install --no-cache-dir --require-hashes --prefix /packages -r worker.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --no-index --prefix /packages /wheel/*.whl

FROM ${BASE} AS operator-packages
COPY requirements/operator.txt .
RUN pip install --no-cache-dir --require-hashes --prefix /packages -r operator.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --no-index --prefix /packages /wheel/*.whl

FROM ${BASE} AS runtime
# PYTHONSAFEPATH: a file in the working folder cannot stand in for a module.
# RES_OPTIONS: a silent name server holds a lookup for 1 s, not 10; SIGTERM waits for the lookup under way.
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RES_OPTIONS="timeout:1 attempts:1"
WORKDIR /app
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# Each target imports once what it starts: a base image comes without the standard library's bytecode, and compiling it
# anew at every start on a read-only root would take 0.6 s. The user is a number: Kubernetes sees that it is not root.
FROM runtime AS api
LABEL org.opencontainers.image.title="iris-api" \
      org.opencontainers.image.description="The HTTP side of iris-serving: takes predictions, queues them as jobs, answers"
COPY --from=api-packages /packages /usr/local
RUN PYTHONDONTWRITEBYTECODE= python -c "import iris_service.cli, iris_service.api.__main__, iris_service.tracing.export"
USER 10001:10001
COPY --chmod=0555 models /app/models
ENV IRIS_MODELS=/app/models IRIS_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["iris"]
CMD ["api"]

# The same with what a worker predicts with, for IRIS_SYNC=inline.
FROM runtime AS api-inline
LABEL org.opencontainers.image.title="iris-api-inline" \
      org.opencontainers.image.description="The HTTP side of iris-serving, which may answer predictions itself"
COPY --from=api-inline-packages /packages /usr/local
ENV ORT_DISABLE_TELEMETRY=1
RUN PYTHONDONTWRITEBYTECODE= python -c "import onnxruntime, iris_service.cli, iris_service.api.__main__, iris_service.api.inline.inline, iris_service.tracing.export"
USER 10001:10001
COPY --chmod=0555 models /app/models
ENV IRIS_MODELS=/app/models IRIS_HOST=0.0.0.0 IRIS_SYNC=inline
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["iris"]
CMD ["api"]

# CMD ["recovery"] runs the process that picks up after lost workers.
FROM runtime AS worker
LABEL org.opencontainers.image.title="iris-worker" \
      org.opencontainers.image.description="The queue's side of iris-serving: answers the jobs of one model version"
COPY --from=worker-packages /packages /usr/local
# Unless told before it is imported, ONNX Runtime keeps a device id and reports its use to its maker.
ENV ORT_DISABLE_TELEMETRY=1
RUN PYTHONDONTWRITEBYTECODE= python -c "import onnxruntime, iris_service.cli, iris_service.worker.__main__, iris_service.tracing.export"
USER 10001:10001
COPY --chmod=0555 models /app/models
ENV IRIS_MODELS=/app/models IRIS_METRICS_HOST=0.0.0.0 IRIS_METRICS_PORT=9100
EXPOSE 9100
ENTRYPOINT ["iris"]
CMD ["worker"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="iris-operator" \
      org.opencontainers.image.description="The Kubernetes operator of iris-serving"
COPY --from=operator-packages /packages /usr/local
RUN PYTHONDONTWRITEBYTECODE= python -c "import iris_operator.__main__"
USER 10001:10001
ENTRYPOINT ["python", "-m", "iris_operator"]

# What `skaffold dev` builds: the same, with source that can be changed while it runs (docs/develop-on-kind.md).
FROM api AS api-dev
COPY k8s/reload.py /reload.py
ENTRYPOINT ["python", "/reload.py", "iris"]
CMD ["api"]

FROM worker AS worker-dev
COPY k8s/reload.py /reload.py
ENTRYPOINT ["python", "/reload.py", "iris"]
CMD ["worker"]

FROM operator AS operator-dev
COPY k8s/reload.py /reload.py
ENTRYPOINT ["python", "/reload.py", "python", "-m", "iris_operator"]

# Without --target nobody gets one of those.
FROM api
