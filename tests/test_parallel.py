"""Work on a local Ray cluster of two workers: the same as here, whatever dies on the way."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.parallel import connected

CPU = torch.device("cpu")


def test_without_an_address_nothing_is_connected_or_imported():
    code = (
        "import sys, torch\n"
        "from paramdiff.parallel import connected\n"
        "with connected(None, torch.device('cpu')) as fan_out:\n"
        "    print(fan_out, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


def test_where_ray_is_not_installed_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs ray: pip install 'paramdiff\[ray\]'"):
        with connected("local", CPU):
            pass


def test_an_address_at_which_nothing_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(UserError, match=f"--ray {address}: there is no Ray cluster"):
        with connected(address, CPU):
            pass


def multiply(factor, folder):
    """A function that leaves its process' number, dies of 3 once, and of 5 always."""
    (folder / str(os.getpid())).touch()

    def product(number):
        first = folder / f"first {number}"
        if number == 5 or (number == 3 and not first.exists()):
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            raise UserError("four")
        if number == 6:
            raise MemoryError("six")
        return number * factor

    return product


@pytest.mark.slow
def test_pieces_of_workers_that_die_are_tried_again(two_workers, tmp_path):
    assert two_workers.num_workers == 2
    job = two_workers.job(multiply, torch.ones(2), tmp_path)
    seen = []
    found = job.run([3, 1, 2], lambda done, total: seen.append((done, total)))
    assert torch.equal(torch.stack(found), torch.tensor([[3.0, 3], [1, 1], [2, 2]]))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert str(os.getpid()) not in {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_what_fails_is_told_and_the_rest_goes_on_in_order(two_workers, tmp_path):
    job = two_workers.job(multiply, 10, tmp_path)
    results = list(job.results([4, 5, 1, 2, 6], after={2: 1, 3: 2}))
    found = dict(results)
    assert isinstance(found[0], UserError) and str(found[0]) == "four"
    assert isinstance(found[1], UserError) and "died 4 times" in str(found[1])
    assert (found[2], found[3]) == (10, 20)
    assert isinstance(found[4], MemoryError)
    order = [index for index, _ in results]
    assert order.index(1) < order.index(2) < order.index(3)
    with pytest.raises(UserError, match="four"):
        job.run([4], lambda done, total: None)
