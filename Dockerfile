# One image for every role: `worker` by default, and any other `speechfleet` command.
# Debian, not Alpine: espeak-ng's and Valkey's wheels need glibc.
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/speechfleet
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY worker worker
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/speechfleet/bin/pip install --disable-pip-version-check --no-compile \
    ".[worker,s3,openai,gemini,dashscope,local]"

FROM python:3.12-slim
RUN useradd --system --create-home --uid 10001 speechfleet
COPY --from=build /opt/speechfleet /opt/speechfleet
ENV PATH=/opt/speechfleet/bin:$PATH \
    PYTHONUNBUFFERED=1
USER speechfleet
WORKDIR /home/speechfleet
# Not a shell: SIGTERM has to reach the worker, which then hands its jobs over.
ENTRYPOINT ["speechfleet"]
CMD ["worker"]
