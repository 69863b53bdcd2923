"""The data modules are read by config checks and reports, which must not wait for torch."""

import subprocess
import sys

MODULES = ["splits.imbalance", "splits.split", "sources.digits", "sources.fashion_mnist", "sources.cifar"]


def test_data_modules_import_without_torch():
    imports = "; ".join(f"import lt_bench.data.{module}" for module in MODULES)
    code = f"import sys; {imports}; print(sorted({{'torch', 'torchvision', 'sklearn'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
