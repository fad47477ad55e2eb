"""What the peers are given: a base image with `uv`, and Dockerfiles."""

import os
import shutil
from pathlib import Path

DOCKERFILE = """\
FROM {base}
USER 0
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 PATH=/opt/app/bin:$PATH
RUN uv --no-cache venv --quiet /opt/app
WORKDIR /opt/app/src
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --quiet --python /opt/app -r requirements.txt
COPY . .
{static}USER 1001
CMD ["python"]
"""
STATIC = "RUN python manage.py collectstatic --noinput\n"


def base_context(place: Path, uv: Path, loaded):
    """Of a base with `uv`, and with the certificates that this machine trusts, as warpdrive's builds do."""
    context = place / "base"
    context.mkdir()
    shutil.copy2(uv, context / "uv")
    shutil.copy2(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), context / "ca.crt")
    (context / "Dockerfile").write_text(
        f"FROM {loaded}\nCOPY uv /usr/local/bin/uv\nCOPY ca.crt /usr/local/share/\n"
        "ENV SSL_CERT_FILE=/usr/local/share/ca.crt\n"
    )
    return context


def dockerfile(app, directory: Path, base):
    text = DOCKERFILE.format(base=base, static=STATIC if app.collectstatic else "")
    (directory / "Dockerfile").write_text(text)
    # A source line must not touch what was installed, nor the Dockerfile the source.
    (directory / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
