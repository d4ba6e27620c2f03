# Everything runs from .venv, which is made here; pip is used as you have configured it.
# `make apply` needs python3 (3.11 or newer) and make.  `make test` also needs openssl, certtool, curl and a SoftHSM2 token,
# and as root on Debian installs what it lacks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp carries the digest of the requirements: other requirements, another stamp, a new .venv.
DEV := $(VENV)/dev-$(firstword $(shell cksum <requirements.txt))
# The development environment holds everything that running needs.
RUN := $(or $(wildcard $(DEV)),$(VENV)/run-$(firstword $(shell cksum <requirements-run.txt)))

# Tests are shared out to a process for each core, a file at a time, by name: xdist would begin with the files of many
# tests, and the longest have few; whoever got the last of them would be waited for.
SHARED := -n logical --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help apply test test-all lint bench docs requirements tools clean

help:
	@echo "make apply     plan and apply this repository's pki.toml"
	@echo "make test      the tests, without the heavy ones"
	@echo "make test-all  all tests"
	@echo "make lint      ruff, mypy, import contract"
	@echo "make bench     measure against CFSSL"
	@echo "make docs      write the generated reference pages again, check links and console blocks"

apply: $(RUN)
	$(BIN)/pkicode apply -y

test: $(DEV) tools
	$(BIN)/python -m pytest -q -m "not heavy" $(SHARED)

test-all: $(DEV) tools
	$(BIN)/python -m pytest -q $(SHARED)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) tools
	$(call need,cfssl,golang-cfssl)
	$(call need,wrk,wrk)
	@set -e; for script in bench/[!_]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(DEV)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m pytest -q tests/docs

# Pin again.  The two files hold versions and hashes only, never where they came from.
COMPILE := pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-options --no-emit-index-url --no-emit-trusted-host --no-emit-find-links
EXTRAS := $(foreach extra,notebook scan scan-dask postgres hsm serve,--extra $(extra))
requirements: $(DEV)
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/$(COMPILE) $(EXTRAS) --output-file requirements.txt pyproject.toml requirements.in
	$(BIN)/$(COMPILE) --constraint requirements.txt --output-file requirements-run.txt pyproject.toml requirements-run.in

tools:
	$(call need,openssl,openssl)
	$(call need,certtool,gnutls-bin)
	$(call need,curl,curl)
	$(call need,faketime,faketime)
	$(call need,softhsm2-util,softhsm2)
	$(call need,pkcs11-tool,opensc)
	@PATH="$$PATH:/usr/sbin"; $(call need_here,nginx,nginx)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/run-%: requirements-run.txt
	$(call environment,requirements-run.txt)

$(VENV)/dev-%: requirements.txt
	$(call environment,requirements.txt)

define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "pkicode needs Python 3.11 or newer; say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call install,python3-venv,Python's venv and ensurepip)
	@echo "making $(VENV) from $(1)" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

# $(call need,command,Debian package)
need = @$(need_here)
need_here = command -v $(1) >/dev/null || $(call install,$(2),the command $(1))

# $(call install,Debian package,what it gives): install it where that is ours to do, else say what to do.
define install
{ if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(1)" >&2; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1); } >/dev/null; \
	else echo "$(2) is missing: install it (Debian, Ubuntu: apt install $(1)) and run make again" >&2; exit 1; fi; }
endef
