"""Whether torchvision is there, and of a build for the PyTorch that is."""

from __future__ import annotations

from importlib.metadata import version

from lt_bench.errors import UsageError


def require_torchvision() -> None:
    """Raise UsageError where torchvision cannot be imported: most often it was built for another PyTorch."""
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, ImportError, OSError) as error:  # an operator or a library that is not there
        versions = " and ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"{versions} do not belong together ({said}); install both in one command: pip install -U torch torchvision"
        ) from error
