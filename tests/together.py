"""Trainings that processes share; run as a program, two processes that do so.

``python -m together FOLDER`` writes what each process saw to ``FOLDER/RANK.json``. The two are
forks of one, so that libraries are loaded once; nothing has computed by then.
"""

import json
import multiprocessing
import os
import shutil
import socket
import sys
from pathlib import Path

import torch
from torch import nn

from paramdiff import training_loop
from paramdiff.codecs.codec_settings import AutoencoderCodecSettings
from paramdiff.codecs.registry import fit_codec
from paramdiff.diffusion.diffusion_settings import DiffusionSettings
from paramdiff.diffusion.training import train_denoiser
from paramdiff.early_stopping import ValidationCallback
from paramdiff.errors import UserError
from paramdiff.processes import own_share, refuse_several
from paramdiff.progress import ignore_progress
from paramdiff.training_loop import train
from paramdiff.training_settings import EarlyStopping, Optimization

CPU = torch.device("cpu")
BATCH = 12
STOP_AT = 11
VECTORS = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))


class Stopped(Exception):
    """Raised in the middle of a training."""


def told(module, result):
    """What JSON holds of a trained module: 17 digits keep every bit."""
    weights = [p.double().sum().item() for p in module.parameters()]
    return {"losses": result.losses, "weights": weights}


def denoiser(state_file=None, progress=ignore_progress, batch_size=BATCH):
    settings = DiffusionSettings(
        denoiser={"kind": "mlp", "width": 16},
        standardize=True,
        training={"num_steps": 40, "batch_size": batch_size, "lr": 1e-2, "ema_decay": 0.9},
    )

    def batch(size, generator):
        return VECTORS[torch.randint(len(VECTORS), (size,), generator=generator)]

    return told(
        *train_denoiser(
            batch, 32, settings, seed=0, device=CPU, state_file=state_file, progress=progress
        )
    )


def resumed_denoiser(state_file):
    """Interrupted, and gone on with from the state."""

    def stop(done, total):
        if done == STOP_AT:
            raise Stopped

    usual, training_loop.SECONDS_BETWEEN_SAVES = training_loop.SECONDS_BETWEEN_SAVES, -1.0
    try:
        denoiser(state_file, stop)
    except Stopped:
        pass
    finally:
        training_loop.SECONDS_BETWEEN_SAVES = usual
    num_saved = len(torch.load(state_file)["losses"])
    if os.environ.get("RANK", "0") == "0":
        shutil.copyfile(state_file, state_file.with_name("interrupted.pt"))
    return {"num_saved": num_saved} | denoiser(state_file)


def codec(kl_weight):
    settings = AutoencoderCodecSettings(
        kind="autoencoder",
        latent_dim=8,
        channels=(4, 4),
        target="clean",
        input_noise=0.1,
        latent_noise=0.1,
        kl_weight=kl_weight,
        statistics="running",
        training={"num_steps": 10, "batch_size": BATCH, "lr": 1e-2},
    )
    return told(*fit_codec(VECTORS, settings, seed=0, device=CPU))


def normalized(is_training, is_shared=True):
    """One plain gradient step of a network with BatchNorm, so that weights tell gradients."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    network.train(is_training)
    share = own_share(BATCH, CPU, "batch_size") if is_shared else slice(None)

    def loss(module, step, generator):
        x = torch.randn(BATCH, 32, generator=generator)[share]
        return (module(x) - x[:, :1]).square().mean()

    settings = Optimization(num_steps=1, lr=1.0, optimizer="sgd")
    result = train(network, loss, settings, seed=0, device=CPU, is_shared=is_shared)
    return told(network, result)


def stopped():
    """A training whose main process finds nothing better from its first validation on."""
    torch.manual_seed(0)
    network, rank = nn.Linear(4, 1), int(os.environ.get("RANK", "0"))
    share = own_share(BATCH, CPU, "batch_size")
    losses = iter(range(100) if rank == 0 else range(100, 0, -1))
    validation = ValidationCallback(
        EarlyStopping(every=2, patience=3), held_out_loss=lambda _: next(losses)
    )

    def loss(module, step, generator):
        return module(torch.randn(BATCH, 4, generator=generator)[share]).square().mean()

    settings = Optimization(num_steps=30, lr=0.1)
    result = train(
        network, loss, settings, seed=0, device=CPU, is_shared=True, validation=validation
    )
    return told(network, result)


def refusal(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except UserError as error:
        return str(error)


def all_trainings(folder):
    return {
        "denoiser": denoiser(),
        "resumed denoiser": resumed_denoiser(folder / "denoiser.pt"),
        "codec": codec(0.0),
        "variational codec": codec(0.1),
        "eval": normalized(False),
        "train": normalized(True),
        "alone": normalized(True, is_shared=False),
        "stopped": stopped(),
        "odd batch": refusal(denoiser, batch_size=BATCH + 1),
        "unshared work": refusal(refuse_several, CPU, "sweep"),
    }


def join_as(rank, port, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    (folder / f"{rank}.json").write_text(json.dumps(all_trainings(folder)))


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=join_as, args=(r, port, Path(sys.argv[1]))) for r in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(process.exitcode != 0 for process in ranks))
