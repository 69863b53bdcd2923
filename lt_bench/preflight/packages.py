"""Packages that parts of a run need and that are not installed here, found without importing any."""

from __future__ import annotations

from collections.abc import Iterator

from lt_bench.config.schema import Config
from lt_bench.config.signatures import TargetError, class_attribute, module_file
from lt_bench.config.trust import PACKAGE
from lt_bench.preflight.timm_models import TIMM
from lt_bench.preflight.trackers import nodes

JPEG_PACKAGE = "simplejpeg"
NO_JPEG_PACKAGE = (
    f"dataset.decoder=turbo: its package {JPEG_PACKAGE} is not installed; pip install 'lt_bench[jpeg]', or set "
    "dataset.decoder=pillow"
)


def missing_packages(config: Config) -> Iterator[str]:
    """One line for every tracker, network and decoder whose package is missing, with the command that installs it."""
    parts = {f"tracker={key.partition('.')[2]}": values for key, values in nodes(config).items()}
    if config.backbone["_target_"] == TIMM:  # classes of networks are long to look through
        parts[f"backbone.model={config.backbone['model']}"] = config.backbone
    for words, values in parts.items():
        target = values["_target_"]
        try:
            package = class_attribute(target, "package")
        except TargetError:
            continue  # said with all that is wrong with it
        if isinstance(package, str) and module_file(package) is None:
            what = f"'lt_bench[{package}]'" if target.startswith(f"{PACKAGE}.") else package
            name = words.partition("=")[2] if words.startswith("tracker") else ""
            instead = f"leave {name} out" if name else "choose another backbone="
            yield f"{words}: its package {package} is not installed; pip install {what}, or {instead}"
    if config.dataset.decoder == "turbo" and module_file(JPEG_PACKAGE) is None:
        yield NO_JPEG_PACKAGE
