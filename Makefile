# What people and the CI type. Everything sets itself up on Debian and Ubuntu with a Rust toolchain.
#
#   make test                        all tests; ends with one line of counts
#   make demo [SEED=n] [ARGS=...]    three servers, a hot spot, and how the load evens itself
#   make bench [ARGS=...]            against tgt
#   make bench-pdu                   CPU time of each kind of iSCSI PDU
#   make sim [SEEDS=200]             the simulator over many seeds
#   make model [ARGS=...]            every order of events within small bounds, and what breaks without each rule
#   make planted                     shows that the simulator finds bugs planted on purpose
#   make fuzz [SECONDS_EACH=30]      fuzzes every parser
#   make footprint                   memory, start times and idle CPU with 100 GiB of volumes, and whether they hold
#   make scenarios                   the scenarios at their full counts: an hour
#   make soak [MINUTES=60]           the scenarios at their full counts, then the simulator and the model for as long as you like

SEEDS ?= 200
export SECONDS_EACH MINUTES FIRST_SEED

.DEFAULT_GOAL := help
.PHONY: help test demo bench bench-pdu sim model planted fuzz footprint scenarios soak

help:
	@sed -n 's/^#   //p' Makefile

test:
	@./tools/test.sh

demo:
	@./tools/setup.sh demo
	cargo run --release --locked --quiet -p evenkeel-cli -- demo $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: tools/bench.sh
	@./tools/setup.sh bench
	@./tools/bench.sh $(ARGS)

bench-pdu:
	@./tools/setup.sh demo
	cargo bench --locked --quiet -p evenkeel-iscsi --bench pdu_cost

sim:
	@./tools/setup.sh demo
	cargo run --release --locked -p evenkeel-sim -- --seeds $(SEEDS) $(ARGS)

model:
	@./tools/setup.sh demo
	cargo run --release --locked --quiet -p evenkeel-model -- $(ARGS)

planted: tools/planted.sh
	@./tools/setup.sh demo
	@./tools/planted.sh $(ARGS)

fuzz: tools/fuzz.sh
	@./tools/fuzz.sh $(ARGS)

footprint: tools/footprint.sh
	@./tools/footprint.sh

scenarios: tools/scenarios.sh
	@./tools/scenarios.sh

soak: scenarios
	@./tools/soak.sh

# A target's script is part of the checkout.
tools/%.sh:
	@echo "make: $@ is missing from this checkout" >&2; exit 1
