# Makefile - builds rz: the program, its plugins, the tests.
#
#   make [config=release|debug|asan|ubsan|tsan] [CC=gcc|clang] [V=1]
#   make run      gets the default model (once), builds, and writes a story
#   make test     builds and runs all tests
#   make check    style, include walls, formatting, exports, warnings of both compilers
#   make fuzz     runs the fuzz targets; SECONDS=60 each, TARGET="gguf ini" picks some
#   make bench    figures of a model (MODEL=, else the default one); ARGS="--reps 5 --batches 1,4" goes to bench/table.py
#   make bench-compare PEER="lc=PATH/llama-bench -fa 1" PEER2=...   rz beside other programs: bench/compare.py
#   make install  DESTDIR= PREFIX=/usr/local
#   make ARCH=aarch64 [config=...] [CC=clang] [install]     for another machine, with Debian's cross compiler
#
# Objects go to build/$(config)/, those for another machine to build/$(ARCH)-$(config)/. A folder below plugins/
# is a plugin and a file tests/test_*.c is a test program; nothing here names one except the list of plugins that
# are linked into the program as well.
config ?= release
HOST := $(shell uname -m)
ARCH := $(HOST)
# Another machine's tools have its name in front; clang is told by an argument.
ifneq ($(ARCH),$(HOST))
CROSS := $(ARCH)-linux-gnu-
endif
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
else ifneq ($(and $(CROSS),$(filter clang%,$(CC))),)
override CC := $(firstword $(CC)) --target=$(ARCH)-linux-gnu
endif
B := build/$(if $(CROSS),$(ARCH)-)$(config)
PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
VERSION := $(shell sed -n 's/^.define RZ_VERSION "\(.*\)"/\1/p' core/core.h)

# --- flags ---
RZ_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
             -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden -fPIC -pthread -g -MMD -MP
OPT_release := -O2
OPT_debug := -O0 -DRZ_DEBUG
OPT_asan := -O1 -fsanitize=address -fno-omit-frame-pointer -fno-sanitize-recover=all -DRZ_DEBUG
OPT_ubsan := -O1 -fsanitize=undefined -fno-sanitize-recover=all -DRZ_DEBUG
OPT_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all -DRZ_DEBUG
OPT_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer -fno-sanitize-recover=all -DRZ_TSAN
SAN_asan := -fsanitize=address
SAN_ubsan := -fsanitize=undefined
SAN_fuzz := -fsanitize=address,undefined
SAN_tsan := -fsanitize=thread
RZ_CFLAGS += $(OPT_$(config))
RZ_LDFLAGS := -pthread $(SAN_$(config))
ifeq ($(OPT_$(config)),)
$(error config=$(config): no such configuration (release, debug, asan, ubsan, tsan, fuzz))
endif

API := -Icore/api -Icore/base
CORE_INC := $(API) -Icore -Icore/exec -Icore/model -Icore/grammar -Icore/engine -I$(B)
# ISA flags belong to kernel files only, never to a plugin's table file or to the core.
ISA_avx2 := -mavx2 -mfma -mf16c
ISA_avx512 := $(ISA_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16
# ISA_PLUGIN_FILE: those of one file alone.
ISA_neon_kernels_dot := -march=armv8.2-a+dotprod
ISA_neon_kernels_mm := -march=armv8.2-a+dotprod+i8mm

# One short line a step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(if $(2),$(2),$@)';)

# --- what there is ---
PLUGIN_DIRS := $(filter-out %/common/,$(wildcard plugins/*/*/))
# Kernel tables of other machines are not built.
TABLES_x86_64 := avx2 avx512
TABLES_aarch64 := neon
TABLES_OTHER := $(filter-out $(TABLES_$(ARCH)),$(TABLES_x86_64) $(TABLES_aarch64))
PLUGIN_DIRS := $(filter-out $(TABLES_OTHER:%=plugins/backends/%/),$(PLUGIN_DIRS))
# cuda: the host part is C, the kernels are images that nvcc makes. Without nvcc there is no such plugin.
NVCC ?= $(if $(CROSS),,$(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc)))
CUDA_DIR := plugins/backends/cuda/
ifeq ($(NVCC),)
PLUGIN_DIRS := $(filter-out $(CUDA_DIR),$(PLUGIN_DIRS))
endif
PLUGINS = $(notdir $(patsubst %/,%,$(PLUGIN_DIRS)))
BUILTINS = $(filter scalar gguf bpe spm cli,$(PLUGINS))
SHARED = $(filter-out $(BUILTINS),$(PLUGINS))

