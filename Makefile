# Everything goes through here: the first target that needs it makes .venv.
# Help reads the comment after a target: "## time | what it does".

# The first of these that is Python 3.11 to 3.13 makes .venv; name one to choose.
PYTHON ?= python3 python3.13 python3.12 python3.11
PY := .venv/bin/python
READY := .venv/.ready
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# One thread per process: the tensors are small. MKL_CBWR makes a matrix product's bits
# independent of where it lies in memory, so that a replica equals the run alone.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export MKL_CBWR := AUTO

.PHONY: help setup lock test mutants lint format certify bench gpu compare \
	reproduce-toy optimal-surrogate reproduce-vae reproduce-rl reproduce-permutations reproduce \
	report dashboard torture sweep clean
.DEFAULT_GOAL := help

help: ## instant | show this list
	@echo "make TARGET [PRESET=smoke|quick|paper] [PYTHON=python3.12] [ARGS=...]"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \([^|]*\) | \(.*\)$$/\1|\2|\3/p' Makefile \
		| while IFS='|' read -r target time what; do \
			printf '  %-17s %-15s %s\n' "$$target" "$$time" "$$what"; \
		done

setup: $(READY) ## 1 to 5 min | create .venv from requirements.txt (about 6 GB, torch with CUDA)
	@echo "ready: .venv with $$($(PY) --version)"
	@$(PY) -m scripts.namesake

$(READY): requirements.txt
	@for python in $(PYTHON); do \
		if $$python -c '$(SUPPORTED)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "make: no Python 3.11 to 3.13 among: $(PYTHON). Name one: make setup PYTHON=python3.12" >&2; \
		exit 1; \
	fi; \
	$(PY) -m pip --version >/dev/null 2>&1 || $$found -m venv --clear .venv
	@uv=$$(command -v uv) || { \
		uv=.venv/bin/uv; \
		$(PY) -m pip install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.txt)"; \
	}; \
	$$uv pip install --python $(PY) --compile-bytecode -r requirements.txt
	@touch $@

# The seds drop what every line would repeat: that Python is below 3.14 and not in a browser.
lock: $(READY) ## 10 s | update requirements.txt from pyproject.toml to the newest versions
	@{ \
		echo "# Exact versions for Python 3.11 to 3.13 on every platform."; \
		echo "# Written by 'make lock' from the bounds in pyproject.toml."; \
		.venv/bin/uv pip compile pyproject.toml --extra experiments --extra dev --universal --python-version 3.11 \
			--upgrade --no-emit-index-url --no-header --no-annotate --quiet \
		| sed -e "s/python_full_version < '3.14' and //" \
			-e "s/ and python_full_version < '3.14'//" \
			-e "s/ and sys_platform != 'emscripten'//" \
			-e "s/ ; python_full_version < '3.14'$$//" -e "s/ ; sys_platform != 'emscripten'$$//"; \
	} >requirements.txt.new
	@grep -q '^torch==' requirements.txt.new || { rm requirements.txt.new; exit 1; }
	@mv requirements.txt.new requirements.txt

test: $(READY) ## 5 to 12 min | run the tests, except slow ones (run those with ARGS='-m slow')
	$(PY) -m pytest -q -m "not slow" -n auto --dist loadfile $(ARGS)

mutants: $(READY) ## 1 h | mutation testing of the test suite (a selection: ARGS='evaluate rollout')
	$(PY) tests/mutate.py $(ARGS)

lint: $(READY) ## 10 s | ruff on everything, mypy on relax/
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: $(READY) ## 1 s | sort imports, apply ruff's fixes, format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

certify: $(READY) ## 3 min | test every estimator's claim: results/certificates.csv
	$(PY) -m tests.certify $(ARGS)

bench: $(READY) ## 10 min | time training steps beside plain PyTorch and JAX: results/bench
	$(PY) -m scripts.bench $(ARGS)

gpu: $(READY) ## minutes, hours | run GPU tests, benchmark and long VAE runs (ARGS='--minutes 60')
	$(PY) -m scripts.gpu $(ARGS)

compare: $(READY) ## 15 min | bias, variance and time of every estimator: results/compare
	$(PY) -m experiments.compare $(ARGS)
	$(PY) -m scripts.compare_figures

# The default preset is paper for the toy and the permutations, and quick for the other families.
reproduce-toy: PRESET ?= paper
reproduce-toy: T ?= .499
reproduce-toy: $(READY) ## 1 min | reproduce the toy at the paper's settings (another t: T=.45)
	$(PY) -m experiments.toy preset=toy/$(PRESET) t=$(T) $(ARGS)
	$(PY) -m scripts.toy_figures $(PRESET) --t $(T)

