# vitconvert. `make demo` and `make test` need git, make and Python 3.11 and set up the rest.

# The first of these that is new enough, unless another is named: make PYTHON=/path/to/python
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif
# Compiled modules are kept: the tests start Python hundreds of times.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
COMPAT := .venv-compat/bin
AUDIT := .venv-audit/bin
WHEEL := build/wheel/bin
DEMO := build/demo
TRAINED := docs/demo/shiftvit_cifar_tiny.pth
# What depends on Paddle's release: files, models, exports, a run of training, a proof of each family.
OF_PADDLE := tests/models tests/test_convert.py tests/apps/deploy tests/parity/test_compat.py \
	$(addprefix tests/checkpoints/test_,checkpoints.py formats.py output.py tensor.py) \
	tests/apps/training/test_train.py::test_a_run_learns_and_writes_its_files
# Newer Pythons that the package is tried on, without the frameworks, where the machine has them.
NEWER := 3.12 3.13
# Tests that are quick and see most of what depends on Python and NumPy.
QUICK := tests/tables tests/images tests/test_convert.py tests/test_cli.py \
	$(addprefix tests/checkpoints/test_,checkpoints.py formats.py pickle.py tensor.py)
# So many tests at once; most wait for processes of their own, or run on one core.
JOBS := 2
PYTEST := pytest -q -n $(JOBS) --dist worksteal
PIP_INSTALL := pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-slow test-families test-compat fuzz bench bench-speed audit lint format types links shapes variants \
	dist wheel newer check clean

help:
	@echo "make demo         convert a trained ShiftViT, prove it, classify images with both"
	@echo "make test         run the tests"
	@echo "make test-slow    run the slow tests: every variant in full, the README's Python"
	@echo "make test-families  compare every variant of timm's families with timm's own (half an hour)"
	@echo "make test-compat  read, write, run, export and prove on Paddle 2.6.2 with NumPy 1"
	@echo "make fuzz         mutate files that vitconvert reads for half an hour (make test: for seconds)"
	@echo "make bench        measure conversion beside cp and the usual script, then bench-speed:"
	@echo "make bench-speed  measure the models' speed beside PyTorch's"
	@echo "make audit        compare timm's models with those of PaddleClas, for docs/audit.md (half an hour)"
	@echo "make lint types   check style and types        make format  put style right"
	@echo "make wheel        build the wheel and try it, installed     make newer  so on newer Pythons"
	@echo "make check        all of these, as CI does     make shapes  renew mappings/shapes/"
	@echo "make variants     renew mappings/variants/ from timm, before make shapes"
	@echo "make clean        remove everything that was built"

demo: .venv/ready
	@mkdir -p $(DEMO)
	@echo "==> 1. vitconvert shiftvit --src $(TRAINED) --dst $(DEMO)/shiftvit.pdparams"
	@$(BIN)/vitconvert shiftvit --src $(TRAINED) --dst $(DEMO)/shiftvit.pdparams \
		--force --report $(DEMO)/parity.json
	@echo
	@echo "==> 2. vitconvert eval shiftvit_cifar_tiny --weights $(DEMO)/shiftvit.pdparams \\"
	@echo "         --torch-weights $(TRAINED) --data docs/demo/images --report $(DEMO)/eval"
	@$(BIN)/vitconvert eval shiftvit_cifar_tiny --weights $(DEMO)/shiftvit.pdparams \
		--torch-weights $(TRAINED) --data docs/demo/images --report $(DEMO)/eval --force

test: .venv/ready
	@echo "==> Running the tests"
	@$(BIN)/$(PYTEST)

test-slow: .venv/ready
	@echo "==> Running the slow tests"
	@$(BIN)/$(PYTEST) -m slow

test-families: .venv/ready
	@echo "==> Comparing every variant of timm's families with timm's own"
	@$(BIN)/$(PYTEST) -m families

test-compat: .venv/ready .venv-compat/ready
	@echo "==> Running the Paddle tests on Paddle 2.6.2"
	@TORCH_PYTHON=$(CURDIR)/$(BIN)/python $(COMPAT)/$(PYTEST) \
		-m "compat or (not torch and not slow and not families)" $(OF_PADDLE)

fuzz: .venv/ready
	@echo "==> Mutating files; the first failure ends it"
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -q tests/checkpoints/test_fuzz.py tests/test_own_files.py

