# Everything from a fresh clone with only Python >= 3.11, make and git:
#   make demo    play the Zhoukou channel through the running system
#   make test    lint, types and the whole test suite
# `make setup` is part of both and does nothing when nothing has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV = $(BIN)/uv

export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS ?= never
# What pip is told about certificates and the package index holds for uv and the download of jars too.
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
ifdef SSL_CERT_FILE
export REQUESTS_CA_BUNDLE ?= $(SSL_CERT_FILE)
endif
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: help setup demo up down test containers check format lock chaos bench clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(VENV)/.project .cache/kafka-jars/.verified

$(VENV)/.uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.packages: requirements.lock $(VENV)/.uv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $<
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.packages
	$(UV) pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

.cache/kafka-jars/.verified: deploy/local/kafka-jars.lock | $(VENV)/.project
	$(BIN)/python -m deploy.local.jars fetch
	@touch $@

demo: setup
	$(BIN)/jieyou demo

up: setup
	$(BIN)/jieyou up

down: setup
	$(BIN)/jieyou down

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# On what the tests run: local, containers (Docker), or the servers that JIEYOU_KAFKA_URL and
# JIEYOU_MONGO_URL name.
BROKER ?= local
test: $(filter containers,$(BROKER)) check
	JIEYOU_TEST_BROKER=$(BROKER) $(BIN)/python -m pytest

# Ends in one line when something that containers need is missing.
containers: setup
	$(eval MISSING := $(shell $(BIN)/python -m tests.servers.missing))@$(if $(MISSING),$(error $(MISSING)),:)

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# A whole platform lost, moved and restarted under load, then all faults.
chaos: setup
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m tests.chaos

bench: setup
	$(BIN)/python -m tests.bench

# Resolve the packages of pyproject.toml and Kafka's jars anew; with UPGRADE= what is locked stays.
UPGRADE ?= --upgrade
COMPILE = pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"
lock: $(VENV)/.uv
	$(UV) $(COMPILE) $(UPGRADE) --all-extras --group dev pyproject.toml -o requirements.lock
	echo uv | $(UV) $(COMPILE) --constraints requirements.lock - -o requirements-uv.lock
	$(MAKE) setup
	$(BIN)/python -m deploy.local.jars lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
