"""Entry point of train.py, eval.py and export.py, the model zoo's startup files, which need no installed lookonce."""

import os
import platform
import sys
from pathlib import Path

CONFIGURATION_FILES = ("default_config.yaml", "base_config.yaml")  # the document uses both names


def startup(verb: str, file: str) -> int:
    """Run a verb like `lookonce`, with the configuration file beside the startup file, if any, as in the model zoo."""
    try:
        import lookonce.cli.app  # noqa: F401 (the parser of options, which main imports late)
        from lookonce.cli.main import main, names_in
        from lookonce.settings.resolve import DOCUMENTS_RECIPE
    except ImportError as error:  # also a name that an older Python lacks, such as typing.Self
        print(
            f"{Path(file).name}: {error}; expected Python 3.11 or newer (this is {platform.python_version()}, "
            f"{sys.executable}) with the packages of lookonce; in a checkout run ./run python {Path(file).name}, on a "
            'cloud platform install them (docs/jobs.md, "ModelArts")',
            file=sys.stderr,
        )
        return 2

    # The processes of other devices import lookonce too, and they do not start in the folder of this file.
    folders = [os.environ.get("PYTHONPATH"), str(Path(__file__).absolute().parents[2])]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    tokens = sys.argv[1:]
    given = names_in(tokens)
    beside = [Path(file).with_name(name) for name in CONFIGURATION_FILES]
    found = next((path for path in beside if path.is_file()), None)
    if found is not None and not given & {"file", "config_path"}:
        tokens.append(f"--file={found}")
    elif verb == "train" and not given & {"recipe", "file", "config_path", "resume", "help"}:
        tokens.append(f"--recipe={DOCUMENTS_RECIPE}")
    return main([verb, *tokens], from_document=True)
