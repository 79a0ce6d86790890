# Each target creates .venv if it is missing or out of date.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Libraries with compatible versions share an environment; RLlib and CleanRL pin other versions of gymnasium.
INTEGRATION := .venv-integration
INTEGRATION_ENVIRONMENTS := $(patsubst %,$(INTEGRATION)/%/.installed,shared rllib gymnasium029)
# One thread per process; this is part of the definition of an experiment.
export OMP_NUM_THREADS := 1

.PHONY: compare test lint proofs proofs-quick endurance lowest integration docs gallery benchmark peers peers-learners references clean

compare: $(INSTALLED)
	$(BIN)/python scripts/compare.py --out runs/first

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Proofs that use a window run with one core each; proofs that measure time run alone.
proofs: DRIVEN := tests/proofs/test_play.py
proofs: TIMED := tests/proofs/test_watch.py
proofs: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile -rP --ignore=$(DRIVEN) --ignore=$(TIMED)
	$(BIN)/python -m pytest -m slow -n 2 -rP $(DRIVEN)
	$(BIN)/python -m pytest -m slow -s $(TIMED)

# The short proofs, with five seeds instead of ten for learners by seen error.
proofs-quick: $(INSTALLED)
	PROOF_SEEDS=5 $(BIN)/python -m pytest -m "slow and not long" -n 2 --dist loadfile -rP tests/proofs/test_world.py \
		tests/proofs/test_from_seen_error.py tests/proofs/test_from_reward.py

endurance: $(INSTALLED)
	$(BIN)/python -m pytest -m endurance -s

# The core tests with the lowest versions that pyproject.toml allows; torch is that of constraints.txt.
LOWEST := .venv-lowest
lowest:
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet -c constraints.txt torch uv
	VIRTUAL_ENV=$(LOWEST) $(LOWEST)/bin/uv pip install --resolution lowest-direct -e ".[learners,study]" \
		"$$(grep '^torch==' constraints.txt)" "pytest>=8" "hypothesis>=6.100"
	$(LOWEST)/bin/python -m pytest -q tests/reach tests/agents/test_learner.py tests/agents/test_checkpoints.py

# The examples are run from outside, the tests of shared/ and gymnasium029/ inside the environment of that name.
integration: $(INSTALLED) $(INTEGRATION_ENVIRONMENTS)
	$(BIN)/python -m pytest -m integration tests/integration/test_examples.py
	$(INTEGRATION)/shared/bin/python -m pytest -m integration --confcutdir tests/integration/shared tests/integration/shared
	$(INTEGRATION)/gymnasium029/bin/python -m pytest -m integration --confcutdir tests/integration/gymnasium029 \
		tests/integration/gymnasium029

# All pictures and films of README and docs.
gallery: $(INSTALLED)
	$(BIN)/python scripts/figure.py correction
	$(BIN)/python scripts/watch.py --compare error-bp,error-dfa --trial 24 --png docs/pictures/watching.png
	$(BIN)/python scripts/watch.py --learner error-stdp --trial 24 --png docs/pictures/raster.png
	$(BIN)/python scripts/watch.py --learner error-dfa --protocol prism --first 20 --last 25 --no-network --no-errors \
		--size 480 480 --speed 2 --video docs/pictures/prism.gif

# Fails on a dead link or a missing page.
docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m mkdocs build --strict

benchmark: $(INSTALLED) peers peers-learners
	$(BIN)/python scripts/benchmark.py world --peers .venv-peers/bin/python
	$(BIN)/python scripts/benchmark.py learners --peers .venv-peers-learners/bin/python
	$(BIN)/python scripts/benchmark.py trials
	$(BIN)/python scripts/benchmark.py study
	$(BIN)/python scripts/benchmark.py watch

# The peers of the benchmark, in an environment of their own.
peers: .venv-peers/.installed

.venv-peers/.installed: constraints-peers.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -r constraints-peers.txt
	touch $@

# The spiking peers. BindsNET requires another torch and packages that are not needed here.
peers-learners: .venv-peers-learners/.installed

.venv-peers-learners/.installed: constraints-peers-learners.txt
	test -x .venv-peers-learners/bin/python || $(PYTHON) -m venv .venv-peers-learners
	.venv-peers-learners/bin/python -m pip install --quiet -r constraints-peers-learners.txt
	.venv-peers-learners/bin/python -m pip install --quiet --no-deps bindsnet==0.3.4
	touch $@

# Recompute the results of independent simulators and compare them with those that the tests read.
references: .venv-references/.installed
	.venv-references/bin/python references/make_brian2_references.py tests/agents/spiking/brian2.npz
	.venv-references/bin/python references/make_snntorch_references.py tests/agents/rules/snntorch.npz
	.venv-references/bin/python references/make_rliable_references.py tests/reach/study/rliable.json

.venv-references/.installed: constraints-references.txt
	test -x .venv-references/bin/python || $(PYTHON) -m venv .venv-references
	.venv-references/bin/python -m pip install --quiet -r constraints-references.txt
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[learners,study,test]"
	touch $@

$(INTEGRATION)/shared/.installed: LIBRARIES := stable-baselines3 sb3-contrib torchrl tianshou skrl rl_zoo3 requests seaborn \
	'minari[hdf5,create]' 'gymnasium[array-api,jax]' moviepy tyro pytest
$(INTEGRATION)/rllib/.installed: LIBRARIES := 'ray[rllib]' tyro
$(INTEGRATION)/gymnasium029/.installed: LIBRARIES := gymnasium pytest
$(INTEGRATION)/%/.installed: pyproject.toml constraints-integration-%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet -c constraints-integration-$*.txt torch
	$(@D)/bin/python -m pip install --quiet -c constraints-integration-$*.txt $(LIBRARIES) -e .
	touch $@

clean:
	rm -rf $(VENV) $(INTEGRATION) .venv-lowest .venv-peers .venv-peers-learners .venv-references build dist *.egg-info
