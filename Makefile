# make run    the whole critical path on the starter set: environment, install, train, adapt, evaluate, report
# make test   the test suite          (PYTEST_ARGS="-k cache" narrows it)
# make fuzz   100,000 damaged and hostile inputs, about half an hour   (FUZZ_INPUTS, FUZZ_MINUTES: how many, how long)
# make lint   ruff and mypy
# make bench  the benchmark of benchmarks/README.md, about an hour  (BENCH_OUT=FILE, BENCH_ARGS="--quick")
# make clean  removes what the above made
#
# PYTHON        the interpreter the environment is made from (3.11 or newer)
# VENV          where the environment lies
# INSTALL_ARGS  more arguments for pip install
# OUT           the run folder of `make run`; one that is there is resumed

PYTHON ?= python3
VENV := .venv
INSTALL_ARGS :=
PYTEST_ARGS :=
FUZZ_INPUTS := 100000
FUZZ_MINUTES := 60
BENCH_OUT := benchmarks/results/new.json
BENCH_ARGS :=
OUT := runs/starter

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check install $(INSTALL_ARGS) -c constraints.txt

# `make run` installs the package as a user would (a copy, so a changed source file installs it again);
# `make test` and `make lint` install it in place with the tools. Once it is in place, `make run` uses that.
STAMP_ENV := $(VENV)/.stamp-env
STAMP_APP := $(VENV)/.stamp-app
STAMP_DEV := $(VENV)/.stamp-dev
INSTALLED := $(if $(wildcard $(STAMP_DEV)),$(STAMP_DEV),$(STAMP_APP))
REQUIREMENTS := pyproject.toml constraints.txt
# Folders are listed too: a file that was removed changes its folder only.
SOURCES := $(shell find src -name __pycache__ -prune -o -name '*.egg-info' -prune -o -print)

.PHONY: run test fuzz lint bench clean
# Two installs into one environment must not overlap.
.NOTPARALLEL:

run: $(INSTALLED)
	$(BIN)/metaxcr run starter --out "$(OUT)" --resume

test: $(STAMP_DEV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

fuzz: $(STAMP_DEV)
	METAXCR_FUZZ=$(FUZZ_INPUTS) METAXCR_FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python -m pytest tests/fuzz $(PYTEST_ARGS)

lint: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP_DEV)
	$(BIN)/python benchmarks/run.py --out "$(BENCH_OUT)" $(BENCH_ARGS)

clean:
	rm -rf .venv build dist runs/starter .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(STAMP_ENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv --clear "$(VENV)"
	@touch "$@"

# The stamps go first: an install that is interrupted must not count as done.
$(STAMP_APP): $(REQUIREMENTS) README.md $(SOURCES) | $(STAMP_ENV)
	@rm -f "$(STAMP_APP)" "$(STAMP_DEV)"
	@echo "installing metaxcr and what it needs into $(VENV), versions from constraints.txt (some minutes the first time)"
	@$(PIP) ".[embedded]"
	@touch "$@"

$(STAMP_DEV): $(REQUIREMENTS) | $(STAMP_ENV)
	@rm -f "$(STAMP_APP)" "$(STAMP_DEV)"
	@echo "installing metaxcr in place, what it needs and the tools into $(VENV), versions from constraints.txt"
	@$(PIP) -e ".[embedded,tracking,dev]"
	@touch "$@"
