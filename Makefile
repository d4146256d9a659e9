# SPDX-License-Identifier: Apache-2.0
# Every verb of the project. `make help` lists them. Everything made lands in build/.

MODE ?= release
VERSION := 0.1.0
B := build/$(MODE)
GEN := build/gen

ifneq ($(filter asan cover,$(MODE)),)
CC := clang-14
else
CC := gcc
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wcast-qual -Wvla -Wwrite-strings -Werror=implicit-function-declaration
ifneq ($(CI)$(WERROR),)
WARN += -Werror
endif
CPPFLAGS := -D_GNU_SOURCE -DADIT_VERSION='"$(VERSION)"' -Ilib -I. -I$(GEN) -isystem /usr/share/include/llhttp
# C has no exceptions to unwind for; debuggers find their tables in the debug information.
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -ffunction-sections -fdata-sections \
	-fno-asynchronous-unwind-tables
# Unwind tables for debuggers only (.debug_frame): they take no room in memory.
CFLAGS_release := -O2 -g -fno-asynchronous-unwind-tables $(HARDEN)
# What the fuzz harnesses are linked with, too; elsewhere nobody reads its counters.
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
CFLAGS_cover := -O1 -g -fprofile-instr-generate -fcoverage-mapping
CFLAGS := -std=gnu11 -pthread $(CFLAGS_$(MODE))
LDFLAGS_release := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_cover := -fprofile-instr-generate
LDFLAGS := -pthread $(LDFLAGS_$(MODE))

# One short line a step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(patsubst build/%,%,$@))

