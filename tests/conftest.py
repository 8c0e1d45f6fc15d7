"What the tests share."
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    "The folder of real recordings, or a skip that says how to get the test to run."
    folder = os.environ.get("DFM_DATA")
    if not folder: pytest.skip("needs real recordings: DFM_DATA=/folder/of/recordings make test")
    if not Path(folder).is_dir(): pytest.fail(f"DFM_DATA={folder} is not a folder")
    return Path(folder)


@pytest.fixture
def dfm(tmp_path):
    "Runs the `dfm` command as a user would: dfm('run', 'causal', '--out', folder). Returns the CompletedProcess."
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'dfm'; from dfm_nb.cli import main; sys.exit(main())"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    def run(*args, timeout=300, cwd=tmp_path, **env):
        return subprocess.run([*command, *map(str, args)], cwd=cwd, timeout=timeout, capture_output=True, text=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **env})
    return run
