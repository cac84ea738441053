"""The page on a Hugging Face Space: it has to listen to the world, and draws with the runs that lie in weights/."""

import sys

from stackgan_keras.app import main
from stackgan_keras.command_line import run

sys.argv += ["--host", "0.0.0.0"]
run(main)