# A file belongs to the room it lies in, so each room is its folder's files.
room = $(sort $(wildcard $(1)/*.c))
objs = $(patsubst %.c,$(B)/%.o,$(1))

PROTOS := process filesystem scheduler scheduler_store connect control
GEN_C := $(PROTOS:%=$(GEN)/%.pb-c.c) $(GEN)/google/protobuf/timestamp.pb-c.c
GEN_H := $(GEN_C:.c=.h)
GEN_O := $(patsubst %.c,$(B)/%.o,$(GEN_C))
LLHTTP_O := $(B)/third_party/llhttp/api.o $(B)/third_party/llhttp/http.o $(B)/third_party/llhttp/llhttp.o

LIB_C := $(call room,lib/base) $(call room,lib/confine) $(call room,lib/net) $(call room,lib/rpc)
# no_resolver.c overrides the C library in the program only, so it is in no archive.
ENVD_C := $(filter-out envd/no_resolver.c,$(call room,envd)) $(call room,envd/process) $(call room,envd/filesystem) \
	$(call room,envd/egress) $(call room,envd/kernel)
BROKER_C := $(call room,broker) $(foreach r,edge api session node vmm launcher egress,$(call room,broker/$(r)))
SCHEDULER_C := $(call room,scheduler) $(call room,scheduler/store)
BUILDER_C := $(call room,rootfs-builder)
VSOCK_DEVICE_C := $(call room,vsock-device)

LIBADIT := $(B)/libadit.a
# Each program is linked with those that it uses.
LIBS := -Wl,--as-needed -luv -lprotobuf-c -lz -lssl -lcrypto -ljansson -lsqlite3 -lseccomp -lnghttp2 -lcares -lresolv
# envd runs on any root file system, so it carries everything.
ENVD_LIBS := -l:libuv_a.a -l:libprotobuf-c.a -l:libz.a -l:libcrypto.a -l:libjansson.a -lpthread
ENVD_LDFLAGS_release := -static-pie -Wl,-z,relro,-z,now,-z,pack-relative-relocs -Wl,--gc-sections \
	-Wl,--no-eh-frame-hdr,-T,envd/envd.ld
ENVD_LDFLAGS_asan := $(LDFLAGS_asan)
ENVD_LDFLAGS_cover := $(LDFLAGS_cover)

PROGRAMS := envd broker scheduler rootfs-builder vsock-device
BINARIES := $(PROGRAMS:%=$(B)/bin/%)

.PHONY: help
help: ## list the verbs
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
.DEFAULT_GOAL := help

# ---- building ----------------------------------------------------------------------------------

.PHONY: build
build: $(BINARIES) ## build all programs into build/$(MODE)/bin

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto
	@mkdir -p $(GEN)
	$(call say,PROTO)
	$(Q)protoc-c --c_out=$(GEN) -Iproto -I/usr/include $<

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: tests/proto/%.proto
	@mkdir -p $(GEN)
	$(call say,PROTO)
	$(Q)protoc-c --c_out=$(GEN) -Itests/proto -I/usr/include $<

$(GEN)/google/protobuf/timestamp.pb-c.c $(GEN)/google/protobuf/timestamp.pb-c.h:
	@mkdir -p $(GEN)
	$(call say,PROTO)
	$(Q)protoc-c --c_out=$(GEN) -I/usr/include /usr/include/google/protobuf/timestamp.proto

$(B)/build/gen/%.o: build/gen/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Programs that envd carries for the guest.
KERNEL_PROGRAMS := $(patsubst envd/kernel/programs/%,$(GEN)/kernel/%.gz,$(wildcard envd/kernel/programs/*))
$(GEN)/kernel/%.gz: envd/kernel/programs/%
	@mkdir -p $(@D)
	$(call say,GZIP)
	$(Q)gzip -9nc $< >$@
$(GEN)/kernel/%.py.gz: envd/kernel/programs/%.py envd/kernel/strip.py
	@mkdir -p $(@D)
	$(call say,GZIP)
	$(Q)python3 -X utf8 envd/kernel/strip.py $< >$(@:.gz=)
	$(Q)gzip -9nf $(@:.gz=)
$(B)/envd/kernel/kernel_language.o build/tidy/envd/kernel/kernel_language.ok: $(KERNEL_PROGRAMS)

$(B)/third_party/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) -DLLHTTP_STRICT_MODE=1 $(CFLAGS) -c -o $@ $<

$(B)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIBADIT): $(call objs,$(LIB_C)) $(GEN_O) $(LLHTTP_O)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

# Each program as a library without its main, so that tests link what they test.
$(B)/libenvd.a: $(call objs,$(filter-out envd/main.c,$(ENVD_C)))
$(B)/libbroker.a: $(call objs,$(filter-out broker/main.c,$(BROKER_C)))
$(B)/libscheduler.a: $(call objs,$(filter-out scheduler/main.c,$(SCHEDULER_C)))
$(B)/librootfs-builder.a: $(call objs,$(filter-out rootfs-builder/main.c,$(BUILDER_C)))
$(B)/libvsock-device.a: $(call objs,$(filter-out vsock-device/main.c,$(VSOCK_DEVICE_C)))
$(PROGRAMS:%=$(B)/lib%.a):
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

$(B)/bin/envd: $(B)/envd/main.o $(B)/envd/no_resolver.o $(B)/libenvd.a $(LIBADIT) | envd/envd.ld
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(ENVD_LDFLAGS_$(MODE)) -o $@ $^ $(ENVD_LIBS)

# Static too: it runs in an empty root.
VSOCK_DEVICE_LIBS := -l:libseccomp.a -lpthread
VSOCK_DEVICE_LDFLAGS_release := -static-pie -Wl,-z,relro,-z,now -Wl,--gc-sections
VSOCK_DEVICE_LDFLAGS_asan := $(LDFLAGS_asan)
VSOCK_DEVICE_LDFLAGS_cover := $(LDFLAGS_cover)
$(B)/bin/vsock-device: $(B)/vsock-device/main.o $(B)/libvsock-device.a $(LIBADIT)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(VSOCK_DEVICE_LDFLAGS_$(MODE)) -o $@ $^ $(VSOCK_DEVICE_LIBS)

$(B)/bin/%: $(B)/%/main.o $(B)/lib%.a $(LIBADIT)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# ---- unit tests, fuzzing, benchmarks -----------------------------------------------------------
# make unit T=test_http_guard runs one; make fuzz-one F=http_request SECONDS_EACH=30 runs one.

UNIT_C := $(sort $(wildcard tests/unit/*/test_*.c))
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_C))
# Messages that only tests have; they include the generated file.
$(patsubst %.c,$(B)/%.o,$(UNIT_C) $(wildcard tests/fuzz/fuzz_*.c)): | $(GEN)/every_type.pb-c.h
CHECK_LIBS := -lcheck -lsubunit -lm -lrt

