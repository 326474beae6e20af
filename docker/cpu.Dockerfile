# Serves an exported detector on the CPU, without PyTorch:
#   docker build -f docker/cpu.Dockerfile -t lookonce-serve .
#   docker run -p 8000:8000 -e LOOKONCE_TOKEN=secret -v "$PWD/model.onnx:/models/model.onnx:ro" lookonce-serve
FROM python:3.13-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-dev --extra serve --no-install-project
COPY src src
RUN uv sync --locked --no-dev --extra serve --no-editable

FROM python:3.13-slim
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /models
# A number: Kubernetes' runAsNonRoot accepts no name.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=3)"]
ENTRYPOINT ["lookonce", "serve", "--host", "0.0.0.0", "--quiet", "--json-log"]
CMD ["model.onnx"]
