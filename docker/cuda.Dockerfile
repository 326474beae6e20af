# Serves an exported detector on an NVIDIA GPU, without PyTorch:
#   docker build -f docker/cuda.Dockerfile -t lookonce-serve-cuda .
#   docker run --gpus all -p 8000:8000 -e LOOKONCE_TOKEN=secret -v "$PWD/model.onnx:/models/model.onnx:ro" \
#     lookonce-serve-cuda
FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_INSTALL_DIR=/app/python
WORKDIR /app
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --locked --no-dev --extra serve --no-install-project --python 3.13
COPY src src
# The two builds of ONNX Runtime have the same files: the one for the CPU goes first.
RUN uv sync --locked --no-dev --extra serve --no-editable --python 3.13 \
    && uv pip uninstall onnxruntime \
    && uv pip install onnxruntime-gpu

FROM nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /models
# A number: Kubernetes' runAsNonRoot accepts no name.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=3)"]
ENTRYPOINT ["lookonce", "serve", "--host", "0.0.0.0", "--quiet", "--json-log", "--device", "cuda"]
CMD ["model.onnx"]
