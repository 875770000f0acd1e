# make book   set up, run every notebook, build the site          make test   set up, run the tests
# make lab    open JupyterLab in the notebooks folder             make bench  the speed comparisons
# make clean  remove what was built (the environment and the records stay)
#
# UV_TORCH_BACKEND=cpu make book   installs the small CPU build of torch instead of the CUDA one.
# make test PYTEST="-n 0 -k data"  gives pytest more arguments; the later one wins.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
KERAS := .venv-keras

.PHONY: book test lab bench clean
.DELETE_ON_ERROR:

book: $(READY)
	@$(BIN)/python -m labkit book

test: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not net and not long" $(PYTEST)

lab: $(READY)
	@$(BIN)/python -m jupyterlab --ServerApp.root_dir=notebooks

bench: $(READY) $(KERAS)/.ready
	@$(BIN)/python -m labkit bench --keras $(KERAS)/bin/python
	@$(BIN)/python -m labkit bench --rows

clean:
	rm -rf book/_build .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "labkit needs Python 3.11 or later; '$(PYTHON)' is missing or older." \
	       "Install one and name it: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. Install it (Debian, Ubuntu: apt install python3-venv;" \
	       "Fedora: dnf install python3-pip), then run make again."; exit 2; }
	@echo "setting up .venv (once; the CUDA build of torch takes 4.8 GB, UV_TORCH_BACKEND=cpu avoids it)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@# compiled once, here: where Python keeps no bytecode every kernel would compile torch anew
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	  -c constraints.txt -e '.[book,dev]'
	@touch $@

$(KERAS)/.ready: benchmarks/keras-requirements.txt $(READY)
	@echo "setting up $(KERAS), which has TensorFlow to compare with"
	@$(PYTHON) -m venv $(KERAS)
	@$(BIN)/uv pip install --quiet --python $(KERAS)/bin/python -r $<
	@touch $@
