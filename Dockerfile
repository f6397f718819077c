# `tidegate serve` without torch and without a compiler.
#
#     docker build -t tidegate .
#     docker run --rm -p 8000:8000 -e TIDEGATE_TOKEN=... -v "$PWD":/models:ro tidegate reviews.safetensors
#
# Without a token in the environment the server makes one and prints it.
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels '.[serve]'

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'tidegate[serve]'
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tidegate
USER 10001
WORKDIR /models
EXPOSE 8000
# asks for no token; python, as the image has no curl
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["tidegate", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--help"]