$(B)/tests/unit/base/%: LINK := $(LIBADIT)
$(B)/tests/unit/confine/%: LINK := $(LIBADIT)
$(B)/tests/unit/net/%: LINK := $(LIBADIT)
$(B)/tests/unit/rpc/%: LINK := $(LIBADIT)
$(B)/tests/unit/envd/%: LINK := $(B)/libenvd.a $(LIBADIT)
$(B)/tests/unit/broker/%: LINK := $(B)/libbroker.a $(LIBADIT)
$(B)/tests/unit/scheduler/%: LINK := $(B)/libscheduler.a $(LIBADIT)
$(B)/tests/unit/rootfs-builder/%: LINK := $(B)/librootfs-builder.a $(LIBADIT)
$(B)/tests/unit/vsock-device/%: LINK := $(B)/libvsock-device.a $(LIBADIT)
.SECONDEXPANSION:
$(UNIT_BIN): $(B)/%: $(B)/%.o $$(LINK)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(LINK) $(CHECK_LIBS) $(LIBS)

.PHONY: unit-programs unit
unit-programs: $(UNIT_BIN)
unit: $(if $(T),$(filter %/$(T),$(UNIT_BIN)),$(UNIT_BIN)) ## unit tests (MODE=asan for sanitizers)
	@tests/run-unit $^

# The programs take part so that a file no test links counts as uncovered.
.PHONY: cover cover-run
cover: ## lines and branches that the unit tests reach, by file
	@$(MAKE) --no-print-directory MODE=cover cover-run
ifeq ($(MODE),cover)
cover-run: $(UNIT_BIN) $(BINARIES)
	@rm -rf $(B)/profiles
	@LLVM_PROFILE_FILE=$(CURDIR)/$(B)/profiles/%m.profraw tests/run-unit $(UNIT_BIN) || echo "the figures are of a run that failed"
	@llvm-profdata-14 merge -o $(B)/unit.profdata $(B)/profiles/*.profraw
	@tests/cover-report $(B)/unit.profdata $(UNIT_BIN) $(BINARIES)
endif

FUZZ_C := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_C))
ifeq ($(MODE),asan)
build/fuzz/bin/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/liball.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(B)/liball.a $(LIBS)
# A second llhttp, without the strict mode; only its reader is seen from outside.
build/fuzz/bin/fuzz_http_request: build/fuzz/lenient.o
build/fuzz/lenient.o: tests/fuzz/lenient_reader.c tests/fuzz/lenient_reader.h
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) -O2 -fPIE -nostdlib -r -o $@ $< $(addprefix /usr/share/llhttp/,api.c http.c llhttp.c)
	$(Q)objcopy --keep-global-symbol=lenient_reader_run $@
$(B)/liball.a: $(call objs,$(filter-out %/main.c,$(LIB_C) $(ENVD_C) $(BROKER_C) $(SCHEDULER_C) $(BUILDER_C) $(VSOCK_DEVICE_C))) $(GEN_O) $(LLHTTP_O)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^
.PHONY: fuzz-programs fuzz-run
fuzz-programs: $(FUZZ_NAMES:%=build/fuzz/bin/fuzz_%)
fuzz-run: $(FUZZ_NAMES:%=build/fuzz/bin/fuzz_%)
	@tests/run-fuzz $(or $(SECONDS_EACH),night) $(if $(F),$(F),$(FUZZ_NAMES))
endif
.PHONY: fuzz fuzz-one fuzz-smoke
fuzz-one: ## one fuzz harness: F=http_request SECONDS_EACH=30
	@$(MAKE) --no-print-directory MODE=asan build/fuzz/bin/fuzz_$(F)
	@tests/run-fuzz $(or $(SECONDS_EACH),change) $(F)
fuzz: ## every fuzz harness for its budget by night, 3 hours; or SECONDS_EACH
	@$(MAKE) --no-print-directory MODE=asan fuzz-run
fuzz-smoke: ## every fuzz harness for its budget on a change, 10 minutes (tests/fuzz/budgets)
	@$(MAKE) --no-print-directory MODE=asan SECONDS_EACH=change fuzz-run

BENCH_C := $(sort $(wildcard bench/bench_*.c))
$(B)/bench/bench_edge: $(B)/bench/parts.o
$(B)/bench/bench_%: $(B)/bench/bench_%.o $(B)/libenvd.a $(B)/libbroker.a $(B)/libvsock-device.a $(LIBADIT)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

# ---- set-up and running --------------------------------------------------------------------------

PACKAGES_BUILD := build-essential pkg-config libuv1-dev node-llhttp libprotobuf-c-dev protobuf-c-compiler \
	protobuf-compiler libprotobuf-dev zlib1g-dev libseccomp-dev libjansson-dev libssl-dev libsqlite3-dev \
	libnghttp2-dev libc-ares-dev python3
PACKAGES_RUN := crun mmdebstrap ca-certificates skopeo umoci qemu-system-x86 erofs-utils e2fsprogs kmod lz4
PACKAGES_TEST := check libsubunit-dev clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev \
	python3-venv openssl strace curl iproute2 iptables nftables git dpkg-dev attr nginx-light wrk jq \
	mandoc nghttp2-client chromium libnss3-tools busybox-static cpio
PACKAGES_BENCH := jupyter-server python3-ipykernel
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# apt-get is asked only when something is missing, so that a second run takes no time.
define install_packages
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(1) 2>&1 | sed -n \
		-e 's/^installed .*//' -e 's/^dpkg-query: no packages found matching //p' -e 's/^[a-z-]* \([a-z0-9.+-]*\)$$/\1/p'); \
	if [ -n "$$missing" ]; then echo "installing packages:" $$missing; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends $$missing; fi
