import subprocess
import sys

import pytest

import impasto


def test_all_names_exist():
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    assert set(impasto.__all__) <= set(dir(impasto))
    assert impasto.__version__


@pytest.mark.process
def test_importing_loads_no_torch():
    script = "import sys, impasto; impasto.InputError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_unknown_names_are_attribute_errors():
    assert not hasattr(impasto, "no_such_thing")
