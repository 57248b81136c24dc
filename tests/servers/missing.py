"""What keeps the tests from running on containers: `python -m tests.servers.missing`.

Prints one line and returns 2 when something is missing; images that are not here are pulled.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from tests.servers.images import kafka_image, mongo_image

if TYPE_CHECKING:
    import docker


def missing() -> str | None:
    """One line that says what is missing, and what to do; None when containers can be started."""
    if any(importlib.util.find_spec(name) is None for name in ("docker", "testcontainers")):
        return "testcontainers is not installed: run `make setup`"
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient

    try:
        client = DockerClient().client
        client.ping()
    except DockerException as error:
        return f"no Docker engine answers ({type(error).__name__}): start one, or set DOCKER_HOST"
    try:
        return _missing_image(client)
    finally:
        client.close()


def _missing_image(client: docker.DockerClient) -> str | None:
    from docker.errors import APIError, ImageNotFound
    from testcontainers.core.config import testcontainers_config

    images = {kafka_image(): "", mongo_image(): ""}
    if not testcontainers_config.ryuk_disabled:
        # It removes containers whose tests were killed.
        images[testcontainers_config.ryuk_image] = ", or set TESTCONTAINERS_RYUK_DISABLED=true"
    for image, instead in images.items():
        try:
            client.images.get(image)
        except ImageNotFound:
            try:
                client.images.pull(image)
            except APIError:
                return f"image {image} is neither here nor to be pulled: load it{instead}"
    return None


def main() -> int:
    """Print the line, if any; the exit code is 0 only if nothing is missing."""
    line = missing()
    if line is not None:
        print(line)
    return 2 if line else 0


if __name__ == "__main__":
    sys.exit(main())
