"""The command line, `python -m aelib`: run the series, list its claims, train a checkpoint, and so on."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_MEMORY_OF_TENSORFLOW = "ResourceExhaustedError"
"""An error by its name: nothing here imports TensorFlow."""
_MEMORY_OF_ONEDNN = "could not create a primitive"
"""What the library under TensorFlow says when it gets no memory, in an error that is otherwise of no certain kind."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str or None
        The words after `python -m aelib`; None takes them from the command line.

    Returns
    -------
    int
        Exit status: 0 if all went well, 1 if a notebook failed, 2 if the command was wrong or could not be
        carried out, 130 if it was interrupted.
    """
    try:
        options = parser().parse_args(arguments)
    except KeyboardInterrupt:
        print("\naelib: interrupted; nothing was begun.", file=sys.stderr)
        return 130
    if options.traceback:
        return int(options.command(options))
    try:
        return int(options.command(options))
    except (ValueError, OSError, RuntimeError) as error:
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = f"; make room, and {options.goes_on} goes on from here." if is_full else ""
        print(f"aelib: {error}{advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\naelib: interrupted; {options.goes_on} goes on from here.", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_of_memory(error):
            raise
        why = f" ({str(error).splitlines()[0]})" if str(error) else ""
        advice = f"close other programs, and {options.goes_on} goes on from here."
        print(f"aelib: the memory is not enough{why}; {advice}", file=sys.stderr)
        return 2


def _is_of_memory(error: Exception) -> bool:
    named = type(error).__name__ == _MEMORY_OF_TENSORFLOW or _MEMORY_OF_ONEDNN in str(error)
    return named or isinstance(error, MemoryError)


def parser() -> argparse.ArgumentParser:
    """Describe the command line.

    Returns
    -------
    argparse.ArgumentParser
        With one subcommand per task; `command` in its result is the function for it.
    """
    whole = argparse.ArgumentParser(prog="python -m aelib", description=__doc__, allow_abbrev=False)
    whole.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
    whole.set_defaults(goes_on="the same command")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _describe_run(commands.add_parser("run", help="execute the notebooks", allow_abbrev=False))
    _describe_sweep(
        commands.add_parser("sweep", help="run over a grid of networks and parameters", allow_abbrev=False)
    )
    _describe_claims(commands.add_parser("claims", help="list the claims of a run", allow_abbrev=False))
    _describe_train(commands.add_parser("train", help="train a checkpoint", allow_abbrev=False))
    _describe_store(commands.add_parser("store", help="execute the notebooks in place", allow_abbrev=False))
    _describe_edition(
        commands.add_parser(
            "edition", help="write the notebooks for students or with solutions", allow_abbrev=False
        )
    )
    _describe_site(commands.add_parser("site", help="build a site from a run", allow_abbrev=False))
    _describe_explore(commands.add_parser("explore", help="open the explorer as a page", allow_abbrev=False))
    return whole


def _describe_run(run: argparse.ArgumentParser) -> None:
    run.description = (
        "Execute the notebooks into runs/NAME. On images other than the embedded faces, train a network on them "
        "first, for about ten minutes on two cores. All that a run was asked and found is in its folder; what was "
        "stopped or killed goes on with --resume."
    )
    run.add_argument(
        "--images", default="", help="faces (default), photos:PATH, celeba:PATH, lfw or olivetti"
    )
    run.add_argument(
        "--notebooks", nargs="+", default=[], metavar="NN", help="only these, by how their names begin"
    )
    run.add_argument(
        "--name", default="", help="folder below runs/ (default: made from images and parameters)"
    )
    run.add_argument(
        "-f", "--params", type=Path, metavar="FILE", help="parameters, e.g. notebooks/params/full.yaml"
    )
    run.add_argument(
        "-p",
        "--param",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="one parameter: NAME for all notebooks that have it, or NN.NAME for those that begin with NN",
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on with the first unfinished notebook of the latest unfinished run, or of the one named by --name",
    )
    run.set_defaults(command=_run, goes_on="`run --resume`")


def _describe_sweep(sweep: argparse.ArgumentParser) -> None:
    sweep.description = (
        "Run the series at every point of a grid, several at a time, and gather its claims in one table with a figure "
        "for each. Networks are trained as the grid says. The same command goes on with a sweep that was stopped."
    )
    sweep.add_argument(
        "-f", "--file", type=Path, metavar="FILE", help="a grid, e.g. notebooks/sweeps/small.yaml"
    )
    sweep.add_argument(
        "-g",
        "--grid",
        nargs="+",
        action="append",
        default=[],
        metavar=("AXIS", "VALUE"),
        help="an axis and its values: images, seed, n_train, a setting of the network (z_dim, filters, activation, "
        "batch_norm, loss ...) or of its training (epochs ...), or a parameter of the notebooks, NAME or NN.NAME",
    )
    sweep.add_argument(
        "--notebooks", nargs="+", default=[], metavar="NN", help="only these, by how their names begin"
    )
    sweep.add_argument("--name", default="", help="folder below runs/sweeps (default: the file's name)")
    sweep.add_argument(
        "--keep", default="", help="notebooks (default): all of each run; claims: its claims and records only"
    )
    sweep.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster, such as tcp://HOST:8786"
    )
    sweep.add_argument(
        "--workers", type=int, default=0, help="points at a time (default: one for every two cores)"
    )
    sweep.set_defaults(command=_sweep)


def _describe_claims(claims: argparse.ArgumentParser) -> None:
    claims.description = (
        "List the claims that the notebooks of a run have checked, with figures and verdicts."
    )
    claims.add_argument("run", type=Path, metavar="RUN", help="name of a run below runs/, or its folder")
    claims.set_defaults(command=_claims)


def _describe_train(train: argparse.ArgumentParser) -> None:
    train.description = "Train a checkpoint; the same command goes on with a training that was stopped."
    train.add_argument(
        "--images", default="faces", help="faces (default), photos:PATH, celeba:PATH, lfw or olivetti"
    )
    train.add_argument("--n", type=int, help="number of images (default: all; faces: 20000)")
    train.add_argument("--preset", default="post3", help="post1, post3 (default) or large")
    train.add_argument("--z-dim", type=int, default=256, help="dimension of the latent space (default: 256)")
    train.add_argument("--loss", default="mse", help="mse (default) or bce")
    train.add_argument("--epochs", type=int, help="default: what 170000 shown images make")
    train.add_argument("--batch-size", type=int, default=64, help="default: 64")
    train.add_argument(
        "--learning-rate", type=float, default=5e-4, help="Adam's, at the start (default: 5e-4)"
    )
    train.add_argument("--schedule", default="constant", help="constant (default) or cosine")
    train.add_argument("--flips", action="store_true", help="mirror every other image, at random")
    train.add_argument(
        "--seed", type=int, default=7, help="of the images, the split and the training (default: 7)"
    )
    share = "share of the images (below 1) or number of them"
    train.add_argument("--validation", type=float, default=0.06, help=f"{share}, to watch (default: 0.06)")
    train.add_argument("--test", type=float, default=0.06, help=f"{share}, to set aside (default: 0.06)")
    train.add_argument("--precision", default="auto", help="auto (default), float32 or mixed_bfloat16")
    train.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the checkpoint goes")
    train.set_defaults(command=_train)


def _describe_store(store: argparse.ArgumentParser) -> None:
    store.description = "Execute the notebooks with their own parameters and store them with their outputs."
    store.add_argument(
        "--notebooks", nargs="+", default=[], metavar="NN", help="only these, by how their names begin"
    )
    store.set_defaults(command=_store)


def _describe_edition(edition: argparse.ArgumentParser) -> None:
    edition.description = (
        "Write an edition of the notebooks. student: a folder that works on its own, without the exercises' solutions. "
        "solved: notebooks in which the solutions are cells that run."
    )
    edition.add_argument("which", choices=("student", "solved"), help="which edition")
    edition.add_argument("--out", type=Path, metavar="FOLDER", help="default: build/student or build/solved")
    edition.add_argument(
        "--outputs", action="store_true", help="student: keep the notebooks' outputs (default: left out)"
    )
    edition.add_argument(
        "--notebooks",
        nargs="+",
        default=[],
        metavar="NN",
        help="solved: only these, by how their names begin",
    )
    edition.add_argument(
        "--execute", action="store_true", help="solved: execute them, so that the solutions have outputs, too"
    )
    edition.set_defaults(command=_edition)


def _describe_site(site: argparse.ArgumentParser) -> None:
    site.description = (
        "Build pages with the notebooks, claims and cards of a run, and the API reference. They open from the file "
        "system, without a server and without network."
    )
    site.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="folder of a run, or its name below runs/ (default: the notebooks as stored)",
    )
    site.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: site in the run's folder; build/site without RUN"
    )
    site.set_defaults(command=_site)


def _describe_explore(explore: argparse.ArgumentParser) -> None:
    explore.description = (
        "Open the explorer of the latent space in a browser, served on this machine only, until Ctrl+C. It shows the "
        "embedded faces and the network that comes with the repository, or those of a run."
    )
    explore.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="folder of a run, or its name below runs/: its images and network",
    )
    explore.add_argument(
        "--images", default="", help="faces (default), photos:PATH, celeba:PATH, lfw or olivetti"
    )
    explore.add_argument("--checkpoint", default="", metavar="FOLDER", help="a trained network")
    explore.add_argument(
        "--n-images", type=int, default=0, help="number of images (default: that of the run, or 20000)"
    )
    explore.add_argument("--port", type=int, default=8866, help="default: 8866, or the next one that is free")
    explore.add_argument("--no-browser", action="store_true", help="do not open a browser")
    explore.set_defaults(command=_explore)


def _run(options: argparse.Namespace) -> int:
    from aelib import runs  # Jupyter takes a second: not for --help or a typing mistake

    if options.resume:
        if options.notebooks or options.params or options.param:
            raise ValueError(
                "a resumed run keeps its notebooks and parameters: leave out -f, -p and --notebooks."
            )
        run = runs.resume_series(options.name, source=options.images)
    else:
        run = runs.run_series(
            options.images or "faces",
            name=options.name,
            only=options.notebooks,
            profile=options.params,
            parameters=dict(options.param),
        )
    for outcome in run.failed:
        print(f"aelib: {outcome.notebook} failed: {outcome.error}", file=sys.stderr)
    print(f"results: {os.path.relpath(run.folder)}")
    return 1 if run.failed else 0


def _sweep(options: argparse.Namespace) -> int:
    from aelib import sweeps  # as above

    asked = sweeps.read_grid(options.file) if options.file else {"grid": {}}
    grid = asked["grid"] | {axis: values for axis, *values in options.grid}
    name = options.name or (options.file.stem if options.file else "")
    if not grid or not name:
        raise ValueError("a sweep needs a grid (-f FILE, or -g AXIS VALUE VALUE) and a name (--name).")
    done = sweeps.run_sweep(
        grid,
        name=name,
        only=options.notebooks or asked.get("notebooks", ()),
        keep=options.keep or asked.get("keep", sweeps.KEEP[0]),
        scheduler=options.scheduler,
        workers=options.workers,
    )
    print(sweeps.survival(done.table).to_string())
    for point, error in done.failed.items():
        print(f"aelib: {point} failed: {error}", file=sys.stderr)
    print(f"results: {os.path.relpath(done.folder)}")
    return 1 if done.failed else 0


def _claims(options: argparse.Namespace) -> int:
    from aelib import record  # as above

    folder = options.run if (options.run / record.RUN_RECORD).is_file() else record.RUNS / options.run
    print(record.claims_text(record.gather_claims(folder)))
    return 0


def _train(options: argparse.Namespace) -> int:
    from aelib import steps, training  # brings Keras in, which takes seconds

    config = steps.preset(options.preset, z_dim=options.z_dim, loss=options.loss)
    images = steps.open_images(options.images, n=options.n, seed=options.seed)
    parts = images.split(validation=options.validation, test=options.test, seed=options.seed)
    settings = training.TrainingConfig(
        epochs=options.epochs or steps.epochs_within(steps.IMAGE_EPOCHS, n_images=len(parts.train)),
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        schedule=options.schedule,
        flips=options.flips,
        seed=options.seed,
        precision=options.precision,
    )
    validation = parts.validation if len(parts.validation) else None
    training.train(parts.train, config, training=settings, validation=validation, folder=options.out)
    print(f"checkpoint: {options.out}")
    return 0


def _store(options: argparse.Namespace) -> int:
    from aelib import series, site  # as above

    stored = series.store_outputs(options.notebooks)
    site.write_thumbnails()
    print(f"stored: {', '.join(path.stem for path in stored)}")
    return 0


def _edition(options: argparse.Namespace) -> int:
    from aelib import editions, series  # as above

    student = options.which == "student"
    if (options.notebooks or options.execute) if student else options.outputs:
        raise ValueError(
            "--outputs is for the student edition, --notebooks and --execute are for the solved one."
        )
    out = options.out or (editions.STUDENT if student else editions.SOLVED)
    if student:
        editions.write_student(out, outputs=options.outputs)
    else:
        editions.write_solved(out, only=options.notebooks)
        if options.execute:
            series.store_outputs(options.notebooks, folder=out)
    print(f"{options.which} edition: {os.path.relpath(out)}")
    return 0


def _site(options: argparse.Namespace) -> int:
    from aelib import site  # as above

    home, warnings = site.build_site(options.run, out=options.out)
    if warnings:
        print(warnings, file=sys.stderr)
    print(f"site: {os.path.relpath(home)}")
    return 0


def _explore(options: argparse.Namespace) -> int:
    from aelib import application  # as above

    values = application.chosen_parameters(
        options.run, images=options.images, checkpoint=options.checkpoint, n_images=options.n_images
    )
    application.serve(values, port=options.port, open_browser=not options.no_browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