endef

.PHONY: setup
setup: ## install the packages that building and running need
	$(call install_packages,$(PACKAGES_BUILD) $(PACKAGES_RUN))

RUN_DIR := build/run
TEMPLATES := $(RUN_DIR)/templates

.PHONY: template
template: build ## make the base template (kept until its inputs change)
	@$(SUDO) $(B)/bin/rootfs-builder debian --alias base --out $(TEMPLATES)

# What users of the code-interpreter clients expect; the alias is the one that these ask for. It
# fetches 270 MB, is of 1.5 GB, and takes 100 s of processor time, the base template 75 MB and 33 s.
INTERPRETER_PACKAGES := ipython3,python3-matplotlib,python3-numpy,python3-pandas,python3-scipy,python3-sklearn,$\
	python3-requests,python3-pil,python3-openpyxl,python3-sympy,nodejs,esbuild
.PHONY: template-interpreter
template-interpreter: build ## make the template of the code interpreter (kept as the other is)
	@$(SUDO) $(B)/bin/rootfs-builder debian --alias code-interpreter-v1 --memory 1024 \
		--packages $(INTERPRETER_PACKAGES) --out $(TEMPLATES)

# What virtual machines start from: the kernel (fetched once, 40 MB), and the agent with its modules.
GUEST := $(RUN_DIR)/guest
.PHONY: guest
guest: build $(B)/envd-stripped ## make the kernel and the first root of virtual machines
	@$(SUDO) $(B)/bin/rootfs-builder kernel --out $(GUEST)
	@$(SUDO) $(B)/bin/rootfs-builder initramfs --out $(GUEST) --envd $(B)/envd-stripped
$(B)/envd-stripped: $(B)/bin/envd
	$(call say,STRIP)
	$(Q)strip -o $@ $<

.PHONY: run
run: setup ## install, build, make template and guest, start the broker in the foreground
	@$(MAKE) --no-print-directory -j$$(nproc) build
	@$(MAKE) --no-print-directory template guest
	@exec $(SUDO) $(B)/bin/broker --state-dir $(RUN_DIR)/state --templates-dir $(TEMPLATES) \
		--envd $(B)/bin/envd --scheduler-program $(B)/bin/scheduler --guest-dir $(GUEST) $(BROKER_FLAGS)

.PHONY: env
env: ## print the client's variables for the broker that runs: eval "$$(make -s env)"
	@$(SUDO) $(B)/bin/broker env --state-dir $(RUN_DIR)/state

# ---- tests with real sandboxes and real clients --------------------------------------------------

# Debian's npm only where there is none: another Node brings its own.
NPM_PACKAGE := $(if $(shell command -v npm),,npm)
VENV := build/venv
NODE_MODULES := tests/e2e/js/node_modules
PYTEST := $(VENV)/bin/python -m pytest