# libraries of single plugins, and of the core
LIBS_cli := -ljansson -ledit
LIBS_tools := -ljansson
LIBS_safetensors := -ljansson
LIBS_wordpiece := -lutf8proc
LIBS_opencl := -ldl
LIBS_http := -lmicrohttpd -ljansson -lcrypto
LIBS_cuda = -L$(CUDA_HOME)/lib64 -L$(CUDA_HOME)/targets/$(ARCH)-linux/lib -lcudart_static -ldl -lrt
INC_cuda = -isystem $(CUDA_HOME)/include
EXTRA_cuda = $(B)/plugins/backends/cuda/code.o
CUDA_HOME = $(patsubst %/bin/,%,$(dir $(realpath $(NVCC))))
LIBS_core := -linih -lcrypto -ljansson -lutf8proc -lxxhash -ldl -lm

# For another machine not every library may be there: plugins that need a missing one are left out.
ifdef CROSS
libs_of = $(LIBS_$(notdir $(patsubst %/,%,$(1))))
LACKING := $(shell for l in $(sort $(LIBS_core) $(foreach d,$(PLUGIN_DIRS),$(call libs_of,$(d)))); do \
  echo 'int main(void) { return 0; }' | $(CC) -x c - $$l -o /dev/null 2>/dev/null || echo $$l; done)
LEFT_OUT := $(foreach d,$(PLUGIN_DIRS),$(if $(filter $(LACKING),$(call libs_of,$(d))),$(d)))
no_libs = no $(filter $(LACKING),$(1)) for $(ARCH): tools/deps.sh packages-$(ARCH).txt installs what is needed
$(foreach d,$(LEFT_OUT),$(info left out: $(d): $(call no_libs,$(call libs_of,$(d)))))
PLUGIN_DIRS := $(filter-out $(LEFT_OUT),$(PLUGIN_DIRS))
ifneq ($(filter $(LACKING),$(LIBS_core)),)
$(error ARCH=$(ARCH): $(call no_libs,$(LIBS_core)))
endif
endif

srcs = $(wildcard $(1)*.c)
objs = $(patsubst %.c,$(B)/%.o,$(1))
BASE_OBJS := $(call objs,$(call srcs,core/base/))
CORE_SRCS := $(call srcs,core/) $(call srcs,core/exec/) $(call srcs,core/model/) $(call srcs,core/grammar/) $(call srcs,core/engine/)
CORE_OBJS := $(call objs,$(filter-out core/main.c,$(CORE_SRCS)))

.PHONY: all run test check bench install clean
.DEFAULT_GOAL := all
all: $(B)/rz $(SHARED:%=$(B)/plugins/%.so)
ifeq ($(NVCC),)
	@echo '  cuda is left out: no nvcc on PATH or in /usr/local/cuda/bin (NVCC=)'
endif

# A change of compiler or flags rebuilds everything of this configuration.
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(CC) $(RZ_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(RZ_CFLAGS)' > $@
FORCE:

# The core learns from this list what is linked into it.
$(B)/builtins.inc: FORCE
	@mkdir -p $(B)
	@echo '$(foreach b,$(BUILTINS),X($(b)))' | cmp -s - $@ || echo '$(foreach b,$(BUILTINS),X($(b)))' > $@
$(B)/core/registry.o: $(B)/builtins.inc

# --- objects ---
$(B)/core/%.o: core/%.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) $(if $(filter core/base/%,$<),$(API),$(CORE_INC)) -c $< -o $@
folder = $(notdir $(patsubst %/,%,$(dir $(1))))
$(B)/plugins/%.o: plugins/%.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) $(API) $(INC_$(call folder,$<)) \
	  $(if $(findstring /kernels_,$<),$(ISA_$(call folder,$<)) $(ISA_$(call folder,$<)_$(*F))) -c $< -o $@

