"""Checks of types and array shapes at run time, in every function of aelib that a test or doctest calls."""

from pathlib import Path

from jaxtyping import install_import_hook

# Not in modules whose names begin with an underscore: numba refuses to compile wrapped functions.
_CHECKED = [f"aelib.{path.stem}" for path in sorted((Path(__file__).parent / "aelib").glob("[a-z]*"))]

# An int is welcome where a float is asked for, as type checkers have it.
install_import_hook(
    [*_CHECKED, "aelib.__main__"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)
