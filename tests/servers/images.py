"""The images of the containers, each named once."""

from __future__ import annotations

import os

from deploy.local import jars

KAFKA_IMAGE = f"apache/kafka:{jars.KAFKA.rpartition(':')[2]}"
"""Of the very version whose jars run locally."""
MONGO_IMAGE = "mongo:8.0"


def kafka_image() -> str:
    """Apache's own image, or another that is started alike: `JIEYOU_TEST_KAFKA_IMAGE`."""
    return os.environ.get("JIEYOU_TEST_KAFKA_IMAGE") or KAFKA_IMAGE


def mongo_image() -> str:
    """MongoDB's official image, or another that is started alike: `JIEYOU_TEST_MONGO_IMAGE`."""
    return os.environ.get("JIEYOU_TEST_MONGO_IMAGE") or MONGO_IMAGE
