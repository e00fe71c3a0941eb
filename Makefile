# make run: the demo.  make test, make lint: the checks.  Needs python3 >= 3.11 and make; nothing else.
PYTHON ?= python3
# the tested versions; `make run CONSTRAINTS=` takes the newest ones that pyproject.toml allows
CONSTRAINTS ?= -c constraints.txt
# tests at once, file by file: most wait for real runs, and each has its own ports and directories
JOBS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q install $(CONSTRAINTS)

.PHONY: run test lint clean

run: .venv/.installed
	$(BIN)/servebench demo $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# what is installed is installed again only when one of these two files has changed
.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing servebench and what it needs into .venv (a minute)"
	$(PIP) -e .
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing servebench and its test tools into .venv (a minute)"
	$(PIP) -e '.[dev]'
	@touch .venv/.installed $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "servebench needs Python 3.11 or newer: there is no $(PYTHON) on PATH"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "servebench needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V); name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "$(PYTHON) can't make a virtual environment (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
