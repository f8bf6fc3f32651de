"""Executes every notebook of this folder headless, against a server on a demo's data.

usage: run.py BINARY [DATA]

DATA is a data directory that `perennial demo --no-serve` has filled; without it one is made in a temporary folder. The executed copies are
written to build/notebooks, the originals stay without outputs; an original that has outputs is an error.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "build" / "notebooks"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve(binary, data, port):
    """Starts the server and returns its process once it is ready."""
    server = subprocess.Popen([binary, "serve", "--addr", f"127.0.0.1:{port}", "--data", data], stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"serve ended with {server.returncode}: {server.stderr.read()[-2000:]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
            return server
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    server.kill()
    sys.exit("serve was not ready within 60 s")


def execute(path):
    notebook = nbformat.read(path, as_version=4)
    kept = [c for c in notebook.cells if c.cell_type == "code" and (c.outputs or c.execution_count)]
    if kept:
        sys.exit(f"{path.name} has outputs; strip them before you commit it")
    start = time.time()
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    OUT.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, OUT / path.name)
    print(f"ok   notebooks/{path.name} {time.time() - start:.1f} s", flush=True)


def main(binary, data=None):
    binary = str(Path(binary).resolve())
    notebooks = sorted(HERE.glob("*.ipynb"))
    with tempfile.TemporaryDirectory(prefix="perennial-notebooks-") as temp:
        if data is None:
            data = os.path.join(temp, "data")
            subprocess.run([binary, "demo", "--no-serve", "--data", data], check=True, stdout=subprocess.DEVNULL)
        data = str(Path(data).resolve())  # notebooks run in their own folder
        made = subprocess.run([binary, "keys", "create", "--role", "analyst", "--name", "notebooks", "--json", "--data", data], check=True, capture_output=True)
        port = free_port()
        os.environ.update(PERENNIAL_URL=f"http://127.0.0.1:{port}", PERENNIAL_KEY=json.loads(made.stdout)["key"], PERENNIAL_DATA=str(data), PERENNIAL_BINARY=binary)
        server = serve(binary, data, port)
        try:
            for path in notebooks:
                execute(path)
        finally:
            server.terminate()
            server.communicate(timeout=20)
    print(f"{len(notebooks)} passed, 0 failed")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
