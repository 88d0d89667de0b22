# Single words for the daily loop; meson does the work. `make check` before every change.
BUILD ?= build
NINJA ?= ninja
PREFIX ?= /usr/local
CLANG_FORMAT ?= $(shell command -v clang-format-19 || command -v clang-format)
CLANG_TIDY ?= $(shell command -v clang-tidy-19 || command -v clang-tidy)
SOURCES = $(shell git ls-files 'src/*.cc' 'src/*.h' 'tests/*.cc' 'tests/*.h')

.PHONY: build check test sim asan fuzz system vm bench fmt lint install clean

build: $(BUILD)/build.ninja
	$(NINJA) -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

check: build
	$(CLANG_FORMAT) --dry-run -Werror $(SOURCES)
	tests/run.sh unit

test:
	tests/run.sh

# make sim SEEDS=100000: as many fresh seeds.
sim:
	SIM_SEEDS=$(or $(SEEDS),2000) tests/run.sh sim

asan:
	tests/run.sh asan

fuzz:
	tests/run.sh fuzz

system:
	tests/run.sh system

vm:
	tests/run.sh vm

bench:
	tests/bench/run.sh

fmt:
	$(CLANG_FORMAT) -i $(SOURCES)

lint: build
	$(CLANG_TIDY) -p $(BUILD) --quiet $(filter src/%.cc,$(SOURCES))

install:
	meson setup --reconfigure --prefix=$(PREFIX) --buildtype=release $(BUILD)-release 2>/dev/null || \
	  meson setup --prefix=$(PREFIX) --buildtype=release -Dtests=false -Dstrip=true $(BUILD)-release
	meson install -C $(BUILD)-release

clean:
	rm -rf $(BUILD) $(BUILD)-release
