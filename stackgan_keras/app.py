"""Opens a page on this machine: sentences to images, a walk between two sentences, and a training as it goes."""

import argparse
import os
import socket
import sys
from pathlib import Path

from stackgan_keras.command_line import Parser, run
from stackgan_keras.errors import InputError, first_line, whole_number
from stackgan_keras.inference.studio import Studio

LONGEST_QUEUE = 64  # people who wait; the next is told to come again
MOST_SESSIONS = 100  # whose controls gradio remembers, 170 KB of each; its default is 10,000


def main() -> None:
    given = _arguments(sys.argv[1:])
    _check_address(given.host, given.port)
    if not given.output_dir.is_dir():
        raise InputError(f"--output_dir {given.output_dir} is no folder: give the one that holds weights/ and results/")
    studio = Studio(given.output_dir)
    names = studio.runs()
    if not names:
        raise InputError(f"no run below {given.output_dir / 'weights'} reads sentences and draws: train one")
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False", HF_HUB_DISABLE_TELEMETRY="1")
    os.environ["GRADIO_TEMP_DIR"] = str(studio.folder / "page")  # gradio's copies, so that nothing is left behind
    try:
        from stackgan_keras.inference import calls, page
    except ImportError as problem:
        if problem.name != "gradio":
            raise
        raise InputError("the page needs gradio, which is not installed: pip install 'stackgan_keras[app]'") from None
    name = "flowers" if "flowers" in names else names[0]
    studio.load(name).generate("", 1)  # whoever opens the page does not wait for this
    listeners = calls.Listeners()
    blocks = page.page(studio, name, listeners).queue(max_size=LONGEST_QUEUE)
    _, address, _ = blocks.launch(
        server_name=given.host,
        server_port=given.port,
        theme=page.THEME,
        css=page.CSS,
        share=False,
        state_session_capacity=MOST_SESSIONS,
        max_file_size=1,  # the page takes no files
        app_kwargs=listeners.app_kwargs(),
        quiet=True,  # or it would advertise share=True, which is no argument here
        prevent_thread_lock=True,
    )
    print(f"Running on {address}", flush=True)
    blocks.block_thread()


def _check_address(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as problem:
        raise InputError(
            f"{host} cannot be listened on at port {port} ({first_line(problem)}): give --port another number, or "
            "--host an address of this machine"
        ) from None


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m stackgan_keras.app",
        description="Opens a page on which sentences become images, and which shows trainings as they go.",
    )
    add = parser.add_argument
    add("--output_dir", metavar="DIR", type=Path, default=Path(), help="holds weights/, results/, logs/ (default .)")
    add("--host", metavar="NAME", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    add("--port", metavar="N", default=7860, help="port to listen on (default 7860)")
    given = parser.parse_args(arguments)
    given.port = whole_number("--port", given.port, 1, 65535)
    return given


if __name__ == "__main__":
    run(main)
