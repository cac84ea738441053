"""The files that start a training on several machines: their commands are ours, and each machine knows its place."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from stackgan_keras import command_line

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STANDING_IN = {  # for the programs of a cluster
    "scontrol": 'printf "node7\\nnode8\\n"',
    "srun": 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
    "python": 'echo "$TF_CONFIG"; printf "%s\\n" "$@"; echo end',
}


def settings_of(words):
    """The settings of a training that a command's words, from `-m` on, ask for."""
    assert words[:2] == ["-m", "stackgan_keras.train_stage1"]
    return command_line.settings_from(words[2:], prog="", description="", preset="drawn_stage1", defaults={})


def assert_birds(settings, folder, fresh):
    assert (settings.run, settings.data.root, folder) == (
        "published_birds",
        Path("/shared/birds"),
        Path("/shared"),
    ) and not fresh


def test_slurm(tmp_path):
    """With the words of its first comment, on two nodes."""
    script = EXAMPLES / "slurm.sh"
    if os.name == "nt":
        pytest.skip("there is no bash")
    subprocess.run(["bash", "-n", script], check=True)
    for name, body in STANDING_IN.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = script.read_text().splitlines()[1].removeprefix("# sbatch examples/slurm.sh ").split()
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "node[7-8]"}
    done = subprocess.run(["bash", script, *given], env=variables, capture_output=True, text=True, check=True)
    processes = done.stdout.split("end\n")[:-1]
    assert len(processes) == 2
    for index, printed in enumerate(processes):
        cluster, *words = printed.splitlines()
        assert json.loads(cluster) == {
            "cluster": {"worker": ["node7:22345", "node8:22345"]},
            "task": {"type": "worker", "index": index},
        }
        assert_birds(*settings_of(words))


def test_kubernetes():
    job = yaml.safe_load((EXAMPLES / "tfjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    workers = job["spec"]["tfReplicaSpecs"]["Worker"]
    assert workers["replicas"] == 2 and workers["restartPolicy"] == "OnFailure"
    [container] = workers["template"]["spec"]["containers"]
    program, *words = container["command"] + container["args"]
    assert (container["name"], program) == ("tensorflow", "python")
    assert_birds(*settings_of(words))
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in workers["template"]["spec"]["volumes"]}
