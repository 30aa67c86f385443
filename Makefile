# `make demo` and `make test` make .venv, install what they need and do their job.
# An older or second Python: make test PYTHON=python3.12

PYTHON ?= python3
# The lowest versions: make test CONSTRAINTS=constraints-lowest.txt
CONSTRAINTS ?= constraints.txt
PIP_INSTALL = .venv/bin/pip install --constraint $(CONSTRAINTS)

.PHONY: demo test test-all test-clients test-web mutants lint docs audit bench
.DELETE_ON_ERROR:

demo: .venv/.demo-stamp
	.venv/bin/efsnet demo

test: .venv/.test-stamp
	.venv/bin/pytest

test-all: .venv/.test-stamp
	.venv/bin/pytest -m ""

# Runtimes of users, 2 GB in build/clients.
test-clients: .venv/.test-stamp
	.venv/bin/python benchmarks/clients.py --install build/clients
	.venv/bin/pytest -m clients

# The pages in headless Chromium; CHROMIUM=path names another one than Debian's.
test-web: .venv/.test-stamp web/node_modules/.package-lock.json
	cd web && npm test

# npm writes this file last.
web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm > /dev/null || { \
	    echo "make test-web needs Node 20.19 or newer with npm: nodejs.org" >&2; exit 1; }
	cd web && npm ci

mutants: .venv/.test-stamp
	$(PIP_INSTALL) mutmut
	.venv/bin/python tests/mutants.py

lint: .venv/.lint-stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# The site, in build/site; NO_MKDOCS_2_WARNING hides the theme's advertisement.
docs: .venv/.docs-stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

audit: .venv/.test-stamp
	$(PIP_INSTALL) pip-audit
	.venv/bin/pip-audit --skip-editable

bench: .venv/.test-stamp
	.venv/bin/python benchmarks/train_step.py
	.venv/bin/python benchmarks/input_pipeline.py

# A stamp is newer than the files that say what is installed.
STAMPS := .venv/.demo-stamp .venv/.lint-stamp .venv/.test-stamp
$(STAMPS) .venv/.docs-stamp: setup.cfg pyproject.toml $(CONSTRAINTS) | .venv/bin/pip

.venv/.demo-stamp:
	$(PIP_INSTALL) --editable ".[lite]"
	@touch $@

.venv/.lint-stamp:
	$(PIP_INSTALL) --editable ".[test]"
	@touch $@

.venv/.docs-stamp:
	$(PIP_INSTALL) --editable ".[docs]"
	@touch $@

.venv/.test-stamp:
	@.venv/bin/python -c "import sys; sys.exit(sys.version_info >= (3, 14))" || { \
	    echo "TensorFlow has no release for $$(.venv/bin/python -V) yet: delete" \
	        ".venv and run: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	$(PIP_INSTALL) --editable ".[all,test]"
	@touch $(STAMPS)

# pip is the last thing that venv makes: a venv without it is made again.
.venv/bin/pip:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	    echo "keras-efsnet needs Python 3.11 or newer, and $(PYTHON) is not:" \
	        "make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