optimal-surrogate: $(READY) ## 2 min | the learned surrogate beside the optimal one: one figure
	$(PY) -m experiments.toy.optimal_surrogate
	$(PY) -m scripts.optimal_surrogate_figure

reproduce-vae: PRESET ?= quick
reproduce-vae: MODELS ?= $(if $(filter paper,$(PRESET)),linear1 linear2 nonlinear,linear1)
reproduce-vae: $(READY) ## 15 min | reproduce the discrete VAE (MODELS='linear1 linear2')
	@for model in $(MODELS); do set -ex; \
		$(PY) -m experiments.vae preset=vae/$(PRESET) model=$$model $(ARGS); \
	done
	$(PY) -m scripts.vae_figures $(PRESET)

reproduce-rl: PRESET ?= quick
reproduce-rl: RL = $(PY) -m experiments.rl preset=rl/$(PRESET)
reproduce-rl: PAPER = $(filter paper,$(PRESET))
reproduce-rl: POINTS = $(if $(filter quick,$(PRESET)),env.variance.points=5 env.variance.every=$(1))
reproduce-rl: $(READY) ## 6 min | reproduce the policy gradients: rewards and variances
	@if [ "$(PRESET)" = paper ]; then set -ex; \
		$(RL) env=cartpole mode=grid 'estimator=[reinforce,a2c,relax]' $(ARGS); \
		$(RL) env=pendulum mode=grid 'estimator=[a2c,lax]' frames=200000 $(ARGS); \
		$(RL) env=lunarlander mode=grid frames=500000 $(ARGS); \
		terms="mode=terms estimator=[a2c] env.variance.points=3"; \
		$(RL) env=cartpole $$terms env.variance.every=300 $(ARGS); \
		$(RL) env=pendulum $$terms env.variance.every=40 $(ARGS); \
		$(RL) env=lunarlander $$terms env.variance.every=1200 env.variance.episodes=60 $(ARGS); \
	fi
	$(RL) env=cartpole 'estimator=[reinforce,a2c,relax]' $(if $(PAPER),seeds=50) $(ARGS)
	$(RL) env=cartpole mode=variance $(call POINTS,100) $(ARGS)
	$(RL) env=pendulum 'estimator=[a2c,lax]' $(if $(PAPER),seeds=20) $(ARGS)
	$(RL) env=pendulum mode=variance 'estimator=[a2c,lax]' $(call POINTS,12) $(ARGS)
	$(RL) env=lunarlander $(if $(PAPER),seeds=20) $(ARGS)
	$(RL) env=lunarlander mode=variance $(call POINTS,150) $(ARGS)
	$(PY) -m scripts.rl_figures $(PRESET)

reproduce-permutations: PRESET ?= paper
reproduce-permutations: ORDERS = $(PY) -m experiments.permutations preset=permutations/$(PRESET)
reproduce-permutations: FULL = $(filter paper,$(PRESET))
reproduce-permutations: $(READY) ## 5 min | orders of items: a toy, the order of a DAG, sorting
	$(ORDERS) problem=matching $(if $(FULL),seeds=200) $(ARGS)
	@for n in 5 6 7; do set -ex; $(ORDERS) problem=structure n=$$n $(ARGS); done
	@for n in 5 10 20; do set -ex; \
		$(ORDERS) problem=sorting n=$$n $(if $(FULL),seeds=10) $(if $(filter quick,$(PRESET)),steps=500) $(ARGS); \
	done
	$(PY) -m scripts.permutations_figures $(PRESET)

reproduce: reproduce-toy reproduce-vae reproduce-rl ## 25 min | run the three families of the paper, resuming unfinished runs

report: $(READY) ## 10 s | write the report: results/README.md and report.html
	$(PY) -m scripts.report

dashboard: $(READY) ## instant | write runs/dashboard.html, print the address of online runs
	@$(PY) -m scripts.dashboard $(ARGS)

torture: $(READY) ## 10 min | kill runs, damage their files, resume: results/robustness.md
	$(PY) -m tests.torture $(ARGS)

# The paper's grid as a Hydra multirun; LAUNCHER=slurm on a cluster.
sweep: FAMILY ?= vae
sweep: PRESET ?= paper
sweep: LAUNCHER ?= local
sweep: $(READY) ## hours | the paper's grid, FAMILY=toy|vae|rl LAUNCHER=local|slurm: choice.csv
	$(PY) -m scripts.sweep $(FAMILY) $(PRESET) --launcher $(LAUNCHER) $(ARGS)

clean: ## instant | remove caches and builds; keep .venv, runs and results
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
