# `efsnet` with LiteRT alone, for a user without rights and a read-only root:
#
#   docker build --tag efsnet .
#   docker run --rm --read-only --network none --user "$(id -u)" \
#       --volume "$PWD":/data efsnet predict scans --out results

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/efsnet \
    && /opt/efsnet/bin/pip install --no-cache-dir --constraint constraints.txt ".[lite,dicom]"

FROM python:3.13-slim
COPY --from=build /opt/efsnet /opt/efsnet
ENV PATH=/opt/efsnet/bin:$PATH
WORKDIR /data
# nobody: no rights, no home.
USER 65534:65534
ENTRYPOINT ["efsnet"]
CMD ["--help"]