$(VENV)/ok: tests/e2e/requirements.txt
	test -x $(VENV)/bin/pip || python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(NODE_MODULES)/ok: tests/e2e/js/package-lock.json
	cd tests/e2e/js && npm ci --no-fund --no-audit --loglevel=error
	@touch $@

# The lab: one environment for each old Python client, one package for the JavaScript ones.
LAB_VENVS := $(patsubst tests/lab/requirements-%.txt,build/lab/py-%/ok,$(wildcard tests/lab/requirements-*.txt))
LAB_MODULES := tests/lab/js/node_modules

build/lab/py-%/ok: tests/lab/requirements-%.txt
	test -x build/lab/py-$*/bin/pip || python3 -m venv build/lab/py-$*
	build/lab/py-$*/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(LAB_MODULES)/ok: tests/lab/js/package-lock.json
	cd tests/lab/js && npm ci --no-fund --no-audit --loglevel=error
	@touch $@

.PHONY: setup-test setup-bench compatibility matrix torture e2e e2e-vm e2e-asan images monitors vm vm-full fault fault-asan fault-all leak soak bench \
	bench-full test
setup-test: setup ## install what the tests need
	$(call install_packages,$(PACKAGES_TEST) $(NPM_PACKAGE))
	@$(MAKE) --no-print-directory $(VENV)/ok $(NODE_MODULES)/ok $(LAB_VENVS) $(LAB_MODULES)/ok

setup-bench: setup-test ## install the peers of the figures that no test needs
	$(call install_packages,$(PACKAGES_BENCH))

compatibility: ## put what the last run of tests/e2e/test_versions.py found into docs/compatibility.md
	tests/lab/compatibility-page build/lab/results/release docs/compatibility.md

e2e: setup-test guest template template-interpreter ## end-to-end tests with the official clients; T=tests/e2e/test_files.py runs a part
	$(PYTEST) $(if $(T),$(T),tests/e2e)

e2e-vm: setup-test guest template template-interpreter ## the same with every sandbox a virtual machine, emulated
	ADIT_ISOLATION=vm $(PYTEST) $(if $(T),$(T),tests/e2e)

# Every test but the long transfers, which under the sanitizers only take time, and the bounds of
# memory, of which they keep much themselves. What they report in any program, envd in its sandbox
# included, fails the test (tests/conftest.py). On two cores: a minute for e2e, half of one for faults.
e2e-asan: setup-test guest template template-interpreter ## the same against the sanitizer build
	@$(MAKE) --no-print-directory -j$$(nproc) MODE=asan build
	ADIT_BIN=build/asan/bin $(PYTEST) -m 'not heavy and not footprint' $(if $(T),$(T),tests/e2e)

$(B)/tests/torture/failing_malloc.so: tests/torture/failing_malloc.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(WARN) -std=gnu11 -O2 -fPIC -shared -pthread -o $@ $<

torture: setup-test template $(B)/tests/torture/failing_malloc.so ## each allocation of broker and scheduler for a request fails once
	$(PYTEST) $(if $(T),$(T),tests/torture)

matrix: setup-test template ## authorization: every route, everybody, every spelling (tests/matrix)
	$(PYTEST) -s tests/matrix

vm: setup-test template guest ## virtual machines: vsock-device and envd in real guests, emulated
	$(PYTEST) -m 'not vm_full' $(if $(T),$(T),tests/vm)
vm-full: setup-test template guest ## the same with gibibytes and more storms: minutes
	$(PYTEST) $(if $(T),$(T),tests/vm)

images: setup-test template ## OCI images, hostile ones too, made into templates
	$(PYTEST) $(if $(T),$(T),tests/oci)

monitors: setup-test template ## Firecracker and Cloud Hypervisor: their drivers against stand-ins
	$(PYTEST) $(if $(T),$(T),tests/vmm)

fault: setup-test guest template ## faults: each a test, nothing left behind
	$(PYTEST) $(if $(T),$(T),tests/fault)

fault-asan: ## the same against the sanitizer build
	@$(MAKE) --no-print-directory e2e-asan T=$(if $(T),$(T),tests/fault)

# Nightly: every size, every failing call. Hours.
fault-all: setup-test guest template ## faults at their full scale (ADIT_SEED chooses another course)
	ADIT_FAULT_SCALE=full ADIT_F23_CASES=0 $(PYTEST) $(if $(T),$(T),tests/fault)

