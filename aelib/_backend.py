"""The one import of Keras: quiet, with TensorFlow as the default backend, and what differs between backends.

Set `KERAS_BACKEND` to `jax` or `torch` before the import for another backend, and `TF_CPP_MIN_LOG_LEVEL=0` to
see TensorFlow's log.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

_CPUINFO = Path("/proc/cpuinfo")
_WANTS_LOG = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, C++ code included; show it only if the block fails."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        original = os.dup(2)
        try:
            os.dup2(held.fileno(), 2)
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


def _import_keras() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if _WANTS_LOG or "keras" in sys.modules:
        import keras

        return keras
    # Below level 3 TensorFlow reports as errors that a machine has no GPU, and that LeakyReLU cannot be fused.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Level 3 comes too late for what oneDNN and abseil say while the libraries are loaded.
    with _stderr_held_back():
        import keras

        # The first computation starts the runtime, which has its own things to say.
        keras.ops.convert_to_numpy(keras.ops.ones(1) + 1)
    # TensorFlow counts retracing by a function's code, which all Keras models share: the fifth model makes it warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return keras


if TYPE_CHECKING:
    import keras
else:
    keras = _import_keras()


def has_fast_bfloat16() -> bool:
    """Say whether mixed_bfloat16 is faster than float32 here.

    True where the processor multiplies bfloat16 in hardware (Linux reports `avx512_bf16` or `amx_bf16`) and the
    backend hands convolutions to oneDNN, which uses it: TensorFlow.

    Returns
    -------
    bool
        False wherever that is not known, for example on a GPU: ask for mixed_bfloat16 yourself there.
    """
    if keras.config.backend() != "tensorflow" or not _CPUINFO.is_file():
        return False
    flags = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def n_replicas() -> int:
    """Count the devices that share each batch, under `tf.distribute` or a distribution of Keras.

    Returns
    -------
    int
        1 where nothing is distributed.
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return int(tf.distribute.get_strategy().num_replicas_in_sync)
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.num_model_replicas)


def fed(batches: "keras.utils.PyDataset") -> Any:
    """Return batches in the form that `fit` and `evaluate` take without losing time.

    Keras hands a `PyDataset` to TensorFlow with automatic tuning, whose thread was seen to miss the end of an epoch:
    half of them, of 3 s, ended 2 s late. Here the next two batches are made ahead, and nothing is tuned.

    Parameters
    ----------
    batches : keras.utils.PyDataset
        The batches of one epoch. All but the first axis have the same length in all of them.

    Returns
    -------
    tf.data.Dataset or keras.utils.PyDataset
        The same batches in the same order.
    """
    if keras.config.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    first = batches[0]
    data = tf.data.Dataset.from_generator(
        lambda: (batches[k] for k in range(len(batches))),
        output_signature=tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in first),
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(2).with_options(options)


def traced(function: Callable[[Any], Any], shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a function of `keras.ops` and Keras models for inputs of one shape.

    A call of a Keras model costs more time for finding out what to do than for a single small input. A traced function
    has found out.

    Parameters
    ----------
    function : callable
        From a tensor to a tensor. Weights that it uses may be constants from then on.
    shape : tuple of int
        Shape of the input, float32.

    Returns
    -------
    callable
        From an array of this shape to an array.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        call = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)
        concrete = call.get_concrete_function()
        return lambda x: concrete(tf.constant(x, tf.float32)).numpy()
    if backend == "jax":
        import jax

        compiled = jax.jit(function)
        return lambda x: np.asarray(compiled(np.asarray(x, np.float32)))
    return lambda x: keras.ops.convert_to_numpy(_without_gradient(function, keras.ops.convert_to_tensor(x)))


def _without_gradient(function: Callable[[Any], Any], x: Any) -> Any:
    if keras.config.backend() != "torch":
        return function(x)
    import torch

    with torch.no_grad():
        return function(x)