bench: .venv/ready
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/throughput.py
	@$(BIN)/python benchmarks/loading.py

bench-speed: .venv/ready
	@$(BIN)/python benchmarks/throughput.py
	@$(BIN)/python benchmarks/loading.py

audit: .venv-audit/ready
	@$(AUDIT)/python benchmarks/audit/audit.py
	@$(AUDIT)/python benchmarks/audit/targets.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/ready links
	$(BIN)/mypy -p vitconvert
	$(BIN)/mypy tests benchmarks

# A tree of links in which checkers and editors find the package under its import name.
links:
	@rm -rf build/links && mkdir -p build/links/vitconvert
	@ln -s $(CURDIR)/converter/* $(CURDIR)/mappings $(CURDIR)/models_torch \
		$(CURDIR)/models_paddle build/links/vitconvert/

shapes: .venv/ready
	$(BIN)/vitconvert shapes

# From the timm that is installed; then `make shapes`.
variants: .venv/ready
	@$(BIN)/python -W ignore benchmarks/timm_variants.py

dist: .venv/ready
	@echo "==> Building the wheel"
	@rm -rf dist build/lib build/bdist.*; mkdir -p build
	@$(BIN)/python -m build --wheel --outdir dist >build/wheel.txt 2>&1 || { cat build/wheel.txt; exit 1; }

# First without any framework: converting needs none. Then with both, the proof.
wheel: dist
	@echo "==> Trying the wheel in an environment of its own"
	@$(PYTHON) -m venv --clear build/wheel
	@$(WHEEL)/$(PIP_INSTALL) -c constraints.txt dist/*.whl
	@cd build && wheel/bin/python ../tests/tools/smoke.py
	@$(WHEEL)/$(PIP_INSTALL) -c constraints.txt "$$(ls dist/*.whl)[torch,cpu]"
	@cd build && wheel/bin/python ../tests/tools/smoke.py proved

newer: dist
	@for version in $(NEWER); do \
		for python in python$$version $(HOME)/.pyenv/versions/$$version.*/bin/python ""; do \
			[ -z "$$python" ] || $$python -c "" 2>/dev/null && break; \
		done; \
		if [ -z "$$python" ]; then \
			echo "==> Python $$version: left out, this machine has none"; continue; \
		fi; \
		echo "==> Python $$version: the wheel and the tests that need no framework"; \
		$$python -m venv --clear build/python$$version && \
		build/python$$version/bin/$(PIP_INSTALL) -c constraints.txt dist/*.whl \
			pytest pytest-xdist hypothesis && \
		(cd build && python$$version/bin/python ../tests/tools/smoke.py) && \
		build/python$$version/bin/$(PYTEST) -m "not torch and not paddle and not slow and not families" $(QUICK) || \
			exit 1; \
	done

check: test test-slow lint types test-compat wheel newer

clean:
	rm -rf .venv .venv-compat .venv-audit build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/ready: pyproject.toml constraints.txt
	@$(call new_venv,.venv)
	@echo "==> Installing vitconvert with PyTorch and Paddle into .venv (a minute or so, once)"
	@$(BIN)/$(PIP_INSTALL) -c constraints.txt -e ".[torch,cpu,timm,hub,train,explain,dev]"
	@touch $@

.venv-compat/ready: pyproject.toml constraints-compat.txt
	@$(call new_venv,.venv-compat)
	@echo "==> Installing vitconvert with Paddle 2.6.2 into .venv-compat (once)"
	@$(COMPAT)/$(PIP_INSTALL) -c constraints-compat.txt -e ".[cpu,train]" pytest pytest-xdist hypothesis setuptools
	@touch $@

# PaddleClas asks for releases of years ago; its models need these alone.
.venv-audit/ready: pyproject.toml constraints.txt
	@$(call new_venv,.venv-audit)
	@echo "==> Installing vitconvert with timm and PaddleClas into .venv-audit (once)"
	@$(AUDIT)/$(PIP_INSTALL) -c constraints.txt -e ".[torch,cpu,timm]" scikit-learn \
		opencv-python-headless requests tqdm pyyaml six
	@$(AUDIT)/$(PIP_INSTALL) -c constraints.txt --no-deps paddleclas
	@touch $@

define new_venv
$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed; found $(or $(PYTHON),no python3 of that age)." \
	"Name another: make PYTHON=/path/to/python3.11"; exit 1; }; \
	$(PYTHON) -m venv $(1)
endef
