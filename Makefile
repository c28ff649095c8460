# `make demo` and `make test` work alone, in any order, from a fresh clone: both make or update their environment.
SHELL := bash
VENV ?= .venv
OUT ?= demo-output
DIST ?= dist
PYTHON ?=
ARGS ?=
PY := $(VENV)/bin/python
export PYTHON

.PHONY: help demo test lint types docs wheel lock run-environment dev-environment

help:
	@echo "make demo    install, then annotate one slice of a bundled stack and paint all others; result in $(OUT)/"
	@echo "make test    install, then run the tests (ARGS='-m slow' for the slow ones)"
	@echo "make lint    ruff and import-linter;   make types   mypy"
	@echo "make docs    the website, in site/;    make wheel   wheel and source archive, in $(DIST)/"
	@echo "make lock    renew constraints.txt with the newest versions"

demo: run-environment
	$(PY) -m napari_incontext_seg demo --out $(OUT) --overwrite

test: dev-environment
	bash .ci/display $(PY) -m pytest $(ARGS)

lint: dev-environment
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: dev-environment
	$(PY) -m mypy

docs: dev-environment
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

wheel: dev-environment
	$(PY) -m build --no-isolation --outdir $(DIST)

# 3.11.2 is the oldest Python in use that is tested for (Debian 12); markers are dropped, as no package has two versions.
lock: dev-environment
	$(PY) -m uv pip compile --universal --python-version 3.11.2 --fork-strategy fewest --all-extras --group dev \
	  --upgrade --no-annotate --no-header --quiet pyproject.toml | sed 's/ ;.*//' > constraints.new
	(echo '# One tested version of every package, for all extras and groups. Made by `make lock`.'; cat constraints.new) > constraints.txt
	rm constraints.new

run-environment:
	@bash .ci/environment $(VENV) run

dev-environment:
	@bash .ci/environment $(VENV) dev
