# The web app and the service, without TensorFlow. See docs/how-to/docker.md; tests/test_docker.py performs these steps without Docker.
FROM python:3.12-slim AS build
# Of pyproject.toml. For a cluster (docs/how-to/kubernetes.md): --build-arg EXTRAS=serve,cloud
ARG EXTRAS=app,serve
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY src /source/src
RUN python -m venv /opt/whatsit \
    && /opt/whatsit/bin/python -m pip install --no-cache-dir --disable-pip-version-check --constraint /source/constraints.txt "/source[$EXTRAS]" \
    && /opt/whatsit/bin/python -m pip uninstall --yes --disable-pip-version-check pip

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 whatsit
COPY --from=build /opt/whatsit /opt/whatsit
ENV PATH=/opt/whatsit/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/whatsit
# Models: run folders or .whatsit files, mounted here, to be read only.
VOLUME /models
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["whatsit", "app", "/models", "--host", "0.0.0.0", "--port", "8501", "--no-browser"]
