# Each target sets up what it needs: only Python >= 3.11, make and a package index are expected.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# The versions that were tested. Empty: what the package index has today (see `newest`).
CONSTRAINTS ?= constraints.txt

.PHONY: demo test test-isa newest fuzz odd check format release-check wheelhouse clean
.PHONY: docs docs-test docs-update

demo: $(READY)  ## train on embedded digits, measure, predict a picture
	$(BIN)/whatsit demo
	@echo "Before these commands, once in each terminal:"
	@echo "  source $(BIN)/activate"

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n auto --dist worksteal --durations=25

test-isa: $(READY)  ## what trains, verifies and exports, as other processors compute it: a line a setting
	$(BIN)/python -m tests.isa

fuzz: $(READY)  ## an hour of damaged and odd pictures, for the decoders to survive
	PYTHONPATH=src $(BIN)/python -m tests.images.fuzz 3600

odd: $(READY)  ## a file of every format that Pillow writes, in odd forms, through explore, train, predict and the service
	PYTHONPATH=src $(BIN)/python -m tests.images.odd_files

docs: $(VENV)/.docs  ## the documentation, strictly, into site/: open site/index.html
	for page in command_line http_routes recipe_keys figures; do $(BIN)/python docs/$$page.py || exit 1; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-test: $(VENV)/.docs  ## run what the documentation says, build it, and search in it
	$(BIN)/python -m pytest -m docs tests/docs -n auto --dist worksteal --durations=5

docs-update: $(VENV)/.docs  ## the same, and write the output that was seen into the pages
	WHATSIT_UPDATE_DOCS=1 $(BIN)/python -m pytest -m docs tests/docs/test_pages.py -n auto --dist worksteal

newest:  ## all checks and tests with the newest versions; where they pass, those become the tested ones
	$(MAKE) check test docs VENV=.venv-newest CONSTRAINTS=
	(grep '^#' constraints.txt; .venv-newest/bin/python -m pip freeze --exclude-editable) > constraints.new
	mv constraints.new constraints.txt

check: $(READY)  ## format, lint, spelling, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell src benchmarks deploy docs notebooks README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md
	$(BIN)/mypy

format: $(READY)  ## mend the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

release-check: $(READY)  ## the wheel, in an empty environment with each extra; SBOM and licences; into dist/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group release
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python release/check.py

wheelhouse: $(READY)  ## a zip of whatsit and all that it needs, for machines without a network; tried without an index
	$(BIN)/python release/wheelhouse.py

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "whatsit needs Python 3.11 or newer; say which with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[all,ray,dev]'
	touch $(READY)

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --group docs
	touch $(VENV)/.docs

clean:
	rm -rf $(VENV) .venv-newest site .pytest_cache .mypy_cache .ruff_cache
