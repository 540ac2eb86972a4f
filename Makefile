# `make serve`: set up, and serve a model. `make test`: set up, and run all checks. `make bench`: set
# up, and compare the service with what people use instead. `make stack`: all of it, in containers.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

.PHONY: serve test bench stack browser wrk promtool lint format lock clean
.DELETE_ON_ERROR:

# Straight to serving where the model store holds an archive; else the demo is made first.
serve: $(VENV)/installed $(if $(wildcard model_store/*.mar),,model_store/cat-breeds-0.1.mar)
	$(BIN)/catbreeds serve

# OpenMP's threads would spin while they wait, at the cost of whatever else runs.
test: $(VENV)/installed-dev lint browser wrk promtool
	OMP_WAIT_POLICY=passive $(BIN)/pytest

# For the tests of the page, which are skipped where there is none. Only root can install it.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { test "$$(id -u)" = 0 && \
		{ apt-get install --yes chromium || { apt-get update && apt-get install --yes chromium; }; }; } \
		>/dev/null || echo "no Chromium: the page is tested without a browser"

# For the load of benchmarks and of their tests, which are skipped where there is none.
wrk:
	@command -v wrk >/dev/null || { test "$$(id -u)" = 0 && \
		{ apt-get install --yes wrk || { apt-get update && apt-get install --yes wrk; }; }; } \
		>/dev/null || echo "no wrk: nothing is measured under load"

# For the tests of the alert rules, which are skipped where there is none. The package is unpacked, not
# installed, which could start a Prometheus; so only fresh lists take root. Debian 12 has it in prometheus.
DOWNLOAD := { apt-get download promtool 2>/dev/null || apt-get download prometheus; }
promtool:
	@command -v promtool >/dev/null || test -x build/tools/promtool || { \
		mkdir -p build/tools && cd build/tools && { $(DOWNLOAD) || { apt-get update && $(DOWNLOAD); }; } && \
		dpkg --fsys-tarfile prom*.deb | tar -xO ./usr/bin/promtool > unpacked && \
		chmod +x unpacked && mv unpacked promtool && rm prom*.deb; } \
		>/dev/null || echo "no promtool: the alert rules are not tested"

# Ten minutes on two cores, which should have nothing else to do.
bench: $(VENV)/installed-dev wrk
	$(BIN)/catbreeds bench --quick

# With Docker; it needs nothing else. See docs/docker.md.
stack:
	CATBREEDS_REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
		docker compose --file docker/compose.yaml up --wait

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each command writes its result whole or not at all, so that an interrupted `make` can be repeated.
$(DEMO)/data: | $(VENV)/installed
	$(BIN)/catbreeds demo-data $@

$(DEMO)/run/run.json: | $(DEMO)/data
	$(BIN)/catbreeds train demo $(DEMO)/data $(DEMO)/run --resume

model_store/cat-breeds-0.1.mar: | $(DEMO)/run/run.json
	$(BIN)/catbreeds archive $(DEMO)/run --version 0.1 --data $(DEMO)/data

# pip is what a half-made environment lacks.
$(VENV)/bin/pip:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: no $(PYTHON); install Python 3.11, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# The lock pins every package with its hashes; the project itself is installed on top, editable.
$(VENV)/installed: requirements.txt pyproject.toml | $(VENV)/bin/pip
	@echo "the packages, some 6 GB, most of it PyTorch: a minute or more"
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	touch $@

# Takes minutes: hashes of several GB of wheels are looked up.
lock: $(VENV)/installed-dev
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe \
		--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-emit-options --output-file requirements.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe \
		--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-emit-options --extra dev --constraint requirements.txt \
		--output-file requirements-dev.txt pyproject.toml

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
