# Two commands: `make demo` and `make test`. Both make .venv in the checkout and install with the pinned constraints.
# Without a GPU on a machine whose pip would take PyTorch's CUDA build:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
PYTHON ?= python3
VENV := .venv/bin
INSTALL := $(VENV)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check clean

demo: .venv/demo
	$(VENV)/vesalius demo demo

test: .venv/test
	$(VENV)/python -m pytest

check: .venv/dev
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy

.venv/%: pyproject.toml constraints.txt
	test -x $(VENV)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.[$*]'
	touch $@

clean:
	rm -rf .venv demo build dist
