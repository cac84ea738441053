"""Runs in repositories of the Hugging Face Hub: `hf://owner/name`, or a folder in one, to a folder on this disk."""

import re
from pathlib import Path

from stackgan_keras.errors import InputError, first_line
from stackgan_keras.models.runs import GENERATORS, TEXT_ENCODER, VOCABULARY, has_weights

SCHEME = "hf://"
FILES = (*(f"{name}.weights.h5" for name in GENERATORS), TEXT_ENCODER, VOCABULARY)  # what generates


def is_address(run: str | Path) -> bool:
    return isinstance(run, str) and run.startswith(SCHEME)


def plain_name(address: str) -> str:
    """The address as a run's name, for the folders of what it draws."""
    return address.removeprefix(SCHEME).strip("/").replace("/", "_")


def download(address: str) -> Path:
    """The folder with the weights of a run, downloaded if they are not in huggingface_hub's cache.

    Raises `InputError` where huggingface_hub is missing, for an address that is none, and for a repository that cannot
    be read or holds no run.
    """
    part = r"[\w-][\w.-]*"
    if not (match := re.fullmatch(rf"{SCHEME}({part}/{part})((?:/{part})*)/?", address)):
        raise InputError(f"{address} is no run of the Hugging Face Hub: give {SCHEME}owner/name, or a folder in it")
    repository, inside = match[1], match[2].removeprefix("/")
    try:
        import huggingface_hub
        from huggingface_hub.errors import RepositoryNotFoundError
    except ImportError:
        raise InputError(
            f"{address} needs huggingface_hub, which is not installed: pip install 'stackgan_keras[hub]'"
        ) from None
    wanted = ["README.md", *(f"{inside}/{file}".lstrip("/") for file in FILES)]
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=wanted)) / inside
    except RepositoryNotFoundError:
        raise InputError(
            f"there is no repository {repository} on the Hugging Face Hub, or it is private: check the name, or log in "
            "with `hf auth login`"
        ) from None
    except Exception as problem:  # no network, a full disk, a name that the Hub refuses: it has a kind for each
        raise InputError(
            f"{address} could not be downloaded ({first_line(problem)}): check the network, the name and the disk"
        ) from None
    if not has_weights(folder):
        raise InputError(
            f"{address} holds no {' or '.join(FILES[2:4])}: name a repository, or a folder in one, that holds a run"
        )
    return folder
