# On a fresh machine with Python 3.11 or later: `make run`, `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# pyenv's shims offer one Python only: look into each version that it has installed.
PYENV_BINS = $(shell command -v pyenv >/dev/null && ls -d "$$(pyenv root)"/versions/3.1[1-5]*/bin | paste -sd:)
# The certificates that the machine trusts, as pip and the browser use them.
export UV_SYSTEM_CERTS := 1
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
# Tests also wait, for servers and for clocks: that leaves room for half as many again.
WORKERS ?= $(shell echo $$(($(PROCESSORS) * 3 / 2)))
# The project's own settings demand a SECRET_KEY, so the tools use those of the tests.
TOOLS_ENV := DJANGO_SETTINGS_MODULE=tests.settings

.PHONY: help run demo test trials test-all test-versions bench bench-admin bench-handlers fuzz screenshots docs check check-types check-style check-django messages format lock wheel release-check audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# The environment is made again if its Python is too old, or if it has no pip because making it was interrupted.
RECENT := sys.exit(sys.version_info < (3, 11))
HAS_ENV := $(BIN)/python -c 'import pip, sys; $(RECENT)' 2>/dev/null

.venv/run: requirements.txt
	@$(HAS_ENV) || $(PYTHON) -c 'import sys; $(RECENT)' 2>/dev/null || { echo \
	    "$(PYTHON) is missing or older than Python 3.11. Name another: make run PYTHON=python3.12" >&2; exit 1; }
	@$(HAS_ENV) || $(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: .venv/run ## Serve on 127.0.0.1:8000 (PORT, DATABASE_URL), with an admin and a client made on the first run
	$(BIN)/python scripts/run.py

demo: .venv/run ## Play a cluster against the server of `make run` (PORT; ARGS goes to simulate_compute)
	$(BIN)/python scripts/demo.py $(ARGS)

test: .venv/dev ## Run the suite without its trials on both databases, and a part on every version (ARGS runs a part, uncovered)
ifdef ARGS
	scripts/test -n $(WORKERS) --dist worksteal $(ARGS)
else
	$(BIN)/coverage erase
	COVERED=yes scripts/test -n $(WORKERS) --dist worksteal -m "not trial"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	PATH="$$PATH:$(PYENV_BINS)" scripts/test-versions --some
endif

trials: .venv/dev ## Run the rest of the suite on both: other backends, browsers, a newcomer's first minutes, kills
	scripts/test -n $(WORKERS) --dist worksteal -m trial

test-all: .venv/dev ## Run the suite on every supported Python and Django that is found
	PATH="$$PATH:$(PYENV_BINS)" $(BIN)/tox run $(ARGS)

test-versions: .venv/dev ## Run the fast tests on every supported Python and Django that is found (ARGS names pairs)
	PATH="$$PATH:$(PYENV_BINS)" scripts/test-versions $(ARGS)

# Prefer the system's Python: distributions build it with profile-guided optimisation, version managers mostly do not.
BENCH_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' \
    2>/dev/null && echo /usr/bin/python3 || echo $(PYTHON))

.venv-bench/done: requirements.txt benchmarks/requirements.txt
	$(BENCH_PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: .venv-bench/done ## Measure the webhook against its peers (ARGS="--help" lists the options; BENCH_PYTHON)
	.venv-bench/bin/python -m benchmarks.ingest $(ARGS)

bench-admin: .venv/dev ## Time the admin's pages beside a stock ModelAdmin (ARGS="--events 100000 2000000")
	$(BIN)/python -m benchmarks.admin $(ARGS)

bench-handlers: .venv-bench/done ## Measure what durable handlers cost and do, beside django-tasks (ARGS="--rounds 20 --only claim")
	.venv-bench/bin/python -m benchmarks.handlers $(ARGS)

.venv-fuzz/done: requirements.txt fuzz/requirements.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements.txt -r fuzz/requirements.txt || { \
	    echo "make fuzz needs Atheris, which has wheels for CPython 3.11 to 3.13 on x86-64 Linux alone." >&2; exit 1; }
	@touch $@

fuzz: .venv/dev .venv-fuzz/done ## Look for bodies and requests that break a promise (FUZZ_SECONDS=60 for each of the two)
	.venv-fuzz/bin/python -m fuzz.body
	$(BIN)/python -m fuzz.api

screenshots: .venv/dev ## Make the pictures in docs/images again, from a simulated cluster
	$(BIN)/python scripts/screenshots.py

docs: .venv/dev ## Build the documentation as a site in build/site; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder dirhtml --conf-dir docs . build/site

# The longest first. What one of them prints comes when it has ended.
check: .venv/dev ## Lint, format, imports, types, Django's checks, missing migrations, the documentation
	$(MAKE) --no-print-directory --jobs $(PROCESSORS) --output-sync=target check-types docs check-style check-django

check-types: .venv/dev
	$(BIN)/mypy

check-style: .venv/dev
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

check-django: .venv/dev
	$(TOOLS_ENV) $(BIN)/python manage.py makemigrations --check --dry-run
	$(TOOLS_ENV) $(BIN)/python manage.py check --fail-level WARNING
	env -u DEBUG SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	    ALLOWED_HOSTS=tasks.example.org DJANGO_SETTINGS_MODULE=sartiq_tasks.settings \
	    $(BIN)/python manage.py check --deploy --fail-level WARNING

# --add-location file: line numbers would change with every line of code.
messages: .venv/dev ## Renew the translations in tasks/locale, which needs Debian's gettext
	cd tasks && $(CURDIR)/$(BIN)/python -m django makemessages --all --no-obsolete --add-location file
	cd tasks && $(CURDIR)/$(BIN)/python -m django compilemessages

format: .venv/dev ## Format the code and fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/pyproject-fmt --no-print-diff pyproject.toml

lock: .venv/dev ## Renew the requirements, universal over the supported Pythons
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
	    --no-emit-index-url --custom-compile-command 'make lock' pyproject.toml --group project -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
	    --no-emit-index-url --custom-compile-command 'make lock' -c requirements.txt pyproject.toml --group dev -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
	    --no-emit-index-url --custom-compile-command 'make lock' -c requirements.txt --group fuzz -o fuzz/requirements.txt

wheel: .venv/dev ## Build the app's wheel into dist/
	$(BIN)/uv build --quiet --wheel

release-check: .venv/dev ## Build the wheel and the sdist, and use each in a new project
	$(BIN)/python scripts/release_check.py

audit: .venv/dev ## Look for known vulnerabilities in what is installed
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt

clean: ## Remove the environment and everything made by running
	rm -rf .venv .venv-bench .venv-fuzz .tox staticfiles local db.sqlite3* .coverage* htmlcov build dist
