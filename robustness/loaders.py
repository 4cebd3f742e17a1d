"""All loaders of aelib that read files from outside; each function makes one when it is called: some bring Keras in."""

from robustness.array_loaders import checkpoint, sampler, training_state, z_points
from robustness.image_loaders import celeba_lists, image_folder, image_zip, olivetti, pixel_cache
from robustness.text_loaders import (
    explored_run,
    notebook,
    parameter_file,
    run_folder,
    run_site,
    sweep_table,
)

LOADERS = (
    *(image_folder, image_zip, celeba_lists, olivetti, pixel_cache),
    *(checkpoint, training_state, z_points, sampler),
    *(run_folder, run_site, explored_run, sweep_table, parameter_file, notebook),
)