# A text that a plugin holds (kernels in OpenCL C, a page) becomes lines of C strings: FILE.inc.
define text_rule
$(B)/plugins/%.$(1).inc: plugins/%.$(1)
	@mkdir -p $$(@D)
	@sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$$$/\\n"/' $$< > $$@
endef
$(foreach x,cl html,$(eval $(call text_rule,$(x))))
OPENCL := plugins/backends/opencl
$(B)/$(OPENCL)/source.o: $(patsubst %,$(B)/%.inc,$(wildcard $(OPENCL)/*.cl))
$(B)/$(OPENCL)/source.o: CFLAGS += -I$(B)/$(OPENCL)
HTTP := plugins/frontends/http
$(B)/$(HTTP)/page.o: $(B)/$(HTTP)/page.html.inc
$(B)/$(HTTP)/page.o: CFLAGS += -I$(B)/$(HTTP)

$(B)/libbase.a: $(BASE_OBJS)
	@rm -f $@
	$(Q)$(CROSS)ar rcs $@ $^

# --- plugins: a shared object that exports one symbol, or one relocatable object with that symbol renamed ---
PLUGIN_MAP := core/api/plugin.map
define plugin_rules
OBJS_$(1) := $$(call objs,$$(call srcs,$(2)) $$(call srcs,$$(dir $$(patsubst %/,%,$(2)))common/)) $$(EXTRA_$(1))
$(B)/plugins/$(1).so: $$(OBJS_$(1)) $(B)/libbase.a $(PLUGIN_MAP)
	$$(call say,LINK)mkdir -p $$(@D)
	$(Q)$(CC) -shared $(RZ_LDFLAGS) $(LDFLAGS) -Wl,--version-script=$(PLUGIN_MAP) -Wl,--exclude-libs,ALL \
	  $(if $(SAN_$(config)),,-Wl$(comma)-z$(comma)defs) -Wl,-z,now -Wl,-z,noexecstack $$(OBJS_$(1)) $(B)/libbase.a $$(LIBS_$(1)) -lm -o $$@
$(B)/builtin/$(1).o: $$(OBJS_$(1)) $(B)/libbase.a
	$$(call say,JOIN)mkdir -p $$(@D)
	$(Q)$(CROSS)ld -r -o $$@.tmp $$(OBJS_$(1)) $(B)/libbase.a
	$(Q)$(CROSS)objcopy --redefine-sym rz_plugin_v1=rz_builtin_$(1) --keep-global-symbol=rz_builtin_$(1) $$@.tmp $$@
	@rm -f $$@.tmp
endef
comma := ,
$(foreach d,$(PLUGIN_DIRS),$(eval $(call plugin_rules,$(notdir $(patsubst %/,%,$(d))),$(d))))

# --- the kernels of cuda: an image a file, for CUDA_ARCHS and, as PTX, for what comes after the last of them ---
CUDA_SRCS := $(wildcard $(CUDA_DIR)*.cu)
CUDA_HEADERS := $(wildcard $(CUDA_DIR)*.h)
CUDA_IMAGES := $(CUDA_SRCS:$(CUDA_DIR)%.cu=build/cuda/%.fatbin)
include $(CUDA_DIR)archs.mk
build/cuda/archs: FORCE
	@mkdir -p $(@D) && echo '$(NVCC) $(CUDA_ARCHS)' | cmp -s - $@ || echo '$(NVCC) $(CUDA_ARCHS)' > $@
build/cuda/%.fatbin: $(CUDA_DIR)%.cu $(CUDA_HEADERS) build/cuda/archs
	$(call say,NVCC)mkdir -p $(@D)
	$(Q)$(NVCC) -fatbin -std=c++17 -O3 -fmad=false -Werror all-warnings $(CUDA_GENCODE) $< -o $@
$(B)/$(CUDA_DIR)code.o: $(CUDA_IMAGES)
	$(call say,AS)mkdir -p $(@D)
	@{ i=0; echo '.section .rodata'; for f in $^; do echo ".balign 64"; echo "image$$i: .incbin \"$$f\""; i=$$((i + 1)); done; \
	  echo '.section .data.rel.ro,"aw"'; echo '.balign 8'; echo '.globl cu_code'; echo '.hidden cu_code'; echo 'cu_code:'; \
	  j=0; while [ $$j -lt $$i ]; do echo ".quad image$$j"; j=$$((j + 1)); done; echo '.quad 0'; \
	  echo '.section .note.GNU-stack,"",@progbits'; } > $(@:.o=.s)
	$(Q)$(CC) -c $(@:.o=.s) -o $@

BUILTIN_OBJS := $(BUILTINS:%=$(B)/builtin/%.o)
BUILTIN_LIBS := $(foreach b,$(BUILTINS),$(LIBS_$(b)))
$(B)/rz: $(B)/core/main.o $(CORE_OBJS) $(BUILTIN_OBJS) $(B)/libbase.a
	$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $^ $(LIBS_core) $(BUILTIN_LIBS) -o $@


# --- tests: each tests/test_NAME.c is a program over the archives of the core and of all plugins, and of
# what tests share: the other files of tests/, but for the two tools ---
# Two tests (and the rig of one) need libraries that nothing else does: not for another machine.
NOT_CROSS := $(if $(CROSS),tests/test_http.c tests/http_rig.c tests/test_split.c tests/test_cuda.c tests/test_cuda_seq.c)
TEST_SRCS := $(filter-out $(NOT_CROSS),$(wildcard tests/test_*.c))
CANARY_SRCS := $(wildcard tests/canary_*.c)
TOOL_SRCS := $(wildcard tests/tool_*.c)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SRCS))
CANARIES := $(patsubst tests/%.c,$(B)/tests/%,$(CANARY_SRCS))
TOOLS := $(patsubst tests/%.c,$(B)/tests/%,$(TOOL_SRCS))
RUNNER := $(if $(or $(CROSS),$(filter tsan,$(config))),$(B)/tests/runner.o)
LIBS_tests := $(if $(RUNNER),,-lcriterion)
LIBS_test_http := -lcurl
LIBS_test_split := -lpcre2-8

SHARED_SRCS := $(filter-out $(NOT_CROSS) $(TEST_SRCS) $(CANARY_SRCS) $(wildcard tests/ref_*.c) tests/mkmodel.c \
  $(TOOL_SRCS) tests/runner.c, $(wildcard tests/*.c))
$(B)/tests/libshared.a: $(call objs,$(SHARED_SRCS))
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(CROSS)ar rcs $@ $^
$(B)/tests/libcore.a: $(CORE_OBJS)
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(CROSS)ar rcs $@ $^
LINKED = $(filter-out cuda,$(PLUGINS))
$(B)/tests/libplugins.a: $(LINKED:%=$(B)/builtin/%.o)
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(CROSS)ar rcs $@ $^
$(B)/tests/%.o: tests/%.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) $(if $(RUNNER),-DRZ_RUNNER) $(CORE_INC) -Itests -c $< -o $@
$(TESTS) $(CANARIES): %: %.o $(RUNNER) $(B)/tests/libshared.a $(B)/tests/libcore.a $(B)/tests/libplugins.a $(B)/libbase.a
	$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $^ -Wl,--as-needed $(LIBS_tests) $(LIBS_$(@F)) $(LIBS_core) \
	  $(foreach p,$(LINKED),$(LIBS_$(p))) -o $@
.SECONDARY: $(TESTS:=.o) $(CANARIES:=.o) $(TOOLS:=.o)

# --- cuda-host: the plugin over a shim that runs kernels on this CPU; the tests name it by its path ---
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
SHIM_DIR := tests/cuda_shim/
SHIM_CXXFLAGS := -std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas -ffp-contract=off -fno-math-errno \
  -fno-exceptions -fno-rtti -fvisibility=hidden -fPIC -g -MMD -MP -DRZ_CUDA_SHIM -I$(SHIM_DIR) $(API) \
  $(if $(filter tsan,$(config)),-O2,$(OPT_$(config)))
SHIM_OBJS := $(CUDA_SRCS:%.cu=$(B)/shim/%.o) $(patsubst %.cc,$(B)/shim/%.o,$(wildcard $(SHIM_DIR)*.cc)) \
  $(patsubst %.c,$(B)/shim/%.o,$(call srcs,$(CUDA_DIR)))
$(B)/shim/%.o: %.cu $(B)/flags
	$(call say,CXX)mkdir -p $(@D)
	$(Q)$(CXX) $(SHIM_CXXFLAGS) -x c++ -c $< -o $@
$(B)/shim/%.o: %.cc $(B)/flags
	$(call say,CXX)mkdir -p $(@D)
	$(Q)$(CXX) $(SHIM_CXXFLAGS) -c $< -o $@
$(B)/shim/%.o: %.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) -DCU_NAME='"cuda-host"' -I$(SHIM_DIR) $(API) -c $< -o $@
$(B)/tests/cuda-host.so: $(SHIM_OBJS) $(B)/libbase.a
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(CC) -shared $(RZ_LDFLAGS) $(LDFLAGS) -Wl,--version-script=$(PLUGIN_MAP) -Wl,--exclude-libs,ALL \
	  $(if $(SAN_$(config)),,-Wl$(comma)-z$(comma)defs) -Wl,-z,noexecstack $^ -lm -o $@

# --- faulty-device: a device that fails where a test says, over the CPU's; named by its path as well ---
$(B)/tests/faulty-device.so: $(B)/tests/plugins/faulty_device.o $(B)/tests/libcore.a $(B)/builtin/scalar.o $(B)/libbase.a
	$(call say,LINK)true
	$(Q)$(CC) -shared $(RZ_LDFLAGS) $(LDFLAGS) -Wl,--version-script=$(PLUGIN_MAP) -Wl,--exclude-libs,ALL \
	  $(if $(SAN_$(config)),,-Wl$(comma)-z$(comma)defs) -Wl,-z,noexecstack $^ -Wl,--as-needed $(LIBS_core) -o $@

# --- bench/kernels, bench/encode: the speed of the matrix kernels alone, of a tokenizer alone ---
$(B)/bench/%.o: bench/%.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) $(CORE_INC) -Itests -Ibench -c $< -o $@
BENCH_OBJS := $(B)/bench/kernels.o $(B)/bench/peak.o $(B)/tests/fixture_quant.o $(B)/tests/fixture_gguf.o
$(B)/bench/kernels: $(BENCH_OBJS)
$(B)/bench/encode: $(B)/bench/encode.o
# Programs that process tests drive: no test cases of their own.
$(TOOLS): %: %.o $(B)/tests/libcore.a $(B)/tests/libplugins.a $(B)/libbase.a
	$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $^ -Wl,--as-needed $(LIBS_core) $(foreach p,$(PLUGINS),$(LIBS_$(p))) -o $@
BENCH_LIBS := $(B)/tests/libcore.a $(B)/tests/libplugins.a $(B)/libbase.a
$(B)/bench/kernels $(B)/bench/encode: $(BENCH_LIBS)
	$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $(filter %.o,$^) $(BENCH_LIBS) -Wl,--as-needed $(LIBS_core) $(foreach p,$(LINKED),$(LIBS_$(p))) -o $@

# Small models of our own making and what an independent program says of them: the same for each config.
FIXTURES := build/fixtures
TOOL_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -Werror -ffp-contract=off -Icore/api -Itests
build/tools/mkmodel: $(addprefix tests/,mkmodel.c $(notdir $(wildcard tests/fixture_*.c)))
build/tools/ref_model: $(addprefix tests/,ref_model.c $(notdir $(wildcard tests/ref_*.c)))
# (this machine's, whatever ARCH is)
build/tools/mkmodel build/tools/ref_model: tests/fixture.h tests/ref.h core/api/rz/quant.h core/api/rz/types.h
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(if $(CROSS),gcc,$(CC)) $(TOOL_CFLAGS) $(sort $(filter %.c,$^)) -lm -o $@
$(FIXTURES)/stamp: build/tools/mkmodel build/tools/ref_model
	@rm -rf $(FIXTURES) && mkdir -p $(FIXTURES)
	$(call say,MAKE,models for the tests in $(FIXTURES))build/tools/mkmodel $(FIXTURES)
	@for m in $(FIXTURES)/*.gguf; do \
	  build/tools/ref_model $$m $${m%.gguf}.tokens.i32 $${m%.gguf}.logits.f64 || exit 1; done
	@touch $@

# --- fuzz targets: tests/fuzz/NAME.c over the real objects. With libFuzzer's main they are build/fuzz/fuzz_NAME;
# with a main that reads files, and each compiler, they replay what was found (tests/test_fuzz_found.py). ---
SECONDS ?= 60
FUZZ := $(filter-out common folder replay,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
TARGET ?= $(FUZZ)
FUZZ_FOLDER := $(B)/tests/fuzz/folder.o $(OBJS_safetensors)
FUZZ_OBJS_gguf := $(OBJS_gguf)
FUZZ_OBJS_safetensors := $(FUZZ_FOLDER)
FUZZ_OBJS_config := $(FUZZ_FOLDER)
FUZZ_OBJS_tokenizer := $(FUZZ_FOLDER)
FUZZ_OBJS_vocab := $(FUZZ_FOLDER)
FUZZ_OBJS_words := $(foreach p,gguf $(notdir $(patsubst %/,%,$(filter plugins/tokenizers/%,$(PLUGIN_DIRS)))),$(B)/builtin/$(p).o)
FUZZ_OBJS_http := $(addprefix $(B)/plugins/frontends/http/,ask.o fields.o format.o messages.o)
FUZZ_LIBS := -Wl,--as-needed -ljansson -lpcre2-8 -lutf8proc $(LIBS_core)
REPLAYS := $(FUZZ:%=$(B)/tests/replay_%)
$(B)/tests/fuzz/%.o: tests/fuzz/%.c $(B)/flags
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(CC) $(RZ_CFLAGS) $(CFLAGS) $(CORE_INC) -Iplugins/formats/safetensors -Iplugins/frontends/http -c $< -o $@
define fuzz_rules
FUZZ_ALL_$(1) := $(B)/tests/fuzz/$(1).o $(B)/tests/fuzz/common.o $(FUZZ_OBJS_$(1)) $(B)/tests/libcore.a $(B)/libbase.a
$(B)/fuzz_$(1): $$(FUZZ_ALL_$(1))
	$$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) -fsanitize=fuzzer $$^ $(FUZZ_LIBS) -o $$@
$(B)/tests/replay_$(1): $(B)/tests/fuzz/replay.o $$(FUZZ_ALL_$(1))
	$$(call say,LINK)true
	$(Q)$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $$^ $(FUZZ_LIBS) -o $$@
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz_rules,$(t))))
.PHONY: fuzz run-fuzz
run-fuzz: $(TARGET:%=$(B)/fuzz_%) $(FIXTURES)/stamp
	@B=$(B) tests/fuzz/run.sh $(SECONDS) $(TARGET)

.PHONY: tests run-tests run-story run-bench bench-compare deps
tests: all $(if $(CROSS),,$(B)/tests/cuda-host.so $(B)/tests/faulty-device.so) $(TESTS) $(TOOLS) $(REPLAYS) $(FIXTURES)/stamp \
  $(if $(SAN_$(config)),$(CANARIES))
run-tests: tests
	@B=$(B) CONFIG=$(config) tests/run.sh

# --- what a person types. The packages come first, in a make of their own: this one may find no compiler. ---
AGAIN = +@$(MAKE) --no-print-directory
deps:
	@tools/deps.sh packages.txt
# What the tests for another machine need may be missing: then these are skipped, and say so.
test: deps
	@$(if $(filter x86_64-release,$(HOST)-$(config)),tools/deps.sh packages-aarch64.txt || true,:)
	@$(if $(filter release,$(config)),tools/deps.sh packages-browser.txt || true,:)
	$(AGAIN) run-tests
run: deps
	$(AGAIN) run-story
bench: deps
	$(AGAIN) run-bench
# Wrong details on purpose, in models and in the source: each must be seen.
.PHONY: mutations
mutations: all
	$(Q)RZ_SLOW=1 RZ=$(CURDIR)/$(B)/rz python3 tests/test_mutations.py
# A server under good, bad and rude clients: 20,000 requests in 20 minutes, or as many as fit in SOAK seconds.
SOAK ?= 1200
.PHONY: soak
soak: all $(FIXTURES)/stamp
	$(Q)RZ=$(CURDIR)/$(B)/rz RZ_CONFIG=$(config) python3 tests/soak.py --seconds $(SOAK)
# libFuzzer is a part of clang: without it this fails.
fuzz: deps
	$(AGAIN) config=fuzz CC=clang run-fuzz

# The default model alone: .ci/run fetches it before the tests, which use it where it is there.
.PHONY: model
model: deps
	@tools/get-model.py

STORY := Once upon a time, in a small house at the edge of the forest, there lived
run-story: all
	@model=$$(tools/get-model.py) && echo && printf '%s' '$(STORY)' && \
	$(B)/rz run -m "$$model" --raw -p '$(STORY)' -n 200 --timings
run-bench: all
	@model=$${MODEL:-$$(tools/get-model.py)} && python3 bench/table.py --rz $(B)/rz "$$model" $(ARGS)
bench-compare: all
	@model=$${MODEL:-$$(tools/get-model.py)} && python3 bench/compare.py --rz $(B)/rz --model "$$model" \
	    $(if $(PEER),--peer "$(PEER)") $(if $(PEER2),--peer "$(PEER2)") $(if $(PEER3),--peer "$(PEER3)") $(ARGS)

# --- the gate ---
.PHONY: check-style check-format check-exports check-headers check-warnings
check: deps
	$(AGAIN) check-style check-format check-headers
	$(AGAIN) check-exports
	$(AGAIN) check-warnings
	@echo "check: passed"
C_FILES = $(shell find core plugins tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cc' | sort)
check-style:
	@python3 tests/style.py
check-format:
	@clang-format --dry-run -Werror $(C_FILES)
	@echo "check-format: as .clang-format says"
check-headers:
	@for h in core/api/rz/*.h; do for x in c c++; do \
	  clang -fsyntax-only -Wall -Wextra -Werror -Icore/api -x $$x-header $$h || exit 1; done; done
	@echo "check-headers: each header of the interface stands alone, in C and in C++"
check-exports: all
	@for so in $(SHARED:%=$(B)/plugins/%.so); do \
	  got=$$($(CROSS)nm -D --defined-only $$so | awk '{print $$3}' | tr '\n' ' '); \
	  [ "$$got" = "rz_plugin_v1 " ] || { echo "$$so exports: $$got(wanted: rz_plugin_v1 only)"; exit 1; }; done
	@echo "check-exports: each plugin exports rz_plugin_v1 and nothing else"
# Warnings are errors: what the one compiler says stops the build, here the other one is asked too.
OTHER_CC := $(if $(findstring clang,$(CC)),gcc,clang)
check-warnings: all $(TESTS) $(CANARIES)
	$(AGAIN) CC=$(OTHER_CC) B=build/$(OTHER_CC) all $(patsubst $(B)/%,build/$(OTHER_CC)/%,$(TESTS) $(CANARIES))
	@echo "check-warnings: none with $(CC), none with $(OTHER_CC)"

# --- installing ---
INSTALL_TO = $(DESTDIR)$(PREFIX)
install: all
	install -d $(INSTALL_TO)/bin $(INSTALL_TO)/lib/rz/plugins $(INSTALL_TO)/lib/pkgconfig \
	  $(INSTALL_TO)/include/rz/base $(INSTALL_TO)/share/man/man1 $(DESTDIR)$(SYSCONFDIR)/rz
	install -m 755 $(B)/rz $(INSTALL_TO)/bin/rz
	$(if $(SHARED),install -m 755 $(SHARED:%=$(B)/plugins/%.so) $(INSTALL_TO)/lib/rz/plugins/)
	install -m 644 core/api/rz/*.h $(INSTALL_TO)/include/rz/
	install -m 644 core/base/*.h $(INSTALL_TO)/include/rz/base/
	install -m 644 $(B)/libbase.a $(INSTALL_TO)/lib/librz_base.a
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' rz.pc.in > $(INSTALL_TO)/lib/pkgconfig/rz.pc
	install -m 644 docs/rz.1 $(INSTALL_TO)/share/man/man1/rz.1
	install -d $(INSTALL_TO)/lib/systemd/system
	sed -e 's|/usr/local/bin|$(PREFIX)/bin|' etc/rz.service > $(INSTALL_TO)/lib/systemd/system/rz.service
	install -m 644 etc/rz.socket $(INSTALL_TO)/lib/systemd/system/rz.socket
	[ -e $(DESTDIR)$(SYSCONFDIR)/rz/rz.ini ] || install -m 644 etc/rz.ini $(DESTDIR)$(SYSCONFDIR)/rz/rz.ini

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
