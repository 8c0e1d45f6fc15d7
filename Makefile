# dfm_nb: `make` alone lists what there is.
.DEFAULT_GOAL := help

BIN := .venv/bin
# A run folder, one notebook, an experiment (NAME), and flags of cells that are otherwise skipped (slow data gpu):
RUN ?= runs/quick
NB ?=
FLAGS ?=
ARGS ?=
NAME ?=

# Real recordings beside the checkout are used where they exist; DFM_DATA set to anything else, or to nothing, wins.
ifeq ($(origin DFM_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
test notebooks table-scl experiment: export DFM_DATA := $(shell cd ../shared/data && pwd)
endif
endif

# Byte code is kept, whatever the environment says: compiling torch, pandas and the like anew doubles the start of every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install run test table table-scl table-align experiment answers picture lab app docs export clean-notebooks notebooks readme clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

install: .venv/.installed ## make .venv with the package and everything needed to work on it
	@:
.venv/.installed: settings.ini setup.py pyproject.toml constraints.txt
	@sh scripts/install.sh
	@touch $@

run: install ## train the quick causal model, compare, audit, report (RUN=folder)
	@if [ -f "$(RUN)/summary.md" ]; then $(BIN)/dfm resume "$(RUN)" && cat "$(RUN)/summary.md"; \
	 elif [ -n "$$(ls -A "$(RUN)" 2>/dev/null)" ]; then $(BIN)/dfm resume "$(RUN)"; \
	 else $(BIN)/dfm run causal --data sim:quick --out "$(RUN)"; fi

test: install ## everything that must hold (FLAGS="slow gpu" runs those cells too)
	@FLAGS="$(FLAGS)" sh scripts/test.sh

table: install ## both settings on both kinds of survey, three seeds: the tables of the README (about two hours; ARGS="--seeds 0")
	@$(BIN)/python scripts/settings_table.py $(ARGS)

table-scl: install ## the structured recipe on real ECG and motion data, three seeds (DFM_DATA=folder; ARGS="ecg imu"; about an hour)
	@$(BIN)/python scripts/scl_table.py $(ARGS)

table-align: install ## the recipe for spectra and texts on 11,447 simulated sources, three seeds (about a quarter of an hour)
	@$(BIN)/python scripts/align_table.py $(ARGS)

experiment: install ## run an experiment at laptop size, keep its table, store its answer (NAME=leakage; up to 20 minutes; corn needs DFM_DATA)
	@test -f "sweeps/$(NAME).yaml" || { echo "NAME=$(NAME) is no file in sweeps/; there are: $(notdir $(basename $(wildcard sweeps/*.yaml)))" >&2; exit 2; }
	@OMP_NUM_THREADS=1 $(BIN)/dfm sweep "sweeps/$(NAME).yaml" --size laptop --workers 2 --out "runs/sweeps/$(NAME)"
	@$(BIN)/python -c "import sys; from dfm_nb.sweep.report import keep; print(keep(sys.argv[1]))" "runs/sweeps/$(NAME)"
	@PLOTLY_RENDERER=png $(BIN)/python scripts/notebooks.py "nbs/experiments/$(NAME).ipynb"

answers: install ## what experiments answer, anew from their kept tables (NB=nbs/experiments/leakage.ipynb for one)
	@PLOTLY_RENDERER=png $(BIN)/python scripts/notebooks.py --answers $(if $(NB),"$(NB)")

picture: run ## the picture of the README, from the run that `make run` made (needs Chromium)
	@$(BIN)/python scripts/picture.py "$(RUN)"

lab: install ## open the dashboards and tutorials in JupyterLab
	$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/nbs/dashboards/overview.ipynb --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate $(if $(filter 0,$(shell id -u)),--allow-root)

app: install ## the dashboards as a web page without code (voila; ARGS="--no-browser --port 8866")
	$(BIN)/python -m voila nbs/dashboards $(ARGS)

docs: install ## the documentation site in _docs, from the notebooks
	@$(BIN)/python scripts/docs.py _docs

export: install ## write the modules of dfm_nb from the notebooks
	@$(BIN)/nbdev_export

clean-notebooks: install ## strip what the notebooks need not remember (counts, addresses, metadata)
	@$(BIN)/nbdev_clean

notebooks: export ## run the notebooks and keep their outputs (NB=nbs/00_core.ipynb for one)
	@PLOTLY_RENDERER=png FLAGS="$(FLAGS)" $(BIN)/python scripts/notebooks.py $(if $(NB),"$(NB)")

readme: install ## write README.md from nbs/index.ipynb
	@$(BIN)/python scripts/readme.py

clean: ## remove what builds and tests leave behind; never runs/, data/ or .venv
	rm -rf build dist *.egg-info _docs _proc .pytest_cache .hypothesis
	find dfm_nb nbs scripts tests data \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
