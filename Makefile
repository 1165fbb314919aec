# Makefile - builds rz: the program, its plugins, the tests.
#
#   make [config=release|debug|asan|ubsan|tsan] [CC=gcc|clang]
#
# Objects go to build/$(config)/. A folder below plugins/ is a plugin; nothing here names one except the
# list of those that are linked into the program as well.
config ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
B := build/$(config)
ARCH := $(shell uname -m)

# --- flags ---
RZ_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
             -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden -fPIC -pthread -g -MMD -MP
OPT_release := -O2
OPT_debug := -O0 -DRZ_DEBUG
OPT_asan := -O1 -fsanitize=address -fno-omit-frame-pointer -fno-sanitize-recover=all -DRZ_DEBUG
OPT_ubsan := -O1 -fsanitize=undefined -fno-sanitize-recover=all -DRZ_DEBUG
OPT_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer -fno-sanitize-recover=all -DRZ_TSAN
SAN_asan := -fsanitize=address
SAN_ubsan := -fsanitize=undefined
SAN_tsan := -fsanitize=thread
RZ_CFLAGS += $(OPT_$(config))
RZ_LDFLAGS := -pthread $(SAN_$(config))
ifeq ($(OPT_$(config)),)
$(error config=$(config): no such configuration (release, debug, asan, ubsan, tsan))
endif

API := -Icore/api -Icore/base
CORE_INC := $(API) -Icore -Icore/exec -Icore/model -Icore/engine
# ISA flags belong to kernel files only, never to a plugin's table file or to the core.
ISA_avx2 := -mavx2 -mfma -mf16c

# --- what there is ---
PLUGIN_DIRS := $(filter-out %/common/,$(wildcard plugins/*/*/))
ifneq ($(ARCH),x86_64)
PLUGIN_DIRS := $(filter-out plugins/backends/avx2/,$(PLUGIN_DIRS))
endif
PLUGINS := $(notdir $(patsubst %/,%,$(PLUGIN_DIRS)))
BUILTINS := scalar gguf bpe spm cli
SHARED := $(filter-out $(BUILTINS),$(PLUGINS))

# libraries of single plugins, and of the core
LIBS_bpe := -lpcre2-8
LIBS_cli := -ljansson
LIBS_http := -lmicrohttpd -ljansson -lcrypto
LIBS_core := -linih -lcrypto -ldl -lm

srcs = $(wildcard $(1)*.c)
objs = $(patsubst %.c,$(B)/%.o,$(1))
BASE_OBJS := $(call objs,$(call srcs,core/base/))
CORE_SRCS := $(call srcs,core/) $(call srcs,core/exec/) $(call srcs,core/model/) $(call srcs,core/engine/)
CORE_OBJS := $(call objs,$(filter-out core/main.c,$(CORE_SRCS)))

.PHONY: all run test check bench install clean
all: $(B)/rz $(SHARED:%=$(B)/plugins/%.so)

# A change of compiler or flags rebuilds everything of this configuration.
$(B)/flags: FORCE
	@mkdir -p $(B)
	@echo '$(CC) $(RZ_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(RZ_CFLAGS)' > $@
FORCE:

# --- objects ---
$(B)/core/%.o: core/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(RZ_CFLAGS) $(CFLAGS) $(if $(filter core/base/%,$<),$(API),$(CORE_INC)) -c $< -o $@
$(B)/plugins/%.o: plugins/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(RZ_CFLAGS) $(CFLAGS) $(API) $(if $(findstring /kernels_,$<),$(ISA_$(notdir $(patsubst %/,%,$(dir $<))))) -c $< -o $@

$(B)/libbase.a: $(BASE_OBJS)
	@rm -f $@
	ar rcs $@ $^

# --- plugins: a shared object that exports one symbol, or one relocatable object with that symbol renamed ---
PLUGIN_MAP := core/api/plugin.map
define plugin_rules
OBJS_$(1) := $$(call objs,$$(call srcs,$(2)) $$(call srcs,$$(dir $$(patsubst %/,%,$(2)))common/))
$(B)/plugins/$(1).so: $$(OBJS_$(1)) $(B)/libbase.a $(PLUGIN_MAP)
	$(CC) -shared $(RZ_LDFLAGS) $(LDFLAGS) -Wl,--version-script=$(PLUGIN_MAP) -Wl,--exclude-libs,ALL \
	  $(if $(SAN_$(config)),,-Wl$(comma)-z$(comma)defs) -Wl,-z,now -Wl,-z,noexecstack $$(OBJS_$(1)) $(B)/libbase.a $$(LIBS_$(1)) -lm -o $$@
$(B)/builtin/$(1).o: $$(OBJS_$(1)) $(B)/libbase.a
	@mkdir -p $$(@D)
	ld -r -o $$@.tmp $$(OBJS_$(1)) $(B)/libbase.a
	objcopy --redefine-sym rz_plugin_v1=rz_builtin_$(1) --keep-global-symbol=rz_builtin_$(1) $$@.tmp $$@
	@rm -f $$@.tmp
endef
comma := ,
$(foreach d,$(PLUGIN_DIRS),$(eval $(call plugin_rules,$(notdir $(patsubst %/,%,$(d))),$(d))))

BUILTIN_OBJS := $(BUILTINS:%=$(B)/builtin/%.o)
BUILTIN_LIBS := $(foreach b,$(BUILTINS),$(LIBS_$(b)))
$(B)/rz: $(B)/core/main.o $(CORE_OBJS) $(BUILTIN_OBJS) $(B)/libbase.a
	$(CC) $(RZ_LDFLAGS) $(LDFLAGS) $^ $(LIBS_core) $(BUILTIN_LIBS) -o $@

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
