# One line of real command per target; `make help` lists them.
.PHONY: help doctor up down status kubeconfig images demo check test soak bench
.DEFAULT_GOAL := help

help:       ## this list
	@grep -hE '^[a-z-]+: +##' $(MAKEFILE_LIST) | sed 's/: *## */\t/' | expand -t 14
doctor:     ## what this machine lacks, and the command that fixes it (< 5 s)
	@tests/cluster/doctor.sh
up:         ## a real local Kubernetes with the operator and one running Hyperpage
	@tests/cluster/up.sh
down:       ## remove all that `make up` made
	@tests/cluster/down.sh
status:     ## what runs, and where
	@tests/cluster/status.sh
kubeconfig: ## one line to eval: export KUBECONFIG=…
	@tests/cluster/kubeconfig.sh
images:     ## container images without a registry; REGISTRY=… [PUSH=1]: from the Dockerfile
	@tests/cluster/images.sh
demo:       ## three sidecars and three apps as plain processes, no Kubernetes
	@examples/demo/demo.sh
check:      ## the inner loop: format, lints, unit tests; needs only Rust
	@tests/check.sh
test:       ## everything, or LEVEL=unit|sidecar|operator|cluster|chaos
	@tests/test.sh
soak:       ## sessions and pods under faults for DURATION=30m, their availability; MUTANTS=1: how soon each mutant is caught
	@tests/chaos/soak.sh
bench:      ## figures beside their targets; BENCH=sidecar|coordination|fleet|operator: one part
	@tests/benches/bench.sh
