# The verbs are for people; what they do is in scripts/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# make dev serves this folder, and makes it if it is not there. It belongs to whoever edits it: `clean` leaves it alone.
PROJECT ?= my-project
PORT ?= 3000

prefix ?= /usr/local
DESTDIR ?=

# The bindings are made from Debian's nginx where its sources are installed, else from the vendored one. Every call of
# cargo needs to know; it is decided anew for each, because `setup` may have installed them.
nginx_kind = $(shell test -r /usr/share/nginx/src/conf_flags && echo debian || echo vendored)
nginx_tree = $(CURDIR)/build/nginx-$(nginx_kind)/src
export NGINX_SOURCE_DIR = $(nginx_tree)
export NGINX_BUILD_DIR = $(nginx_tree)/objs

.PHONY: help setup dev test test-crash test-reload test-panics test-asan test-valgrind bench bench-topics fuzz lint build install clean

help: ## Show this list
	@echo 'usage: make VERB'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install what is missing to build and to test
	@scripts/setup

dev: build ## Serve an example project on http://localhost:3000 until Ctrl-C (PROJECT=dir, PORT=n)
	@test -e '$(PROJECT)' || build/spacer init '$(PROJECT)'
	@if [ $(nginx_kind) = vendored ]; then export SPACER_NGINX=$(CURDIR)/build/nginx-vendored/nginx; fi; \
	exec build/spacer dev '$(PROJECT)' --port '$(PORT)'

test: setup ## Run everything that proves it works
	@scripts/test

test-crash: build ## Kill nginx and the stores under load, and check that topics lose nothing (ARGS='--rounds N ...')
	@scripts/test-crash $(ARGS)

test-reload: build ## Reload, upgrade, stop and crash nginx under load, and check that nothing fails or grows (ARGS='--reloads N ...')
	@scripts/test-reload $(ARGS)

test-panics: setup ## Provoke a panic at each kind of entry, in a build of its own
	@scripts/test-panics

test-asan: setup ## Run suites against a module built for the address sanitizer (ARGS='FILE.t...')
	@scripts/test-asan $(ARGS)

test-valgrind: setup ## Run suites under valgrind (ARGS='FILE.t...')
	@scripts/test-valgrind $(ARGS)

bench: build ## Measure against the peer (ARGS='--only NAME,...', ARGS=--sleepers)
	@scripts/setup bench
	@scripts/bench $(ARGS)

bench-topics: build ## Measure topics on each store: throughput, latency, outage (ARGS='--driver sqlite ...')
	@scripts/setup bench
	@scripts/bench-topics $(ARGS)

fuzz: setup ## Give readers of foreign text to libFuzzer, 60 s each (ARGS='--seconds 600 TARGET...')
	@scripts/fuzz $(ARGS)

lint: setup ## Check format, style and layers of Rust, Lua and shell
	@scripts/lint

build: setup ## Leave the module and the command in build/
	@scripts/build

install: build ## Install both and the completions (DESTDIR=dir, prefix=/usr/local)
	@DESTDIR='$(DESTDIR)' prefix='$(prefix)' scripts/install

clean: ## Remove what was built, and nothing else
	@scripts/services stop
	cargo clean
	rm -rf build