CYCLES ?= 2000
MINUTES ?= 30
leak: setup-test template ## CYCLES (2000) creates and deletes must leave nothing
	ADIT_LEAK_CYCLES=$(CYCLES) $(PYTEST) -s tests/fault/test_r10_leak.py

soak: setup-test template ## a mixed load for MINUTES (30) with a fault every few, and a report
	$(VENV)/bin/python tests/fault/soak.py $(MINUTES) build/soak-report.txt

bench: setup-bench guest template template-interpreter ## figures, beside a peer or a floor in the same run
	@$(MAKE) --no-print-directory $(patsubst bench/%.c,$(B)/bench/%,$(BENCH_C))
	@for b in $(patsubst bench/%.c,$(B)/bench/%,$(BENCH_C)); do echo "== $$(basename $$b)"; $$b || exit 1; done
	@echo "== bench_envd"; $(VENV)/bin/python bench/bench_envd.py
	@echo "== bench_broker"; $(VENV)/bin/python bench/bench_broker.py
	@echo "== bench_load"; $(VENV)/bin/python bench/bench_load.py
	@echo "== bench_egress"; $(VENV)/bin/python bench/bench_egress.py
	@echo "== bench_kernel"; $(VENV)/bin/python bench/bench_kernel.py
	@echo "== bench_vsock_device"; $(VENV)/bin/python bench/bench_vsock_device.py
	@echo "== bench_vm"; $(VENV)/bin/python bench/bench_vm.py
bench-full: ## the same with bodies of 10 GiB and streams of 10 minutes
	@ADIT_BENCH_SCALE=full $(MAKE) --no-print-directory bench

# Tests wait much, so several run beside one another, each with a broker, ports and directories of its
# own, the longest first; fuzzing, which never waits, takes what they leave. Making templates waits for
# the network and the disk, compiling does not. Of each its output comes when it is over.
LANES ?= 3
TESTS := e2e-asan e2e fault vm unit-asan images monitors unit torture matrix
test: setup-test ## the whole test suite
	@$(MAKE) --no-print-directory -j$$(nproc) build
	@$(MAKE) --no-print-directory -j2 test-templates test-programs
	@$(MAKE) --no-print-directory -j2 test-lanes test-fuzz

.PHONY: test-templates test-programs test-lanes test-fuzz unit-asan
test-templates:
	@$(MAKE) --no-print-directory guest
	@$(MAKE) --no-print-directory template
	@$(MAKE) --no-print-directory template-interpreter
test-programs:
	@$(MAKE) --no-print-directory -j$$(nproc) format-check check-headers check-symbols check-hardening
	@$(MAKE) --no-print-directory -j$$(nproc) unit-programs
	@$(MAKE) --no-print-directory -j$$(nproc) MODE=asan build unit-programs fuzz-programs
test-lanes:
	@$(MAKE) --no-print-directory -j$(LANES) -Orecurse -k $(TESTS:%=lane-%)
lane-%:
	@$(MAKE) --no-print-directory $*
test-fuzz:
	@nice -n 19 $(MAKE) --no-print-directory fuzz-smoke
unit-asan:
	@$(MAKE) --no-print-directory MODE=asan unit

# ---- installing --------------------------------------------------------------------------------

PREFIX ?= /usr/local
SYSTEMD_DIR ?= /etc/systemd/system
SYSUSERS_DIR ?= /etc/sysusers.d
LIBEXEC := $(DESTDIR)$(PREFIX)/lib/adit
MAN_PAGES := adit-broker.8 adit-scheduler.8 adit-rootfs-builder.8 adit-envd.8 adit-vsock-device.8

# The options of a man page are the program's own table.
build/man/%.8: docs/man/%.8.in build
	@mkdir -p $(@D)
	@$(B)/bin/$(patsubst adit-%,%,$*) --help-mdoc >$@.options
	@sed -e '/^@OPTIONS@$$/{r $@.options' -e 'd}' $< >$@
	@rm $@.options

.PHONY: man install uninstall
man: $(MAN_PAGES:%=build/man/%) ## make the man pages

