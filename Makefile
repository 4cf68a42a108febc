# The commands a person types are the commands CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Strict editable installs let type checkers see packages that are mapped from top-level folders.
EDITABLE := --config-settings editable_mode=strict

.PHONY: install serve test test-gateways faults soak attacks fuzz lint format openapi protos vendor bench bench-gateways lock sbom audit clean

## install: the runtime and the `pointsman` command, nothing more
install: $(VENV)/.runtime

## serve: start the service on the bundled model and SQLite
serve: $(VENV)/.serving
	$(BIN)/pointsman serve

## test: everything the tests need, then the tests
test: $(VENV)/.test
	$(BIN)/python -m pytest

## test-gateways: the drop-ins in real gateways, fetched into .cache once
test-gateways: $(VENV)/.test
	$(BIN)/python -m pytest -m gateway tests/serving/gateways

## faults: real servers stopped, frozen, filled up and killed; minutes
faults: $(VENV)/.test
	$(BIN)/python -m pytest -m 'fault or not fault' -s tests/serving/faults

## soak: five minutes of load with faults in between; SOAK_S=7200 for two hours
soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak -s tests/serving/faults --timeout 0

## attacks: text and tricks that try to steer the shipped model, as tables; minutes
attacks: $(VENV)/.test
	$(BIN)/python -m pytest -m attack -s tests/attacks

## fuzz: this many inputs (N=1000000) for the readers, the loaders and the service, with coverage as the guide
N ?= 1000000
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz.run $(N)

## lint: formatting, rules and strict types
lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

## format: rewrite the code as `lint` wants it
format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## openapi: write the OpenAPI document and the TypeScript types again, after a change of the API
openapi: $(VENV)/.test
	$(BIN)/pointsman openapi --output serving/openapi.json
	PATH="$(CURDIR)/$(BIN):$$PATH" npx --yes --package openapi-typescript@7.13.0 --package typescript@5.9.3 \
	  openapi-typescript serving/openapi.json -o serving/clients/js/openapi.d.ts

## vendor: fetch what the console's pages load, as package-lock.json pins it, with its licences
vendor:
	cd serving/console && npm ci --ignore-scripts --no-audit --no-fund
	mkdir -p serving/console/static/vendor
	cp serving/console/node_modules/htmx.org/dist/htmx.min.js serving/console/static/vendor/
	cp serving/console/node_modules/htmx.org/LICENSE serving/console/static/vendor/htmx.LICENSE
	cp serving/console/node_modules/uplot/dist/uPlot.iife.min.js serving/console/node_modules/uplot/dist/uPlot.min.css serving/console/static/vendor/
	cp serving/console/node_modules/uplot/LICENSE serving/console/static/vendor/uPlot.LICENSE
	rm -r serving/console/node_modules

## protos: make the messages between Envoy and the processor again, after a change of the .proto file
protos: $(VENV)/.test
	rm -rf build/protos && mkdir -p build/protos
	$(BIN)/python -m grpc_tools.protoc -Ipointsman/serving/gateways=serving/gateways \
	  --python_out=build/protos --pyi_out=build/protos pointsman/serving/gateways/ext_proc_messages.proto
	cp build/protos/pointsman/serving/gateways/ext_proc_messages_pb2.py* serving/gateways/

## bench: slow measurements, as ratios within one run; writes tests/benchmarks/results/<date>.json and a table
bench: $(VENV)/.test
	$(BIN)/python -m pytest -m benchmark -s tests/benchmarks --results tests/benchmarks/results

## bench-gateways: what asking adds to a request in each gateway, as a table; ONLY='nginx or haproxy' for some of them
bench-gateways: $(VENV)/.test
	$(BIN)/python -m pytest -m benchmark -s tests/serving/gateways/test_added_latency.py -k '$(or $(ONLY),test)'

# One set of pins for every Python from 3.11 and every platform; no registry is named in them.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes
LOCK += --no-emit-index-url --no-header --no-annotate --quiet

## lock: pin the runtime's dependencies anew, with hashes (UPGRADE=--upgrade for newer versions)
lock: $(VENV)/.test
	$(LOCK) $(UPGRADE) --output-file serving/requirements.txt --extra serving --extra signing --extra client --extra tracing
	$(LOCK) --constraint serving/requirements.txt --output-file classifier/requirements.txt

## sbom: the service's bill of materials, CycloneDX
sbom: $(VENV)/.test
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements serving/requirements.txt --output-reproducible -o build/sbom.json

## audit: what is known against the pins; OSV=all.zip (or a folder) asks a local copy of the database, without a network
audit: $(VENV)/.test
	$(BIN)/python tests/supply/advisories.py serving/requirements.txt $(OSV)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pointsman needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# Files come and go; a strict editable install links them one by one, so it is made again when the list changes.
SOURCES := $(shell find classifier training serving -type d -not -name __pycache__)

$(VENV)/.runtime: pyproject.toml $(SOURCES) | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e . $(EDITABLE)
	@touch $@

$(VENV)/.serving: pyproject.toml $(SOURCES) | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[serving]' $(EDITABLE)
	@touch $@ $(VENV)/.runtime

$(VENV)/.test: pyproject.toml $(SOURCES) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet -e '.[serving,training,envoy,tracing]' --group dev $(EDITABLE)
	@touch $@ $(VENV)/.serving $(VENV)/.runtime
