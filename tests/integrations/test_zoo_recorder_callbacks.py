"""Callbacks that record a zoo, with the libraries themselves."""

import importlib
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from paramdiff import ZooRecorder
from paramdiff.checkpoints.recorded import recorded_metadata, recorded_values
from paramdiff.checkpoints.sources import find_checkpoints

ROWS = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("module", "absent"),
    [("lightning", ["lightning", "pytorch_lightning"]), ("transformers", ["transformers"])],
)
def test_a_missing_library_is_named(module, absent):
    code = (
        f"import sys; sys.modules |= dict.fromkeys({absent!r}); "
        f"import paramdiff.integrations.{module}"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert f"pip install {module}" in found.stderr.splitlines()[-1]


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request):
    return pytest.importorskip(request.param, reason="Lightning is not installed")


def lightning_module(lightning, passed):
    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def training_step(self, batch, batch_idx):
            loss = self.net(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def on_train_batch_end(self, outputs, batch, batch_idx):  # after the callbacks
            state = {name: one.clone() for name, one in self.state_dict().items()}
            passed.setdefault(self.trainer.global_step, (state, float(outputs["loss"])))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    return Regression()


def fit_lightning(lightning, folder, passed, num_epochs, resume=None, **further):
    from paramdiff.integrations.lightning import ZooRecorderCallback

    trainer = lightning.Trainer(
        max_epochs=num_epochs,
        accelerator="cpu",
        callbacks=[ZooRecorderCallback(ZooRecorder(folder / "zoo", every=3))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **further,
    )
    rows = DataLoader(TensorDataset(ROWS), batch_size=4)
    trainer.fit(lightning_module(lightning, passed), rows, ckpt_path=resume)
    trainer.save_checkpoint(folder / "resume.ckpt")
    return find_checkpoints([str(folder / "zoo")]).listed


QUIET = [
    pytest.mark.filterwarnings("ignore:.*num_workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]


class TestLightning:
    pytestmark = QUIET

    def test_it_records_the_module_at_those_steps(self, lightning, tmp_path):
        passed = {}
        found = fit_lightning(lightning, tmp_path, passed, 2)
        assert [one.step for one in found] == [3, 6, 9, 12]
        for one in found:
            tensors, (state, loss) = load_file(one.path), passed[one.step]
            assert all(tensors[name].equal(state[name]) for name in state)
            values = recorded_values(one.path)
            assert values == {"loss": pytest.approx(loss), "epoch": (one.step - 1) // 6}

    def test_a_resumed_training_continues(self, lightning, tmp_path):
        fit_lightning(lightning, tmp_path, {}, 1)
        before = (tmp_path / "zoo" / "step-00000003.safetensors").stat().st_mtime_ns
        found = fit_lightning(lightning, tmp_path, {}, 3, resume=tmp_path / "resume.ckpt")
        assert [one.step for one in found] == [3, 6, 9, 12, 15, 18]
        assert (tmp_path / "zoo" / "step-00000003.safetensors").stat().st_mtime_ns == before
        assert recorded_metadata(found[-1].path)["since"] == 1

    def test_accumulated_gradients_count_once(self, lightning, tmp_path):
        passed = {}
        found = fit_lightning(lightning, tmp_path, passed, 2, accumulate_grad_batches=2)
        assert [one.step for one in found] == [3, 6]
        for one in found:
            state = passed[one.step][0]
            assert all(load_file(one.path)[name].equal(state[name]) for name in state)


class TestTransformers:
    pytestmark = QUIET

    def fit(self, folder, num_epochs, **options):
        transformers = pytest.importorskip("transformers")
        module = importlib.import_module("paramdiff.integrations.transformers")
        passed = {}

        class Regression(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.net = nn.Linear(3, 1)

            def forward(self, rows, labels=None):
                predictions = self.net(rows)
                return {"loss": predictions.square().mean(), "logits": predictions}

        class Watch(transformers.TrainerCallback):
            def on_step_end(self, args, state, control, model=None, **kwargs):
                passed[state.global_step] = {n: p.clone() for n, p in model.state_dict().items()}

        resume = options.pop("resume", None)
        arguments = transformers.TrainingArguments(
            output_dir=str(folder / "out"),
            num_train_epochs=num_epochs,
            per_device_train_batch_size=4,
            logging_steps=3,
            learning_rate=options.pop("learning_rate", 0.1),
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            **({"save_strategy": "no"} | options),
        )
        rows = [{"rows": row, "labels": torch.zeros(1)} for row in ROWS]
        trainer = transformers.Trainer(
            model=Regression(),
            args=arguments,
            train_dataset=rows,
            eval_dataset=rows,
            callbacks=[module.ZooRecorderCallback(ZooRecorder(folder / "zoo", every=3)), Watch()],
        )
        trainer.train(resume_from_checkpoint=resume)
        return find_checkpoints([str(folder / "zoo")]).listed, passed, trainer.state.log_history

    def test_it_records_the_model_and_its_logs_at_those_steps(self, tmp_path):
        found, passed, logs = self.fit(tmp_path, 2, eval_strategy="epoch")
        assert [one.step for one in found] == [3, 6, 9, 12]
        for one in found:
            state, values = passed[one.step], recorded_values(one.path)
            assert all(load_file(one.path)[name].equal(state[name]) for name in state)
            told = {name: v for log in logs if log["step"] == one.step for name, v in log.items()}
            assert values["loss"] == told["loss"] and values["epoch"] == one.step / 6
            assert values.get("eval_loss") == told.get("eval_loss")
            assert ("eval_loss" in values) == (one.step % 6 == 0)

    def test_the_last_step_is_recorded_and_not_the_best_model(self, tmp_path):
        options = {"eval_strategy": "epoch", "save_strategy": "epoch", "learning_rate": 3.0}
        found, passed, _ = self.fit(tmp_path, 2, load_best_model_at_end=True, **options)
        state = passed[12]
        assert all(load_file(found[-1].path)[name].equal(state[name]) for name in state)

    def test_a_resumed_training_continues(self, tmp_path):
        self.fit(tmp_path, 1, save_strategy="epoch")
        found, _, _ = self.fit(tmp_path, 2, resume=str(tmp_path / "out" / "checkpoint-6"))
        assert [one.step for one in found] == [3, 6, 9, 12]
        metadata = recorded_metadata(found[-1].path)
        assert metadata["since"] == 1 and json.dumps(metadata)