install: build man ## install programs, systemd units and man pages (PREFIX, DESTDIR)
	install -d $(LIBEXEC) $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(SYSTEMD_DIR) \
		$(DESTDIR)/etc/adit $(DESTDIR)/var/lib/adit/templates
	install -m 755 -s $(BINARIES) $(LIBEXEC)
	for p in broker scheduler rootfs-builder; do ln -sf ../lib/adit/$$p $(DESTDIR)$(PREFIX)/sbin/adit-$$p; done
	install -m 644 $(MAN_PAGES:%=build/man/%) $(DESTDIR)$(PREFIX)/share/man/man8
	for u in adit-broker adit-scheduler; do sed 's|@LIBEXEC@|$(PREFIX)/lib/adit|' packaging/systemd/$$u.service \
		>$(DESTDIR)$(SYSTEMD_DIR)/$$u.service; done
	install -D -m 644 packaging/sysusers.d/adit.conf $(DESTDIR)$(SYSUSERS_DIR)/adit.conf
	for c in broker scheduler; do test -e $(DESTDIR)/etc/adit/$$c.conf || \
		install -m 644 packaging/$$c.conf $(DESTDIR)/etc/adit/$$c.conf; done

uninstall: ## remove what install put in place (configuration and state stay)
	rm -rf $(LIBEXEC)
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/sbin/adit-%,broker scheduler rootfs-builder) \
		$(MAN_PAGES:%=$(DESTDIR)$(PREFIX)/share/man/man8/%) \
		$(DESTDIR)$(SYSTEMD_DIR)/adit-broker.service $(DESTDIR)$(SYSTEMD_DIR)/adit-scheduler.service \
		$(DESTDIR)$(SYSUSERS_DIR)/adit.conf

# ---- care --------------------------------------------------------------------------------------

OUR_C := $(LIB_C) $(ENVD_C) envd/no_resolver.c $(BROKER_C) $(SCHEDULER_C) $(BUILDER_C) $(VSOCK_DEVICE_C)
OUR_H := $(wildcard lib/*/*.h envd/*.h envd/*/*.h broker/*.h broker/*/*.h scheduler/*.h scheduler/*/*.h rootfs-builder/*.h \
	vsock-device/*.h)
TEST_C := $(UNIT_C) $(FUZZ_C) $(BENCH_C) $(wildcard tests/unit/*.h tests/unit/*/*.h tests/vm/*.c)

.PHONY: format format-check tidy check-headers check-symbols check-hardening clean
format: ## format the sources
	clang-format-14 -i $(OUR_C) $(OUR_H) $(TEST_C)

format-check: ## fail if a source is not formatted
	@clang-format-14 --dry-run --Werror $(OUR_C) $(OUR_H) $(TEST_C)

# One stamp a file, so that an unchanged file is not looked at again.
build/tidy/%.ok: %.c .clang-tidy tests/analyzer_model.h | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,TIDY)
	@$(CC) $(CPPFLAGS) -std=gnu11 -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	$(Q)clang-tidy-14 --quiet $< -- -std=gnu11 $(CPPFLAGS) \
		$(if $(filter lib/base/err.c lib/rpc/jsontext.c,$<),,-include tests/analyzer_model.h) 2>/dev/null && touch $@
tidy: $(OUR_C:%.c=build/tidy/%.ok) ## clang-tidy over the product

build/headers/%.ok: %.h | $(GEN_H)
	@mkdir -p $(@D)
	@echo '#include "$<"' | $(CC) $(CPPFLAGS) $(WARN) -std=gnu11 -fsyntax-only -xc - && touch $@
check-headers: $(OUR_H:%.h=build/headers/%.ok) ## every header compiles alone

# A global's name begins with its file's first word or its folder's name; adit_ may stand before.
check-symbols: build ## globals carry their module's name
	@tests/check-symbols $(B) $(call objs,$(OUR_C))

check-hardening: build ## programs are position independent, read-only, static where they must be
	@tests/check-hardening $(B)/bin

clean: ## remove everything made, running sandboxes of make run included
	@if [ -d $(RUN_DIR)/state/sandboxes ] && [ -x $(B)/bin/broker ]; then \
		$(SUDO) $(B)/bin/broker purge --state-dir $(RUN_DIR)/state; fi
	$(SUDO) rm -rf build

# Keep what pattern chains make on the way.
.SECONDARY:
-include $(shell find build -path build/run -prune -o -type f -name '*.d' -print 2>/dev/null)
