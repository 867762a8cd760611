# flowcore on a fresh machine: `make run`. Needs Python 3.11 or later and git; no root.
#
#   make install   a virtual environment in .venv with flowcore and its tools, and the editor built (make editor)
#   make run       the bus, the runtime, the factory flow with simulated machines, and a live table
#   make test      the whole test suite            make check   lint and types
#   make docs      write the generated pages and the site, in site/
#   make wheel     the wheel and the source distribution, in dist/
#   make drills    the long drills, as a table
#   make peers     the same work in Node-RED, dora and raw nats-py: installs them into .peers, eight minutes
#   make parity    our nodes beside Node-RED's, message by message: installs Node-RED into .peers, a minute
#   make gpu-check PYTHON=python3   tensors on a GPU: checks and benchmark with that Python and what it has installed
#   make clean     take away what was made here
#
# PYTHON=python3.13 make install   uses that interpreter.

PYTHON ?= python3
# The tests start a thousand interpreters: each would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install editor run test check docs wheel drills peers parity gpu-check clean

install: $(STAMP) editor

editor: $(STAMP)
	@$(BIN)/python web-editor/build.py || echo "the editor was not built; everything else works"

$(STAMP): pyproject.toml constraints.txt
	@missing=""; \
	command -v git >/dev/null 2>&1 || missing="$$missing git"; \
	if ! command -v $(PYTHON) >/dev/null 2>&1; then missing="$$missing python3 python3-venv"; \
	elif ! $(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1; then missing="$$missing python3-venv"; fi; \
	if [ -n "$$missing" ]; then echo "Missing:$$missing. Install with: sudo apt-get install -y$$missing"; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); flowcore needs Python 3.11 or later: make install PYTHON=python3.12"; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: install
	$(BIN)/flowcore up flows/factory.json --simulate machines --table

test: install
	@$(BIN)/python web-editor/build.py test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff check flowcore nodes tests docs benchmarks
	$(BIN)/ruff format --check flowcore nodes tests docs benchmarks
	$(BIN)/mypy
	@$(BIN)/python web-editor/build.py check

docs: install
	$(BIN)/python -m flowcore.runtime.control.reference docs/control.md
	$(BIN)/python -m flowcore.flow
	$(BIN)/python -m flowcore.testing.schema
	$(BIN)/python -m flowcore.runtime.type_pages docs/nodes --flows flows
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: install
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist

drills: install
	$(BIN)/python -m tests.drills

peers: install
	$(BIN)/python -m benchmarks.peers

parity: install
	$(BIN)/python -m tests.parity

# Fetches nothing and makes no environment: a machine with a GPU may have no network.
gpu-check:
	@PYTHONPATH=".:nodes:$$PYTHONPATH" $(PYTHON) -m tests.gpu

clean:
	rm -rf $(VENV) .peers dist site web-editor/node_modules flowcore/gateway/editor .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find flowcore nodes tests -name __pycache__ -type d -exec rm -rf {} +
